"""The features that the original code saves, read without running anything."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
import torch
from original.published import Form, build, inputs, save_run

from mimrl.errors import CheckpointError, DataError, MissingFileError, UnsafePickleError
from mimrl.original import is_feature_pickle, original_feature_pickles

FORM = Form()
RATINGS = np.linspace(-1, 1, 8)[:, None]  # as the original has them, (N, 1)


@pytest.fixture
def batches():
    model = build(FORM)
    with torch.no_grad():
        return [model(*inputs(FORM, seed=seed).values()) for seed in (1, 2)]


@pytest.fixture
def folder(tmp_path, batches):
    return save_run(tmp_path, batches, RATINGS)


def test_a_run_folder(folder, batches):
    assert is_feature_pickle(folder)
    found = original_feature_pickles(folder)
    assert list(found) == ["valid", "test", "test_by_test"]
    for split, scale in (("valid", 1), ("test", 3), ("test_by_test", 2)):
        saved = found[split]
        assert list(saved.named) == ["fused", "text", "audio", "video"]
        for name, values in saved.named.items():
            wanted = torch.cat([batch[name] for batch in batches]) * scale
            assert values.dtype == np.float64
            np.testing.assert_array_equal(values, wanted.double().numpy())
        wanted = torch.cat([batch["prediction"] for batch in batches]) * scale
        np.testing.assert_allclose(saved.predictions, wanted.numpy(), rtol=1e-7)
        np.testing.assert_array_equal(saved.labels, RATINGS[:, 0])


def test_one_file_and_what_lies_beside_it(folder):
    for name in ("targets_val.npy", "predictions_val.npy"):
        (folder / name).unlink()
    file = folder / "features_val.pkl"
    assert is_feature_pickle(file)
    assert not is_feature_pickle(folder / "targets_test.npy")
    found = original_feature_pickles(file)
    assert list(found) == ["valid"]
    assert found["valid"].labels is None
    assert found["valid"].predictions is None
    assert found["valid"].source == file


@pytest.mark.parametrize(
    ("targets", "dtype", "shape"),
    [
        (np.arange(8), np.int64, (8,)),
        (np.zeros((8, 18)), np.float64, (8, 18)),
        (np.zeros(8, dtype=np.float32), np.float64, (8,)),
    ],
)
def test_kinds_of_labels(targets, dtype, shape, tmp_path, batches):
    labels = original_feature_pickles(save_run(tmp_path, batches, targets))["valid"].labels
    assert labels.dtype == dtype
    assert labels.shape == shape


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_tensors_as_pickle_writes_them(protocol, tmp_path):
    """Views of one storage, other types, and arrays in the place of tensors."""
    whole = torch.arange(24.0).reshape(6, 4)
    rows = [whole[1:3], whole.T[:2, ::2], torch.ones(2, 3).half(), torch.ones(2, 1).double()]
    file = tmp_path / "features_val.pkl"
    for batch in (rows, [row.numpy() for row in rows]):
        file.write_bytes(pickle.dumps([batch], protocol))
        named = original_feature_pickles(file)["valid"].named
        for values, wanted in zip(named.values(), rows, strict=True):
            np.testing.assert_array_equal(values, wanted.double().numpy())


def test_a_name_that_would_run_something(tmp_path):
    class Command:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'mark'}",)

    class Load:
        """What torch itself calls, on bytes that are a pickle of a command."""

        def __reduce__(self):
            import io

            content = io.BytesIO()
            torch.save(Command(), content, _use_new_zipfile_serialization=False)
            return torch.storage._load_from_bytes, (content.getvalue(),)

    file = tmp_path / "features_val.pkl"
    tensor = torch.zeros(2, 2)
    for content, error in (
        ([[tensor, Command()]], UnsafePickleError),
        ([[Command()]], UnsafePickleError),
        ([[tensor, Load()]], DataError),
        ([[tensor, np.zeros(2)]], UnsafePickleError),  # neither plain tensors nor plain arrays
    ):
        file.write_bytes(pickle.dumps(content))
        with pytest.raises(error, match="features_val"):
            original_feature_pickles(file)
    assert not (tmp_path / "mark").exists()


def _tensor(*arguments):
    """A pickle that rebuilds a tensor of 4 values with other arguments."""

    class Forged:
        def __reduce__(self):
            storage = torch.storage.TypedStorage(
                wrap_storage=torch.zeros(4).untyped_storage(), dtype=torch.float32, _internal=True
            )
            return torch._utils._rebuild_tensor_v2, (storage, *arguments, False, {})

    return pickle.dumps([[Forged()]])


@pytest.mark.parametrize(
    "arguments", [(2, (2, 2), (2, 1)), (0, (9,), (0,)), (-1, (2,), (1,)), (0, (2,), ("a",))]
)
def test_tensors_beyond_their_storage(arguments, tmp_path):
    file = tmp_path / "features_val.pkl"
    file.write_bytes(_tensor(*arguments))
    with pytest.raises(DataError, match="truncated or damaged"):
        original_feature_pickles(file)


def test_damaged_files(folder):
    file = folder / "features_val.pkl"
    data = file.read_bytes()
    for size in (0, 5, len(data) // 2, len(data) - 1):
        file.write_bytes(data[:size])
        with pytest.raises(DataError, match=r"features_val\.pkl"):
            original_feature_pickles(file)
    (folder / "targets_test.npy").write_bytes(b"text")
    with pytest.raises(DataError, match=r"targets_test\.npy is not a whole \.npy file"):
        original_feature_pickles(folder / "features_test.pkl")


def test_other_layouts(tmp_path):
    file = tmp_path / "features_val.pkl"
    tensor = torch.zeros(2, 3)
    for content, message in (
        ([], "expected a list of batches, got list without any"),
        ({"fused": tensor}, "got dict without any"),
        ([tensor], "batch 0: .* got Tensor"),
        ([[tensor] * 3], r"batch 0: expected \[fused, text, audio, video\], each \(B, D\), got"),
        ([[tensor] * 3 + [torch.zeros(3, 3)]], "batch 0"),
        ([[tensor] * 3 + [torch.zeros(2)]], "batch 0"),
        ([[tensor] * 3 + ["x"]], "batch 0"),
        ([[torch.zeros(0, 3)] * 4], "batch 0"),
        ([[tensor] * 4, [torch.zeros(2, 5)] * 4], r"fused has widths \[3, 5\]"),
    ):
        file.write_bytes(pickle.dumps(content))
        with pytest.raises(CheckpointError, match=message):
            original_feature_pickles(file)


def test_numbers_of_rows_that_differ(folder):
    np.save(folder / "targets_val.npy", np.zeros(7))
    with pytest.raises(CheckpointError, match=r"a number for each of the 8 rows .* \(7,\)"):
        original_feature_pickles(folder)


def test_nothing_there(tmp_path):
    assert not is_feature_pickle(tmp_path)
    for path in (tmp_path, tmp_path / "features_val.pkl", tmp_path / "other.pkl"):
        with pytest.raises(MissingFileError, match="no saved features; expected features_val"):
            original_feature_pickles(path)
