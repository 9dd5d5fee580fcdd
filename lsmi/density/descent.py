"""Training of density models by gradient: all fits side by side, read at moments of the training.

Early stopping is then a choice among the moments, which each fit's held-out rows make.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lsmi.density.family import FloatArray, Progress, Rows
from lsmi.discriminators import epoch_batches
from mimrl.errors import NonFiniteError

LogDensity = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Model:
    """Density models of ``F`` fits: leaves with the fits in front, and what they say together.

    Attributes:
        log_density: ``(F, B, D)`` to ``(F, B)`` nats under the parameters as they are.
        parameters: leaves; fits share nothing.
        decayed: more of them, drawn towards 0.
        weight_decay: decoupled decay of the latter.
    """

    log_density: LogDensity
    parameters: Sequence[Tensor]
    decayed: Sequence[Tensor] = ()
    weight_decay: float = 0.0


@dataclass(frozen=True)
class Descent:
    """How long and how fast.

    Attributes:
        name: of the model, for messages.
        epochs: passes over the largest fit's rows.
        batch_size: rows of each fit a step.
        rate: Adam's learning rate, falling to 0 along half a cosine.
        moments: epochs after which the models are read; 0 is the start.
        seed: of the batches.
    """

    name: str
    epochs: int
    batch_size: int
    rate: float
    moments: Collection[int]
    seed: int


def descend(
    inputs: Tensor,
    fits: Sequence[Rows],
    model: Model,
    how: Descent,
    progress: Progress,
) -> FloatArray:
    """Log densities of all rows at each moment.

    Args:
        inputs: ``(F, N, D)``, each fit's in its own coordinates.
        fits: rows that each fit is trained on.
        model: trained in place.
        how: length and rate.
        progress: called after each epoch.

    Returns:
        ``(S, F, N)`` in nats, in the coordinates of ``inputs``.

    Raises:
        NonFiniteError: the likelihood became NaN or infinite.
    """
    generator = torch.Generator().manual_seed(how.seed)
    optimiser = torch.optim.AdamW(
        [
            {"params": list(model.parameters), "weight_decay": 0.0},
            {"params": list(model.decayed), "weight_decay": model.weight_decay},
        ],
        lr=how.rate,
        fused=True,
    )
    jobs = [torch.as_tensor(rows) for rows in fits]
    steps = math.ceil(max(len(job) for job in jobs) / how.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, how.epochs * steps)
    numbers = torch.arange(len(fits), device=inputs.device).unsqueeze(1)
    path = [_evaluate(inputs, model.log_density)] if 0 in how.moments else []
    for epoch in range(1, how.epochs + 1):
        for rows in epoch_batches(jobs, steps, how.batch_size, generator):
            loss = -model.log_density(inputs[numbers, rows.to(inputs.device)]).mean(1).sum()
            if not torch.isfinite(loss):
                raise NonFiniteError(f"loss of {how.name} is {loss.item()} in epoch {epoch}")
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        if epoch in how.moments:
            path.append(_evaluate(inputs, model.log_density))
        progress(1)
    return np.stack(path)


@torch.no_grad()
def _evaluate(inputs: Tensor, log_density: LogDensity) -> FloatArray:
    """``(F, N)``."""
    parts = [log_density(chunk) for chunk in inputs.split(4096, dim=1)]
    return torch.cat(parts, dim=1).cpu().numpy().astype(np.float64)
