"""Canonical distributions whose decompositions the literature knows.

All rows of a truth table are equally likely. Sources: Griffith and Koch (2014), "Quantifying
synergistic mutual information"; Bertschinger, Rauh, Olbrich, Jost and Ay (2014), "Quantifying
unique information"; Finn and Lizier (2018), "Pointwise partial information decomposition".

>>> GATES["xor"].table.shape
(2, 2, 2)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from lsmi.pid.tables import count_table

FloatArray = npt.NDArray[np.float64]
Symbols = npt.NDArray[np.int64]
Values = tuple[int, ...]


@dataclass(frozen=True)
class Gate:
    """A truth table with equally likely rows.

    Attributes:
        x1: ``(R, m1)`` what the first modality shows in each row.
        x2: ``(R, m2)``.
        y: ``(R,)`` label, ``0 .. C - 1``.
    """

    x1: Symbols
    x2: Symbols
    y: Symbols

    @property
    def table(self) -> FloatArray:
        """``(C, K1, K2)`` probabilities; a symbol for each distinct row of ``x1`` and ``x2``."""
        one, two = (np.unique(x, axis=0, return_inverse=True)[1] for x in (self.x1, self.x2))
        shape = (int(self.y.max()) + 1, int(one.max()) + 1, int(two.max()) + 1)
        return count_table(self.y, one.reshape(-1), two.reshape(-1), shape)

    def sample(
        self, size: int, noise: float, generator: np.random.Generator
    ) -> tuple[FloatArray, FloatArray, Symbols]:
        """Random rows, Gaussian noise on each input.

        Args:
            size: ``N``.
            noise: its standard deviation; inputs are whole numbers.
            generator: source of randomness.

        Returns:
            ``(N, m1)`` and ``(N, m2)`` features and ``(N,)`` labels.
        """
        rows = generator.integers(0, len(self.y), size)
        one = self.x1[rows] + noise * generator.normal(size=(size, self.x1.shape[1]))
        two = self.x2[rows] + noise * generator.normal(size=(size, self.x2.shape[1]))
        return one, two, self.y[rows]


def _gate(bits: int, inputs: Callable[..., tuple[Values, Values, int]]) -> Gate:
    """The gate whose inputs and label are functions of independent fair bits."""
    one, two, y = zip(*(inputs(*row) for row in product((0, 1), repeat=bits)), strict=True)
    return Gate(np.array(one), np.array(two), np.array(y))


GATES: Mapping[str, Gate] = {
    "xor": _gate(2, lambda a, b: ((a,), (b,), a ^ b)),
    "and": _gate(2, lambda a, b: ((a,), (b,), a & b)),
    "or": _gate(2, lambda a, b: ((a,), (b,), a | b)),
    # the second modality is a bit that has nothing to do with the label
    "unique": _gate(2, lambda a, b: ((a,), (b,), a)),
    # the same with a second modality that never changes
    "copy": _gate(1, lambda a: ((a,), (0,), a)),
    # redundant copy, Griffith and Koch's RDN: one bit that both modalities show
    "rdn": _gate(1, lambda a: ((a,), (a,), a)),
    "two-bit copy": _gate(2, lambda a, b: ((a,), (b,), 2 * a + b)),
    "xor and unique": _gate(3, lambda a, b, c: ((a, b), (c,), 2 * (a ^ c) + b)),
    "rdn and xor": _gate(3, lambda a, b, c: ((c, a), (c, b), 2 * c + (a ^ b))),
    # in each row only one modality knows the label, and it is seen which
    "pointwise unique": _gate(
        2, lambda which, y: (((1 + y) * which,), ((1 + y) * (1 - which),), y)
    ),
}
