"""Clips a second against the number of processes, each with one thread or one GPU.

``torchrun --nproc_per_node=N train.py`` on generated data: the batch of all processes together is
the same, so N processes do the same steps; each computes its share of the rows and gathers what the
critics need of the others. Times are those of the run's own log, without start and reading.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from bench.speed.rows import Found, Row, Table, number, parser, report
from mimrl.training.tracking import read_log

ROOT = Path(__file__).parents[2]
COUNTS = (1, 2, 4, 8)
BATCH = 128
RUN = (
    "data.planted.valid_size=64",
    "data.planted.test_size=64",
    "training.optimizer.rate=0.001",
    "training.epochs=2",
    "training.warmup_epochs=0",
    "training.controls=0",
    "threads=1",
)
WIDE = (
    "model.width=128",
    "model.fusion.sizes=[[5,3,128],[2,3,128]]",
    "critics.hidden=256",
    "critics.embedding=128",
    "critics.conditional.hidden=256",
)


@dataclass(frozen=True)
class Pace:
    """Clips a second in the last epoch of a run."""

    processes: int
    stage1: float
    stage2: float
    seconds: float


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the tables."""
    own = parser(__doc__)
    own.add_argument("--processes", type=int, nargs="+", help="default: as many as fit")
    own.add_argument("--clips", type=int, default=2048)
    arguments = own.parse_args(argv)
    clips = 256 if arguments.quick else arguments.clips
    found = measure(arguments.processes, clips, quick=arguments.quick)
    return report(found, "processes", arguments.json)


def measure(
    counts: Sequence[int] | None = None, clips: int = 2048, *, quick: bool = False
) -> Found:
    """Runs of one, two, ... processes."""
    places = torch.cuda.device_count() or os.cpu_count() or 1
    wanted = [n for n in COUNTS if n <= places] if counts is None else list(counts)
    paces = [pace(count, clips, quick=quick) for count in wanted[: 2 if quick else None]]
    first = paces[0]
    rows = tuple(
        Row(
            f"one epoch, both stages, {each.processes} processes",
            each.seconds,
            first.seconds,
            note=f"baseline: {first.processes} process; batch {BATCH} of all together",
        )
        for each in paces[1:]
    )
    if not rows:
        why = "one core or GPU here" if counts is None else "one number of processes asked for"
        rows = (Row("one epoch, both stages, several processes", None, note=why),)
    lines = tuple(
        (str(each.processes), f"{each.stage1:.0f}", f"{each.stage2:.0f}", number(each.seconds))
        for each in paces
    )
    header = ("processes", "stage 1, clips/s", "stage 2, clips/s", "seconds an epoch")
    return Found(rows, (Table("Throughput against processes", header, lines),))


def pace(count: int, clips: int, *, quick: bool = False) -> Pace:
    """One run with ``count`` processes.

    Raises:
        RuntimeError: the run failed; with the end of what it said.
    """
    with tempfile.TemporaryDirectory() as folder:
        device = "cuda" if torch.cuda.device_count() >= count else "cpu"
        overrides = [
            f"output={folder}",
            f"device={device}",
            f"data.planted.train_size={clips}",
            f"training.batch_size={BATCH // count}",
            *RUN,
            *(() if quick else WIDE),
        ]
        command = [str(ROOT / "train.py"), "--config", str(ROOT / "configs" / "demo.yaml")]
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={count}"]
        start = [sys.executable, *(launcher if count > 1 else [])]
        ended = subprocess.run(
            [*start, *command, *overrides],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        if ended.returncode:
            raise RuntimeError(f"{count} processes: {ended.stderr[-2000:]}")
        seconds = read_log(Path(folder) / "demo" / "seed0")[-1]["seconds"]
    first, second = seconds["bank"] + seconds["stage1"], seconds["stage2"]
    return Pace(count, 2 * clips / first, clips / second, first + second)


if __name__ == "__main__":
    sys.exit(main())
