"""Our own file: what is written is read back, lazily, in any process; damage is one message."""

from __future__ import annotations

import multiprocessing
import pickle
import shutil

import h5py
import numpy as np
import pytest
from generated import make_corpus, make_split, same_ragged, same_split

from mimrl.datasets import hdf5, rows
from mimrl.datasets.features import Corpus, Ragged, Split
from mimrl.datasets.rows import Piece, PieceRows
from mimrl.datasets.stored import StoredRows, is_hdf5
from mimrl.errors import DataError, MissingFileError, ShapeError
from mimrl.settings import DataSettings

SETTINGS = DataSettings(path="x.h5")


@pytest.fixture
def stored(tmp_path):
    corpus = make_corpus({"train": 40, "valid": 7, "test": 1}, groups=5)
    path = tmp_path / "made.h5"
    hdf5.write(corpus, path)
    return corpus, path


def test_reading_gives_back_what_was_written(stored):
    corpus, path = stored
    back = hdf5.read(path, SETTINGS)
    assert (back.layout, back.source) == ("hdf5", str(path))
    assert hdf5.origin(path) == hdf5.Origin("mmsa", "made.pkl")
    assert (back.label_names, back.repairs) == (corpus.label_names, corpus.repairs)
    assert (back.modalities, back.widths) == (corpus.modalities, corpus.widths)
    assert list(back.splits) == ["train", "valid", "test"]
    assert all(same_split(split, back.splits[name]) for name, split in corpus.splits.items())


def test_optional_fields_and_empty_sequences(tmp_path):
    split = Split(
        ids=("a", "b"),
        sequences={"audio": Ragged.from_list([np.zeros((0, 4))] * 2, width=4)},
        labels=np.zeros((2, 1), np.float32),
    )
    path = tmp_path / "bare.h5"
    hdf5.write(Corpus("mfn", "folder", {"test": split}), path)
    back = hdf5.read(path, SETTINGS).splits["test"]
    assert (back.raw_text, back.token_ids, back.groups) == (None, None, None)
    assert back.sequences["audio"].width == 4
    assert back.sequences["audio"].lengths.tolist() == [0, 0]


def test_features_stay_on_disk_through_selection_and_joining(stored):
    corpus, path = stored
    train = hdf5.read(path, SETTINGS).splits["train"].sequences["audio"]
    assert isinstance(train.values, StoredRows)
    chosen = train.select([3, 3, 0, -1])
    assert isinstance(chosen.values, PieceRows)
    again = Ragged.join([chosen.select([2, 0]), train])
    assert isinstance(again.values, PieceRows)
    original = corpus.splits["train"].sequences["audio"]
    expected = Ragged.join([original.select([0, 3]), original])
    assert isinstance(expected.values, np.ndarray)
    assert same_ragged(again, expected)
    np.testing.assert_array_equal(again.values[1:9], expected.values[1:9])


def test_selection_checks_rows_and_shapes():
    ragged = make_split("x", 3).sequences["audio"]
    with pytest.raises(IndexError):
        ragged.select([3])
    tokens = Ragged.from_list([[1, 2], [3]])
    assert tokens.select([]).values.dtype == np.int64
    with pytest.raises(ShapeError, match="share one row shape"):
        Ragged.join([ragged, make_split("x", 3).sequences["text"]])
    with pytest.raises(ShapeError, match="step 1"):
        PieceRows([Piece(ragged.values, 0, 2)])[::2]


def _sums(ragged, rows, answers):
    answers.put([float(np.sum(ragged[i])) for i in rows])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_another_process_reads_too(stored, method):
    corpus, path = stored
    ragged = hdf5.read(path, SETTINGS).splits["train"].sequences["audio"]
    assert ragged[1].shape[1] == 3  # opened here before the fork
    context = multiprocessing.get_context(method)
    answers = context.Queue()
    process = context.Process(target=_sums, args=(ragged, range(40), answers))
    process.start()
    found = answers.get(timeout=60)
    process.join()
    original = corpus.splits["train"].sequences["audio"]
    np.testing.assert_allclose(found, [float(np.sum(s)) for s in original], rtol=1e-6)


def test_a_pickled_ragged_reopens_and_a_replaced_file_is_refused(stored):
    corpus, path = stored
    ragged = hdf5.read(path, SETTINGS).splits["train"].sequences["audio"]
    data = pickle.dumps(ragged)
    assert len(data) < 2000  # a path, not the features
    assert same_ragged(pickle.loads(data), corpus.splits["train"].sequences["audio"])
    hdf5.write(make_corpus({"train": 3}), path)
    with pytest.raises(DataError, match="changed while it was in use"):
        pickle.loads(data)[0]


def test_non_finite_features_are_written_as_zero_and_marked_clean(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "BLOCK_VALUES", 2)  # several blocks
    values = np.array([[1.0, np.nan], [-np.inf, 2.0], [3.0, 4.0]], np.float32)
    split = Split(
        ids=("a", "b"),
        sequences={"audio": Ragged(values, np.array([0, 1, 3]))},
        labels=np.zeros((2, 1), np.float32),
    )
    hdf5.write(Corpus("csd", "x", {"train": split}), tmp_path / "a.h5")
    back = hdf5.read(tmp_path / "a.h5", SETTINGS).splits["train"].sequences["audio"]
    assert back.values.clean
    np.testing.assert_array_equal(back.values[0:3], [[1, 0], [0, 2], [3, 4]])


def test_a_file_that_only_says_it_is_clean_is_refused_where_it_is_not(stored):
    """Somebody wrote into it: nothing counts its values any more, so NaN would be trained on."""
    _, path = stored
    with h5py.File(path, "r+") as file:
        values = file["splits/train/sequences/audio/values"]
        middle = len(values) // 2
        values[middle, 0] = np.inf
    audio = hdf5.read(path, SETTINGS).splits["train"].sequences["audio"]
    assert np.isfinite(audio.values[:middle]).all()
    assert np.isfinite(audio.values[middle + 1 :]).all()
    message = f"made.h5: expected finite values in .*/train/.*audio.* infinity in row {middle}; "
    for start in (0, middle - 2, middle):
        with pytest.raises(DataError, match=message):
            audio.values[start : middle + 3]


def test_a_truncated_file_is_one_message(stored, tmp_path):
    content = stored[1].read_bytes()
    broken = tmp_path / "broken.h5"
    for size in (9, 100, len(content) // 2, len(content) - 1):
        broken.write_bytes(content[:size])
        assert is_hdf5(broken)
        for function in (hdf5.matches, hdf5.origin, lambda path: hdf5.read(path, SETTINGS)):
            with pytest.raises(DataError, match="truncated, damaged") as caught:
                function(broken)
            assert str(broken) in str(caught.value)


def test_flipped_bits_are_found_by_the_checksum(stored):
    _, path = stored
    with h5py.File(path) as file:
        dataset = file["splits/train/sequences/text/values"]
        place = dataset.id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[place + 3] ^= 1
    path.write_bytes(content)
    ragged = hdf5.read(path, SETTINGS).splits["train"].sequences["text"]
    with pytest.raises(DataError, match="damaged"):
        list(ragged)


def test_another_version_is_refused_saying_what_to_do(stored):
    _, path = stored
    with h5py.File(path, "a") as file:
        file.attrs["format_version"] = 99
    assert hdf5.matches(path)
    with pytest.raises(DataError, match=r"expected format version 1, got 99; convert"):
        hdf5.read(path, SETTINGS)


@pytest.mark.parametrize("gone", ["labels", "ids", "sequences/audio/offsets", "sequences/text"])
def test_missing_parts_are_named(stored, gone):
    _, path = stored
    with h5py.File(path, "a") as file:
        del file[f"splits/valid/{gone}"]
    with pytest.raises(DataError, match="not as written") as caught:
        hdf5.read(path, SETTINGS)
    assert gone.split("/")[-1] in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("sequences/audio/values", None),
        ("sequences/audio/values", 3.0),
        ("sequences/audio/offsets", 3),
        ("ids", None),
        ("labels", 1.0),
        ("", np.arange(3)),
    ],
)
def test_parts_of_another_kind_are_one_message(stored, name, content):
    """A group (None), a single number or an array in the place of something else."""
    _, path = stored
    place = f"splits/valid/{name}".rstrip("/")
    with h5py.File(path, "a") as file:
        del file[place]
        if content is None:
            file.create_group(place)
        else:
            file[place] = content
    with pytest.raises(DataError, match=r"not as written \(.*convert the original again"):
        hdf5.read(path, SETTINGS)


def test_other_files_are_neither_matched_nor_overwritten(tmp_path):
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["d1"] = np.zeros(3)
    text = tmp_path / "text.csv"
    text.write_text("a,b")
    corpus = make_corpus({"train": 2})
    for path in (other, text):
        before = path.read_bytes()
        assert not hdf5.matches(path)
        with pytest.raises(DataError, match="exists and is not"):
            hdf5.write(corpus, path)
        assert path.read_bytes() == before
    with pytest.raises(DataError, match="expected a mimrl-corpus file"):
        hdf5.read(other, SETTINGS)
    with pytest.raises(MissingFileError):
        hdf5.read(tmp_path / "none.h5", SETTINGS)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(stored, monkeypatch):
    _, path = stored
    before = path.read_bytes()

    def fail(values):
        yield slice(0, 1), values[0:1]
        raise OSError("no space left on device")

    monkeypatch.setattr(hdf5, "row_blocks", fail)
    with pytest.raises(DataError, match=r"could not be written .no space left"):
        hdf5.write(make_corpus({"train": 9}), path)
    assert path.read_bytes() == before
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_a_file_without_space_is_not_begun(stored, monkeypatch):
    _, path = stored
    before = path.read_bytes()
    usage = shutil.disk_usage(path.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=10))
    with pytest.raises(DataError, match=r"GB are needed, 0.00 GB are free"):
        hdf5.write(make_corpus({"train": 9}), path)
    assert path.read_bytes() == before
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_a_name_with_a_nul_cannot_be_written(tmp_path):
    split = make_split("x", 1)
    corpus = Corpus("mmsa", "x", {"train": Split(("a\0b",), {}, split.labels)}, ("a", "b"))
    with pytest.raises(DataError, match="could not be written"):
        hdf5.write(corpus, tmp_path / "x.h5")
    assert not list(tmp_path.iterdir())
