"""An epoch whose critics follow the model, against one whose critics rest in stage 2.

Both are whole epochs (bank, stage 1, stage 2, validation) of the same network on the same data,
taken in turn: the default settings, and the published ones (``critics.update=epoch``,
``steering.scale=published``, two passes of stage 1). Processor seconds, so that other work on the
machine counts less.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import torch

from bench.speed.rows import Found, Row, Table, counted_threads, number, parser, report
from bench.speed.shapes import MOSI, TINY, Shapes, generated, network, settings_for
from mimrl.datasets.catalogue import open_corpus
from mimrl.datasets.prepare import prepare
from mimrl.settings import Settings, load
from mimrl.training.run import build_trainer
from mimrl.training.tracking import Progress
from mimrl.training.trainer import Trainer

CONFIG = Path(__file__).parents[2] / "configs" / "demo.yaml"
PUBLISHED = ("critics.update=epoch", "steering.scale=published", "training.stage1_passes=2")
FEW = (
    "data.planted.train_size=96",
    "data.planted.valid_size=32",
    "data.planted.test_size=32",
    "training.batch_size=32",
)
GOAL = 1.3
CPU = torch.device("cpu")
Built = Callable[[Path], Trainer]


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table; 1 if a goal is missed."""
    arguments = parser(__doc__).parse_args(argv)
    threads = arguments.threads or 1
    torch.set_num_threads(threads)
    return report(measure(threads=threads, quick=arguments.quick), "following", arguments.json)


def measure(*, threads: int = 1, quick: bool = False) -> Found:
    """The demonstration and random data of MOSI's shapes."""
    few, shape, epochs = (FEW, TINY, 1) if quick else ((), MOSI, 3)
    cases = {
        "the demonstration": ((_demo(*few), _demo(*few, *PUBLISHED)), 2 * epochs),
        "MOSI's shapes, text trained": ((_random(shape, follow=True), _random(shape)), epochs),
    }
    rows, lines = [], []
    for name, (builders, count) in cases.items():
        ours, published = in_turn(*builders, count)
        rows.append(
            Row(
                f"an epoch with critics that follow, {name}",
                median(ours),
                median(published),
                goal_ratio=None if quick else GOAL,
                note=f"processor seconds, median of {count}, {counted_threads(threads)}; "
                "baseline: critics as published",
            )
        )
        lines.append((name, " ".join(map(number, ours)), " ".join(map(number, published))))
    header = ("case", "follow", "published")
    return Found(tuple(rows), (Table("Each epoch, processor seconds", header, tuple(lines)),))


def in_turn(first: Built, second: Built, epochs: int) -> tuple[list[float], list[float]]:
    """Processor seconds of epochs with critics, one of each in turn."""
    seconds: tuple[list[float], list[float]] = ([], [])
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        trainers = first(Path(one)), second(Path(other))
        for epoch in range(2, epochs + 2):
            for trainer, found in zip(trainers, seconds, strict=True):
                started = time.process_time()
                trainer._run_epoch(epoch, Progress(0, 0, "", shown=False))
                found.append(time.process_time() - started)
    return seconds


def _demo(*overrides: str) -> Built:
    def build(folder: Path) -> Trainer:
        settings = load(CONFIG, ["device=cpu", f"output={folder}", *overrides])
        return build_trainer(settings, prepare(open_corpus(settings.data), settings), folder, CPU)

    return build


def _random(shape: Shapes, *, follow: bool = False) -> Built:
    def build(folder: Path) -> Trainer:
        settings = settings_for(shape, folder)
        if follow:
            settings = _following(settings)
        data = generated(shape)
        model = network(settings, data, shape.text_config)
        return Trainer(settings, data, model, folder, device=CPU)

    return build


def _following(settings: Settings) -> Settings:
    changes = {
        "critics": settings.critics.model_copy(update={"update": "follow"}),
        "steering": settings.steering.model_copy(update={"scale": "task"}),
        "training": settings.training.model_copy(update={"stage1_passes": 1}),
    }
    return settings.model_copy(update=changes)


if __name__ == "__main__":
    sys.exit(main())
