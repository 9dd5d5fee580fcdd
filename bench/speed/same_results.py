"""Results do not change: the fast order of work beside the published one, number by number.

The demonstration of configs/demo.yaml without dropout is trained twice from one seed: by the
trainer, and by bench/speed/plain.py, which pads to the maximum, recomputes the model's states in
every step, computes the critics one by one and seeks neighbours in a loop. Two numbers are wanted:

* losses: the largest difference of any loss or term, mean over an epoch, at most 1e-5. Adam's
  first steps have the size of the rate whatever the gradient's, so rounding is blown up step by
  step: the rate is 1e-5 here, at which states differ by rounding only.
* metrics: the whole run with the demonstration's own rate; the largest difference of any metric
  of the test split at the epoch that validation chose, at most 1e-3.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

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

CONFIG = Path(__file__).parents[2] / "configs" / "demo.yaml"
GENTLE = 1e-5
SAME = (
    "device=cpu",
    "training.controls=0",
    *(f"model.encoders.{name}.dropout=0" for name in ("text", "audio", "video")),
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
    """Both comparisons."""
    few = QUICK if quick else ()
    gentle = (f"training.optimizer.rate={GENTLE}", "training.epochs=2", "training.warmup_epochs=0")
    losses = compare([*SAME, *few, *gentle])
    metrics = compare([*SAME, *few])
    worst = largest(losses["epochs"])
    apart = largest(metrics["metrics"])
    rows = (
        Row(
            "largest difference of a loss", worst, unit="nats", goal=1e-5, note="float32, 2 epochs"
        ),
        Row("largest difference of a test metric", apart, unit="", goal=1e-3, note="whole run"),
    )
    lines = tuple(
        (name, number(fast), number(plain), number(abs(fast - plain)))
        for name, (fast, plain) in metrics["metrics"].items()
    )
    header = ("metric of the test split", "fast", "published order", "difference")
    return Found(rows, (Table("The same run in both orders of work", header, lines),))


def largest(pairs: Mapping[str, tuple[float, float]]) -> float:
    """The largest difference of two numbers that should be equal."""
    return max(abs(first - second) for first, second in pairs.values())


def compare(overrides: Sequence[str]) -> dict[str, dict[str, tuple[float, float]]]:
    """``epochs``: mean losses of every epoch; ``metrics``: of the test split. Fast, plain."""
    settings = load(CONFIG, overrides)
    with tempfile.TemporaryDirectory() as folder:
        epochs, metrics = fast(settings, Path(folder))
    data = prepare(open_corpus(settings.data), settings)
    plain = Plain(settings, data, network(settings, data), bank="snapshot").run()
    found = {name: value for k, e in enumerate(plain["log"]) for name, value in named(k, e).items()}
    return {
        "epochs": {name: (value, found[name]) for name, value in epochs.items()},
        "metrics": {name: (value, plain["test"][name]) for name, value in metrics.items()},
    }


def fast(settings: Settings, folder: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Mean losses of every epoch and metrics of the test split, by the trainer."""
    data = prepare(open_corpus(settings.data), settings)
    device = torch.device("cpu")
    Trainer(settings, data, network(settings, data), folder, device=device).fit(progress=False)
    epochs: dict[str, float] = {}
    for k, record in enumerate(read_log(folder)):
        second = record["stage2"]
        losses = {"task": second["task"], "total": second["total"], **second["terms"]}
        epochs |= named(k, {"stage1": record.get("stage1", {}), "stage2": losses})
    model = checkpoint.load_model(folder).model
    test = encode(model, data.splits["test"], batch_size=settings.training.batch_size)
    return epochs, dict(score(settings, test))


def named(epoch: int, record: Mapping[str, Any]) -> dict[str, float]:
    """``1 stage1 text_audio`` -> mean loss."""
    return {
        f"{epoch + 1} {stage} {name}": float(value)
        for stage, losses in record.items()
        for name, value in losses.items()
    }


if __name__ == "__main__":
    sys.exit(main())
