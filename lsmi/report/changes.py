"""What changes between the same readings of several checkpoints; nothing is drawn or written."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lsmi.report.readings import Estimate, balance, quantities
from lsmi.report.words import interval, number, signed
from lsmi.results import Analysis, Pair, Quantity, SplitReading

BALANCE = "balance"  # |U1 - U2|
NAMES = {"r": "R", "u1": "U1", "u2": "U2", "s": "S", BALANCE: "|U1 - U2|"}
KINDS = ("raw", "adjusted")


@dataclass(frozen=True)
class Course:
    """One pair and split over the checkpoints.

    Attributes:
        pair: the two features.
        split: the split.
        readings: checkpoint -> reading, in the order of the analyses; those without this pair
            or split are missing.
    """

    pair: Pair
    split: str
    readings: Mapping[str, SplitReading]

    def totals(self, kind: str) -> dict[str, dict[str, Quantity | Estimate]]:
        """Checkpoint -> the four atoms and ``balance``, raw or adjusted."""
        return {
            name: {**quantities(one, kind), BALANCE: balance(one)}
            for name, one in self.readings.items()
        }

    def change(self, kind: str) -> dict[str, Estimate]:
        """From the first checkpoint to the last; empty where there is only one."""
        totals = list(self.totals(kind).values())
        if len(totals) < 2:
            return {}
        return {name: difference(totals[0][name], totals[-1][name]) for name in NAMES}


def courses(analyses: Mapping[str, Analysis]) -> Iterator[Course]:
    """Every pair and split that any of the analyses has, in order of appearance."""
    keys = dict.fromkeys(
        (names, split)
        for analysis in analyses.values()
        for names, pair in analysis.pairs.items()
        for split in pair.splits
    )
    pairs = dict.fromkeys(names for names, _ in keys)
    for pair in pairs:
        for split in (split for names, split in keys if names == pair):
            readings = {
                name: one.pairs[pair].splits[split]
                for name, one in analyses.items()
                if pair in one.pairs and split in one.pairs[pair].splits
            }
            yield Course(pair, split, readings)


def difference(first: Quantity | Estimate, last: Quantity | Estimate) -> Estimate:
    """``last - first`` with the interval that two independent readings would have.

    Zou and Donner (Statistics in Medicine, 2008): each limit combines the distances of the two
    intervals' ends from their values. Readings of the same samples go up and down together, so
    the interval is rather too wide than too narrow.
    """
    value = last.value - first.value
    below = math.hypot(last.value - last.low, first.high - first.value)
    above = math.hypot(last.high - last.value, first.value - first.low)
    return Estimate(value, value - below, value + above)


def direction(change: Estimate) -> str:
    """``raised``, ``lowered``, or ``no clear change`` where the interval holds zero."""
    if change.low > 0:
        return "raised"
    return "lowered" if change.high < 0 else "no clear change"


def answers(course: Course) -> dict[str, str]:
    """Whether training raised R, balanced U1 and U2, and kept S, by the raw totals."""
    found = course.change("raw")
    if not found:
        return {}
    words = {name: direction(one) for name, one in found.items()}
    balanced = {
        "lowered": "yes: closer",
        "raised": "no: further apart",
        "no clear change": "no clear change",
    }
    return {
        "R raised?": f"{_yes(words['r'], 'raised')} {_numbers(found['r'])}",
        "U1 and U2 balanced?": f"{balanced[words[BALANCE]]} {_numbers(found[BALANCE])}",
        "S kept?": f"{'no' if words['s'] == 'lowered' else 'yes'}: {words['s']} "
        f"{_numbers(found['s'])}",
    }


def _yes(word: str, wanted: str) -> str:
    if word == wanted:
        return f"yes: {word}"
    return word if word == "no clear change" else f"no: {word}"


def _numbers(change: Estimate) -> str:
    bounds = interval(change.low, change.high)
    return f"({signed(change.value)} {bounds})" if bounds else f"({signed(change.value)})"


def cell(found: Quantity | Estimate, *, change: bool = False) -> str:
    """A total, or a change of one, with its interval."""
    bounds = interval(found.low, found.high)
    value = signed(found.value) if change else number(found.value)
    return f"{value} {bounds}".rstrip()
