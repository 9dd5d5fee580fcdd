"""An estimator as the option of another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

from mimrl.mi.estimators.interface import Estimator


def _from_settings(value: object) -> object:
    """An estimator from its class name and options, as :data:`InnerEstimator` writes them."""
    if isinstance(value, Estimator):
        return value
    if not isinstance(value, Mapping) or "class" not in value:
        raise ValueError("expected an estimator, such as Ksg(neighbours=3)")
    known = {kind.__name__: kind for kind in _below(Estimator)}
    if value["class"] not in known:
        raise ValueError(f"no imported estimator is called {value['class']}")
    return known[value["class"]](**{name: v for name, v in value.items() if name != "class"})


def _below(kind: type) -> list[type]:
    """All classes that descend from one and have been imported."""
    children: list[type] = kind.__subclasses__()
    return [found for child in children for found in (child, *_below(child))]


def _settings(estimator: Estimator) -> dict[str, Any]:
    return {"class": type(estimator).__name__, **estimator.model_dump(mode="json")}


InnerEstimator = Annotated[
    Estimator, BeforeValidator(_from_settings), PlainSerializer(_settings, return_type=dict)
]
"""An option that takes any estimator of mutual information; in JSON its class and options."""
