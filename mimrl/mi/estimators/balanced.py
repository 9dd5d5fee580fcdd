"""A critic read so that its ratios average one over every row and over every column.

The ratio r(x, y) = p(x, y) / (p(x) p(y)) has mean 1 over y for every x, and over x for every y.
A trained critic has that only nearly. For N rows that were held out, potentials a_i and b_j are
sought with which all row means and column means of e^(f(x_i, y_j) + a_i + b_j) are one, by turns
(Sinkhorn 1967); the log ratio of pair i is then f(x_i, y_i) + a_i + b_i.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mimrl.errors import EstimationError
from mimrl.mi.bounds import diagonal
from mimrl.mi.critics import Critic
from mimrl.mi.estimators.critic_reading import GROUP, groups, tensors
from mimrl.mi.estimators.crossfitting import LogRatio
from mimrl.mi.estimators.features import Features
from mimrl.mi.estimators.interface import Floats
from mimrl.mi.estimators.samples import Pair

TURNS = 12
"""Row and column turns; on the benchmark's data the value moves by less than 1e-3 after eight."""


@dataclass(frozen=True)
class BalancedRatio(LogRatio):
    """A critic, read balanced.

    Attributes:
        critic: in evaluation mode.
        features: what it sees of x and y.
        given_back: a constant added to every value, in nats.
    """

    critic: Critic
    features: Features
    given_back: float = 0.0

    @torch.no_grad()
    def pointwise(self, pair: Pair) -> Floats:
        """``(N,)`` in nats, each at most the log of the rows of its group plus the constant."""
        x, y = tensors(self.features(pair), self.critic)
        if len(x) < 2:
            raise EstimationError(f"a critic is read on two or more rows, got {len(x)}")
        values = torch.empty(len(x), dtype=torch.float64, device=x.device)
        for rows in groups(len(x), GROUP):
            rows = rows.to(x.device)
            values[rows] = balanced(self.critic.scores(x[rows], y[rows])).double()
        found: Floats = values.cpu().numpy() + self.given_back
        return found


def balanced(scores: Tensor, turns: int = TURNS) -> Tensor:
    """Log ratios of the pairs after balancing.

    All combinations enter the means, the pairs too. So the potentials do not know which x belongs
    to which y: for independent variables, whatever the critic, the expected mean is at most 0 (by
    Jensen; all pairings are equally likely, and the mean ratio is 1). As with InfoNCE no value
    exceeds log N.

    Args:
        scores: ``(N, N)`` float, N >= 2, pairs on the diagonal.
        turns: how often rows and columns are balanced; columns last, exactly.

    Returns:
        ``(N,)`` in nats.

    Raises:
        ShapeError: ``scores`` is not square.
        EstimationError: N < 2.

    >>> balanced(torch.tensor([[3.0, 0.0], [3.0, 0.0]]) + torch.tensor([[5.0], [1.0]]))
    tensor([0., 0.])
    """
    own, log_rows = diagonal(scores), math.log(len(scores))
    columns = torch.zeros_like(own)
    for _ in range(turns):
        rows = log_rows - (scores + columns).logsumexp(dim=1)
        columns = log_rows - (scores + rows[:, None]).logsumexp(dim=0)
    return own + rows + columns
