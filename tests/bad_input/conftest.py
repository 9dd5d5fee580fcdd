"""An empty working folder, a small trained run in it, and commands that have to fail."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from bad_input.commands import TRAIN, Main
from training.small import SMALL


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty working folder; relative names in these tests are in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIMRL_DATA_ROOT", raising=False)
    return tmp_path


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The folder of one small complete run, to be copied and damaged."""
    output = tmp_path_factory.mktemp("trained")
    assert TRAIN([*SMALL, "training.epochs=1", f"output={output}", "device=cpu"]) == 0
    return output / "run" / "seed0"


@pytest.fixture
def run_folder(trained, folder):
    """A copy of that run where a command with the same settings looks for it."""
    return Path(shutil.copytree(trained, folder / "runs" / "run" / "seed0"))


@pytest.fixture
def refused(folder, capsys) -> Callable[[Main, Sequence[str]], str]:
    """Runs a command that has to fail, checks what all failures share, returns the message."""

    def run(main: Main, argv: Sequence[str]) -> str:
        before = contents(folder)
        capsys.readouterr()
        assert main(list(argv)) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("error: ")
        assert err.count("error:") == 1
        assert err.endswith("\n")
        assert "Traceback" not in err
        assert contents(folder) == before, "something was written, changed or left behind"
        return err.removeprefix("error: ").rstrip("\n")

    return run


def contents(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder: files with their bytes, folders with None."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }
