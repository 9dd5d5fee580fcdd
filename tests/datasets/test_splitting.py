"""Splits by whole groups and from a list of names."""

from __future__ import annotations

import json

import numpy as np
import pytest
from generated import make_corpus, same_ragged, same_split
from hypothesis import given
from hypothesis import strategies as st

from mimrl.datasets.features import Corpus, Split
from mimrl.datasets.splitting import (
    groups_of,
    merged,
    require_splits,
    split_by_file,
    split_by_group,
)
from mimrl.errors import DataError, MissingFileError

SHARES = (0.7, 0.1, 0.2)


def corpus_of(ids, groups=None):
    labels = np.arange(len(ids), dtype=np.float32)[:, None]
    return Corpus("csd", "file", {"train": Split(tuple(ids), {}, labels, groups=groups)})


def corpus_of_sizes(sizes):
    return corpus_of([f"v{g}$_${i}" for g, size in enumerate(sizes) for i in range(size)])


def sizes_of(corpus):
    return {name: len(split) for name, split in corpus.splits.items()}


def test_groups_come_from_the_file_or_the_ids():
    assert groups_of(corpus_of(["a$_$1", "a_b$_$2", "c[3]"]).splits["train"]) == ("a", "a_b", "c")
    assert groups_of(corpus_of(["x", "y"]).splits["train"]) == ("x", "y")
    assert groups_of(corpus_of(["a$_$1"], groups=("speaker",)).splits["train"]) == ("speaker",)


def test_merging_keeps_samples_in_order():
    corpus = make_corpus({"train": 5, "test": 3}, groups=2)
    whole = merged(corpus)
    assert len(whole) == 8
    assert same_split(whole.select(range(5)), corpus.splits["train"])
    assert same_ragged(
        whole.sequences["audio"].select([5, 6, 7]), corpus.splits["test"].sequences["audio"]
    )


def test_merging_drops_what_one_split_lacks():
    corpus = make_corpus({"train": 2, "test": 2})
    bare = corpus.splits["test"]
    bare = Split(bare.ids, bare.sequences, bare.labels)
    whole = merged(Corpus("mmsa", "x", {"train": corpus.splits["train"], "test": bare}, ("a", "b")))
    assert (whole.raw_text, whole.token_ids) == (None, None)


@given(
    sizes=st.lists(st.integers(1, 12), min_size=3, max_size=25),
    seed=st.integers(0, 5),
    shares=st.sampled_from([SHARES, (0.8, 0.1, 0.1), (1 / 3, 1 / 3, 1 / 3), (0.5, 0.5, 0.0)]),
)
def test_groups_stay_whole_and_every_sample_is_in_one_split(sizes, seed, shares):
    corpus = corpus_of_sizes(sizes)
    split = split_by_group(corpus, shares, seed)
    groups = [set(groups_of(part)) for part in split.splits.values()]
    assert all(groups)
    assert sum(map(len, groups)) == len(set.union(*groups)) == len(sizes)
    labels = np.concatenate([part.labels[:, 0] for part in split.splits.values()])
    assert sorted(labels) == list(range(sum(sizes)))
    assert set(split.splits) == {
        n for n, s in zip(("train", "valid", "test"), shares, strict=True) if s
    }
    again = split_by_group(corpus, shares, seed)
    assert all(part.ids == again.splits[name].ids for name, part in split.splits.items())


def test_shares_are_met_exactly_where_groups_allow():
    assert sizes_of(split_by_group(corpus_of_sizes([1] * 100), SHARES, 0)) == {
        "train": 70,
        "valid": 10,
        "test": 20,
    }
    sizes = [7, 3, 5, 9, 2, 8, 6, 4, 1, 5, 9, 1, 20, 13, 7]  # 100 samples in all
    for seed in range(20):
        found = sizes_of(split_by_group(corpus_of_sizes(sizes), SHARES, seed))
        assert found == {"train": 70, "valid": 10, "test": 20}


def test_seeds_differ_and_large_groups_leave_no_split_empty():
    corpus = corpus_of_sizes([3] * 40)
    tests = {split_by_group(corpus, SHARES, seed).splits["test"].ids for seed in range(10)}
    assert len(tests) == 10
    assert sizes_of(split_by_group(corpus_of_sizes([100, 1, 1]), SHARES, 0)) == {
        "train": 100,
        "valid": 1,
        "test": 1,
    }
    with pytest.raises(DataError, match=r"2 groups .* cannot make 3 splits"):
        split_by_group(corpus_of_sizes([5, 5]), SHARES, 0)


def write(tmp_path, content):
    path = tmp_path / "folds.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_list_may_name_samples_and_groups(tmp_path):
    corpus = corpus_of(["a$_$0", "a$_$1", "b$_$0", "c$_$0"])
    path = write(tmp_path, {"test": ["a$_$1"], "valid": ["b"], "train": ["c", "a$_$0"]})
    split = split_by_file(corpus, path)
    assert {name: part.ids for name, part in split.splits.items()} == {
        "train": ("a$_$0", "c$_$0"),  # in the order of the file of data
        "valid": ("b$_$0",),
        "test": ("a$_$1",),
    }
    assert split.repairs == {}


def test_samples_in_no_list_are_counted_and_numbers_are_names(tmp_path):
    corpus = corpus_of(["1", "2", "3"])
    split = split_by_file(corpus, write(tmp_path, {"train": [1], "valid": ["3"]}))
    assert sizes_of(split) == {"train": 1, "valid": 1}
    assert split.repairs == {"samples not in folds.json, left out": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"train": ["a", "z9"]}, r"1 names are neither ids nor groups of file: \['z9'\]"),
        ({"train": ["a"], "test": ["a$_$1"]}, "1 samples are listed more than once"),
        ({"train": ["a$_$0", "a$_$0"]}, "listed more than once"),
        ({"train": ["a"], "dev": ["b"]}, r"expected .*, got \['dev', 'train'\]"),
        ({}, "expected .* got"),
        (["a"], "got list"),
        ({"train": "a"}, "'train' is not a list"),
        ("{train", "it is not JSON"),
    ],
)
def test_a_wrong_list_is_one_message(tmp_path, content, message):
    corpus = corpus_of(["a$_$0", "a$_$1", "b$_$0"])
    path = write(tmp_path, content)
    with pytest.raises(DataError, match=message) as caught:
        split_by_file(corpus, path)
    assert str(path) in str(caught.value)


def test_a_missing_list_is_a_missing_file(tmp_path):
    with pytest.raises(MissingFileError, match="split_file"):
        split_by_file(corpus_of(["a"]), tmp_path / "none.json")


def test_a_corpus_without_a_valid_split_says_what_to_do():
    corpus = make_corpus({"train": 3, "test": 2})
    require_splits(corpus, ("train", "test"))
    with pytest.raises(DataError, match=r"no valid split.*split_file.*split_by_group") as caught:
        require_splits(corpus)
    assert "{'train': 3, 'test': 2}" in str(caught.value)
