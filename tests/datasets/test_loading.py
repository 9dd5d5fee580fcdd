"""Batches: every row once, padding that changes nothing, determinism."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mimrl.datasets import scaling
from mimrl.datasets.features import Ragged
from mimrl.datasets.loading import batch_rows, collate, iterate, share_sizes
from mimrl.datasets.rows import Piece, PieceRows
from mimrl.datasets.samples import Samples
from mimrl.datasets.views import narrowed
from mimrl.errors import DataError, ShapeError

LENGTHS = st.lists(st.integers(0, 30), min_size=1, max_size=80)


def on_disk(sequences: Ragged) -> Ragged:
    """The same sequences behind a store that only gives slices."""
    return Ragged(
        PieceRows([Piece(sequences.values, 0, sequences.values.shape[0])]), sequences.offsets
    )


def sequences(lengths: list[int], width: int = 3, seed: int = 0) -> Ragged:
    generator = np.random.default_rng(seed)
    return Ragged.from_list(
        [generator.normal(2, 3, size=(n, width)).astype(np.float32) for n in lengths], width=width
    )


def samples(lengths: list[int], lazy: bool = False) -> Samples:
    audio = sequences(lengths)
    ids = [np.arange(1, n % 5 + 1) for n in lengths]
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in ids])])
    text = Ragged(np.concatenate(ids).astype(np.int64), offsets)
    fitted = scaling.fit(audio, "standard" if sum(lengths) else "none")
    return Samples(
        ids=tuple(f"s{i}" for i in range(len(lengths))),
        inputs={"text": text, "audio": on_disk(audio) if lazy else audio},
        scalers={"audio": fitted},
        labels=np.arange(len(lengths), dtype=np.float32),
    )


@given(LENGTHS, st.integers(1, 20), st.booleans(), st.sampled_from([None, 0, 1]))
def test_every_row_is_in_exactly_one_batch(
    lengths: list[int], size: int, bucketing: bool, seed: int | None
) -> None:
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    batches = batch_rows(lengths, size, generator=generator, bucketing=bucketing)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    sizes = [len(rows) for rows in batches]
    assert max(sizes) <= size + (size > 1)
    if size > 1 and len(lengths) > 1:
        assert min(sizes) > 1
    assert sum(s != size for s in sizes) <= 1


def test_without_a_generator_rows_come_in_order_or_by_length() -> None:
    plain = batch_rows([5, 1, 3, 4], 2, generator=None, bucketing=False)
    assert [rows.tolist() for rows in plain] == [[0, 1], [2, 3]]
    sorted_by_length = batch_rows([5, 1, 3, 4], 2, generator=None, bucketing=True)
    assert [rows.tolist() for rows in sorted_by_length] == [[1, 2], [3, 0]]


def test_the_same_seed_gives_the_same_batches_and_epochs_differ() -> None:
    lengths = np.random.default_rng(0).integers(1, 50, size=200)
    one, two = (torch.Generator().manual_seed(7) for _ in range(2))
    first = batch_rows(lengths, 16, generator=one, bucketing=True)
    again = batch_rows(lengths, 16, generator=two, bucketing=True)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    later = batch_rows(lengths, 16, generator=one, bucketing=True)
    assert not all(np.array_equal(a, b) for a, b in zip(first, later, strict=True))


def test_bucketing_saves_padding() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, size=512)

    def padded(bucketing: bool) -> int:
        generator = torch.Generator().manual_seed(0)
        rows = batch_rows(lengths, 16, generator=generator, bucketing=bucketing)
        return sum(len(r) * int(lengths[r].max()) for r in rows)

    assert padded(True) < 0.75 * padded(False)


@pytest.mark.parametrize("lazy", [False, True])
def test_absent_modalities_are_read_as_empty_and_do_not_move_samples(lazy: bool) -> None:
    data = samples([3, 1, 4, 1, 2], lazy)
    names = list(data.inputs)
    present = np.ones((5, len(names)), bool)
    present[[0, 2], 0] = present[1, 1] = False
    for batch in iterate(data, 2, generator=torch.Generator().manual_seed(0), present=present):
        for column, name in enumerate(names):
            for place, row in enumerate(batch.rows.tolist()):
                there = present[row, column]
                expected = data.inputs[name].lengths[row] if there else 0
                assert batch.lengths[name][place] == expected
                assert bool(batch.inputs[name][place].any()) == there
    rows = [
        [b.rows.tolist() for b in iterate(data, 2, generator=g, present=p)]
        for g, p in ((torch.Generator().manual_seed(0), p) for p in (None, present))
    ]
    assert rows[0] == rows[1]


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"present: expected \(3, 2\), .*got \(3, 1\)"):
        next(iterate(samples([1, 2, 3]), 2, present=np.ones((3, 1), bool)))


def test_batch_size_below_1_is_refused() -> None:
    with pytest.raises(DataError, match="batch_size"):
        batch_rows([1, 2], 0, generator=None, bucketing=False)


@given(LENGTHS, st.booleans())
@settings(max_examples=30)
def test_valid_steps_are_the_scaled_sequence_and_padding_is_exactly_zero(
    lengths: list[int], lazy: bool
) -> None:
    data = samples(lengths, lazy)
    for batch in iterate(data, 7, generator=torch.Generator().manual_seed(0)):
        assert batch.labels.tolist() == batch.rows.float().tolist()
        for name, values in batch.inputs.items():
            mask = batch.mask(name)
            assert mask.shape == values.shape[:2]
            assert values.shape[1] == max(1, int(batch.lengths[name].max()))
            assert not values[~mask].any()
            for k, row in enumerate(batch.rows.tolist()):
                raw = data.inputs[name][row]
                expected = data.scalers[name].apply(raw) if name in data.scalers else raw
                np.testing.assert_array_equal(values[k][mask[k]].numpy(), expected)


@given(LENGTHS, st.randoms(use_true_random=False))
@settings(max_examples=30)
def test_a_sample_does_not_depend_on_its_batch(lengths: list[int], random) -> None:
    data = samples(lengths)
    rows = list(range(len(lengths)))
    random.shuffle(rows)
    together = collate(data, rows)
    for k, row in enumerate(rows):
        alone = collate(data, [row])
        steps = int(alone.lengths["audio"][0])
        assert steps == int(together.lengths["audio"][k])
        assert torch.equal(alone.inputs["audio"][0, :steps], together.inputs["audio"][k, :steps])


def test_types_of_a_batch() -> None:
    data = samples([4, 0, 6])
    batch = collate(data, [2, 1]).to("cpu")
    assert len(batch) == 2
    assert batch.rows.tolist() == [2, 1]
    assert batch.inputs["text"].dtype == torch.int64
    assert batch.inputs["audio"].dtype == torch.float32
    assert batch.lengths["audio"].tolist() == [6, 0]
    assert not batch.mask("audio")[1].any()
    assert data.missing == {"text": 1, "audio": 1}


def test_a_batch_without_any_valid_step_has_one_zero_step() -> None:
    batch = collate(samples([4, 0, 0]), [1, 2])
    assert batch.inputs["audio"].shape == (2, 1, 3)
    assert not batch.inputs["audio"].any()


@given(LENGTHS, st.data(), st.booleans())
def test_narrowing_takes_rows_and_first_steps(lengths: list[int], data, lazy: bool) -> None:
    whole = sequences(lengths, width=2)
    rows = data.draw(st.lists(st.integers(0, len(lengths) - 1), max_size=10))
    keep = [data.draw(st.integers(0, lengths[row])) for row in rows]
    cut = narrowed(on_disk(whole) if lazy else whole, rows=rows, lengths=keep)
    assert cut.lengths.tolist() == keep
    for k, row in enumerate(rows):
        np.testing.assert_array_equal(cut[k], whole[row][: keep[k]])


def test_narrowing_beyond_the_end_is_refused() -> None:
    with pytest.raises(ShapeError, match="beyond its end"):
        narrowed(sequences([2, 3]), lengths=[2, 4])


def test_selected_samples_keep_their_values_and_their_store() -> None:
    data = samples([3, 5, 2], lazy=True)
    chosen = data.select([2, 0])
    assert chosen.ids == ("s2", "s0")
    assert chosen.labels.tolist() == [2, 0]
    assert not isinstance(chosen.inputs["audio"].values, np.ndarray)
    np.testing.assert_array_equal(chosen.inputs["audio"][1], data.inputs["audio"][0])


@given(LENGTHS, st.integers(1, 9), st.integers(1, 5), st.booleans(), st.sampled_from([None, 0, 1]))
@settings(max_examples=60)
def test_shares_together_are_the_batch_of_one_process(
    lengths: list[int], size: int, world: int, bucketing: bool, seed: int | None
) -> None:
    data = samples(lengths)
    if len(data) < world:
        with pytest.raises(DataError, match="start fewer processes"):
            next(iterate(data, size, share=(0, world)))
        return

    def start() -> torch.Generator | None:
        return None if seed is None else torch.Generator().manual_seed(seed)

    whole = batch_rows(
        data.lengths, size, generator=start(), bucketing=bucketing, world=world
    )  # fmt: skip
    shares = [
        list(iterate(data, size, generator=start(), bucketing=bucketing, share=(rank, world)))
        for rank in range(world)
    ]
    for rows, *parts in zip(whole, *shares, strict=True):
        assert share_sizes(len(rows), world) == [len(part) for part in parts]
        assert min(len(part) for part in parts) >= 1
        together = torch.cat([part.rows for part in parts])
        assert sorted(together.tolist()) == sorted(rows.tolist())
        for rank, part in enumerate(parts):
            assert torch.equal(part.global_rows, together)
            assert part.rows.tolist() == rows[rank::world].tolist()
            expected = collate(data, part.rows.numpy())
            assert all(torch.equal(part.inputs[k], v) for k, v in expected.inputs.items())


@given(LENGTHS, st.integers(1, 9), st.booleans(), st.sampled_from([None, 0, 1]))
def test_two_processes_see_the_batches_of_one_with_the_double_size(
    lengths: list[int], size: int, bucketing: bool, seed: int | None
) -> None:
    def rows_of(size: int, world: int) -> list[list[int]]:
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        found = batch_rows(lengths, size, generator=generator, bucketing=bucketing, world=world)
        return [rows.tolist() for rows in found]

    assert rows_of(size, 2) == rows_of(2 * size, 1)


def test_batches_that_are_not_shared_say_so_and_wrong_ranks_are_refused() -> None:
    data = samples([3, 4, 5])
    assert all(batch.global_rows is None for batch in iterate(data, 2))
    for share in ((2, 2), (-1, 2), (0, 0)):
        with pytest.raises(DataError, match="0 <= rank < world"):
            next(iterate(data, 2, share=share))
