"""Which density models are tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from lsmi.density.classes import ClassConditional
from lsmi.density.family import DensityFamily, FloatArray, Rows, estimate
from lsmi.density.flow import Flow
from lsmi.density.knife import Knife
from lsmi.density.mixture import Mixture


def default_families(
    epochs: int = 50, batch_size: int = 128, seed: int = 0, device: str = "cpu"
) -> tuple[DensityFamily, ...]:
    """Class-conditional Gaussians, Gaussian mixtures, KNIFE and a flow.

    At 2,000 rows of 10 dimensions and one fit the first two take about half a second with all
    their forms, KNIFE as long and the flow three times as long: compare all on one fit, or a few,
    then :func:`~lsmi.density.family.restrict` to the winner for the others.

    Args:
        epochs: of KNIFE and of the flow, at most; they are done after 20.
        batch_size: rows a step of both.
        seed: of starts and batches.
        device: PyTorch device of KNIFE and of the flow.
    """
    return (
        ClassConditional(seed=seed),
        Mixture(seed=seed),
        Knife(epochs=min(epochs, Knife.epochs), batch_size=batch_size, seed=seed, device=device),
        Flow(epochs=min(epochs, Flow.epochs), batch_size=batch_size, seed=seed, device=device),
    )


def log_densities(
    x: FloatArray,
    fits: Sequence[Rows],
    families: Sequence[DensityFamily],
    progress: Callable[[int], object] = lambda count: None,
) -> tuple[tuple[str, ...], FloatArray]:
    """Candidates of families that need no labels: names and ``(S, F, N)`` log densities."""
    found = estimate(x, np.zeros(len(x), np.int64), 1, fits, families, progress)
    return found.names, found.marginal
