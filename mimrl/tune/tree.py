"""Places in a tree of settings: what a dotted key may hold there, and putting a value into it.

A key may hold ``*`` for every modality (``model.encoders.*.dropout``). A tree is the mapping that
``Settings.model_dump`` gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin

from mimrl.settings import Settings
from mimrl.settings.base import Group
from mimrl.settings.walk import bare, groups, is_union, kinds

Path = tuple[str, ...]
EVERY = "*"
KIND = "kind"


def parts(key: str) -> Path:
    """``training.optimizer.rate`` -> its three names."""
    return tuple(key.split("."))


def stem(key: str) -> Path:
    """The group that a key chooses or lies in: ``model.fusion.kind`` chooses ``model.fusion``."""
    names = parts(key)
    return names[:-1] if names[-1] == KIND else names


def expanded(tree: Mapping[str, Any], key: str) -> tuple[Path, ...]:
    """The paths that a key means in ``tree``; none where ``*`` stands for nothing.

    >>> expanded({"a": {"x": {}, "y": {}}}, "a.*.b")
    (('a', 'x', 'b'), ('a', 'y', 'b'))
    """
    found: list[tuple[Path, Any]] = [((), tree)]
    for name in parts(key):
        found = [
            ((*path, one), node.get(one) if isinstance(node, Mapping) else None)
            for path, node in found
            for one in _names(node, name)
        ]
    return tuple(path for path, _ in found)


def admitted(tree: Mapping[str, Any], key: str) -> tuple[Any, ...]:
    """What may stand at each path of ``key``, with the kinds that ``tree`` chooses.

    Empty where the tree has no such key: it is unknown, or of another kind.
    """
    found = tuple(_annotation(tree, path) for path in expanded(tree, key))
    return () if None in found else found


def placed(tree: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A copy of ``tree`` with ``value`` at ``key``.

    Another kind of a group starts from its own defaults: what the tree holds for the present kind
    would be unknown to it.
    """
    changed = dict(tree)
    for path in expanded(tree, key):
        whole = value
        if isinstance(value, str) and kinds(_annotation(tree, path)):
            whole = {KIND: value}
        changed = _with(changed, path, whole)
    return changed


def assignments(tree: Mapping[str, Any], key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """What to write as ``key=value`` on a command line, to the same effect as :func:`placed`."""
    for path in expanded(tree, key):
        if path[-1] == KIND and len(path) > 1:
            node: Any = tree
            for name in path[:-1]:
                node = node[name]
            same = node.get(KIND) == value  # then its other settings stay
            yield ".".join(path if same else path[:-1]), value
        else:
            yield ".".join(path), value


def _names(node: Any, name: str) -> tuple[str, ...]:
    if name != EVERY:
        return (name,)
    return tuple(node) if isinstance(node, Mapping) else ()


def _with(tree: Mapping[str, Any], path: Path, value: Any) -> dict[str, Any]:
    name, *rest = path
    below = tree.get(name)
    below = below if isinstance(below, Mapping) else {}
    if rest == [KIND]:
        return {**tree, name: below if below.get(KIND) == value else {KIND: value}}
    return {**tree, name: _with(below, tuple(rest), value) if rest else value}


def _annotation(tree: Mapping[str, Any], path: Path) -> Any:
    """The annotation of one path; None where there is none."""
    here: Any = Settings
    node: Any = tree
    for name in path:
        options = kinds(here)
        if options:
            here = options.get(node.get(KIND, "")) if isinstance(node, Mapping) else None
        here = _below(here, name)
        if here is None:
            return None
        node = node.get(name) if isinstance(node, Mapping) else None
    return here


def _below(annotation: Any, name: str) -> Any:
    annotation = bare(annotation)
    if get_origin(annotation) is dict:
        return get_args(annotation)[1]
    found = groups(annotation)
    if len(found) != 1 or (is_union(annotation) and not issubclass(found[0], Group)):
        return None
    field = found[0].model_fields.get(name)
    return None if field is None else field.annotation
