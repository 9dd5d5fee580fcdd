"""The flow: its splines, its change of variables, and what it learns that mixtures do not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from known_mixtures import unlabelled
from scipy.stats import multivariate_normal

from lsmi.density import Flow
from lsmi.density.flow import Layer, flow_log_density, flow_map
from mimrl.mi.densities.spline import numbers_a_spline, rational_quadratic

BINS, BOUND = 5, 3.0


def random_spline(generator, size):
    raw = generator.normal(size=(size, numbers_a_spline(BINS))) * 1.5
    return torch.from_numpy(raw)


def random_layers(dimensions, generator, transforms=2, hidden=9, fits=1):
    def draw(*shape):
        return torch.from_numpy(generator.normal(size=shape))

    out = dimensions * numbers_a_spline(BINS)
    return [
        Layer(
            draw(fits, dimensions, hidden),
            draw(fits, 1, hidden),
            draw(fits, hidden, out),
            draw(fits, 1, out),
        )
        for _ in range(transforms)
    ]


def test_spline_rises_and_keeps_its_interval():
    raw = random_spline(np.random.default_rng(0), 20).unsqueeze(1)
    x = torch.linspace(-2 * BOUND, 2 * BOUND, 2001, dtype=torch.float64).expand(20, -1)
    y, log_slope = rational_quadratic(x, raw.expand(-1, 2001, -1), BOUND)
    assert y.diff(dim=1).min() > 0
    ends = torch.tensor([[-BOUND, BOUND]], dtype=torch.float64).expand(20, -1)
    assert rational_quadratic(ends, raw.expand(-1, 2, -1), BOUND)[0].numpy() == pytest.approx(
        ends.numpy(), abs=1e-9
    )
    # straight beyond the ends, without a bend at them
    for outside, end in ((x[0] < -BOUND, ends[:, 0]), (x[0] > BOUND, ends[:, 1])):
        slope = log_slope[:, outside].exp()
        expected = end[:, None] + (x[:, outside] - end[:, None]) * slope
        assert slope.std(dim=1).max() < 1e-9
        assert y[:, outside].numpy() == pytest.approx(expected.numpy(), abs=1e-9)


def test_spline_slope_is_its_derivative_and_zeros_are_the_identity():
    generator = np.random.default_rng(1)
    x = torch.from_numpy(generator.normal(size=400) * 3).requires_grad_()
    y, log_slope = rational_quadratic(x, random_spline(generator, 400), BOUND)
    (derivative,) = torch.autograd.grad(y.sum(), x)
    assert log_slope.detach().numpy() == pytest.approx(derivative.log().numpy(), abs=1e-8)
    nothing = torch.zeros(400, numbers_a_spline(BINS), dtype=torch.float64)
    same, flat = rational_quadratic(x, nothing, BOUND)
    assert same.detach().numpy() == pytest.approx(x.detach().numpy(), abs=1e-12)
    assert flat.detach().numpy() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("dimensions", [1, 2, 5])
def test_log_volume_is_that_of_the_jacobian(dimensions):
    generator = np.random.default_rng(2)
    layers = random_layers(dimensions, generator)
    x = torch.from_numpy(generator.normal(size=(1, 6, dimensions)))
    z, log_volume = flow_map(x, layers)
    for row in range(6):
        jacobian = torch.autograd.functional.jacobian(
            lambda one: flow_map(one[None, None], layers)[0][0, 0], x[0, row]
        )
        expected = torch.linalg.slogdet(jacobian)[1].item()
        assert log_volume[0, row].item() == pytest.approx(expected, abs=1e-8)
    base = multivariate_normal(np.zeros(dimensions)).logpdf(z[0].numpy())
    assert flow_log_density(x, layers)[0].numpy() == pytest.approx(
        base + log_volume[0].numpy(), abs=1e-9
    )


def test_one_transform_is_autoregressive():
    generator = np.random.default_rng(3)
    layer = random_layers(4, generator, transforms=1)
    x = torch.from_numpy(generator.normal(size=4))
    jacobian = torch.autograd.functional.jacobian(lambda one: layer[0](one[None, None])[0][0, 0], x)
    assert torch.equal(jacobian, jacobian.tril())
    assert (jacobian.tril(-1)[1:].abs().sum(1) > 0).all()
    assert (jacobian.diagonal() > 0).all()


def test_fits_share_nothing():
    generator = np.random.default_rng(4)
    layers = random_layers(3, generator, fits=2)
    x = torch.from_numpy(generator.normal(size=(2, 5, 3)))
    both = flow_log_density(x, layers)
    alone = [Layer(*(part[1:] for part in vars(layer).values())) for layer in layers]
    assert both[1:].numpy() == pytest.approx(flow_log_density(x[1:], alone).numpy(), abs=1e-10)


def test_starts_as_the_gaussian_of_the_rows_and_bends_to_a_banana():
    generator = np.random.default_rng(5)
    u = generator.normal(size=(1500, 2)) * [1, 0.3]
    x = np.stack([u[:, 0], u[:, 0] ** 2 + u[:, 1]], axis=1)
    exact = multivariate_normal([0, 0], [1, 0.09]).logpdf(u)
    found = unlabelled(Flow(epochs=12), x, [np.arange(1000)])
    gaussian = multivariate_normal(x[:1000].mean(axis=0), np.cov(x[:1000].T, ddof=0)).logpdf(x)
    assert found.names[0] == "flow, epoch 0"
    # single precision, far out
    assert found.marginal[0, 0] == pytest.approx(gaussian, rel=1e-5, abs=1e-4)
    loss = (exact - found.marginal[:, 0])[:, 1000:].mean(axis=1)
    assert loss[0] > 1.4
    assert loss[-1] < 0.6
    assert loss.min() > 0


def test_moments_are_few_and_end_with_the_last_epoch():
    assert Flow(epochs=3).names == tuple(f"flow, epoch {k}" for k in range(4))
    assert len(Flow(epochs=70).names) == 11
    assert Flow(epochs=70).names[-1] == "flow, epoch 70"
