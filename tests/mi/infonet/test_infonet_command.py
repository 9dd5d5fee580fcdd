"""The commands: what they print, write and refuse."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from mimrl.errors import DataError
from mimrl.mi.infonet.command import NETWORK_HELP, TRAINING_HELP, main
from mimrl.mi.infonet.running import LOG, STATE, WEIGHTS
from mimrl.mi.infonet.validation import load_mixtures

TINY = [
    *("--batch", "4", "--fresh", "100", "--least", "50", "--most", "60", "--no-low-precision"),
    *("--grid", "16", "--fields", "1", "1", "1", "1", "--width", "4", "--check-every", "100000"),
]


@pytest.fixture
def mixtures():
    generator = np.random.default_rng(0)
    mean = generator.uniform(-5, 5, (3, 2, 2))
    covariance = np.broadcast_to([[2.0, 1.0], [1.0, 2.0]], (3, 2, 2, 2))
    weight = np.full((3, 2), 0.5)
    return {
        "two/mean": mean,
        "two/covariance": covariance,
        "two/weight": weight,
        "two/mi_xy": np.array([0.3, 0.2, 0.4]),
    }


@pytest.fixture
def _few_checks(monkeypatch):
    monkeypatch.setattr("mimrl.mi.infonet.running.CHECK_PAIRS", 1)
    monkeypatch.setattr("mimrl.mi.infonet.validation.TRUTH_SAMPLES", 500)


@pytest.mark.usefixtures("_few_checks")
def test_train_then_evaluate_what_was_trained(tmp_path, capsys, mixtures):
    out = tmp_path / "run"
    assert main(["train", "--out", str(out), "--steps", "2", "--device", "cpu", *TINY]) == 0
    assert str(out / WEIGHTS) in capsys.readouterr().out
    np.savez(tmp_path / "pairs.npz", **mixtures)
    command = ["evaluate", str(tmp_path / "pairs.npz"), "--model", str(out / WEIGHTS)]
    assert main([*command, "--samples", "200", "--json", "--device", "cpu"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == ["two"]
    assert rows[0]["pairs"] == 3
    assert rows[0]["truth"] == pytest.approx(0.3)
    assert rows[0]["absolute"] >= abs(rows[0]["bias"]) > 0


@pytest.mark.usefixtures("_few_checks")
def test_evaluate_generated_pairs_with_the_shipped_weights(capsys):
    assert main(["evaluate", "--pairs", "2", "--samples", "300", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "gaussian_mixtures" in out
    assert "absolute error" in out
    assert len(out.splitlines()) == 12


@pytest.mark.slow
def test_killed_training_goes_on_from_its_last_state(tmp_path):
    """Killed without a chance to clean up, then finished by the same command."""
    command = [sys.executable, "-m", "mimrl.mi.infonet", "train", "--out", str(tmp_path), *TINY]
    command += ["--save-every", "1", "--device", "cpu"]
    with subprocess.Popen([*command, "--steps", "100000"], stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not (tmp_path / LOG).is_file() and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(0.5)
        process.send_signal(signal.SIGKILL)
    assert (tmp_path / STATE).is_file()
    done = json.loads((tmp_path / LOG).read_text().splitlines()[0])["step"]
    assert done >= 1
    reached = json.loads((tmp_path / WEIGHTS).with_suffix(".json").read_text())["step"]
    ended = subprocess.run(
        [*command, "--steps", str(reached + 3)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    steps = [json.loads(row)["step"] for row in (tmp_path / LOG).read_text().splitlines()]
    assert steps == sorted(set(steps))
    assert steps[-1] == reached + 3


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["train", "--out", "{tmp}", "--batch", "5"], "batch = 5"),
        (["train", "--out", "{tmp}", "--grid", "20"], "grid = 20"),
        (["train", "--out", "{tmp}", "--save-every", "0"], "save-every"),
        (["evaluate", "{tmp}/none.npz"], "no file"),
        (["evaluate", "--model", "{tmp}/none.safetensors"], "no file"),
        (["evaluate", "{tmp}/text.npz"], "no .npz file"),
        (["evaluate", "--samples", "3"], "at least 100 samples"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(tmp_path, capsys, arguments, text):
    (tmp_path / "text.npz").write_text("text")
    code = main([argument.format(tmp=tmp_path) for argument in arguments])
    error = capsys.readouterr().err
    assert code == 2
    assert text in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_unknown_options_and_help(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", "--out", "x", "--stepz", "3"])
    assert ended.value.code == 2
    with pytest.raises(SystemExit) as ended:
        main(["train", "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for name in (*TRAINING_HELP, *NETWORK_HELP):
        assert f"--{name.replace('_', '-')}" in shown


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"two/mi_xy": None}, "expected arrays"),
        ({"two/mean": np.zeros((3, 3, 2))}, "do not fit"),
        ({"two/weight": np.full((3, 2), -1.0)}, "negative weights"),
        ({"two/covariance": np.zeros((3, 2, 2, 2))}, "unusable covariances"),
        ({"two/mi_xy": np.array([0.1, np.nan, 0.2])}, "not finite"),
        ({"two/mi_xy": np.array(["a", "b", "c"])}, "file of numbers"),
    ],
)
def test_files_of_mixtures_are_checked(tmp_path, mixtures, change, text):
    arrays = {k: v for k, v in {**mixtures, **change}.items() if v is not None}
    np.savez(tmp_path / "pairs.npz", **arrays)
    with pytest.raises(DataError, match=text):
        load_mixtures(tmp_path / "pairs.npz")


def test_files_of_mixtures_hold_no_objects(tmp_path):
    np.savez(tmp_path / "pairs.npz", x=np.array([{}], dtype=object))
    with pytest.raises(DataError, match="file of numbers"):
        load_mixtures(tmp_path / "pairs.npz")
