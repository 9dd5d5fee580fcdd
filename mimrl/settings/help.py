"""Every setting with its default, what it may be and its one-line text, as ``--help`` prints them.

>>> from mimrl.settings.help import entries
>>> next(e for e in entries() if e.key == "training.epochs")
Entry(key='training.epochs', default='70', values='integer >= 1', text='epochs at most')
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from mimrl.settings.base import Group
from mimrl.settings.tree import Settings
from mimrl.settings.walk import bare, groups, is_union, kinds

TYPES = {
    int: "integer",
    float: "number",
    str: "text",
    bool: "true or false",
    type(None): "null",
}


@dataclass(frozen=True)
class Entry:
    """One setting: its dotted key, its default as YAML, what it may be, what it does."""

    key: str
    default: str
    values: str
    text: str


@dataclass(frozen=True)
class Heading:
    """What stands above the settings of a group, or of one kind of a group."""

    key: str
    kind: str | None
    text: str


def entries() -> Iterator[Entry]:
    """Every setting; those of a kind follow the setting that chooses it."""
    return (item for item, _ in _walk(Settings, "", 0) if isinstance(item, Entry))


def render(width: int = 100) -> str:
    """All settings as text of at most ``width`` columns (no less than 40).

    A key longer than that stands on a line of its own and is not broken.
    """
    lines = ["settings (key = default, what it may be, what it does):"]
    above = -1
    for item, depth in _walk(Settings, "", 0):
        if isinstance(item, Heading):
            lines += ["", *_heading(item, depth, width)]
        else:
            lines += [""] * (depth != above) + _entry(item, depth, width)
        above = depth
    return "\n".join(lines) + "\n"


def _walk(group: type[Group], prefix: str, depth: int) -> Iterator[tuple[Entry | Heading, int]]:
    """The settings of ``group`` with their depth: its own values, then the groups inside it."""
    for name, field in sorted(group.model_fields.items(), key=lambda item: _holds_groups(item[1])):
        key = prefix + name
        several = kinds(field.annotation) or kinds(_item(field.annotation))
        if several or not groups(field.annotation):
            yield Entry(key, _default(field), _values(field), field.description or ""), depth
        else:
            yield Heading(key, None, field.description or ""), depth
            yield from _walk(groups(field.annotation)[0], key + ".", depth)
        below = key if kinds(field.annotation) else f"{key}.<modality>"
        for one in dict.fromkeys(several.values()):
            names = ", ".join(kind for kind, found in several.items() if found is one)
            yield Heading(below, names, _summary(one)), depth + 1
            inner = _walk(one, below + ".", depth + 1)
            yield from (pair for pair in inner if pair[0].key != below + ".kind")


def _holds_groups(field: FieldInfo) -> bool:
    return bool(groups(field.annotation) or groups(_item(field.annotation)))


def _item(annotation: Any) -> Any:
    """What a mapping holds; None for anything but a mapping."""
    return get_args(bare(annotation))[1] if get_origin(bare(annotation)) is dict else None


def _summary(group: type[Group]) -> str:
    return (group.__doc__ or "").strip().split("\n")[0].replace("``", "")


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined:
        return "(needed)"
    if isinstance(value, Group):
        return str(getattr(value, "kind", ""))
    return value if isinstance(value, str) else json.dumps(value)


def _values(field: FieldInfo) -> str:
    annotation, item = field.annotation, _item(field.annotation)
    if kinds(annotation):
        return " | ".join(kinds(annotation))
    if kinds(item):
        return "mapping of modality to " + " | ".join(kinds(item))
    return _type(annotation, field.metadata)


def _type(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """What a value may be; ``metadata`` are the limits that stand outside the annotation."""
    inside = getattr(annotation, "__metadata__", ())
    limits = [*metadata, *(m for entry in inside for m in getattr(entry, "metadata", [entry]))]
    annotation = bare(annotation)
    arguments = get_args(annotation)
    if get_origin(annotation) is Literal:
        return " | ".join(map(str, arguments))
    if is_union(annotation):
        first, *others = arguments
        return " or ".join([_type(first, limits), *map(_type, others)])
    if get_origin(annotation) is dict:
        return f"mapping of name to {_type(arguments[1])}"
    if get_origin(annotation) is tuple and arguments[-1] is Ellipsis:
        least = next((n for m in limits if (n := getattr(m, "min_length", None))), 0)
        return f"list of {f'{least} or more ' if least else ''}{_type(arguments[0])}"
    if get_origin(annotation) is tuple:
        return f"[{', '.join(_type(option) for option in arguments)}]"
    return TYPES[annotation] + _range(limits)


def _range(limits: Sequence[Any]) -> str:
    """``in [0, 1)``, ``>= 1``, ``matching ...``, with a blank before; empty without limits."""
    bound = {
        name: getattr(limit, name)
        for limit in limits
        for name in ("ge", "gt", "le", "lt")
        if getattr(limit, name, None) is not None
    }
    low, high = {"ge", "gt"} & set(bound), {"le", "lt"} & set(bound)
    if low and high:
        left, right = "[" if "ge" in bound else "(", "]" if "le" in bound else ")"
        return f" in {left}{bound[low.pop()]}, {bound[high.pop()]}{right}"
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    patterns = [f" matching {p}" for m in limits if (p := getattr(m, "pattern", None))]
    return "".join([*(f" {signs[name]} {value}" for name, value in bound.items()), *patterns])


def _heading(item: Heading, depth: int, width: int) -> list[str]:
    kind = "" if item.kind is None else f" = {item.kind}"
    return _wrapped(f"{item.key}{kind}: {item.text}", 2 * depth, width)


def _entry(item: Entry, depth: int, width: int) -> list[str]:
    first = f"{item.key} = {item.default}  ({item.values})"
    return [*_wrapped(first, 2 * depth + 2, width), *_wrapped(item.text, 2 * depth + 6, width)]


def _wrapped(text: str, indent: int, width: int) -> list[str]:
    return textwrap.wrap(
        text,
        max(width, 40),
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 4),
        break_long_words=False,
        break_on_hyphens=False,
    )
