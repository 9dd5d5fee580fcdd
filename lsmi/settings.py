"""Settings of a reading: how features are brought to one scale, how models are fitted and read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mimrl.errors import ConfigError

Prior = Literal["data", "uniform"]
Scaling = Literal["whiten", "none"]


@dataclass(frozen=True)
class AnalysisSettings:
    """Everything besides the data that a reading depends on.

    Attributes:
        prior: class prior p(y): the training labels' frequencies, or 1 / C as published.
        scaling: ``whiten``: centring and PCA whitening of each modality to the same number of
            components, fitted on train; ``none``: the coordinates as they are.
        components: that number; None chooses it by held-out classification likelihood.
        max_components: the most that may be chosen.
        folds: cross-fitting folds of the train split (and of the valid split's calibration).
        discriminator_epochs: epochs of the classifiers p(y|x); early stopping chooses within.
        entropy_epochs: epochs of the KNIFE density p(x); early stopping chooses within.
        batch_size: samples a step of both.
        hidden: width of a classifier's two hidden layers.
        members: classifiers from different starts whose log probabilities are averaged.
        seed: of initial weights, batches and folds.
        device: PyTorch device of the classifiers and of KNIFE.

    Raises:
        ConfigError: a value out of range; all of them in one message.
    """

    prior: Prior = "data"
    scaling: Scaling = "whiten"
    components: int | None = None
    max_components: int = 16
    folds: int = 5
    discriminator_epochs: int = 50
    entropy_epochs: int = 50
    batch_size: int = 64
    hidden: int = 128
    members: int = 2
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        least = {
            "max_components": 1,
            "folds": 2,
            "discriminator_epochs": 1,
            "entropy_epochs": 1,
            "batch_size": 2,
            "hidden": 1,
            "members": 1,
            "seed": 0,
        }
        problems = [
            f"{name} is {getattr(self, name)}, expected at least {bound}"
            for name, bound in least.items()
            if getattr(self, name) < bound
        ]
        if self.components is not None and self.components < 1:
            problems.append(f"components is {self.components}, expected at least 1")
        if self.components is not None and self.scaling == "none":
            problems.append("components has no effect with scaling none; remove one of the two")
        if self.prior not in ("data", "uniform"):
            problems.append(f"prior is {self.prior!r}, expected data or uniform")
        if self.scaling not in ("whiten", "none"):
            problems.append(f"scaling is {self.scaling!r}, expected whiten or none")
        if problems:
            raise ConfigError("settings of the analysis: " + "; ".join(problems))
