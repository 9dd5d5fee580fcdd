"""Everything a trained model says about a split: predictions and features, in row order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mimrl.datasets.loading import iterate
from mimrl.datasets.prepare import Samples
from mimrl.model.model import MIMRL
from mimrl.model.output import Output
from mimrl.terms import FUSED, LABEL
from mimrl.training.critics import label_variable
from mimrl.training.precision import in_float32
from mimrl.training.team import ALONE, Team


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
    model: MIMRL,
    samples: Samples,
    *,
    batch_size: int,
    device: torch.device | str = "cpu",
    team: Team = ALONE,
    precision: Callable[[], AbstractContextManager[object]] = nullcontext,
    workers: int = 0,
    present: npt.NDArray[np.bool_] | None = None,
) -> Features:
    """Runs ``model`` over ``samples`` in evaluation mode, without gradients.

    The model's mode is put back afterwards. All tensors are on ``device``.

    Args:
        model: on ``device``.
        samples: a split.
        batch_size: samples that one process encodes at a time; nothing but speed depends on it.
        device: where to compute.
        team: processes that share the samples out; all get the features of all samples.
        precision: gives the context in which the model runs.
        workers: processes that read and pad batches ahead.
        present: ``(N, K)``: where false, a sample counts as one that lacks the modality; None: all
            count as they are.
    """
    was_training = model.training
    model.eval()
    rows, parts = [], []
    pin = torch.device(device).type == "cuda"
    batches = iterate(
        samples, batch_size, share=team.part, workers=workers, pin=pin, present=present
    )
    for batch in batches:
        with precision():
            output = model(batch.to(device))
        rows.append(batch.rows)
        parts.append(in_float32(output))
    model.train(was_training)
    local = torch.cat([_columns(output) for output in parts])
    order = team.gather(torch.cat(rows).to(device), len(samples)).argsort()
    found = _output(team.gather(local, len(samples))[order], parts[0])
    return Features(
        prediction=found.prediction,
        fused=found.fused,
        unimodal=found.unimodal,
        labels=torch.from_numpy(samples.labels).to(device),
    )


def gathered(output: Output, team: Team, rows: int) -> Output:
    """What the network gave for all processes' shares of a batch, in its order; differentiable.

    One transfer for all of it, whose adjoint runs at the same place of every backward pass.

    Args:
        output: of this process's share, in float32.
        team: the processes.
        rows: of all shares together.
    """
    if team.size == 1:
        return output
    columns = team.gather(_columns(output), rows)
    order = team.dealt(rows).to(columns.device, non_blocking=True)
    return _output(columns[order], output)


def _columns(output: Output) -> Tensor:
    """All of an output side by side, ``(B, C + D_f + K D)``."""
    return torch.cat([output.prediction, output.fused, *output.unimodal.values()], dim=1)


def _output(columns: Tensor, like: Output) -> Output:
    """The inverse of :func:`_columns`, with the widths of ``like``."""
    parts = [like.prediction, like.fused, *like.unimodal.values()]
    prediction, fused, *rest = columns.split([part.shape[1] for part in parts], dim=1)
    return Output(prediction, fused, dict(zip(like.unimodal, rest, strict=True)))
