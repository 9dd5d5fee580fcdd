"""Starting several processes: with a launcher, as a user does, or without one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# The tests' own folder stays out of the path of a command: one of its folders is called datasets.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc_per_node=2")
ACCELERATE = (
    "accelerate.commands.launch",
    "--multi_gpu",
    "--num_processes=2",
    "--num_machines=1",
)
MOST = 300  # seconds


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def launched(
    launcher: tuple[str, ...], *arguments: str, path: tuple[Path, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """What two processes of a launcher did; ``path``: more folders to import from."""
    name, *options = launcher
    if name.startswith("accelerate"):
        options.append(f"--main_process_port={free_port()}")
    places = os.pathsep.join(str(place) for place in (ROOT, *path))
    return subprocess.run(
        [sys.executable, "-m", name, *options, *arguments],
        env={**ENVIRONMENT, "PYTHONPATH": places},
        capture_output=True,
        text=True,
        timeout=MOST,
        check=False,
        cwd=ROOT,
    )


def side_by_side(script: str, *arguments: str) -> list[subprocess.CompletedProcess[str]]:
    """Two processes without an agent that would end one when the other has failed."""
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
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
    outputs = [process.communicate(timeout=MOST) for process in running]
    return [
        subprocess.CompletedProcess(process.args, process.returncode, *output)
        for process, output in zip(running, outputs, strict=True)
    ]
