"""Errors of a model on pairs with a known truth: generated families, or mixtures from a file."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mimrl.errors import DataError, MissingFileError, SampleSizeWarning
from mimrl.mi.infonet.drawing import Source
from mimrl.mi.infonet.estimate import Model, estimate_batch
from mimrl.mi.infonet.mixtures import Mixtures
from mimrl.mi.infonet.pairs import FAMILIES, Pairs

TRUTH_SAMPLES = 20_000
"""From which the truth of a generated pair is taken: its standard error is below 0.01 nats."""
BLOCKS = 4
"""Distributions whose truth is drawn at a time, or less memory would not do."""
MIXTURE_ARRAYS = ("weight", "mean", "covariance", "mi_xy")
"""Of each group of a file of mixtures."""


@dataclass(frozen=True)
class Errors:
    """Of one group of pairs.

    Attributes:
        name: of the group.
        pairs: their number.
        samples: of each pair.
        truth: mean true information, nats.
        bias: mean of estimate less truth, nats.
        absolute: mean absolute error, nats.
    """

    name: str
    pairs: int
    samples: int
    truth: float
    bias: float
    absolute: float


def errors(name: str, samples: int, estimates: np.ndarray, truth: np.ndarray) -> Errors:
    """Of estimates ``(B,)`` beside truths ``(B,)``."""
    away = estimates - truth
    means = (float(v.mean()) for v in (truth, away, np.abs(away)))
    return Errors(name, len(away), samples, *means)


def family_errors(
    model: Model, samples: int, pairs: int, seed: int, names: Sequence[str] = tuple(FAMILIES)
) -> list[Errors]:
    """Errors on generated pairs, family by family.

    Args:
        model: reads ``samples`` of each.
        samples: of a pair.
        pairs: of a family.
        seed: of the pairs; not one that the model was trained with.
        names: of the families.

    Returns:
        One row a family. The truth is the mean log ratio of 20,000 other samples.
    """
    rows = []
    for name in names:
        source = Source(seed)
        drawn = [_drawn_family(name, samples, source) for _ in range(-(-pairs // BLOCKS))]
        x, y, truth = (torch.cat(part)[:pairs] for part in zip(*drawn, strict=True))
        rows.append(errors(name, samples, _quiet(model, x, y), truth.numpy()))
    return rows


def mixture_errors(model: Model, path: Path, samples: int, seed: int) -> list[Errors]:
    """Errors on the mixtures of a file.

    Args:
        model: reads ``samples`` of each.
        path: ``.npz`` of groups of mixtures, see :func:`load_mixtures`.
        samples: drawn of each mixture.
        seed: of the samples.

    Returns:
        One row a group.
    """
    rows, source = [], Source(seed)
    for name, (mixtures, truth) in load_mixtures(path).items():
        x, y = mixtures.sample(samples, source)
        rows.append(errors(name, samples, _quiet(model, x, y), truth))
    return rows


def load_mixtures(path: Path) -> dict[str, tuple[Mixtures, np.ndarray]]:
    """Groups of two-dimensional Gaussian mixtures with their mutual information.

    Args:
        path: ``.npz`` with, for each group, ``GROUP/weight`` ``(B, K)``, ``GROUP/mean``
            ``(B, K, 2)``, ``GROUP/covariance`` ``(B, K, 2, 2)`` and ``GROUP/mi_xy`` ``(B,)``, nats.

    Returns:
        Name -> mixtures and truths.

    Raises:
        MissingFileError: no such file.
        DataError: not such a file.
    """
    arrays = _arrays(path)
    groups = dict.fromkeys(name.rpartition("/")[0] for name in arrays)
    found = {}
    for group in groups:
        missing = [k for k in MIXTURE_ARRAYS if f"{group}/{k}" not in arrays]
        if missing or not group:
            raise DataError(
                f"{path}: expected arrays GROUP/{{{','.join(MIXTURE_ARRAYS)}}}, got "
                f"{', '.join(sorted(arrays))}"
            )
        weight, mean, covariance, truth = (arrays[f"{group}/{k}"] for k in MIXTURE_ARRAYS)
        count, components = weight.shape if weight.ndim == 2 else (0, 0)
        wanted = ((count, components, 2), (count, components, 2, 2), (count,))
        if not count or (mean.shape, covariance.shape, truth.shape) != wanted:
            raise DataError(f"{path}: the arrays of {group} have shapes that do not fit together")
        if not (weight >= 0).all() or not (np.linalg.eigvalsh(covariance) > 0).all():
            raise DataError(f"{path}: {group} has negative weights or unusable covariances")
        found[group] = (Mixtures(*map(torch.as_tensor, (weight, mean, covariance))), truth)
    return found


def _arrays(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise MissingFileError(f"no file {path}")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name], dtype=np.float64) for name in file.files}
    except (ValueError, OSError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is no .npz file of numbers: {error}") from error
    bad = [name for name, values in arrays.items() if not np.isfinite(values).all()]
    if bad or not arrays:
        raise DataError(f"{path}: no arrays, or values that are not finite in {', '.join(bad)}")
    return arrays


def _drawn_family(name: str, samples: int, source: Source) -> tuple[Tensor, Tensor, Tensor]:
    pairs: Pairs = FAMILIES[name](BLOCKS, samples + TRUTH_SAMPLES, source)
    truth = pairs.log_ratio[:, samples:].double().mean(dim=1)
    return pairs.x[:, :samples], pairs.y[:, :samples], truth


def _quiet(model: Model, x: Tensor, y: Tensor) -> np.ndarray:
    """Estimates without a remark on the number of samples, which the caller chose to look at."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SampleSizeWarning)
        return estimate_batch(model, x, y)
