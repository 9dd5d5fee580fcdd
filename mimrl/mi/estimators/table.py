"""All estimators by name, with their default settings. A new one is one module and one row here."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from mimrl.errors import ConfigError
from mimrl.mi.estimators.conditional import ConditionalKsg, MutualDifference
from mimrl.mi.estimators.gaussian import ConditionalGaussian, Gaussian
from mimrl.mi.estimators.interface import ConditionalEstimator, Estimator
from mimrl.mi.estimators.ksg import Ksg
from mimrl.mi.estimators.mine import Mine
from mimrl.mi.estimators.variational import Variational

Kind = TypeVar("Kind", Estimator, ConditionalEstimator)

ESTIMATORS: Mapping[str, Estimator] = {
    "ksg1": Ksg(variant=1),
    "ksg2": Ksg(variant=2),
    "gaussian": Gaussian(),
    "gaussian_scores": Gaussian(preprocessing="normal_scores"),
    "dv": Variational(bound="dv"),
    "nwj": Variational(bound="nwj"),
    "tuba": Variational(bound="tuba"),
    "infonce": Variational(bound="infonce"),
    "js": Variational(bound="js"),
    "smile": Variational(bound="smile"),
    "interpolated": Variational(bound="interpolated"),
    "mine": Mine(),
    "mine_biased": Mine(loss="mine_biased"),
    "fdiv": Mine(loss="fdiv"),
}
"""Estimators of I(X; Y)."""

CONDITIONAL_ESTIMATORS: Mapping[str, ConditionalEstimator] = {
    "ksg": ConditionalKsg(),
    "gaussian": ConditionalGaussian(),
    "difference": MutualDifference(),
}
"""Estimators of I(X; Y | Z)."""


def estimator_named(name: str, **options: Any) -> Estimator:
    """The estimator of a row of :data:`ESTIMATORS`, with options of its own changed.

    Args:
        name: of the row.
        options: fields of the estimator; see its class.

    Raises:
        ConfigError: an unknown name, or options that the estimator does not take.

    >>> estimator_named("ksg1", neighbours=3).neighbours
    3
    """
    return _changed(_row(ESTIMATORS, name), options)


def conditional_estimator_named(name: str, **options: Any) -> ConditionalEstimator:
    """As :func:`estimator_named`, of :data:`CONDITIONAL_ESTIMATORS`."""
    return _changed(_row(CONDITIONAL_ESTIMATORS, name), options)


def _row(table: Mapping[str, Kind], name: str) -> Kind:
    if name not in table:
        close = difflib.get_close_matches(name, table)
        hint = f" (did you mean {' or '.join(close)}?)" if close else ""
        raise ConfigError(f"no estimator is called {name!r}{hint}; there are: {', '.join(table)}")
    return table[name]


def _changed(estimator: Kind, options: Mapping[str, Any]) -> Kind:
    """A copy with some fields given anew; checked as if all had been given."""
    own = {name: getattr(estimator, name) for name in estimator.model_fields_set}
    return type(estimator)(**own | dict(options))
