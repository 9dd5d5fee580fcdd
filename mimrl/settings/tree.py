"""The whole tree of settings and the rules that tie its groups together."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from mimrl.settings.base import Group, refuse
from mimrl.settings.data import DataSettings, is_planted
from mimrl.settings.evaluation import EvaluationSettings
from mimrl.settings.information import ConditionalSettings, CriticSettings, SteeringSettings
from mimrl.settings.model import CubeMlpSettings, ModelSettings
from mimrl.settings.performance import PerformanceSettings
from mimrl.settings.training import TrainingSettings
from mimrl.terms import quantities, terms

REGRESSION_LOSSES = ("mae", "mse", "rmse", "ccc")
REGRESSION_METRICS = ("mae", "corr", "ccc", "rmse")
CLASS_METRICS = ("accuracy", "f1", "auc")


class Settings(Group):
    """Everything a run depends on; written beside its results and into its checkpoints."""

    name: str = Field(
        "run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="folder of the run in output"
    )
    output: str = Field("runs", description="folder that holds all runs")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of everything random in the training")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="where to compute; auto takes a GPU when there is one"
    )
    threads: int | None = Field(
        None, ge=1, description="CPU threads; null leaves PyTorch's choice (results depend on it)"
    )
    data: DataSettings = Field(default_factory=DataSettings, description="the data")
    model: ModelSettings = Field(default_factory=ModelSettings, description="the network")
    critics: CriticSettings = Field(default_factory=CriticSettings, description="stage 1")
    steering: SteeringSettings = Field(default_factory=SteeringSettings, description="stage 2")
    training: TrainingSettings = Field(
        default_factory=TrainingSettings, description="epochs, losses, optimisers"
    )
    performance: PerformanceSettings = Field(
        default_factory=PerformanceSettings, description="speed and memory"
    )
    evaluation: EvaluationSettings = Field(
        default_factory=EvaluationSettings, description="what is evaluated at the end, if asked for"
    )

    @model_validator(mode="before")
    @classmethod
    def _encoder_for_each_modality(cls, values: Any) -> Any:
        """Names the default encoder of each modality, so that written settings are complete."""
        if not isinstance(values, dict):
            return values
        values = {"data": {}, **values}
        data, model = values.get("data"), values.get("model", {})
        if not isinstance(model, dict) or not isinstance(data, dict):
            return values
        default = DataSettings.model_fields["modalities"].default
        modalities = data.get("modalities", default)
        encoders = model.get("encoders", {})
        if not isinstance(modalities, list | tuple) or not isinstance(encoders, dict):
            return values
        planted = is_planted(data)
        filled = {str(key): value for key, value in encoders.items()}
        for name in dict.fromkeys([*map(str, modalities), *filled]):
            kind = "transformer" if name == "text" and not planted else "gru"
            given = filled.get(name, {})
            if isinstance(given, str):
                filled[name] = {"kind": given}
            elif isinstance(given, dict) and "kind" not in given:
                filled[name] = {"kind": kind, **given}
        return {**values, "model": {**model, "encoders": filled}}

    @model_validator(mode="before")
    @classmethod
    def _of_before_critics_followed(cls, values: Any) -> Any:
        """Complete settings of a version without ``critics.update`` keep their meaning."""
        critics = values.get("critics") if isinstance(values, dict) else None
        steering = values.get("steering") if isinstance(values, dict) else None
        if not isinstance(critics, dict) or not isinstance(steering, dict):
            return values
        before = set(CriticSettings.model_fields) - {"update"}
        if set(critics) != before or set(steering) != {"default", "weights"}:
            return values
        return {
            **values,
            "critics": {**critics, "update": "epoch"},
            "steering": {**steering, "scale": "published"},
        }

    @model_validator(mode="after")
    def _check(self) -> Settings:
        problems = [
            *self._modality_problems(),
            *self._loss_problems(),
            *self._fusion_problems(),
            *self._steering_problems(),
            *self._bank_problems(),
            *self._missing_problems(),
            *self._text_problems(),
        ]
        refuse(problems)
        return self

    def _modality_problems(self) -> list[str]:
        unknown = sorted(set(self.model.encoders) - set(self.data.modalities))
        found = []
        if unknown:
            found.append(
                f"model.encoders names {unknown}, not among data.modalities "
                f"{list(self.data.modalities)}"
            )
        transformers = [name for name, e in self.model.encoders.items() if e.kind == "transformer"]
        if any(name != "text" for name in transformers):
            found.append("only the modality named 'text' can have a transformer encoder")
        if transformers and self.data.layout == "planted":
            found.append("planted data have no words: a transformer encoder cannot read them")
        return found

    def _loss_problems(self) -> list[str]:
        loss, target, select = self.training.loss, self.data.target, self.training.select_by
        regression = self.task == "regression"
        allowed = REGRESSION_LOSSES if regression else ("ce", "focal", "bce")
        found = []
        if loss.kind not in allowed:
            found.append(
                f"training.loss {loss.kind} does not fit data.target {target}; "
                f"expected one of {', '.join(allowed)}"
            )
        if loss.kind == "bce" and target not in ("class", "binary_has0", "binary_non0"):
            found.append(f"training.loss bce needs two classes, not data.target {target}")
        metrics = REGRESSION_METRICS if regression else CLASS_METRICS
        if select != "auto" and select not in metrics:
            found.append(
                f"training.select_by {select} does not fit data.target {target}; "
                f"expected one of auto, {', '.join(metrics)}"
            )
        return found

    def _fusion_problems(self) -> list[str]:
        fusion, width = self.model.fusion, self.model.width
        if fusion.kind == "crossmodal" and width % fusion.heads:
            return [f"model.fusion.heads {fusion.heads} does not divide model.width {width}"]
        if isinstance(fusion, CubeMlpSettings) and not fusion.project_residual:
            before = (fusion.time_len, len(self.data.modalities), width)
            for block in fusion.sizes:
                if block != before:
                    return [
                        f"model.fusion.project_residual=false needs every block's sizes equal to "
                        f"its input {before}, got {block}"
                    ]
        return []

    def _steering_problems(self) -> list[str]:
        found = []
        known_terms = [term.name for term in terms(self.data.modalities)]
        known_quantities = [quantity.name for quantity in quantities(self.data.modalities)]
        for key, given, known in (
            ("critics.weights", self.critics.weights, known_terms),
            ("steering.weights", self.steering.weights, known_quantities),
        ):
            unknown = sorted(set(given) - set(known))
            if unknown:
                found.append(f"{key} names {unknown}; expected some of {', '.join(known)}")
        conditional = ConditionalSettings.model_fields
        idle = [
            f"critics.conditional.{name}"
            for name in ("neighbours", "search", "anchors")
            if getattr(self.critics.conditional, name) != conditional[name].default
        ]
        if self.critics.update == "follow" and idle:
            found.append(
                f"{', '.join(idle)} has no effect with critics.update=follow, whose product "
                "samples come from the batch; remove it, or set critics.update=epoch"
            )
        if any(weight < 0 for weight in self.critics.weights.values()):
            found.append("critics.weights must not be negative")
        if self.training.stage1_passes == 0 and any(self.quantity_weights.values()):
            found.append(
                "training.stage1_passes=0 leaves the critics untrained; set steering.default=0 "
                "and no steering.weights, or train them"
            )
        too_small = self.training.batch_size <= self.critics.conditional.neighbours + 1
        if self.steered and self.critics.conditional.anchors == "batch" and too_small:
            found.append("critics.conditional.anchors=batch needs a larger batch_size")
        return found

    def _bank_problems(self) -> list[str]:
        """The bank is there for critics that do not follow."""
        if not self.training.stage1_passes:
            idle = "training.stage1_passes=0"
        elif self.critics.update == "follow":
            idle = "critics.update=follow"
        else:
            return []
        fields = PerformanceSettings.model_fields
        return [
            f"performance.{name} has no effect with {idle}; remove it"
            for name in ("bank_size", "bank_dtype")
            if getattr(self.performance, name) != fields[name].default
        ]

    def _missing_problems(self) -> list[str]:
        """A clip keeps one modality at least, so of one modality none is ever missing."""
        if len(self.data.modalities) > 1:
            return []
        asked = {
            "training.modality_dropout": self.training.modality_dropout > 0,
            "evaluation.missing": self.evaluation.missing,
        }
        return [
            f"{key} has no effect with one modality ({self.data.modalities[0]}), which every clip "
            "keeps; remove it"
            for key, wanted in asked.items()
            if wanted
        ]

    def _text_problems(self) -> list[str]:
        """Layers of a text transformer are there where one learns."""
        learns = any(
            encoder.kind == "transformer" and encoder.train != "none"
            for encoder in self.model.encoders.values()
        )
        if learns or self.training.text_layer_decay == 1:
            return []
        return [
            "training.text_layer_decay has no effect: no text transformer learns; remove it, or "
            "set model.encoders.text.train=all"
        ]

    @property
    def task(self) -> Literal["regression", "classification"]:
        """What the head predicts."""
        return "regression" if self.data.target == "regression" else "classification"

    @property
    def quantity_weights(self) -> dict[str, float]:
        """Every quantity of these modalities with its weight in stage 2."""
        return {
            q.name: self.steering.weights.get(q.name, self.steering.default)
            for q in quantities(self.data.modalities)
        }

    @property
    def term_weights(self) -> dict[str, float]:
        """Every term of these modalities with its weight in stage 1."""
        return {t.name: self.critics.weights.get(t.name, 1.0) for t in terms(self.data.modalities)}

    @property
    def steered(self) -> bool:
        """Whether any quantity enters the stage-2 loss."""
        return any(self.quantity_weights.values())
