"""Several processes train as one process with their batches together would."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from training.small import small_settings
from training.worker import recorded

from mimrl.command import main
from mimrl.errors import CheckpointError, ConfigError
from mimrl.launch import LAUNCHER
from mimrl.settings import dump
from mimrl.training.checkpoint import load_model
from mimrl.training.run import train
from mimrl.training.team import ALONE, Team, assemble
from mimrl.training.tracking import read_log

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
    "OMP_NUM_THREADS": "1",
}
CPU = torch.device("cpu")
WITHOUT_DROPOUT = (
    *(f"model.encoders.{name}.dropout=0" for name in ("text", "audio", "video")),
    "model.head_dropout=0",
)
COMMON = (
    *WITHOUT_DROPOUT,
    "data.planted.train_size=90",  # 32, 32 and 26 rows a step
    "data.planted.valid_size=33",
    "training.epochs=3",
    "training.controls=0",
    "training.optimizer=sgd",
)
KINDS = {
    "ratings, InfoNCE": (
        "data.target=regression",
        "training.loss=ccc",
        "model.encoders.audio.kind=gru",
        "training.clip=norm",
    ),
    "classes, SMILE, anchors of the batch": (
        "critics.bound=smile",
        "critics.kind=concatenated",
        "critics.conditional.anchors=batch",
        "critics.conditional.estimator=dv",
    ),
    "classes, interpolated, AdamW": (
        "critics.bound.kind=interpolated",
        "critics.bound.baseline=learned",
        "training.optimizer.kind=adamw",
        "training.optimizer.rate=0.0003",
    ),
}


def settings_of(folder: Path, kind: str, batch: int):
    return small_settings(folder, *COMMON, *KINDS[kind], f"training.batch_size={batch}")


def torchrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone")
    return subprocess.run(
        [*launcher, "--nproc_per_node=2", *arguments],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=ROOT,
    )


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Each kind trained by two processes, by one, and by two with an interruption."""
    folder = tmp_path_factory.mktemp("together")
    tasks = []
    for kind in KINDS:
        two = settings_of(folder / "two" / kind, kind, 16)
        tasks.append({"settings": two.model_dump(mode="json")})
    again = settings_of(folder / "resumed", next(iter(KINDS)), 16)
    tasks.append({"settings": again.model_dump(mode="json"), "interrupt": True})
    job = folder / "job.json"
    job.write_text(json.dumps(tasks))
    ended = torchrun(str(Path(__file__).with_name("worker.py")), str(job))
    assert ended.returncode == 0, ended.stderr
    ranks = [json.loads((folder / f"found{rank}.json").read_text()) for rank in range(2)]
    one = [recorded(settings_of(folder / "one" / kind, kind, 32)) for kind in KINDS]
    return folder, ranks, one


class TestTwoProcessesAndOne:
    @pytest.mark.parametrize("index", range(len(KINDS)), ids=list(KINDS))
    def test_every_step_has_the_same_loss(self, both, index):
        """1e-5 is asked for: float32 sums in another order differ by some 1e-7."""
        _, ranks, one = both
        expected = one[index]["losses"]
        # 3 epochs of 3 steps, and 2 passes of 3 steps of stage 1 in each but the first
        assert len(expected) == 3 * 3 + 2 * 2 * 3
        for found in ranks:
            assert found[index]["losses"] == pytest.approx(expected, abs=1e-5, rel=0)

    @pytest.mark.parametrize("index", range(len(KINDS)), ids=list(KINDS))
    def test_weights_and_selection_are_the_same(self, both, index):
        _, ranks, one = both
        expected = one[index]
        for rank in ranks:
            found = rank[index]
            assert found["selection"][0] == expected["selection"][0]
            assert found["selection"][1] == pytest.approx(expected["selection"][1], abs=1e-5)
            assert found["weights"].keys() == expected["weights"].keys()
            for name, values in expected["weights"].items():
                a, b = (torch.tensor(v) for v in (values, found["weights"][name]))
                # Absolute below a norm of 1: biases start at 0 and sum what nearly cancels.
                assert (a - b).norm() <= 1e-5 * a.norm().clamp_min(1), name
            for split, metrics in expected["metrics"].items():
                assert found["metrics"][split] == pytest.approx(metrics, abs=1e-5)

    def test_processes_agree_to_the_last_bit(self, both):
        _, ranks, _ = both
        assert ranks[0] == ranks[1]

    def test_interrupted_and_resumed(self, both):
        """The steps after the interruption are those of a training without one."""
        _, ranks, _ = both
        whole, rest = ranks[0][0], ranks[0][-1]
        assert rest["losses"] == whole["losses"][-len(rest["losses"]) :]
        assert 0 < len(rest["losses"]) < len(whole["losses"])
        assert rest["weights"] == whole["weights"]
        assert rest["metrics"] == whole["metrics"]

    def test_files_are_those_of_one_process(self, both):
        """The second process was forbidden to write (``worker.py``)."""
        folder, _, _ = both
        kind = next(iter(KINDS))
        places = [folder / name / kind / "run" / "seed0" for name in ("one", "two")]
        names = [sorted(path.name for path in place.iterdir()) for place in places]
        assert names[0] == names[1]
        reports = [json.loads((place / "metrics.json").read_text()) for place in places]
        assert [r["processes"] for r in reports] == [1, 2]
        assert [r["global_batch_size"] for r in reports] == [32, 32]
        logs = [read_log(place) for place in places]
        for one, two in zip(*logs, strict=True):
            assert two["valid"]["metrics"] == pytest.approx(one["valid"]["metrics"], abs=1e-5)
        states = [load_model(place).model.state_dict().keys() for place in places]
        assert states[0] == states[1]

    def test_resuming_with_another_number_of_processes_is_refused(self, both):
        folder, _, _ = both
        kind = next(iter(KINDS))
        with pytest.raises(CheckpointError, match=r"started with 2 processes.*this command has 1"):
            train(settings_of(folder / "two" / kind, kind, 16), resume=True, progress=False)


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


def side_by_side(script: str, *arguments: str) -> list[subprocess.CompletedProcess[str]]:
    """Two processes without an agent that would end one when the other has failed."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", script, *arguments],
            env={**ENVIRONMENT, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=200) for process in running]
    return [
        subprocess.CompletedProcess(process.args, process.returncode, *output)
        for process, output in zip(running, outputs, strict=True)
    ]


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
from mimrl.training.run import train

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


def test_an_error_of_all_processes_is_said_once(tmp_path):
    ended = side_by_side(
        "import sys; from mimrl.command import main; sys.exit(main(sys.argv[1:]))",
        *("--config", "configs/demo.yaml", "training.epochs=none", f"output={tmp_path}"),
    )
    assert [process.returncode for process in ended] == [2, 2]
    assert "".join(process.stderr for process in ended).count("error:") == 1


def test_a_team_of_one_does_nothing():
    rows = torch.arange(15.0).view(5, 3)
    assert ALONE.gather(rows, 5) is rows
    assert torch.equal(ALONE.share(rows), rows)
    assert ALONE.part is None


def test_shares_make_up_the_rows():
    rows = torch.arange(14).view(7, 2)
    shares = [Team(rank, 3).share(rows) for rank in range(3)]
    assert [len(share) for share in shares] == [3, 2, 2]
    assert torch.equal(torch.cat(shares), rows)


def test_dealt_rows_come_back_in_order():
    rows = torch.arange(100, 107)
    gathered = torch.cat([rows[rank::3] for rank in range(3)])
    assert torch.equal(gathered[Team(0, 3).dealt(7)], rows)


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match="process 2 of this host found 1 GPUs"):
        assemble(torch.device("cuda"))


@pytest.fixture
def launched_in_part(monkeypatch):
    """``WORLD_SIZE`` as some clusters leave it in the environment of every job."""
    for name in LAUNCHER:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    return monkeypatch


def test_half_a_launcher_is_one_message(launched_in_part, capsys):
    launched_in_part.setenv("RANK", "0")
    assert main(["--config", "configs/demo.yaml"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: WORLD_SIZE=2 in the environment asks for several processes")
    assert "but LOCAL_RANK, MASTER_ADDR, MASTER_PORT is missing" in said
    assert said.count("\n") == 1


def test_processes_without_a_local_rank_do_not_train_beside_each_other(launched_in_part):
    """Accelerate takes such a process for the only one: all would write the same files."""
    for name, value in {"RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        launched_in_part.setenv(name, value)
    with pytest.raises(ConfigError, match="LOCAL_RANK is missing; start them with torchrun"):
        assemble(CPU)


def test_an_address_that_is_none_is_one_message(launched_in_part, capsys):
    where = {"RANK": "1", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "none"}
    for name, value in where.items():
        launched_in_part.setenv(name, value)
    assert main(["--config", "configs/demo.yaml"]) == 2
    assert "the processes cannot meet at 127.0.0.1:none" in capsys.readouterr().err
