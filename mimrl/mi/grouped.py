"""Estimators of many terms as one computation: what is one by one elsewhere, batched.

A group is built from ordinary estimators and starts with their weights; a term can be taken out
again as an ordinary estimator. Loss, value and gradient of a term are the same in both, up to
rounding.

Under ``torch.autocast`` the networks run in the narrow type; what comes out of them is float32
before a score, a bound or a loss is formed of it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from mimrl.errors import ShapeError
from mimrl.mi.conditional import ConditionalMI, Estimator, read_out
from mimrl.mi.nearest import at_least_float32
from mimrl.mi.neighbours import Triples
from mimrl.mi.stacked import Spread, Stacks, chain_of, fill, here, in_order, together
from mimrl.mi.stacked_bounds import StackedBound
from mimrl.mi.stacked_critics import Pairs, stacked_critics
from mimrl.mi.variational import VariationalMI

M = TypeVar("M", bound=nn.Module)


class GroupedMutual(nn.Module):
    """Several :class:`~mimrl.mi.VariationalMI` as one computation.

    Args:
        estimators: name -> estimator; critics of one kind, bounds alike, widths as they come.
        spread: where networks meet their rows.

    Raises:
        EstimationError: critics of several kinds, or bounds that differ.
    """

    def __init__(self, estimators: Mapping[str, VariationalMI], spread: Spread = here) -> None:
        super().__init__()
        self.spread = spread
        self.critics = stacked_critics({n: e.critic for n, e in estimators.items()})
        self.bound = StackedBound({n: e.bound for n, e in estimators.items()})
        self._forms = {n: copy.deepcopy(e).to("meta") for n, e in estimators.items()}

    def losses(self, pairs: Mapping[str, Pairs]) -> dict[str, Tensor]:
        """What the critics' optimiser minimises: minus each bound's objective, 0-d.

        Args:
            pairs: name of a term -> its samples, all with the same number of rows.

        Raises:
            ShapeError: widths or numbers of rows that do not fit.
            EstimationError: fewer than two rows.
        """
        scores, y = self._scores(pairs)
        return _named(pairs, -self.bound.objectives(scores, y, self.spread))

    def forward(self, pairs: Mapping[str, Pairs]) -> dict[str, Tensor]:
        """The estimate of each term, 0-d in nats, differentiable in the samples.

        Arguments and errors are those of :meth:`losses`.
        """
        scores, y = self._scores(pairs)
        return _named(pairs, self.bound.values(scores, y, self.spread))

    def estimator(self, name: str) -> VariationalMI:
        """One term as an ordinary estimator with a copy of its weights."""
        found = _like(self._forms[name], self)
        self.critics.read(name, found.critic)
        self.bound.read(name, found.bound)
        return found.train(self.training)

    @torch.no_grad()
    def load(self, name: str, estimator: VariationalMI) -> None:
        """Gives one term the weights of an ordinary estimator of its form."""
        self.critics.write(name, estimator.critic)
        self.bound.write(name, estimator.bound)

    def _scores(self, pairs: Mapping[str, Pairs]) -> tuple[Tensor, dict[str, Tensor]]:
        for name, pair in pairs.items():
            critic = self._forms[name].critic
            _check_widths(name, (critic.x_dim, critic.y_dim), (pair.x, pair.y))
        _check_rows({name: len(pair.x) for name, pair in pairs.items()})
        return self.critics.scores(pairs, self.spread), {n: pair.y for n, pair in pairs.items()}


@dataclass(frozen=True)
class Contrast:
    """Samples that a classifier tells apart: of p(x, y, z), and of p(x | z) p(y, z)."""

    joint: Triples
    product: Triples

    def rows(self) -> Triples:
        """Those of the joint distribution first."""
        joint, product = self.joint, self.product
        return Triples(
            torch.cat([joint.x, product.x]),
            torch.cat([joint.y, product.y]),
            torch.cat([joint.z, product.z]),
        )


class GroupedConditional(nn.Module):
    """Several :class:`~mimrl.mi.ConditionalMI` as one computation.

    The input layer of each, a sum of one map a variable, is one map of x, y and z side by side; so
    terms whose widths have the same sum are stacked, whatever part the variables play in them.

    Args:
        estimators: name -> estimator.
        spread: where networks meet their rows.
    """

    def __init__(self, estimators: Mapping[str, ConditionalMI], spread: Spread = here) -> None:
        super().__init__()
        self.spread = spread
        self.networks = Stacks(
            {n: chain_of(e.network, e.joint_input) for n, e in estimators.items()}
        )
        self._forms = {n: copy.deepcopy(e).to("meta") for n, e in estimators.items()}

    def losses(self, samples: Mapping[str, Contrast]) -> dict[str, Tensor]:
        """Cross-entropy of each classifier; both kinds of samples count the same. 0-d.

        Args:
            samples: name of a term -> its samples, all with as many rows of each kind.

        Raises:
            ShapeError: widths or numbers of rows that do not fit.
        """
        joint, product = self._both(samples)
        of_joint, of_product = softplus(-joint).mean(dim=1), softplus(product).mean(dim=1)
        return _named(samples, 0.5 * (of_joint + of_product))

    def forward(self, samples: Mapping[str, Contrast]) -> dict[str, Tensor]:
        """The estimate of each term, 0-d in nats, differentiable in the samples.

        Args:
            samples: name of a term -> its samples, all with as many rows of each kind. LDR does not
                score those of the product.

        Raises:
            ShapeError: widths or numbers of rows that do not fit.
        """
        found: dict[str, Tensor] = {}
        for (estimator, clip), names in together(self._readings(samples)).items():
            chosen = {name: samples[name] for name in names}
            if estimator == "ldr":
                joint = product = self.logits({n: s.joint for n, s in chosen.items()})
            else:
                joint, product = self._both(chosen)
            values = read_out(joint.clamp(-clip, clip), product.clamp(-clip, clip), estimator)
            found |= _named(chosen, values)
        return {name: found[name] for name in samples}

    def logits(self, rows: Mapping[str, Triples]) -> Tensor:
        """Estimates of the log ratio of every row, unclipped, ``(G, N)`` in nats.

        Raises:
            ShapeError: widths or numbers of rows that do not fit.
        """
        for name, triples in rows.items():
            _check_widths(name, self._forms[name].widths, (triples.x, triples.y, triples.z))
        _check_rows({name: len(triples) for name, triples in rows.items()})
        parts = []
        for networks, names in self.networks.groups(list(rows)):
            joined = side_by_side([rows[name] for name in names])
            parts.append((at_least_float32(self.spread(networks, joined)).squeeze(2), names))
        return in_order(parts, list(rows))

    def estimator(self, name: str) -> ConditionalMI:
        """One term as an ordinary estimator with a copy of its weights."""
        found = _like(self._forms[name], self)
        fill(self.networks.layers(name), found.network, found.joint_input)
        return found.train(self.training)

    def load(self, name: str, estimator: ConditionalMI) -> None:
        """Gives one term the weights of an ordinary estimator of its form."""
        chain = chain_of(estimator.network, estimator.joint_input)
        self.networks.fill(name, chain.layers)

    def _readings(self, names: Mapping[str, object]) -> dict[str, tuple[Estimator, float]]:
        return {n: (self._forms[n].estimator, self._forms[n].logit_clip) for n in names}

    def _both(self, samples: Mapping[str, Contrast]) -> tuple[Tensor, Tensor]:
        """Logits ``(G, N)`` of joint and ``(G, M)`` of product samples, from one pass."""
        _check_rows({name: len(contrast.joint) for name, contrast in samples.items()})
        logits = self.logits({name: contrast.rows() for name, contrast in samples.items()})
        count = len(next(iter(samples.values())).joint)
        return logits[:, :count], logits[:, count:]


def side_by_side(rows: Sequence[Triples]) -> Tensor:
    """``(G, N, dx + dy + dz)`` with x, y and z of each; one copy, rows of all beside each other.

    Args:
        rows: ``G`` triples with as many rows and the same sum of widths.
    """
    joined = torch.cat([v for triples in rows for v in (triples.x, triples.y, triples.z)], dim=1)
    return joined.view(len(joined), len(rows), -1).transpose(0, 1)


def _named(names: Mapping[str, object], values: Tensor) -> dict[str, Tensor]:
    return dict(zip(names, values.unbind(), strict=True))


def _like(form: M, group: nn.Module) -> M:
    """A module of this form, its weights still to be filled in, where and of what a group is."""
    weight = next(group.parameters())
    return copy.deepcopy(form).to_empty(device=weight.device).to(weight.dtype)


def _check_widths(name: str, wanted: Sequence[int], variables: Sequence[Tensor]) -> None:
    got = tuple(value.shape[1] for value in variables)
    if got != tuple(wanted):
        raise ShapeError(f"variables of {name} need widths {tuple(wanted)}, got {got}")


def _check_rows(counts: Mapping[str, int]) -> None:
    if len(set(counts.values())) > 1:
        raise ShapeError(f"terms computed together need the same number of rows, got {counts}")
