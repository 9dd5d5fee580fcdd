"""The training command: arguments, exit codes, what it prints."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

import mimrl.datasets.__main__
import mimrl.mi.__main__
import mimrl.mi.infonet.command
import mimrl.missing
import mimrl.training.run
from mimrl.command import main
from mimrl.errors import DataWarning, NonFiniteError
from mimrl.exits import plain_warnings
from mimrl.settings import from_mapping, load
from mimrl.settings.help import entries

ROOT = Path(__file__).parents[1]
DEMO = str(ROOT / "configs" / "demo.yaml")


@pytest.fixture
def training(monkeypatch):
    """Stands in for the training: keeps its arguments, and does what ``act`` says."""
    seen = SimpleNamespace(act=lambda: None)

    def train_seeds(settings, seeds, **options):
        seen.settings, seen.seeds, seen.options = settings, seeds, options
        seen.act()
        return SimpleNamespace(table=lambda: "the table", folder=Path("runs/x"))

    monkeypatch.setattr(mimrl.training.run, "train_seeds", train_seeds)
    return seen


def test_a_warning_is_shown_once_a_text_whatever_happens_to_the_filters(capsys):
    """Python forgets which warnings it showed whenever a filter changes, as libraries do."""
    with plain_warnings():
        for text in ("first", "second", "first"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
            warnings.warn(text, DataWarning, stacklevel=1)
    assert capsys.readouterr().err == "warning: first\nwarning: second\n"


class TestArguments:
    def test_overrides_may_stand_anywhere_and_win_over_the_file(self, training):
        code = main(["a=1", "--config", DEMO, "training.epochs=2", "--seeds", "3,1", "name=x"][1:])
        assert code == 0
        assert (training.settings.training.epochs, training.settings.name) == (2, "x")
        assert training.seeds == (3, 1)

    def test_seed_of_the_settings_without_seeds(self, training):
        assert main(["--config", DEMO, "seed=5"]) == 0
        assert training.seeds == (5,)

    def test_device_wins_over_the_settings(self, training):
        main(["--config", DEMO, "device=cuda", "--device", "cpu"])
        assert training.settings.device == "cpu"

    @pytest.mark.parametrize("flag", ["resume", "overwrite"])
    def test_flags_reach_the_training(self, training, flag):
        main(["--config", DEMO, f"--{flag}"])
        assert training.options[flag] is True
        assert sum(training.options[name] for name in ("resume", "overwrite")) == 1

    @pytest.mark.parametrize("seeds", ["", "a", "1,1", "-1", "0,,1", "2147483648"])
    def test_wrong_seeds(self, seeds, capsys):
        with pytest.raises(SystemExit) as stopped:
            main([f"--seeds={seeds}"])
        assert stopped.value.code == 2
        assert "expected different integers from 0 to 2147483647" in capsys.readouterr().err

    def test_resume_and_overwrite_exclude_each_other(self, capsys):
        with pytest.raises(SystemExit):
            main(["--resume", "--overwrite"])
        assert "not allowed with" in capsys.readouterr().err


class TestOutput:
    def test_table_and_folder(self, training, capsys):
        main(["--config", DEMO])
        assert capsys.readouterr().out == f"the table\n\nresults: {Path('runs/x')}\n"

    def test_print_config_is_a_config(self, capsys):
        assert main(["--config", DEMO, "training.epochs=2", "--seeds", "7", "--print-config"]) == 0
        printed = from_mapping(yaml.safe_load(capsys.readouterr().out))
        assert printed == load(DEMO, ["training.epochs=2", "seed=7"])

    def test_help_lists_every_setting(self, capsys):
        with pytest.raises(SystemExit) as stopped:
            main(["--help"])
        assert stopped.value.code == 0
        text = capsys.readouterr().out
        assert all(f"{entry.key} = " in text for entry in entries())

    def test_warnings_are_one_line(self, training, capsys):
        training.act = lambda: warnings.warn("7 values set to 0", DataWarning, stacklevel=1)
        assert main(["--config", DEMO]) == 0
        assert capsys.readouterr().err == "warning: 7 values set to 0\n"


class TestFailures:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--config", "nothing.yaml"], "settings file nothing.yaml does not exist"),
            (["--config", "configs"], "settings file configs is a folder, expected a file"),
            (["--config", DEMO, "a.b=1"], "configs/demo.yaml: 1 problem"),
        ],
    )
    def test_unusable_settings(self, arguments, message, capsys):
        assert main(arguments) == 2
        captured = capsys.readouterr()
        assert message in captured.err
        assert captured.out == ""

    def test_an_error_on_purpose_is_one_message(self, training, capsys):
        def fail():
            raise NonFiniteError("task loss is nan in stage 2, step 3")

        training.act = fail
        assert main(["--config", DEMO]) == 2
        assert capsys.readouterr().err == "error: task loss is nan in stage 2, step 3\n"

    def test_a_bug_is_not_hidden(self, training):
        training.act = lambda: {}["missing"]
        with pytest.raises(KeyError):
            main(["--config", DEMO])

    def test_interrupted(self, training, capsys):
        def stop():
            raise KeyboardInterrupt

        training.act = stop
        assert main(["--config", DEMO]) == 130
        assert "--resume continues" in capsys.readouterr().err


ONE_PROCESS = [
    (mimrl.datasets.__main__.main, ["inspect", "in.pkl"], "start 'python -m mimrl.datasets' by"),
    (mimrl.datasets.__main__.main, ["convert", "in.pkl", "out.h5"], "by one process"),
    (mimrl.mi.__main__.main, ["estimate", "in.csv", "--x", "a", "--y", "b"], "mi estimate' by"),
    (mimrl.mi.__main__.main, ["benchmark", "--estimators", "ksg1", "--out", "out"], "(--jobs)"),
    (mimrl.mi.__main__.main, ["mmg", "--max_epochs", "1"], "start 'python -m mimrl.mi mmg' by"),
    (mimrl.mi.infonet.command.main, ["train", "--out", "out"], "python -m mimrl.mi.infonet' by"),
    (mimrl.missing.main, ["run"], "start 'python -m mimrl.missing' by"),
]


class TestOneOfSeveralProcesses:
    """Under torchrun each process would do all of the work and write the same files."""

    @pytest.mark.parametrize("rank", ["0", "1"])
    @pytest.mark.parametrize(("command", "arguments", "advice"), ONE_PROCESS)
    def test_the_first_refuses_and_none_works(
        self, command, arguments, advice, rank, tmp_path, monkeypatch, capsys
    ):
        """torchrun ends the others when one has failed: the first must be the only one."""
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", rank)
        assert command(arguments) == (2 if rank == "0" else 0)
        said = capsys.readouterr()
        assert said.out == ""
        if rank == "0":
            assert said.err.startswith("error: WORLD_SIZE=2 in the environment")
            assert advice in said.err
            assert said.err.endswith("itself, or unset WORLD_SIZE\n")
            assert said.err.count("\n") == 1
        else:
            assert said.err == ""
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(("command", "arguments", "advice"), ONE_PROCESS[:3])
    def test_a_launcher_of_one_process_is_all_right(
        self, command, arguments, advice, tmp_path, monkeypatch, capsys
    ):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("WORLD_SIZE", "1")
        monkeypatch.setenv("RANK", "0")
        assert command(arguments) == 2
        said = capsys.readouterr().err
        assert advice not in said
        assert arguments[1] in said  # which is not there


def test_script_returns_the_exit_code(tmp_path):
    script = [sys.executable, str(ROOT / "train.py")]
    ended = subprocess.run(
        [*script, "foo=1"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert ended.returncode == 2
    assert "foo: unknown key" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert list(tmp_path.iterdir()) == []
