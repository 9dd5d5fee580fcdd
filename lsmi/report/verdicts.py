"""What a reader must be told about a reading, in sentences."""

from __future__ import annotations

import numpy as np

from lsmi.decomposition import Totals
from lsmi.remarks import exceeds_entropy
from lsmi.report.readings import ROUNDING, has_control, unclear
from lsmi.report.words import LETTERS, number, signed
from lsmi.results import ATOMS, INFORMATION, SplitReading


def adjustments(reading: SplitReading) -> tuple[str, ...]:
    """What the two shifts do here, and what they do not."""
    return (*_published(reading), *_feasible(reading))


def _published(reading: SplitReading) -> list[str]:
    known = reading.decomposition
    raw, adjusted = known.raw.totals, known.adjusted.totals
    if known.shift == 0:
        return ["No raw total is negative: neither adjustment changes anything."]
    found = [
        f"Published adjustment: shift {signed(known.shift)}, because raw "
        f"{_listed(_causes(raw))} below zero."
    ]
    if min(raw.r, raw.s) >= 0:  # so a mean u is the negative one
        i1, i2, _ = _information(reading)
        side = "U1" if i1 <= i2 else "U2"
        found.append(
            f"This makes R equal to min(I1, I2) = {number(min(i1, i2))} and {side} exactly zero: "
            "in this case the published rule leaves no other outcome."
        )
    left = [name for name in ATOMS if getattr(adjusted, name) < -ROUNDING]
    if left:
        found.append(f"After it {_listed(left)} still below zero.")
    return found


def _causes(raw: Totals) -> list[str]:
    first = [name for name in ("r", "s") if getattr(raw, name) < 0]
    return first or [name for name in ("u1", "u2") if getattr(raw, name) < 0]


def _feasible(reading: SplitReading) -> list[str]:
    known = reading.decomposition
    shift = known.feasible_shift
    if shift is None:
        return [f"Feasible adjustment: there is none, {_obstacle(reading)}."]
    if abs(shift - known.shift) <= ROUNDING:
        return ["Feasible adjustment: the same shift."] if shift else []
    return [
        f"Feasible adjustment: shift {signed(shift)}, the least that leaves no total below zero."
    ]


def _obstacle(reading: SplitReading) -> str:
    i1, i2, i12 = _information(reading)
    if min(i1, i2) < 0:
        name, value = ("I1", i1) if i1 <= i2 else ("I2", i2)
        said, _ = _apart(value, 0.0)
        return f"because {name} = {said} is negative and R + U must equal it"
    name, value = ("I1", i1) if i1 >= i2 else ("I2", i2)
    both, one = _apart(i12, value)
    return f"because I12 = {both} is below {name} = {one}"


def _apart(*values: float) -> list[str]:
    """Numbers with as many digits, from three on, as tell them apart."""
    for digits in range(3, 16):
        words = [number(value, digits) for value in values]
        if len(set(words)) == len(words):
            break
    return words


def _information(reading: SplitReading) -> tuple[float, float, float]:
    known = reading.decomposition.information
    return float(known.i1.mean()), float(known.i2.mean()), float(known.i12.mean())


def _listed(names: list[str]) -> str:
    """``U1 is``, ``R and S are``: letters with the verb that follows."""
    letters = [LETTERS[name] for name in names]
    if len(letters) == 1:
        return f"{letters[0]} is"
    return f"{', '.join(letters[:-1])} and {letters[-1]} are"


def chance(reading: SplitReading) -> tuple[str, ...]:
    """What the control says, unless a remark of the analysis does."""
    if not has_control(reading):
        return ("No control with shuffled labels was made.",)
    if any(name in unclear(reading) for name in (*INFORMATION, *ATOMS)):
        return ()
    return ("I1, I2, I12 and all raw totals differ from what shuffled labels give.",)


def bound(reading: SplitReading) -> tuple[str, str]:
    """Whether ``I12 <= H(Y)`` holds (``yes``, ``within chance``, ``no``), and the two numbers."""
    i12 = reading.decomposition.information.i12
    holds = float(i12.mean()) <= reading.label_entropy + ROUNDING
    sign = "\N{LESS-THAN OR EQUAL TO}" if holds else ">"
    numbers = f"{number(float(i12.mean()))} {sign} {number(reading.label_entropy)}"
    if holds:
        return "yes", numbers
    above = exceeds_entropy(i12, reading.label_entropy, len(np.unique(reading.labels)))
    return ("no" if above else "within chance"), numbers
