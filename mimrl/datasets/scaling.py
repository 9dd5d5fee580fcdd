"""Scaling of features with statistics of the training split alone.

A :class:`Scaler` is fitted once on the valid steps of the training sequences and applied to every
batch, so that sequences may stay on disk. Padding never enters its statistics and is never scaled.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import get_args

import numpy as np
import numpy.typing as npt

from mimrl.datasets.features import FloatArray, Ragged
from mimrl.datasets.rows import row_blocks
from mimrl.errors import DataError, ShapeError
from mimrl.settings.data import Scaling

Statistics = npt.NDArray[np.float64]

BLOCK_VALUES = 1 << 14
"""Numbers scaled at once: 128 KiB of float64, which stay in a processor's cache."""

LOG_MARGIN = 1.0 + 1e-6
"""What the published log scaling adds after subtracting the minimum."""


@dataclass(frozen=True)
class Scaler:
    """``(f(x) - center) / scale``, feature by feature, then clipped.

    ``f`` is the identity, except for ``log``: ``f(x) = log(max(x, minimum) - minimum + 1 + 1e-6)``.

    Attributes:
        kind: none, standard (mean 0, deviation 1), minmax (to [-1, 1]) or log (then standard).
        center: ``(d,)`` float64.
        scale: ``(d,)`` float64, above 0; 1 for features that are constant in the training split.
        minimum: ``(d,)`` float64 minimum of the training split; log only.
        clip: scaled values are clipped to ``[-clip, clip]``; None leaves them.
    """

    kind: Scaling
    center: Statistics
    scale: Statistics
    minimum: Statistics | None = None
    clip: float | None = None

    @property
    def width(self) -> int:
        """``d``, the number of features it was fitted on."""
        return len(self.center)

    def apply(self, values: npt.ArrayLike) -> FloatArray:
        """Scaled copy of ``values``, computed in float64.

        Args:
            values: ``(T, d)`` features of valid steps.

        Returns:
            ``(T, d)`` float32.

        Raises:
            ShapeError: the last axis is not ``d``.
        """
        x = np.asarray(values)
        if x.ndim == 0 or x.shape[-1] != self.width:
            raise ShapeError(
                f"a scaler fitted on {self.width} features got values of shape {x.shape}"
            )
        flat = x.reshape(math.prod(x.shape[:-1]), self.width)
        scaled = np.empty(flat.shape, np.float32)
        step = max(1, BLOCK_VALUES // max(1, self.width))
        for start in range(0, len(flat), step):
            rows = slice(start, start + step)
            scaled[rows] = self._applied(flat[rows])
        return scaled.reshape(x.shape)

    def _applied(self, x: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Scaled values before they are rounded to float32."""
        if self.kind != "none":
            logs = x if self.minimum is None else published_log(x, self.minimum)
            x = np.subtract(logs, self.center, dtype=np.float64)
            np.divide(x, self.scale, out=x)
        return x if self.clip is None else np.clip(x, -self.clip, self.clip)

    def state(self) -> dict[str, npt.NDArray[np.float64]]:
        """Arrays from which :meth:`from_state` rebuilds it, e.g. for a safetensors file."""
        arrays = {"center": self.center, "scale": self.scale}
        if self.minimum is not None:
            arrays["minimum"] = self.minimum
        if self.clip is not None:
            arrays["clip"] = np.array([self.clip])
        return arrays

    @classmethod
    def from_state(cls, kind: str, arrays: Mapping[str, npt.ArrayLike]) -> Scaler:
        """The scaler whose :meth:`state` is ``arrays``.

        Raises:
            DataError: an unknown kind, missing arrays, or arrays of different lengths.
        """
        wanted = {"center", "scale"} | ({"minimum"} if kind == "log" else set())
        if kind not in get_args(Scaling) or not wanted <= set(arrays) <= wanted | {"clip"}:
            raise DataError(
                f"a stored scaler of kind {kind!r} holds {sorted(arrays)}; expected a kind among "
                f"{get_args(Scaling)} with {sorted(wanted)}, and clip where values are clipped"
            )
        found = {name: np.asarray(array, dtype=np.float64) for name, array in arrays.items()}
        sizes = {name: found[name].shape for name in sorted(wanted)}
        if len(set(sizes.values())) != 1 or found["center"].ndim != 1:
            raise DataError(f"the arrays of a stored scaler have shapes {sizes}; expected one (d,)")
        return cls(
            kind=kind,  # type: ignore[arg-type]
            center=found["center"],
            scale=found["scale"],
            minimum=found.get("minimum"),
            clip=float(found["clip"].item()) if "clip" in found else None,
        )


def published_log(x: npt.ArrayLike, minimum: npt.ArrayLike) -> Statistics:
    """``log(x - minimum + 1 + 1e-6)``, values below ``minimum`` counted as ``minimum``.

    Source: the log scaling of MIMRL's published loader (``kiva12138/MIMRL``), whose table of
    minima covers all splits.

    Note:
        Ours are minima of the training split, so other splits may fall below and are clamped.

    Args:
        x: ``(..., d)`` features.
        minimum: ``(d,)``, in the same unit.

    Returns:
        ``(..., d)`` float64, at least ``log(1 + 1e-6)``.
    """
    low = np.asarray(minimum, dtype=np.float64)
    above: Statistics = np.maximum(np.asarray(x, dtype=np.float64) - low, 0.0)
    return np.log(above + LOG_MARGIN)


def fit(
    sequences: Ragged, kind: Scaling, *, clip: float | None = None, name: str = "sequences"
) -> Scaler:
    """A scaler for one modality, fitted on its training sequences.

    Reads ``sequences`` in chunks (once; twice for log), so they may be larger than the memory.

    Args:
        sequences: ragged ``(T_i, d)`` of the training split, without padding.
        kind: see :class:`Scaler`.
        clip: see :class:`Scaler`.
        name: what to call the modality in an error.

    Returns:
        The scaler; features that do not vary get scale 1 and so become 0.

    Raises:
        DataError: no steps at all, or NaN or infinite values.
    """
    if kind == "none":
        return Scaler(kind, np.zeros(sequences.width), np.ones(sequences.width), clip=clip)
    if sequences.values.shape[0] == 0:
        raise DataError(f"{name}: scaling {kind} needs values, but the training split has no steps")
    moments = _Moments.of(_blocks(sequences), name)
    minimum = None
    if kind == "log":
        minimum = moments.low
        moments = _Moments.of((published_log(x, minimum) for x in _blocks(sequences)), name)
    varies = moments.high > moments.low
    if kind == "minmax":
        center, scale = (moments.high + moments.low) / 2, (moments.high - moments.low) / 2
    else:
        center, scale = moments.mean, np.sqrt(moments.squares / moments.count)
    center = np.where(varies, center, moments.low)
    scale = np.where(varies & (scale > 0), scale, 1.0)
    return Scaler(kind, center, scale, minimum=minimum, clip=clip)


def _blocks(sequences: Ragged) -> Iterator[npt.NDArray[np.generic]]:
    return (block for _, block in row_blocks(sequences.values))


@dataclass(frozen=True)
class _Moments:
    """Count, mean, sum of squared deviations and range of each feature."""

    count: int
    mean: Statistics
    squares: Statistics
    low: Statistics
    high: Statistics

    @classmethod
    def of(cls, pieces: Iterator[npt.NDArray[np.generic]], name: str) -> _Moments:
        total: _Moments | None = None
        for piece in pieces:
            part = cls._of_piece(piece.astype(np.float64))
            total = part if total is None else total._merged(part)
        if total is None:
            raise DataError(f"{name}: there are no steps to fit a scaler on")
        bad = np.flatnonzero(~(np.isfinite(total.low) & np.isfinite(total.high)))
        if len(bad):
            raise DataError(
                f"{name}: features {bad[:10].tolist()} hold NaN or infinite values; a layout "
                "replaces them while reading, so this file was read without its repairs"
            )
        return total

    @classmethod
    def _of_piece(cls, x: Statistics) -> _Moments:
        mean = x.mean(axis=0)
        squares = np.square(x - mean).sum(axis=0)
        return cls(len(x), mean, squares, x.min(axis=0), x.max(axis=0))

    def _merged(self, other: _Moments) -> _Moments:
        """Both together (Chan, Golub & LeVeque, The American Statistician 37, 1983)."""
        count = self.count + other.count
        step = other.mean - self.mean
        return _Moments(
            count=count,
            mean=self.mean + step * (other.count / count),
            squares=self.squares
            + other.squares
            + np.square(step) * (self.count * other.count / count),
            low=np.minimum(self.low, other.low),
            high=np.maximum(self.high, other.high),
        )
