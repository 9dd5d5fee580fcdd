"""Recognising layouts from content, repairing, splitting; one message for what cannot be used."""

from __future__ import annotations

import pickle
import types
import warnings

import h5py
import numpy as np
import pytest
from generated import make_corpus

from mimrl.datasets import catalogue, hdf5
from mimrl.datasets.catalogue import LAYOUTS, open_corpus, read_corpus
from mimrl.datasets.paths import resolve_path
from mimrl.errors import DataError, DataWarning, MissingFileError, UnsafePickleError
from mimrl.settings import DataSettings, PlantedSettings

REAL = {
    "mosi/mosi_utterance_mmsa.pkl": ("mmsa", {"train": 1221, "valid": 226, "test": 752}),
    "mosi/mosi_official_text_audio_mmsa.pkl": ("mmsa", {"train": 1284, "valid": 229, "test": 686}),
    "sarcasm/sarcasm_clips_multibench.pkl": ("multibench", {"train": 90, "valid": 22, "test": 22}),
    "mfn/pom": ("mfn", {"train": 600, "valid": 100, "test": 203}),
    "mosi_misa/dev.pkl": ("words", {"valid": 229}),
    "csd/CMU_MOSI_Opinion_Labels.csd": ("csd", {"train": 2199}),
}


def mmsa_content(splits=("train", "valid", "test"), audio=1.0):
    """A pickle in MMSA's layout, two samples a split."""
    table = {
        "raw_text": np.array(["good", "bad"], dtype=object),
        "audio": np.full((2, 1, 3), audio, np.float32),
        "regression_labels": np.array([1.0, -1.0], np.float32),
    }
    return {split: {**table, "id": [f"{split}$_$0", f"{split}$_$1"]} for split in splits}


def write(path, content):
    path.write_bytes(pickle.dumps(content))
    return path


def settings(path, **more):
    return DataSettings(path=str(path), **more)


@pytest.mark.parametrize("name", REAL)
def test_real_files_are_recognised(data_root, name):
    layout, sizes = REAL[name]
    corpus = open_corpus(settings(data_root / name), require=())
    assert (corpus.layout, {n: len(s) for n, s in corpus.splits.items()}) == (layout, sizes)
    named = open_corpus(settings(data_root / name, layout=layout), require=())
    assert {n: s.ids for n, s in named.splits.items()} == {
        n: s.ids for n, s in corpus.splits.items()
    }


def test_real_misa_file_splits_by_video(data_root):
    data = settings(data_root / "mosi_misa/dev.pkl", split_by_group=(0.6, 0.2, 0.2))
    corpus = open_corpus(data)
    videos = [set(split.groups) for split in corpus.splits.values()]
    assert len(set.union(*videos)) == sum(map(len, videos)) == 10


def test_each_layout_is_named_once_and_knows_its_name():
    tables = {**catalogue.PICKLE_LAYOUTS, **catalogue.PATH_LAYOUTS}
    assert {name: module.LAYOUT for name, module in tables.items()} == {n: n for n in tables}
    known = DataSettings.model_fields["layout"].annotation.__args__
    assert sorted(LAYOUTS) == sorted(set(known) - {"auto"})


def test_planted_data_need_no_file():
    small = PlantedSettings(train_size=8, valid_size=4, test_size=4)
    data = DataSettings(planted=small, target="class")
    corpus = open_corpus(data)
    assert [len(split) for split in corpus.splits.values()] == [8, 4, 4]
    assert set(np.unique(corpus.splits["train"].labels)) <= {0.0, 1.0}


def test_non_finite_features_are_repaired_with_one_warning(tmp_path):
    path = write(tmp_path / "a.pkl", mmsa_content(audio=-np.inf))
    with pytest.warns(DataWarning) as caught:
        corpus = open_corpus(settings(path))
    assert [str(w.message) for w in caught] == [f"{path}: audio: -inf set to 0 (18)"]
    assert corpus.repairs == {"audio: -inf set to 0": 18}
    assert not corpus.splits["test"].sequences["audio"].values.any()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isinf(read_corpus(settings(path)).splits["test"].sequences["audio"].values).all()


def test_ids_that_splits_share_are_a_warning(tmp_path):
    content = mmsa_content()
    content["test"] = content["train"]
    with pytest.warns(DataWarning, match=r"ids in both train, test \(2\)"):
        open_corpus(settings(write(tmp_path / "a.pkl", content)))


def test_no_valid_split_is_one_message_unless_splits_are_not_needed(tmp_path):
    path = write(tmp_path / "a.pkl", mmsa_content(splits=("train", "test")))
    with pytest.raises(DataError, match=r"no valid split.*data\.split_file"):
        open_corpus(settings(path))
    assert set(open_corpus(settings(path), require=()).splits) == {"train", "test"}
    with pytest.raises(DataError, match="2 groups"):
        open_corpus(settings(path, split_by_group=(0.5, 0.25, 0.25)))


@pytest.mark.parametrize("key", ["split_file", "label_file", "embeddings"])
def test_a_missing_file_is_named_with_its_key(tmp_path, monkeypatch, key):
    monkeypatch.chdir(tmp_path)
    table = {"audio": np.ones((2, 3, 1)), "labels": np.ones(2), "id": [["a_1", ""], ["a_2", ""]]}
    rows = [((["so"], np.ones((1, 2)), np.ones((1, 2))), np.ones((1, 1)), "a[0]")]
    content = rows if key == "embeddings" else {"train": table}
    path = write(tmp_path / "train.pkl", content)
    with pytest.raises(MissingFileError, match=rf"^data\.{key} gone\.x does not exist; looked for"):
        open_corpus(settings(path, **{key: "gone.x"}), require=())


def test_unknown_content_is_described(tmp_path):
    path = write(tmp_path / "a.pkl", {"weights": np.zeros((2, 3)), "notes": {"by": "me"}})
    with pytest.raises(DataError) as caught:
        open_corpus(settings(path))
    message = str(caught.value)
    for part in (str(path), "'weights': an array of shape (2, 3)", "'by'", *LAYOUTS[1:]):
        assert part in message
    with pytest.raises(DataError, match="a list of 1, the first item being int 3"):
        open_corpus(settings(write(path, [3])))
    with pytest.raises(DataError, match="got int 3"):
        open_corpus(settings(write(path, 3)))
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["d1"] = np.zeros(2)
    with pytest.raises(DataError, match=r"an HDF5 file with d1 \(array\)"):
        open_corpus(settings(tmp_path / "b.h5"))
    with pytest.raises(DataError, match=r"a folder with a\.pkl, b\.h5"):
        open_corpus(settings(tmp_path))


def test_a_named_layout_must_fit(tmp_path):
    path = write(tmp_path / "a.pkl", mmsa_content())
    with pytest.raises(DataError, match=r"expected the layout 'multibench'.* it looks like mmsa"):
        open_corpus(settings(path, layout="multibench"))
    stored = tmp_path / "a.h5"
    hdf5.write(make_corpus({"train": 2}), stored)
    with pytest.raises(DataError, match=r"expected the layout 'mmsa'.* it looks like hdf5"):
        open_corpus(settings(stored, layout="mmsa"))
    with pytest.raises(DataError, match="not HDF5"):
        open_corpus(settings(path, layout="csd"))


def test_two_layouts_that_fit_are_both_named(tmp_path, monkeypatch):
    everything = types.SimpleNamespace(LAYOUT="x", matches=lambda content: True)
    monkeypatch.setattr(
        catalogue, "PICKLE_LAYOUTS", {**catalogue.PICKLE_LAYOUTS, "words": everything}
    )
    path = write(tmp_path / "a.pkl", mmsa_content())
    with pytest.raises(DataError, match="fits the layouts mmsa and words; say which"):
        open_corpus(settings(path))
    assert open_corpus(settings(path, layout="mmsa")).layout == "mmsa"


class Harmful:
    def __reduce__(self):
        return print, ("run",)


def test_damaged_and_unsafe_files_are_one_message(tmp_path, capsys):
    path = write(tmp_path / "a.pkl", {"train": Harmful()})
    with pytest.raises(UnsafePickleError, match="print"):
        open_corpus(settings(path))
    assert capsys.readouterr().out == ""
    path.write_bytes(pickle.dumps(mmsa_content())[:-40])
    with pytest.raises(DataError, match="truncated"):
        open_corpus(settings(path))
    stored = tmp_path / "a.h5"
    hdf5.write(make_corpus({"train": 9}), stored)
    stored.write_bytes(stored.read_bytes()[:-9])
    with pytest.raises(DataError, match="truncated"):
        open_corpus(settings(stored))


def test_splits_must_agree_in_modalities_and_widths(tmp_path):
    content = mmsa_content()
    content["test"] = {**content["test"], "audio": np.zeros((2, 1, 4), np.float32)}
    with pytest.raises(DataError, match="audio"):
        open_corpus(settings(write(tmp_path / "a.pkl", content)))
    corpus = make_corpus({"train": 5, "test": 5})
    other = corpus.splits["test"]
    for sequences in ({"text": other.sequences["audio"], "audio": other.sequences["audio"]}, {}):
        splits = {
            "train": corpus.splits["train"],
            "test": type(other)(other.ids, sequences, other.labels),
        }
        bad = type(corpus)("csd", "file", splits, ("one", "two"))
        with pytest.raises(DataError, match=r"different number of features|same modalities"):
            catalogue._check_modalities(bad)


def test_paths_are_looked_for_in_three_places(tmp_path, monkeypatch):
    here, root = tmp_path / "here", tmp_path / "root"
    for folder in (here, here / "data", root):
        folder.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.delenv("MIMRL_DATA_ROOT", raising=False)
    with pytest.raises(MissingFileError, match=r"looked for x\.pkl, data/x\.pkl; MIMRL_DATA_ROOT"):
        resolve_path("x.pkl")
    found = []
    for folder in (here / "data", root, here):  # each goes before the one before
        monkeypatch.setenv("MIMRL_DATA_ROOT", str(root))
        (folder / "x.pkl").touch()
        found.append(resolve_path("x.pkl").resolve())
    assert found == [here / "data/x.pkl", root / "x.pkl", here / "x.pkl"]
    (tmp_path / "x.pkl").touch()
    assert resolve_path("x.pkl", within=tmp_path) == tmp_path / "x.pkl"
    with pytest.raises(MissingFileError):
        resolve_path(tmp_path / "nothing")


def test_option_that_the_recognised_layout_does_not_read_is_refused(data_root):
    settings = DataSettings(
        path=str(data_root / "sarcasm" / "sarcasm_clips_multibench.pkl"),
        embeddings=str(data_root / "mosi_misa" / "glove300_vocab.npz"),
    )
    with pytest.raises(DataError, match=r"multibench.*data\.embeddings"):
        open_corpus(settings)
