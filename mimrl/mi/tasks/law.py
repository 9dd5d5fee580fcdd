"""What a joint law of (X, Y) with known mutual information offers, and the checks its laws share.

Method names and arguments are those of ``ISampler`` of the package benchmark-mi (Czyz et al.,
"Beyond Normal", NeurIPS 2023), so that a law of this package can be sampled by its harness.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from mimrl.errors import ConfigError, EstimationError, ShapeError

Floats = npt.NDArray[np.float64]
Seed = int | np.random.Generator


class HasDimensions(Protocol):
    """Anything with a width of X and a width of Y."""

    @property
    def dim_x(self) -> int:
        """Width of X."""

    @property
    def dim_y(self) -> int:
        """Width of Y."""


class Law(HasDimensions, Protocol):
    """A joint law of X and Y: it draws samples and knows its exact information."""

    @property
    def dim_total(self) -> int:
        """Width of X and Y together."""

    def sample(self, n_points: int, rng: Seed) -> tuple[Floats, Floats]:
        """Draws independent pairs.

        Args:
            n_points: N, 1 or more.
            rng: seed of 0 or more, or a generator, which is advanced.

        Returns:
            x ``(N, dim_x)`` and y ``(N, dim_y)``, row by row from the same pair.

        Raises:
            ConfigError: N below 1, or no seed.
        """

    def mutual_information(self) -> float:
        """I(X; Y) in nats."""

    def log_ratio(self, x: npt.ArrayLike, y: npt.ArrayLike) -> Floats:
        """Exact pointwise information log p(x, y) / (p(x) p(y)).

        Args:
            x: ``(N, dim_x)``.
            y: ``(N, dim_y)``.

        Returns:
            ``(N,)`` in nats; its mean over samples of the law tends to the information.

        Raises:
            ShapeError: widths or lengths that do not fit.
            EstimationError: values that are not finite, or that the law cannot have drawn.
        """


class TotalDimension:
    """Adds ``dim_total`` to a law that has ``dim_x`` and ``dim_y``."""

    @property
    def dim_total(self: HasDimensions) -> int:
        """Width of X and Y together."""
        return self.dim_x + self.dim_y


def drawing(n_points: int, rng: Seed) -> tuple[int, np.random.Generator]:
    """Checks the number of samples and makes a generator of a seed.

    Args:
        n_points: 1 or more.
        rng: seed of 0 or more, or a generator, which is taken as it is.

    Returns:
        The number and the generator.

    Raises:
        ConfigError: a number that is not a whole one of 1 or more, or anything but a seed. None is
            refused too: it would draw something else every time.
    """
    if not _is_whole(n_points) or n_points < 1:
        raise ConfigError(f"the number of samples must be a whole number >= 1, got {n_points!r}")
    if isinstance(rng, np.random.Generator):
        return int(n_points), rng
    if not _is_whole(rng) or rng < 0:
        raise ConfigError(
            f"a seed must be a whole number >= 0 or a numpy.random.Generator, got {rng!r}"
        )
    return int(n_points), np.random.default_rng(int(rng))


def pairs_of(law: HasDimensions, x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Checks that x and y are samples of a law's widths and length.

    Args:
        law: whose widths count.
        x: ``(N, dim_x)``.
        y: ``(N, dim_y)``.

    Returns:
        Both as float64.

    Raises:
        ShapeError: widths or lengths that do not fit.
        EstimationError: NaN or infinite values.
    """
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    rows = xs.shape[:1]
    if xs.shape != (*rows, law.dim_x) or ys.shape != (*rows, law.dim_y) or not rows:
        raise ShapeError(
            f"this law takes x (N, {law.dim_x}) and y (N, {law.dim_y}), "
            f"got {xs.shape} and {ys.shape}"
        )
    for key, values in (("x", xs), ("y", ys)):
        if not np.isfinite(values).all():
            raise EstimationError(f"{key} holds NaN or infinity; leave such rows out of x and y")
    return xs, ys


def width(name: str, value: int, least: int = 1) -> int:
    """Checks a width.

    Raises:
        ConfigError: not a whole number, or below ``least``.
    """
    if not _is_whole(value) or value < least:
        raise ConfigError(f"{name} must be a whole number >= {least}, got {value!r}")
    return int(value)


def positive(name: str, value: float) -> float:
    """Checks a parameter that must be positive and finite.

    Raises:
        ConfigError: it is not.
    """
    real = isinstance(value, int | float | np.integer | np.floating)
    if not real or not np.isfinite(value) or value <= 0:
        raise ConfigError(f"{name} must be positive and finite, got {value!r}")
    return float(value)


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
