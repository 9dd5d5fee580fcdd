"""Values that the literature gives for canonical distributions, each measure."""

from __future__ import annotations

import numpy as np
import pytest

from lsmi.pid import GATES, broja, i_min, information, mmi
from mimrl.errors import EstimationError, NonFiniteError, ShapeError

BIT = float(np.log(2))

# In bits: (r, u1, u2, s) of I_min, of MMI and of BROJA. Bertschinger et al. (2014), table 1: and,
# xor, rdn, unique and copy; Williams and Beer (2010) and Harder et al. (2013): I_min's full
# redundancy of the two-bit copy; Finn and Lizier (2018): pointwise unique. `and` of all three is
# 3/4 log2(4/3) and 1/2.
AND = (0.3112781, 0, 0, 0.5)
LITERATURE = {
    "xor": 3 * [(0, 0, 0, 1)],
    "and": 3 * [AND],
    "or": 3 * [AND],
    "unique": 3 * [(0, 1, 0, 0)],
    "copy": 3 * [(0, 1, 0, 0)],
    "rdn": 3 * [(1, 0, 0, 0)],
    "two-bit copy": [(1, 0, 0, 1), (1, 0, 0, 1), (0, 1, 1, 0)],
    "xor and unique": 3 * [(0, 1, 0, 1)],
    "rdn and xor": 3 * [(1, 0, 0, 1)],
    "pointwise unique": 3 * [(0.5, 0, 0, 0.5)],
}


def mmi_of(table):
    known = information(table)
    return mmi(known.i1, known.i2, known.i12)


def test_every_gate_has_its_values_here():
    assert set(LITERATURE) == set(GATES)


@pytest.mark.parametrize("gate", LITERATURE)
@pytest.mark.parametrize("number", range(3), ids=["i_min", "mmi", "broja"])
def test_literature(gate, number):
    measure = (i_min, mmi_of, broja)[number]
    expected = np.array(LITERATURE[gate][number]) * BIT
    # written to seven digits; BROJA's solver stops at 1e-8
    assert tuple(measure(GATES[gate].table)) == pytest.approx(expected, abs=1e-6)


def test_information_of_gates():
    known = information(GATES["xor and unique"].table)
    assert (known.i1, known.i2, known.i12) == pytest.approx((BIT, 0, 2 * BIT), abs=1e-12)


def test_specific_information_by_hand():
    # p(y=0, x1) = (.5, 0), p(y=1, x1) = (.1, .4); p(y=0, x2) = (.2, .3), p(y=1, x2) = (.1, .4)
    table = np.array([[[0.2, 0.3], [0, 0]], [[0, 0.1], [0.1, 0.3]]])
    first = (
        0.5 * np.log(0.5 / 0.6 / 0.5),
        0.1 * np.log(0.1 / 0.6 / 0.5) + 0.4 * np.log(0.4 / 0.4 / 0.5),
    )
    second = (
        0.2 * np.log(0.2 / 0.3 / 0.5) + 0.3 * np.log(0.3 / 0.7 / 0.5),
        0.1 * np.log(0.1 / 0.3 / 0.5) + 0.4 * np.log(0.4 / 0.7 / 0.5),
    )
    expected = min(first[0], second[0]) + min(first[1], second[1])
    assert i_min(table).r == pytest.approx(expected, abs=1e-12)


def test_samples_of_a_gate_are_its_rows_and_noise():
    gate = GATES["xor and unique"]
    x1, x2, y = gate.sample(4000, 0.1, np.random.default_rng(0))
    assert x1.shape == (4000, 2)
    assert x2.shape == (4000, 1)
    bits = x1.round().astype(int), x2[:, 0].round().astype(int)  # noise reaches 1/2 at 5 sigma
    assert np.array_equal(y, 2 * (bits[0][:, 0] ^ bits[1]) + bits[0][:, 1])
    assert (x1 - bits[0]).std() == pytest.approx(0.1, abs=0.005)  # four standard errors of 8,000


@pytest.mark.parametrize("measure", [i_min, broja, information])
def test_what_is_no_table_is_refused(measure):
    with pytest.raises(ShapeError, match=r"\(C, K1, K2\)"):
        measure(np.full((2, 2), 0.25))
    with pytest.raises(EstimationError, match="divide counts by their sum"):
        measure(np.ones((2, 2, 2)))
    with pytest.raises(EstimationError, match=r"smallest entry -0\.5"):
        measure(np.array([[[1.5, -0.5]]]))
    with pytest.raises(NonFiniteError):
        measure(np.full((2, 2, 2), np.nan))


def test_mmi_refuses_what_is_not_finite():
    with pytest.raises(NonFiniteError, match="i12 is nan"):
        mmi(0.1, 0.1, float("nan"))
