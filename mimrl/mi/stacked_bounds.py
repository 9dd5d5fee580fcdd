"""Bounds of one kind on a stack of score matrices, each with a baseline or average of its own."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import vmap

from mimrl.errors import EstimationError
from mimrl.mi import bounds
from mimrl.mi.objectives import (
    Baseline,
    Bound,
    ConstantBaseline,
    Interpolated,
    LearnedBaseline,
    Mine,
    Tuba,
    mine_objective,
    moved_average,
)
from mimrl.mi.stacked import Spread, Stacks, chain_of, fill


class StackedBound(nn.Module):
    """Objectives and values of bounds that differ in what they have learned only.

    The formulas stay those of one matrix; ``vmap`` applies them to all. (For five matrices of
    32 x 32 it halves the time of a loop; at 512 x 512 both take the same.)

    Args:
        bounds: name -> bound, of one class and with the same settings.

    Raises:
        EstimationError: they differ.
    """

    def __init__(self, bounds: Mapping[str, Bound]) -> None:
        super().__init__()
        kinds = {_settings(bound) for bound in bounds.values()}
        if len(kinds) != 1:
            raise EstimationError(f"bounds computed together must be alike, got {sorted(kinds)}")
        self.places = {name: place for place, name in enumerate(bounds)}
        first = next(iter(bounds.values()))
        self.baselines: nn.Module | None = None
        self.form = copy.deepcopy(first)
        if isinstance(first, Mine):
            averages = [cast("Mine", bound).log_average for bound in bounds.values()]
            self.form.log_average = torch.stack(averages)
        elif isinstance(first, Tuba | Interpolated):
            self.baselines = _StackedBaselines(
                {name: cast("Tuba", bound).baseline for name, bound in bounds.items()}
            )
            cast("Tuba", self.form).baseline = _Given()

    def objectives(self, scores: Tensor, y: Mapping[str, Tensor], spread: Spread) -> Tensor:
        """``(G,)`` objectives, to be maximised over the critics.

        Args:
            scores: ``(G, B, B)``, in the order of ``y``.
            y: name of a bound -> its y ``(B, d)``.
            spread: applies learned baselines to rows.
        """
        if isinstance(self.form, Mine):
            return self._mine(self.form, scores, list(y))
        return vmap(self.form.objective)(scores, self._beside(scores, y, spread))

    def values(self, scores: Tensor, y: Mapping[str, Tensor], spread: Spread) -> Tensor:
        """``(G,)`` estimates in nats; arguments as of :meth:`objectives`."""
        return vmap(self.form.value)(scores, self._beside(scores, y, spread))

    def read(self, name: str, bound: Bound) -> None:
        """Copies what one bound has learned into an ordinary one."""
        if isinstance(bound, Mine):
            bound.log_average.copy_(cast("Mine", self.form).log_average[self.places[name]])
        elif isinstance(self.baselines, _StackedBaselines):
            self.baselines.read(name, cast("Tuba", bound).baseline)

    def write(self, name: str, bound: Bound) -> None:
        """Copies what an ordinary bound has learned over what one has."""
        if isinstance(bound, Mine):
            cast("Mine", self.form).log_average[self.places[name]].copy_(bound.log_average)
        elif isinstance(self.baselines, _StackedBaselines):
            self.baselines.write(name, cast("Tuba", bound).baseline)

    def _beside(self, scores: Tensor, y: Mapping[str, Tensor], spread: Spread) -> Tensor:
        """``(G, B)`` log baselines; without baselines anything of that shape."""
        if isinstance(self.baselines, _StackedBaselines):
            return self.baselines(y, spread).to(scores.dtype)
        return scores.detach()[:, 0]

    def _mine(self, form: Mine, scores: Tensor, names: Sequence[str]) -> Tensor:
        """DV with MINE's gradient; in training mode it moves the averages of the named bounds."""
        pairs = scores.diagonal(dim1=1, dim2=2).mean(dim=1)
        log_means = vmap(bounds.log_mean_exp_off_diagonal)(scores)
        places = [self.places[name] for name in names]
        now = log_means.detach()
        kept = torch.stack([form.log_average[place] for place in places])
        if not form.training:
            denominator = torch.where(kept.isinf(), now, kept)
        else:
            denominator = moved_average(kept, now, form.decay)
            for place, average in zip(places, denominator.unbind(), strict=True):
                form.log_average[place].copy_(average)
        return mine_objective(pairs, log_means, denominator)


class _StackedBaselines(nn.Module):
    """``(G, B)`` log a(y) of several baselines of one kind."""

    def __init__(self, baselines: Mapping[str, Baseline]) -> None:
        super().__init__()
        first = next(iter(baselines.values()))
        self.networks: Stacks | None = None
        self.plain: Baseline | None = None
        if isinstance(first, LearnedBaseline):
            learned = cast("Mapping[str, LearnedBaseline]", baselines)
            self.networks = Stacks({n: chain_of(b.network) for n, b in learned.items()})
        else:
            self.plain = first

    def forward(self, y: Mapping[str, Tensor], spread: Spread) -> Tensor:
        if self.networks is not None:
            return self.networks(y, spread).squeeze(2)
        return torch.stack([cast("Baseline", self.plain)(value) for value in y.values()])

    def read(self, name: str, baseline: Baseline) -> None:
        if self.networks is not None:
            fill(self.networks.layers(name), cast("LearnedBaseline", baseline).network)

    def write(self, name: str, baseline: Baseline) -> None:
        if self.networks is not None:
            chain = chain_of(cast("LearnedBaseline", baseline).network)
            self.networks.fill(name, chain.layers)


class _Given(Baseline):
    """Stands where a baseline was computed before: its values come instead of y."""

    def forward(self, y: Tensor) -> Tensor:
        return y


def _settings(bound: Bound) -> str:
    """What bounds must have in common, in words."""
    names = ("alpha", "clip", "decay")
    found = [type(bound).__name__] + [
        f"{n} {getattr(bound, n)}" for n in names if hasattr(bound, n)
    ]
    baseline = getattr(bound, "baseline", None)
    if baseline is not None:
        found.append(type(baseline).__name__)
    if isinstance(baseline, ConstantBaseline):
        found.append(str(baseline.value))
    return " ".join(found)
