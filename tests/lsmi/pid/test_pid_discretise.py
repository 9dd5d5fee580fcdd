"""Cells of continuous features, and the bias of what is read from counts."""

from __future__ import annotations

import numpy as np
import pytest

from lsmi.pid import GATES, broja, i_min, information
from lsmi.pid.correction import corrected, shares
from lsmi.pid.discretise import (
    SAMPLES_AN_ENTRY,
    cell_number,
    class_contrasts,
    fit_cells,
    informative_directions,
)
from lsmi.pid.tables import count_table
from mimrl.errors import EstimationError, ShapeError


@pytest.mark.parametrize("classes", [2, 3, 7, 10])
@pytest.mark.parametrize("samples", [229, 2000, 10**6])
def test_tables_are_not_starved(samples, classes):
    cells = cell_number(samples, classes)
    assert 2 <= cells <= 8
    assert classes * cells**2 * SAMPLES_AN_ENTRY <= samples


def test_too_few_samples_for_any_table():
    with pytest.raises(EstimationError, match="expected at least 140"):
        cell_number(139, 7)
    assert cell_number(140, 7) == 2


def test_contrasts_are_standardised_functions_of_the_label():
    labels = np.random.default_rng(0).choice([-3, 0, 5], p=[0.1, 0.3, 0.6], size=200)
    contrasts = class_contrasts(labels)
    assert contrasts.shape == (200, 2)
    assert contrasts.mean(axis=0) == pytest.approx(0, abs=1e-12)
    assert contrasts.T @ contrasts / 200 == pytest.approx(np.eye(2), abs=1e-12)
    for value in np.unique(labels):
        assert np.ptp(contrasts[labels == value], axis=0) == pytest.approx(0, abs=1e-12)
    with pytest.raises(EstimationError, match="at least two"):
        class_contrasts(np.ones(5, np.int64))


def planted(kind, generator, size=2000, width=8):
    """Standard normal features of which the first of each modality has to do with the label."""
    z1, z2 = generator.normal(size=(2, size, width))
    functions = {"means": z1[:, 0], "variance": z1[:, 0] ** 2 - 0.5, "joint": z1[:, 0] * z2[:, 0]}
    return z1, z2, (functions[kind] > 0).astype(np.int64)


@pytest.mark.parametrize("kind", ["means", "variance", "joint"])
def test_the_direction_that_has_to_do_with_the_label_is_found(kind):
    generator = np.random.default_rng(4)
    z1, z2, labels = planted(kind, generator)
    found = informative_directions(z1, z2, class_contrasts(labels), generator)
    assert found.shape[1] >= 1
    longest = found[:, np.linalg.norm(found, axis=0).argmax()]
    # an estimated direction is off by about sqrt(width / N) = .06 over its strength, here .6 to .8
    assert abs(longest[0]) / np.linalg.norm(longest) > 0.97


def test_chance_labels_have_hardly_any_direction():
    generator = np.random.default_rng(5)
    found = []
    for _ in range(20):
        z1, z2 = generator.normal(size=(2, 400, 6))
        contrasts = class_contrasts(generator.integers(0, 3, 400))
        found.append(informative_directions(z1, z2, contrasts, generator))
    # each of three matrices exceeds the largest of eight shuffles once in nine times: 6.7 of 60
    # expected, standard deviation 2.4
    assert sum(one.shape[1] for one in found) <= 16
    assert max(np.linalg.norm(one, axis=0).max(initial=0.0) for one in found) < 0.3


def test_units_and_rotations_change_no_cell():
    generator = np.random.default_rng(6)
    x1, x2, labels = planted("joint", generator, size=600)
    rotation = np.linalg.qr(generator.normal(size=(8, 8)))[0]
    one, two = fit_cells(x1, x2, labels, 4, seed=0)
    moved, other = fit_cells(50 * x1 @ rotation - 3, x2[:, ::-1], labels, 4, seed=0)
    # the partition is the same up to rounding; names of cells may differ
    for before, after in (
        (one(x1), moved(50 * x1 @ rotation - 3)),
        (two(x2), other(x2[:, ::-1])),
    ):
        pairs = count_table(np.zeros(600, np.int64), before, after, (1, 4, 4))[0]
        assert pairs.max(axis=1).sum() > 0.99


def test_symbols_of_new_rows_are_the_nearest_centres():
    generator = np.random.default_rng(7)
    x1, x2, labels = planted("means", generator, size=500)
    cells = fit_cells(x1, x2, labels, 5, seed=0)[0]
    new = generator.normal(size=(100, 8))
    projected = cells.whitening(new) @ cells.directions
    distance = np.linalg.norm(projected[:, None] - cells.centres, axis=2)
    assert np.array_equal(cells(new), distance.argmin(axis=1))
    assert len(cells) == 5


def test_features_of_few_values_get_as_many_cells():
    x1, x2, labels = GATES["and"].sample(200, 0.0, np.random.default_rng(8))
    one, two = fit_cells(x1, x2, labels, 6, seed=0)
    assert (len(one), len(two)) == (2, 2)
    assert set(one(x1)) == {0, 1}


def test_rows_that_do_not_fit_together_are_refused():
    with pytest.raises(ShapeError, match="3 and 4 features for 3 labels"):
        fit_cells(np.ones((3, 1)), np.ones((4, 1)), np.arange(3), 2, seed=0)


def test_parts_have_equal_sizes_and_equal_shares_of_classes():
    labels = np.repeat([0, 1, 2], [50, 31, 7])
    part = shares(labels, 3, np.random.default_rng(0))
    assert np.ptp(np.bincount(part)) <= 1
    for value in range(3):
        assert np.ptp(np.bincount(part[labels == value], minlength=3)) <= 1


def samples_of(table, size, generator):
    flat = generator.choice(table.size, p=table.ravel(), size=size)
    return np.unravel_index(flat, table.shape)


def all_numbers(table):
    known = information(table)
    return np.array([known.i1, known.i2, known.i12, i_min(table).r, broja(table).r])


@pytest.mark.parametrize("kind", ["chance", "dependent"])
def test_correction_brings_counts_to_the_table_that_they_come_from(kind):
    """Six samples an entry: the counts say .07 nats too much of I12, corrected ones nearly none."""
    generator = np.random.default_rng(9)
    table = np.full((4, 4, 4), 1 / 64)
    if kind == "dependent":
        table = generator.dirichlet(np.full(64, 2.0)).reshape(4, 4, 4)
    plain, better = [], []
    for _ in range(8):
        y, a, b = samples_of(table, 384, generator)
        plain.append(all_numbers(count_table(y, a, b, table.shape)))
        better.append(corrected(all_numbers, y, a, b, table.shape, seed=0))
    truth = all_numbers(table)
    before, after = np.mean(plain, axis=0) - truth, np.mean(better, axis=0) - truth
    error = np.std(better, axis=0) / np.sqrt(8)
    assert before[2] > 0.04
    # what the parabola leaves is a tenth of the bias; beside that, chance
    assert np.all(np.abs(after) < 0.1 * np.abs(before[2]) + 3 * error)
    assert np.all(error < 0.015)


def test_correction_takes_nothing_where_the_label_is_certain():
    """Xor in 8 x 8 symbols: no bias in I12, but shuffled labels would say .016 nats."""
    generator = np.random.default_rng(10)
    a, b = generator.integers(0, 8, (2, 2000))
    y = (a % 2) ^ (b % 2)
    found = corrected(all_numbers, y, a, b, (2, 8, 8), seed=0)
    assert found[2] == pytest.approx(np.log(2), abs=1e-3)  # label shares: 1/2 +- .011
    assert np.all(np.abs(found[[0, 1, 3, 4]]) < 0.004)  # chi-square / 2N of 7: .0018 +- .0009
