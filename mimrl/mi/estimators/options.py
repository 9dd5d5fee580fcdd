"""Options of estimators as words of a command line: changed, listed and compared."""

from __future__ import annotations

import inspect
import json
import types
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel

from mimrl.errors import ConfigError
from mimrl.mi.estimators.interface import ConditionalEstimator, Estimator

AnyEstimator = Estimator | ConditionalEstimator
Kind = TypeVar("Kind", bound=AnyEstimator)

SEED = "seed"


def assignments(words: Sequence[str]) -> dict[str, Any]:
    """``["neighbours=5", "preprocessing=ranks"]`` as a mapping.

    Args:
        words: ``option=value``; the value is read as JSON where it is JSON (``5``, ``1e-3``,
            ``true``, ``null``) and is text otherwise. An option of an estimator inside an
            estimator is ``estimator.option``.

    Raises:
        ConfigError: a word without ``=``, or an option given twice.

    >>> assignments(["neighbours=5", "preprocessing=ranks"])
    {'neighbours': 5, 'preprocessing': 'ranks'}
    """
    found: dict[str, Any] = {}
    for word in words:
        option, equals, value = word.partition("=")
        if not equals or not option:
            raise ConfigError(f"{word!r}: expected option=value, as in neighbours=5")
        if option in found:
            raise ConfigError(f"{option} is given twice; keep one of the values")
        found[option] = _value(value)
    return found


def with_options(estimator: Kind, options: Mapping[str, Any]) -> Kind:
    """A copy with some options changed, checked as if all had been given at once.

    Args:
        estimator: whose other options stay.
        options: option -> value; ``estimator.option`` reaches into an estimator inside. Such an
            inner estimator may be given by its name in the table.

    Raises:
        ConfigError: an option that there is not, or a value that it does not take.

    >>> from mimrl.mi.estimators.ksg import Ksg
    >>> with_options(Ksg(), {"neighbours": 3}).neighbours
    3
    """
    new: dict[str, Any] = {}
    inside: dict[str, dict[str, Any]] = {}
    for path, value in options.items():
        option, dot, rest = path.partition(".")
        if dot:
            inside.setdefault(option, {})[rest] = value
        else:
            new[option] = _inner(getattr(estimator, option, None), value)
    for option, more in inside.items():
        inner = new.get(option, getattr(estimator, option, None))
        if not isinstance(inner, AnyEstimator):
            raise ConfigError(
                f"{type(estimator).__name__}: {option} is no estimator with options of its own"
            )
        new[option] = with_options(inner, more)
    own = {name: getattr(estimator, name) for name in estimator.model_fields_set}
    return type(estimator)(**own | new)


def with_seed(estimator: Kind, seed: int) -> Kind:
    """A copy whose seeds, also those of estimators inside, are larger by ``seed``."""
    old = dict(estimator)
    new = {name: _moved(name, value, seed) for name, value in estimator}
    changed = {name: value for name, value in new.items() if value is not old[name]}
    return with_options(estimator, changed) if changed else estimator


def settings_of(estimator: BaseModel) -> dict[str, Any]:
    """Class and all options, JSON types only; equal for equal estimators and only for them."""
    return {
        "class": type(estimator).__name__,
        **{name: _plain(value) for name, value in estimator},
    }


def summary_line(estimator: AnyEstimator) -> str:
    """What an estimator is: the first line of its documentation."""
    return (inspect.getdoc(type(estimator)) or type(estimator).__name__).splitlines()[0].rstrip(".")


def option_rows(estimator: AnyEstimator) -> list[dict[str, Any]]:
    """Name, type, value and text of every option of an estimator."""
    return [
        {
            "option": name,
            "type": _type_text(field.annotation),
            "default": _plain(getattr(estimator, name)),
            "description": field.description or "",
        }
        for name, field in type(estimator).model_fields.items()
    ]


def _moved(name: str, value: Any, seed: int) -> Any:
    """An option under another seed: the very same object where it has none."""
    if name == SEED and isinstance(value, int):
        return value + seed if seed else value
    if isinstance(value, AnyEstimator):
        return with_seed(value, seed)
    if isinstance(value, tuple) and any(isinstance(item, AnyEstimator) for item in value):
        return tuple(_moved("", item, seed) for item in value)
    return value


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _inner(current: Any, value: Any) -> Any:
    """The estimator that a name stands for, where an option holds an estimator."""
    if not isinstance(value, str) or not isinstance(current, AnyEstimator):
        return value
    from mimrl.mi.estimators import table  # it imports every estimator there is

    if isinstance(current, ConditionalEstimator):
        return table.conditional_estimator_named(value)
    return table.estimator_named(value)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return settings_of(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _type_text(annotation: Any) -> str:
    """``int``, ``a | b`` for choices, ``int | none`` where it may be left open."""
    if annotation is type(None):
        return "none"
    if get_origin(annotation) is Literal:
        return " | ".join(str(choice) for choice in get_args(annotation))
    if get_origin(annotation) in (Union, types.UnionType):
        return " | ".join(_type_text(part) for part in get_args(annotation))
    return str(getattr(annotation, "__name__", annotation)).lower()
