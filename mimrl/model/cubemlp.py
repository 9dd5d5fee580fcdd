"""CubeMLP: MLPs that mix a ``(L, K, D)`` cube along time, modality and width in turn.

Source: Sun, Wang, Liu, Chen, Lin, "CubeMLP: An MLP-based Model for Multimodal Sentiment Analysis
and Depression Estimation", ACM MM 2022.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from mimrl.errors import ConfigError
from mimrl.model.base import Fusion
from mimrl.settings.model import Compose, CubeMlpSettings

NORM_EPS = 1e-6
LAST = 3  # axis of the width
Sizes = tuple[int, int, int]

ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "hardshrink": nn.Hardshrink,
    "hardtanh": nn.Hardtanh,
    "leakyrelu": nn.LeakyReLU,
    "prelu": nn.PReLU,
    "relu": nn.ReLU,
    "rrelu": nn.RReLU,
    "tanh": nn.Tanh,
}


def area_pooling(outputs: int, inputs: int) -> Tensor:
    """Averages of neighbours: each output takes its equal share of the inputs' line.

    Rows sum to 1 and all columns to ``outputs / inputs``, so the mean of the outputs is the mean
    of the inputs; with equal sizes it is the identity.

    Args:
        outputs: number of rows, at least 1.
        inputs: number of columns, at least 1.

    Returns:
        ``(outputs, inputs)`` float32.

    >>> area_pooling(2, 3)
    tensor([[0.6667, 0.3333, 0.0000],
            [0.0000, 0.3333, 0.6667]])
    """
    share = inputs / outputs
    start = torch.arange(outputs, dtype=torch.float64)[:, None] * share
    step = torch.arange(inputs, dtype=torch.float64)
    overlap = torch.minimum(step + 1, start + share) - torch.maximum(step, start)
    return (overlap.clamp(min=0) / share).float()


class AxisMlp(nn.Module):
    """``Dropout(W2 act(W1 x)) + residual`` along one axis, LayerNorm over it before or after.

    Args:
        axis: the axis of ``(B, L, K, D)`` that is mixed: 1, 2 or 3.
        inputs: size of that axis.
        hidden: size inside the MLP.
        outputs: size afterwards.
        settings: activation, bias, place of the LayerNorm, start of the residual.
        project: whether the residual is a bias-free projection; otherwise the identity.

    Raises:
        ConfigError: an identity residual between unequal sizes.

    Note:
        LayerNorm over two values leaves only the sign of their difference: where a block ends with
        two modalities, set ``ln_first`` or let it end with three.
    """

    def __init__(
        self,
        axis: int,
        inputs: int,
        hidden: int,
        outputs: int,
        settings: CubeMlpSettings,
        *,
        project: bool,
    ) -> None:
        super().__init__()
        if not project and inputs != outputs:
            raise ConfigError(
                f"model.fusion.project_residual=false needs equal sizes, got {inputs} -> {outputs}"
            )
        self.axis = axis
        self.ln_first = settings.ln_first
        self.fc1 = nn.Linear(inputs, hidden, bias=settings.bias)
        self.activation = ACTIVATIONS[settings.activation]()
        self.fc2 = nn.Linear(hidden, outputs, bias=settings.bias)
        self.dropout = nn.Dropout(settings.dropout[axis - 1])
        self.residual = nn.Linear(inputs, outputs, bias=False) if project else nn.Identity()
        self.norm = nn.LayerNorm(inputs if settings.ln_first else outputs, eps=NORM_EPS)
        if settings.residual_start == "pooling":
            self._start_as_pooling()

    @torch.no_grad()
    def _start_as_pooling(self) -> None:
        for parameter in self.fc2.parameters():
            parameter.zero_()
        if isinstance(self.residual, nn.Linear):
            outputs, inputs = self.residual.weight.shape
            over_width = self.axis == 3
            self.residual.weight.copy_(
                torch.eye(outputs, inputs) if over_width else area_pooling(outputs, inputs)
            )

    def forward(self, cube: Tensor) -> Tensor:
        """``(B, L, K, D)`` to the same with the size of one axis changed."""
        if self.axis == LAST:
            return self._mixed(cube)
        first = cube.movedim(self.axis, 0)
        mixed = self._mixed(first.flatten(1))
        return mixed.unflatten(1, first.shape[1:]).movedim(0, self.axis)

    def _mixed(self, x: Tensor) -> Tensor:
        """``x`` has the axis last, or first of two: then each layer is one product from the left.

        With the modalities last, LayerNorm runs over rows of three numbers: on a CPU that axis then
        takes two fifths of the fusion's time, in this form a sixth.
        """
        inside = self.activation(self._linear(self.fc1, self._normed(x) if self.ln_first else x))
        residual = self.residual
        straight = self._linear(residual, x) if isinstance(residual, nn.Linear) else x
        y = self.dropout(self._linear(self.fc2, inside)) + straight
        return y if self.ln_first else self._normed(y)

    def _linear(self, layer: nn.Linear, x: Tensor) -> Tensor:
        if self.axis == LAST:
            return layer(x)
        if layer.bias is None:
            return layer.weight @ x
        return torch.addmm(layer.bias[:, None], layer.weight, x)

    def _normed(self, x: Tensor) -> Tensor:
        if self.axis == LAST:
            return self.norm(x)
        x = x.to(self.norm.weight.dtype)  # as nn.LayerNorm does under autocast
        centred = x - x.mean(dim=0)
        scale = (centred.square().mean(dim=0) + self.norm.eps).rsqrt()
        return torch.addcmul(self.norm.bias[:, None], centred * scale, self.norm.weight[:, None])


class CubeBlock(nn.Module):
    """Mixes along time, then modality, then width.

    Args:
        before: ``(L, K, D)`` of its input.
        hidden: hidden sizes of the three MLPs.
        after: ``(L, K, D)`` of its output.
        settings: see :class:`AxisMlp`.
        project: see :class:`AxisMlp`.
    """

    def __init__(
        self,
        before: Sizes,
        hidden: Sizes,
        after: Sizes,
        settings: CubeMlpSettings,
        *,
        project: bool,
    ) -> None:
        super().__init__()
        self.time, self.modality, self.feature = (
            AxisMlp(axis + 1, before[axis], hidden[axis], after[axis], settings, project=project)
            for axis in range(3)
        )

    def forward(self, cube: Tensor) -> Tensor:
        """``(B,) + before`` to ``(B,) + after``."""
        return self.feature(self.modality(self.time(cube)))


class CubeMlp(Fusion):
    """Sequences cut or padded to ``time_len``, stacked to a cube, mixed by blocks, composed.

    Args:
        settings: the fusion's settings.
        count: ``K``, number of modalities.
        width: ``D``, common width of the sequences.
        project: for each block, whether its residuals are projections; none given, all follow
            ``settings.project_residual``.

    Raises:
        ConfigError: an identity residual between unequal sizes.

    Note:
        ``residual_start="pooling"`` and ``length_scaling`` are ours. With a few hundred samples
        and a pretrained text encoder, random mixing over time destroys the sentence
        representation: on MOSI the validation MAE of the published start stood at 1.40 after six
        epochs, with pooling at 0.81. Combine pooling with ``ln_first``: a LayerNorm over time
        after the mixing subtracts the very mean that pooling keeps.
    """

    def __init__(
        self,
        settings: CubeMlpSettings,
        count: int,
        width: int,
        *,
        project: Sequence[bool] | None = None,
    ) -> None:
        super().__init__()
        self.settings = settings
        projects = [settings.project_residual] * len(settings.sizes) if project is None else project
        sizes = ((settings.time_len, count, width), *settings.sizes)
        hidden = settings.sizes if settings.hidden is None else settings.hidden
        self.blocks = nn.Sequential(
            *(
                CubeBlock(before, inside, after, settings, project=projected)
                for before, inside, after, projected in zip(
                    sizes[:-1], hidden, sizes[1:], projects, strict=True
                )
            )
        )
        time, modalities, features = settings.sizes[-1]
        self.width = (
            features
            * (modalities if settings.compose_modalities == "cat" else 1)
            * (time if settings.compose_time == "cat" else 1)
        )

    def cube(self, sequences: Sequence[Tensor], lengths: Sequence[Tensor]) -> Tensor:
        """The input of the blocks, ``(B, time_len, K, D)``."""
        steps = self.settings.time_len
        fitted = []
        for sequence, length in zip(sequences, lengths, strict=True):
            cut = sequence[:, :steps]
            x = functional.pad(cut, (0, 0, 0, steps - cut.shape[1]))
            if self.settings.length_scaling:
                valid = length.clamp(min=1, max=steps).to(x.device, x.dtype, non_blocking=True)
                x = x * (steps / valid)[:, None, None]
            fitted.append(x)
        return torch.stack(fitted, dim=2)

    def forward(self, sequences: Sequence[Tensor], lengths: Sequence[Tensor]) -> Tensor:
        """See :meth:`Fusion.forward`."""
        mixed = self.blocks(self.cube(sequences, lengths))
        joined = _compose(mixed, self.settings.compose_modalities, axis=2)
        return _compose(joined, self.settings.compose_time, axis=1)


def _compose(x: Tensor, how: Compose, axis: int) -> Tensor:
    """Removes ``axis``; ``cat`` lays it out along the last one, axis first."""
    if how == "cat":
        return x.flatten(axis)
    return x.mean(axis) if how == "mean" else x.sum(axis)
