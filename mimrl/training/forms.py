"""Estimators of one term, as the settings describe them."""

from __future__ import annotations

from mimrl import mi
from mimrl.settings.information import (
    Baseline,
    Bound,
    ConditionalSettings,
    ConstantBaseline,
    CriticSettings,
    InterpolatedBound,
    LearnedBaseline,
    MineBound,
    SmileBound,
    TubaBound,
)


def mutual_estimator(settings: CriticSettings, x_width: int, y_width: int) -> mi.VariationalMI:
    """A critic and its bound for I(x; y) of variables of these widths."""
    hidden, layers = settings.hidden, settings.layers
    critic: mi.Critic
    if settings.kind == "separable":
        critic = mi.SeparableCritic(
            x_width, y_width, embedding=settings.embedding, hidden=hidden, layers=layers
        )
    elif settings.kind == "concatenated":
        critic = mi.ConcatenatedCritic(x_width, y_width, hidden=hidden, layers=layers)
    else:
        critic = mi.BilinearCritic(x_width, y_width)
    return mi.VariationalMI(critic, _bound(settings.bound, y_width, settings))


def conditional_estimator(
    settings: ConditionalSettings, x: int, y: int, z: int
) -> mi.ConditionalMI:
    """A classifier for I(x; y | z) of variables of these widths."""
    return mi.ConditionalMI(
        x,
        y,
        z,
        estimator=settings.estimator,
        hidden=settings.hidden,
        layers=settings.layers,
        logit_clip=settings.logit_clip,
    )


def _bound(settings: Bound, y_width: int, critics: CriticSettings) -> mi.Bound:
    if isinstance(settings, TubaBound):
        return mi.Tuba(_baseline(settings.baseline, y_width, critics))
    if isinstance(settings, InterpolatedBound):
        return mi.Interpolated(settings.alpha, _baseline(settings.baseline, y_width, critics))
    if isinstance(settings, SmileBound):
        return mi.Smile(settings.clip)
    if isinstance(settings, MineBound):
        return mi.Mine(settings.decay)
    plain = {"dv": mi.Dv, "nwj": mi.Nwj, "infonce": mi.InfoNce, "js": mi.Js}
    return plain[settings.kind]()


def _baseline(settings: Baseline, y_width: int, critics: CriticSettings) -> mi.Baseline:
    if isinstance(settings, ConstantBaseline):
        return mi.ConstantBaseline(settings.value)
    if isinstance(settings, LearnedBaseline):
        return mi.LearnedBaseline(y_width, hidden=critics.hidden, layers=critics.layers)
    return mi.GaussianBaseline()
