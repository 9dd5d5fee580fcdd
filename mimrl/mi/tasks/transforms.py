"""One-to-one maps of a variable, each with its inverse: they bend a law and keep its information.

``forward`` and ``inverse`` take and give ``(N, d)`` float64. The maps of one coordinate act on
each coordinate alone and are strictly increasing. Curves and constants are those of the benchmark
"Beyond Normal" (Czyz, Grabowski, Vogt, Beerenwinkel, Marx, NeurIPS 2023).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.special import ndtr, ndtri

from mimrl.errors import ConfigError, EstimationError
from mimrl.mi.tasks.law import Floats, positive

ROLL_TOLERANCE = 1e-4
"""How far from the roll a point may lie: a thousand times the rounding of float32 files."""


class Transform(Protocol):
    """A one-to-one map of a variable."""

    def widened(self, dim: int) -> int:
        """Width of the image of a variable of width ``dim``.

        Raises:
            ConfigError: the map does not take this width.
        """

    def forward(self, values: Floats) -> Floats:
        """``(N, widened(d))`` from ``(N, d)``."""

    def inverse(self, values: Floats) -> Floats:
        """``(N, d)`` from ``(N, widened(d))``.

        Raises:
            EstimationError: values that are no image of anything.
        """


class _SameWidth:
    def widened(self, dim: int) -> int:
        """``dim``: these maps do not change the width."""
        return dim


@dataclass(frozen=True)
class Identity(_SameWidth):
    """Leaves a variable as it is."""

    def forward(self, values: Floats) -> Floats:
        """The same values."""
        return values

    def inverse(self, values: Floats) -> Floats:
        """The same values."""
        return values


IDENTITY = Identity()


@dataclass(frozen=True)
class NormalCdf(_SameWidth):
    """The distribution function of the standard normal law; makes normal coordinates uniform."""

    def forward(self, values: Floats) -> Floats:
        """From the real line to (0, 1); above 8.3 it rounds to 1 and cannot be undone."""
        return ndtr(values)

    def inverse(self, values: Floats) -> Floats:
        """From (0, 1) to the real line."""
        return ndtri(_inside_unit_interval(values))


@dataclass(frozen=True)
class SignedPower(_SameWidth):
    """x -> sign(x) |x|^exponent.

    Args:
        exponent: positive; 1.5 is the benchmark's half-cube, 3 the cube of Poole et al. (2019).

    Raises:
        ConfigError: it is not.
    """

    exponent: float

    def __post_init__(self) -> None:
        positive("an exponent", self.exponent)

    def forward(self, values: Floats) -> Floats:
        """Tails longer than before if the exponent is above 1."""
        return np.sign(values) * np.abs(values) ** self.exponent

    def inverse(self, values: Floats) -> Floats:
        """The power 1 / exponent."""
        return np.sign(values) * np.abs(values) ** (1 / self.exponent)


HALF_CUBE = SignedPower(1.5)
CUBE = SignedPower(3.0)


@dataclass(frozen=True)
class Asinh(_SameWidth):
    """log(x + sqrt(x^2 + 1)): brings heavy tails in."""

    def forward(self, values: Floats) -> Floats:
        """The inverse hyperbolic sine."""
        return np.arcsinh(values)

    def inverse(self, values: Floats) -> Floats:
        """The hyperbolic sine."""
        return np.sinh(values)


@dataclass(frozen=True)
class Wave:
    """amplitude * sin(frequency * x + phase)."""

    amplitude: float
    frequency: float
    phase: float


@dataclass(frozen=True)
class Wiggly(_SameWidth):
    """x plus waves that are too flat to turn it back.

    Args:
        waves: added to x; their steepest slopes, |amplitude * frequency|, sum to less than 1.

    Raises:
        ConfigError: they do not, and the map might fold.
    """

    waves: tuple[Wave, ...]

    def __post_init__(self) -> None:
        slope = sum(abs(wave.amplitude * wave.frequency) for wave in self.waves)
        if not slope < 1:
            raise ConfigError(
                f"the slopes of waves, |amplitude * frequency|, must sum to less than 1, "
                f"got {slope}: the map would not be one to one"
            )

    def forward(self, values: Floats) -> Floats:
        """Adds the waves."""
        waves = self.waves
        return values + sum(w.amplitude * np.sin(w.frequency * values + w.phase) for w in waves)

    def inverse(self, values: Floats) -> Floats:
        """By halving; x lies within the summed amplitudes of its image."""
        reach = sum(abs(wave.amplitude) for wave in self.waves)
        return _solve_increasing(self.forward, values, values - reach, values + reach)


WIGGLY_X = Wiggly((Wave(0.4, 1.0, 0.0), Wave(0.2, 1.7, 1.0), Wave(0.03, 3.3, -2.5)))
WIGGLY_Y = Wiggly((Wave(-0.4, 0.4, 0.0), Wave(0.17, 1.3, 3.5), Wave(0.02, 4.3, -2.5)))


@dataclass(frozen=True)
class MixtureQuantile(_SameWidth):
    """The quantile function of a mixture of unit-variance normal laws; takes uniform coordinates.

    Args:
        weights: positive, sum 1.
        means: of the components, in the same order.

    Raises:
        ConfigError: weights that are no distribution, or another number of means.
    """

    weights: tuple[float, ...]
    means: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.weights) != len(self.means) or not math.isclose(sum(self.weights), 1):
            raise ConfigError(
                f"a mixture needs one mean a weight and weights of sum 1, "
                f"got weights {self.weights} and means {self.means}"
            )
        for weight in self.weights:
            positive("a weight", weight)

    def forward(self, values: Floats) -> Floats:
        """From (0, 1) to the real line, by halving between the components' own quantiles."""
        standard = ndtri(_inside_unit_interval(values))
        low, high = standard + min(self.means), standard + max(self.means)
        return _solve_increasing(self.inverse, values, low, high)

    def inverse(self, values: Floats) -> Floats:
        """The distribution function of the mixture."""
        parts = zip(self.weights, self.means, strict=True)
        return np.asarray(sum(weight * ndtr(values - mean) for weight, mean in parts))


@dataclass(frozen=True)
class SwissRoll:
    """Rolls the unit interval up in the plane: one coordinate becomes two.

    u goes to t (cos t, sin t) / 21 with t = 1.5 pi (1 + 2 u): one and a half turns, and a size
    near 1.
    """

    def widened(self, dim: int) -> int:
        """2, of a single coordinate.

        Raises:
            ConfigError: the variable has more than one.
        """
        if dim != 1:
            raise ConfigError(f"a Swiss roll takes a variable of width 1, got width {dim}")
        return 2

    def forward(self, values: Floats) -> Floats:
        """``(N, 2)`` from ``(N, 1)`` in [0, 1]."""
        angle = 1.5 * math.pi * (1 + 2 * values)
        return np.hstack([angle * np.cos(angle), angle * np.sin(angle)]) / 21

    def inverse(self, values: Floats) -> Floats:
        """``(N, 1)`` from ``(N, 2)``: the distance from the centre tells the angle."""
        angle = 21 * np.hypot(values[:, :1], values[:, 1:])
        unrolled = (angle / (1.5 * math.pi) - 1) / 2
        if not (np.abs(self.forward(unrolled) - values) <= ROLL_TOLERANCE).all():
            raise EstimationError(
                "some points do not lie on the Swiss roll; give samples of the rolled law, "
                "neither scaled nor moved"
            )
        return unrolled


@dataclass(frozen=True)
class Spiral:
    """Turns a vector in one coordinate plane by ``speed`` times its squared length.

    The length of the whole vector, in all coordinates, stays as it was, and tells the angle back.

    Args:
        first: coordinate that turns towards ``second``.
        second: another one.
        speed: radians a unit of squared length.

    Raises:
        ConfigError: no plane, or a speed that is not finite.
    """

    first: int
    second: int
    speed: float

    def __post_init__(self) -> None:
        if self.first == self.second or min(self.first, self.second) < 0:
            raise ConfigError(
                f"a spiral turns in a plane of two coordinates >= 0, "
                f"got {self.first} and {self.second}"
            )
        if not math.isfinite(self.speed):
            raise ConfigError(f"the speed of a spiral must be finite, got {self.speed!r}")

    def widened(self, dim: int) -> int:
        """``dim``.

        Raises:
            ConfigError: the variable does not have the plane's coordinates.
        """
        if dim <= max(self.first, self.second):
            raise ConfigError(
                f"a spiral in the plane of coordinates {self.first} and {self.second} needs a "
                f"variable of width {max(self.first, self.second) + 1} or more, got {dim}"
            )
        return dim

    def forward(self, values: Floats) -> Floats:
        """Turns."""
        return self._turned(values, self.speed)

    def inverse(self, values: Floats) -> Floats:
        """Turns back."""
        return self._turned(values, -self.speed)

    def _turned(self, values: Floats, speed: float) -> Floats:
        angle = speed * (values**2).sum(axis=1)
        one, other = values[:, self.first], values[:, self.second]
        turned = values.copy()
        turned[:, self.first] = np.cos(angle) * one - np.sin(angle) * other
        turned[:, self.second] = np.sin(angle) * one + np.cos(angle) * other
        return turned


def _inside_unit_interval(values: Floats) -> Floats:
    if not ((values > 0) & (values < 1)).all():
        raise EstimationError("values of a uniform coordinate must lie strictly between 0 and 1")
    return values


def _solve_increasing(
    function: Callable[[Floats], Floats], targets: Floats, low: Floats, high: Floats
) -> Floats:
    """Where an increasing function takes the targets, by halving brackets to float64 rounding."""
    for _ in range(60):
        middle = 0.5 * (low + high)
        below = function(middle) < targets
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return 0.5 * (low + high)
