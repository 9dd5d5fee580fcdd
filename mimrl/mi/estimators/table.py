"""All estimators by name, with their default settings. A new one is one module and one row here."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from mimrl.errors import ConfigError
from mimrl.mi.estimators.auto import Auto
from mimrl.mi.estimators.conditional import ConditionalKsg, MutualDifference
from mimrl.mi.estimators.conditional_classifier import ConditionalClassifier
from mimrl.mi.estimators.copula_critic import CopulaCritic
from mimrl.mi.estimators.flow import Flow
from mimrl.mi.estimators.gaussian import ConditionalGaussian, Gaussian
from mimrl.mi.estimators.histogram import Histogram
from mimrl.mi.estimators.infonet import InfoNet
from mimrl.mi.estimators.interface import ConditionalEstimator, Estimator
from mimrl.mi.estimators.knife import Knife
from mimrl.mi.estimators.ksg import Ksg
from mimrl.mi.estimators.mine import Mine
from mimrl.mi.estimators.mmg import Mmg
from mimrl.mi.estimators.options import with_options
from mimrl.mi.estimators.sliced import Sliced
from mimrl.mi.estimators.variational import Variational

Kind = TypeVar("Kind", Estimator, ConditionalEstimator)

ESTIMATORS: Mapping[str, Estimator] = {
    "auto": Auto(),
    "copula_critic": CopulaCritic(),
    # closed forms and neighbours
    "gaussian": Gaussian(),
    "gaussian_scores": Gaussian(preprocessing="normal_scores"),
    "ksg1": Ksg(variant=1),
    "ksg2": Ksg(variant=2),
    "ksg_scores": Ksg(neighbours=3, preprocessing="normal_scores", norm="euclidean"),
    "histogram": Histogram(),
    # a bound and a critic
    "dv": Variational(bound="dv"),
    "nwj": Variational(bound="nwj"),
    "tuba": Variational(bound="tuba"),
    "infonce": Variational(bound="infonce"),
    "js": Variational(bound="js"),
    "smile": Variational(bound="smile"),
    "interpolated": Variational(bound="interpolated"),
    "infonce_concatenated": Variational(bound="infonce", critic="concatenated"),
    "infonce_bilinear": Variational(bound="infonce", critic="bilinear"),
    "mine": Mine(),
    "mine_biased": Mine(loss="mine_biased"),
    "fdiv": Mine(loss="fdiv"),
    # densities and diffusion
    "knife": Knife(),
    "flow": Flow(),
    "mmg": Mmg(),
    "mmg_orthogonal": Mmg(form="orthogonal"),
    "mmg_adaptive": Mmg(form="adaptive"),
    "mmg_experts": Mmg(experts="moe"),
    # a trained network; one dimension at a time
    "infonet": InfoNet(),
    "sliced": Sliced(),
}
"""Estimators of I(X; Y)."""

CONDITIONAL_ESTIMATORS: Mapping[str, ConditionalEstimator] = {
    "ksg": ConditionalKsg(),
    "gaussian": ConditionalGaussian(),
    "difference": MutualDifference(),
    "classifier": ConditionalClassifier(),
    "classifier_regression": ConditionalClassifier(regression=True),
}
"""Estimators of I(X; Y | Z)."""


def estimator_named(name: str, **options: Any) -> Estimator:
    """The estimator of a row of :data:`ESTIMATORS`, with options of its own changed.

    Args:
        name: of the row.
        options: fields of the estimator; see its class, and
            :func:`~mimrl.mi.estimators.options.with_options`.

    Raises:
        ConfigError: an unknown name, or options that the estimator does not take.

    >>> estimator_named("ksg1", neighbours=3).neighbours
    3
    """
    return with_options(_row(ESTIMATORS, name), options)


def conditional_estimator_named(name: str, **options: Any) -> ConditionalEstimator:
    """As :func:`estimator_named`, of :data:`CONDITIONAL_ESTIMATORS`."""
    return with_options(_row(CONDITIONAL_ESTIMATORS, name), options)


def _row(table: Mapping[str, Kind], name: str) -> Kind:
    if name not in table:
        close = difflib.get_close_matches(name, table)
        hint = f" (did you mean {' or '.join(close)}?)" if close else ""
        raise ConfigError(f"no estimator is called {name!r}{hint}; there are: {', '.join(table)}")
    return table[name]
