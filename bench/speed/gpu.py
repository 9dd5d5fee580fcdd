"""On a GPU: seconds an epoch and utilisation, with a text encoder of the size of bert-base.

Shapes of MOSI (batch 32) and of MOSEI (16,326 clips, 500 steps of audio and video, batch 128) with
random content; the text encoder has 12 layers of width 768, random weights, and is trained. For
each precision: seconds of the second of two epochs with both stages, and the operations of its
matrix products, counted on a few batches, over what a large matrix product of that precision
reaches. Without a GPU the lines say that nothing was measured.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from bench.speed import breakdown, shapes
from bench.speed.machine import Peak, measure_peak
from bench.speed.rows import Found, Row, Table, number, parser, report
from bench.speed.shapes import Shapes
from mimrl.training.tracking import read_log
from mimrl.training.trainer import Trainer

CASES = {  # 12 layers of width 768, as bert-base
    "MOSI": replace(shapes.MOSI, layers=12),
    "MOSEI": replace(shapes.MOSEI, batch=128, layers=12),
}
PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16}


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the tables."""
    arguments = parser(__doc__).parse_args(argv)
    return report(measure(quick=arguments.quick), "gpu", arguments.json)


def measure(*, quick: bool = False, device: str | None = None) -> Found:
    """All shapes in all precisions.

    Args:
        quick: tiny shapes.
        device: where to run; None: on the GPU, if there is one.
    """
    cases = {"tiny": shapes.TINY} if quick else CASES
    device = device or ("cuda" if torch.cuda.is_available() else None)
    rows, lines = [], []
    for name, shape in cases.items():
        work = None if device is None else operations(shape)
        for precision, dtype in PRECISIONS.items():
            what = f"epoch on a GPU, {name} shapes, bert-base sizes, {precision}"
            if device is None or work is None:
                rows.append(Row(what, None, note="no GPU here"))
                continue
            size = 256 if quick else 8192
            peak: Peak = measure_peak(device, dtype, size=size, sweep=2**16 if quick else 2**28)
            seconds = epoch(shape, precision, device)
            floor = work / peak.flops
            rows.append(Row(what, seconds, note=f"utilisation {floor / seconds:.0%}"))
            lines.append(
                (name, precision, number(seconds), number(work / 1e12),
                 number(peak.flops / 1e12), number(floor), number(seconds / floor))
            )  # fmt: skip
    header = ("shapes", "precision", "s an epoch", "TFLOP", "peak, TFLOP/s", "floor, s", "ratio")
    table = Table("Epochs on a GPU", header, tuple(lines))
    return Found(tuple(rows), (table,) if lines else ())


def operations(shape: Shapes) -> float:
    """Multiplications and additions of the matrix products of one epoch, counted on the CPU."""
    with tempfile.TemporaryDirectory() as folder:
        settings = shapes.settings_for(shape, Path(folder))
        few = replace(shape, clips=min(shape.clips, 2 * shape.batch))
        found = breakdown.parts(shape.text_config, settings, shapes.generated(few))
    return sum(part.flops for part in found) * shape.clips / few.clips


def epoch(shape: Shapes, precision: str, device: str) -> float:
    """Seconds of the bank and both stages in the second epoch."""
    with tempfile.TemporaryDirectory() as folder:
        settings = shapes.settings_for(shape, Path(folder), epochs=2)
        performance = settings.performance.model_copy(update={"precision": precision})
        kind = torch.device(device).type
        settings = settings.model_copy(update={"performance": performance, "device": kind})
        data = shapes.generated(shape)
        model = shapes.network(settings, data, shape.text_config).to(device)
        Trainer(settings, data, model, Path(folder), device=torch.device(device)).fit(
            progress=False
        )
        seconds = read_log(folder)[-1]["seconds"]
    return sum(seconds[part] for part in ("bank", "stage1", "stage2"))


if __name__ == "__main__":
    sys.exit(main())
