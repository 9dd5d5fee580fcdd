"""Files of hidden states: their keys, and files that are damaged, refused or in use."""

import os
import resource
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from tiny_bert import WIDTH
from training.frozen_texts import CPU, SIZES, Model, make_data, make_model, on_disk, same

from mimrl.datasets.features import Ragged
from mimrl.datasets.loading import iterate
from mimrl.datasets.samples import Prepared
from mimrl.errors import DataError, TrainingWarning
from mimrl.training import cache, frozen, turns
from mimrl.training.frozen import with_hidden_states

pytestmark = pytest.mark.usefixtures("seeded")


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


def test_of_several_runs_that_start_at_once_one_encodes(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: list[int]
) -> None:
    """All find nothing before any begins; without a lock each would encode."""
    plain = with_hidden_states(make_model(source), make_data(), CPU)
    once = len(runs)
    monkeypatch.setattr(turns, "POLL", 0.01)
    start, begun, stamp = threading.Barrier(3), threading.local(), cache._stamp

    def together(path: Path) -> tuple[int, int] | None:
        found = stamp(path)
        if not hasattr(begun, "yes"):
            begun.yes = start.wait(60)
        return found

    def encoded(model: Model) -> Prepared:
        return with_hidden_states(model, make_data(), CPU, folder=tmp_path)

    monkeypatch.setattr(cache, "_stamp", together)
    models = [make_model(source) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(encoded, models))
    assert len(runs) == 2 * once
    assert all(same(plain, one) for one in found)
    assert len(list(tmp_path.iterdir())) == 3  # no locks


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


def test_a_file_that_is_cut_short_in_mid_run_is_an_error_with_its_name(
    model: Model, tmp_path: Path, large: None
) -> None:
    found = with_hidden_states(model, make_data(), CPU, folder=tmp_path)
    rows = found.splits["train"].inputs["text"].values
    os.truncate(rows.path, 2000)
    with pytest.raises(DataError, match=r"safetensors cannot be read any more \(it ends too early"):
        rows[1000:1010]
