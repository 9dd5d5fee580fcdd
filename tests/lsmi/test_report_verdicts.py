"""What the report says about its numbers, and the readings that it says it of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_up import reading
from report_reading import every

from lsmi.decomposition import PointwiseInformation
from lsmi.report import readings, verdicts
from lsmi.results import ATOMS, Quantity


def test_the_published_shift_for_a_negative_u_is_named_as_what_it_is():
    """The gate in which y is x1: raw (log 2, 0, -log 2, log 2), I1 = log 2, I2 = 0."""
    zero, log2 = np.zeros(2), np.full(2, np.log(2))
    unique = reading(PointwiseInformation(log2, zero, log2, zero, zero), np.arange(2))
    assert list(unique.decomposition.totals) == pytest.approx([np.log(2), 0, -np.log(2), np.log(2)])
    said = " ".join(verdicts.adjustments(unique))
    assert "shift -0.693, because raw U2 is below zero" in said
    assert "R equal to min(I1, I2) = 0.000 and U2 exactly zero" in said
    assert "Feasible adjustment: the same shift." in said
    xor = reading(PointwiseInformation(zero, zero, log2, zero, zero), np.arange(2))
    assert "min(I1, I2)" not in " ".join(verdicts.adjustments(xor))


@pytest.mark.parametrize(
    ("means", "words"),
    [((-0.1, 0.2, 0.4), "I1 = -0.100 is negative"), ((0.3, 0.1, 0.2), "I12 = 0.200 is below I1")],
)
def test_a_missing_feasible_shift_is_explained(means, words):
    columns = [np.full(4, mean) for mean in means]
    one = reading(PointwiseInformation(*columns, np.zeros(4), np.ones(4)), np.arange(4) % 2)
    said = " ".join(verdicts.adjustments(one))
    assert "there is none, because" in said
    assert words in said


def test_numbers_that_differ_little_are_told_apart():
    columns = [np.full(4, mean) for mean in (0.3, 0.1, 0.29996)]
    one = reading(PointwiseInformation(*columns, np.zeros(4), np.ones(4)), np.arange(4) % 2)
    assert "I12 = 0.29996 is below I1 = 0.30000" in " ".join(verdicts.adjustments(one))


def test_a_total_at_zero_is_nothing_whatever_the_control_says():
    assert Quantity(0.0, 0.0, 0.0, -0.02, -0.03, -0.01).distinguishable is False
    assert Quantity(-0.5, -0.6, -0.4, -0.02, -0.03, -0.01).distinguishable is True
    assert Quantity(0.1, 0.02, 0.2, 0.0, -0.01, 0.01).distinguishable is True


def test_information_above_the_entropy_is_flagged():
    columns = [np.full(1000, value) for value in (0.1, 0.1, 0.71, 0.0, 0.0)]
    above = reading(PointwiseInformation(*columns), np.arange(1000) % 2)
    assert verdicts.bound(above) == ("no", "0.710 > 0.693")
    # class shares of 1,000 samples differ from the prior's by .01 nats once in a thousand times
    assert verdicts.bound(replace(above, label_entropy=0.705)) == (
        "within chance",
        "0.710 > 0.705",
    )
    assert verdicts.bound(replace(above, label_entropy=0.71))[0] == "yes"


def test_totals_far_from_the_scale_are_those_of_one_modality(made):
    """As h1 - h2 falls, min(h1, h2) is h1 before and after the label: r = i1; and the reverse."""
    for _, _, one in every(made):
        known = one.decomposition.information
        assert readings.totals_at(one, -1e3).r == pytest.approx(known.i1.mean(), abs=1e-9)
        assert readings.totals_at(one, 1e3).r == pytest.approx(known.i2.mean(), abs=1e-9)
        h1 = known.h1 + 1.5
        r = np.minimum(h1, known.h2) - np.minimum(h1 - known.i1, known.h2 - known.i2)
        assert readings.totals_at(one, 1.5).r == pytest.approx(r.mean(), abs=1e-9)


def test_shares_of_leading_atoms(made):
    for _, _, one in every(made):
        whole = readings.leading_shares(one)
        assert sum(whole.values()) == pytest.approx(1)
        for atom in ATOMS:
            parts = [
                readings.leading_shares(one, label)[atom] * (one.labels == label).mean()
                for label in (0, 1)
            ]
            assert sum(parts) == pytest.approx(whole[atom])
        assert np.isnan(readings.leading_shares(one, 7)["r"])
