"""Classifiers p(y|x), many at a time, and their log probabilities along the training.

The classifiers of all folds and starts are of one shape and are trained side by side in batched
matrix products. What comes out is not a fitted model but its *path*: the logits of all samples at
a number of moments of the training. Early stopping is then a choice among the moments
(:mod:`lsmi.calibration`), which each reading makes on its own calibration rows.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mimrl.errors import NonFiniteError

Rows = npt.NDArray[np.int64]
MOMENTS = 25  # moments of a training that are kept, at most
Progress = Callable[[int], object]


@dataclass(frozen=True)
class ClassifierSettings:
    """Form and training of the classifiers.

    Attributes:
        hidden: widths of the hidden layers; none makes the classifier linear.
        epochs: passes over the training rows.
        batch_size: samples a step.
        rate: Adam's learning rate, falling to 0 along half a cosine.
        weight_decay: decoupled weight decay.
        members: starts whose log probabilities are averaged.
        seed: of initial weights and batches.
        device: PyTorch device.
    """

    hidden: tuple[int, ...] = (128, 128)
    epochs: int = 50
    batch_size: int = 64
    rate: float = 2e-3
    weight_decay: float = 1e-2
    members: int = 2
    seed: int = 0
    device: str = "cpu"


def classifier_paths(
    x: npt.NDArray[np.float64],
    labels: Rows,
    classes: int,
    fits: Sequence[Rows],
    settings: ClassifierSettings,
    progress: Progress = lambda epochs: None,
) -> npt.NDArray[np.float32]:
    """Log probabilities of all rows at moments of the training of each fit.

    Args:
        x: ``(N, D)`` finite inputs, roughly of unit scale.
        labels: ``(N,)`` in ``0 .. classes - 1``; only those of the rows in ``fits`` are used.
        classes: ``C``.
        fits: training rows of each fit.
        settings: form and training.
        progress: called with the number of epochs just done.

    Returns:
        ``(S, F, N, C)`` for ``S`` moments and ``F`` fits; normalised over classes.

    Raises:
        NonFiniteError: a loss became NaN or infinite.
    """
    device = torch.device(settings.device)
    generator = torch.Generator().manual_seed(settings.seed)
    inputs = torch.as_tensor(x, dtype=torch.float32, device=device)
    targets = torch.as_tensor(labels, device=device)
    jobs = [torch.as_tensor(rows) for rows in fits for _ in range(settings.members)]
    stack = _Stack((x.shape[1], *settings.hidden, classes), len(jobs), generator, device)
    optimiser = torch.optim.AdamW(
        stack.parameters, lr=settings.rate, weight_decay=settings.weight_decay, fused=True
    )
    steps = math.ceil(max(len(job) for job in jobs) / settings.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.epochs * steps)
    kept = moments(settings.epochs)
    path = []
    for epoch in range(1, settings.epochs + 1):
        for rows in epoch_batches(jobs, steps, settings.batch_size, generator):
            logits = stack(inputs[rows.to(device)])
            loss = _loss(logits, targets[rows.to(device)])
            if not torch.isfinite(loss):
                raise NonFiniteError(f"loss of the classifiers is {loss.item()} in epoch {epoch}")
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        if epoch in kept:
            path.append(_averaged(stack, inputs, settings.members))
        progress(1)
    return np.stack(path)


class _Stack:
    """``M`` multilayer perceptrons of one shape; ReLU between layers."""

    def __init__(
        self, widths: Sequence[int], models: int, generator: torch.Generator, device: torch.device
    ) -> None:
        self.weights: list[Tensor] = []
        self.biases: list[Tensor] = []
        pairs = list(itertools.pairwise(widths))
        for number, (before, after) in enumerate(pairs):
            # He et al. (2015) for ReLU; the last layer starts at 0: no class is preferred
            scale = 0.0 if number == len(pairs) - 1 else math.sqrt(2 / before)
            start = torch.randn(models, before, after, generator=generator) * scale
            self.weights.append(start.to(device).requires_grad_())
            self.biases.append(torch.zeros(models, 1, after, device=device, requires_grad=True))

    @property
    def parameters(self) -> list[Tensor]:
        return [*self.weights, *self.biases]

    def __call__(self, x: Tensor) -> Tensor:
        """``(M, B, D)`` to logits ``(M, B, C)``."""
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = torch.relu(torch.baddbmm(bias, x, weight))
        return torch.baddbmm(self.biases[-1], x, self.weights[-1])


def moments(epochs: int) -> frozenset[int]:
    """At most :data:`MOMENTS` epochs, evenly spaced, the last among them.

    >>> sorted(moments(4)), len(moments(500))
    ([1, 2, 3, 4], 25)
    """
    count = min(MOMENTS, epochs)
    return frozenset(math.ceil((k + 1) * epochs / count) for k in range(count))


def epoch_batches(
    jobs: Sequence[Tensor], steps: int, batch_size: int, generator: torch.Generator
) -> list[Tensor]:
    """``steps`` tensors ``(M, B)`` of row numbers; a job with fewer rows starts over."""
    orders = []
    for job in jobs:
        needed = steps * min(batch_size, max(len(other) for other in jobs))
        turns = [
            job[torch.randperm(len(job), generator=generator)]
            for _ in range(math.ceil(needed / len(job)))
        ]
        orders.append(torch.cat(turns)[:needed])
    return list(torch.stack(orders).chunk(steps, dim=1))


def _loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy, mean over samples, summed over models (they share no weights)."""
    chosen = torch.log_softmax(logits, -1).gather(-1, targets.unsqueeze(-1))
    return -chosen.mean(dim=1).sum()


@torch.no_grad()
def _averaged(stack: _Stack, inputs: Tensor, members: int) -> npt.NDArray[np.float32]:
    """``(F, N, C)``: the members' mean log probabilities, normalised again."""
    models = stack.weights[0].shape[0]
    parts = [
        torch.log_softmax(stack(chunk.expand(models, *chunk.shape)), -1)
        for chunk in inputs.split(4096)
    ]
    each = torch.cat(parts, dim=1)
    mean = each.reshape(models // members, members, *each.shape[1:]).mean(dim=1)
    return torch.log_softmax(mean, -1).cpu().numpy()
