"""Nobody is judged by a model that saw them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsmi.plan import make_plan
from mimrl.errors import EstimationError, EstimationWarning


def split_rows(train, valid, test):
    ends = np.cumsum([0, train, valid, test])
    names = ("train", "valid", "test")
    return {name: np.arange(ends[k], ends[k + 1]) for k, name in enumerate(names)}


@settings(max_examples=15, deadline=None)
@given(
    train=st.integers(40, 120),
    valid=st.integers(0, 60),
    test=st.integers(0, 40),
    folds=st.integers(2, 5),
    grouped=st.booleans(),
    classes=st.integers(2, 4),
    seed=st.integers(0, 9),
)
def test_every_row_is_read_once_by_a_model_that_did_not_see_it(
    train, valid, test, folds, grouped, classes, seed
):
    total = train + valid + test
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, total)
    groups = np.arange(total) // 3 if grouped else None
    rows = split_rows(train, valid, test)
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=r"valid has \d+ samples", category=EstimationWarning
        )
        plan = make_plan(rows, labels, groups, folds, seed)
    read = np.concatenate([reading.read for reading in plan.readings])
    assert sorted(read) == list(range(total))
    held = np.concatenate([fold.held for fold in plan.folds])
    assert sorted(held) == list(range(total))
    for fold in plan.folds:
        assert set(fold.fit) <= set(rows["train"])
        assert not np.intersect1d(fold.fit, fold.held).size
    for reading in plan.readings:
        assert not np.intersect1d(reading.calibrate, reading.read).size
        assert set(reading.read) <= set(rows[reading.split])
    if groups is not None:
        for fold in plan.inside:
            assert not set(groups[fold.fit]) & set(groups[fold.held])
    assert not np.intersect1d(plan.trial.fit, plan.trial.held).size
    assert set(plan.trial.fit) | set(plan.trial.held) == set(rows["train"])


def test_models_are_fitted_on_train_only():
    rows = split_rows(60, 40, 20)
    plan = make_plan(rows, np.arange(120) % 2, None, 3, 0)
    test = [reading for reading in plan.readings if reading.split == "test"]
    assert len(test) == 1
    assert set(test[0].calibrate) == set(rows["valid"])
    assert set(plan.outside.fit) == set(rows["train"])


def test_labels_of_test_never_say_when_a_training_ends():
    rows = split_rows(100, 30, 25)
    labels = np.random.default_rng(0).integers(0, 2, 155)
    plan = make_plan(rows, labels, None, 3, 0)
    assert set(plan.judges(plan.outside)) == set(rows["valid"])
    for fold in plan.inside:
        assert set(plan.judges(fold)) == set(fold.held)
    alone = make_plan({name: rows[name] for name in ("train", "test")}, labels, None, 3, 0)
    assert len(alone.judges(alone.outside)) == 0


def test_rows_with_doubles_elsewhere_do_not_fit_the_model_that_reads_elsewhere():
    rows = split_rows(60, 40, 20)
    plan = make_plan(rows, np.arange(120) % 2, None, 3, 0, barred=np.array([3, 5]))
    assert set(rows["train"]) - set(plan.outside.fit) == {3, 5}
    assert {3, 5} <= set(np.concatenate([fold.held for fold in plan.inside]))


def test_hardly_any_row_without_a_double_elsewhere():
    rows = {"train": np.arange(40), "test": np.arange(40, 80)}
    labels = np.arange(80) % 2
    with pytest.raises(EstimationError, match="35 of 40 training samples have doubles"):
        make_plan(rows, labels, None, 2, 0, barred=np.arange(35))
    with pytest.raises(EstimationError, match="the 20 that are left"):
        make_plan(rows, labels, None, 2, 0, barred=np.arange(0, 40, 2))


def test_without_valid_cross_fitted_train_calibrates():
    rows = split_rows(60, 0, 20)
    plan = make_plan(rows, np.arange(80) % 2, None, 3, 0)
    test = plan.readings[-1]
    assert set(test.calibrate) == set(rows["train"])


def test_a_tiny_valid_split_is_said_to_be_too_small():
    rows = split_rows(60, 10, 20)
    with pytest.warns(EstimationWarning, match="valid has 10 samples"):
        plan = make_plan(rows, np.arange(90) % 2, None, 3, 0)
    assert set(plan.readings[-1].calibrate) <= set(rows["train"])


def test_too_few_samples_and_one_group():
    with pytest.raises(EstimationError, match=r"8 samples, too few for 7 folds .* at least 14"):
        make_plan({"train": np.arange(8)}, np.arange(8) % 2, None, 7, 0)
    with pytest.raises(EstimationError, match=r"8 samples, too few for 2 folds .* at least 10"):
        make_plan({"train": np.arange(8)}, np.arange(8) % 2, None, 2, 0)
    with pytest.warns(EstimationWarning, match="share one group"):
        make_plan({"train": np.arange(40)}, np.arange(40) % 2, np.zeros(40, np.int64), 2, 0)
    with pytest.raises(EstimationError, match="no train split"):
        make_plan({"test": np.arange(8)}, np.arange(8) % 2, None, 2, 0)
