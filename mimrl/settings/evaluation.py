"""Settings of what a run evaluates at its end, beside the metrics of its chosen epoch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from mimrl.settings.base import Group, refuse

Rate = Annotated[float, Field(ge=0, lt=1)]
TENTHS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
DRAWS = 5


class EvaluationSettings(Group):
    """Evaluations of the chosen model on valid and test that are made when asked for."""

    missing: bool = Field(
        False,
        description="evaluate the model also with modalities missing: each subset, and random "
        "ones; into metrics.json and missing.png",
    )
    missing_rates: tuple[Rate, ...] = Field(
        TENTHS,
        min_length=1,
        description="with missing: probabilities that a clip loses a modality; one at least is "
        "kept",
    )
    missing_draws: int = Field(
        DRAWS, ge=1, description="with missing: random draws of the missing modalities at each rate"
    )

    @model_validator(mode="after")
    def _check(self) -> EvaluationSettings:
        problems = []
        fields = EvaluationSettings.model_fields
        idle = [
            name
            for name in ("missing_rates", "missing_draws")
            if not self.missing and getattr(self, name) != fields[name].default
        ]
        problems += [
            f"{name} has no effect with missing=false; remove it, or set missing=true"
            for name in idle
        ]
        if len(set(self.missing_rates)) < len(self.missing_rates):
            problems.append(f"missing_rates names a rate twice: {list(self.missing_rates)}")
        refuse(problems)
        return self
