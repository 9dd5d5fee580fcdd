"""A run that SIGKILL ends at the worst moments resumes to the numbers of an undisturbed one."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from training.small import small_settings

from mimrl.settings import dump
from mimrl.training.costs import logged_seconds
from mimrl.training.run import train
from mimrl.training.tracking import read_log

KILLED_RUN = """
import os, signal, sys
from pathlib import Path
import mimrl.training.checkpoint as checkpoint
from mimrl.training.critics import Critics
from mimrl.training.trainer import Trainer
from mimrl.training.run import train
from mimrl.settings import load

moment, count = sys.argv[2], int(sys.argv[3])
calls = 0

def die_at(owner, name, *, after_writing_half=False):
    original = getattr(owner, name)

    def wrapped(*args, **kwargs):
        global calls
        calls += 1
        if calls == count:
            if after_writing_half:
                original(*args, **kwargs)
                path = Path(args[1])
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)

    setattr(owner, name, wrapped)

if moment == "stage 1":
    die_at(Critics, "losses")
elif moment == "stage 2":
    die_at(Trainer, "_losses")
elif moment == "writing":
    die_at(checkpoint, "save_file", after_writing_half=True)
elif moment == "between best and state":
    die_at(Trainer, "_save_state")
train(load(sys.argv[1]), progress=False)
"""


def _final(folder):
    report = json.loads((folder / "metrics.json").read_text())
    report.pop("seconds")
    lines = [{k: v for k, v in r.items() if k != "seconds"} for r in read_log(folder)]
    return report, lines, (folder / "predictions.csv").read_text()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    settings = small_settings(tmp_path_factory.mktemp("undisturbed"), "training.epochs=4")
    return _final(train(settings, progress=False).folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "count"),
    [
        ("stage 1", 1),
        ("stage 1", 9),
        ("stage 2", 2),
        ("stage 2", 8),
        ("writing", 1),
        ("writing", 2),
        ("writing", 4),
        ("between best and state", 3),
    ],
)
def test_killed_run_resumes_to_the_same_results(tmp_path, undisturbed, moment, count):
    settings = small_settings(tmp_path, "training.epochs=4")
    file = tmp_path / "settings.yaml"
    file.write_text(dump(settings))
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-c", KILLED_RUN, str(file), moment, str(count)],
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    folder = tmp_path / "run" / "seed0"
    assert not (folder / "metrics.json").exists()
    resumed = train(settings, resume=True, progress=False).folder
    seconds = json.loads((resumed / "metrics.json").read_text())["seconds"]
    assert seconds >= round(logged_seconds(read_log(resumed)), 1)  # those before the kill too
    report, lines, predictions = _final(resumed)
    expected_report, expected_lines, expected_predictions = undisturbed
    assert report == expected_report
    assert lines == expected_lines
    assert predictions == expected_predictions
