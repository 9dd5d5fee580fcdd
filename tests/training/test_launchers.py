"""The command under torchrun and accelerate, as a user starts it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from training.small import small_settings

from mimrl.settings import dump

ROOT = Path(__file__).parents[2]
# The tests' own folder stays out of the path: one of its folders is called datasets.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher",
    [
        ("torch.distributed.run", "--standalone", "--nproc_per_node=2"),
        ("accelerate.commands.launch", "--multi_gpu", "--num_processes=2", "--num_machines=1"),
    ],
    ids=["torchrun", "accelerate"],
)
def test_the_command_under_a_launcher(tmp_path, launcher):
    file = tmp_path / "settings.yaml"
    file.write_text(dump(small_settings(tmp_path, "training.epochs=2", "training.controls=0")))
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    name, *options = launcher
    options += [f"--main_process_port={port}"] if name.startswith("accelerate") else []
    ended = subprocess.run(
        [sys.executable, "-m", name, *options, "train.py", "--config", str(file)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=ROOT,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("epoch chosen by valid accuracy") == 1
    report = json.loads((tmp_path / "run" / "seed0" / "metrics.json").read_text())
    assert (report["processes"], report["global_batch_size"]) == (2, 64)
