"""Hidden states of a frozen text encoder: the same in memory, on disk and from the cache."""

import gc
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file

from mimrl.datasets.features import Ragged
from mimrl.datasets.loading import iterate
from mimrl.datasets.samples import Prepared, Samples
from mimrl.errors import DataError, TrainingWarning
from mimrl.model.encoders import TextEncoder
from mimrl.settings.model import TransformerSettings
from mimrl.training import cache, frozen
from mimrl.training.frozen import with_hidden_states

CPU = torch.device("cpu")
WIDTH = 16
SIZES = {"train": 700, "valid": 40, "test": 9}
pytestmark = pytest.mark.usefixtures("seeded")


class Model:
    """What :func:`with_hidden_states` asks of a model."""

    def __init__(self, encoder: TextEncoder | None) -> None:
        self.text_encoder = encoder

    def text_parameters(self) -> list[torch.nn.Parameter]:
        return [p for p in self.text_encoder.transformer.parameters() if p.requires_grad]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a random BERT of two layers."""
    folder = tmp_path_factory.mktemp("bert")
    config = transformers.BertConfig(
        vocab_size=60,
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=40,
    )
    with torch.random.fork_rng():
        torch.manual_seed(5)
        transformers.BertModel(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def model(source: str) -> Model:
    return make_model(source)


def make_model(source: str, train: str = "none") -> Model:
    settings = TransformerSettings(kind="transformer", source=source, train=train, max_tokens=30)
    return Model(TextEncoder(settings, 8))


def make_data(seed: int = 0, longest: int = 12) -> Prepared:
    """Token ids and audio; some samples have no text."""
    generator = np.random.default_rng(seed)
    splits = {}
    for name, size in SIZES.items():
        ids = [generator.integers(5, 60, n) for n in generator.integers(0, longest + 1, size)]
        audio = [generator.normal(size=(n, 3)) for n in generator.integers(1, 4, size)]
        splits[name] = Samples(
            ids=tuple(f"{name}{i}" for i in range(size)),
            inputs={"text": Ragged.from_list(ids), "audio": Ragged.from_list(audio)},
            scalers={},
            labels=generator.normal(size=size).astype(np.float32),
        )
    return Prepared(splits, {"text": 0, "audio": 3}, 1, (), {}, "made", "made")


def same(one: Prepared, other: Prepared) -> bool:
    """Whether all texts are equal bit for bit, as sequences and as batches."""
    for name, samples in one.splits.items():
        pairs = (samples.inputs["text"], other.splits[name].inputs["text"])
        if not all(np.array_equal(a, b) for a, b in zip(*pairs, strict=True)):
            return False
        batches = iterate(samples, 32), iterate(other.splits[name], 32)
        for a, b in zip(*batches, strict=True):
            if not torch.equal(a.inputs["text"], b.inputs["text"]):
                return False
    return True


def on_disk(data: Prepared) -> list[bool]:
    return [not isinstance(s.inputs["text"].values, np.ndarray) for s in data.splits.values()]


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """States count as too large for the memory."""
    monkeypatch.setattr(frozen, "MEMORY_BYTES", 1000)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Batches that the encoder was run on."""
    made: list[int] = []
    hidden = TextEncoder.hidden

    def counted(self: TextEncoder, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        made.append(len(ids))
        return hidden(self, ids, lengths)

    monkeypatch.setattr(TextEncoder, "hidden", counted)
    return made


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


def key(encoder: torch.nn.Module, data: Prepared, how: str = "") -> str:
    tokens = data.splits["train"].inputs["text"]
    return cache.key_of(cache.encoder_digest(encoder), tokens, how)


def test_the_key_changes_with_whatever_the_states_depend_on(model: Model, source: str) -> None:
    encoder, data = model.text_encoder.transformer, make_data()
    known = [key(encoder, data)]
    assert key(make_model(source).text_encoder.transformer, make_data()) == known[0]

    def new(found: str) -> None:
        assert found not in known
        known.append(found)

    new(key(encoder, data, "cuda"))
    new(key(encoder, make_data(longest=11)))
    tokens = data.splits["train"].inputs["text"]
    tokens.values[5] += 1
    new(key(encoder, data))
    tokens.values[5] -= 1
    assert key(encoder, data) == known[0]
    moved = tokens.offsets.copy()  # the same ids, cut into other texts
    moved[next(i for i in range(1, 9) if moved[i] < moved[i + 1])] += 1
    new(cache.key_of(cache.encoder_digest(encoder), Ragged(tokens.values, moved), ""))
    with torch.no_grad():
        encoder.encoder.layer[1].output.dense.bias[0] += 1e-6
    new(key(encoder, data))
    encoder.config.layer_norm_eps = 1e-5
    new(key(encoder, data))
    encoder.config.transformers_version = "1.0"
    assert key(encoder, data) == known[-1]


def test_other_weights_get_their_own_states(model: Model, tmp_path: Path) -> None:
    first = with_hidden_states(model, make_data(), CPU, folder=tmp_path)
    with torch.no_grad():
        model.text_encoder.transformer.embeddings.word_embeddings.weight.mul_(1.5)
    second = with_hidden_states(model, make_data(), CPU, folder=tmp_path)
    assert not same(first, second)
    assert same(second, with_hidden_states(model, make_data(), CPU))
    assert len(list(tmp_path.iterdir())) == 6


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def flip(path: Path) -> None:
    """One bit in the middle of the values."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def another(path: Path) -> None:
    """A whole file of other states."""
    smaller = min(path.parent.iterdir(), key=lambda path: path.stat().st_size)
    path.write_bytes(smaller.read_bytes())


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncate, flip, another, empty])
@pytest.mark.parametrize("small", [True, False])
def test_a_damaged_file_is_told_of_and_made_anew(
    damage: Callable[[Path], None],
    small: bool,
    model: Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    runs: list[int],
) -> None:
    monkeypatch.setattr(frozen, "MEMORY_BYTES", 1e9 if small else 1000)
    plain = with_hidden_states(model, make_data(), CPU)
    with_hidden_states(model, make_data(), CPU, folder=tmp_path)
    damage(max(tmp_path.iterdir(), key=lambda path: path.stat().st_size))
    runs.clear()
    with pytest.warns(
        TrainingWarning, match=r"text-\w+.safetensors cannot be used .* computed again"
    ):
        found = with_hidden_states(model, make_data(), CPU, folder=tmp_path)
    assert sum(runs) == SIZES["train"]
    assert same(plain, found)
    runs.clear()
    assert same(plain, with_hidden_states(model, make_data(), CPU, folder=tmp_path))
    assert runs == []
    assert len(list(tmp_path.iterdir())) == 3


def test_a_cache_without_a_frozen_encoder_is_told_of(source: str, tmp_path: Path) -> None:
    for model in (make_model(source, "all"), Model(None)):
        with pytest.warns(TrainingWarning, match="performance.cache has no effect"):
            with_hidden_states(model, make_data(), CPU, folder=tmp_path)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("small", [True, False])
def test_a_folder_that_cannot_be_written_costs_a_warning_only(
    small: bool, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frozen, "MEMORY_BYTES", 1e9 if small else 1000)
    (tmp_path / "file").write_text("in the place of a folder")
    plain = with_hidden_states(model, make_data(), CPU)
    with pytest.warns(TrainingWarning, match=r"performance.cache: .* kept elsewhere"):
        found = with_hidden_states(model, make_data(), CPU, folder=tmp_path / "file")
    assert same(plain, found)
    assert on_disk(found) == [not small] * 3


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes where it likes")
def test_a_read_only_folder_is_read(model: Model, tmp_path: Path, runs: list[int]) -> None:
    with_hidden_states(model, make_data(), CPU, folder=tmp_path)
    tmp_path.chmod(0o500)
    runs.clear()
    with_hidden_states(model, make_data(), CPU, folder=tmp_path)
    assert runs == []
    with pytest.warns(TrainingWarning, match="Permission denied"):
        with_hidden_states(model, make_data(1), CPU, folder=tmp_path)
    tmp_path.chmod(0o700)


def test_a_disk_that_fills_up_while_writing_costs_a_warning_only(
    model: Model, tmp_path: Path
) -> None:
    plain = with_hidden_states(model, make_data(), CPU)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # the largest split has 270,000
    try:
        with pytest.warns(TrainingWarning, match="could not be written"):
            found = with_hidden_states(model, make_data(), CPU, folder=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert same(plain, found)
    assert len(list(tmp_path.iterdir())) == 2  # the two small splits, no pieces


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


def test_what_killed_runs_left_is_removed_after_a_day(
    model: Model, tmp_path: Path, runs: list[int]
) -> None:
    with_hidden_states(model, make_data(), CPU, folder=tmp_path)
    files = sorted(tmp_path.iterdir())
    old, new = (tmp_path / f".{files[0].name}.{name}.tmp" for name in ("old", "new"))
    for beside in (old, new):
        beside.write_bytes(b"half")
    os.utime(old, (0, 0))
    files[0].unlink()
    with_hidden_states(model, make_data(), CPU, folder=tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([*files, new])


def test_two_runs_that_write_the_same_states_both_keep_theirs(
    model: Model, tmp_path: Path, large: None
) -> None:
    """Two runs that both found nothing: the slower one replaces what the other reads from."""
    first = with_hidden_states(model, make_data(), CPU, folder=tmp_path)
    states = first.splits["train"].inputs["text"]
    whole = states.values[0 : states.values.shape[0]]
    wanted = cache.States(states.values.path.stem.removeprefix("text-"), states.offsets, WIDTH)
    kept = cache.keep(wanted, tmp_path, [whole[:100], whole[100:]])
    assert kept.values.path == states.values.path
    for values in (states.values, kept.values):
        np.testing.assert_array_equal(values[0 : len(whole)], whole)
    assert len(list(tmp_path.iterdir())) == 3
    kept.values.path.unlink()
    np.testing.assert_array_equal(states.values[90:110], whole[90:110])
    list(iterate(first.splits["train"], 64, workers=1))


def test_the_files_are_safetensors(model: Model, tmp_path: Path) -> None:
    found = with_hidden_states(model, make_data(), CPU, folder=tmp_path).splits["train"]
    path = max(tmp_path.iterdir(), key=lambda path: path.stat().st_size)
    tensors = load_file(path)
    np.testing.assert_array_equal(tensors["values"], found.inputs["text"].values)
    np.testing.assert_array_equal(tensors["offsets"], found.inputs["text"].offsets)


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


def test_a_file_that_is_cut_short_in_mid_run_is_an_error_with_its_name(
    model: Model, tmp_path: Path, large: None
) -> None:
    found = with_hidden_states(model, make_data(), CPU, folder=tmp_path)
    rows = found.splits["train"].inputs["text"].values
    os.truncate(rows.path, 2000)
    with pytest.raises(DataError, match=r"safetensors cannot be read any more \(it ends too early"):
        rows[1000:1010]
