"""Names and numbers as a reader meets them, the same in tables, pictures and on the page."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lsmi.results import Analysis, Pair
from lsmi.settings import AnalysisSettings

LETTERS = {
    **{"i1": "I1", "i2": "I2", "i12": "I12"},
    **{"r": "R", "u1": "U1", "u2": "U2", "s": "S"},
}
KINDS = {"raw": "raw", "adjusted": "published", "feasible": "feasible"}
LONGEST_SLUG = 24  # characters of a feature's name that a file name takes over
LONGEST_NAME = 22  # characters of a feature's name that a picture shows
NOTHING = "\N{EN DASH}"  # where there is no number


def number(value: float, digits: int = 3) -> str:
    """``value`` rounded, without a negative zero; a dash where it is not finite.

    >>> number(-0.0001), number(1.23456), number(float("nan"))
    ('0.000', '1.235', '–')
    """
    if not math.isfinite(value):
        return NOTHING
    return f"{round(value, digits) + 0.0:.{digits}f}"


def signed(value: float, digits: int = 3) -> str:
    """The same with its sign, also where it is positive."""
    text = number(value, digits)
    return text if text.startswith(("-", NOTHING)) else f"+{text}"


def interval(low: float, high: float, digits: int = 3) -> str:
    """``[low, high]``; empty where no interval was made or nothing varies."""
    if not low < high:
        return ""
    return f"[{number(low, digits)}, {number(high, digits)}]"


def level_words(settings: AnalysisSettings) -> str:
    """Coverage of the intervals: ``95 %``."""
    return f"{100 * settings.level:.3g} %"


def prior_words(settings: AnalysisSettings) -> str:
    """Where the class prior comes from."""
    words = {"data": "frequencies of the training labels", "uniform": "equal classes"}
    return words[settings.class_prior]


def plain_numbers(values: Iterable[float]) -> list[str]:
    """Ratings or classes as a person would write them: all whole, or all with two digits.

    >>> plain_numbers([3.0, -1.0]), plain_numbers([3.0, -1.25])
    (['3', '-1'], ['3.00', '-1.25'])
    """
    found = [float(value) for value in values]
    whole = all(value.is_integer() for value in found)
    return [number(value, 0 if whole else 2) for value in found]


def share(value: float) -> str:
    """``0.123`` as ``12 %``; a dash where there are no samples."""
    return f"{100 * value:.0f} %" if math.isfinite(value) else NOTHING


def short(name: str, longest: int = LONGEST_NAME) -> str:
    """``name``, its middle left out where it is long.

    >>> short("encoders.text.layers.3.output", 15)
    'encoder….output'
    """
    if len(name) <= longest:
        return name
    half = (longest - 1) // 2
    return f"{name[:half]}\N{HORIZONTAL ELLIPSIS}{name[-half:]}"


def pair_title(pair: Pair) -> str:
    """``text (1) and audio (2)``."""
    return f"{pair[0]} (1) and {pair[1]} (2)"


def atom_names(pair: Pair) -> dict[str, str]:
    """Atom -> its letter and what it is, for legends."""
    return {
        "r": "R redundant",
        "u1": f"U1 only {short(pair[0])}",
        "u2": f"U2 only {short(pair[1])}",
        "s": "S synergy",
    }


def slugs(pairs: Sequence[Pair]) -> dict[Pair, str]:
    """Pair -> what file names call it; no two the same, on any file system.

    >>> slugs([("text", "audio"), ("a/b", "c"), ("a:b", "c")])
    {('text', 'audio'): 'text_audio', ('a/b', 'c'): 'a-b_c', ('a:b', 'c'): 'a-b_c_2'}
    """
    found: dict[Pair, str] = {}
    for pair in pairs:
        base = "_".join(slug(name) for name in pair)
        taken = {name.lower() for name in found.values()}
        tries = (base if k == 1 else f"{base}_{k}" for k in range(1, len(pairs) + 2))
        found[pair] = next(name for name in tries if name.lower() not in taken)
    return found


def slug(name: str) -> str:
    """Letters, digits, dots and dashes of ``name``, nothing that a file system takes ill."""
    clean = re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-.")
    return clean[:LONGEST_SLUG].strip("-.") or "unnamed"


def class_label(label: int, class_names: Sequence[str] = ()) -> str:
    """A class with its name where it has one: ``1 (happy)``."""
    if 0 <= label < len(class_names) and class_names[label] not in ("", str(label)):
        return f"{label} ({class_names[label]})"
    return str(label)


def class_names(origin: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Names of the classes 0, 1, ... as ``origin`` gives them under that key."""
    return tuple(map(str, (origin or {}).get("class_names") or ()))


def splits_of(analysis: Analysis) -> tuple[str, ...]:
    """All splits of all pairs, in order of appearance."""
    return tuple(dict.fromkeys(name for pair in analysis.pairs.values() for name in pair.splits))
