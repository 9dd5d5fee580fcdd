"""Columns that a user asks for, found in a file."""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from mimrl.errors import ConfigError, DataError
from mimrl.mi.estimation.sources import Archive, Column, Source, Table

RANGE = re.compile(r"(\d+)-(\d+)")
WANTED = "a name, a number from 0, a range such as 0-4 (both ends included) or a pattern such as x*"


def find_columns(source: Source, words: Sequence[str]) -> list[Column]:
    """The columns that some words name, with a label each.

    Args:
        source: the file.
        words: separated by commas or given apart. In a table: a name, a number from 0, a range
            ``0-4`` (both ends included) or a pattern ``x*``; a name that is spelled like one of
            the others wins. In an archive: an array's name, with ``:`` and a number or a range
            behind it for some of its columns.

    Raises:
        DataError: a word that names nothing (the message has names like it), or an array that is
            not ``(N,)`` or ``(N, d)``.
        ConfigError: no word, or a column named twice.
    """
    if isinstance(source, Table):
        items = _items(words, source.names)
        places = [place for item in items for place in _places(item, source.names)]
        _once([source.names[place] for place in places])
        return [
            (source.names[place], values)
            for place, values in zip(places, source.load(places), strict=True)
        ]
    columns = [c for item in _items(words, list(source.shapes)) for c in _of_array(source, item)]
    _once([label for label, _ in columns])
    return columns


def _items(words: Iterable[str], names: Sequence[str]) -> list[str]:
    """Words apart at their commas, except where a name has a comma."""
    found: list[str] = []
    for word in words:
        found += [word] if word in names else [part.strip() for part in word.split(",")]
    items = [item for item in found if item]
    if not items:
        raise ConfigError(f"no column is named; expected {WANTED}")
    return items


def _places(item: str, names: Sequence[str]) -> list[int]:
    if item in names:
        return [list(names).index(item)]
    numbers = _numbers(item, len(names))
    if numbers is not None:
        return numbers
    matching = [place for place, name in enumerate(names) if fnmatch.fnmatchcase(name, item)]
    if not matching:
        raise DataError(f"there is no column {item!r}; {_like(item, names)}")
    return matching


def _of_array(source: Archive, item: str) -> list[Column]:
    name, colon, part = item.rpartition(":")
    if item in source.shapes or not colon:
        name, part = item, ""
    if name not in source.shapes:
        raise DataError(f"there is no array {name!r}; {_like(name, list(source.shapes))}")
    shape = source.shapes[name]
    if len(shape) not in (1, 2) or 0 in shape:
        raise DataError(f"array {name} must be (N,) or (N, d), got {shape}")
    width = shape[1] if len(shape) == 2 else 1
    places = _numbers(part, width) if part else list(range(width))
    if places is None:
        raise DataError(f"{item!r}: expected NAME, NAME:3 or NAME:0-4, got {part!r} behind NAME")
    values = source.load(name).reshape(shape[0], width)
    labels = [f"{name}:{place}" if len(shape) == 2 else name for place in places]
    return [(label, values[:, place]) for label, place in zip(labels, places, strict=True)]


def _numbers(item: str, count: int) -> list[int] | None:
    """Places that a number or a range stands for; None if it is neither."""
    ends = RANGE.fullmatch(item)
    if ends is None and not item.isdecimal():
        return None
    first, last = (int(ends[1]), int(ends[2])) if ends else (int(item), int(item))
    if not first <= last < count:
        raise DataError(f"{item!r}: expected columns from 0 to {count - 1}, in this order")
    return list(range(first, last + 1))


def _once(labels: Sequence[str]) -> None:
    repeated = sorted({label for label in labels if labels.count(label) > 1})
    if repeated:
        raise ConfigError(f"named twice: {', '.join(repeated[:5])}; name every column once")


def _like(name: str, names: Sequence[str]) -> str:
    spelled = {other.lower(): other for other in reversed(names)}
    found = difflib.get_close_matches(name.lower(), spelled, n=5, cutoff=0.5)
    if close := [spelled[other] for other in found]:
        return f"did you mean {', '.join(close)}?"
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return f"there are {', '.join(names[:20]) or 'none'}{more}"


def as_numbers(column: Column) -> npt.NDArray[np.float64]:
    """A column as float64, missing values as NaN.

    Raises:
        DataError: text, dates or complex numbers; the message has the first of them.
    """
    label, values = column
    if values.dtype.kind in "fiub":
        return values.astype(np.float64)
    if values.dtype.kind not in "OUST":
        raise DataError(f"column {label} must hold real numbers, got {values.dtype}")
    import pandas as pd

    texts = pd.Series(values)
    numbers = pd.to_numeric(texts, errors="coerce")
    wrong = np.flatnonzero(numbers.isna() & texts.notna())
    if len(wrong):
        raise DataError(
            f"column {label} holds text: {texts.iloc[wrong[0]]!r} in row {wrong[0]} (counted from "
            f"0) and {len(wrong) - 1} more; put numbers in its place, or take another column"
        )
    return numbers.to_numpy(dtype=np.float64)


def shared_columns(labels: Mapping[str, Sequence[str]]) -> None:
    """Refuses a column that stands in two variables.

    Raises:
        ConfigError: there is one.
    """
    owner: dict[str, str] = {}
    for variable, names in labels.items():
        for name in names:
            if name in owner:
                raise ConfigError(
                    f"column {name} is in {owner[name]} and in {variable}; a column's information "
                    "about itself is infinite, so name it once"
                )
            owner[name] = variable
