"""Product samples: what they are made of, ties, classes, and what is refused."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mimrl.errors import EstimationError, ShapeError
from mimrl.mi import Anchors, Triples, product_samples, regression_slopes, search


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def bank(size: int = 50, width: int = 2, seed: int = 0) -> Triples:
    """x and y hold the row number, so that a sample tells where it came from."""
    rows = torch.arange(size, dtype=torch.float32)[:, None]
    return Triples(rows, rows, torch.randn(size, width, generator=generator(seed)))


def draw(rows: Triples, count: int, k: int, seed: int = 0, **options: object):
    return product_samples(rows.x, rows.y, rows.z, count, k, generator(seed), **options)


@settings(max_examples=40)
@given(st.integers(1, 20), st.integers(1, 5), st.sampled_from([1, 2, 6]), st.integers(0, 1000))
def test_samples_are_nearest_neighbours_outside_the_anchors(count, k, width, seed):
    rows = bank(60, width, seed)
    found = draw(rows, count, k, seed)
    assert len(found) == count
    anchors = found.y[:, 0].long()
    assert len(anchors.unique()) == math.ceil(count / k)
    torch.testing.assert_close(found.z, rows.z[anchors])
    torch.testing.assert_close(found.x[:, 0].long(), found.rows)
    assert not set(found.rows.tolist()) & set(anchors.tolist())
    free = torch.ones(60, dtype=torch.bool)
    free[anchors] = False
    distances = torch.cdist(rows.z.double(), rows.z.double())
    for anchor in anchors.unique():
        mine = found.rows[anchors == anchor]
        nearest = distances[anchor][free].sort().values[: len(mine)]
        torch.testing.assert_close(distances[anchor, mine].sort().values, nearest)


@pytest.mark.parametrize("width", [1, 2])
def test_equal_distances_are_broken_at_random(width):
    """All z are equal, so every free row is as near; each has the same chance."""
    rows = bank(40, width)
    same = Triples(rows.x, rows.y, torch.zeros(40, width))
    counts = torch.zeros(40)
    for seed in range(400):
        counts += torch.bincount(draw(same, 10, 2, seed).rows, minlength=40)
    expected = counts.sum() / 40
    # Each count is about Poisson(100); 40 of them stay within 4.5 standard deviations.
    assert (counts - expected).abs().max() < 4.5 * expected.sqrt()
    drawn = draw(same, 10, 2)
    assert len(drawn.rows.view(5, 2).unique(dim=0)) > 1  # anchors with the same z differ


def test_nearer_rows_come_before_tied_ones():
    z = torch.tensor([0.0, 0.1, 1.0, 1.0, 1.0, 1.0])[:, None]
    seen = set()
    for seed in range(40):
        found = search.nearest(z, z[:1], torch.tensor([0]), 3, generator(seed))
        assert found[0, 0] == 1
        assert len(found[0].unique()) == 3
        seen |= set(found[0, 1:].tolist())
    assert seen == {2, 3, 4, 5}


@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.parametrize("k", [1, 3])
def test_classes_are_kept_and_uniform_within(one_hot, k):
    labels = torch.tensor([0] * 30 + [1] * 9 + [2] * 2 + [3])
    z = torch.nn.functional.one_hot(labels).float() if one_hot else labels[:, None].float()
    rows = Triples(torch.zeros(42, 1), torch.arange(42.0)[:, None], z)
    counts = torch.zeros(42)
    for seed in range(300):
        found = draw(rows, 12, k, seed, discrete=True)
        anchors = found.y[:, 0].long()
        assert (labels[anchors] == labels[found.rows]).all()
        assert not set(found.rows.tolist()) & set(anchors.tolist())
        assert 41 not in anchors  # alone in its class: it can only be left out
        counts += torch.bincount(found.rows, minlength=42)
    largest = counts[:30]
    assert (largest - largest.mean()).abs().max() < 4.5 * (k * largest.mean()).sqrt()


def test_a_class_smaller_than_k_is_used_again():
    labels = torch.tensor([0, 0, 0, 1, 1])[:, None].float()
    rows = Triples(torch.zeros(5, 1), torch.zeros(5, 1), labels)
    found = draw(rows, 9, 3, discrete=True)
    assert len(found) == 9


def test_chunks_give_what_one_search_gives(monkeypatch):
    rows = bank(200, 3)
    whole = draw(rows, 60, 2)
    monkeypatch.setattr(search, "CHUNK_ELEMENTS", 450)
    torch.testing.assert_close(draw(rows, 60, 2).rows, whole.rows)


def test_an_offset_does_not_cost_digits():
    """Distances by |b|^2 - 2 a.b would lose them; the bank is centred first."""
    rows = bank(300, 8)
    far = Triples(rows.x, rows.y, rows.z + 2.0**12)
    near = Triples(rows.x, rows.y, far.z - 2.0**12)
    torch.testing.assert_close(draw(far, 40, 2).rows, draw(near, 40, 2).rows)


def test_anchors_of_a_batch_carry_gradients_and_avoid_themselves():
    rows = bank(50)
    numbers = torch.arange(10, 20)
    y, z = rows.y[numbers].clone().requires_grad_(), rows.z[numbers].clone().requires_grad_()
    found = draw(rows, 20, 2, anchors=Anchors(y, z, numbers))
    assert sorted(set(found.y[:, 0].long().tolist())) == numbers.tolist()
    assert not set(found.rows.tolist()) & set(numbers.tolist())
    (found.y.sum() + found.z.sum()).backward()
    assert (y.grad == 2).all()
    assert (z.grad == 2).all()
    strangers = draw(rows, 20, 2, anchors=Anchors(y.detach(), z.detach()))
    assert set(strangers.rows.tolist()) & set(numbers.tolist())  # nearest to themselves


def test_the_metric_looks_only_where_z_tells_about_x():
    """x follows one of 5 directions of z: its neighbours are near in that direction."""
    rows = bank(400, 5)
    direction = torch.randn(5, 1, generator=generator(7))
    linear = Triples(rows.z @ direction, rows.y, rows.z)
    slopes = regression_slopes(linear.x, linear.z, ridge=1e-8)
    torch.testing.assert_close(slopes, direction, rtol=1e-4, atol=1e-4)
    found = draw(linear, 40, 1, metric=slopes)
    plain = draw(linear, 40, 1)
    error = (found.x - found.z @ direction).abs()
    assert error.mean() < 0.1 * (plain.x - plain.z @ direction).abs().mean()


def test_same_generator_same_samples():
    rows = bank()
    assert draw(rows, 9, 2).rows.tolist() == draw(rows, 9, 2).rows.tolist()
    assert draw(rows, 9, 2).rows.tolist() != draw(rows, 9, 2, seed=1).rows.tolist()


def test_what_is_refused():
    rows, labels = bank(10), torch.tensor([0.0] * 8 + [1.0] * 2)[:, None]
    classes = Triples(rows.x, rows.y, labels)
    with pytest.raises(EstimationError, match="10 rows is too small for 9 anchors"):
        draw(rows, 18, 2)
    with pytest.raises(EstimationError, match="one row of each class"):
        draw(classes, 9, 1, discrete=True)
    anchors = Anchors(torch.zeros(1, 1), torch.full((1, 1), 5.0))
    with pytest.raises(EstimationError, match="class without another row"):
        draw(classes, 1, 1, discrete=True, anchors=anchors)
    with pytest.raises(EstimationError, match="only 1 were given"):
        draw(rows, 4, 2, anchors=Anchors(rows.y[:1], rows.z[:1]))
    for count, k in ((0, 1), (3, 0)):
        with pytest.raises(EstimationError, match="1 or more"):
            draw(rows, count, k)
    with pytest.raises(ShapeError, match="same number of rows"):
        product_samples(rows.x[:5], rows.y, rows.z, 2, 1, generator())
    with pytest.raises(ShapeError, match=r"\(N, d\)"):
        product_samples(rows.x[:, 0], rows.y, rows.z, 2, 1, generator())
