"""MINE as its users know it: a statistics network, ``optimize``, ``mi``.

Belghazi, Baratin, Rajeshwar, Ozair, Bengio, Courville, Hjelm, "Mutual information neural
estimation" (ICML 2018). The product p(x) p(y) is represented by pairing x with permuted y.

    T = nn.Sequential(nn.Linear(2, 100), nn.ReLU(), nn.Linear(100, 1))
    mine = MINE(T, loss="mine", method="concat")
    mine.optimize(X, Y, iters=100)      # trains, and gives the information of X and Y in nats
    mine.mi(X_new, Y_new)               # reads it on rows that the network has not seen

The reading of ``optimize`` is on the rows of its own training and therefore too high;
:class:`mimrl.mi.estimators.mine.Mine` holds rows out.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy.typing as npt
import torch
from torch import Tensor, nn

from mimrl.errors import ConfigError, EstimationError, NonFiniteError, ShapeError
from mimrl.mi.objectives import moved_average

MineLoss = Literal["mine", "mine_biased", "fdiv"]
Samples = npt.ArrayLike | Tensor

READING_SHIFTS = 16
"""Cyclic shifts of a random order that stand for the product when the information is read."""


class MINE(nn.Module):
    """A statistics network and its loss.

    Args:
        T: network of one input ``(B, dx + dy)`` with ``method="concat"``, else of two, ``T(x, y)``;
            it gives ``(B, 1)`` or ``(B,)``.
        loss: ``mine``: Donsker-Varadhan whose gradient is divided by a moving average of
            E[e^T]; ``mine_biased``: with the batch's own gradient; ``fdiv``: the f-divergence
            bound E[T] - E[e^(T - 1)].
        method: ``concat`` joins x and y along the last axis for T; None calls ``T(x, y)``.
        alpha: share of a new batch in the moving average, in (0, 1]; has no effect on the other
            two losses.

    Attributes:
        log_average: log of the moving average, -inf before the first batch; a buffer: it is saved
            with the network, and moves in training mode only.

    Raises:
        ConfigError: unknown ``loss`` or ``method``, or alpha out of its range.

    Note:
        The published code (mine-pytorch) keeps the average as a plain number, which a checkpoint
        loses, moves it whenever the information is read, and exponentiates T as it is: T = 100
        overflows. Here it is a buffer in log space.
    """

    log_average: Tensor

    def __init__(
        self,
        T: nn.Module,
        loss: MineLoss = "mine",
        method: Literal["concat"] | None = "concat",
        alpha: float = 0.01,
    ) -> None:
        super().__init__()
        if loss not in get_args(MineLoss):
            raise ConfigError(f"loss {loss!r}; expected one of: {', '.join(get_args(MineLoss))}")
        if method not in ("concat", None):
            raise ConfigError(f"method {method!r}; expected 'concat', or None for T(x, y)")
        if not 0 < alpha <= 1:
            raise ConfigError(f"alpha {alpha}; expected a share of the new batch in (0, 1]")
        self.T, self.loss, self.method, self.alpha = T, loss, method, alpha
        self.register_buffer("log_average", torch.tensor(-math.inf))

    def statistics(self, x: Tensor, y: Tensor) -> Tensor:
        """T of each pair.

        Args:
            x: ``(B, dx)``.
            y: ``(B, dy)``.

        Returns:
            ``(B,)``.

        Raises:
            ShapeError: T gives something else than one number a row.
        """
        values = self.T(torch.cat([x, y], dim=-1)) if self.method else self.T(x, y)
        if values.shape not in ((len(x), 1), (len(x),)):
            raise ShapeError(
                f"T must give one number a row, ({len(x)}, 1) or ({len(x)},); "
                f"got {tuple(values.shape)}"
            )
        return values.reshape(len(x))

    def forward(self, x: Tensor, y: Tensor, y_product: Tensor | None = None) -> Tensor:
        """The loss: minus the bound, with the gradient of its kind, also towards x and y.

        Args:
            x: ``(B, dx)``, B >= 2.
            y: ``(B, dy)``, paired with x.
            y_product: ``(B, dy)`` rows of y drawn without regard to x; y shifted by half the
                batch if not given, which is a permutation without fixed points. Rows should come
                in random order.

        Returns:
            0-d, in nats.

        Raises:
            ShapeError: rows that differ, or T's output.
            EstimationError: fewer than two rows.
        """
        _check_rows(x, y, None if y_product is None else y_product)
        if y_product is None:
            y_product = y.roll(max(1, len(y) // 2), dims=0)
        paired = self.statistics(x, y).mean()
        product = self.statistics(x, y_product)
        log_mean = product.logsumexp(0) - math.log(len(product))
        if self.loss == "fdiv":
            return (log_mean - 1).exp() - paired
        if self.loss == "mine_biased":
            return log_mean - paired
        # the number is the bound's, the gradient that of E[e^T] over its moving average
        surrogate = (log_mean - self._denominator(log_mean.detach())).exp()
        return surrogate + (log_mean - surrogate).detach() - paired

    @torch.no_grad()
    def mi(self, x: Samples, y: Samples, seed: int = 0) -> float:
        """The bound on these rows; changes nothing in the module.

        Args:
            x: ``(N, dx)`` or ``(N,)``, array or tensor.
            y: ``(N, dy)`` or ``(N,)``, paired with x.
            seed: of the order whose cyclic shifts represent the product.

        Returns:
            Nats.

        Raises:
            ShapeError: rows that differ, or T's output.
            EstimationError: fewer than two rows.
        """
        first, second = self._tensor(x), self._tensor(y)
        _check_rows(first, second)
        was_training = self.training
        self.eval()
        try:
            return float(self._reading(first, second, seed))
        finally:
            self.train(was_training)

    def optimize(
        self,
        X: Samples,
        Y: Samples,
        iters: int = 100,
        batch_size: int = 100,
        opt: torch.optim.Optimizer | None = None,
        seed: int = 0,
    ) -> float:
        """Trains T and reads the information on all rows given.

        Args:
            X: ``(N, dx)`` or ``(N,)``, array or tensor.
            Y: ``(N, dy)`` or ``(N,)``, paired with X.
            iters: passes over the rows.
            batch_size: rows a step; rows that do not fill a last batch of two are left out.
            opt: optimiser of this module's parameters; Adam at 1e-4 if not given, as published.
            seed: of the batches and permutations.

        Returns:
            The bound in nats after the last pass, on the rows of the training: too high by what
            the network has learned by heart.

        Raises:
            ShapeError: rows that differ, or T's output.
            EstimationError: fewer than two rows.
            ConfigError: no pass, or batches of fewer than two rows.
            NonFiniteError: the loss became NaN or infinite.
        """
        if iters < 1 or batch_size < 2:
            raise ConfigError(
                f"iters {iters}, batch_size {batch_size}; expected at least one pass, and two "
                "rows a batch"
            )
        x, y = self._tensor(X), self._tensor(Y)
        _check_rows(x, y)
        opt = opt or torch.optim.Adam(self.parameters(), lr=1e-4)
        generator = torch.Generator().manual_seed(seed)
        self.train()
        for number in range(1, iters + 1):
            self._pass(x, y, batch_size, opt, generator, number)
        return self.mi(x, y, seed)

    def _denominator(self, log_mean: Tensor) -> Tensor:
        """Log of what MINE's gradient is divided by."""
        if self.training:
            self.log_average.copy_(moved_average(self.log_average, log_mean, self.alpha))
        return torch.where(self.log_average.isinf(), log_mean, self.log_average)

    def _pass(
        self,
        x: Tensor,
        y: Tensor,
        batch_size: int,
        opt: torch.optim.Optimizer,
        generator: torch.Generator,
        number: int,
    ) -> None:
        for rows in torch.randperm(len(x), generator=generator).split(batch_size):
            if len(rows) < 2:
                continue
            rows = rows.to(x.device)
            loss = self(x[rows], y[rows])
            if not bool(loss.isfinite()):
                raise NonFiniteError(f"the loss of MINE is {loss.item()} in pass {number}")
            opt.zero_grad()
            loss.backward()
            opt.step()

    def _reading(self, x: Tensor, y: Tensor, seed: int) -> Tensor:
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed)).to(x.device)
        x, y = x[order], y[order]
        shifts = range(1, min(READING_SHIFTS, len(x) - 1) + 1)
        product = torch.cat([self.statistics(x, y.roll(shift, dims=0)) for shift in shifts])
        log_mean = product.logsumexp(0) - math.log(len(product))
        paired = self.statistics(x, y).mean()
        return paired - (log_mean - 1).exp() if self.loss == "fdiv" else paired - log_mean

    def _tensor(self, values: Samples) -> Tensor:
        """``(N, d)`` like the parameters."""
        like = next(self.parameters())
        tensor = torch.as_tensor(values).to(like)
        return tensor[:, None] if tensor.ndim == 1 else tensor


def _check_rows(x: Tensor, y: Tensor, y_product: Tensor | None = None) -> None:
    sizes = {len(rows) for rows in (x, y, y_product) if rows is not None}
    if len(sizes) > 1:
        raise ShapeError(f"samples must be paired row by row, got {sorted(sizes)} rows")
    if len(x) < 2:
        raise EstimationError(f"MINE needs two or more rows, got {len(x)}")
