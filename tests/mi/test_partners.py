"""Partners: who exchanges with whom, laws of the product samples, what they estimate."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mimrl.errors import EstimationError
from mimrl.mi import ConditionalMI, Triples, partners_near, partners_within


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@given(rows=st.integers(1, 40), classes=st.integers(1, 5), seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_partners_within_are_a_permutation_that_keeps_classes(rows, classes, seed):
    labels = torch.randint(classes, (rows,), generator=generator(seed))
    one_hot = torch.eye(classes)[labels]
    found = partners_within(one_hot, generator(seed))
    assert found.sort().values.tolist() == list(range(rows))
    assert torch.equal(labels[found], labels)
    alone = torch.bincount(labels, minlength=classes)[labels] == 1
    assert torch.equal(found == torch.arange(rows), alone)


def test_standardised_classes_are_classes_still():
    """Critics see labels minus their mean over their deviation."""
    labels = torch.tensor([0, 1, 2, 1, 0, 2, 2, 1])
    one_hot = torch.eye(3)[labels]
    scaled = (one_hot - one_hot.mean(dim=0)) / one_hot.std(dim=0)
    assert torch.equal(
        partners_within(scaled, generator(3)), partners_within(one_hot, generator(3))
    )


def test_every_row_of_a_class_is_as_likely_a_partner():
    one_hot = torch.eye(2)[torch.tensor([0, 0, 0, 0, 1, 1])]
    draw, counts = generator(), torch.zeros(6, 6)
    for _ in range(3000):
        counts[torch.arange(6), partners_within(one_hot, draw)] += 1
    expected = torch.zeros(6, 6)
    expected[:4, :4] = 1000 * (1 - torch.eye(4))
    expected[4:, 4:] = 3000 * (1 - torch.eye(2))
    # five standard deviations of a binomial count
    assert (counts - expected).abs().max() < 5 * math.sqrt(3000 * (1 / 3) * (2 / 3))


@given(rows=st.integers(2, 40), width=st.integers(1, 3), seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_partners_near_are_the_nearest_other_rows(rows, width, seed):
    places = torch.randn(rows, width, generator=generator(seed)).mul(2).round()
    found = partners_near(places, generator(seed))
    apart = (places[:, None] - places).square().sum(dim=2)
    apart.fill_diagonal_(math.inf)
    assert (found != torch.arange(rows)).all()
    assert torch.equal(apart[torch.arange(rows), found], apart.min(dim=1).values)


def test_equals_are_chosen_at_random():
    """Of six equal ratings each other one is some row's partner sooner or later."""
    draw = generator()
    seen = {int(partners_near(torch.zeros(6, 1), draw)[0]) for _ in range(200)}
    assert seen == {1, 2, 3, 4, 5}


def test_one_row_has_no_partner():
    with pytest.raises(EstimationError, match="two or more rows"):
        partners_near(torch.zeros(1, 1), generator())


@pytest.mark.parametrize(("shared", "truth"), [(0.0, 0.0), (0.8, -0.5 * math.log(1 - 0.64))])
def test_a_classifier_of_batches_estimates_conditional_information(shared, truth):
    """x and y correlate by ``shared`` given z, which both also follow; batches of 128 rows.

    The tolerance is three times the spread of ten readings of 40 batches each (.01) plus the bias
    of the nearest of 128 values, about .01.
    """
    draw = generator(5)
    z = torch.randn(6000, 1, generator=draw)
    e1, e2 = torch.randn(2, 6000, 1, generator=draw)
    x, y = z + e1, z + shared * e1 + math.sqrt(1 - shared**2) * e2
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = ConditionalMI(1, 1, 1, estimator="dv", hidden=32, layers=1)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)

    def contrast(rows):
        joint = Triples(x[rows], y[rows], z[rows])
        partners = partners_near(z[rows], draw)
        return joint, Triples(joint.x, joint.y[partners], joint.z)

    for _ in range(800):
        optimizer.zero_grad()
        network.loss(*contrast(torch.randint(4000, (128,), generator=draw))).backward()
        optimizer.step()
    with torch.no_grad():
        held_out = torch.arange(4000, 6000).split(128)
        values = torch.stack([network(*contrast(rows)) for rows in held_out if len(rows) == 128])
    assert float(values.mean()) == pytest.approx(truth, abs=0.04)
