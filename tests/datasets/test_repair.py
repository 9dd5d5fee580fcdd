"""Non-finite features: counted by kind, set to 0, on disk as in memory; one warning a corpus."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mimrl.datasets import repair, rows
from mimrl.datasets.features import Corpus, Ragged, Split
from mimrl.errors import DataWarning

SPOILT = np.array([[np.nan, 1.0], [-np.inf, np.inf], [2.0, -np.inf]], np.float32)


class OnDisk:
    """A row store that is not an array and refuses to be read whole."""

    def __init__(self, values, largest, clean=False):
        self.values, self.largest, self.clean = values, largest, clean
        self.shape = values.shape

    def __getitem__(self, rows):
        start, stop, _ = rows.indices(len(self.values))
        if stop - start > self.largest:
            pytest.fail(f"{stop - start} rows were read at once")
        return self.values[rows]


def corpus_of(values):
    ragged = Ragged(values, np.array([0, 1, 1, values.shape[0]]))
    labels = np.zeros((3, 1), np.float32)
    splits = {
        name: Split(ids=("a", "b", "c"), sequences={"audio": ragged}, labels=labels)
        for name in ("train", "valid")
    }
    return Corpus("csd", "file", splits, repairs={"text: cut": 1})


def test_clean_sets_each_kind_to_zero_and_counts_it():
    repairs = {"audio: NaN set to 0": 5}
    cleaned = repair.clean(SPOILT, "audio", repairs)
    np.testing.assert_array_equal(cleaned, [[0, 1], [0, 0], [2, 0]])
    assert cleaned.dtype == np.float32
    assert repairs == {
        "audio: NaN set to 0": 6,
        "audio: +inf set to 0": 1,
        "audio: -inf set to 0": 2,
    }
    assert np.isnan(SPOILT[0, 0])  # what was given is left alone


def test_clean_leaves_finite_values_and_integers_as_they_are():
    repairs = {}
    for values in (np.ones((2, 2)), np.arange(3), np.zeros((0, 4), np.float32)):
        assert repair.clean(values, "audio", repairs) is values
    assert repairs == {}


@given(arrays.arrays(np.float32, st.tuples(st.integers(0, 9), st.integers(1, 4))))
def test_counts_by_kind_add_up_and_the_rest_is_kept(values):
    repairs = {}
    cleaned = repair.clean(values, "x", repairs)
    finite = np.isfinite(values)
    assert np.isfinite(cleaned).all()
    assert sum(repairs.values()) == np.sum(~finite)
    np.testing.assert_array_equal(cleaned[finite], values[finite])


def test_repair_sums_over_splits_and_keeps_what_was_counted_before():
    repaired = repair.repair(corpus_of(SPOILT))
    assert repaired.repairs == {
        "text: cut": 1,
        "audio: NaN set to 0": 2,
        "audio: +inf set to 0": 2,
        "audio: -inf set to 0": 4,
    }
    assert np.isfinite(repaired.splits["valid"].sequences["audio"].values).all()


def test_values_on_disk_are_counted_in_blocks_and_mended_when_read(monkeypatch):
    monkeypatch.setattr(rows, "BLOCK_VALUES", 4)
    store = OnDisk(SPOILT, largest=2)
    repaired = repair.repair(corpus_of(store))
    assert repaired.repairs["audio: -inf set to 0"] == 4
    last = repaired.splits["train"].sequences["audio"][2]
    np.testing.assert_array_equal(last, [[0, 0], [2, 0]])


def test_a_store_known_to_be_clean_is_not_read():
    repaired = repair.repair(corpus_of(OnDisk(SPOILT, largest=0, clean=True)))
    assert repaired.repairs == {"text: cut": 1}


def test_one_warning_lists_everything_and_none_is_given_for_nothing():
    with pytest.warns(DataWarning) as caught:
        repair.warn("mosi.pkl", {"audio: -inf set to 0": 12, "text: gone": 3})
    assert [str(w.message) for w in caught] == [
        "mosi.pkl: audio: -inf set to 0 (12); text: gone (3)"
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        repair.warn("mosi.pkl", {})
