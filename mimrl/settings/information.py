"""Settings of the critics (stage 1) and of the steering (stage 2)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mimrl.settings.base import Group


class ConstantBaseline(Group):
    """log a(y) is one number."""

    kind: Literal["constant"] = "constant"
    value: float = Field(0.0, description="log a(y), in nats")


class GaussianBaseline(Group):
    """log a(y) is the log density of a standard normal."""

    kind: Literal["gaussian"] = "gaussian"


class LearnedBaseline(Group):
    """log a(y) is a small network of y, learned with the critic."""

    kind: Literal["learned"] = "learned"


Baseline = Annotated[
    ConstantBaseline | GaussianBaseline | LearnedBaseline, Field(discriminator="kind")
]


class DvBound(Group):
    """Donsker-Varadhan."""

    kind: Literal["dv"] = "dv"


class NwjBound(Group):
    """Nguyen, Wainwright and Jordan."""

    kind: Literal["nwj"] = "nwj"


class TubaBound(Group):
    """Barber-Agakov with a tractable unnormalised baseline."""

    kind: Literal["tuba"] = "tuba"
    baseline: Baseline = Field(default_factory=LearnedBaseline, description="log a(y)")


class InfoNceBound(Group):
    """InfoNCE; never above log B."""

    kind: Literal["infonce"] = "infonce"


class JsBound(Group):
    """Trained on the Jensen-Shannon f-GAN objective, read as NWJ."""

    kind: Literal["js"] = "js"


class SmileBound(Group):
    """SMILE: gradient of JS, DV value with clipped scores."""

    kind: Literal["smile"] = "smile"
    clip: float = Field(5.0, gt=0, description="tau: scores are clipped to [-tau, tau]")


class InterpolatedBound(Group):
    """TUBA with a baseline between InfoNCE's and a learned one."""

    kind: Literal["interpolated"] = "interpolated"
    alpha: float = Field(0.01, gt=0, lt=1, description="share of the InfoNCE baseline")
    baseline: Baseline = Field(default_factory=LearnedBaseline, description="log a(y)")


class MineBound(Group):
    """DV with a moving average in the gradient's denominator."""

    kind: Literal["mine"] = "mine"
    decay: float = Field(0.01, gt=0, le=1, description="share of the new batch in the average")


Bound = Annotated[
    DvBound
    | NwjBound
    | TubaBound
    | InfoNceBound
    | JsBound
    | SmileBound
    | InterpolatedBound
    | MineBound,
    Field(discriminator="kind"),
]


class ConditionalSettings(Group):
    """Conditional terms: product samples by nearest neighbours, told apart by a classifier."""

    estimator: Literal["nwj", "dv", "ldr"] = Field(
        "dv",
        description="read-out of the classifier: dv and nwj are lower bounds on held-out rows, ldr "
        "is not; with anchors=bank all have the same stage-2 gradient",
    )
    neighbours: int = Field(
        2, ge=1, description="critics.update=epoch: k nearest neighbours of each anchor"
    )
    search: Literal["condition", "regression"] = Field(
        "condition",
        description="critics.update=epoch: where neighbours are sought: in z, or, when z is "
        "features, in the linear prediction of x from z (no pairing bias where z is wide; "
        "docs/method.md)",
    )
    anchors: Literal["bank", "batch"] = Field(
        "bank",
        description="critics.update=epoch, stage 2: anchors (y, z) from the detached bank, or from "
        "the current batch with gradient",
    )
    hidden: int = Field(256, ge=1, description="hidden width of the classifier")
    layers: int = Field(2, ge=0, le=16, description="hidden layers after the input layer")
    logit_clip: float = Field(10.0, gt=0, description="logits are clipped to [-clip, clip]")


class CriticSettings(Group):
    """Critics of all terms: their form, their bound, their optimiser."""

    update: Literal["follow", "epoch"] = Field(
        "follow",
        description="when the critics learn: follow: in stage 1 and before each step of stage 2 "
        "that they steer, on samples of the present batch; epoch: in stage 1 alone, as published",
    )
    kind: Literal["separable", "concatenated", "bilinear"] = Field(
        "separable", description="form of the MI critics"
    )
    bound: Bound = Field(default_factory=InfoNceBound, description="bound of the MI terms")
    hidden: int = Field(256, ge=1, description="hidden width of the critics' MLPs")
    layers: int = Field(2, ge=0, le=16, description="hidden layers after the input layer")
    embedding: int = Field(128, ge=1, description="width of a separable critic's embeddings")
    conditional: ConditionalSettings = Field(
        default_factory=ConditionalSettings, description="the conditional terms"
    )
    weights: dict[str, float] = Field(
        default_factory=dict, description="term -> its weight in the stage-1 loss; 1 if not named"
    )
    rate: float = Field(
        1.0, gt=0, description="critics' learning rate as a multiple of the optimiser's rate"
    )


class SteeringSettings(Group):
    """Weights of the quantities in the stage-2 loss, ``task - sum_q weight_q quantity_q``."""

    scale: Literal["task", "published"] = Field(
        "task",
        description="what a weight means: task: a share of the task's gradient at the features, "
        "the same on every data set; published: a factor of the quantity in nats",
    )
    default: float = Field(0.01, description="weight of every quantity not named in weights")
    weights: dict[str, float] = Field(
        default_factory=dict,
        description="quantity -> weight; positive pushes it up, negative down, 0 leaves it out",
    )
