"""The optimal denoisers of a jointly Gaussian pair, which are linear, and their integrals.

For jointly Gaussian x and y the posterior mean of the noise is linear in the channel's output and,
in the conditional branch, in y. Half the integrated squared error is then known for every single
sample. In a direction of variance v, let c be the centred coordinate of a sample and
``t = a + log v``. The squared error at log-SNR a, averaged over the noise, is
``sigmoid(t)^2 + (c^2 / v) sigmoid(t) sigmoid(-t)``, and half its integral from minus infinity to a

    1/2 (softplus(t) + (c^2 / v - 1) sigmoid(t)).

Over all a the difference between the branches is log p(x | y) / p(x) of that Gaussian: the
pointwise identity of Kong, Brekelmans and Ver Steeg (ICLR 2023, equation 8), which holds for each
sample, whether or not the samples come from the Gaussian.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mimrl.errors import EstimationError, ShapeError
from mimrl.mi.mmg.rows import Branches, Errors, Rows

Floats = npt.NDArray[np.float64]

FAR = 40.0
"""Beyond this distance from all -log v the gap between the branches has size exp(-40)."""

PANEL_NODES = 8
"""Gauss-Legendre nodes in each panel of about one unit of log-SNR: exact to 1e-12 here."""


@dataclass(frozen=True)
class LinearDenoisers:
    """Denoisers with and without y, for centred samples.

    Attributes:
        variances: ``(dx,)`` of x in the directions of ``basis``.
        basis: ``(dx, dx)`` orthonormal columns.
        slopes: ``(dx, dy)``; x is predicted as ``y @ slopes.T``.
        rest_variances: ``(dx,)`` of what this leaves, in the directions of ``rest_basis``.
        rest_basis: ``(dx, dx)`` orthonormal columns.
    """

    variances: Floats
    basis: Floats
    slopes: Floats
    rest_variances: Floats
    rest_basis: Floats

    @classmethod
    def diagonal(cls, correlations: Floats, dx: int, dy: int) -> LinearDenoisers:
        """Of canonical coordinates: white, with column k of x tied to column k of y only.

        Args:
            correlations: ``(min(dx, dy),)`` in (-1, 1).
            dx: columns of x.
            dy: columns of y.
        """
        slopes, rest = np.zeros((dx, dy)), np.ones(dx)
        np.fill_diagonal(slopes, correlations)
        rest[: len(correlations)] -= correlations**2
        return cls(np.ones(dx), np.eye(dx), slopes, rest, np.eye(dx))

    @property
    def turn(self) -> Floats:
        """``(dx, dx)`` from coordinates in ``basis`` to coordinates in ``rest_basis``."""
        return self.basis.T @ self.rest_basis

    def rows(self, x: Floats, y: Floats) -> Rows:
        """Centred samples with x and its residual each in its own directions, float64."""
        turned, rest = self._coordinates(x, y)
        return Rows(torch.from_numpy(turned), torch.from_numpy(y), torch.from_numpy(rest))

    def unconditional(self, z: Tensor, logsnr: Tensor) -> Tensor:
        """Posterior mean of the noise given z.

        Args:
            z: ``(N, dx)`` channel output, in the coordinates of x.
            logsnr: ``(N, 1)``.

        Returns:
            ``(N, dx)``.
        """
        return _posterior_noise(z, logsnr, self.variances, self.basis)

    def conditional(self, z: Tensor, logsnr: Tensor, y: Tensor) -> Tensor:
        """Posterior mean of the noise given z and y ``(N, dy)``; as :meth:`unconditional`."""
        mean = y @ torch.from_numpy(self.slopes).to(y).T
        centred = z - logsnr.sigmoid().sqrt() * mean
        return _posterior_noise(centred, logsnr, self.rest_variances, self.rest_basis)

    def errors(self, rows: Rows, noise: Tensor, logsnr: Tensor) -> Errors:
        """``noise - denoised`` in both branches, compared with no denoiser at all.

        Args:
            rows: of :meth:`rows`.
            noise: ``(N, dx)`` in the directions of ``basis``.
            logsnr: ``(N, 1)``.
        """
        turn = torch.from_numpy(self.turn).to(noise)
        rest = torch.from_numpy(self.rest_variances).to(noise)
        free = linear_error(rows.x, noise, logsnr, torch.from_numpy(self.variances).to(noise))
        given = linear_error(rows.residual, noise @ turn, logsnr, rest)
        return Errors(Branches(free, given @ turn.T), Branches(noise, noise))

    def plain(self, x: Floats, y: Floats, low: float = -math.inf, high: float = math.inf) -> Floats:
        """Half the integral over [low, high] of the gap in squared error, sample by sample.

        Args:
            x: ``(N, dx)`` centred.
            y: ``(N, dy)`` centred.
            low: lowest log-SNR, or minus infinity.
            high: highest log-SNR, or infinity.

        Returns:
            ``(N,)`` in nats. Between infinities: the Gaussian log p(x | y) / p(x).
        """
        turned, rest = self._coordinates(x, y)

        def below(logsnr: float) -> Floats:
            return _half_integral(turned, self.variances, logsnr) - _half_integral(
                rest, self.rest_variances, logsnr
            )

        return below(high) - below(low)

    def orthogonal(
        self, x: Floats, y: Floats, low: float = -math.inf, high: float = math.inf
    ) -> Floats:
        """Half the integral of the squared difference of the branches, sample by sample.

        By quadrature over the log-SNR; the mean over the noise is exact. As :meth:`plain`.
        """
        turned, rest = self._coordinates(x, y)
        logsnr, weights = nodes(*self._finite(low, high))
        share, left = _sigmoid(logsnr), _sigmoid(-logsnr)
        pull = _pulls(share, left, self.variances)
        rest_pull = _pulls(share, left, self.rest_variances)
        turn, seen, unseen = self.turn, weights * share, weights * left
        cross = (seen[:, None] * pull).T @ rest_pull * turn
        # |P - Q|^2 of the branches' matrices is what the noise itself adds to the difference.
        noise = (unseen @ (pull**2)).sum() + (unseen @ (rest_pull**2)).sum()
        noise -= 2 * ((unseen[:, None] * pull).T @ rest_pull * turn**2).sum()
        bend = turned**2 @ (seen @ pull**2) + rest**2 @ (seen @ rest_pull**2)
        return 0.5 * (bend - 2 * ((turned @ cross) * rest).sum(axis=1) + noise)

    def information(self, low: float = -math.inf, high: float = math.inf) -> float:
        """Half the integral over [low, high] of the expected gap, in nats."""
        return self._expected(high) - self._expected(low)

    def gap(self, logsnr: Floats) -> Floats:
        """Expected squared error without y minus that with y, ``(n,)`` for ``(n,)`` log-SNRs."""
        places = logsnr[:, None]
        free = _sigmoid(places + np.log(self.variances)).sum(axis=1)
        return free - _sigmoid(places + np.log(self.rest_variances)).sum(axis=1)

    def _expected(self, logsnr: float) -> float:
        """Half the expected gap integrated up to a log-SNR."""
        if math.isinf(logsnr):
            whole = np.log(self.variances).sum() - np.log(self.rest_variances).sum()
            return 0.5 * float(whole) if logsnr > 0 else 0.0
        free = np.logaddexp(0, logsnr + np.log(self.variances)).sum()
        return 0.5 * float(free - np.logaddexp(0, logsnr + np.log(self.rest_variances)).sum())

    def _coordinates(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """The coordinates of x and of its residual, each in its own directions."""
        widths = self.slopes.shape
        if x.ndim != 2 or y.ndim != 2 or (x.shape[1], y.shape[1]) != widths or len(x) != len(y):
            raise ShapeError(
                f"expected paired x (N, {widths[0]}) and y (N, {widths[1]}), got {x.shape} and "
                f"{y.shape}"
            )
        return x @ self.basis, (x - y @ self.slopes.T) @ self.rest_basis

    def _finite(self, low: float, high: float) -> tuple[float, float]:
        places = -np.log(np.concatenate([self.variances, self.rest_variances]))
        return max(low, float(places.min()) - FAR), min(high, float(places.max()) + FAR)


def exact_denoisers(covariance: npt.ArrayLike, dx: int) -> LinearDenoisers:
    """The optimal denoisers of a centred Gaussian vector whose first columns are x.

    Args:
        covariance: ``(dx + dy, dx + dy)``, symmetric, positive definite.
        dx: columns of x, at least 1 and fewer than all.

    Raises:
        ShapeError: not a square matrix, or dx does not leave columns for both.
        EstimationError: not symmetric, or not positive definite.
    """
    matrix = np.asarray(covariance, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not 0 < dx < len(matrix):
        raise ShapeError(
            f"a covariance must be (dx + dy, dx + dy) with dx, dy >= 1, got {matrix.shape} and "
            f"dx = {dx}"
        )
    if not np.allclose(matrix, matrix.T) or np.linalg.eigvalsh(matrix)[0] <= 0:
        raise EstimationError("a covariance must be symmetric and positive definite")
    x, cross, y = matrix[:dx, :dx], matrix[:dx, dx:], matrix[dx:, dx:]
    slopes = np.asarray(np.linalg.solve(y, cross.T).T, dtype=np.float64)
    whole, rest = np.linalg.eigh(x), np.linalg.eigh(x - slopes @ cross.T)
    return LinearDenoisers(
        whole.eigenvalues, whole.eigenvectors, slopes, rest.eigenvalues, rest.eigenvectors
    )


def linear_error(centred: Tensor, noise: Tensor, logsnr: Tensor, variances: Tensor) -> Tensor:
    """``noise - denoised`` of the linear denoiser, direction by direction.

    Args:
        centred: ``(N, d)`` x minus its mean.
        noise: ``(N, d)``.
        logsnr: ``(N, 1)``.
        variances: ``(d,)`` or ``(N, d)``.

    Returns:
        ``(N, d)``.
    """
    share, left = logsnr.sigmoid(), (-logsnr).sigmoid()
    pull = share * variances * noise - (share * left).sqrt() * centred
    return pull / (share * variances + left)


def nodes(low: float, high: float) -> tuple[Floats, Floats]:
    """Places and weights of a quadrature over log-SNRs, both ``(n,)``.

    Raises:
        ShapeError: the interval is empty or infinite.
    """
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ShapeError(f"cannot integrate over log-SNRs from {low} to {high}")
    panels = max(1, math.ceil(high - low))
    places, weights = np.polynomial.legendre.leggauss(PANEL_NODES)
    half = (high - low) / panels / 2
    centres = low + half * (2 * np.arange(panels) + 1)
    return (centres[:, None] + half * places).ravel(), np.tile(half * weights, panels)


def _posterior_noise(centred: Tensor, logsnr: Tensor, variances: Floats, basis: Floats) -> Tensor:
    directions, sizes = (torch.from_numpy(part).to(centred) for part in (basis, variances))
    share, left = logsnr.sigmoid(), (-logsnr).sigmoid()
    return (centred @ directions) * (left.sqrt() / (share * sizes + left)) @ directions.T


def _half_integral(coordinates: Floats, variances: Floats, logsnr: float) -> Floats:
    """``(N,)``: half the integrated squared error up to a log-SNR; at infinity without d a / 2."""
    relative = coordinates**2 / variances - 1
    if math.isinf(logsnr):
        if logsnr < 0:
            return np.zeros(len(coordinates))
        return 0.5 * (np.log(variances).sum() + relative.sum(axis=1))
    places = logsnr + np.log(variances)
    return 0.5 * (np.logaddexp(0, places).sum() + relative @ _sigmoid(places))


def _pulls(share: Floats, left: Floats, variances: Floats) -> Floats:
    """``(n, d)`` factors between a channel's output and the denoised noise."""
    return np.sqrt(left)[:, None] / (share[:, None] * variances + left[:, None])


def _sigmoid(values: Floats) -> Floats:
    return np.exp(-np.logaddexp(0, -values))
