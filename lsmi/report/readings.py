"""What the report computes from a reading: nothing is fitted here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lsmi.decomposition import Totals, raw_atoms
from lsmi.results import ATOMS, INFORMATION, Quantity, SplitReading

FloatArray = npt.NDArray[np.float64]
ROUNDING = 1e-9  # nats that sums of float64 may miss each other by
SUFFIX = {"raw": "", "adjusted": "_adjusted", "feasible": "_feasible"}


def kinds(reading: SplitReading) -> tuple[str, ...]:
    """``raw``, ``adjusted`` and, where there is a total of it, ``feasible``."""
    return tuple(kind for kind, suffix in SUFFIX.items() if f"r{suffix}" in reading.quantities)


def distinct_kinds(reading: SplitReading) -> tuple[str, ...]:
    """The same without ``feasible`` where its shift is the published one."""
    known = reading.decomposition
    same = known.feasible_shift is not None and abs(known.feasible_shift - known.shift) <= ROUNDING
    return tuple(kind for kind in kinds(reading) if not (same and kind == "feasible"))


def quantities(reading: SplitReading, kind: str) -> dict[str, Quantity]:
    """Atom -> its total with interval and control, of one of :func:`kinds`."""
    return {atom: reading.quantities[atom + SUFFIX[kind]] for atom in ATOMS}


def shift_of(reading: SplitReading, kind: str) -> float:
    """What the kind adds to R and S and takes from U1 and U2, in nats."""
    known = reading.decomposition
    shifts = {"raw": 0.0, "adjusted": known.shift, "feasible": known.feasible_shift}
    found = shifts[kind]
    return float("nan") if found is None else found


def is_unclear(found: Quantity) -> bool:
    """Whether zero or shuffled labels are in reach of the total; False without a control."""
    return found.distinguishable is not None and not found.distinguishable


def unclear(reading: SplitReading) -> tuple[str, ...]:
    """Names of the quantities that shuffled labels would give as well."""
    return tuple(name for name, found in reading.quantities.items() if is_unclear(found))


def has_control(reading: SplitReading) -> bool:
    """Whether labels were shuffled for comparison."""
    return any(found.distinguishable is not None for found in reading.quantities.values())


def totals_at(reading: SplitReading, offset: float) -> Totals:
    """Raw totals, had ``h1 - h2`` been larger by ``offset`` nats: the formulas once more."""
    return raw_atoms(reading.decomposition.information.offset(offset)).totals


def leading_shares(reading: SplitReading, label: int | None = None) -> dict[str, float]:
    """Atom -> share of samples (of one class) whose largest adjusted atom it is.

    NaN where no sample has this label.
    """
    leading = reading.leading if label is None else reading.leading[reading.labels == label]
    count = len(leading)
    return {
        atom: float((leading == atom).sum() / count) if count else float("nan") for atom in ATOMS
    }


def most_synergistic(reading: SplitReading, count: int) -> npt.NDArray[np.int64]:
    """Rows of the samples with the largest synergy, the largest first."""
    return _largest(reading.decomposition.adjusted.s, count)


def most_one_sided(reading: SplitReading, count: int) -> npt.NDArray[np.int64]:
    """Rows of the samples with the largest ``|u1 - u2|``, which no shift changes."""
    atoms = reading.decomposition.adjusted
    return _largest(np.abs(atoms.u1 - atoms.u2), count)


def _largest(values: FloatArray, count: int) -> npt.NDArray[np.int64]:
    return np.argsort(-values, kind="stable")[:count].astype(np.int64)


@dataclass(frozen=True)
class Estimate:
    """A number with its interval, in nats."""

    value: float
    low: float
    high: float


def balance(reading: SplitReading) -> Estimate:
    """``|U1 - U2|``: how one-sided the pair is; the same before and after any shift.

    ``U1 - U2 = I1 - I2``, a mean over samples. Its interval is as many standard errors of
    independent samples wide as the wider one of I1's and I2's: it has their level, groups and
    repeats.
    """
    known = reading.decomposition.information
    difference = known.i1 - known.i2
    half = _error(difference) * _errors_to_an_end(reading)
    value = float(difference.mean())
    low, high = value - half, value + half
    if low <= 0 <= high:
        return Estimate(abs(value), 0.0 if half else abs(value), max(-low, high))
    return Estimate(abs(value), min(abs(low), abs(high)), max(abs(low), abs(high)))


def _errors_to_an_end(reading: SplitReading) -> float:
    """Half the wider interval of I1 and I2 in standard errors; 0 where no draws were made."""
    factors = [0.0]
    for name in INFORMATION[:2]:
        found, error = (
            reading.quantities[name],
            _error(getattr(reading.decomposition.information, name)),
        )
        if error > 0:
            factors.append((found.high - found.low) / (2 * error))
    return max(factors)


def _error(values: FloatArray) -> float:
    return float(values.std() / np.sqrt(len(values)))
