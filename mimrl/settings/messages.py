"""What is wrong with settings, in the user's words: one line a problem, with the key as written."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mimrl.settings.base import Group, RulesError
from mimrl.settings.walk import Place, locate, paths

REPHRASED = {
    "Field required": "a value is missing",
    "Input should be a valid dictionary": "expected a group of settings",
    "Input should be a valid tuple": "expected a list",
    "Input should be a valid string": "expected text",
    "Input should be a valid integer": "expected an integer",
    "Input should be a valid number": "expected a number",
    "Input should be a valid boolean": "expected true or false",
    "Input should be ": "expected ",
    "String should have at least 1 character": "expected text that is not empty",
    "String should match pattern ": "expected text matching ",
}


@dataclass(frozen=True)
class Problem:
    """One problem: where (keys and indices), what (a sentence), and a likely meant key."""

    keys: tuple[str | int, ...]
    text: str
    meant: str | None = None

    @property
    def where(self) -> str:
        """The dotted key; empty for a rule that ties several groups together."""
        return ".".join(str(key) for key in self.keys)

    @property
    def line(self) -> str:
        """The problem as one line."""
        return f"{self.where}: {self.text}" if self.keys else self.text


def explain(root: type[Group], items: Iterable[Mapping[str, Any]]) -> list[Problem]:
    """The problems of a ``ValidationError`` against ``root``, one a line and none twice.

    Args:
        root: the group that was validated.
        items: ``ValidationError.errors()``.

    Returns:
        The problems in pydantic's order. Types that were all refused at one place are joined by
        "or"; a problem of a list as a whole is left out where one of its items has a problem.
    """
    found = [problem for item in items for problem in _problems(root, item)]
    joined: dict[tuple[str | int, ...], Problem] = {}
    kept: list[Problem] = []
    for problem in found:
        first = joined.get(problem.keys)
        if first is not None and problem.text.startswith("expected "):
            both = first.text.partition(", got ")
            text = f"{both[0]} or {problem.text.removeprefix('expected ')}"
            kept[kept.index(first)] = joined[problem.keys] = Problem(problem.keys, text)
            continue
        if problem.text.startswith("expected "):
            joined[problem.keys] = problem
        kept.append(problem)
    deeper = {p.keys[: len(p.keys) - n] for p in kept for n in range(1, len(p.keys) + 1)}
    return [p for p in kept if not (p.text.startswith("expected at") and p.keys in deeper)]


def _problems(root: type[Group], item: Mapping[str, Any]) -> list[Problem]:
    place = locate(root, item["loc"])
    keys = place.keys
    error = item.get("ctx", {}).get("error")
    if isinstance(error, RulesError):
        return [Problem(keys, text) for text in error.problems]
    if item["type"] == "extra_forbidden":
        return [_unknown(root, place)]
    if item["type"] == "union_tag_invalid":
        expected = item["ctx"]["expected_tags"].replace("'", "")
        return [Problem(keys, f"expected one of {expected}, got {item['ctx']['tag']}")]
    if item["type"] in ("too_short", "too_long"):
        context = item["ctx"]
        bound = "at least {min_length}" if item["type"] == "too_short" else "at most {max_length}"
        text = f"expected {bound.format(**context)} values, got {context['actual_length']}"
        return [Problem(keys, text)]
    if item["type"] == "value_error":
        return [Problem(keys, str(error))]
    text = _rephrased(str(item["msg"]))
    return [Problem(keys, text if item["type"] == "missing" else f"{text}, {_got(item['input'])}")]


def _rephrased(message: str) -> str:
    for old, new in REPHRASED.items():
        if message.startswith(old):
            rest = message.removeprefix(old)
            return new + ("" if rest.startswith((" or ", ", got")) else rest)
    return message


def _unknown(root: type[Group], place: Place) -> Problem:
    keys, name = place.keys, str(place.keys[-1])
    known = list((place.holder or root).model_fields)
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return Problem(keys, f"unknown key; did you mean {close[0]}?", meant=close[0])
    others = [path for path in paths(root) if path.rpartition(".")[2] == name]
    if others and place.kind is None:
        return Problem(keys, f"unknown key here; did you mean {others[0]}?", meant=others[0])
    suffix = "" if place.kind is None else f" with kind={place.kind}"
    return Problem(keys, f"unknown key{suffix}; known here: {', '.join(known)}")


def _got(value: Any) -> str:
    text = json.dumps(value, default=str)
    return "got " + (text if len(text) <= 80 else text[:77] + "...")
