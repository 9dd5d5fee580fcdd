"""Mutual information between two variables from a critic and a bound."""

from __future__ import annotations

from torch import Tensor, nn

from mimrl.mi.critics import Critic
from mimrl.mi.objectives import Bound


class VariationalMI(nn.Module):
    """An estimator of I(X; Y): a critic that scores pairs and a bound that reads the scores.

    Args:
        critic: scores all combinations of a batch.
        bound: what is maximised over the critic, and what is reported.
    """

    def __init__(self, critic: Critic, bound: Bound) -> None:
        super().__init__()
        self.critic = critic
        self.bound = bound

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """What the critic's optimiser minimises: minus the bound's objective.

        Args:
            x: ``(B, x_dim)`` float.
            y: ``(B, y_dim)`` float, ``y[i]`` paired with ``x[i]``; B >= 2.

        Returns:
            0-d.

        Raises:
            ShapeError: widths or lengths that do not fit.
            EstimationError: B < 2.
        """
        return -self.bound.objective(self.critic(x, y), y)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The estimate of I(X; Y), differentiable in x and y.

        Args:
            x: ``(B, x_dim)`` float.
            y: ``(B, y_dim)`` float, ``y[i]`` paired with ``x[i]``; B >= 2.

        Returns:
            0-d, in nats. For JS and SMILE its gradient is that of the f-GAN objective, by
            definition of these bounds.

        Raises:
            ShapeError: widths or lengths that do not fit.
            EstimationError: B < 2.
        """
        return self.bound.value(self.critic(x, y), y)
