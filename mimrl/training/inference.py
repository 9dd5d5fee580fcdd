"""Everything a trained model says about a split: predictions and features, in row order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mimrl.datasets.loading import iterate
from mimrl.datasets.prepare import Samples
from mimrl.model.model import MIMRL
from mimrl.terms import FUSED, LABEL
from mimrl.training.critics import label_variable


@dataclass(frozen=True)
class Features:
    """A model's outputs for a whole split, row ``i`` belonging to sample ``i``.

    Attributes:
        prediction: ``(N, C)`` ratings or logits.
        fused: ``(N, D_f)``.
        unimodal: modality -> ``(N, D)``.
        labels: ``(N,)`` float32 ratings or int64 classes.
    """

    prediction: Tensor
    fused: Tensor
    unimodal: Mapping[str, Tensor]
    labels: Tensor

    def variables(self, num_classes: int) -> dict[str, Tensor]:
        """The random variables of the terms: modalities, ``fused`` and ``label``, by name."""
        label = label_variable(self.labels, num_classes)
        return {**self.unimodal, FUSED: self.fused, LABEL: label}

    def named(self) -> dict[str, Tensor]:
        """Modalities and ``fused`` by name."""
        return {**self.unimodal, FUSED: self.fused}


@torch.no_grad()
def encode(
    model: MIMRL, samples: Samples, *, batch_size: int, device: torch.device | str = "cpu"
) -> Features:
    """Runs ``model`` over ``samples`` in evaluation mode, without gradients.

    The model's mode is put back afterwards. All tensors are on ``device``.
    """
    was_training = model.training
    model.eval()
    rows, predictions, fused, labels = [], [], [], []
    unimodal: dict[str, list[Tensor]] = {}
    for batch in iterate(samples, batch_size):
        output = model(batch.to(device))
        rows.append(batch.rows)
        predictions.append(output.prediction)
        fused.append(output.fused)
        labels.append(batch.labels)
        for name, value in output.unimodal.items():
            unimodal.setdefault(name, []).append(value)
    model.train(was_training)
    order = torch.cat(rows).argsort()

    def join(parts: list[Tensor]) -> Tensor:
        return torch.cat(parts)[order.to(parts[0].device)].to(device)

    return Features(
        prediction=join(predictions),
        fused=join(fused),
        unimodal={name: join(parts) for name, parts in unimodal.items()},
        labels=join(labels),
    )
