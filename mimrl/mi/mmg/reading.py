"""From denoisers to nats: importance-sampled integrals over the log-SNR.

The mutual information is half the integral over all log-SNRs of the gap between the squared errors
without and with y (plain), or of the squared difference of the two denoised (orthogonal; equal for
optimal denoisers, less noisy, never negative). Integrals of the base are exact; only what the
network adds to it is sampled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from mimrl.mi.mmg.channel import LogSnrLaw, PiecewiseLaw, cell_of, stratified
from mimrl.mi.mmg.rows import Denoisers, Rows

Floats = npt.NDArray[np.float64]

CELLS = 24
"""Of an adapted law: one a unit of log-SNR on the published interval."""

UNIFORM_SHARE = 0.1
"""Of an adapted law, so that no weight is more than ten times that of a uniform one."""


@dataclass(frozen=True)
class Corrections:
    """What a network adds to the integrals of its base, sample by sample, nats.

    Attributes:
        free: ``(N,)`` half the integral of its squared error without y, minus the base's.
        given: ``(N,)`` the same with y.
        orthogonal: ``(N,)`` half that of the squared difference of the branches, minus the base's.
    """

    free: Floats
    given: Floats
    orthogonal: Floats

    @property
    def plain(self) -> Floats:
        """``(N,)``."""
        return self.free - self.given

    @property
    def loss(self) -> float:
        """What training minimises: 0 for the base, lower is better; nats."""
        return float(self.free.mean() + self.given.mean())


@torch.no_grad()
def corrections(
    denoisers: Denoisers,
    rows: Rows,
    law: LogSnrLaw,
    *,
    passes: int,
    seed: int,
    chunk: int = 1000,
) -> Corrections:
    """Integrates by importance sampling.

    Args:
        denoisers: networks on their base, or exact ones.
        rows: samples.
        law: of the log-SNR; its interval is that of the integral.
        passes: log-SNRs and noises for each sample.
        seed: of the log-SNRs and the noise.
        chunk: rows denoised at a time.

    Returns:
        Means over the passes.
    """
    generator = torch.Generator().manual_seed(seed)
    shares = stratified(len(rows), passes, generator)
    sums = torch.zeros(3, len(rows), dtype=torch.float64)
    for share in shares:
        for first in range(0, len(rows), chunk):
            part = slice(first, first + chunk)
            sums[:, part] += _integrands(denoisers, rows.select(part), law, share[part], generator)
    free, given, orthogonal = (sums / passes).numpy()
    return Corrections(free, given, orthogonal)


def adapted(
    denoisers: Denoisers, rows: Rows, law: LogSnrLaw, *, passes: int, seed: int, chunk: int = 1000
) -> PiecewiseLaw:
    """A law with its mass where the gap between the branches is.

    The variance of an importance-sampled mean is least for a density proportional to the root
    mean square of the integrand, which is measured in cells of the log-SNR.

    Args:
        denoisers: as for :func:`corrections`.
        rows: fitting rows, not those of the estimate: a law that follows the numbers it is used on
            would bias them.
        law: from which to start; the interval stays.
        passes: log-SNRs and noises for each sample.
        seed: of the log-SNRs and the noise.
        chunk: rows denoised at a time.
    """
    generator = torch.Generator().manual_seed(seed)
    squares = torch.zeros(CELLS, dtype=torch.float64)
    counts = torch.zeros(CELLS, dtype=torch.float64)
    for share in stratified(len(rows), passes, generator):
        for first in range(0, len(rows), chunk):
            part = slice(first, first + chunk)
            found = _integrands(denoisers, rows.select(part), law, share[part], generator)
            logsnr = law.quantile(share[part])
            gap = (found[0] - found[1]) / law.weight(logsnr)
            cells = cell_of(logsnr, law.low, law.high, CELLS)
            squares.index_add_(0, cells, gap.square())
            counts.index_add_(0, cells, torch.ones_like(gap))
    sizes = (squares / counts.clamp(min=1)).sqrt().tolist()
    return PiecewiseLaw.of(law.low, law.high, sizes, UNIFORM_SHARE)


@torch.no_grad()
def _integrands(
    denoisers: Denoisers,
    rows: Rows,
    law: LogSnrLaw,
    share: torch.Tensor,
    generator: torch.Generator,
) -> torch.Tensor:
    """``(3, N)`` weighted halves of: error without y, with y, squared difference; minus base's."""
    logsnr = law.quantile(share)
    noise = torch.randn(rows.x.shape, generator=generator, dtype=torch.float64).to(rows.x)
    found = denoisers.errors(rows, noise, logsnr[:, None].to(rows.x))
    own, base = found.own, found.base
    parts = (
        own.free.square().sum(1) - base.free.square().sum(1),
        own.given.square().sum(1) - base.given.square().sum(1),
        own.orthogonal() - base.orthogonal(),
    )
    return 0.5 * law.weight(logsnr) * torch.stack(parts).cpu().double()
