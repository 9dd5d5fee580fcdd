"""Walking the tree of settings by its annotations: which groups a field admits, what lies where."""

from __future__ import annotations

import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from mimrl.settings.base import Group


def bare(annotation: Any) -> Any:
    """``annotation`` without its ``Annotated`` wrapping."""
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def is_union(annotation: Any) -> bool:
    """Whether ``annotation`` is one of several types."""
    return get_origin(bare(annotation)) in (Union, types.UnionType)


def groups(annotation: Any) -> tuple[type[Group], ...]:
    """The groups of settings that ``annotation`` admits: none, one, or several kinds.

    >>> from mimrl.settings.training import OptimizerSettings
    >>> [group.__name__ for group in groups(OptimizerSettings)]
    ['AdamSettings', 'AdamWSettings', 'SgdSettings']
    """
    annotation = bare(annotation)
    if is_union(annotation):
        return tuple(group for part in get_args(annotation) for group in groups(part))
    return (annotation,) if isinstance(annotation, type) and issubclass(annotation, Group) else ()


def kinds(annotation: Any) -> dict[str, type[Group]]:
    """Kind -> its group, for an annotation of several kinds; empty for any other."""
    found = groups(annotation)
    if len(found) < 2:
        return {}
    return {kind: g for g in found for kind in get_args(g.model_fields["kind"].annotation)}


@dataclass(frozen=True)
class Place:
    """Where a pydantic error lies: the keys as written, the group that holds it, its kind."""

    keys: tuple[str | int, ...]
    holder: type[Group] | None
    kind: str | None


def locate(root: type[Group], location: Sequence[str | int]) -> Place:
    """The place of a pydantic error location.

    pydantic puts the kind of a union (``fusion.cubemlp.sizes``) and the types of a plain union
    (``label.str``) into a location as if they were keys; they are no keys of the place.

    Args:
        root: the group at which the location starts.
        location: ``loc`` of one item of ``ValidationError.errors()``.
    """
    here: Any = root
    holder: type[Group] | None = None
    kind: str | None = None
    tag: str | None = None
    keys: list[str | int] = []
    for part in location:
        options = kinds(here)
        if part in options:
            tag = str(part)
            here = options[tag]
            continue
        inner = _below(here, part)
        if inner is None and is_union(here):
            continue
        found = groups(here)
        holder = found[0] if len(found) == 1 else None
        kind, tag = tag, None
        keys.append(part)
        here = inner
    return Place(tuple(keys), holder, kind)


def paths(root: type[Group], prefix: str = "") -> Iterator[str]:
    """Every key of the tree, dotted; kinds of a union count together."""
    for name, field in root.model_fields.items():
        key = prefix + name
        yield key
        for group in groups(field.annotation):
            yield from paths(group, key + ".")


def _below(annotation: Any, part: str | int) -> Any:
    annotation = bare(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Group):
        field = annotation.model_fields.get(str(part))
        return None if field is None else field.annotation
    if is_union(annotation):
        inner = (_below(option, part) for option in get_args(annotation) if not groups(option))
        return next((found for found in inner if found is not None), None)
    arguments = get_args(annotation)
    if get_origin(annotation) is dict:
        return arguments[1]
    if get_origin(annotation) is tuple and isinstance(part, int):
        same = arguments[-1] is Ellipsis or part >= len(arguments)
        return arguments[0] if same else arguments[part]
    return None
