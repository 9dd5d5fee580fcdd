"""The space that is searched: ranges and choices by key, checked before the first trial."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from mimrl.errors import ConfigError
from mimrl.settings import Settings, from_mapping
from mimrl.settings.load import read_yaml
from mimrl.settings.walk import is_union
from mimrl.tune.checks import FIXED, range_problems, value_problems
from mimrl.tune.default import default_space
from mimrl.tune.tree import KIND, admitted, assignments, placed, stem

RANGE = ("low", "high", "log", "step")


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included.

    Attributes:
        key: the setting.
        low: smallest value.
        high: largest value.
        log: whether equal ratios are equally likely, not equal differences.
        step: distance of neighbouring values, from ``low`` on.
        integer: whether the setting takes whole numbers only.
    """

    key: str
    low: float
    high: float
    log: bool = False
    step: float | None = None
    integer: bool = False

    def rounded(self, value: float) -> float:
        """0.3 for the 0.30000000000000004 that counting in steps of 0.05 gives."""
        return value if self.step is None or self.integer else float(f"{value:.12g}")

    def as_dict(self) -> dict[str, Any]:
        """As a search file has it."""
        step = {} if self.step is None else {"step": self.step}
        return {"low": self.low, "high": self.high, **({"log": True} if self.log else {}), **step}


@dataclass(frozen=True)
class Choice:
    """One of several values; ``options`` by the label that a study knows them by."""

    key: str
    options: Mapping[Any, Any]

    def as_list(self) -> list[Any]:
        """As a search file has it."""
        return list(self.options.values())


Item = Range | Choice
Draw = Callable[[Item], Any]


@dataclass(frozen=True)
class Space:
    """What is searched around some settings.

    Attributes:
        base: every setting that no key names.
        items: ranges and choices; those that choose the kind of a group stand before its keys.
    """

    base: Settings
    items: tuple[Item, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain containers, as a search file has them."""
        return {
            item.key: item.as_dict() if isinstance(item, Range) else item.as_list()
            for item in self.items
        }

    def settings(self, draw: Draw) -> Settings:
        """The base with a value drawn for each key that the chosen kinds have.

        Args:
            draw: gives the value of one item.

        Raises:
            ConfigError: the rules of the settings refuse this combination.
        """
        tree: dict[str, Any] = self.base.model_dump()
        for item, value in self._drawn(draw):
            tree = placed(tree, item.key, value)
        return from_mapping(tree, source="this combination")

    def overrides(self, draw: Draw) -> dict[str, Any]:
        """Key -> value as a command line takes them, to the same effect as :meth:`settings`."""
        tree: dict[str, Any] = self.base.model_dump()
        found: dict[str, Any] = {}
        for item, value in self._drawn(draw):
            found |= dict(assignments(tree, item.key, value))
            tree = placed(tree, item.key, value)
        return found

    def _drawn(self, draw: Draw) -> Iterator[tuple[Item, Any]]:
        tree: dict[str, Any] = self.base.model_dump()
        for item in self.items:
            if admitted(tree, item.key):
                value = draw(item)
                tree = placed(tree, item.key, value)
                yield item, value


def read_space(path: Path | None, base: Settings) -> Space:
    """The space of a search file, or the default one.

    Args:
        path: YAML: a key (dotted or nested) -> ``{low, high, log, step}`` or a list of values;
            None takes :func:`mimrl.tune.default.default_space`.
        base: the settings around which is searched.

    Raises:
        MissingFileError: there is no such file.
        ConfigError: every problem of the space, in one message.
    """
    hint = "docs/tuning.md shows one; without --search a default space is used"
    raw = default_space(base) if path is None else read_yaml(path, "search file", hint)
    return build_space(raw, base, source=str(path or "default search space"))


def build_space(raw: Mapping[str, Any], base: Settings, *, source: str = "search space") -> Space:
    """A checked space from the mapping of a search file.

    Raises:
        ConfigError: every problem, in one message.
    """
    pairs = [*_flat(raw)]
    entries = dict(pairs)
    problems = [] if entries else ["it names no setting"]
    problems += _collisions([key for key, _ in pairs])
    ordered = sorted(entries, key=lambda key: (len(stem(key)), key))
    tree = base.model_dump()
    items = []
    for key in ordered:
        trees = _variants(tree, key, {k: v for k, v in entries.items() if isinstance(v, list)})
        item, found = _item(key, entries[key], trees)
        problems += [f"{key}: {text}" for text in found]
        if item is not None:
            items.append(item)
    if problems:
        lines = "".join(f"\n  - {line}" for line in dict.fromkeys(problems))
        count = len(dict.fromkeys(problems))
        raise ConfigError(
            f"{source}: {count} problem{'s' if count > 1 else ''}:{lines}\n"
            "'python train.py --help' lists every setting with its default and range."
        )
    return Space(base, tuple(items))


def _flat(raw: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key -> range or list; a mapping without low or high is a level of nesting."""
    for name, value in raw.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict) and value and not set(value) & set(RANGE):
            yield from _flat(value, f"{key}.")
        else:
            yield key, value


def _collisions(keys: Sequence[str]) -> list[str]:
    """Keys of which one would undo what the other drew."""
    found = [f"{key}: stands there twice" for key in dict.fromkeys(keys) if keys.count(key) > 1]
    both = [key for key in dict.fromkeys(keys) if f"{key}.{KIND}" in keys]
    return found + [f"{key}: {key}.{KIND} chooses the same; keep one of the two" for key in both]


def _variants(
    tree: dict[str, Any], key: str, lists: Mapping[str, Sequence[Any]]
) -> list[dict[str, Any]]:
    """The base, and the base with every kind that the search may choose above ``key``."""
    found = [tree]
    for chooser, options in sorted(lists.items(), key=lambda item: len(stem(item[0]))):
        above = stem(chooser)
        if chooser != key and len(above) < len(stem(key)) and _fits(above, stem(key)):
            found = [placed(one, chooser, option) for one in found for option in options]
    return found


def _fits(above: Sequence[str], names: Sequence[str]) -> bool:
    return all(a == b or "*" in (a, b) for a, b in zip(above, names, strict=False))


def _item(key: str, raw: Any, trees: list[dict[str, Any]]) -> tuple[Item | None, list[str]]:
    """The range or choice of one key, or what is wrong with it."""
    reason = next((why for names, why in FIXED.items() if _fixed(key, names)), None)
    if reason is not None:
        return None, [f"cannot be searched: {reason}"]
    if isinstance(raw, dict):
        problems = range_problems(raw)
        values = [raw.get("low"), raw.get("high")]
    elif isinstance(raw, list) and raw:
        labels = [_label(value) for value in raw]
        problems = ["a value stands there twice"] if len(set(map(repr, labels))) < len(raw) else []
        values = raw
    else:
        return None, [f"expected {{low: ..., high: ...}} or a list of values, got {_label(raw)}"]
    problems = problems or value_problems(key, values, trees, isinstance(raw, dict))
    if problems:
        return None, problems
    if isinstance(raw, list):
        return Choice(key, dict(zip(labels, raw, strict=True))), []
    integer = _is_integer(key, trees)
    if integer and not isinstance(raw.get("step", 1), int):
        return None, [f"step: expected an integer, got {raw['step']}"]
    return Range(key, **raw, integer=integer), []


def _fixed(key: str, names: str) -> bool:
    return key == names or key.startswith(f"{names}.")


def _label(value: Any) -> Any:
    """What a study stores for a value: itself, or JSON for lists and mappings."""
    return value if isinstance(value, str | int | float | bool | None) else json.dumps(value)


def _is_integer(key: str, trees: list[dict[str, Any]]) -> bool:
    found = [one for tree in trees for one in admitted(tree, key)]
    return all(int in (get_args(one) if is_union(one) else (one,)) for one in found)
