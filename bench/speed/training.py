"""Seconds and memory of an epoch: ours beside the published order of work, in one process.

Three cases: the shapes of MOSI with random content and a one-layer BERT of width 768 that is
trained; the same with the BERT frozen and its states computed once; and real MOSI with MiniLM
trained, where the file is at hand (MIMRL_DATA_ROOT). With any of --clips, --words, --steps,
--widths, --batch, --width, --encoder-layers, --encoder-hidden, --modalities, --bank or --frozen:
those shapes alone.

Ours is a whole epoch of the trainer (bank, stage 1, stage 2; validation is left out on both sides).
The published order (bench/speed/plain.py) is timed for a few steps of each stage, before and after
ours; their median times the steps of an epoch. Peak memory is the largest resident size of a fresh
process that trains on two batches.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from bench.speed import breakdown, shapes
from bench.speed.machine import Peak, measure_peak, peak_resident, timed
from bench.speed.plain import Plain
from bench.speed.rows import Found, Row, Table, number, parser, report, restored
from bench.speed.shapes import Shapes
from mimrl.datasets.prepare import Prepared
from mimrl.settings import Settings
from mimrl.terms import FUSED, LABEL
from mimrl.training.critics import label_variable
from mimrl.training.frozen import with_hidden_states
from mimrl.training.memory import keep_freed_memory
from mimrl.training.tracking import read_log
from mimrl.training.trainer import Trainer

ROOT = Path(__file__).parents[2]
REAL = "real"
PEAK_BATCHES = 2
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Case:
    """What is trained, and what it may cost.

    Attributes:
        name: of the line in the table.
        shapes: of generated data; None: real MOSI.
        goal_ratio: seconds of ours over the published order's, at most.
        bank: rows of the bank that product samples are drawn from; None: all.
    """

    name: str
    shapes: Shapes | None
    goal_ratio: float | None = None
    bank: int | None = None

    def settings(self, folder: Path) -> Settings:
        """Of one epoch with both stages."""
        if self.shapes is None:
            return shapes.mosi_settings(folder)
        found = shapes.settings_for(self.shapes, folder)
        performance = found.performance.model_copy(update={"bank_size": self.bank})
        return found.model_copy(update={"performance": performance})

    def data(self, settings: Settings) -> Prepared:
        """All three splits."""
        return shapes.mosi_data(settings) if self.shapes is None else shapes.generated(self.shapes)

    @property
    def config(self) -> dict[str, Any] | None:
        """Of a text encoder with random weights."""
        return None if self.shapes is None else self.shapes.text_config


CASES = {
    "trained": Case("epoch, MOSI shapes, text encoder trained", shapes.MOSI, 1 / 5),
    "frozen": Case(
        "epoch, MOSI shapes, text encoder frozen", replace(shapes.MOSI, frozen=True), 1 / 7
    ),
    REAL: Case("epoch, real MOSI, MiniLM trained", None, 0.4),
}
QUICK = {
    "trained": Case("epoch, tiny shapes, text encoder trained", shapes.TINY),
    "frozen": Case("epoch, tiny shapes, frozen", replace(shapes.TINY, frozen=True)),
}


@dataclass(frozen=True)
class Timing:
    """Seconds of the parts of an epoch, ``bank``, ``stage1`` and ``stage2``, and of a step.

    Attributes:
        ours: measured as a whole.
        plain: a step's median times the steps of an epoch.
        step: of the published order, by stage.
        once: seconds that a frozen encoder took before the first epoch; 0: it is not frozen.
    """

    ours: dict[str, float]
    plain: dict[str, float]
    step: dict[str, float]
    once: float


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the tables; 1 if a goal is missed."""
    arguments = _parser().parse_args(argv)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    cases = _cases(arguments)
    if arguments.peak:
        print(json.dumps(peak_memory(cases[arguments.case[0]], arguments.peak)))
        return 0
    options = list(sys.argv[1:] if argv is None else argv)
    if len(cases) > 1 and not arguments.quick:
        found = each_apart(list(cases), arguments)
    else:
        found = measure(cases, options, steps=arguments.plain_steps, quick=arguments.quick)
    return report(found, "training", arguments.json)


def each_apart(cases: Sequence[str], arguments: argparse.Namespace) -> Found:
    """Lines and tables of all cases, each from a process of its own.

    A training keeps the memory that it has freed; what one case leaves behind would slow the next.
    """
    rows: list[Row] = []
    tables: list[Table] = []
    with tempfile.TemporaryDirectory() as folder:
        for key in cases:
            file = Path(folder) / f"{key}.json"
            command = [sys.executable, "-m", "bench.speed.training", "--case", key]
            command += ["--json", str(file), "--plain-steps", str(arguments.plain_steps)]
            command += ["--threads", str(arguments.threads)] if arguments.threads else []
            ended = subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=False)
            if not file.is_file():
                raise RuntimeError(f"{key} ended with {ended.returncode}; its message stands above")
            found = restored(json.loads(file.read_text(encoding="utf-8")))
            rows += found.rows
            tables += found.tables
    return Found(tuple(rows), tuple(tables))


def measure(
    cases: dict[str, Case] | None = None,
    options: Sequence[str] | None = None,
    *,
    steps: int = 2,
    quick: bool = False,
) -> Found:
    """Lines and tables of all cases.

    Args:
        cases: by name; None: all.
        options: of the command line, for the processes that memory is measured in; None: those
            that belong to ``quick``.
        steps: of each stage of the published order that are timed before and after ours.
        quick: the machine's peak from small matrices, and memory of the first case only.
    """
    rows: list[Row] = []
    tables: list[Table] = []
    peak = measure_peak(size=256, sweep=2**16) if quick else measure_peak()
    cases = (QUICK if quick else CASES) if cases is None else cases
    for key, case in cases.items():
        if case.shapes is None and shapes.mosi_file() is None:
            rows.append(Row(case.name, None, note=f"no {shapes.MOSI_FILE} in MIMRL_DATA_ROOT"))
            continue
        with tempfile.TemporaryDirectory() as folder:
            settings = case.settings(Path(folder))
            data = case.data(settings)
            timing = side_by_side(case, settings, data, Path(folder), steps)
            parts = breakdown.parts(case.config, settings, data)
        rows += _rows(case, settings, timing, _text(parts, peak))
        if not quick or case is next(iter(cases.values())):
            given = (["--quick"] if quick else []) if options is None else options
            rows.append(_memory(key, case, given))
        tables += [_stages(case, timing), breakdown.table(case.name, parts, timing.ours, peak)]
    return Found(tuple(rows), tuple(tables))


def side_by_side(
    case: Case, settings: Settings, data: Prepared, folder: Path, steps: int
) -> Timing:
    """The published order's steps, a whole epoch of ours, the published order's steps again."""
    plain = Plain(settings, data, shapes.network(settings, data, case.config))
    bank = made_bank(plain)
    taken: dict[str, list[float]] = {"stage1": [], "stage2": []}
    _plain_steps(plain, bank, 1)  # the first of everything is slower
    _add(taken, _plain_steps(plain, bank, steps))
    ours, once = our_epoch(case, settings, data, folder)
    _add(taken, _plain_steps(plain, bank, steps))
    step = {stage: statistics.median(seconds) for stage, seconds in taken.items()}
    training, count = settings.training, len(data.splits["train"])
    passes = count / training.batch_size
    epoch = {
        "stage1": step["stage1"] * passes * training.stage1_passes,
        "stage2": step["stage2"] * passes,
    }
    return Timing(ours=ours, plain=epoch, step=step, once=once)


def our_epoch(
    case: Case, settings: Settings, data: Prepared, folder: Path
) -> tuple[dict[str, float], float]:
    """Seconds of bank, stage 1 and stage 2, and of the frozen encoder's one pass before them."""
    keep_freed_memory()  # as every training does; the published order's last steps gain by it too
    model = shapes.network(settings, data, case.config)
    once = 0.0
    if not model.text_parameters() and model.text_encoder is not None:
        kept: list[Prepared] = []
        once = timed(lambda: kept.append(with_hidden_states(model, data, CPU)))
        data = kept[0]
    Trainer(settings, data, model, folder, device=CPU).fit(progress=False)
    seconds = read_log(folder)[-1]["seconds"]
    return {name: seconds[name] for name in ("bank", "stage1", "stage2")}, once


def made_bank(plain: Plain) -> dict[str, torch.Tensor]:
    """A bank of the right size with random features: a real one would take an epoch."""
    train = plain.data.splits["train"]
    label = label_variable(torch.from_numpy(train.labels), plain.data.num_classes)
    generator = torch.Generator().manual_seed(0)
    widths = dict.fromkeys(plain.settings.data.modalities, plain.settings.model.width)
    widths[FUSED] = plain.model.fused_width
    made = {n: torch.randn(len(train), w, generator=generator) for n, w in widths.items()}
    return {**made, LABEL: label}


def _plain_steps(plain: Plain, bank: dict[str, torch.Tensor], steps: int) -> dict[str, list[float]]:
    """Seconds of some steps of each stage, loading included."""
    found: dict[str, list[float]] = {"stage1": [], "stage2": []}
    for stage, batches, step in (
        ("stage1", plain.stage1(1), plain.critic_step),
        ("stage2", plain.stage2(1), plain.model_step),
    ):

        def one(batches: Any = batches, step: Any = step) -> None:
            batch, generator = next(batches)
            step(batch, bank, generator)

        found[stage] = [timed(one) for _ in range(steps)]
        batches.close()
    plain.collected = []
    return found


def _add(all_of: dict[str, list[float]], more: dict[str, list[float]]) -> None:
    for stage, seconds in more.items():
        all_of[stage] += seconds


def peak_memory(case: Case, side: str) -> dict[str, float]:
    """Mebibytes that this process has held at most, after two batches of one side."""
    with tempfile.TemporaryDirectory() as folder:
        settings = case.settings(Path(folder))
        data = case.data(settings)
        rows = range(min(PEAK_BATCHES * settings.training.batch_size, len(data.splits["train"])))
        few = {**data.splits, "train": data.splits["train"].select(list(rows))}
        data = replace(data, splits=few)
        if side == "ours":
            our_epoch(case, settings, data, Path(folder))
        else:
            plain = Plain(settings, data, shapes.network(settings, data, case.config))
            _plain_steps(plain, made_bank(plain), 2)
    return {"mib": peak_resident()}


def _memory(key: str, case: Case, options: Sequence[str]) -> Row:
    """Peak memory of both sides, each in a process of its own."""
    found = {}
    for side in ("ours", "plain"):
        command = [sys.executable, "-m", "bench.speed.training", *options]
        ended = subprocess.run(
            [*command, "--case", key, "--peak", side],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        found[side] = json.loads(ended.stdout.splitlines()[-1])["mib"]
    return Row(
        f"peak memory: {case.name}",
        found["ours"],
        found["plain"],
        unit="MiB",
        note="resident, of the whole process",
    )


def _text(parts: Sequence[breakdown.Part], peak: Peak) -> str:
    """Seconds of the text encoder alone, and of its operations at the machine's peak."""
    own = [part for part in parts if part.name.startswith("text encoder")]
    if not own:
        return ""
    alone, floor = sum(p.seconds for p in own), sum(p.floor(peak) for p in own)
    return f"; text encoder alone {number(alone)} s, its floor {number(floor)} s"


def _rows(case: Case, settings: Settings, timing: Timing, text: str) -> list[Row]:
    note = (
        f"batch {settings.training.batch_size}; a whole epoch beside steps of the published order"
    )
    if timing.once:
        note += f"; the encoder's one pass, {number(timing.once)} s, is kept on disk"
    ours, plain = sum(timing.ours.values()), sum(timing.plain.values())
    return [Row(case.name, ours, plain, goal_ratio=case.goal_ratio, note=note)]


def _stages(case: Case, timing: Timing) -> Table:
    lines = [("bank", number(timing.ours["bank"]), "collected in stage 2", "", "")]
    for stage in ("stage1", "stage2"):
        ours, plain = timing.ours[stage], timing.plain[stage]
        step = f"{number(timing.step[stage])} s a step"
        lines.append((stage, number(ours), number(plain), number(ours / plain), step))
    header = ("part", "ours, s", "published order, s", "ratio", "published order")
    return Table(f"Stages: {case.name}", header, tuple(lines))


def _cases(arguments: argparse.Namespace) -> dict[str, Case]:
    """What the command line asks for."""
    changes: dict[str, Any] = {
        name: getattr(arguments, name)
        for name in ("clips", "steps", "widths", "batch", "width", "modalities")
        if getattr(arguments, name) is not None
    }
    if arguments.words is not None:
        mean, deviation, most = arguments.words
        changes["words"] = (mean, deviation, math.ceil(most))
    changes |= {"layers": arguments.encoder_layers} if arguments.encoder_layers else {}
    changes |= {"hidden": arguments.encoder_hidden} if arguments.encoder_hidden else {}
    changes |= {"frozen": True} if arguments.frozen else {}
    for name in ("steps", "widths", "modalities"):
        if name in changes:
            changes[name] = tuple(changes[name])
    cases = QUICK if arguments.quick else CASES
    if changes or arguments.bank:
        start = shapes.TINY if arguments.quick else shapes.MOSI
        own = replace(start, **changes)
        cases = {"own": Case("epoch, own shapes", own, bank=arguments.bank)}
    wanted = arguments.case or list(cases)
    return {name: cases[name] for name in wanted}


def _parser() -> argparse.ArgumentParser:
    found = parser(__doc__)
    found.add_argument("--case", nargs="+", help=f"some of {', '.join(CASES)}; default all")
    found.add_argument("--plain-steps", type=int, default=2, help="of each stage, before and after")
    found.add_argument("--clips", type=int)
    found.add_argument("--words", type=float, nargs=3, metavar=("MEAN", "SD", "MAX"))
    found.add_argument("--steps", type=int, nargs=2, metavar=("AUDIO", "VIDEO"))
    found.add_argument("--widths", type=int, nargs=2, metavar=("AUDIO", "VIDEO"))
    found.add_argument("--batch", type=int)
    found.add_argument("--width", type=int, help="common width D")
    found.add_argument("--encoder-layers", type=int)
    found.add_argument("--encoder-hidden", type=int)
    found.add_argument("--modalities", nargs="+", help="text first; they decide the terms")
    found.add_argument("--bank", type=int, help="rows that product samples are drawn from")
    found.add_argument("--frozen", action="store_true", help="the text encoder does not learn")
    found.add_argument("--peak", choices=("ours", "plain"), help=argparse.SUPPRESS)
    return found


if __name__ == "__main__":
    sys.exit(main())
