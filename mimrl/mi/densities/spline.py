"""Monotone rational-quadratic splines (Durkan et al., NeurIPS 2019), elementwise."""

from __future__ import annotations

import math

import torch
from torch import Tensor

SMALLEST_BIN = 1e-3  # of the interval; a narrower bin loses its slope to rounding
SMALLEST_SLOPE = 1e-3
LARGEST = 20.0  # of the numbers before a softmax; a larger one changes no bin
IDENTITY = math.log(math.expm1(1 - SMALLEST_SLOPE))  # softplus of it makes a slope of 1


def numbers_a_spline(bins: int) -> int:
    """Widths, heights and slopes.

    >>> numbers_a_spline(8)
    25
    """
    return 3 * bins + 1


def rational_quadratic(x: Tensor, raw: Tensor, bound: float) -> tuple[Tensor, Tensor]:
    """A monotone map of ``[-bound, bound]`` onto itself; outside it goes on straight.

    Args:
        x: ``(...)``.
        raw: ``(..., 3 K + 1)`` free numbers: ``K`` widths and ``K`` heights of bins before a
            softmax, ``K + 1`` slopes at the knots before a softplus. Zeros give the identity.
        bound: half the interval's length.

    Returns:
        The image of ``x`` and the log of the map's slope, both ``(...)``.

    Note:
        The paper's tails are the identity; with the outermost slopes in their place the tails of
        a density may be as wide as the data ask for.
    """
    bins = (raw.shape[-1] - 1) // 3
    sizes, ends = _bins(raw[..., : 2 * bins].unflatten(-1, (2, bins)), bound)
    slopes = SMALLEST_SLOPE + torch.nn.functional.softplus(raw[..., 2 * bins :] + IDENTITY)
    inside = x.clamp(-bound, bound)
    number = (inside.unsqueeze(-1) >= ends[..., 0, :-1]).sum(-1, keepdim=True)
    size = sizes.gather(-1, number.unsqueeze(-2).expand(*sizes.shape[:-1], 1)).squeeze(-1)
    end = ends.gather(-1, number.unsqueeze(-2).expand(*ends.shape[:-1], 1)).squeeze(-1)
    left, right = slopes.gather(-1, torch.cat([number, number + 1], -1)).unbind(-1)
    width, height = size.unbind(-1)
    steep = height / width
    at = ((inside - end[..., 0]) / width + 1).clamp(0, 1)
    mixed = at * (1 - at)
    below = steep + (left + right - 2 * steep) * mixed
    y = end[..., 1] - height + height * (steep * at.square() + left * mixed) / below
    above = right * at.square() + 2 * steep * mixed + left * (1 - at).square()
    log_slope = 2 * steep.log() + above.log() - 2 * below.log()
    # beyond the ends `at` is 0 or 1, and `above` over `below` squared the slope there
    return y + (x - inside) * log_slope.exp(), log_slope


def _bins(raw: Tensor, bound: float) -> tuple[Tensor, Tensor]:
    """Sizes and right ends of bins that fill the interval, both ``(..., K)``.

    A softmax and its cumulative sums in one product: over so few bins the reductions of torch
    take several times as long.
    """
    bins = raw.shape[-1]
    parts = raw.clamp(-LARGEST, LARGEST).exp()
    sums = parts @ torch.ones(bins, bins, dtype=raw.dtype, device=raw.device).triu()
    scale = 2 * bound * (1 - SMALLEST_BIN * bins) / sums[..., -1:]
    least = 2 * bound * SMALLEST_BIN
    steps = torch.arange(1, bins + 1, dtype=raw.dtype, device=raw.device)
    return least + scale * parts, least * steps - bound + scale * sums
