"""Laws of the network: what a pair's estimate may not depend on, and what its table is."""

import pytest
import torch
from torch import nn

from mimrl.mi.infonet.grid import cells
from mimrl.mi.infonet.network import GridNetwork, NetworkConfig, copula_table, donsker_varadhan
from mimrl.mi.infonet.ranks import ranks
from mimrl.mi.infonet.symmetric import (
    SYMMETRIES,
    LiftingConv,
    LoweringConv,
    SymmetricConv,
    act,
)


def seeded_network(**sizes):
    """A network none of whose weights is zero, as if trained."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = GridNetwork(NetworkConfig(**sizes))
        for weight in network.parameters():
            nn.init.normal_(weight, std=0.2) if weight.dim() < 2 else weight.data.add_(
                0.02 * torch.randn_like(weight)
            )
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def network():
    return seeded_network(width=16)


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 400, generator=generator)
    y = x.square() + 0.5 * torch.randn(3, 400, generator=generator) + 0.4 * x
    return ranks(x), ranks(y)


def test_symmetries_are_a_group_of_eight():
    square = torch.arange(9).reshape(3, 3)
    images = [tuple(act(g, square).flatten().tolist()) for g in range(SYMMETRIES)]
    assert len(set(images)) == SYMMETRIES
    both = {
        tuple(act(g, act(h, square)).flatten().tolist())
        for g in range(SYMMETRIES)
        for h in range(SYMMETRIES)
    }
    assert both == set(images)


@pytest.mark.parametrize("symmetry", range(SYMMETRIES))
@pytest.mark.usefixtures("seeded")
def test_layers_commute_with_every_symmetry(symmetry):
    """Features move their eight maps among each other, so plain maps at both ends are compared."""
    layers = nn.Sequential(LiftingConv(2, 3, size=4), nn.SiLU(), SymmetricConv(3, 4), nn.SiLU())
    layers.append(SymmetricConv(4, 3, size=1)).append(LoweringConv(3)).double()
    for layer in layers:
        if getattr(layer, "bias", None) is not None:
            nn.init.normal_(layer.bias)
    maps = torch.randn(2, 2, 16, 16, dtype=torch.float64)
    after, before = act(symmetry, layers(maps)), layers(act(symmetry, maps))
    torch.testing.assert_close(before, after)  # rounding of float64
    if symmetry:
        assert (after - layers(maps)).abs().max() > 0.01  # or the test would see nothing


def test_estimate_keeps_when_axes_change_places_or_sign(network, pair):
    u, v = pair
    first = network(u, v)
    assert first.information.abs().min() > 0.01  # weights at random: any value, but not none
    for a, b, undo in (
        (v, u, lambda t: t.transpose(1, 2)),
        (1 - u, v, lambda t: t.flip(1)),
        (u, 1 - v, lambda t: t.flip(2)),
        (1 - v, u, lambda t: t.flip(1).transpose(1, 2)),
    ):
        again = network(a, b)
        # float32 rounding through 12 layers, and ranks rounded when they are mirrored
        torch.testing.assert_close(undo(again.table), first.table, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(again.information, first.information, rtol=0, atol=1e-4)


def test_estimate_does_not_depend_on_the_order_of_samples(network, pair):
    order = torch.randperm(400, generator=torch.Generator().manual_seed(1))
    first, again = network(*pair), network(*(ranks[:, order] for ranks in pair))
    assert torch.equal(first.table, again.table)  # the samples are added as integers
    torch.testing.assert_close(first.information, again.information, rtol=0, atol=1e-6)


def test_estimate_of_a_pair_does_not_depend_on_its_neighbours_in_the_batch(network, pair):
    u, v = pair
    alone = torch.cat([network(u[i : i + 1], v[i : i + 1]).information for i in range(3)])
    torch.testing.assert_close(network(u, v).information, alone, rtol=0, atol=1e-5)


def test_network_reads_the_number_of_samples(network, pair):
    """The same picture from ten times the samples says more."""
    u, v = pair
    repeated = network(u.repeat(1, 10), v.repeat(1, 10))
    assert (repeated.table - network(u, v).table).abs().max() > 1e-3


def test_table_is_positive_with_mean_one_and_margins_brought_near_one():
    generator = torch.Generator().manual_seed(0)
    raw = torch.randn(4, 32, 32, generator=generator) + torch.linspace(-2, 2, 32)[:, None]
    table = copula_table(raw)
    assert (table > 0).all()
    torch.testing.assert_close(table.mean(dim=(1, 2)), torch.ones(4))
    plain = raw.exp() / raw.exp().mean(dim=(1, 2), keepdim=True)
    for axis in (1, 2):
        away = (table.mean(dim=axis) - 1).abs().amax()
        assert away < 0.2 * (plain.mean(dim=axis) - 1).abs().amax()  # three halvings: about 1/8


def test_product_expectation_is_that_of_all_pairs_of_samples():
    """Against the sum over all n^2 pairs, for coordinates that are no ranks."""
    generator = torch.Generator().manual_seed(2)
    u, v = torch.rand(2, 2, 60, generator=generator, dtype=torch.float64)
    table = torch.rand(2, 16, 16, generator=generator, dtype=torch.float64) + 0.1
    places = cells(u, v, 16)
    found = donsker_varadhan(table, places.density(), places)
    every_u = u[:, :, None].expand(2, 60, 60).flatten(1)
    every_v = v[:, None, :].expand(2, 60, 60).flatten(1)
    product = cells(every_u, every_v, 16).look_up(table).mean(dim=1)
    expected = places.look_up(table).log().mean(dim=1) - product.log()
    # the density is made of weights rounded to 2^-24
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_grid_adds_up_and_is_uniform_for_uniform_margins():
    u = ((torch.arange(640) + 0.5) / 640)[None]
    v = u[:, torch.randperm(640, generator=torch.Generator().manual_seed(0))]
    density = cells(u, v, 32).density()
    torch.testing.assert_close(density.mean(dim=(1, 2)), torch.ones(1))
    for axis in (1, 2):  # 20 samples a cell, symmetric around its centre
        torch.testing.assert_close(density.mean(dim=axis), torch.ones(1, 32), rtol=0, atol=1e-5)


def test_look_up_is_linear_between_centres_and_constant_beyond():
    centres = (torch.arange(16) + 0.5) / 16
    table = (3 * centres[:, None] - 2 * centres)[None]
    u, v = torch.tensor([[0.1, 0.5, 0.93, 0.0]]), torch.tensor([[0.9, 0.31, 0.5, 1.0]])
    inner = 3 * u.clamp(0.5 / 16, 15.5 / 16) - 2 * v.clamp(0.5 / 16, 15.5 / 16)
    torch.testing.assert_close(cells(u, v, 16).look_up(table), inner)


def test_low_precision_is_the_same_network(pair):
    exact = seeded_network(width=16)
    rough = seeded_network(width=16)
    rough.low_precision = True
    a, b = exact(*pair).table.log(), rough(*pair).table.log()
    assert not torch.equal(a, b)
    assert (a - b).abs().mean() < 0.03 * a.abs().mean()  # bfloat16 has 8 bits: 0.4 % a layer
