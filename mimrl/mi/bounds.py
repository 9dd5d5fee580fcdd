"""Variational bounds on I(X; Y) as pure functions of a matrix of critic scores.

Everywhere ``scores[i, j] = f(x_i, y_j)``: row i belongs to ``x_i``, column j to ``y_j``, and the
diagonal holds the pairs that were drawn together. ``E_d`` is the mean over the B diagonal entries,
``E_o`` the mean over the B (B - 1) others, which stand for samples of the product p(x) p(y).
Values are in nats; whatever is exponentiated stays in log space until the last step.

The formulas are those of Poole, Ozair, van den Oord, Alemi, Tucker, "On variational bounds of
mutual information" (ICML 2019); SMILE is Song, Ermon, "Understanding the limitations of
variational mutual information estimators" (ICLR 2020); the DV form as a training objective is
Belghazi et al., "Mutual information neural estimation" (ICML 2018).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from mimrl.errors import EstimationError, ShapeError


def dv(scores: Tensor) -> Tensor:
    """Donsker-Varadhan, ``E_d[s] - log E_o[e^s]``; optimal at s = log ratio + any constant.

    Args:
        scores: ``(B, B)`` float, B >= 2, pairs on the diagonal.

    Returns:
        0-d, in nats.

    Raises:
        ShapeError: ``scores`` is not square.
        EstimationError: B < 2.

    >>> dv(torch.tensor([[2.0, 0.0], [0.0, 2.0]]))
    tensor(2.)
    """
    return diagonal(scores).mean() - log_mean_exp_off_diagonal(scores)


def nwj(scores: Tensor) -> Tensor:
    """Nguyen-Wainwright-Jordan, ``1 + E_d[s - 1] - E_o[e^(s - 1)]``; optimal at 1 + log ratio.

    It is TUBA with log a(y) = 1, and the "f-divergence" objective ``E_d[s] - E_o[e^(s - 1)]`` of
    Belghazi et al. (2018).

    Args:
        scores: ``(B, B)`` float, B >= 2, pairs on the diagonal.

    Returns:
        0-d, in nats.

    Raises:
        ShapeError: ``scores`` is not square.
        EstimationError: B < 2.

    >>> nwj(torch.tensor([[3.0, 1.0], [1.0, 3.0]]))
    tensor(2.)
    """
    return diagonal(scores).mean() - log_mean_exp_off_diagonal(scores - 1).exp()


def tuba(scores: Tensor, log_baseline: Tensor) -> Tensor:
    """Barber-Agakov made tractable, ``1 + E_d[s - log a(y)] - E_o[e^(s - log a(y))]``.

    Args:
        scores: ``(B, B)`` float, B >= 2, pairs on the diagonal.
        log_baseline: ``(B,)`` log a(y_j), one number a column.

    Returns:
        0-d, in nats.

    Raises:
        ShapeError: ``scores`` is not square or ``log_baseline`` is not ``(B,)``.
        EstimationError: B < 2.

    >>> tuba(torch.tensor([[3.0, 4.0], [1.0, 6.0]]), torch.tensor([1.0, 4.0]))
    tensor(2.)
    """
    shifted = scores - _one_a_column(scores, log_baseline)
    return 1 + diagonal(shifted).mean() - log_mean_exp_off_diagonal(shifted).exp()


def infonce(scores: Tensor) -> Tensor:
    """InfoNCE, ``log B + mean_i(s_ii - logsumexp_j s_ij)``; never above log B.

    For every x_i the paired y_i is to be found among all y_j (van den Oord, Li, Vinyals 2018).

    Args:
        scores: ``(B, B)`` float, B >= 2, pairs on the diagonal.

    Returns:
        0-d, in nats, at most log B.

    Raises:
        ShapeError: ``scores`` is not square.
        EstimationError: B < 2.

    >>> round(infonce(torch.tensor([[0.0, 0.0], [-100.0, 0.0]])).item(), 4)  # (0 + log 2) / 2
    0.3466
    """
    return infonce_pointwise(scores).mean()


def infonce_pointwise(scores: Tensor) -> Tensor:
    """What each pair adds to :func:`infonce`: ``(B,)`` in nats, each at most log B.

    Args:
        scores: ``(B, B)`` float, B >= 2, pairs on the diagonal.

    Raises:
        ShapeError: ``scores`` is not square.
        EstimationError: B < 2.
    """
    return math.log(len(scores)) + diagonal(scores) - scores.logsumexp(dim=1)


def js_fgan(scores: Tensor) -> Tensor:
    """The f-GAN objective of Jensen-Shannon, ``-E_d[softplus(-s)] - E_o[softplus(s)]``.

    Not a mutual information: it trains a critic whose optimum is s = log ratio
    (Nowozin, Cseke, Tomioka 2016), which :func:`js` and :func:`smile` then read.

    Args:
        scores: ``(B, B)`` float, B >= 2, pairs on the diagonal.

    Returns:
        0-d, at most 0.

    Raises:
        ShapeError: ``scores`` is not square.
        EstimationError: B < 2.

    >>> round(js_fgan(torch.zeros(2, 2)).item(), 4)  # -2 log 2
    -1.3863
    """
    return -softplus(-diagonal(scores)).mean() - softplus(off_diagonal(scores)).mean()


def js(scores: Tensor) -> Tensor:
    """NWJ read from a critic trained on :func:`js_fgan`: ``1 + E_d[s] - E_o[e^s]``.

    Args:
        scores: ``(B, B)`` float, B >= 2, pairs on the diagonal; estimates of the log ratio.

    Returns:
        0-d, in nats.

    Raises:
        ShapeError: ``scores`` is not square.
        EstimationError: B < 2.

    Note:
        The f-GAN critic estimates the log ratio, NWJ's optimum is 1 + log ratio; so this is
        ``nwj(scores + 1)``. The code published with MIMRL leaves out the 1 and reads 1/e too low
        at the optimum.

    >>> js(torch.tensor([[2.0, 0.0], [0.0, 2.0]]))
    tensor(2.)
    """
    return nwj(scores + 1)


def smile(scores: Tensor, clip: float) -> Tensor:
    """SMILE, ``E_d[s] - log E_o[e^clip(s, -clip, clip)]``; the critic is trained on JS.

    Args:
        scores: ``(B, B)`` float, B >= 2, pairs on the diagonal; estimates of the log ratio.
        clip: tau > 0. Small values lower the variance and add bias; ``inf`` gives DV.

    Returns:
        0-d, in nats.

    Raises:
        ShapeError: ``scores`` is not square.
        EstimationError: B < 2.

    >>> smile(torch.tensor([[9.0, -5.0], [-5.0, 9.0]]), clip=1.0)
    tensor(10.)
    """
    return diagonal(scores).mean() - log_mean_exp_off_diagonal(scores.clamp(-clip, clip))


def interpolated(scores: Tensor, log_baseline: Tensor, alpha: float) -> Tensor:
    """TUBA with the baseline ``alpha * InfoNCE's + (1 - alpha) * a(y)`` (I_alpha of Poole et al.).

    InfoNCE's baseline for y_j is the mean of ``e^f(x_k, y_j)`` over B - 1 of the rows: for the
    product term at (i, j) all rows but the paired one; for the pair (j, j) all rows but one other,
    averaged over which other is left out. So both terms see B - 1 samples, as the bound demands.

    Args:
        scores: ``(B, B)`` float, B >= 2, pairs on the diagonal.
        log_baseline: ``(B,)`` log a(y_j), one number a column.
        alpha: share of InfoNCE's baseline, in (0, 1).

    Returns:
        0-d, in nats.

    Raises:
        ShapeError: ``scores`` is not square or ``log_baseline`` is not ``(B,)``.
        EstimationError: B < 2, or alpha not in (0, 1).

    >>> interpolated(torch.full((3, 3), 2.0), torch.full((3,), 2.0), alpha=0.5).abs() < 1e-6
    tensor(True)
    """
    return interpolated_pointwise(scores, log_baseline, alpha).mean()


def interpolated_pointwise(scores: Tensor, log_baseline: Tensor, alpha: float) -> Tensor:
    """What each pair adds to :func:`interpolated`: ``(B,)`` in nats.

    The product term is one number, the same for all pairs.

    Args:
        scores: ``(B, B)`` float, B >= 2, pairs on the diagonal.
        log_baseline: ``(B,)`` log a(y_j), one number a column.
        alpha: share of InfoNCE's baseline, in (0, 1).

    Raises:
        ShapeError: ``scores`` is not square or ``log_baseline`` is not ``(B,)``.
        EstimationError: B < 2, or alpha not in (0, 1).
    """
    if not 0 < alpha < 1:
        raise EstimationError(f"alpha of the interpolated bound must lie in (0, 1), got {alpha}")
    learned = _one_a_column(scores, log_baseline) + math.log1p(-alpha)
    left_out = _log_leave_one_out_mean(scores) + math.log(alpha)
    log_mixture = torch.logaddexp(left_out, learned.expand_as(left_out))
    of_pair = (log_mixture.sum(dim=0) - diagonal(log_mixture)) / (len(scores) - 1)
    product = scores - diagonal(log_mixture)
    return 1 + diagonal(scores) - of_pair - log_mean_exp_off_diagonal(product).exp()


def diagonal(scores: Tensor) -> Tensor:
    """The scores of the pairs, ``(B,)``.

    Raises:
        ShapeError: ``scores`` is not square.
        EstimationError: B < 2.
    """
    if scores.ndim != 2 or scores.shape[0] != scores.shape[1]:
        raise ShapeError(
            f"scores must be (B, B) with scores[i, j] = f(x_i, y_j), got {tuple(scores.shape)}"
        )
    if len(scores) < 2:
        raise EstimationError(
            f"a bound needs two or more pairs in a batch, got {len(scores)}; "
            "with one pair there is no sample of the product p(x) p(y)"
        )
    return scores.diagonal()


def off_diagonal(scores: Tensor) -> Tensor:
    """The scores of all other combinations, ``(B - 1, B)`` in row order.

    >>> off_diagonal(torch.arange(9.0).view(3, 3))
    tensor([[1., 2., 3.],
            [5., 6., 7.]])
    """
    size = len(scores)
    return scores.reshape(-1)[:-1].view(size - 1, size + 1)[:, 1:]


def log_mean_exp_off_diagonal(scores: Tensor) -> Tensor:
    """``log E_o[e^s]``, 0-d."""
    size = len(scores)
    return off_diagonal(scores).logsumexp(dim=(0, 1)) - math.log(size * (size - 1))


def _one_a_column(scores: Tensor, log_baseline: Tensor) -> Tensor:
    diagonal(scores)
    if log_baseline.shape != scores.shape[1:]:
        raise ShapeError(
            f"log a(y) needs one number a column, shape ({scores.shape[1]},), "
            f"got {tuple(log_baseline.shape)}"
        )
    return log_baseline


def _log_leave_one_out_mean(scores: Tensor) -> Tensor:
    """``out[i, j] = log mean_{k != i} e^scores[k, j]``, safe for any spread of the scores.

    Taking an entry away from its column's sum loses all digits where that entry is nearly the
    whole sum; the largest entry of each column is therefore left out by masking, and only the
    others, each at most half of the sum, by subtraction.
    """
    rows = torch.arange(len(scores), device=scores.device)[:, None]
    top = rows == scores.argmax(dim=0, keepdim=True)
    total = scores.logsumexp(dim=0, keepdim=True)
    without_top = scores.masked_fill(top, -math.inf).logsumexp(dim=0, keepdim=True)
    share = (scores - total).masked_fill(top, -1.0).exp()
    left_out = torch.where(top, without_top, total + torch.log1p(-share))
    return left_out - math.log(len(scores) - 1)
