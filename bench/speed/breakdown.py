"""Where an epoch of ours goes: each part alone, beside its floor in operations or bytes.

A part is run on a few batches of the epoch, forward and where stage 2 does so backward, from inputs
made before; its seconds times the share of the epoch that those batches are. Operations are the
multiplications and additions of its matrix products, counted while it runs; the floor is their
number over what a large matrix product reaches on this machine, or bytes over what a large sum
reaches. A backward pass that needs no gradient of its inputs counts what it does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench.speed.machine import Peak, counted, timed
from bench.speed.rows import Table, number
from bench.speed.shapes import network
from mimrl.datasets.batches import Batch
from mimrl.datasets.loading import iterate
from mimrl.datasets.prepare import Prepared
from mimrl.model.encoders import TextEncoder
from mimrl.model.masks import masked_mean
from mimrl.model.model import MIMRL
from mimrl.settings import Settings
from mimrl.terms import FUSED, LABEL
from mimrl.training import checkpoint
from mimrl.training.critics import Critics, label_variable
from mimrl.training.frozen import with_hidden_states
from mimrl.training.optimisation import build_optimizer, clipper

SAMPLED = 8
FLOAT = 4  # bytes


@dataclass(frozen=True)
class Part:
    """One part of an epoch.

    Attributes:
        name: which.
        seconds: in the epoch.
        flops: in the epoch.
        bytes: moved in the epoch; 0: its floor is in operations.
    """

    name: str
    seconds: float
    flops: float = 0.0
    bytes: float = 0.0

    def floor(self, peak: Peak) -> float:
        """Seconds that the operations, or the bytes, need at least."""
        return max(self.flops / peak.flops, self.bytes / peak.bandwidth)


@dataclass(frozen=True)
class Step:
    """What one batch gives to the parts after the encoders, cut off from its graph."""

    batch: Batch
    sequences: list[Tensor]
    lengths: list[Tensor]
    variables: Mapping[str, Tensor]


def parts(config: dict[str, Any] | None, settings: Settings, data: Prepared) -> list[Part]:
    """All parts of one epoch with both stages."""
    model = network(settings, data, config)
    if model.text_encoder is not None and not model.text_parameters():
        data = with_hidden_states(model, data, torch.device("cpu"))
    model.train()
    training, train = settings.training, data.splits["train"]
    loading, batches = _loading(settings, data)
    chosen = batches[:: max(1, len(batches) // SAMPLED)]
    share = len(train) / sum(len(batch) for batch in chosen)
    steps = [_step(model, batch, data.num_classes) for batch in chosen]
    found = [loading, *_encoders(model, steps, share), _fusion(model, steps, share)]
    if training.stage1_passes:
        critics = checkpoint.build_critics(settings, model, data.num_classes)
        found += _critics(settings, data, model, critics, steps, share)
    found.append(_optimiser(settings, model, len(batches)))
    return found


def table(name: str, found: Sequence[Part], epoch: Mapping[str, float], peak: Peak) -> Table:
    """Seconds, operations or bytes, floor and ratio of every part, and what is left over."""
    lines = []
    for part in found:
        floor = part.floor(peak)
        work = f"{part.flops / 1e9:.4g} GFLOP" if part.flops else f"{part.bytes / 1e9:.3g} GB"
        times = number(part.seconds / floor) if floor else ""
        lines.append((part.name, number(part.seconds), work, number(floor), times))
    total, known = sum(epoch.values()), sum(part.seconds for part in found)
    floors = sum(part.floor(peak) for part in found)
    lines.append(("all parts", number(known), "", number(floors), number(known / floors)))
    lines.append(("epoch as a whole", number(total), "", number(floors), number(total / floors)))
    header = ("part of ours", "s an epoch", "work", "floor, s", "times its floor")
    return Table(
        f"Where the time goes: {name}",
        header,
        tuple(lines),
        note=f"Floors: {peak.flops / 1e9:.0f} GFLOP/s in a large float32 matrix product, "
        f"{peak.bandwidth / 1e9:.1f} GB/s in a large sum, both measured in the same run.",
    )


def _measured(name: str, call: Callable[[], object], times: float) -> Part:
    """A part from one call after one that does not count."""
    flops = counted(call)
    return Part(name, timed(call) * times, flops * times)


def _loading(settings: Settings, data: Prepared) -> tuple[Part, list[Batch]]:
    """Batches of stage 2 and of the bank; bytes read and written once each."""
    batches: list[Batch] = []
    size = settings.training.batch_size
    generator = torch.Generator().manual_seed(0)

    def load() -> None:
        batches[:] = iterate(data.splits["train"], size, generator=generator)

    seconds = timed(load)
    moved = sum(v.numel() * v.element_size() for batch in batches for v in batch.inputs.values())
    passes = 2 if settings.training.stage1_passes else 1
    return Part("loading and padding", seconds * passes, bytes=2.0 * moved * passes), batches


def _step(model: MIMRL, batch: Batch, num_classes: int) -> Step:
    with torch.no_grad():
        sequences = [model.encoders[n](batch.inputs[n], batch.lengths[n]) for n in model.modalities]
        lengths = [batch.lengths[name].clamp(min=1) for name in model.modalities]
        fused = model.fusion(sequences, lengths)
        unimodal = {
            name: masked_mean(sequence, valid)
            for name, sequence, valid in zip(model.modalities, sequences, lengths, strict=True)
        }
    label = label_variable(batch.labels, num_classes)
    return Step(batch, sequences, lengths, {**unimodal, FUSED: fused, LABEL: label})


def _encoders(model: MIMRL, steps: Sequence[Step], share: float) -> list[Part]:
    """Forward and backward of stage 2, and the forward pass of the bank."""
    found = []
    for name in model.modalities:
        encoder = model.encoders[name]
        text = isinstance(encoder, TextEncoder)
        learns = not text or bool(model.text_parameters())

        def forward(name: str = name, encoder: torch.nn.Module = encoder) -> None:
            with torch.no_grad():
                for step in steps:
                    encoder(step.batch.inputs[name], step.batch.lengths[name])

        def both(name: str = name, encoder: torch.nn.Module = encoder) -> None:
            for step in steps:
                encoder(step.batch.inputs[name], step.batch.lengths[name]).sum().backward()
            encoder.zero_grad()

        if text:
            title = "text encoder" if learns else "projection of the text's states"
        else:
            title = f"recurrence, {name}"
        found.append(_measured(f"{title}: stage 2, forward and backward", both, share))
        found.append(_measured(f"{title}: bank, forward", forward, share))
    return found


def _fusion(model: MIMRL, steps: Sequence[Step], share: float) -> Part:
    """Forward and backward of stage 2 and forward of the bank; gradients to its inputs too."""

    def run() -> None:
        for step in steps:
            inputs = [sequence.detach().requires_grad_() for sequence in step.sequences]
            model.head(model.fusion(inputs, step.lengths)).sum().backward()
            with torch.no_grad():
                model.head(model.fusion(inputs, step.lengths))

    return _measured("fusion and head: stage 2 and bank", run, share)


def _optimiser(settings: Settings, model: MIMRL, steps: int) -> Part:
    """Clipping and Adam of the model: each parameter's value, gradient and two moments."""
    training = settings.training
    text = (model.text_parameters(), training.text_rate)
    optimizer = build_optimizer(
        training.optimizer, {"text": text, "main": (model.other_parameters(), 1.0)}
    )
    parameters = [p for p in model.parameters() if p.requires_grad]
    clip = clipper(training)

    def run() -> None:
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter)
        clip(parameters)
        optimizer.step()

    run()
    numbers = sum(p.numel() for p in parameters)
    # written once as gradient, read and written by the clipping; 4 read, 3 written by Adam
    moved = FLOAT * (1 + 2 + 7) * numbers
    return Part("clipping and optimiser of the model", timed(run) * steps, bytes=moved * steps)


def _critics(
    settings: Settings,
    data: Prepared,
    model: MIMRL,
    critics: Critics,
    steps: Sequence[Step],
    share: float,
) -> list[Part]:
    """Product samples, and the critics of both stages without them."""
    train, training = data.splits["train"], settings.training
    generator = torch.Generator().manual_seed(0)
    variables = {
        name: torch.randn(len(train), value.shape[1], generator=generator)
        for name, value in steps[0].variables.items()
    }
    label = label_variable(torch.from_numpy(train.labels), data.num_classes)
    critics.set_scale(variables | {LABEL: label})
    bank = critics.bank(critics.standardise(variables | {LABEL: label}))
    rows = [critics.standardise(step.variables) for step in steps]
    optimizer = build_optimizer(
        training.optimizer, {"critics": (list(critics.parameters()), settings.critics.rate)}
    )
    clip = clipper(training)
    parameters = list(critics.parameters())

    def draw() -> None:
        for row in rows:
            critics.samples(row, bank, generator)

    def fit() -> None:
        critics.train().requires_grad_(True)
        for row in rows:
            loss = torch.stack(list(critics.losses(row, bank, generator).values())).sum()
            optimizer.zero_grad()
            loss.backward()
            clip(parameters)
            optimizer.step()

    def steer() -> None:
        critics.eval().requires_grad_(False)
        for row in rows:
            leaves = {
                name: value.detach().requires_grad_(name != LABEL) for name, value in row.items()
            }
            torch.stack(list(critics.values(leaves, bank, generator).values())).sum().backward()

    draws = _measured("", draw, share)
    passes = training.stage1_passes
    first, second = _measured("", fit, share * passes), _measured("", steer, share)
    return [
        Part(
            "product samples: both stages", draws.seconds * (passes + 1), draws.flops * (passes + 1)
        ),
        _without("critics: stage 1, with their optimiser", first, draws, passes),
        _without("critics: stage 2", second, draws, 1),
    ]


def _without(name: str, part: Part, draws: Part, times: float) -> Part:
    """A part less the product samples that are drawn in it."""
    return Part(name, part.seconds - times * draws.seconds, part.flops - times * draws.flops)
