"""Estimators trained with early stopping: the options that they share."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from mimrl.mi.early_stopping import FitSettings
from mimrl.mi.estimators.crossfitting import TrainedEstimator
from mimrl.mi.estimators.preprocessing import Preprocessing

# Types with their range and text, so that a class of other defaults names nothing but those.
BatchSize = Annotated[int, Field(ge=2, description="rows a step")]
Rate = Annotated[float, Field(gt=0, description="Adam's learning rate")]
WeightDecay = Annotated[float, Field(ge=0, description="decoupled weight decay")]
Steps = Annotated[int, Field(ge=1, description="most steps of a training")]
CheckEvery = Annotated[int, Field(ge=1, description="steps between looks at the validation rows")]
Patience = Annotated[int, Field(ge=1, description="looks without improvement that end a training")]
Validation = Annotated[float, Field(gt=0, lt=1, description="share of fitting rows that validate")]
Hidden = Annotated[int, Field(ge=1, description="hidden width of the networks")]
Layers = Annotated[int, Field(ge=0, description="hidden layers after the input layer")]


class StoppedEstimator(TrainedEstimator):
    """A training of at most ``steps`` steps, of which validation rows choose one."""

    smallest: ClassVar[int] = 60

    preprocessing: Preprocessing = Field(
        "normal_scores", description="map of each column, fitted on the fitting rows"
    )
    rate: Rate = 2e-3
    steps: Steps = 1500
    check_every: CheckEvery = 25
    patience: Patience = 6
    validation: Validation = 0.15

    def fit_settings(self, **others: Any) -> FitSettings:
        """What :func:`~mimrl.mi.early_stopping.fit_with_early_stopping` needs.

        Args:
            **others: fields of the result that are not options common to all.
        """
        return FitSettings(
            rate=self.rate,
            steps=self.steps,
            check_every=self.check_every,
            patience=self.patience,
            validation=self.validation,
            **others,
        )
