"""Feature files of other programs: what is in them comes out; what is wrong is one message."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import torch

from lsmi.files import read_features, write_features, write_tensors
from lsmi.samples import NamedFeatures
from mimrl.errors import (
    ConfigError,
    DataError,
    MimrlError,
    MissingFileError,
    NonFiniteError,
    UnsafePickleError,
)

SIZES = {"train": 6, "val": 4, "test": 3}


def arrays(splits=("train", "val"), **changes):
    """The keys of the published layout; a change of None takes a key out."""
    generator = np.random.default_rng(0)
    content = {}
    for name in splits:
        n = SIZES[name]
        content[f"{name}_modal_1_features"] = generator.normal(size=(n, 3)).astype("f4")
        content[f"{name}_modal_2_features"] = generator.normal(size=(n, 2)).astype("f4")
        content[f"{name}_targets"] = generator.integers(0, 2, n)
    return {key: value for key, value in {**content, **changes}.items() if value is not None}


def pt(path, content):
    torch.save({k: torch.as_tensor(v) for k, v in content.items()}, path)
    return path


def npz(path, content):
    np.savez(path, **content)
    return path


KINDS = pytest.mark.parametrize(("write", "name"), [(pt, "f.pt"), (npz, "f.npz")])


@KINDS
@pytest.mark.parametrize("splits", [("train", "val"), ("train",), ("train", "val", "test")])
def test_both_layouts_give_what_went_in(tmp_path, write, name, splits):
    content = arrays(splits)
    found = read_features(write(tmp_path / name, content))
    assert list(found) == [{"val": "valid"}.get(split, split) for split in splits]
    for theirs, split in zip(splits, found.values(), strict=True):
        for modality in ("modal_1", "modal_2"):
            values = split.features[modality]
            np.testing.assert_array_equal(values, content[f"{theirs}_{modality}_features"])
            assert values.dtype == np.float32
        np.testing.assert_array_equal(split.labels, content[f"{theirs}_targets"])
        assert split.labels.dtype == np.int64
        assert split.ids is None
        assert split.groups is None


@KINDS
def test_labels_and_names_of_all_kinds(tmp_path, write, name):
    targets = np.array([[0.0], [1.0], [2.0], [0.0], [1.0], [5.0]])
    found = read_features(write(tmp_path / name, arrays(train_targets=targets)))
    assert found["train"].labels.tolist() == [0, 1, 2, 0, 1, 5]
    signs = read_features(write(tmp_path / name, arrays(train_targets=targets[:, 0] > 0)))
    assert signs["train"].labels.tolist() == [0, 1, 1, 0, 1, 1]
    numbers = arrays(train_ids=np.arange(6), other=np.zeros(2), test_size=np.ones(1))
    assert read_features(write(tmp_path / name, numbers))["train"].ids == tuple("012345")


def test_other_tensor_types(tmp_path):
    content = {k: torch.as_tensor(v) for k, v in arrays().items()}
    x = torch.arange(18).reshape(6, 3)
    content["train_modal_1_features"] = x.to(torch.bfloat16).requires_grad_()
    content["val_modal_1_features"] = x[:4]
    torch.save(content, tmp_path / "f.pt")
    found = read_features(tmp_path / "f.pt")
    np.testing.assert_array_equal(found["train"].features["modal_1"], x)
    assert found["valid"].features["modal_1"].dtype == np.float64


def test_what_is_written_is_read_again_and_has_the_published_form(tmp_path):
    generator = np.random.default_rng(1)
    splits = {
        name: NamedFeatures(
            {"text": generator.normal(size=(n, 3)), "audio": generator.normal(size=(n, 2))},
            generator.integers(0, 3, n).astype(np.int32),
            ids=[f"v{i}" for i in range(n)],
            groups=[f"g{i // 2}" for i in range(n)],
        )
        for name, n in (("train", 6), ("valid", 4))
    }
    path = tmp_path / "new" / "f.pt"
    write_features(path, splits, ("audio", "text"))
    raw = torch.load(path, weights_only=True)
    assert raw["val_targets"].dtype == torch.int64
    assert raw["val_targets"].shape == (4,)
    assert raw["train_modal_1_features"].shape == (6, 2)
    found = read_features(path)
    for name, split in splits.items():
        np.testing.assert_array_equal(found[name].features["modal_1"], split.features["audio"])
        np.testing.assert_array_equal(found[name].features["modal_2"], split.features["text"])
        np.testing.assert_array_equal(found[name].labels, split.labels)
        assert list(found[name].ids) == split.ids
        assert list(found[name].groups) == split.groups
    assert [p.name for p in path.parent.iterdir()] == ["f.pt"]
    with pytest.raises(ConfigError, match=r"\['fused', 'text'\] of train.*\['text', 'audio'\]"):
        write_features(path, splits, ("fused", "text"))
    with pytest.raises(ConfigError, match=r"dev.*no place"):
        write_features(path, {"dev": splits["train"]})


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "f.pt"
    write_tensors(path, {"a": torch.zeros(2)})

    def half(content, file):
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(ConfigError, match="no space left"):
        write_tensors(path, {"a": torch.ones(2)})
    assert torch.load(path, weights_only=True)["a"].tolist() == [0, 0]
    assert [p.name for p in tmp_path.iterdir()] == ["f.pt"]


@KINDS
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"val_targets": None}, DataError, "lacks val_targets"),
        ({"train_modal_2_features": np.ones((5, 2))}, DataError, r"train_modal_2_features': 5"),
        ({"train_targets": np.ones(7)}, DataError, "'train_targets': 7"),
        ({"val_ids": np.arange(3)}, DataError, "'val_ids': 3"),
        ({"val_modal_1_features": np.ones((4, 9))}, DataError, "modal_1 .*'train': 3, 'valid': 9"),
        ({"train_modal_1_features": np.ones((6, 2, 3))}, DataError, r"shape \(6, 2, 3\)"),
        ({"train_modal_1_features": np.ones((6, 0))}, DataError, r"shape \(6, 0\)"),
        ({"train_targets": np.ones((6, 2))}, DataError, r"train_targets has shape \(6, 2\)"),
        (
            {"train_targets": np.array([0, 1, 0.5, 1, 0, 1])},
            DataError,
            "train_targets is 0.5 in row 2",
        ),
        ({"train_targets": np.array([0, np.nan, 0, 1, 0, 1])}, DataError, "nan in row 1"),
        (
            {
                "val_modal_1_features": np.array(
                    [[1, 2, 3], [1, np.nan, 2], [np.inf, 0, 0], [0] * 3]
                )
            },
            NonFiniteError,
            "val_modal_1_features has NaN .*in 2 of 4 rows, first in row 1",
        ),
        ({"train_modal_1_features": np.ones((6, 3), np.complex64)}, DataError, "complex64"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
)
def test_wrong_arrays(tmp_path, write, name, changes, error, message):
    path = write(tmp_path / name, arrays(**changes))
    with pytest.raises(error, match=message) as caught:
        read_features(path)
    assert str(path) in str(caught.value)


def test_content_that_is_another_layout(tmp_path):
    path = tmp_path / "f.pt"
    torch.save({"state_dict": {"w": torch.zeros(2)}, "epoch": 3}, path)
    with pytest.raises(DataError, match=r"train_modal_1_features.*got keys state_dict, epoch"):
        read_features(path)
    torch.save(torch.zeros(3), path)
    with pytest.raises(DataError, match=r"expected a dictionary.*got Tensor"):
        read_features(path)
    torch.save({}, path)
    with pytest.raises(DataError, match="got keys none"):
        read_features(path)
    pt(path, arrays(("val",)))
    with pytest.raises(DataError, match="got keys val_modal_1_features"):
        read_features(path)
    torch.save({**arrays(), "train_targets": "six"}, path, pickle_protocol=2)
    with pytest.raises(MimrlError):
        read_features(path)
    with pytest.raises(MissingFileError, match="does not exist"):
        read_features(tmp_path / "absent.pt")


class Runs:
    """A pickle that creates a file when it is read by ``pickle.load``."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("name", ["f.pt", "f.npz"])
def test_nothing_that_a_file_asks_for_is_run(tmp_path, name):
    trap = tmp_path / "trap"
    path = tmp_path / name
    if name == "f.pt":
        torch.save({**arrays(), "train_targets": Runs(trap)}, path)
    else:
        objects = np.empty(6, dtype=object)
        objects[:] = [Runs(trap)] * 6
        np.savez(path, **{**arrays(), "train_targets": objects})
    with pytest.raises(UnsafePickleError, match=r"because it (asks for|holds).*write_features"):
        read_features(path)
    for protocol in (2, 4):
        path.write_bytes(pickle.dumps({"train_targets": Runs(trap)}, protocol))
        with pytest.raises(DataError, match=r"refused|damaged"):
            read_features(path)
    assert not trap.exists()


@pytest.mark.parametrize("name", ["f.pt", "f.npz"])
@pytest.mark.parametrize("damage", ["empty", "text", "json", "half", "array"])
def test_damaged_files(tmp_path, name, damage):
    path = (pt if name == "f.pt" else npz)(tmp_path / name, arrays())
    whole = path.read_bytes()
    if damage == "array":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    else:
        content = {"empty": b"", "text": b"no tensors here\n", "half": whole[: len(whole) // 2]}
        path.write_bytes({**content, "json": json.dumps({"a": 1}).encode()}[damage])
    with pytest.raises(DataError, match="expected a") as caught:
        read_features(path)
    assert str(path) in str(caught.value)
