"""Results do not change: the fast order of work beside the published one, number by number.

The demonstration of configs/demo.yaml without dropout is trained twice from one seed: by the
trainer, and by bench/speed/plain.py, which pads to the maximum, recomputes the model's states in
every step, computes the critics one by one and seeks neighbours in a loop. Losses are compared with
critics that follow (the default) and with published ones; whole runs with the former. What differs
is rounding, and training blows it up: Adam's first steps have the size of the rate whatever the
gradient's, and from there on it grows about tenfold in so many steps, fewer at higher rates. So:

* losses: the largest difference of any loss or term, mean over an epoch, of the first two epochs
  at a rate of 1e-5, at most 1e-5;
* metrics of a whole run, all twelve epochs, at a rate and number of clips at which rounding still
  is small in the end (at twice the rate two test clips differed): the largest difference of any
  metric of the test split at the epoch that validation chose, at most 1e-3;
* the same with the demonstration's own rate and clips, where rounding decides which of many good
  models comes out. Beside it the trainer against itself: four more of its runs, each of which
  starts with one weight moved to the next number that float32 has. No two programs, and no program
  on two machines, can agree better than these runs of the same one.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.speed.plain import Plain
from bench.speed.rows import Found, Row, Table, number, parser, report
from bench.speed.shapes import network
from mimrl.datasets.catalogue import open_corpus
from mimrl.datasets.prepare import prepare
from mimrl.settings import Settings, load
from mimrl.training import checkpoint
from mimrl.training.inference import encode
from mimrl.training.scoring import score
from mimrl.training.tracking import read_log
from mimrl.training.trainer import Trainer

Pairs = Mapping[str, tuple[float, float]]
CONFIG = Path(__file__).parents[2] / "configs" / "demo.yaml"
GENTLE = 1e-5
NUDGES = 4
SAME = (
    "device=cpu",
    "training.controls=0",
    *(f"model.encoders.{name}.dropout=0" for name in ("text", "audio", "video")),
)
BOUNDED = (
    "training.optimizer.rate=5e-4",
    "data.planted.train_size=512",
    "data.planted.valid_size=128",
)
QUICK = (
    "data.planted.train_size=96",
    "data.planted.valid_size=32",
    "data.planted.test_size=64",
    "training.batch_size=32",
    "training.epochs=2",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the comparison; 1 if results differ."""
    arguments = parser(__doc__).parse_args(argv)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    return report(measure(quick=arguments.quick), "same_results", arguments.json)


def measure(*, quick: bool = False) -> Found:
    """All three comparisons."""
    few = QUICK if quick else ()
    gentle = (f"training.optimizer.rate={GENTLE}", "training.epochs=2", "training.warmup_epochs=0")
    losses = compare([*SAME, *few, *gentle])
    published = compare([*SAME, *few, *gentle, "critics.update=epoch", "steering.scale=published"])
    bounded = compare([*SAME, *BOUNDED, *few])
    own = compare([*SAME, *few], nudges=1 if quick else NUDGES)
    rows = (
        Row(
            "largest difference of a loss",
            largest(losses.epochs),
            unit="nats",
            goal=1e-5,
            note=f"float32; {losses.run}",
        ),
        Row(
            "the same, critics as published",
            largest(published.epochs),
            unit="nats",
            goal=1e-5,
            note=f"float32; {published.run}",
        ),
        Row(
            "largest difference of a test metric",
            largest(bounded.metrics),
            unit="",
            goal=1e-3,
            note=f"a whole run: {bounded.run}",
        ),
        Row(
            "the same, the demonstration's own clips and rate",
            largest(own.metrics),
            max(largest(pairs) for pairs in own.nudged_metrics),
            unit="",
            goal=1e-3,
            note=f"{own.run}; baseline: the trainer and itself with a weight moved by its last bit",
        ),
    )
    return Found(rows, (_metrics(bounded), _metrics(own), _growth(bounded, own)))


def _metrics(found: Compared) -> Table:
    lines = tuple(
        (name, number(fast), number(plain), number(abs(fast - plain)))
        for name, (fast, plain) in found.metrics.items()
    )
    header = ("metric of the test split", "fast", "published order", "difference")
    return Table(f"The same run in both orders of work: {found.run}", header, lines)


def _growth(bounded: Compared, own: Compared) -> Table:
    """How far apart runs are, epoch by epoch."""
    nudged = [by_epoch(pairs) for pairs in own.nudged_epochs]
    among = {epoch: max(one[epoch] for one in nudged) for epoch in nudged[0]}
    columns = [by_epoch(bounded.epochs), by_epoch(own.epochs), among]
    lines = tuple(
        (str(epoch), *(number(column[epoch]) for column in columns)) for epoch in columns[0]
    )
    header = (
        "epoch",
        bounded.run,
        own.run,
        f"the trainer and itself, a weight moved by its last bit ({len(nudged)} times): {own.run}",
    )
    return Table("Largest difference of a loss or term, nats", header, lines)


def by_epoch(pairs: Pairs) -> dict[int, float]:
    """Epoch -> the largest difference of a loss in it."""
    found: dict[int, float] = {}
    for name, (first, second) in pairs.items():
        epoch = int(name.split()[0])
        found[epoch] = max(found.get(epoch, 0.0), abs(first - second))
    return found


def largest(pairs: Pairs) -> float:
    """The largest difference of two numbers that should be equal."""
    return max(abs(first - second) for first, second in pairs.values())


@dataclass(frozen=True)
class Compared:
    """What two runs gave, name -> (of the trainer, of the other one).

    Attributes:
        run: what was trained, in words.
        epochs: mean losses of every epoch; the other one is the published order of work.
        metrics: of the test split.
        nudged_epochs: as ``epochs``, for each further run of the trainer with a weight moved.
        nudged_metrics: the same for ``metrics``.
    """

    run: str
    epochs: Pairs
    metrics: Pairs
    nudged_epochs: tuple[Pairs, ...] = ()
    nudged_metrics: tuple[Pairs, ...] = ()


def compare(overrides: Sequence[str], *, nudges: int = 0) -> Compared:
    """Trains in both orders of work from one seed, and so many times more with a weight moved."""
    settings = load(CONFIG, overrides)
    epochs, metrics = fast(settings)
    data = prepare(open_corpus(settings.data), settings)
    plain = Plain(settings, data, network(settings, data), bank="snapshot").run()
    plain_epochs = {n: v for k, e in enumerate(plain["log"]) for n, v in named(k, e).items()}
    moved = [fast(settings, nudge=k) for k in range(nudges)]
    return Compared(
        run=_described(settings),
        epochs=_paired(epochs, plain_epochs),
        metrics=_paired(metrics, plain["test"]),
        nudged_epochs=tuple(_paired(epochs, of_epochs) for of_epochs, _ in moved),
        nudged_metrics=tuple(_paired(metrics, of_test) for _, of_test in moved),
    )


def _described(settings: Settings) -> str:
    training, planted = settings.training, settings.data.planted
    clips = 0 if planted is None else planted.train_size
    return f"{clips:,} clips, rate {training.optimizer.rate:g}, {training.epochs} epochs"


def _paired(first: Mapping[str, float], second: Mapping[str, float]) -> Pairs:
    return {name: (value, second[name]) for name, value in first.items()}


def fast(
    settings: Settings, *, nudge: int | None = None
) -> tuple[dict[str, float], dict[str, float]]:
    """Mean losses of every epoch and metrics of the test split, by the trainer.

    Args:
        settings: of the run.
        nudge: which parameter starts with its first weight moved; None: none.
    """
    data = prepare(open_corpus(settings.data), settings)
    start = network(settings, data)
    if nudge is not None:
        move_a_weight(start, nudge)
    device = torch.device("cpu")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        Trainer(settings, data, start, folder, device=device).fit(progress=False)
        log = read_log(folder)
        model = checkpoint.load_model(folder).model
    epochs: dict[str, float] = {}
    for k, record in enumerate(log):
        second = record["stage2"]
        losses = {"task": second["task"], "total": second["total"], **second["terms"]}
        epochs |= named(k, {"stage1": record.get("stage1", {}), "stage2": losses})
    test = encode(model, data.splits["test"], batch_size=settings.training.batch_size)
    return epochs, dict(score(settings, test))


@torch.no_grad()
def move_a_weight(model: nn.Module, which: int) -> None:
    """The first weight of a parameter of ``model`` becomes the next larger number of its type."""
    weight = list(model.parameters())[which].flatten()[:1]
    weight.copy_(torch.nextafter(weight, torch.full_like(weight, torch.inf)))


def named(epoch: int, record: Mapping[str, Any]) -> dict[str, float]:
    """``1 stage1 text_audio`` -> mean loss."""
    return {
        f"{epoch + 1} {stage} {name}": float(value)
        for stage, losses in record.items()
        for name, value in losses.items()
    }


if __name__ == "__main__":
    sys.exit(main())
