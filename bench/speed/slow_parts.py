"""Parts of the published order of work: padding, a loop over anchors, encoders without haste."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from mimrl import mi
from mimrl.datasets.batches import Batch
from mimrl.datasets.prepare import Prepared
from mimrl.model.encoders import RecurrentEncoder, TextEncoder
from mimrl.model.masks import step_mask, zero_padding
from mimrl.model.model import MIMRL
from mimrl.settings import Settings
from mimrl.training.critics import Critics


def pad(batch: Batch, steps: Mapping[str, int]) -> Batch:
    """``batch`` with every modality padded with zeros to ``steps`` of it."""
    inputs = {}
    for name, values in batch.inputs.items():
        missing = steps[name] - values.shape[1]
        shape = (0, missing) if values.ndim == 2 else (0, 0, 0, missing)
        inputs[name] = functional.pad(values, shape)
    return replace(batch, inputs=inputs)


def loop_product(
    bank: mi.Triples, anchors: Tensor, count: int, neighbours: int
) -> mi.ProductSamples:
    """Product samples as published: anchor by anchor; of equal distances the lowest row.

    Args:
        bank: ``N`` rows.
        anchors: ``(A,)`` int64 rows of the bank.
        count: samples, at most ``A`` times ``neighbours``.
        neighbours: of each anchor.
    """
    taken = anchors.numpy()
    left = torch.tensor([row for row in range(len(bank)) if row not in taken])
    others = bank.z[left]
    found = []
    for anchor in anchors:
        distances = (others - bank.z[anchor]).square().sum(dim=1)
        order = distances.sort(stable=True).indices
        found.append(left[order[:neighbours]])
    rows = torch.cat(found)[:count]
    repeated = anchors.repeat_interleave(neighbours)[:count]
    return mi.ProductSamples(bank.x[rows], bank.y[repeated], bank.z[repeated], rows)


def anchor_rows(drawn: mi.ProductSamples, bank: mi.Triples, neighbours: int) -> Tensor:
    """Where the anchors of product samples stand in the bank they were drawn from."""
    wanted = torch.cat([drawn.y, drawn.z], dim=1)[::neighbours].detach()
    rows = torch.cat([bank.y, bank.z], dim=1)
    return torch.stack([(rows == each).all(dim=1).long().argmax() for each in wanted])


class Packed(RecurrentEncoder):
    """A recurrent encoder that packs its sequences, as PyTorch offers it."""

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """``(B, T, d)`` to ``(B, T, D)``."""
        valid, steps = lengths.clamp(min=1), values.shape[1]
        packed = pack_padded_sequence(values, valid, batch_first=True, enforce_sorted=False)
        states = self.recurrent(packed)[0]
        both, _ = pad_packed_sequence(states, batch_first=True, total_length=steps)
        summed = both[..., : both.shape[2] // 2] + both[..., both.shape[2] // 2 :]
        return self.dropout(zero_padding(self.norm(summed).relu(), valid))


class Padded(TextEncoder):
    """A transformer that computes every padded token of every sample."""

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """``(B, T)`` token ids to ``(B, T, D)``."""
        mask = step_mask(lengths.clamp(min=1), values.shape[1]).long()
        states = self.transformer(input_ids=values, attention_mask=mask).last_hidden_state
        return self.dropout(self.projection(zero_padding(states, lengths)))


SLOW: Mapping[type, type] = {RecurrentEncoder: Packed, TextEncoder: Padded}


def slow(model: MIMRL) -> None:
    """Makes the encoders of ``model`` take no short cut; their weights stay where they are."""
    for encoder in model.encoders.values():
        encoder.__class__ = SLOW.get(type(encoder), type(encoder))


class Means:
    """Means over an epoch of what the steps gave, weighted by rows."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.rows = 0

    def add(self, values: Mapping[str, Tensor], rows: int) -> None:
        """One step's values."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value.detach()) * rows
        self.rows += rows

    def means(self) -> dict[str, float]:
        """Name -> mean."""
        return {name: value / self.rows for name, value in self.sums.items()}


def gradient_norm(loss: Tensor, inputs: list[Tensor]) -> float:
    """The norm of the gradient of a loss with respect to all inputs; the graph stays."""
    found = torch.autograd.grad(loss, inputs, retain_graph=True, allow_unused=True)
    return sum(float(g.square().sum()) for g in found if g is not None) ** 0.5


def one_by_one(critics: Critics) -> nn.ModuleDict:
    """An estimator a term, with the weights that ``critics`` have."""
    found = nn.ModuleDict({term.name: critics.estimator(term) for term in critics.table})
    return found.requires_grad_(True)


def longest(settings: Settings, data: Prepared) -> dict[str, int]:
    """Modality -> the steps that every batch is padded to."""
    steps = {}
    for name, sequences in data.splits["train"].inputs.items():
        encoder = settings.model.encoders[name]
        longest = max(int(s.inputs[name].lengths.max(initial=1)) for s in data.splits.values())
        tokens = encoder.kind == "transformer" and sequences.width == 0
        steps[name] = encoder.max_tokens if tokens else longest  # type: ignore[union-attr]
    return steps
