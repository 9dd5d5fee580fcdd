"""What the families trained by gradient share: whitened features, moments as candidates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from lsmi.density.coordinates import fit_coordinates
from lsmi.density.descent import Descent, Model, descend
from lsmi.density.family import Densities, FloatArray, Progress, Rows, position
from lsmi.discriminators import moments


@dataclass(frozen=True, kw_only=True)
class TrainedFamily(ABC):
    """Densities trained by gradient on whitened features; the candidates are moments.

    Attributes:
        epochs: passes over the training rows.
        batch_size: samples a step.
        rate: Adam's learning rate, falling to 0 along half a cosine.
        seed: of the start and of the batches.
        device: PyTorch device.
    """

    title: ClassVar[str]
    """What is trained, for messages."""
    word: ClassVar[str]
    """First of the candidates' names."""
    most_moments: ClassVar[int]
    """That are kept beside the start."""

    epochs: int = 20
    batch_size: int = 128
    rate: float
    seed: int = 0
    device: str = "cpu"

    @property
    def moments(self) -> tuple[int, ...]:
        """Epochs after which the models are read; 0 is the start."""
        return (0, *moments(self.epochs, self.most_moments))

    @property
    def names(self) -> tuple[str, ...]:
        """One a moment, the start among them."""
        return tuple(f"{self.word}, epoch {epoch}" for epoch in self.moments)

    @property
    def steps(self) -> int:
        """One an epoch."""
        return self.epochs

    def only(self, name: str) -> Self:
        """The same: each fit is stopped at its own best moment."""
        position(name, self.names)
        return self

    def quick(self) -> Self:
        """The same: a training that is cut short says little about where it would end."""
        return self

    @abstractmethod
    def start(self, inputs: Tensor, fits: Sequence[Rows]) -> Model:
        """The models of all fits before their training, on :attr:`device`.

        Args:
            inputs: ``(F, N, D)`` float64, each fit's rows in its own white coordinates.
            fits: rows that each fit is trained on.
        """

    def __call__(
        self,
        x: FloatArray,
        labels: Rows,
        classes: int,
        fits: Sequence[Rows],
        progress: Progress,
    ) -> Densities:
        """See :class:`~lsmi.density.family.DensityFamily`; labels are not looked at.

        Raises:
            NonFiniteError: the likelihood became NaN or infinite.
        """
        coordinates = fit_coordinates(x, fits, "white")
        inputs = coordinates(torch.tensor(x))
        how = Descent(self.title, self.epochs, self.batch_size, self.rate, self.moments, self.seed)
        model = self.start(inputs, fits)
        values = descend(inputs.float().to(self.device), fits, model, how, progress)
        return Densities(self.names, values + coordinates.log_volume.numpy()[:, None])
