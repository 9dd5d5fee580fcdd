"""The fit of one estimator: which rows, which scale, which step.

Fitted for too long, an estimator reports too little on other rows. So the rows given are split into
a fitting and a validation part, a running average of the weights is kept, and the average that did
best on validation is the result.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from mimrl.errors import EstimationError, NonFiniteError
from mimrl.mi.critics import Activation

SMALLEST_TRAINING = 20

Model = TypeVar("Model", bound=nn.Module)
Look = Callable[[int, Model, float], None]
"""Is told of every look at the validation rows: step, averaged model, validation loss."""


@dataclass(frozen=True)
class FitSettings:
    """How an estimator is fitted.

    Attributes:
        hidden: hidden width; also the embedding width of a separable critic.
        layers: hidden layers after the input layer.
        activation: between the layers.
        dropout: share of hidden units zeroed while fitting (conditional terms only).
        rate: Adam's learning rate.
        weight_decay: decoupled weight decay.
        batch_size: rows a step.
        steps: most steps.
        check_every: steps between two looks at the validation rows.
        patience: looks without improvement after which fitting ends.
        averaging: decay of the running average of the weights, in [0, 1).
        validation: share of the rows held back for early stopping.
        neighbours: neighbours of an anchor (conditional terms only).
        regression: seek neighbours in the linear prediction of x from z
            (:func:`~mimrl.mi.neighbours.regression_slopes`) instead of in z itself: for a wide z
            of which x depends on a few directions (conditional terms only).
    """

    hidden: int = 64
    layers: int = 2
    activation: Activation = "silu"
    dropout: float = 0.0
    rate: float = 2e-3
    weight_decay: float = 1e-2
    batch_size: int = 256
    steps: int = 1500
    check_every: int = 25
    patience: int = 6
    averaging: float = 0.98
    validation: float = 0.15
    neighbours: int = 1
    regression: bool = False


@dataclass(frozen=True)
class Scaling:
    """Mean and standard deviation of each column, from training rows."""

    mean: Tensor
    scale: Tensor

    @classmethod
    def fit(cls, values: Tensor) -> Scaling:
        """Of the columns of ``values`` ``(N, d)``; a constant column keeps its scale."""
        scale = values.std(dim=0, correction=0)
        return cls(values.mean(dim=0), torch.where(scale > 0, scale, 1.0))

    @classmethod
    def none(cls, width: int) -> Scaling:
        """Leaves ``width`` columns as they are."""
        return cls(torch.zeros(width), torch.ones(width))

    def __call__(self, values: Tensor) -> Tensor:
        """``values`` ``(N, d)`` on the training rows' scale."""
        return (values - self.mean.to(values)) / self.scale.to(values)


def split_rows(
    size: int, settings: FitSettings, generator: torch.Generator, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Row numbers for fitting and for validation, at random.

    Raises:
        EstimationError: fewer than 20 rows.
    """
    if size < SMALLEST_TRAINING:
        raise EstimationError(
            f"a fit needs {SMALLEST_TRAINING} or more rows, a part of them for validation, "
            f"got {size}"
        )
    order = torch.randperm(size, generator=generator).to(device)
    held_back = max(2, round(size * settings.validation))
    return order[held_back:], order[:held_back]


def draw_batch(fitting: Tensor, settings: FitSettings, generator: torch.Generator) -> Tensor:
    """Row numbers of a batch out of those for fitting, without replacement."""
    order = torch.randperm(len(fitting), generator=generator)
    return fitting[order[: settings.batch_size].to(fitting.device)]


def fit_with_early_stopping(
    model: Model,
    step_loss: Callable[[Model], Tensor],
    valid_loss: Callable[[Model], Tensor],
    settings: FitSettings,
    *,
    start: bool = False,
    look: Look[Model] | None = None,
) -> int:
    """Leaves in ``model`` the averaged weights with the lowest validation loss.

    Args:
        model: trained in place.
        step_loss: the loss of a fresh batch.
        valid_loss: the loss of the validation rows; lower is better.
        settings: optimiser, length, patience.
        start: whether the initial weights, step 0, are a candidate.
        look: told of every look at the validation rows, for a curve.

    Returns:
        The step of the weights left in ``model``.

    Raises:
        NonFiniteError: the loss became NaN or infinite.
    """
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.rate, weight_decay=settings.weight_decay
    )
    average = copy.deepcopy(model).eval()
    best = _Best(average, valid_loss, look)
    if start:
        best.look(0)
    for step in range(1, settings.steps + 1):
        loss = step_loss(model.train())
        if not bool(loss.isfinite()):
            raise NonFiniteError(
                f"the loss of a {type(model).__name__} fit is {loss.item()} at step {step}"
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        _average(average, model, min(settings.averaging, step / (step + 10)))
        if step % settings.check_every == 0 or step == settings.steps:
            best.look(step)
            if best.looks >= settings.patience:
                break
    model.load_state_dict(best.weights)
    return best.step


class _Best(Generic[Model]):
    """The averaged weights with the lowest validation loss so far.

    Attributes:
        step: at which they were seen.
        weights: a copy of them.
        looks: without improvement since.
    """

    def __init__(
        self,
        average: Model,
        valid_loss: Callable[[Model], Tensor],
        told: Look[Model] | None,
    ) -> None:
        self.average, self.valid_loss, self.told = average, valid_loss, told
        self.lowest, self.step, self.looks = math.inf, 0, 0
        self.weights = copy.deepcopy(average.state_dict())

    @torch.no_grad()
    def look(self, step: int) -> None:
        found = float(self.valid_loss(self.average))
        self.looks += 1
        if found < self.lowest:
            self.lowest, self.step, self.looks = found, step, 0
            self.weights = copy.deepcopy(self.average.state_dict())
        if self.told is not None:
            self.told(step, self.average, found)


@torch.no_grad()
def _average(average: nn.Module, model: nn.Module, decay: float) -> None:
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)
    for kept, new in zip(average.buffers(), model.buffers(), strict=True):
        kept.copy_(new)
