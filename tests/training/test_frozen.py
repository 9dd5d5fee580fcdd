"""Hidden states of a frozen text encoder: the same in memory, on disk and from the cache."""

import gc
import shutil
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import transformers
from tiny_bert import WIDTH
from training.frozen_texts import CPU, SIZES, Model, make_data, make_model, on_disk, same

from mimrl.datasets.features import Ragged
from mimrl.datasets.loading import iterate
from mimrl.errors import TrainingWarning
from mimrl.model.encoders import TextEncoder
from mimrl.settings.model import TransformerSettings
from mimrl.training import frozen
from mimrl.training.frozen import with_hidden_states

pytestmark = pytest.mark.usefixtures("seeded")


def test_states_are_those_of_the_encoder_sample_by_sample(model: Model) -> None:
    data = make_data()
    found = with_hidden_states(model, data, CPU)
    assert on_disk(found) == [False] * 3
    for name, samples in found.splits.items():
        assert samples.inputs["audio"] is data.splits[name].inputs["audio"]
        assert samples.inputs["text"].width == WIDTH
        assert samples.inputs["text"].values.dtype == np.float32
        for ids, states in zip(
            data.splits[name].inputs["text"], samples.inputs["text"], strict=True
        ):
            assert len(ids) == len(states)
            if len(ids):
                with torch.no_grad():
                    alone = model.text_encoder.transformer(input_ids=torch.tensor(ids)[None])
                expected = alone.last_hidden_state[0].numpy()
                # Padding changes the shapes of products, so their order of summation: rounding.
                np.testing.assert_allclose(states, expected, rtol=0, atol=2e-6)


def test_an_encoder_that_learns_and_a_model_without_one_are_left_alone(source: str) -> None:
    data = make_data()
    assert with_hidden_states(make_model(source, "all"), data, CPU) is data
    assert with_hidden_states(Model(None), data, CPU) is data


def test_lower_layers_are_cached_apart_from_whole_encoders(source: str, tmp_path: Path) -> None:
    """One folder takes both: the key says which layers gave the states."""
    text = {"source": source, "train": "top", "top_layers": 1, "cache_lower": True}
    settings = TransformerSettings.model_validate({**text, "max_tokens": 30})
    encoder = TextEncoder(settings, 8)
    found = with_hidden_states(Model(encoder), make_data(), CPU, folder=tmp_path)
    batch = next(iterate(make_data().splits["valid"], 40))
    states = next(iterate(found.splits["valid"], 40))
    lengths = batch.lengths["text"]
    with torch.no_grad():
        expected = encoder.eval()(batch.inputs["text"], lengths)
        # Padding changes the shapes of products, so their order of summation: rounding.
        torch.testing.assert_close(
            encoder(states.inputs["text"], lengths), expected, rtol=0, atol=2e-6
        )
    with_hidden_states(make_model(source), make_data(), CPU, folder=tmp_path)
    assert len(list(tmp_path.glob("text-*.safetensors"))) == 6


def test_the_cache_changes_no_bit_and_is_found_again(
    model: Model, source: str, tmp_path: Path, runs: list[int]
) -> None:
    plain = with_hidden_states(model, make_data(), CPU)
    before = len(runs)
    first = with_hidden_states(model, make_data(), CPU, folder=tmp_path / "new" / "folder")
    assert len(runs) == 2 * before
    again = with_hidden_states(make_model(source), make_data(), CPU, folder=tmp_path / "new/folder")
    assert len(runs) == 2 * before
    assert on_disk(again) == on_disk(first) == [False] * 3
    assert same(plain, first)
    assert same(plain, again)
    names = sorted(path.name for path in (tmp_path / "new/folder").iterdir())
    assert len(names) == 3
    assert all(name.startswith("text-") and name.endswith(".safetensors") for name in names)


def test_large_states_stay_in_the_cache_file(
    model: Model, tmp_path: Path, large: None, runs: list[int]
) -> None:
    data = make_data()
    first = with_hidden_states(model, data, CPU, folder=tmp_path)
    count = len(runs)
    again = with_hidden_states(model, data, CPU, folder=tmp_path)
    assert len(runs) == count
    assert on_disk(first) == on_disk(again) == [True] * 3
    first.splits["train"].inputs["text"][3]  # is open here
    shared = iterate(first.splits["train"], 64, workers=2)
    plain = iterate(again.splits["train"], 64)
    for a, b in zip(shared, plain, strict=True):
        assert torch.equal(a.inputs["text"], b.inputs["text"])


def test_large_states_without_a_cache_are_in_a_file_that_goes_with_them(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frozen.tempfile, "tempdir", str(tmp_path))
    small = with_hidden_states(model, make_data(), CPU)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(frozen, "MEMORY_BYTES", 1000)
    found = with_hidden_states(model, make_data(), CPU)
    assert on_disk(found) == [True] * 3
    assert same(small, found)
    assert len(list(tmp_path.glob("mimrl-states-*/text-split.safetensors"))) == 3
    list(iterate(found.splits["train"], 64, workers=1))  # a worker's end removes nothing
    assert len(list(tmp_path.glob("mimrl-states-*"))) == 3
    del found
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_other_weights_get_their_own_states(model: Model, tmp_path: Path) -> None:
    first = with_hidden_states(model, make_data(), CPU, folder=tmp_path)
    with torch.no_grad():
        model.text_encoder.transformer.embeddings.word_embeddings.weight.mul_(1.5)
    second = with_hidden_states(model, make_data(), CPU, folder=tmp_path)
    assert not same(first, second)
    assert same(second, with_hidden_states(model, make_data(), CPU))
    assert len(list(tmp_path.iterdir())) == 6


@pytest.mark.parametrize("package", [torch, transformers])
def test_another_version_of_the_code_gets_its_own_states(
    package: ModuleType,
    model: Model,
    tmp_path: Path,
    runs: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another release may compute an encoder otherwise, if only by rounding."""
    with_hidden_states(model, make_data(), CPU, folder=tmp_path)
    runs.clear()
    monkeypatch.setattr(package, "__version__", "99.0")
    with_hidden_states(model, make_data(), CPU, folder=tmp_path)
    assert sum(runs) == sum(SIZES.values())
    assert len(list(tmp_path.iterdir())) == 6


def test_a_cache_without_a_frozen_encoder_is_told_of(source: str, tmp_path: Path) -> None:
    for model in (make_model(source, "all"), Model(None)):
        with pytest.warns(TrainingWarning, match="performance.cache has no effect"):
            with_hidden_states(model, make_data(), CPU, folder=tmp_path)
    assert [*tmp_path.iterdir()] == []


def test_without_space_anywhere_large_states_are_in_memory(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: None, runs: list[int]
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=1000))
    with pytest.warns(TrainingWarning, match="are needed, 0.00 GB are free") as told:
        found = with_hidden_states(model, make_data(), CPU, folder=tmp_path)
    assert len(told) == 6  # the cache and the temporary folder, for each split
    assert on_disk(found) == [False] * 3
    assert sum(runs) == sum(SIZES.values())  # known before the encoder runs
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_encoder_is_not_taken_for_one_of_the_disk(
    model: Model, tmp_path: Path, large: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: object) -> None:
        raise RuntimeError("out of memory on the device")

    monkeypatch.setattr(TextEncoder, "hidden", fail)
    for folder in (tmp_path, None):
        with pytest.raises(RuntimeError, match="out of memory on the device"):
            with_hidden_states(model, make_data(), CPU, folder=folder)
    assert list(tmp_path.iterdir()) == []


def test_a_split_without_any_text_has_a_file_too(model: Model, tmp_path: Path) -> None:
    data = make_data()
    empty = Ragged(np.zeros(0, np.int64), np.zeros(SIZES["test"] + 1, np.int64))
    test = replace(data.splits["test"], inputs={**data.splits["test"].inputs, "text": empty})
    data = replace(data, splits={**data.splits, "test": test})
    for _ in range(2):
        found = with_hidden_states(model, data, CPU, folder=tmp_path)
        assert found.splits["test"].inputs["text"].values.shape == (0, WIDTH)
        assert next(iterate(found.splits["test"], 4)).inputs["text"].shape == (4, 1, WIDTH)
