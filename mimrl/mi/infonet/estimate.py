"""From samples to estimates with an InfoNet: one pair, a batch of pairs, random projections."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from mimrl.errors import EstimationError, SampleSizeWarning, ShapeError, TiesWarning
from mimrl.mi.infonet.grid import cells
from mimrl.mi.infonet.network import GridNetwork
from mimrl.mi.infonet.published import PublishedNetwork
from mimrl.mi.infonet.ranks import ranks_without_ties, scaled_soft_ranks

Model = GridNetwork | PublishedNetwork
"""What can be read: the network trained here, or one in the published layout."""
FEWEST = 100
"""Samples below which nothing is estimated: at 50 the shipped network reads 0.2 nats from none."""
TRAINED = 150
"""Samples of a pair that the shipped network was trained on, at least."""
TIES = 0.02
"""Share of values equal to another from which on a warning is given."""


def estimate_mi(
    model: Model, x: ArrayLike | Tensor, y: ArrayLike | Tensor, *, soft: float | None = None
) -> float:
    """Mutual information of two columns.

    Args:
        model: from :func:`~mimrl.mi.infonet.loading.load_model`.
        x: ``(N,)`` samples, numpy or torch.
        y: ``(N,)``, paired with x.
        soft: strength of soft ranks (:func:`~mimrl.mi.infonet.ranks.scaled_soft_ranks`); None
            takes hard ranks, on which the shipped network was trained.

    Returns:
        The estimate in nats; for independent data it may lie slightly below 0.

    Raises:
        ShapeError: not two columns of one length.
        EstimationError: fewer than 100 samples, values that are not finite, a constant column.
    """
    first, second = _tensor(x), _tensor(y)
    if first.dim() != 1 or first.shape != second.shape:
        raise ShapeError(
            f"x and y must be two columns of one length, got shapes {tuple(first.shape)} and "
            f"{tuple(second.shape)}; for more columns see compute_smi_mean"
        )
    return float(estimate_batch(model, first[None], second[None], soft=soft)[0])


def infer(
    model: Model, batch: ArrayLike | Tensor, *, soft: float | None = None, batchsize: int = 64
) -> np.ndarray:
    """Mutual information of each pair of a batch.

    Args:
        model: from :func:`~mimrl.mi.infonet.loading.load_model`.
        batch: ``(B, N, 2)`` samples of B pairs, or their ranks, which have the same ranks.
        soft: as in :func:`estimate_mi`.
        batchsize: pairs in one pass; it changes time and memory only.

    Returns:
        ``(B,)`` float64, nats.

    Raises:
        ShapeError: another shape.
        EstimationError: as in :func:`estimate_mi`.
    """
    samples = _tensor(batch)
    if samples.dim() != 3 or samples.shape[2] != 2:
        raise ShapeError(f"a batch has the shape (B, N, 2), got {tuple(samples.shape)}")
    return estimate_batch(model, samples[..., 0], samples[..., 1], soft=soft, batchsize=batchsize)


@torch.no_grad()
def estimate_batch(
    model: Model,
    x: ArrayLike | Tensor,
    y: ArrayLike | Tensor,
    *,
    soft: float | None = None,
    batchsize: int = 64,
) -> np.ndarray:
    """Mutual information of B pairs of columns.

    Args:
        model: from :func:`~mimrl.mi.infonet.loading.load_model`.
        x: ``(B, N)`` samples.
        y: ``(B, N)``, paired with x.
        soft: as in :func:`estimate_mi`.
        batchsize: pairs in one pass.

    Returns:
        ``(B,)`` float64, nats.

    Raises:
        ShapeError: not two equal shapes ``(B, N)``.
        EstimationError: as in :func:`estimate_mi`.
    """
    first, second = _tensor(x), _tensor(y)
    if first.dim() != 2 or first.shape != second.shape:
        raise ShapeError(
            f"x and y must both have the shape (B, N), got {tuple(first.shape)} and "
            f"{tuple(second.shape)}"
        )
    _check_batch(first, second, batchsize)
    device = next(model.parameters()).device
    values = []
    for columns in zip(first.split(batchsize), second.split(batchsize), strict=True):
        u, v = (_ranked(column.to(device), soft, axis) for axis, column in enumerate(columns))
        values.append(model.estimate(u, v).double().cpu())
    return torch.cat(values).numpy()


@torch.no_grad()
def pointwise(model: GridNetwork, x: ArrayLike | Tensor, y: ArrayLike | Tensor) -> np.ndarray:
    """Pointwise mutual information of each sample of one pair of columns.

    Args:
        model: the network trained here; a published one is read by its mean alone.
        x: ``(N,)`` samples.
        y: ``(N,)``, paired with x.

    Returns:
        ``(N,)`` float64, nats: the table's log ratio at each sample, shifted so that the mean is
        the estimate of :func:`estimate_mi`. Their standard deviation over the root of N is a
        standard error of the estimate.

    Raises:
        ShapeError: not two columns of one length.
        EstimationError: as in :func:`estimate_mi`, or a published network.
    """
    if not isinstance(model, GridNetwork):
        raise EstimationError("pointwise values need the network trained here, not a published one")
    value = estimate_mi(model, x, y)
    device = next(model.parameters()).device
    columns = (_tensor(column).to(device)[None] for column in (x, y))
    u, v = (_ranked(column, None, axis) for axis, column in enumerate(columns))
    found = (
        cells(u, v, model.config.grid).look_up(model(u, v).table).log()[0].double().cpu().numpy()
    )
    return found - found.mean() + value


def compute_smi_mean(
    x: ArrayLike | Tensor,
    y: ArrayLike | Tensor,
    model: Model,
    seq_len: int | None = None,
    proj_num: int = 1024,
    batchsize: int = 32,
    seed: int = 0,
    *,
    soft: float | None = None,
) -> float:
    """Sliced mutual information: the mean over random projections of X and of Y to one dimension.

    Args:
        x: ``(N, dx)`` samples.
        y: ``(N, dy)``, paired with x.
        model: from :func:`~mimrl.mi.infonet.loading.load_model`.
        seq_len: samples to use, drawn at random without replacement; None takes all.
        proj_num: pairs of projections, each uniform over unit vectors.
        batchsize: projections in one pass; the last pass has what is left.
        seed: of the projections and of the drawn samples.
        soft: as in :func:`estimate_mi`.

    Returns:
        Sliced mutual information in nats. It is 0 exactly where X and Y are independent, but it is
        not their mutual information: it is at most that, and falls as dimensions grow (Goldfeld
        and Greenewald, Sliced Mutual Information, NeurIPS 2021).

    Raises:
        ShapeError: not two tables of one length.
        EstimationError: as in :func:`estimate_mi`, or more samples wanted than there are.
    """
    first, second = (t[:, None] if t.dim() == 1 else t for t in (_tensor(x), _tensor(y)))
    if first.dim() != 2 or second.dim() != 2 or len(first) != len(second):
        raise ShapeError(
            f"x and y must be tables of as many rows, got shapes {tuple(first.shape)} and "
            f"{tuple(second.shape)}"
        )
    _check_projections(first, second, seq_len, proj_num, batchsize)
    generator = torch.Generator().manual_seed(seed)
    if seq_len is not None and seq_len < len(first):
        rows = torch.randperm(len(first), generator=generator)[:seq_len]
        first, second = first[rows.to(first.device)], second[rows.to(second.device)]
    directions = [_directions(table, proj_num, generator) for table in (first, second)]
    total = 0.0
    for ways in zip(*(d.split(batchsize) for d in directions), strict=True):
        columns = (way @ table.double().T for way, table in zip(ways, (first, second), strict=True))
        total += float(estimate_batch(model, *columns, soft=soft, batchsize=batchsize).sum())
    return total / proj_num


def _directions(table: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``(count, d)`` random unit vectors, in float64 whatever the table's dtype."""
    drawn = torch.randn(count, table.shape[1], generator=generator, dtype=torch.float64)
    return (drawn / drawn.norm(dim=1, keepdim=True)).to(table.device)


def _ranked(values: Tensor, soft: float | None, axis: int) -> Tensor:
    """Ranks; those of equal values in another random order for x than for y."""
    return ranks_without_ties(values, axis) if soft is None else scaled_soft_ranks(values, soft)


def _tensor(values: ArrayLike | Tensor) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach()
    try:
        return torch.as_tensor(np.asarray(values, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise EstimationError(f"samples must be numbers: {error}") from error


def _check_batch(x: Tensor, y: Tensor, batchsize: int) -> None:
    if batchsize < 1:
        raise EstimationError(f"batchsize must be at least 1, got {batchsize}")
    count = x.shape[1]
    if count < FEWEST or not len(x):
        raise EstimationError(
            f"InfoNet needs at least one pair of at least {FEWEST} samples, got {len(x)} pairs of "
            f"{count}"
        )
    for name, values in (("x", x), ("y", y)):
        if not bool(torch.isfinite(values).all()):
            raise EstimationError(f"{name} holds values that are not finite; remove those samples")
        ordered = values.sort(dim=1).values
        if bool((ordered[:, 0] == ordered[:, -1]).any()):
            raise EstimationError(f"{name} has a column of equal values, which informs of nothing")
        tied = float((ordered[:, 1:] == ordered[:, :-1]).double().mean())
        if tied > TIES:
            warnings.warn(
                f"{tied:.0%} of the values of {name} are equal to another; InfoNet is made for "
                "continuous data, and equal values are ranked at random",
                TiesWarning,
                stacklevel=4,
            )
    if count < TRAINED:
        warnings.warn(
            f"InfoNet was trained on pairs of at least {TRAINED} samples, got {count}",
            SampleSizeWarning,
            stacklevel=4,
        )


def _check_projections(
    x: Tensor, y: Tensor, seq_len: int | None, proj_num: int, batchsize: int
) -> None:
    for name, table in (("x", x), ("y", y)):
        if not table.shape[1] or not bool(torch.isfinite(table).all()):
            raise EstimationError(
                f"{name} must have at least one column and finite values only, got the shape "
                f"{tuple(table.shape)}"
            )
    if proj_num < 1 or batchsize < 1:
        raise EstimationError(
            f"proj_num and batchsize must be at least 1, got {proj_num} and {batchsize}"
        )
    if seq_len is not None and not 1 <= seq_len <= len(x):
        raise EstimationError(f"seq_len must be from 1 to the {len(x)} samples, got {seq_len}")
