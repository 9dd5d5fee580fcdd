"""Values of every pair as the published procedure reads them: one fit, nothing held out."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lsmi.pairs import PairValues, Stages
from lsmi.preprocessing import coordinates
from lsmi.published import MINT, PublishedModels, fit_models
from lsmi.results import INFORMATION, Pair
from lsmi.samples import Joined
from lsmi.settings import AnalysisSettings
from lsmi.uncertainty import Repeated

FloatArray = npt.NDArray[np.float64]


class PublishedFitting:
    """The published procedure for named features; train is read by the models fitted to it.

    Args:
        data: all splits.
        settings: epochs, batch size, width, prior and scaling are used.
        stages: called with the name and the number of steps of each stage.
    """

    def __init__(self, data: Joined, settings: AnalysisSettings, stages: Stages) -> None:
        self.data, self.settings, self.stages = data, settings, stages
        uniform = np.full(len(data.classes), -np.log(len(data.classes)))
        self.log_prior = data.log_frequencies if settings.class_prior == "data" else uniform
        self.form = replace(
            MINT,
            hidden=settings.hidden,
            discriminator_epochs=settings.discriminator_epochs,
            entropy_epochs=settings.entropy_epochs,
            batch_size=settings.batch_size,
            seed=settings.seed,
            device=settings.device,
        )

    def pair(self, names: Pair) -> PairValues:
        """Values of all rows for the features ``names``."""
        data, train = self.data, self.data.splits["train"]
        scales = tuple(
            coordinates(
                data.features[name], train, self.settings.scale, self.settings.components, name
            )
            for name in names
        )
        x1, x2 = (
            torch.as_tensor(each.values, dtype=torch.float32, device=self.form.device)
            for each in scales
        )
        labels = torch.as_tensor(data.labels, device=self.form.device)
        steps = self.form.discriminator_epochs + self.form.entropy_epochs
        models = fit_models(
            x1[train],
            x2[train],
            labels[train],
            len(data.classes),
            self.form,
            self.stages(f"{names[0]} and {names[1]}, as published", steps),
        )
        information = models.read(x1, x2, labels, self.log_prior)
        volumes = {"h1": next(iter(scales[0].volumes.values())),
                   "h2": next(iter(scales[1].volumes.values()))}  # fmt: skip
        columns = {
            item.name: getattr(information, item.name)[None] + volumes.get(item.name, 0.0)
            for item in fields(information)
            if getattr(information, item.name) is not None
        }
        return PairValues(
            coordinates=(scales[0], scales[1]),
            repeated=Repeated(**columns),
            controls=(),
            logs=dict(zip(INFORMATION, _log_probabilities(models, x1, x2), strict=True)),
            log_prior=self.log_prior,
            choices={
                name: dict.fromkeys(data.splits, ("last epoch of the fit to train",))
                for name in ("x1", "x2", "x12", "h1", "h2")
            },
        )


@torch.no_grad()
def _log_probabilities(models: PublishedModels, x1: Tensor, x2: Tensor) -> list[FloatArray]:
    inputs = (x1, x2, torch.cat([x1, x2], dim=1))
    return [
        torch.log_softmax(model(x), -1).cpu().numpy().astype(np.float64)
        for model, x in zip(models.discriminators, inputs, strict=True)
    ]
