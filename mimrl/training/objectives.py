"""What is minimised: the task losses and the stage-2 objective, and the quantities it steers.

Stage 2 minimises ``task - sum_q weight_q quantity_q`` (Sun et al., IEEE TAFFC 2025): a positive
weight pushes a quantity up, a negative one pushes it down.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional

from mimrl.errors import ShapeError
from mimrl.settings.training import FocalLoss, LossSettings
from mimrl.terms import Quantity

Loss = Callable[[Tensor, Tensor], Tensor]
SMALLEST_SPREAD = 1e-8


def mae_loss(prediction: Tensor, label: Tensor) -> Tensor:
    """Mean absolute error of ``(B, 1)`` predictions and ``(B,)`` labels, in units of the label."""
    return functional.l1_loss(_vector(prediction), label)


def mse_loss(prediction: Tensor, label: Tensor) -> Tensor:
    """Mean squared error of ``(B, 1)`` predictions and ``(B,)`` labels."""
    return functional.mse_loss(_vector(prediction), label)


def rmse_loss(prediction: Tensor, label: Tensor) -> Tensor:
    """Root of the mean squared error; its gradient stays finite at an error of 0."""
    return (mse_loss(prediction, label) + SMALLEST_SPREAD).sqrt()


def ccc_loss(prediction: Tensor, label: Tensor) -> Tensor:
    """One minus the concordance correlation coefficient (Lin, Biometrics 1989) of the batch."""
    x = _vector(prediction)
    covariance = ((x - x.mean()) * (label - label.mean())).mean()
    spread = x.var(correction=0) + label.var(correction=0) + (x.mean() - label.mean()) ** 2
    return 1 - 2 * covariance / (spread + SMALLEST_SPREAD)


def bce_loss(prediction: Tensor, label: Tensor) -> Tensor:
    """Binary cross-entropy in nats of ``(B, 1)`` logits and ``(B,)`` classes 0 or 1."""
    logit = _vector(prediction)
    return functional.binary_cross_entropy_with_logits(logit, label.to(logit.dtype))


def ce_loss(prediction: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy in nats of ``(B, C)`` logits and ``(B,)`` classes."""
    return functional.cross_entropy(prediction, label)


def focal_loss(prediction: Tensor, label: Tensor, gamma: float = 2.0) -> Tensor:
    """Focal loss of ``(B, C)`` logits and ``(B,)`` classes (Lin et al., ICCV 2017, equation 4).

    Note:
        Each sample has its own modulating factor; the published MIMRL code applies one factor to
        the mean cross-entropy of the batch, which changes nothing but the learning rate.
    """
    log_p = functional.log_softmax(prediction, dim=1).gather(1, label[:, None])[:, 0]
    return -(((1 - log_p.exp()) ** gamma) * log_p).mean()


PLAIN_LOSSES: Mapping[str, Loss] = MappingProxyType(
    {
        "mae": mae_loss,
        "mse": mse_loss,
        "rmse": rmse_loss,
        "ccc": ccc_loss,
        "bce": bce_loss,
        "ce": ce_loss,
    }
)


def task_loss(settings: LossSettings) -> Loss:
    """The loss that ``training.loss`` names: ``(B, C)`` predictions, ``(B,)`` labels -> scalar."""
    if isinstance(settings, FocalLoss):
        gamma = settings.gamma
        return lambda prediction, label: focal_loss(prediction, label, gamma)
    return PLAIN_LOSSES[settings.kind]


def quantity_values(
    table: Sequence[Quantity], values: Mapping[str, Tensor | float]
) -> dict[str, Tensor | float]:
    """Quantities from term values, in nats.

    Args:
        table: the quantities wanted.
        values: term name -> its value in nats; may lack terms that no quantity in ``table`` uses.
    """
    return {
        quantity.name: sum(sign * values[term] for term, sign in quantity.parts.items())
        for quantity in table
    }


def steered_loss(
    task: Tensor, quantities: Mapping[str, Tensor | float], weights: Mapping[str, float]
) -> Tensor:
    """``task - sum_q weight_q quantity_q`` over the quantities whose weight is not 0."""
    steering = [
        weights[name] * value for name, value in quantities.items() if weights.get(name, 0.0)
    ]
    return (
        task - torch.stack([torch.as_tensor(part) for part in steering]).sum() if steering else task
    )


def term_weights(table: Sequence[Quantity], weights: Mapping[str, float]) -> dict[str, float]:
    """Each term's weight in ``sum_q weight_q quantity_q``; terms may cancel between quantities.

    >>> from mimrl.terms import quantities
    >>> table = quantities(("text", "audio"))
    >>> term_weights(table, {"specific_audio": 0.1, "complementary": 0.1})
    {'audio_label_given_text': 0.1, 'text_audio_given_label': 0.0}
    """
    found: dict[str, float] = {}
    for quantity in table:
        weight = weights.get(quantity.name, 0.0)
        if weight:
            for term, sign in quantity.parts.items():
                found[term] = found.get(term, 0.0) + sign * weight
    return found


def probabilities(prediction: Tensor) -> Tensor:
    """Class probabilities ``(N, C)`` from ``(N, C)`` logits, or ``(N, 2)`` from ``(N, 1)``."""
    if prediction.shape[1] == 1:
        positive = prediction.sigmoid()
        return torch.cat([1 - positive, positive], dim=1)
    return prediction.softmax(dim=1)


def _vector(prediction: Tensor) -> Tensor:
    if prediction.ndim != 2 or prediction.shape[1] != 1:
        raise ShapeError(f"expected predictions (B, 1), got {tuple(prediction.shape)}")
    return prediction[:, 0]
