"""Forward and backward of all critics, 11 terms: how they are arranged, and how far from the floor.

Samples are drawn beforehand; timed are the stage-1 losses and their gradients, in turn and each a
few times, of which the shortest counts:

* *published*: the published arrangement, one term after the other: every variable of a conditional
  term repeated to 128 columns, joint and product samples in passes of their own, a classifier with
  two outputs and a cross-entropy for each;
* *one by one*: our estimators, one term after the other;
* *grouped*: our estimators as two batched computations, in float32 and under bf16 autocast.

The floor is the number of multiplications and additions over what a large matrix product reaches
in the same run. Wanted: grouped takes at most half the time of one by one at a batch of 128.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy

from bench.speed.machine import TRIES, counted, measure_peak, timed
from bench.speed.made_critics import arguments_of, made
from bench.speed.rows import Found, Row, Table, counted_threads, number, parser, report
from mimrl import mi
from mimrl.settings.information import CriticSettings
from mimrl.training.critics import Critics, Samples

BATCHES = (32, 128, 512)
GOAL, GOAL_BATCH = 0.5, 128
TILED = 128  # columns to which the published classifier repeats every variable
CLAMP = 10.0  # of its logits
BANK = 1284
ARRANGEMENTS = ("published", "one by one", "grouped", "grouped, bf16")


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the tables; 1 if a goal is missed."""
    own = parser(__doc__)
    own.add_argument("--batches", type=int, nargs="+", default=list(BATCHES))
    arguments = arguments_of(own, argv)
    found = measure(arguments.batches, device=arguments.device, quick=arguments.quick)
    return report(found, "critics", arguments.json)


def measure(
    batches: Sequence[int] = BATCHES,
    *,
    width: int = 128,
    hidden: int = 256,
    device: torch.device | str = "cpu",
    quick: bool = False,
) -> Found:
    """Seconds of each arrangement at each size of batch."""
    if quick:
        batches, width, hidden = (8,), 16, 16
    size = 256 if quick else 2048
    peaks = {
        dtype: measure_peak(device, dtype, size=size, sweep=2**16).flops
        for dtype in (torch.float32, torch.bfloat16)
    }
    settings = CriticSettings.model_validate(
        {"update": "epoch", "hidden": hidden, "conditional": {"hidden": hidden}}
    )
    critics, variables = made(max(BANK, *batches), width, device, settings)
    bank = critics.bank(variables)
    rows, lines = [], []
    for batch in batches:
        generator = torch.Generator().manual_seed(0)
        chosen = torch.arange(batch, device=device)
        samples = critics.samples(bank.rows(chosen), bank, generator)
        steps = _arrangements(critics, samples, hidden)
        flops = {name: counted(step) for name, step in steps.items()}
        seconds = _shortest(steps, device)
        for ours, goal in (("grouped", GOAL), ("grouped, bf16", GOAL)):
            rows.append(
                Row(
                    f"critics, 11 terms, forward and backward, batch {batch}: {ours}",
                    1e3 * seconds[ours],
                    1e3 * seconds["one by one"],
                    "ms",
                    goal_ratio=goal if batch == GOAL_BATCH and not quick else None,
                    note="baseline: one by one in float32; published arrangement "
                    f"{number(1e3 * seconds['published'])} ms; "
                    f"{counted_threads(torch.get_num_threads())}",
                )
            )
        for name in ARRANGEMENTS:
            peak = peaks[torch.bfloat16 if "bf16" in name else torch.float32]
            floor = flops[name] / peak
            lines.append(
                (str(batch), name, number(1e3 * seconds[name]), number(flops[name] / 1e9),
                 number(1e3 * floor), f"{floor / seconds[name]:.0%}")
            )  # fmt: skip
    header = ("batch", "arrangement", "ms", "GFLOP", "floor, ms", "share of the peak")
    note = "Peak of a large matrix product in the same run: " + ", ".join(
        f"{peak / 1e9:.0f} GFLOP/s in {str(dtype).removeprefix('torch.')}"
        for dtype, peak in peaks.items()
    )
    return Found(tuple(rows), (Table("Critics, forward and backward", header, tuple(lines), note),))


def _shortest(steps: dict[str, Callable[[], None]], device: torch.device | str) -> dict[str, float]:
    """The shortest of a few calls of each, taken in turn: a busy moment does not hit one alone."""
    found: dict[str, float] = {}
    for _ in range(3 * TRIES):
        for name, step in steps.items():
            found[name] = min(timed(step, device), found.get(name, float("inf")))
    return found


def _arrangements(critics: Critics, samples: Samples, hidden: int) -> dict[str, Callable[[], None]]:
    """Name -> one forward and backward pass of all terms."""
    mutual = {name: critics.mutual.estimator(name) for name in samples.pairs}
    conditional = {name: critics.conditional.estimator(name) for name in samples.contrasts}
    device = next(critics.parameters()).device
    with torch.random.fork_rng():
        classifiers = {name: PublishedClassifier(hidden).to(device) for name in samples.contrasts}

    def published() -> Tensor:
        found = [mutual[n].loss(pair.x, pair.y) for n, pair in samples.pairs.items()]
        found += [classifiers[n].loss(c) for n, c in samples.contrasts.items()]
        return torch.stack(found).sum()

    def one_by_one() -> Tensor:
        found = [mutual[n].loss(pair.x, pair.y) for n, pair in samples.pairs.items()]
        found += [conditional[n].loss(c.joint, c.product) for n, c in samples.contrasts.items()]
        return torch.stack(found).sum()

    def grouped() -> Tensor:
        return torch.stack(list(critics.losses_of(samples).values())).sum()

    def narrow() -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            return grouped()

    parts = nn.ModuleList([*mutual.values(), *conditional.values(), *classifiers.values()])
    return {
        "published": _step(published, parts),
        "one by one": _step(one_by_one, parts),
        "grouped": _step(grouped, critics),
        "grouped, bf16": _step(narrow, critics),
    }


def _step(loss: Callable[[], Tensor], module: nn.Module) -> Callable[[], None]:
    def step() -> None:
        for parameter in module.parameters():
            parameter.grad = None
        loss().backward()

    return step


class PublishedClassifier(nn.Module):
    """The published classifier of joint against product samples, as to what it computes."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        widths = (3 * TILED, hidden, hidden, hidden, 2)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        self.network = nn.Sequential(*layers[:-1])

    def loss(self, contrast: mi.Contrast) -> Tensor:
        """Both outputs, "joint" and "product", of both kinds of samples."""
        joint, product = (self._outputs(rows) for rows in (contrast.joint, contrast.product))
        targets = torch.eye(2, device=joint.device)
        return binary_cross_entropy(joint, targets[0].expand_as(joint)) + binary_cross_entropy(
            product, targets[1].expand_as(product)
        )

    def _outputs(self, rows: mi.Triples) -> Tensor:
        tiled = [v.repeat(1, -(-TILED // v.shape[1]))[:, :TILED] for v in (rows.x, rows.y, rows.z)]
        return self.network(torch.cat(tiled, dim=1)).clamp(-CLAMP, CLAMP).sigmoid()


if __name__ == "__main__":
    sys.exit(main())
