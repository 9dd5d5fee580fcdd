"""The curve of a training and what it says about the fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from torch import Tensor, nn

from mimrl.errors import EstimationWarning, UndertrainedWarning
from mimrl.mi.estimators.interface import CurvePoint

Model = TypeVar("Model", bound=nn.Module)


class Recorder(Generic[Model]):
    """Collects the curve of one training.

    Args:
        fold: number of the fold.
        validation: the estimate on validation rows, in nats.

    Attributes:
        curve: the points so far, one for each look.
    """

    def __init__(self, fold: int, validation: Callable[[Model], float]) -> None:
        self.fold, self.validation = fold, validation
        self.curve: list[CurvePoint] = []
        self._batches: list[float] = []

    def train(self, value: Tensor) -> None:
        """Notes the estimate on one training batch, in nats."""
        self._batches.append(float(value.detach()))

    def look(self, step: int, model: Model, loss: float) -> None:
        """A point: the mean over batches since the last one, and validation."""
        del loss
        validation = self.validation(model)
        batches = self._batches or [validation]  # before the first step there is no batch
        train = sum(batches) / len(batches)
        self.curve.append(CurvePoint(self.fold, step, train, validation))
        self._batches = []


def training_doubts(
    curve: Sequence[CurvePoint], chosen: int, steps: int
) -> tuple[EstimationWarning, ...]:
    """Whether a training ended too early, or never rose.

    Args:
        curve: of one training.
        chosen: step that validation chose.
        steps: most steps allowed.
    """
    if chosen == steps:
        return (
            UndertrainedWarning(
                f"the best step of the training was its last, {steps}; raise 'steps'"
            ),
        )
    best = max(point.validation for point in curve)
    if best <= 0:
        return (
            UndertrainedWarning(
                "the validation estimate never rose above 0: x and y are independent as far as "
                "these samples tell, or the training found nothing; a larger 'rate' or "
                "another preprocessing may"
            ),
        )
    return ()
