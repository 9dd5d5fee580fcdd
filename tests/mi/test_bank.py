"""Searches prepared once: against brute force, with ties, classes, caps, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mimrl import mi
from mimrl.errors import EstimationError
from mimrl.mi import nearest, product_samples
from mimrl.mi.bank import Bank, Given, Product
from mimrl.mi.nearest import Nearest, has_equal_rows, smallest
from mimrl.mi.prepared import Values
from mimrl.mi.ranks import Free, draw_below

MOST = 4.5
"""Standard deviations that the largest of 40 counts may be off: exceeded once in 3,700 tests."""


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows_bank(size=60, width=2, seed=0, rounded=False, regression=False, **options) -> Bank:
    """x and y hold the row number, so that a sample tells where it came from; two terms, one z."""
    rows = torch.arange(size, dtype=torch.float32)[:, None]
    z = torch.randn(size, width, generator=generator(seed))
    if rounded:
        z = (2 * z).round()
    variables = {"x": rows, "y": rows, "z": z}
    wanted = {"xy": Product("x", "y", "z", regression), "yx": Product("y", "x", "z", regression)}
    return Bank(variables, wanted, **options)


def brute(z, anchors, free, k):
    """Distances of the k nearest of the rows ``free``, in float64; ``(A, k)``."""
    distances = torch.cdist(anchors.double(), z[free].double())
    return distances.sort(dim=1).values[:, :k]


@settings(max_examples=60)
@given(
    st.integers(1, 20), st.integers(1, 5), st.sampled_from([1, 2, 6]), st.booleans(),
    st.integers(0, 1000),
)  # fmt: skip
def test_samples_are_nearest_neighbours_outside_the_anchors(count, k, width, rounded, seed):
    bank = rows_bank(60, width, seed, rounded)
    z = bank.variables["z"]
    for found in bank.draw(["yx", "xy"], count, k, generator(seed)).values():
        assert len(found) == count
        anchors = found.y[:, 0].long()
        assert len(anchors.unique()) == math.ceil(count / k)
        assert torch.equal(found.z, z[anchors])
        assert torch.equal(found.x[:, 0].long(), found.rows)
        assert not set(found.rows.tolist()) & set(anchors.tolist())
        free = torch.ones(60, dtype=torch.bool)
        free[anchors] = False
        for anchor in anchors.unique():
            mine = found.rows[anchors == anchor]
            assert len(mine.unique()) == len(mine)
            wanted = brute(z, z[anchor][None], free, len(mine))[0]
            distances = (z[mine].double() - z[anchor].double()).norm(dim=1)
            torch.testing.assert_close(distances.sort().values, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("width", [1, 2, 6])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_equal_distances_are_broken_at_random(width, k):
    """All z are equal, so every free row is as near; each has the same chance."""
    counts = torch.zeros(40)
    for seed in range(200):
        bank = rows_bank(40, width)
        bank = Bank({**bank.variables, "z": torch.zeros(40, width)}, bank.wanted)
        for found in bank.draw(["xy", "yx"], 5 * k, k, generator(seed)).values():
            counts += torch.bincount(found.rows, minlength=40)
            neighbours = found.rows.view(5, k)
            assert all(len(row.unique()) == k for row in neighbours)
    expected = counts.sum() / 40
    assert (counts - expected).abs().max() < MOST * expected.sqrt()
    assert len(neighbours.unique(dim=0)) > 1  # anchors with the same z differ


def test_ties_on_both_sides_are_drawn_alike_and_nearer_rows_come_first():
    """At a distance of 1 from 0 there are three rows at -1 and one at 1; 0.5 is nearer."""
    values = torch.tensor([0.0, 0.5, -1.0, -1.0, -1.0, 1.0, 2.0])
    search, tally = Values(values), torch.zeros(7)
    anchor, itself = torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.long)
    for seed in range(400):
        found = search.find(anchor, itself, 3, generator(seed))
        assert found[0, 0, 0] == 1
        assert len(found[0, 0].unique()) == 3
        tally[found[0, 0, 1:]] += 1
    assert tally[0] == tally[6] == 0
    # Two of four: 200 each, with a standard deviation of 10.
    assert (tally[2:6] - 200).abs().max() < MOST * 10


@settings(max_examples=60)
@given(
    st.integers(3, 30), st.integers(0, 6), st.integers(1, 4), st.integers(0, 1000), st.booleans()
)
def test_a_sorted_search_finds_what_a_full_one_does(size, banned, k, seed, rounded):
    banned = min(banned, size - k) if size > k else 0
    k = min(k, size - banned)
    values = torch.randn(size, generator=generator(seed))
    anchors = torch.randn(1, 4, generator=generator(seed + 1))
    if rounded:
        values, anchors = values.round(), anchors.round()
    without = torch.full((1, 7), -1)  # anchors that are not in the bank ban nothing
    without[0, 1 : banned + 1] = torch.randperm(size, generator=generator(seed))[:banned]
    free = torch.ones(size, dtype=torch.bool)
    free[without[without >= 0]] = False
    found = Values(values).find(anchors, without, k, generator(seed))[0]
    assert free[found].all()
    assert all(len(row.unique()) == k for row in found)
    distances = (values[found].double() - anchors[0, :, None].double()).abs()
    wanted = brute(values[:, None], anchors[0, :, None], free, k)
    torch.testing.assert_close(distances.sort(dim=1).values, wanted, rtol=0, atol=0)


@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.parametrize("k", [1, 3])
def test_classes_are_kept_and_uniform_within(one_hot, k):
    labels = torch.tensor([0] * 30 + [1] * 9 + [2] * 2 + [3])
    z = torch.nn.functional.one_hot(labels).float() * 3 - 1 if one_hot else labels[:, None].float()
    rows = torch.arange(42.0)[:, None]
    bank = Bank({"x": rows, "y": rows, "z": z}, {"xy": Product("x", "y", "z")}, discrete=("z",))
    counts, anchored = torch.zeros(42), torch.zeros(42)
    for seed in range(300):
        found = bank.draw(["xy"], 12, k, generator(seed))["xy"]
        anchors = found.y[:, 0].long()
        assert (labels[anchors] == labels[found.rows]).all()
        assert not set(found.rows.tolist()) & set(anchors.tolist())
        assert 41 not in anchors  # alone in its class: it can only be left out
        counts += torch.bincount(found.rows, minlength=42)
        anchored += torch.bincount(anchors, minlength=42) / k
    for tally in (counts[:30], anchored[:30]):
        assert (tally - tally.mean()).abs().max() < MOST * (k * tally.mean()).sqrt()


def test_given_rows_of_a_class_that_are_all_anchors_find_each_other():
    labels = torch.tensor([0.0, 0, 0, 0, 1, 1])[:, None]
    rows = torch.arange(6.0)[:, None]
    variables = {"x": rows, "y": rows, "z": labels}
    bank = Bank(variables, {"xy": Product("x", "y", "z")}, discrete=("z",))
    batch = torch.tensor([4, 5, 0])
    seen = set()
    for seed in range(50):
        asked = Given(bank.rows(batch), batch)
        found = bank.draw(["xy"], 3, 1, generator(seed), given=asked)["xy"]
        neighbours = dict(zip(found.y[:, 0].tolist(), found.rows.tolist(), strict=True))
        assert neighbours[4] == 5
        assert neighbours[5] == 4
        seen.add(neighbours[0])
    assert seen == {1, 2, 3}


def test_anchors_of_a_batch_carry_gradients_and_avoid_themselves():
    for width in (1, 2, 6):
        bank = rows_bank(50, width)
        batch = torch.arange(10, 20)
        variables = {n: v.clone().requires_grad_() for n, v in bank.rows(batch).items()}
        asked = Given(variables, batch)
        found = bank.draw(["xy"], 20, 2, generator(), given=asked)["xy"]
        assert sorted(set(found.y[:, 0].long().tolist())) == batch.tolist()
        assert not set(found.rows.tolist()) & set(batch.tolist())
        assert not found.x.requires_grad
        (found.y.sum() + found.z.sum()).backward()
        assert (variables["y"].grad == 2).all()
        assert (variables["z"].grad == 2).all()
        strangers = bank.draw(["xy"], 20, 2, generator(), given=Given(variables))["xy"]
        assert set(strangers.rows.tolist()) & set(batch.tolist())  # nearest to themselves


@pytest.mark.parametrize("width", [1, 2, 6])
@pytest.mark.parametrize("discrete", [False, True])
def test_a_capped_bank_is_searched_and_knows_who_is_in_it(width, discrete):
    """Rows of a batch that the cap left out are found by nobody, and ban nobody."""
    full = rows_bank(60, width)
    z = full.variables["z"]
    if discrete:
        z = z[:, :1].sign().expand(-1, width)
    options = {"discrete": ("z",)} if discrete else {}
    variables = {**full.variables, "z": z}
    bank = Bank(variables, full.wanted, size=40, generator=generator(3), **options)
    members = set(bank.members.tolist())
    assert bank.size == len(members) == 40
    assert len(bank) == 60
    batch = torch.arange(30)
    assert 0 < len(members & set(batch.tolist())) < 30
    for seed in range(20):
        drawn = bank.draw(["xy", "yx"], 12, 2, generator(seed))
        assert all(set(found.rows.tolist()) <= members for found in drawn.values())
        assert set(drawn["xy"].y[:, 0].long().tolist()) <= members
        found = bank.draw(["xy"], 24, 1, generator(seed), given=Given(bank.rows(batch), batch))
        anchors = found["xy"].y[:, 0].long()
        assert set(found["xy"].rows.tolist()) <= members
        assert not set(found["xy"].rows.tolist()) & set(anchors.tolist())
        if not discrete:
            free = torch.zeros(60, dtype=torch.bool)
            free[bank.members] = True
            free[anchors] = False
            own = (z[found["xy"].rows] - z[anchors]).double().norm(dim=1)
            wanted = brute(z, z[anchors], free, 1)[:, 0]
            torch.testing.assert_close(own, wanted, rtol=1e-5, atol=1e-6)
    other = Bank(
        {**full.variables, "z": z}, full.wanted, size=40, generator=generator(4), **options
    )
    assert set(other.members.tolist()) != members


def test_a_capped_bank_keeps_two_of_each_class():
    labels = torch.tensor([0.0] * 200 + [1.0] * 3 + [2.0] * 2)[:, None]
    variables = {"x": labels, "y": labels, "z": labels}
    for seed in range(20):
        bank = Bank(
            variables, {"xy": Product("x", "y", "z")}, discrete=("z",), size=20,
            generator=generator(seed),
        )  # fmt: skip
        assert torch.bincount(labels[bank.members][:, 0].long()).min() >= 2


@pytest.mark.parametrize("width", [1, 6])
def test_half_precision_is_kept_and_computed_with_in_full(width):
    """What comes out is float32, and the neighbours are those of the rounded rows."""
    bank = rows_bank(60, width, dtype=torch.float16)
    assert bank.variables["z"].dtype == torch.float16
    z = bank.variables["z"].float()
    found = bank.draw(["xy"], 12, 1, generator())["xy"]
    assert {found.x.dtype, found.y.dtype, found.z.dtype} == {torch.float32}
    assert bank.rows(torch.arange(3))["z"].dtype == torch.float32
    anchors = found.y[:, 0].long()
    free = torch.ones(60, dtype=torch.bool)
    free[anchors] = False
    distances = (z[found.rows] - z[anchors]).double().norm(dim=1)
    wanted = brute(z, z[anchors], free, 1)[:, 0]
    # The bank is centred before it is rounded: 11 bits of numbers up to about 4, twice.
    torch.testing.assert_close(distances, wanted, rtol=0, atol=0.0 if width == 1 else 0.01)


def test_chunks_and_blocks_give_what_one_search_gives(monkeypatch):
    for width, dtype in ((3, None), (6, None), (6, torch.float16)):
        bank = rows_bank(700, width, dtype=dtype)
        whole = bank.draw(["xy", "yx"], 60, 2, generator())
        monkeypatch.setattr(nearest, "BLOCK", 32)
        monkeypatch.setattr(nearest, "CAST_ROWS", 100)
        for elements in (700 * 7, 700 * 70):
            monkeypatch.setattr(nearest, "CHUNK_ELEMENTS", elements)
            parts = bank.draw(["xy", "yx"], 60, 2, generator())
            for name, found in parts.items():
                same = found.rows == whole[name].rows
                assert same.float().mean() > 0.95  # ties of a narrow bank are drawn anew
        monkeypatch.undo()


@settings(max_examples=60)
@given(st.integers(1, 1500), st.integers(1, 6), st.booleans(), st.integers(0, 1000))
def test_the_smallest_entries_are_found_in_blocks(size, count, rounded, seed):
    values = torch.randn(5, size, generator=generator(seed))
    if rounded:
        values = values.round()
    count = min(count, size)
    found, columns = smallest(values, count)
    assert torch.equal(found, values.sort(dim=1).values[:, :count])
    assert torch.equal(values.gather(1, columns), found)
    assert all(len(row.unique()) == count for row in columns)


def test_draws_below_a_size_are_every_ordered_choice_alike():
    """All 12 ordered pairs below 4: 4,000 draws, 333 each."""
    drawn = draw_below(torch.full((4000,), 4), 2, generator())
    counts = torch.bincount(drawn[:, 0] * 4 + drawn[:, 1], minlength=16).view(4, 4)
    assert (counts.diagonal() == 0).all()
    off = counts[~torch.eye(4, dtype=torch.bool)].float()
    assert (off - 4000 / 12).abs().max() < MOST * math.sqrt(4000 / 12)
    for count in (1, 3, 5):  # more than there are: from the start again, in the same order
        some = draw_below(torch.tensor([[3, 1], [5, 2]]), count, generator(1))
        for size, row in zip((3, 1, 5, 2), some.view(4, count), strict=True):
            assert set(row.tolist()) <= set(range(size))
            assert len(set(row.tolist())) == min(size, count)


def test_free_places_have_ranks():
    banned = torch.tensor([[4, -1, 0], [2, 3, 1]])
    free = Free(banned, 6)
    assert free.count.tolist() == [[4], [3]]
    assert free.place(torch.arange(4).repeat(2, 1)).tolist() == [[1, 2, 3, 5], [0, 4, 5, 5]]
    assert free.rank(torch.arange(7).repeat(2, 1)).tolist() == [
        [0, 0, 1, 2, 3, 3, 4],
        [0, 1, 1, 1, 1, 2, 3],
    ]


def test_equal_rows_are_noticed():
    rows = torch.randn(300, 20, generator=generator())
    assert not has_equal_rows(rows)
    assert not Nearest(rows).ties
    rows[17] = rows[211]
    assert has_equal_rows(rows)
    assert Nearest(rows).ties


def test_an_offset_does_not_cost_digits():
    bank = rows_bank(300, 8)
    far = Bank({**bank.variables, "z": bank.variables["z"] + 2.0**12}, bank.wanted)
    near = Bank({**bank.variables, "z": far.variables["z"] - 2.0**12}, bank.wanted)
    for name in ("xy", "yx"):
        found, wanted = (b.draw([name], 40, 2, generator())[name].rows for b in (far, near))
        assert torch.equal(found, wanted)


def test_regression_looks_only_where_z_tells_about_x():
    z = torch.randn(400, 5, generator=generator())
    direction = torch.randn(5, 1, generator=generator(7))
    variables = {"x": z @ direction, "y": z[:, :1], "z": z}
    wanted = {"line": Product("x", "y", "z", regression=True), "plain": Product("x", "y", "z")}
    found = Bank(variables, wanted).draw(["line", "plain"], 40, 1, generator())
    errors = {name: (s.x - s.z @ direction).abs().mean() for name, s in found.items()}
    assert errors["line"] < 0.1 * errors["plain"]


def test_it_draws_from_the_distribution_of_the_plain_search():
    """Mean distance in z of neighbours and mean x, over 300 draws, by both."""
    bank = rows_bank(80, 6, rounded=True)
    plain, prepared = [], []
    x, y, z = (bank.variables[name] for name in "xyz")
    for seed in range(300):
        one = product_samples(x, y, z, 20, 2, generator(seed))
        two = bank.draw(["xy"], 20, 2, generator(1000 + seed))["xy"]
        for found, into in ((one, plain), (two, prepared)):
            apart = (z[found.rows] - found.z).norm(dim=1).mean()
            into.append(torch.stack([apart, found.x.mean(), found.y.mean()]))
    first, second = torch.stack(plain), torch.stack(prepared)
    error = ((first.var(dim=0) + second.var(dim=0)) / 300).sqrt()
    assert ((first.mean(dim=0) - second.mean(dim=0)).abs() < 4 * error).all()


def test_same_generator_same_samples():
    bank = rows_bank()
    drawn = [bank.draw(["xy", "yx"], 9, 2, generator(s))["xy"].rows.tolist() for s in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_what_is_refused():
    bank = rows_bank(10)
    with pytest.raises(EstimationError, match="10 rows is too small for 9 anchors"):
        bank.draw(["xy"], 18, 2, generator())
    with pytest.raises(EstimationError, match="only 2 were given"):
        bank.draw(["xy"], 9, 2, generator(), given=Given(bank.rows(torch.arange(2))))
    with pytest.raises(EstimationError, match="1 or more"):
        bank.draw(["xy"], 0, 2, generator())
    with pytest.raises(EstimationError, match="needs a generator"):
        Bank(bank.variables, bank.wanted, size=5)
    labels = torch.tensor([0.0] * 9 + [1.0])[:, None]
    variables = {"x": labels, "y": labels, "z": labels}
    classes = Bank(variables, {"xy": Product("x", "y", "z")}, discrete=("z",))
    with pytest.raises(EstimationError, match="one row of each class"):
        classes.draw(["xy"], 9, 1, generator())
    with pytest.raises(EstimationError, match="a class has 1 rows"):
        classes.draw(["xy"], 1, 1, generator(), given=Given(variables, torch.arange(10)))
    assert mi.Bank is Bank
