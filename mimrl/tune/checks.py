"""What may be wrong with an entry of a search space, against the tree of settings."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from mimrl.settings.load import problems_of
from mimrl.settings.messages import Problem
from mimrl.settings.walk import kinds
from mimrl.tune.tree import EVERY, KIND, admitted, expanded, parts, placed

INCOMPARABLE = "trials would be measured by different yardsticks"
FIXED: Mapping[str, str] = {
    "name": "it names the study",
    "output": "it names the folder",
    "seed": "name seeds with --seeds; the best of many seeds is luck, not a setting",
    "device": "it does not change what is learned",
    "threads": "it does not change what is learned",
    "performance": "it is about speed and memory; bench/ measures those",
    "training.select_by": INCOMPARABLE,
    "training.metric_rules": INCOMPARABLE,
    "training.keep_epochs": "it only keeps files",
    "training.controls": "it only adds to the final report",
    "evaluation": "it only adds to the final report",
    **{
        f"data.{name}": INCOMPARABLE
        for name in (
            *("layout", "path", "label_file", "feature_files", "split_file", "split_by_group"),
            *("split_seed", "target", "label", "planted", "modalities"),
        )
    },
}
"""Settings that no search may vary, and why."""

ROUNDING = 1e-6  # 0.5 / 0.1 and its like are whole numbers but for this


def range_problems(raw: Mapping[str, Any]) -> list[str]:
    """What is wrong with a range by itself."""
    unknown = sorted(set(raw) - {"low", "high", "log", "step"})
    lacking = [name for name in ("low", "high") if name not in raw]
    if unknown or lacking:
        if unknown:
            return [f"unknown {', '.join(unknown)}; a range has low, high, log, step"]
        return [f"{name} is missing" for name in lacking]
    numbers = {name: raw[name] for name in ("low", "high", "step") if name in raw}
    bad = [name for name, value in numbers.items() if not _is_number(value)]
    if bad:
        return [f"{name}: expected a number, got {json.dumps(raw[name])}" for name in bad]
    return [*_order_problems(raw), *_scale_problems(raw)]


def _order_problems(raw: Mapping[str, Any]) -> list[str]:
    low, high, step = raw["low"], raw["high"], raw.get("step")
    if low >= high:
        return [f"low {low} must be below high {high}"]
    if step is not None and not 0 < step <= high - low:
        return [f"step {step} must be above 0 and at most high - low"]
    if step is not None and not _divides(step, high - low):
        last = low + step * math.floor((high - low) / step + ROUNDING)
        return [f"step {step} does not lead from low {low} to high {high}; set high to {last:.12g}"]
    return []


def _divides(step: float, width: float) -> bool:
    return abs(width / step - round(width / step)) < ROUNDING


def _scale_problems(raw: Mapping[str, Any]) -> list[str]:
    log = raw.get("log", False)
    if not isinstance(log, bool):
        return [f"log: expected true or false, got {json.dumps(log)}"]
    if log and raw["low"] <= 0:
        return [f"log: true needs low above 0, got {raw['low']}"]
    if log and "step" in raw:
        return ["log: true and step exclude each other"]
    return []


def value_problems(
    key: str, values: Sequence[Any], trees: Sequence[Mapping[str, Any]], is_range: bool
) -> list[str]:
    """What the settings have against the values of one key.

    Args:
        key: the setting.
        values: low and high of a range, or all choices.
        trees: the settings under every kind that the search may choose above this key.
        is_range: whether numbers between the values are meant, too.

    Returns:
        Problems of these values by themselves. What ties several settings together is left to the
        trials: there the combination is refused.
    """
    if EVERY in key and not key.startswith(f"model.encoders.{EVERY}."):
        return [f"{EVERY} stands for the modalities of model.encoders, and for nothing else"]
    known = [tree for tree in trees if admitted(tree, key)]
    if not known:
        return _unknown(key, values[0], trees)
    types = [one for tree in known for one in admitted(tree, key)]
    if is_range and not all({int, float} & {one, *get_args(one)} for one in types):
        return ["a range needs a setting that is a number; list the values"]
    if any(kinds(one) for one in types) and any(
        isinstance(value, dict) and KIND not in value for value in values
    ):
        return ["a choice of a whole group names its kind"]
    found = [
        problem
        for tree in known
        for value in values
        for problem in _own(problems_of(placed(tree, key, value)), expanded(tree, key))
    ]
    return list(dict.fromkeys(found))


def _unknown(key: str, value: Any, trees: Sequence[Mapping[str, Any]]) -> list[str]:
    for tree in trees:
        paths = expanded(tree, key)
        found = [p for p in problems_of(placed(tree, key, value)) if _touches(p.keys, paths)]
        if found:
            return [found[0].text]
    return [f"unknown key; expected one of the settings, got {'.'.join(parts(key))}"]


def _own(problems: Sequence[Problem], paths: Sequence[tuple[str, ...]]) -> list[str]:
    """Texts of the problems that lie at the key itself or inside its value.

    An unknown kind is a problem of the whole group; an unknown name in a mapping (of weights) is
    one of the whole tree.
    """
    whole = {path[:-1] if path[-1] == KIND else path for path in paths}
    named = tuple(f"{'.'.join(names)} names " for path in paths for names in (path, path[:-1]))
    own = [p for p in problems if p.keys in whole or p.text.startswith(named)]
    inside = [p for p in problems if any(p.keys[: len(path)] == path for path in paths)]
    return [p.text for p in own] + [f"{p.where}: {p.text}" for p in inside if p not in own]


def _touches(keys: tuple[str | int, ...], paths: Sequence[tuple[str, ...]]) -> bool:
    return any(path[: len(keys)] == keys for path in paths if keys)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
