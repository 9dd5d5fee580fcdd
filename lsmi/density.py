"""Density models p(x), all folds at a time: KNIFE and Gaussian mixtures behind one call.

A family gives the log densities of all samples under each of its candidates (moments of a
training, numbers of components) fitted on each set of rows; which candidate is read is decided by
the likelihood of held-out rows. Log densities are in nats; ``h(x) = -log p(x)``.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from lsmi.discriminators import Progress, epoch_batches, moments
from mimrl.errors import NonFiniteError

FloatArray = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


class DensityFamily(Protocol):
    """What the pipeline needs of a family of density models."""

    def __call__(
        self, x: FloatArray, fits: Sequence[Rows], progress: Progress
    ) -> tuple[tuple[str, ...], FloatArray]:
        """Names of ``S`` candidates and ``(S, F, N)`` log densities of ``x``, ``(N, D)``.

        Candidate ``s`` of fit ``f`` has seen the rows ``fits[f]`` only.
        """
        ...


def knife_log_density(
    x: Tensor, means: Tensor, log_scales: Tensor, lower: Tensor, log_weights: Tensor
) -> Tensor:
    """Log density of a mixture of ``K`` Gaussians in KNIFE's form (Pichler et al., ICML 2022).

    With ``e = (x - mean_k) * exp(log_scale_k)`` and ``z = e + L_k e``, ``L_k`` strictly lower
    triangular, component ``k`` has density ``N(z; 0, I) * exp(sum log_scale_k)``: any precision
    matrix can be written so.

    Args:
        x: ``(..., N, D)``.
        means: ``(..., K, D)``.
        log_scales: ``(..., K, D)``, logs of *inverse* scales. The published code bounds them by
            a tanh, which a scale outside [1/e, e] cannot pass; here they are free.
        lower: ``(..., K, D, D)``; the diagonal and what is above it are ignored.
        log_weights: ``(..., K)``, not necessarily normalised.

    Returns:
        ``(..., N)`` in nats.
    """
    centred = (x.unsqueeze(-2) - means.unsqueeze(-3)) * log_scales.exp().unsqueeze(-3)
    mixing = torch.tril(lower, -1)
    z = centred + torch.einsum("...kij,...nkj->...nki", mixing, centred)
    inside = log_scales.sum(-1) + torch.log_softmax(log_weights, -1)
    exponents = inside.unsqueeze(-2) - 0.5 * z.square().sum(-1)
    return torch.logsumexp(exponents, -1) - 0.5 * x.shape[-1] * math.log(2 * math.pi)


@dataclass(frozen=True)
class Knife:
    """KNIFE, started from the data and trained by gradient; its candidates are moments.

    Attributes:
        components: ``K``.
        epochs: passes over the training rows.
        batch_size: samples a step.
        rate: Adam's learning rate, falling to 0 along half a cosine.
        seed: of the k-means start and of the batches.
        device: PyTorch device.

    Note:
        The published code starts from noise (standard normal means and factors) in whatever
        units the features have and is read after a fixed number of epochs; 5 to 50 nats too high
        in 16 to 40 dimensions. This one standardises, starts with a diagonal Gaussian at each
        centre of a k-means clustering and is stopped by held-out likelihood.
    """

    components: int = 5
    epochs: int = 50
    batch_size: int = 64
    rate: float = 1e-2
    seed: int = 0
    device: str = "cpu"

    def __call__(
        self, x: FloatArray, fits: Sequence[Rows], progress: Progress
    ) -> tuple[tuple[str, ...], FloatArray]:
        """See :class:`DensityFamily`.

        Raises:
            NonFiniteError: the likelihood became NaN or infinite.
        """
        centre, spread = _standard(x, fits)
        device = torch.device(self.device)
        inputs = torch.as_tensor((x - centre) / spread, dtype=torch.float32, device=device)
        generator = torch.Generator().manual_seed(self.seed)
        parameters = _start(inputs, fits, self.components, self.seed)
        optimiser = torch.optim.Adam(parameters, lr=self.rate)
        jobs = [torch.as_tensor(rows) for rows in fits]
        steps = math.ceil(max(len(job) for job in jobs) / self.batch_size)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.epochs * steps)
        kept, path = moments(self.epochs), [_evaluate(inputs, parameters)]
        for epoch in range(1, self.epochs + 1):
            for rows in epoch_batches(jobs, steps, self.batch_size, generator):
                loss = -knife_log_density(inputs[rows.to(device)], *parameters).mean(1).sum()
                if not torch.isfinite(loss):
                    raise NonFiniteError(f"loss of KNIFE is {loss.item()} in epoch {epoch}")
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
            if epoch in kept:
                path.append(_evaluate(inputs, parameters))
            progress(1)
        names = tuple(f"knife, epoch {epoch}" for epoch in (0, *sorted(kept)))
        return names, np.stack(path) - np.log(spread).sum()


@dataclass(frozen=True)
class Mixture:
    """Gaussian mixtures by expectation maximisation; a candidate is a form of covariance and K.

    Attributes:
        forms: pairs of covariance form (``full``, ``tied``, ``diag``) and number of components.
        floor: added to the variances, as a share of each coordinate's variance on train.
        seed: of the starts.
    """

    forms: tuple[tuple[str, int], ...] = (
        ("full", 1),
        ("full", 2),
        ("full", 4),
        ("tied", 3),
        ("tied", 6),
        ("diag", 4),
        ("diag", 8),
    )
    floor: float = 1e-3
    seed: int = 0

    def __call__(
        self, x: FloatArray, fits: Sequence[Rows], progress: Progress
    ) -> tuple[tuple[str, ...], FloatArray]:
        """See :class:`DensityFamily`."""
        centre, spread = _standard(x, fits)
        inputs = (x - centre) / spread
        names = tuple(f"{form} Gaussian mixture, {count}" for form, count in self.forms)
        found = np.empty((len(self.forms), len(fits), len(x)))
        for number, (form, count) in enumerate(self.forms):
            for fit, rows in enumerate(fits):
                model = GaussianMixture(
                    min(count, len(rows)),
                    covariance_type=form,
                    reg_covar=self.floor,
                    random_state=self.seed,
                )
                with warnings.catch_warnings():
                    # an unfinished EM is a candidate like any other: held-out rows judge it
                    warnings.simplefilter("ignore", ConvergenceWarning)
                    model.fit(inputs[rows])
                found[number, fit] = model.score_samples(inputs)
            progress(1)
        return names, found - np.log(spread).sum()


def log_densities(
    x: FloatArray,
    fits: Sequence[Rows],
    families: Sequence[DensityFamily],
    progress: Callable[[int], object] = lambda count: None,
) -> tuple[tuple[str, ...], FloatArray]:
    """Candidates of all families together: names and ``(S, F, N)`` log densities in nats."""
    parts = [family(x, fits, progress) for family in families]
    names = tuple(name for found, _ in parts for name in found)
    return names, np.concatenate([values for _, values in parts])


def _standard(x: FloatArray, fits: Sequence[Rows]) -> tuple[FloatArray, FloatArray]:
    """Mean and scale of every coordinate over all fitted rows; a constant one keeps its scale."""
    rows = np.unique(np.concatenate(list(fits)))
    spread = x[rows].std(axis=0)
    return x[rows].mean(axis=0), np.where(spread > 0, spread, 1.0)


def _start(inputs: Tensor, fits: Sequence[Rows], components: int, seed: int) -> list[Tensor]:
    """Means, log inverse scales, lower factors and log weights, each with ``F`` in front."""
    means, scales, weights = [], [], []
    count = min(components, *(len(rows) for rows in fits))
    for rows in fits:
        data = inputs[rows].cpu().numpy().astype(np.float64)
        clusters = KMeans(count, n_init=1, random_state=seed).fit(data)
        sizes = np.bincount(clusters.labels_, minlength=count)
        within = np.stack([
            ((data - clusters.cluster_centers_[k]) ** 2)[clusters.labels_ == k].mean(axis=0)
            for k in range(count)
        ])  # fmt: skip
        # a small cluster's variances are drawn towards those of all clusters
        pooled = (within * sizes[:, None]).sum(axis=0) / len(data)
        variances = (within * sizes[:, None] + 10 * pooled) / (sizes[:, None] + 10)
        means.append(clusters.cluster_centers_)
        scales.append(-0.5 * np.log(np.maximum(variances, 1e-3)))
        weights.append(np.log(sizes / len(data)))
    arrays = (np.stack(means), np.stack(scales), np.stack(weights))
    mean, scale, weight = (torch.as_tensor(a, dtype=torch.float32) for a in arrays)
    lower = torch.zeros(*mean.shape, mean.shape[-1])
    return [t.to(inputs.device).requires_grad_() for t in (mean, scale, lower, weight)]


@torch.no_grad()
def _evaluate(inputs: Tensor, parameters: Sequence[Tensor]) -> FloatArray:
    """``(F, N)`` log densities of the standardised inputs."""
    models = parameters[0].shape[0]
    parts = [
        knife_log_density(chunk.expand(models, *chunk.shape), *parameters)
        for chunk in inputs.split(4096)
    ]
    return torch.cat(parts, dim=1).cpu().numpy().astype(np.float64)
