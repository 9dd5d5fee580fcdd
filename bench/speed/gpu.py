"""On a GPU: seconds an epoch and utilisation, with a text encoder of the size of bert-base.

Shapes of MOSI (batch 32) and of MOSEI (16,326 clips, 500 steps of audio and video, batch 128) with
random content; the text encoder has 12 layers of width 768, random weights, and is trained. For
each precision: the median seconds of bank and both stages over a few epochs after the first, whose
kernels and memory are still to be found; and the operations of its matrix products over what a
large matrix product of that precision reaches. That ratio, floor over seconds, is called
utilisation here: of the GPU's arithmetic, not the share of time in which some kernel runs.

Operations are counted on the CPU, on a pool of batches as they are sorted by length in an epoch,
with one and with two layers of text encoder: they grow linearly with the layers. "float32" has no
TF32 in matrix products, but, as is PyTorch's default, in cuDNN's recurrences. Without a GPU the
lines say that nothing was measured.
"""

from __future__ import annotations

import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from bench.speed import breakdown, shapes
from bench.speed.machine import Peak, measure_peak, wait
from bench.speed.rows import Found, Row, Table, number, parser, report
from bench.speed.shapes import Shapes
from mimrl.datasets.loading import POOL_BATCHES
from mimrl.datasets.prepare import Prepared
from mimrl.training.tracking import read_log
from mimrl.training.trainer import Trainer

CASES = {  # 12 layers of width 768, as bert-base
    "MOSI": replace(shapes.MOSI, layers=12),
    "MOSEI": replace(shapes.MOSEI, batch=128, layers=12),
}
PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16}
EPOCHS = 4  # the first does not count
WARM_UP = 1.0  # seconds of matrix products, in which an idle GPU raises its clock
GIB = 2**30


@dataclass(frozen=True)
class Epoch:
    """What one precision took.

    Attributes:
        seconds: of bank, stage 1 and stage 2, the median over epochs.
        stages: the same of each.
        spread: of the whole, largest less smallest.
        memory: bytes of tensors at most; 0: not on a GPU.
    """

    seconds: float
    stages: dict[str, float]
    spread: float
    memory: int


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the tables."""
    arguments = parser(__doc__).parse_args(argv)
    return report(measure(quick=arguments.quick), "gpu", arguments.json)


def measure(*, quick: bool = False, device: str | None = None) -> Found:
    """All shapes in all precisions.

    Args:
        quick: tiny shapes, two epochs.
        device: where to run; None: on the GPU, if there is one.
    """
    cases = {"tiny": shapes.TINY} if quick else CASES
    device = device or ("cuda" if torch.cuda.is_available() else None)
    rows, lines = [], []
    for name, shape in cases.items():
        work = data = None
        if device is not None:
            work, data = operations(shape), shapes.generated(shape)
        for precision, dtype in PRECISIONS.items():
            what = f"epoch on a GPU, {name} shapes, bert-base sizes, {precision}"
            if device is None or work is None or data is None:
                rows.append(Row(what, None, note="no GPU here"))
                continue
            peak = _peak(device, dtype, quick=quick)
            found = epochs(shape, data, precision, device, count=2 if quick else EPOCHS)
            floor = work / peak.flops
            share = f"utilisation {floor / found.seconds:.1%}"
            rows.append(Row(what, found.seconds, note=f"{share}; spread {number(found.spread)} s"))
            lines.append(_line(name, precision, found, work, peak))
    header = (
        "shapes", "precision", "s an epoch", "bank, s", "stage 1, s", "stage 2, s", "TFLOP",
        "peak, TFLOP/s", "floor, s", "ratio", "memory, GiB",
    )  # fmt: skip
    table = Table("Epochs on a GPU", header, tuple(lines))
    return Found(tuple(rows), (table,) if lines else ())


def operations(shape: Shapes) -> float:
    """Multiplications and additions of the matrix products of one epoch, counted on the CPU."""
    one, two = (_counted(replace(shape, layers=layers)) for layers in (1, 2))
    return one + (shape.layers - 1) * (two - one)


def _counted(shape: Shapes) -> float:
    """On one pool of batches: fewer clips would be padded to others' lengths than in an epoch."""
    few = replace(shape, clips=min(shape.clips, POOL_BATCHES * shape.batch))
    with tempfile.TemporaryDirectory() as folder:
        settings = shapes.settings_for(shape, Path(folder))
        found = breakdown.parts(shape.text_config, settings, shapes.generated(few))
    share = shape.clips / few.clips
    # The search for neighbours also grows with the bank, which is all clips.
    searches = sum(part.flops for part in found if part.name.startswith("product samples"))
    return share * (sum(part.flops for part in found) + (share - 1) * searches)


def epochs(
    shape: Shapes, data: Prepared, precision: str, device: str, *, count: int = EPOCHS
) -> Epoch:
    """A training of ``count`` epochs, of which the first does not count."""
    gpu = torch.device(device).type == "cuda"
    if gpu:
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    with tempfile.TemporaryDirectory() as folder:
        settings = shapes.settings_for(shape, Path(folder), epochs=count)
        performance = settings.performance.model_copy(update={"precision": precision})
        kind = torch.device(device).type
        settings = settings.model_copy(update={"performance": performance, "device": kind})
        model = shapes.network(settings, data, shape.text_config).to(device)
        Trainer(settings, data, model, Path(folder), device=torch.device(device)).fit(
            progress=False
        )
        records = [record["seconds"] for record in read_log(folder)[1:]]
    parts = ("bank", "stage1", "stage2")
    wholes = [sum(seconds[part] for part in parts) for seconds in records]
    return Epoch(
        seconds=statistics.median(wholes),
        stages={part: statistics.median(seconds[part] for seconds in records) for part in parts},
        spread=max(wholes) - min(wholes),
        memory=torch.cuda.max_memory_allocated(device) if gpu else 0,
    )


def _peak(device: str, dtype: torch.dtype, *, quick: bool) -> Peak:
    """Of a GPU that has been busy for a while."""
    size = 256 if quick else 8192
    a = torch.randn(size, size, device=device, dtype=dtype)
    until = time.monotonic() + (0.0 if quick else WARM_UP)
    while time.monotonic() < until:
        torch.matmul(a, a)
        wait(device)
    return measure_peak(device, dtype, size=size, sweep=2**16 if quick else 2**28)


def _line(name: str, precision: str, found: Epoch, work: float, peak: Peak) -> tuple[str, ...]:
    floor = work / peak.flops
    stages = tuple(number(found.stages[part]) for part in ("bank", "stage1", "stage2"))
    return (
        name, precision, number(found.seconds), *stages, number(work / 1e12),
        number(peak.flops / 1e12), number(floor), number(found.seconds / floor),
        number(found.memory / GIB),
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
