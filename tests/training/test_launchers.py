"""The command under torchrun and accelerate, as a user starts it."""

from __future__ import annotations

import json

import pytest
from training.launching import ACCELERATE, TORCHRUN, launched
from training.small import small_settings

from mimrl.settings import dump


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [TORCHRUN, ACCELERATE], ids=["torchrun", "accelerate"])
def test_the_command_under_a_launcher(tmp_path, launcher):
    file = tmp_path / "settings.yaml"
    file.write_text(dump(small_settings(tmp_path, "training.epochs=2", "training.controls=0")))
    ended = launched(launcher, "train.py", "--config", str(file))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("epoch chosen by valid accuracy") == 1
    assert "\n2 processes, batches of 2 x 32 samples\n\nresults: " in ended.stdout
    report = json.loads((tmp_path / "run" / "seed0" / "metrics.json").read_text())
    assert (report["processes"], report["global_batch_size"]) == (2, 64)
