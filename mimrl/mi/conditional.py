"""Conditional mutual information I(X; Y | Z) by a classifier of joint against product samples."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from mimrl.errors import EstimationError, ShapeError
from mimrl.mi.critics import Activation, JointInput, hidden_layers
from mimrl.mi.neighbours import Triples

Estimator = Literal["nwj", "dv", "ldr"]


class ConditionalMI(nn.Module):
    """A classifier of joint (x, y, z) against samples of p(x | z) p(y, z), and its read-out.

    Its logit estimates ``log p(x, y, z) / (p(x | z) p(y, z))``, whose mean over joint samples is
    I(X; Y | Z).

    Args:
        x_dim: width of x.
        y_dim: width of y.
        z_dim: width of z.
        estimator: how the log ratios are read, see :func:`read_out`.
        hidden: hidden width.
        layers: hidden layers after the input layer.
        logit_clip: the log ratio is clipped to [-clip, clip] when it is read; in the loss it is
            not, so that a sample beyond the clip still has a gradient.
        activation: between the layers. The published classifier has ReLU; a smooth activation
            suits log ratios, which are smooth where densities are: on 2,000 Gaussian rows it
            halved the bias (docs/method.md).
        dropout: share of hidden units zeroed in training mode.

    Note:
        The input layer is a :class:`~mimrl.mi.critics.JointInput`: the published code repeats a
        scalar label 128 times so that it is not drowned by the features; here each variable's map
        has its own scale, which does the same without 127 columns of copies. The published
        classifier has two outputs, "joint" and "product", each with a cross-entropy of its own;
        one log ratio says the same.
    """

    def __init__(
        self,
        x_dim: int,
        y_dim: int,
        z_dim: int,
        *,
        estimator: Estimator = "ldr",
        hidden: int = 256,
        layers: int = 2,
        logit_clip: float = 10.0,
        activation: Activation = "silu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not logit_clip > 0:
            raise EstimationError(f"logit_clip must be positive, got {logit_clip}")
        self.widths = (x_dim, y_dim, z_dim)
        self.estimator: Estimator = estimator
        self.logit_clip = logit_clip
        self.joint_input = JointInput(self.widths, hidden)
        self.network = hidden_layers(
            hidden, 1, layers=layers, activation=activation, dropout=dropout
        )

    def logits(self, rows: Triples) -> Tensor:
        """Estimates of the log ratio of every row, unclipped, ``(N,)`` in nats.

        Raises:
            ShapeError: a variable has another width than the classifier was built for.
        """
        widths = tuple(v.shape[1] for v in (rows.x, rows.y, rows.z))
        if widths != self.widths:
            raise ShapeError(f"x, y, z need widths {self.widths}, got {widths}")
        return self.network(self.joint_input(rows.x, rows.y, rows.z)).squeeze(1)

    def loss(self, joint: Triples, product: Triples) -> Tensor:
        """Cross-entropy of the classifier; both kinds of samples count the same. 0-d.

        Args:
            joint: samples of p(x, y, z).
            product: samples of p(x | z) p(y, z).
        """
        joint_logits, product_logits = self._both(joint, product)
        return 0.5 * (softplus(-joint_logits).mean() + softplus(product_logits).mean())

    def forward(self, joint: Triples, product: Triples) -> Tensor:
        """The estimate of I(X; Y | Z), differentiable in the samples.

        Args:
            joint: samples of p(x, y, z).
            product: samples of p(x | z) p(y, z). LDR does not use their scores.

        Returns:
            0-d, in nats.
        """
        if self.estimator == "ldr":
            return self._clip(self.logits(joint)).mean()
        joint_logits, product_logits = self._both(joint, product)
        return read_out(self._clip(joint_logits), self._clip(product_logits), self.estimator)

    def _both(self, joint: Triples, product: Triples) -> tuple[Tensor, Tensor]:
        together = Triples(
            torch.cat([joint.x, product.x]),
            torch.cat([joint.y, product.y]),
            torch.cat([joint.z, product.z]),
        )
        logits = self.logits(together)
        return logits[: len(joint)], logits[len(joint) :]

    def _clip(self, logits: Tensor) -> Tensor:
        return logits.clamp(-self.logit_clip, self.logit_clip)


def read_out(joint: Tensor, product: Tensor, estimator: Estimator) -> Tensor:
    """Information from log ratios: the mean, DV or NWJ.

    Args:
        joint: ``(..., N)`` log ratios of joint samples.
        product: ``(..., M)`` log ratios of product samples.
        estimator: ``ldr`` mean log ratio of the joint samples; ``dv`` minus the log of the mean
            ratio of the product samples; ``nwj`` plus one minus that mean.

    Returns:
        ``(...)``, in nats.

    Raises:
        EstimationError: unknown estimator, or no samples.

    Note:
        The published code averages log ratios, not ratios, over the product samples and divides
        both sums by N + M, so what it calls NWJ has an offset of about 1 and half the slope.

    >>> import math
    >>> ratio = torch.full((4,), math.log(2.0))
    >>> read_out(ratio, torch.zeros(4), "nwj").item() == ratio[0].item()
    True
    """
    if not joint.shape[-1] or (estimator != "ldr" and not product.shape[-1]):
        raise EstimationError("an estimate needs joint and product samples, got none")
    if estimator == "ldr":
        return joint.mean(dim=-1)
    log_mean = product.logsumexp(dim=-1) - math.log(max(product.shape[-1], 1))
    if estimator == "dv":
        return joint.mean(dim=-1) - log_mean
    if estimator == "nwj":
        return 1 + joint.mean(dim=-1) - log_mean.exp()
    raise EstimationError(f"estimator must be nwj, dv or ldr, got {estimator!r}")
