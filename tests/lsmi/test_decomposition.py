"""The formulas: gates known exactly, laws, and the published code's numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lsmi.decomposition import (
    PointwiseInformation,
    Totals,
    decompose_pointwise,
    feasible_shift,
    pointwise_information,
    published_shift,
)
from lsmi.density import knife_log_density
from mimrl.errors import NonFiniteError, ShapeError

LOG2 = float(np.log(2))
BITS = [(0, 0), (0, 1), (1, 0), (1, 1)]


def gate(rows):
    """Exact information of equally likely rows (x1, x2, y)."""
    rows = [tuple(row) for row in rows]

    def probability(**fixed):
        names = {"a": 0, "b": 1, "y": 2}
        return np.mean([all(row[names[k]] == v for k, v in fixed.items()) for row in rows])

    columns = {"i1": [], "i2": [], "i12": [], "h1": [], "h2": []}
    for a, b, y in rows:
        p_y = probability(y=y)
        columns["i1"].append(np.log(probability(a=a, y=y) / probability(a=a) / p_y))
        columns["i2"].append(np.log(probability(b=b, y=y) / probability(b=b) / p_y))
        columns["i12"].append(np.log(probability(a=a, b=b, y=y) / probability(a=a, b=b) / p_y))
        columns["h1"].append(-np.log(probability(a=a)))
        columns["h2"].append(-np.log(probability(b=b)))
    return PointwiseInformation(**{name: np.array(v) for name, v in columns.items()})


GATES = {
    "xor": ([(a, b, a ^ b) for a, b in BITS], (0, 0, 0, LOG2), (0, 0, 0, LOG2)),
    "and": (
        [(a, b, a & b) for a, b in BITS],
        (0.38904, -0.17329, -0.17329, 0.51986),
        (0.21576, 0, 0, 0.34657),
    ),
    "or": (
        [(a, b, a | b) for a, b in BITS],
        (0.38904, -0.17329, -0.17329, 0.51986),
        (0.21576, 0, 0, 0.34657),
    ),
    "unique": ([(a, b, a) for a, b in BITS], (LOG2, 0, -LOG2, LOG2), (0, LOG2, 0, 0)),
    "redundant copy": ([(a, a, a) for a in (0, 1)], (LOG2, 0, 0, 0), (LOG2, 0, 0, 0)),
    # y = (a, b): the pointwise measure calls the bits redundant, unlike BROJA
    "two-bit copy": (
        [(a, b, (a, b)) for a, b in BITS],
        (LOG2, 0, 0, LOG2),
        (LOG2, 0, 0, LOG2),
    ),
}


@pytest.mark.parametrize("name", GATES)
def test_gates_have_their_exact_values(name):
    rows, raw, adjusted = GATES[name]
    found = decompose_pointwise(gate(rows))
    assert tuple(found.totals) == pytest.approx(raw, abs=1e-5)  # written to five digits
    assert tuple(found.adjusted.totals) == pytest.approx(adjusted, abs=1e-5)


def test_xor_is_exact_in_every_sample():
    found = decompose_pointwise(gate(GATES["xor"][0]))
    assert np.array_equal(found.r, np.zeros(4))
    assert found.s == pytest.approx(np.full(4, LOG2), abs=1e-15)


finite = st.floats(-50, 50, width=64)


@st.composite
def informations(draw):
    n = draw(st.integers(1, 6))
    return PointwiseInformation(*(draw(arrays(np.float64, n, elements=finite)) for _ in range(5)))


@settings(max_examples=60, deadline=None)
@given(informations())
def test_sums_hold_in_every_sample_raw_and_adjusted(information):
    found = decompose_pointwise(information)
    assert found.residual() < 1e-11  # a few roundings of numbers up to 400
    assert found.adjusted.r - found.r == pytest.approx(np.full(len(found), found.shift), abs=1e-11)


@settings(max_examples=60, deadline=None)
@given(informations())
def test_exchanging_the_modalities_exchanges_the_unique_parts(information):
    there = decompose_pointwise(information)
    k = information
    back = decompose_pointwise(PointwiseInformation(k.i2, k.i1, k.i12, k.h2, k.h1))
    for one, other in (("r", "r"), ("u1", "u2"), ("u2", "u1"), ("s", "s")):
        assert getattr(there, one) == pytest.approx(getattr(back, other), abs=1e-11)


@settings(max_examples=30, deadline=None)
@given(informations(), finite)
def test_one_offset_of_both_entropies_changes_nothing(information, offset):
    k = information
    moved = PointwiseInformation(k.i1, k.i2, k.i12, k.h1 + offset, k.h2 + offset)
    assert decompose_pointwise(moved).r == pytest.approx(decompose_pointwise(k).r, abs=1e-11)


@pytest.mark.parametrize(
    ("totals", "shift"),
    [
        (Totals(0.1, 0.1, 0.1, 0.1), 0.0),
        (Totals(-0.2, 0.5, 0.5, 0.1), 0.2),
        (Totals(0.1, 0.5, 0.5, -0.3), 0.3),
        (Totals(-0.2, -0.9, 0.5, -0.3), 0.3),
        (Totals(0.3, 0.5, -0.1, 0.4), -0.1),
        (Totals(0.3, -0.2, -0.1, 0.4), -0.2),
    ],
)
def test_published_shift_in_each_of_its_branches(totals, shift):
    assert published_shift(totals) == pytest.approx(shift)


def test_negative_unique_part_makes_redundancy_the_smaller_information():
    found = decompose_pointwise(gate(GATES["and"][0]))
    smaller = min(found.information.i1.mean(), found.information.i2.mean())
    assert found.adjusted.totals.r == pytest.approx(smaller, abs=1e-12)


@pytest.mark.parametrize(
    ("totals", "shift"),
    [
        (Totals(0.1, 0.1, 0.1, 0.1), 0.0),
        (Totals(-0.2, 0.5, 0.5, 0.1), 0.2),
        (Totals(0.389, -0.173, -0.173, 0.520), -0.173),
        (Totals(0.3, -0.2, -0.1, 0.4), -0.2),
        (Totals(-0.1, 0.3, -0.2, 0.4), None),  # I2 = -0.3
        (Totals(0.1, 0.2, 0.05, -0.2), None),  # I12 = 0.15 < I1 = 0.3
    ],
)
def test_feasible_shift_is_the_least_that_leaves_no_mean_negative(totals, shift):
    found = feasible_shift(totals)
    if shift is None:
        assert found is None
        return
    assert found == pytest.approx(shift, abs=1e-12)
    moved = (totals.r + found, totals.s + found, totals.u1 - found, totals.u2 - found)
    assert min(moved) >= -1e-12


@settings(max_examples=200, deadline=None)
@given(st.tuples(*[st.floats(-1, 1)] * 4))
def test_a_feasible_shift_exists_exactly_where_the_inequalities_hold(values):
    totals = Totals(*values)
    r, u1, u2, s = values
    i1, i2, i12 = r + u1, r + u2, r + u1 + u2 + s
    margins = (i1, i2, i12 - i1, i12 - i2)
    if min(margins) > 1e-9:
        shift = feasible_shift(totals)
        assert shift is not None
        for step in np.linspace(-abs(shift), abs(shift), 41) * (1 - 1e-6):
            inside = min(r + step, s + step, u1 - step, u2 - step) > 1e-9
            assert not inside or abs(step) >= abs(shift) * (1 - 1e-5)
    elif min(margins) < -1e-9:
        assert feasible_shift(totals) is None


def test_direct_entropies_given_the_label_take_the_place_of_the_difference():
    zero, one = np.zeros(2), np.ones(2)
    known = PointwiseInformation(one, zero, one, one, one, h1_given=0.5 * one, h2_given=one)
    assert decompose_pointwise(known).r == pytest.approx(0.5)
    with pytest.raises(ShapeError, match="both or none"):
        PointwiseInformation(one, zero, one, one, one, h1_given=one)


def test_other_units_of_one_modality_move_only_the_redundancy():
    information = gate(GATES["and"][0])
    moved = decompose_pointwise(information.offset(0.3))
    for name in ("i1", "i2", "i12"):
        assert np.array_equal(getattr(moved.information, name), getattr(information, name))
    assert moved.residual() < 1e-12
    part = information.rows(np.array([2, 0]))
    assert part.i12.tolist() == [information.i12[2], information.i12[0]]


def test_bad_arrays_are_refused_by_name():
    zero = np.zeros(3)
    with pytest.raises(ShapeError, match="h2 has shape"):
        PointwiseInformation(zero, zero, zero, zero, np.zeros(2))
    with pytest.raises(NonFiniteError, match="i12 of sample 1"):
        PointwiseInformation(zero, zero, np.array([0, np.nan, 0]), zero, zero)
    with pytest.raises(ShapeError, match="at least one sample"):
        decompose_pointwise(PointwiseInformation(*(np.zeros(0) for _ in range(5))))
    with pytest.raises(ShapeError, match="log probabilities"):
        pointwise_information(np.zeros((3, 2)), np.zeros(3, np.int64), np.zeros(3))


@pytest.mark.parametrize("case", range(7))
def test_adjustment_of_the_published_code(case, reference_root):
    stored = np.load(reference_root / "lsmi_adjustment.npz")
    raw = {k: stored[f"case{case}/{k}_raw"].astype(np.float64) for k in ("r", "u1", "u2", "s")}
    shift = published_shift(Totals(*(float(value.mean()) for value in raw.values())))
    for name, sign in (("r", 1), ("u1", -1), ("u2", -1), ("s", 1)):
        expected = stored[f"case{case}/{name}_adjusted"]
        assert raw[name] + sign * shift == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", ["two", "seven"])
def test_every_quantity_of_the_published_code(name, reference_root):
    stored = np.load(reference_root / f"lsmi_{name}_class.npz")
    x1, x2, y = stored["x1"], stored["x2"], stored["y"]
    classes = len(stored["discriminator1/fc.4.bias"])
    uniform = np.full(classes, -np.log(classes))
    columns = {}
    for key, x in {"1": x1, "2": x2, "12": np.hstack([x1, x2])}.items():
        logs = _published_log_probabilities(stored, f"discriminator{key}", x)
        columns[f"i{key}"] = pointwise_information(logs, y, uniform)
        assert columns[f"i{key}"] == pytest.approx(stored[f"i{key}_uniform_prior"], abs=1e-4)
    for key, x in {"1": x1, "2": x2}.items():
        columns[f"h{key}"] = -_published_log_density(stored, f"kernel{key}", x)
        assert columns[f"h{key}"] == pytest.approx(stored[f"h{key}"], abs=1e-4)
    found = decompose_pointwise(PointwiseInformation(**columns))
    for atom in ("r", "u1", "u2", "s"):
        assert getattr(found.raw, atom) == pytest.approx(stored[f"{atom}_raw"], abs=1e-4)
        assert getattr(found.adjusted, atom) == pytest.approx(stored[f"{atom}_adjusted"], abs=1e-4)


def _published_log_probabilities(stored, name, x):
    for layer in (0, 2, 4):
        x = x @ stored[f"{name}/fc.{layer}.weight"].T + stored[f"{name}/fc.{layer}.bias"]
        x = np.maximum(x, 0) if layer < 4 else x
    return torch.log_softmax(torch.as_tensor(x, dtype=torch.float64), -1).numpy()


def _published_log_density(stored, name, x):
    part = {
        key: torch.as_tensor(stored[f"{name}/{key}"], dtype=torch.float64)
        for key in ("means", "logvar", "tri", "weigh")
    }
    return knife_log_density(
        torch.as_tensor(x, dtype=torch.float64),
        part["means"],
        torch.tanh(part["logvar"][0]),
        part["tri"][0],
        part["weigh"][0],
    ).numpy()
