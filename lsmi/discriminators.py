"""Classifiers p(y|x), many at a time, and their held-out log probabilities along the training.

The classifiers of all folds, repeats and shuffled labels are of one shape and are trained side by
side in batched matrix products. What comes out is not a fitted model but its *path*: the log
probabilities of the rows held out from it, at a number of moments of the training. Early stopping
is then a choice among the moments (:mod:`lsmi.calibration`).
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
PATIENCE = 6  # moments without a better held-out likelihood of any job that end the training
Progress = Callable[[int], object]


@dataclass(frozen=True)
class Job:
    """One classifier: fitted on some rows, read on others.

    Attributes:
        fit: its training rows.
        held: rows that it is evaluated on.
        labels: ``(N,)`` classes of all rows; those of ``fit`` are learned.
        judges: rows of ``held`` whose labels say when learning ends; there may be none.
        inputs: which of the inputs it sees.
    """

    fit: Rows
    held: Rows
    labels: Rows
    judges: Rows
    inputs: int = 0


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
    members: int = 1
    seed: int = 0
    device: str = "cpu"


def classifier_paths(
    inputs: Sequence[npt.NDArray[np.float64]],
    classes: int,
    jobs: Sequence[Job],
    settings: ClassifierSettings,
    progress: Progress = lambda epochs: None,
) -> list[npt.NDArray[np.float32]]:
    """Log probabilities of each job's held-out rows at moments of its training.

    Args:
        inputs: arrays ``(N, D)``, finite and roughly of unit scale; ``D`` may differ.
        classes: ``C``; labels are in ``0 .. C - 1``.
        jobs: what is fitted and read.
        settings: form and training.
        progress: called with the number of epochs just done.

    Returns:
        For each job ``(S, len(held), C)`` for ``S`` moments; normalised over classes. The training
        ends early when the jobs of no inputs have, on average, become better on their judges for
        :data:`PATIENCE` moments; which moment is read is another's choice, on other rows.

    Raises:
        NonFiniteError: a loss became NaN or infinite.
    """
    device = torch.device(settings.device)
    generator = torch.Generator().manual_seed(settings.seed)
    every = [job for job in jobs for _ in range(settings.members)]
    targets = torch.as_tensor(np.stack([job.labels for job in every]), device=device)
    models = torch.arange(len(every), device=device).unsqueeze(1)
    source = torch.as_tensor([job.inputs for job in every], device=device).unsqueeze(1)
    padded = _padded(inputs).to(device)
    stack = _Stack(
        [inputs[job.inputs].shape[1] for job in every],
        (*settings.hidden, classes),
        generator,
        device,
    )
    optimiser = torch.optim.AdamW(
        stack.parameters, lr=settings.rate, weight_decay=settings.weight_decay, fused=True
    )
    fits = [torch.as_tensor(job.fit) for job in every]
    steps = math.ceil(max(len(fit) for fit in fits) / settings.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.epochs * steps)
    kept = moments(settings.epochs)
    path: list[list[npt.NDArray[np.float32]]] = []
    best, last_better = np.full(len(inputs), -np.inf), 0
    for epoch in range(1, settings.epochs + 1):
        for drawn in epoch_batches(fits, steps, settings.batch_size, generator):
            rows = drawn.to(device)
            loss = _loss(stack(padded[source, rows]), targets[models, rows])
            if not torch.isfinite(loss):
                raise NonFiniteError(f"loss of the classifiers is {loss.item()} in epoch {epoch}")
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        if epoch in kept:
            path.append(_held_out(stack, padded, jobs, settings.members))
            reached = _likelihoods(path[-1], jobs, len(inputs))
            nobody_judges = not np.isfinite(reached).any()
            last_better = len(path) if nobody_judges or (reached > best).any() else last_better
            best = np.maximum(best, reached)
        if len(path) - last_better >= PATIENCE:
            progress(settings.epochs - epoch + 1)
            break
        progress(1)
    return [np.stack(moments_of_job) for moments_of_job in zip(*path, strict=True)]


def _padded(inputs: Sequence[npt.NDArray[np.float64]]) -> Tensor:
    """``(K, N, D)``: narrower inputs are followed by zeros, which no weight can use."""
    width = max(x.shape[1] for x in inputs)
    arrays = [np.pad(x, ((0, 0), (0, width - x.shape[1]))) for x in inputs]
    return torch.as_tensor(np.stack(arrays), dtype=torch.float32)


class _Stack:
    """``M`` multilayer perceptrons with layers of the same widths; ReLU between them."""

    def __init__(
        self,
        before: Sequence[int],
        widths: Sequence[int],
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        self.weights: list[Tensor] = []
        self.biases: list[Tensor] = []
        models = len(before)
        # He et al. (2015) for ReLU, by the inputs that are not padding
        scale = torch.sqrt(2 / torch.tensor(before, dtype=torch.float32)).reshape(-1, 1, 1)
        for number, (width, after) in enumerate(itertools.pairwise((max(before), *widths))):
            if number:
                scale = torch.full((models, 1, 1), math.sqrt(2 / width))
            if number == len(widths) - 1:
                scale = torch.zeros(models, 1, 1)  # no class is preferred
            start = torch.randn(models, width, after, generator=generator) * scale
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


def _likelihoods(
    logs: Sequence[npt.NDArray[np.float32]], jobs: Sequence[Job], inputs: int
) -> npt.NDArray[np.float64]:
    """``(K,)`` mean log probability of the judges' labels, over the jobs of each input."""
    found: list[list[float]] = [[] for _ in range(inputs)]
    for each, job in zip(logs, jobs, strict=True):
        places = np.flatnonzero(np.isin(job.held, job.judges))
        if len(places):
            mean = each[places, job.labels[job.held[places]]].mean()
            found[job.inputs].append(float(mean))
    return np.asarray([np.mean(values) if values else -np.inf for values in found])


def moments(epochs: int, most: int = MOMENTS) -> tuple[int, ...]:
    """At most ``most`` epochs in order, evenly spaced, the last among them.

    >>> moments(4), len(moments(500)), moments(9, most=3)
    ((1, 2, 3, 4), 25, (3, 6, 9))
    """
    count = min(most, epochs)
    return tuple(math.ceil((k + 1) * epochs / count) for k in range(count))


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
def _held_out(
    stack: _Stack, padded: Tensor, jobs: Sequence[Job], members: int
) -> list[npt.NDArray[np.float32]]:
    """``(len(held), C)`` for each job: its members' mean log probabilities, normalised again."""
    most = max(len(job.held) for job in jobs)
    # jobs with fewer rows repeat them, so that all are read in one product
    rows = torch.as_tensor(np.stack([np.resize(job.held, most) for job in jobs]))
    rows = rows.repeat_interleave(members, dim=0).to(padded.device)
    source = torch.as_tensor([[job.inputs] for job in jobs for _ in range(members)])
    source = source.to(padded.device)
    parts = [
        torch.log_softmax(stack(padded[source, chunk]), -1) for chunk in rows.split(4096, dim=1)
    ]
    each = torch.cat(parts, dim=1)
    mean = each.reshape(len(jobs), members, *each.shape[1:]).mean(dim=1)
    logs = torch.log_softmax(mean, -1).cpu().numpy()
    return [logs[number, : len(job.held)] for number, job in enumerate(jobs)]
