"""Settings of the training: epochs, losses, optimisers, schedules, selection."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from mimrl.settings.base import Group, refuse

Epoch = Annotated[int, Field(ge=0)]
Selection = Literal["auto", "mae", "corr", "ccc", "rmse", "accuracy", "f1", "auc"]


class AdamSettings(Group):
    """Adam (L2 penalty in the gradient)."""

    kind: Literal["adam"] = "adam"
    rate: float = Field(4e-3, gt=0, description="learning rate of encoders, fusion and head")
    weight_decay: float = Field(0.0, ge=0, description="L2 penalty")


class AdamWSettings(Group):
    """AdamW (decoupled weight decay, matrices only)."""

    kind: Literal["adamw"] = "adamw"
    rate: float = Field(1e-3, gt=0, description="learning rate of encoders, fusion and head")
    weight_decay: float = Field(0.01, ge=0, description="decoupled weight decay")


class SgdSettings(Group):
    """Stochastic gradient descent with momentum."""

    kind: Literal["sgd"] = "sgd"
    rate: float = Field(1e-2, gt=0, description="learning rate of encoders, fusion and head")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum")
    weight_decay: float = Field(0.0, ge=0, description="L2 penalty")


OptimizerSettings = Annotated[
    AdamSettings | AdamWSettings | SgdSettings, Field(discriminator="kind")
]


class ConstantSchedule(Group):
    """The rate does not change."""

    kind: Literal["constant"] = "constant"


class StepSchedule(Group):
    """Times ``factor`` every ``every`` epochs."""

    kind: Literal["step"] = "step"
    every: int = Field(60, ge=1, description="epochs between two decreases")
    factor: float = Field(0.1, gt=0, lt=1, description="factor of each decrease")


class MultiStepSchedule(Group):
    """Times ``factor`` at the given epochs."""

    kind: Literal["multi_step"] = "multi_step"
    epochs: tuple[int, ...] = Field((9, 60), min_length=1, description="epochs of the decreases")
    factor: float = Field(0.1, gt=0, lt=1, description="factor of each decrease")


class ExponentialSchedule(Group):
    """Times ``factor`` after each epoch."""

    kind: Literal["exponential"] = "exponential"
    factor: float = Field(0.95, gt=0, lt=1, description="factor of each epoch")


class PlateauSchedule(Group):
    """Times ``factor`` when the validation score has not improved for ``patience`` epochs."""

    kind: Literal["plateau"] = "plateau"
    patience: int = Field(5, ge=0, description="epochs without improvement that are accepted")
    factor: float = Field(0.1, gt=0, lt=1, description="factor of each decrease")


class CosineSchedule(Group):
    """Linear warm-up, then half a cosine to ``floor``; stepped with every batch."""

    kind: Literal["cosine"] = "cosine"
    warmup: float = Field(0.1, ge=0, lt=1, description="share of all steps spent warming up")
    floor: float = Field(0.0, ge=0, lt=1, description="last rate as a share of the first")


ScheduleSettings = Annotated[
    ConstantSchedule
    | StepSchedule
    | MultiStepSchedule
    | ExponentialSchedule
    | PlateauSchedule
    | CosineSchedule,
    Field(discriminator="kind"),
]


class FocalLoss(Group):
    """Focal loss, per sample (Lin et al., ICCV 2017)."""

    kind: Literal["focal"] = "focal"
    gamma: float = Field(2.0, ge=0, description="how much easy samples count less")


class PlainLoss(Group):
    """A loss without settings of its own."""

    kind: Literal["mae", "mse", "rmse", "ccc", "bce", "ce"] = "mae"


LossSettings = Annotated[FocalLoss | PlainLoss, Field(discriminator="kind")]


class TrainingSettings(Group):
    """The two stages of an epoch and all that surrounds them."""

    epochs: int = Field(70, ge=1, description="epochs at most")
    warmup_epochs: int = Field(
        1, ge=0, description="first epochs with the task loss alone and no critics"
    )
    stage1_passes: int = Field(
        1,
        ge=0,
        description="passes of the critics over the training features each epoch (published: 2, "
        "with critics.update=epoch); 0: no critics, no steering",
    )
    batch_size: int = Field(
        128, ge=2, description="samples a step; of each process where several train together"
    )
    stage1_batch_size: int | None = Field(
        None, ge=2, description="samples a step of the critics, likewise; null: as batch_size"
    )
    bucketing: bool = Field(True, description="batches of samples of similar length")
    modality_dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="probability that a clip loses a modality in a pass of stage 2; one at least "
        "is kept",
    )
    loss: LossSettings = Field(
        default_factory=PlainLoss, description="task loss: mae, mse, rmse, ccc; bce, ce, focal"
    )
    optimizer: OptimizerSettings = Field(
        default_factory=AdamSettings, description="optimiser of the model and of the critics"
    )
    text_rate: float = Field(
        0.01, ge=0, description="text transformer's rate as a multiple of the optimiser's rate"
    )
    text_layer_decay: float = Field(
        1.0,
        gt=0,
        le=1,
        description="each layer of the text transformer learns at this multiple of the rate of the "
        "layer above it; embeddings as one more layer; 1: all alike",
    )
    schedule: ScheduleSettings = Field(
        default_factory=MultiStepSchedule, description="how learning rates change"
    )
    clip: Literal["value", "norm", "none"] = Field("value", description="gradient clipping")
    clip_at: float = Field(1.5, gt=0, description="largest gradient value or norm")
    patience: int | None = Field(
        None, ge=1, description="stop after so many epochs without a better validation score"
    )
    select_by: Selection = Field(
        "auto",
        description="validation metric that chooses the epoch; auto: mae for regression, "
        "accuracy for classes",
    )
    keep_epochs: tuple[Epoch, ...] = Field(
        (),
        description="epochs after which the model is kept too, as epoch<k>.safetensors; 0: before "
        "training",
    )
    metric_rules: Literal["sentiment", "sims", "plain"] = Field(
        "sentiment",
        description="metrics of ratings: sentiment (MOSI and MOSEI), sims, or plain (MAE, RMSE, "
        "correlations only)",
    )
    controls: int = Field(
        3, ge=0, description="shuffled-pair controls of each term at the chosen epoch; 0: none"
    )

    @model_validator(mode="after")
    def _check(self) -> TrainingSettings:
        problems = []
        if self.clip == "none" and "clip_at" in self.model_fields_set and self.clip_at != 1.5:
            problems.append("clip_at has no effect with clip=none; remove it")
        late = sorted({epoch for epoch in self.keep_epochs if epoch > self.epochs})
        if late:
            problems.append(
                f"keep_epochs names {late}, later than the last epoch; raise epochs "
                f"(now {self.epochs}) or leave them out"
            )
        if len(set(self.keep_epochs)) < len(self.keep_epochs):
            problems.append(f"keep_epochs names an epoch twice: {list(self.keep_epochs)}")
        refuse(problems)
        return self
