"""Features to the table of measures: gates, chance, real shapes of trouble."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest

import lsmi.pid.compare as compare
from lsmi.pid import GATES, broja, i_min, information, mmi, other_measures
from mimrl.errors import EstimationError, EstimationWarning, NonFiniteError, ShapeError

CELLS = ("I_min", "MMI", "BROJA")


def by_name(measures):
    return {measure.name: measure for measure in measures}


def discrete(gate):
    table = GATES[gate].table
    known = information(table)
    return {
        "I_min": i_min(table),
        "MMI": mmi(known.i1, known.i2, known.i12),
        "BROJA": broja(table),
    }


@pytest.mark.parametrize("gate", ["xor", "and", "unique", "rdn", "two-bit copy", "xor and unique"])
def test_noisy_gates_come_out_near_their_discrete_values(gate):
    x1, x2, labels = GATES[gate].sample(5000, 0.1, np.random.default_rng(0))
    rows = np.arange(5000)
    found = by_name(other_measures(x1, x2, labels, rows, rows))
    assert tuple(found) == CELLS
    for name, expected in discrete(gate).items():
        # sampling: I1 of `and` has standard error .006; I_min's smaller of two equal numbers is
        # biased down by as much for each label
        assert tuple(found[name].totals) == pytest.approx(tuple(expected), abs=0.025), name


def test_xor_hidden_among_other_directions():
    generator = np.random.default_rng(1)
    x1, x2, labels = GATES["xor"].sample(4000, 0.1, generator)
    rotations = [np.linalg.qr(generator.normal(size=(10, 10)))[0] for _ in range(2)]
    x1, x2 = (
        np.hstack([x, generator.normal(size=(4000, 9))]) @ rotation
        for x, rotation in zip((x1, x2), rotations, strict=True)
    )
    found = by_name(other_measures(x1, x2, labels, np.arange(2000), np.arange(2000, 4000)))
    assert found["BROJA"].totals.s == pytest.approx(np.log(2), abs=0.05)
    assert found["BROJA"].totals.r == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("classes", [2, 7])
@pytest.mark.parametrize("apart", [True, False], ids=["held out", "the training rows"])
def test_chance_labels_have_no_information(classes, apart):
    generator = np.random.default_rng(2)
    x1, x2 = generator.normal(size=(2, 4000, 32))
    labels = generator.integers(0, classes, 4000)
    train = np.arange(2000)
    read = train + 2000 if apart else train
    found = by_name(other_measures(x1, x2, labels, train, read, ratings=labels.astype(float)))
    assert tuple(found) == (*CELLS, "Gaussian MMI")
    for measure in found.values():
        assert max(map(abs, [*measure.totals, *measure.information])) < 0.02, measure


def test_sums_are_those_of_the_measures_own_information():
    generator = np.random.default_rng(3)
    x1, x2, labels = GATES["and"].sample(600, 0.3, generator)
    ratings = labels + generator.normal(size=600)
    rows = np.arange(600)
    own = (0.3, 0.1, 0.5)
    measures = other_measures(x1, x2, labels, rows, rows, ratings, information=own)
    assert [m.name for m in measures] == [*CELLS, "MMI of the classifiers", "Gaussian MMI"]
    for measure in measures:
        i1, i2, i12 = measure.information
        atoms = measure.totals
        assert (atoms.r + atoms.u1, atoms.r + atoms.u2) == pytest.approx((i1, i2), abs=1e-12)
        assert sum(atoms) == pytest.approx(i12, abs=1e-12)
    assert len({measure.information for measure in measures[:3]}) == 1
    assert measures[3].information == own
    assert measures[3].totals == mmi(*own)
    assert measures[0].note.startswith("5 x 5")  # halves of 300 samples, 2 classes: sqrt(30)


def test_same_seed_same_numbers_and_label_names_do_not_matter():
    x1, x2, labels = GATES["or"].sample(400, 0.3, np.random.default_rng(4))
    rows = np.arange(200), np.arange(200, 400)
    first = other_measures(x1, x2, labels, *rows, seed=3)
    again = other_measures(x1, x2, 10 * labels - 7, *rows, seed=3)
    assert [astuple(m) for m in first] == [astuple(m) for m in again]
    assert other_measures(x1, x2, labels, *rows, seed=4) != first


@pytest.mark.parametrize("overlap", [0, 30, 100])
def test_no_row_is_read_in_cells_that_it_shaped(overlap):
    labels = np.tile([0, 1, 1], 100)
    train, read = np.arange(100), np.arange(100 - overlap, 200 - overlap)
    parts = compare._parts(labels, train, read, seed=0)
    assert len(parts) == (1 if overlap == 0 else 2)
    for fit, part in parts:
        assert len(np.intersect1d(fit, part)) == 0
        assert set(fit) <= set(train)
    assert np.array_equal(np.sort(np.concatenate([part for _, part in parts])), read)


def test_a_failing_solver_costs_one_row_and_a_warning(monkeypatch):
    def fails(table):
        raise EstimationError("was not solved")

    monkeypatch.setattr(compare, "broja", fails)
    x1, x2, labels = GATES["and"].sample(400, 0.1, np.random.default_rng(5))
    with pytest.warns(EstimationWarning, match="BROJA left out: was not solved"):
        found = other_measures(x1, x2, labels, np.arange(200), np.arange(200, 400))
    assert [measure.name for measure in found] == ["I_min", "MMI"]


@pytest.mark.parametrize("trouble", ["few", "constant", "one class"])
def test_what_cannot_be_had_is_left_out_with_a_warning(trouble):
    x1, x2, labels = GATES["and"].sample(400, 0.1, np.random.default_rng(6))
    train, read = np.arange(200), np.arange(200, 400)
    if trouble == "few":
        read = read[:30]
    elif trouble == "constant":
        x2 = np.ones_like(x2)
    else:
        labels[read] = 1
    with pytest.warns(EstimationWarning, match="I_min, MMI and BROJA left out: "):
        found = other_measures(x1, x2, labels, train, read, information=(0.1, 0.2, 0.3))
    assert [measure.name for measure in found] == ["MMI of the classifiers"]


def test_gaussian_row_is_left_out_where_features_are_too_many():
    generator = np.random.default_rng(7)
    x1, x2 = generator.normal(size=(2, 90, 30))
    labels = generator.integers(0, 2, 90)
    rows = np.arange(45), np.arange(45, 90)
    with pytest.warns(EstimationWarning, match="Gaussian MMI left out: 45 samples are too few"):
        found = other_measures(x1, x2, labels, *rows, ratings=generator.normal(size=90))
    assert [measure.name for measure in found] == list(CELLS)


def test_input_that_does_not_fit_together_is_refused():
    x, labels, rows = np.ones((5, 2)), np.arange(5), np.arange(5)
    with pytest.raises(ShapeError, match="'labels': 4"):
        other_measures(x, x, labels[:4], rows, rows)
    with pytest.raises(ShapeError, match="read_rows has no rows"):
        other_measures(x, x, labels, rows, rows[:0])
    with pytest.raises(NonFiniteError, match="x2"):
        other_measures(x, x * np.nan, labels, rows, rows)
