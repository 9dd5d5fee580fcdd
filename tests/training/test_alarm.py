"""Several processes end together: one error, one message, nobody left waiting."""

from __future__ import annotations

import pytest
from training.launching import side_by_side
from training.small import small_settings

from mimrl.errors import ProcessError
from mimrl.settings import dump
from mimrl.training.team import _collective

FAILING = """
import sys
from mimrl.command import main
from mimrl.errors import DataError
from mimrl.launch import first_process
from mimrl.training.trainer import Trainer

original = Trainer._losses
def fails(self, *arguments):
    if self.team.rank == 1:
        raise {error}
    return original(self, *arguments)
Trainer._losses = fails
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("error", "message", "codes"),
    [
        ("DataError('row 7 is odd')", "error: row 7 is odd", [2, 2]),
        ("KeyboardInterrupt", "interrupted; the same command with --resume", [2, 130]),
    ],
)
def test_an_error_in_one_process_ends_all_with_one_message(tmp_path, error, message, codes):
    file = tmp_path / "settings.yaml"
    file.write_text(dump(small_settings(tmp_path)))
    ended = side_by_side(FAILING.format(error=error), "--config", str(file))
    assert [process.returncode for process in ended] == codes, ended
    said = "".join(process.stderr for process in ended)
    assert said.count(message) == 1
    assert said.count("error:") + said.count("interrupted;") == 1, said
    assert "Traceback" not in said


CAUGHT = """
import os, sys, time
from pathlib import Path
from mimrl.errors import DataError, ProcessError
from mimrl.settings import load
from mimrl.training.run import train
from mimrl.training.trainer import Trainer

folder = Path(sys.argv[2])
original = Trainer._losses
def fails(self, *arguments):
    if self.team.rank == 1:
        raise DataError("row 7 is odd")
    (folder / "first").write_text(str(os.getpid()))
    return original(self, *arguments)
Trainer._losses = fails

def first_has_ended():
    for _ in range(600):
        time.sleep(0.1)
        try:
            os.kill(int((folder / "first").read_text()), 0)
        except ProcessLookupError:
            return True
        except FileNotFoundError:
            continue
    return False

try:
    train(load(sys.argv[1]), progress=False)
except DataError as error:
    print("caught", error, flush=True)
    print("first has ended" if first_has_ended() else "waited in vain", flush=True)
except ProcessError as error:
    sys.stderr.write(f"error: {error}\\n")
    sys.stderr.flush()
    os._exit(2)
"""


def test_a_training_called_from_python_does_not_wait_for_one_that_failed(tmp_path):
    """The second process fails, keeps its connections and lives on, as in a notebook."""
    file = tmp_path / "settings.yaml"
    file.write_text(dump(small_settings(tmp_path)))
    first, second = side_by_side(CAUGHT, str(file), str(tmp_path))
    assert second.stdout == "caught row 7 is odd\nfirst has ended\n", second.stderr
    assert first.returncode == 2
    assert first.stderr.count("another process of this training failed") == 1
    assert "Traceback" not in first.stderr + second.stderr


AGAIN = """
import sys
from pathlib import Path
from mimrl.errors import ConfigError
from mimrl.settings import load
from mimrl.training import alarm
from mimrl.training.run import train

alarm.SAME = 100  # a busy machine may keep one of them waiting
settings = load(sys.argv[1])
for name in ("there", "other"):
    try:
        train(settings.model_copy(update={"name": name}), progress=False)
        print("trained", flush=True)
    except ConfigError as error:
        print(str(error).rpartition(", ")[2], flush=True)
"""


def test_what_all_processes_refuse_can_be_caught_by_all_and_another_training_begun(tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text(dump(small_settings(tmp_path, "training.epochs=1", "training.controls=0")))
    (tmp_path / "there" / "seed0").mkdir(parents=True)
    (tmp_path / "there" / "seed0" / "notes").write_text("kept")
    for ended in side_by_side(AGAIN, str(file)):
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout == "name=... starts another\ntrained\n"


COMMAND = "import sys; from mimrl.command import main; sys.exit(main(sys.argv[1:]))"


@pytest.mark.parametrize(
    ("argument", "said", "code"),
    [("--nope", "unrecognized arguments: --nope", 2), ("--help", "usage: ", 0)],
)
def test_what_the_command_line_is_told_is_told_once(argument, said, code):
    """By the first process, which nothing ends before; the other one leaves well."""
    ended = side_by_side(COMMAND, argument)
    assert [process.returncode for process in ended] == [code, 0]
    assert said in ended[0].stdout + ended[0].stderr
    assert ended[1].stdout + ended[1].stderr == ""


def test_a_long_message_of_a_backend_is_cut_between_words():
    words = "Read error: " + "connection reset by peer " * 20
    with pytest.raises(ProcessError, match=r"by peer connection( \w+)* \.\.\.\)$"), _collective():
        raise RuntimeError(f"{words}\nwhere it happened")


def test_an_error_of_all_processes_is_said_once(tmp_path):
    ended = side_by_side(
        COMMAND,
        *("--config", "configs/demo.yaml", "training.epochs=none", f"output={tmp_path}"),
    )
    assert [process.returncode for process in ended] == [2, 2]
    assert "".join(process.stderr for process in ended).count("error:") == 1


LATE = """
import time
from mimrl.errors import ProcessError
from mimrl.launch import first_process
from mimrl.training import alarm

alarm.SAME, alarm.GRACE = {same}, 100  # a busy machine may keep one of them waiting

@alarm.alarmed()
def ended():
    until = time.monotonic() + {seconds}
    while first_process() and time.monotonic() < until:
        time.sleep(0.1)
    raise KeyboardInterrupt

try:
    ended()
except KeyboardInterrupt:
    print("interrupted")
except ProcessError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("seconds", "same", "first"),
    [
        pytest.param("2 * alarm.EVERY", 100, "interrupted", id="soon"),
        pytest.param("200", 1, "another process of this training failed", id="late"),
    ],
)
def test_what_befalls_all_is_each_ones_own_error_also_where_one_has_heard_of_it(
    seconds, same, first
):
    """Ctrl-C reaches all processes, but not in the same moment."""
    ended = side_by_side(LATE.format(seconds=seconds, same=same))
    assert [process.returncode for process in ended] == [0, 0], ended
    assert ended[0].stdout.startswith(first)
    assert ended[1].stdout == "interrupted\n"
