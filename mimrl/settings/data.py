"""Settings of the data: which file, which modalities, which label, how values are scaled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from mimrl.settings.base import Group, refuse

Scaling = Literal["none", "standard", "minmax", "log"]
Layout = Literal[
    "auto",
    "planted",
    "mmsa",
    "multibench",
    "noalign",
    "words",
    "mimrl_sdk",
    "avec2019",
    "mfn",
    "csd",
    "hdf5",
]
Target = Literal["regression", "class", "binary_has0", "binary_non0", "three", "five", "seven"]


def is_planted(values: Mapping[str, Any]) -> bool:
    """Whether raw data settings mean the generated data: they say so, or name no file."""
    layout = values.get("layout", "auto")
    return layout == "planted" or (
        layout == "auto" and not values.get("path") and not values.get("feature_files")
    )


class PlantedSettings(Group):
    """Generated data whose interactions are known (``mimrl/datasets/planted.py``)."""

    interaction: Literal[
        "redundant", "unique_text", "unique_audio", "unique_video", "synergy", "mixed"
    ] = Field("mixed", description="what the label depends on")
    shares: dict[str, float] = Field(
        default_factory=dict,
        description="for 'mixed': weight of each interaction in the label; equal when empty",
    )
    train_size: int = Field(1024, ge=4, description="training samples")
    valid_size: int = Field(256, ge=4, description="validation samples")
    test_size: int = Field(512, ge=4, description="test samples")
    noise: float = Field(0.5, gt=0, le=100, description="scale of the noise on each feature")
    label_noise: float = Field(
        0.1, ge=0, le=100, description="scale of the noise on the label (before thresholding)"
    )
    nuisance: dict[str, float] = Field(
        default_factory=dict,
        description="pair of modalities (text_audio, text_video, audio_video) -> amplitude in the "
        "features of a bit that the two share and the label does not need; none when empty",
    )
    amplitude: dict[str, float] = Field(
        default_factory=dict,
        description="modality -> scale of all that it holds, its noise in time excepted; small is "
        "easy to ignore; 1 where a modality is not named",
    )
    label_flips: float = Field(
        0.0,
        ge=0,
        lt=0.5,
        description="share of labels replaced by the other class, in every split; target=class "
        "only; no accuracy above 1 - label_flips can be expected",
    )
    width: int = Field(8, ge=1, le=4096, description="features of a step in each modality")
    min_steps: int = Field(4, ge=1, description="shortest sequence")
    max_steps: int = Field(10, ge=1, description="longest sequence")
    seed: int = Field(0, ge=0, description="seed of the data; not the seed of the training")

    @model_validator(mode="after")
    def _check(self) -> PlantedSettings:
        if self.max_steps < self.min_steps:
            raise ValueError(f"max_steps {self.max_steps} is below min_steps {self.min_steps}")
        known = ("redundant", "unique_text", "unique_audio", "unique_video", "synergy")
        unknown = sorted(set(self.shares) - set(known))
        if unknown:
            raise ValueError(f"shares names {unknown}; expected some of {', '.join(known)}")
        if any(value < 0 for value in self.shares.values()):
            raise ValueError("shares must not be negative")
        if self.shares and self.interaction != "mixed":
            raise ValueError("shares has an effect with interaction=mixed only")
        if self.shares and sum(self.shares.values()) <= 0:
            raise ValueError("at least one of shares must be above 0")
        self._check_scales("nuisance", ("text_audio", "text_video", "audio_video"))
        self._check_scales("amplitude", ("text", "audio", "video"))
        return self

    def _check_scales(self, name: str, known: tuple[str, ...]) -> None:
        scales: dict[str, float] = getattr(self, name)
        unknown = sorted(set(scales) - set(known))
        if unknown:
            raise ValueError(f"{name} names {unknown}; expected some of {', '.join(known)}")
        if not all(0 < value <= 100 for value in scales.values()):
            raise ValueError(f"{name} must be above 0 and at most 100; got {scales}")


class DataSettings(Group):
    """Where samples come from and what is predicted."""

    layout: Layout = Field(
        "auto",
        description="file layout; auto recognises it from the content, and without a path means "
        "planted",
    )
    path: str | None = Field(
        None,
        description="data file or folder; relative to the working folder, else to "
        "$MIMRL_DATA_ROOT, else to ./data",
    )
    label_file: str | None = Field(
        None, description="noalign: the CSV with transcripts; csd: the .csd with the labels"
    )
    feature_files: dict[str, str] = Field(
        default_factory=dict, description="csd: modality -> .csd file of its features"
    )
    feature_sets: dict[str, str] = Field(
        default_factory=dict,
        description="mimrl_sdk, avec2019: modality -> which of the file's feature lists "
        "(e.g. text: glove, audio: covarep, video: facet42)",
    )
    embeddings: str | None = Field(
        None,
        description="words: word vectors (.npz with words and vectors, or GloVe's text form) that "
        "turn the words into text features",
    )
    split_file: str | None = Field(
        None, description="JSON {train: [...], valid: [...], test: [...]} of ids or of videos"
    )
    split_by_group: tuple[float, float, float] | None = Field(
        None,
        description="shares of train, valid, test for a file without splits; videos stay whole",
    )
    split_seed: int = Field(0, ge=0, description="seed of split_by_group")
    modalities: tuple[str, ...] = Field(
        ("text", "audio", "video"),
        min_length=1,
        description="modalities used, the first being the anchor of the cross-modal terms; one "
        "alone trains a unimodal baseline",
    )
    target: Target = Field(
        "regression",
        description="regression, class (as the file has them), or classes cut from a rating "
        "in [-3, 3]: binary_has0 (negative / non-negative), binary_non0 (negative / positive, "
        "neutral dropped), three, five, seven",
    )
    label: str | int | None = Field(
        None, description="name or number of the label column, when the file has several"
    )
    scaling: dict[str, Scaling] = Field(
        default_factory=dict,
        description="modality -> none, standard, minmax (to [-1, 1]) or log (then standard); "
        "fitted on train; standard where a modality is not named",
    )
    clip: float | None = Field(
        None, gt=0, description="scaled values are clipped to [-clip, clip]; null: not clipped"
    )
    drop_all_zero: bool = Field(
        True, description="an all-zero sequence counts as a missing modality"
    )
    max_steps: int | None = Field(
        None, ge=1, description="feature sequences are cut to their first max_steps steps"
    )
    planted: PlantedSettings = Field(
        default_factory=PlantedSettings, description="generated data; layout=planted only"
    )

    @field_validator("modalities")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError(f"a modality is named twice: {', '.join(value)}")
        reserved = sorted({"fused", "label"} & set(value))
        if reserved:
            raise ValueError(f"{', '.join(reserved)} cannot be the name of a modality")
        return value

    @model_validator(mode="before")
    @classmethod
    def _planted_without_path(cls, values: Any) -> Any:
        if isinstance(values, dict) and is_planted(values):
            return {**values, "layout": "planted"}
        return values

    @model_validator(mode="after")
    def _check(self) -> DataSettings:
        problems = []
        if self.layout != "planted" and self.path is None and not self.feature_files:
            problems.append(f"path is not set; layout={self.layout} needs a file or folder")
        if self.layout == "planted" and self.path is not None:
            problems.append("path has no effect with layout=planted; remove one of the two")
        if self.layout == "planted":
            if self.target not in ("regression", "class"):
                problems.append(
                    f"planted data have a real label (target=regression) or two classes "
                    f"(target=class), not target={self.target}"
                )
            if self.planted.label_flips and self.target != "class":
                problems.append(
                    f"planted.label_flips needs target=class, not target={self.target}: a real "
                    "label has no other class"
                )
            strangers = sorted(set(self.modalities) - {"text", "audio", "video"})
            if strangers:
                problems.append(f"planted data have text, audio and video, not {strangers}")
        elif self.planted != PlantedSettings():
            problems.append("the planted group has an effect with layout=planted only")
        unknown = sorted(set(self.scaling) - set(self.modalities))
        if unknown:
            problems.append(f"scaling names {unknown}, which are not among modalities")
        if self.embeddings is not None and self.layout not in ("auto", "words"):
            problems.append(f"embeddings has no effect with layout={self.layout}; remove it")
        if self.split_file is not None and self.split_by_group is not None:
            problems.append("split_file and split_by_group exclude each other")
        if self.split_by_group is not None and (
            min(self.split_by_group) < 0 or abs(sum(self.split_by_group) - 1) > 1e-6
        ):
            problems.append("split_by_group must be three shares that add up to 1")
        refuse(problems)
        return self
