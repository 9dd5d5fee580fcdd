"""Batches made ahead by processes or a thread: the same ones, in the same order, same errors."""

import multiprocessing
import os
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from generated import make_corpus

from mimrl.datasets import hdf5, scaling
from mimrl.datasets.ahead import by_processes, by_thread
from mimrl.datasets.batches import Batch, collate
from mimrl.datasets.loading import iterate
from mimrl.datasets.samples import Samples
from mimrl.errors import ConfigError, DataError
from mimrl.settings import DataSettings


def make_samples(folder: Path, stored: bool) -> Samples:
    """40 samples, in memory or in a file, with a scaler and missing modalities."""
    corpus = make_corpus({"train": 40})
    if stored:
        hdf5.write(corpus, folder / "made.h5")
        corpus = hdf5.read(folder / "made.h5", DataSettings())
    split = corpus.splits["train"]
    return Samples(
        ids=split.ids,
        inputs={**split.sequences, "tokens": split.token_ids},
        scalers={"audio": scaling.fit(split.sequences["audio"], "standard", clip=2.0)},
        labels=split.labels[:, 0],
    )


def same(one: Batch, other: Batch) -> bool:
    """Whether two batches are equal in everything, types included."""
    pairs = [(one.rows, other.rows), (one.labels, other.labels)]
    pairs += [(one.inputs[name], other.inputs[name]) for name in one.inputs]
    pairs += [(one.lengths[name], other.lengths[name]) for name in one.lengths]
    if one.global_rows is not None or other.global_rows is not None:
        pairs.append((one.global_rows, other.global_rows))
    return list(one.inputs) == list(other.inputs) and all(
        a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs
    )


def passes(samples: Samples, **how) -> list[list[Batch]]:
    """Two shuffled passes and one in order of length, from one generator."""
    generator = torch.Generator().manual_seed(3)
    return [list(iterate(samples, 6, generator=g, **how)) for g in (generator, generator, None)]


@pytest.mark.parametrize("share", [None, (1, 3)])
@pytest.mark.parametrize("stored", [False, True])
def test_batches_do_not_depend_on_who_makes_them(stored: bool, share, tmp_path: Path) -> None:
    in_memory = passes(make_samples(tmp_path, stored=False), share=share)
    data = make_samples(tmp_path, stored)
    for workers in (0, 1, 2) if stored else (2,):
        found = passes(data, workers=workers, share=share)
        for expected, batches in zip(in_memory, found, strict=True):
            assert all(map(same, expected, batches))
            assert len(expected) == len(batches)


def test_a_file_that_this_process_has_open_is_opened_anew_in_each_worker(tmp_path: Path) -> None:
    data = make_samples(tmp_path, stored=True)
    here = list(iterate(data, 6))
    file = data.inputs["audio"].values.file
    handle = file._file
    assert handle is not None
    for _ in range(2):
        assert all(map(same, here, iterate(data, 6, workers=2)))
    assert file._file is handle


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_arrives_as_it_was_raised(workers: int, tmp_path: Path) -> None:
    data = make_samples(tmp_path, stored=True)
    data = pickle.loads(pickle.dumps(data))  # a copy that has not opened the file
    os.utime(tmp_path / "made.h5", (1, 1))
    with pytest.raises(DataError) as found:
        list(iterate(data, 6, workers=workers))
    assert str(found.value).startswith(f"{tmp_path / 'made.h5'} changed while it was in use")
    assert "Traceback" not in str(found.value)


def test_other_errors_keep_their_type(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        list(by_processes(divide, [np.array([0])], 1, pin=False))


def divide(rows: np.ndarray) -> Batch:
    """A maker with a mistake in it."""
    return Batch(torch.zeros(1 // int(rows[0])), {}, {}, torch.zeros(0))


def test_a_worker_that_dies_is_told_with_the_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"performance.loader_workers=1: .* set fewer workers"):
        list(by_processes(die, [np.array([0])] * 3, 1, pin=False))


def die(rows: np.ndarray) -> Batch:
    """What a worker does when its memory is taken away."""
    os._exit(1)


def test_nothing_stays_behind_when_a_pass_ends_early(tmp_path: Path) -> None:
    data = make_samples(tmp_path, stored=True)
    for workers in (0, 2):
        batches = iterate(data, 6, workers=workers)
        next(batches)
        batches.close()
    for child in multiprocessing.active_children():  # ended, if perhaps not yet gone
        child.join(20)
    assert multiprocessing.active_children() == []
    assert [t.name for t in threading.enumerate() if t.name.startswith("batches")] == []


def test_the_thread_is_one_batch_ahead_and_no_more(tmp_path: Path) -> None:
    data, made = make_samples(tmp_path, stored=False), []

    def make(rows: np.ndarray) -> Batch:
        made.append(int(rows[0]))
        return collate(data, rows)

    batches = by_thread(make, [np.array([k]) for k in range(5)])
    for k in range(5):
        assert next(batches).rows.tolist() == [k]
        assert len(made) <= k + 2
    assert made == list(range(5))
    assert list(by_thread(make, [])) == []
    assert list(by_processes(make, [], 2, pin=False)) == []


def test_samples_and_batches_pickle_for_systems_that_do_not_fork(tmp_path: Path) -> None:
    for stored in (False, True):
        data = make_samples(tmp_path, stored)
        again = pickle.loads(pickle.dumps(data))
        assert again.ids == data.ids
        assert not isinstance(again.inputs["audio"].values, np.ndarray) or not stored
        batch = next(iterate(data, 6, share=(0, 2)))
        assert same(batch, pickle.loads(pickle.dumps(batch)))
        assert same(batch, next(iterate(again, 6, share=(0, 2))))


def test_pinning_has_no_effect_without_a_gpu(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    data = make_samples(tmp_path, stored=False)
    for workers in (0, 1):
        batches = list(iterate(data, 6, pin=True, workers=workers))
        assert all(map(same, iterate(data, 6), batches))
        assert not any(batch.labels.is_pinned() for batch in batches)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="pinned memory needs a GPU")
def test_pinned_batches_are_pinned_where_they_are_copied_from(tmp_path: Path) -> None:
    data = make_samples(tmp_path, stored=True)
    for workers in (0, 2):
        pinned = iterate(data, 6, pin=True, workers=workers)
        for batch, plain in zip(pinned, iterate(data, 6), strict=True):
            assert same(plain, batch)
            assert batch.rows.is_pinned()
            assert batch.labels.is_pinned()
            assert all(values.is_pinned() for values in batch.inputs.values())
            assert not any(values.is_pinned() for values in batch.lengths.values())
