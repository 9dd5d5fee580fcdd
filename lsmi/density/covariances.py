"""Forms of covariance, and Gaussians as linear functions of the features' products.

Of every form a covariance is a vector of ``Q`` numbers, the moments of the products ``q(x)`` that
the form distinguishes: ``D (D + 1) / 2`` for ``full``, ``D`` squares for ``diag``, one sum of
squares for ``spherical``. Then ``S = E[q(x)] - q(E[x])`` whatever the form, and the log density of
a Gaussian is ``a . q(x) + b . x + c``: all components of all fits are one matrix product.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Kind = Literal["spherical", "diag", "full"]


@dataclass(frozen=True)
class Gaussians:
    """Weighted components; ``...`` stands for fits and starts.

    Attributes:
        log_weights: ``(..., K)``.
        means: ``(..., K, D)``.
        spreads: ``(..., K, Q)`` covariances, or ``(..., 1, Q)`` one for all.
    """

    log_weights: Tensor
    means: Tensor
    spreads: Tensor


def products(x: Tensor, kind: Kind) -> Tensor:
    """``(..., D)`` to ``(..., Q)``."""
    if kind == "full":
        first, second = torch.triu_indices(x.shape[-1], x.shape[-1])
        return x[..., first] * x[..., second]
    return x.square() if kind == "diag" else x.square().sum(-1, keepdim=True)


def unit(dimensions: int, kind: Kind) -> Tensor:
    """``(Q,)``: the identity."""
    if kind == "full":
        first, second = torch.triu_indices(dimensions, dimensions)
        return (first == second).double()
    ones = torch.ones(dimensions, dtype=torch.float64)
    return ones if kind == "diag" else ones.sum(0, keepdim=True)


def free_numbers(dimensions: int, kind: Kind) -> int:
    """``Q``."""
    return len(unit(dimensions, kind))


def matrices(spreads: Tensor, dimensions: int) -> Tensor:
    """``(..., Q)`` of form ``full`` to ``(..., D, D)``."""
    first, second = torch.triu_indices(dimensions, dimensions)
    full = spreads.new_empty(*spreads.shape[:-1], dimensions, dimensions)
    full[..., first, second] = spreads
    full[..., second, first] = spreads
    return full


def precisions(spreads: Tensor, dimensions: int, kind: Kind) -> tuple[Tensor, Tensor]:
    """Inverses as ``a`` of ``-1/2 x' P x = a . q(x)``, ``(..., Q)``, and log determinants."""
    if kind == "full":
        factor = torch.linalg.cholesky(matrices(spreads, dimensions))
        first, second = torch.triu_indices(dimensions, dimensions)
        inverse = torch.cholesky_inverse(factor)[..., first, second]
        log_determinant = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return -inverse * torch.where(first == second, 0.5, 1.0), log_determinant
    variances = spreads if kind == "diag" else spreads / dimensions
    times = 1 if kind == "diag" else dimensions
    return -0.5 / variances, variances.log().sum(-1) * times


def linear_form(model: Gaussians, kind: Kind) -> tuple[Tensor, Tensor, Tensor]:
    """``a``, ``b`` and ``c`` of ``log w_k N(x; k) = a_k . q(x) + b_k . x + c_k``.

    Returns:
        ``(..., K or 1, Q)``, ``(..., K, D)`` and ``(..., K)``.
    """
    dimensions = model.means.shape[-1]
    a, log_determinant = precisions(model.spreads, dimensions, kind)
    if kind == "full":
        first, second = torch.triu_indices(dimensions, dimensions)
        halved = a * torch.where(first == second, 2.0, 1.0)
        b = (-matrices(halved, dimensions) @ model.means.unsqueeze(-1)).squeeze(-1)
    else:
        b = -2 * a * model.means
    constant = log_determinant + dimensions * math.log(2 * math.pi)
    c = model.log_weights - 0.5 * ((b * model.means).sum(-1) + constant)
    return a, b, c


def relative_size(spreads: Tensor, reference: Tensor, dimensions: int, kind: Kind) -> Tensor:
    """``(..., 1)``: ``tr(R^-1 S) / D``, the mean variance of ``S`` where that of ``R`` is 1."""
    a, _ = precisions(reference, dimensions, kind)
    return -2 * (a * spreads).sum(-1, keepdim=True) / dimensions


def log_joint(x: Tensor, model: Gaussians, kind: Kind) -> Tensor:
    """``log w_k N(x; k)`` from the squared distances themselves, which outliers cannot spoil.

    Args:
        x: ``(F, N, D)``.
        model: components of ``F`` fits.
        kind: of covariance.

    Returns:
        ``(F, K, N)``.
    """
    dimensions = x.shape[-1]
    if kind == "full":
        factor = torch.linalg.cholesky(matrices(model.spreads, dimensions))
        eye = torch.eye(dimensions, dtype=x.dtype).expand_as(factor)
        root = torch.linalg.solve_triangular(factor, eye, upper=False)
        log_scale = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    else:
        variances = model.spreads if kind == "diag" else model.spreads / dimensions
        root = torch.diag_embed(variances.rsqrt().expand(*variances.shape[:-1], dimensions))
        log_scale = -root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    parts = []
    for k in range(model.means.shape[1]):
        mine = root[:, min(k, root.shape[1] - 1)]
        shifted = (x - model.means[:, k].unsqueeze(1)) @ mine.transpose(-2, -1)
        parts.append(shifted.square().sum(-1))
    constant = model.log_weights - log_scale - 0.5 * dimensions * math.log(2 * math.pi)
    return constant.unsqueeze(-1) - 0.5 * torch.stack(parts, dim=1)
