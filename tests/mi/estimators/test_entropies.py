"""KNIFE and flows: densities are densities, starts are Gaussian, known information is found."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from mimrl.errors import EstimationWarning, UndertrainedWarning
from mimrl.mi.densities import KernelMixture, SplineFlow
from mimrl.mi.densities.kernels import kernel_log_density
from mimrl.mi.estimators.canonical import gaussian_log_ratio
from mimrl.mi.estimators.entropies import Residual
from mimrl.mi.estimators.features import Features
from mimrl.mi.estimators.flow import Flow
from mimrl.mi.estimators.knife import Knife
from mimrl.mi.estimators.samples import Pair

pytestmark = pytest.mark.usefixtures("seeded")

ESTIMATORS = {"knife": Knife, "flow": Flow}


def random_density(name: str, dimensions: int, context: int):
    """With weights large enough to be far from the Gaussian of the start."""
    plain = (
        KernelMixture(torch.randn(3, dimensions), hidden=8)
        if name == "knife"
        else SplineFlow(dimensions, hidden=8, bins=4)
    )
    density = (plain.conditioned(context) if context else plain).double()
    with torch.no_grad():
        for parameter in density.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return density


def test_kernels_are_gaussians_of_these_precisions():
    rng = np.random.default_rng(0)
    means, scales, lower = (
        rng.normal(size=(2, 3)),
        rng.normal(size=(2, 3)),
        rng.normal(size=(2, 3, 3)),
    )
    weights, v = np.array([0.3, 0.7]), rng.normal(size=(5, 3))
    total = np.zeros(5)
    for k in range(2):
        factor = (np.eye(3) + np.tril(lower[k], -1)) @ np.diag(np.exp(scales[k]))
        covariance = np.linalg.inv(factor.T @ factor)
        total += weights[k] * multivariate_normal(means[k], covariance).pdf(v)
    found = kernel_log_density(
        torch.from_numpy(v),
        torch.from_numpy(means)[None],
        torch.from_numpy(scales)[None],
        torch.from_numpy(lower),
        torch.from_numpy(np.log(weights))[None],
    )
    np.testing.assert_allclose(found, np.log(total), atol=1e-10)


@pytest.mark.parametrize("context", [0, 2])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_densities_integrate_to_one(name, context):
    """Midpoint rule on a square; what is outside it is far in the tails."""
    density = random_density(name, 2, context)
    axis = torch.linspace(-30, 30, 401).double()
    grid = torch.cartesian_prod(axis, axis)
    u = torch.tensor([[0.7, -1.3]]).double().expand(len(grid), -1) if context else None
    with torch.no_grad():
        total = density(grid, u).exp().sum() * (axis[1] - axis[0]) ** 2
    assert total.item() == pytest.approx(1, abs=0.02)


def test_the_flow_s_determinant_is_that_of_its_jacobian():
    flow = random_density("flow", 3, 2)
    v, u = torch.randn(4, 3).double(), torch.randn(4, 2).double()
    with torch.no_grad():
        _, log_volume = flow.map(v, u)
    for row in range(4):
        jacobian = torch.autograd.functional.jacobian(
            lambda one, row=row: flow.map(one[None], u[[row]])[0][0], v[row]
        )
        torch.testing.assert_close(jacobian.det().abs().log(), log_volume[row])


@pytest.mark.parametrize("name", ESTIMATORS)
def test_context_and_every_coordinate_are_heard(name):
    density = random_density(name, 3, 2)
    v, u = torch.randn(1, 3).double().requires_grad_(), torch.randn(1, 2).double().requires_grad_()
    for gradient in torch.autograd.grad(density(v, u).sum(), (v, u)):
        assert (gradient.abs() > 1e-6).all()


def test_first_coordinate_of_a_layer_hears_the_context():
    """Its hidden units hear no coordinate, and without the context it would be constant."""
    layer = random_density("flow", 2, 1).layers[0]
    v, features = torch.zeros(2, 2).double(), torch.tensor([[0.0], [1.0]]).double().expand(2, 8)
    with torch.no_grad():
        moved, _ = layer(v, features)
    assert moved[0, 0] != moved[1, 0]
    changed = v.clone()
    changed[:, 1] = 5.0
    with torch.no_grad():
        torch.testing.assert_close(layer(changed, features)[0][:, 0], moved[:, 0])


def test_flow_starts_at_the_standard_normal():
    flow, v = SplineFlow(2), torch.randn(6, 2)
    expected = multivariate_normal(np.zeros(2)).logpdf(v)
    np.testing.assert_allclose(flow(v).detach(), expected, atol=1e-5)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_context_is_not_heeded_before_training(name):
    density, v, u = random_density(name, 2, 0), torch.randn(6, 2).double(), torch.randn(6, 3)
    conditional, before = density.conditioned(3), density(v)
    torch.testing.assert_close(conditional(v, u.double()), before)
    conditional(v, u.double()).sum().backward()
    added = {n: p for n, p in conditional.named_parameters() if n not in density.state_dict()}
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in added.values())
    torch.testing.assert_close(density(v), before)
    assert all(p.grad is None for p in density.parameters())


def gaussian_pair(rows: int, seed: int = 0) -> Pair:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 3))
    return Pair(x, 0.8 * x[:, :2] + 0.6 * rng.normal(size=(rows, 2)))


def test_residual_is_white_and_knows_its_volume():
    pair = gaussian_pair(5000)
    features = Features.fit(pair)
    residual, seen = Residual.of(features.canonical), features.coordinates(pair)
    u, v = torch.from_numpy(seen.x), torch.from_numpy(seen.y)
    left = residual(u, v).numpy()
    np.testing.assert_allclose(np.cov(left.T), np.eye(2), atol=0.06)  # 4 standard errors
    assert np.abs(left.T @ seen.x).max() / 5000 < 0.06
    normal = multivariate_normal(np.zeros(2))
    ratio = normal.logpdf(left) + residual.log_volume - normal.logpdf(seen.y)
    expected = gaussian_log_ratio(seen, features.canonical.correlations)
    np.testing.assert_allclose(ratio, expected, atol=1e-5)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_gaussian_pair(name, turned):
    """1.02 nats; 500 rows: standard error .04, correlations uncertain by .016 each: .04 nats."""
    pair = gaussian_pair(500)
    x, y = (pair.y, pair.x) if turned else (pair.x, pair.y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndertrainedWarning)
        found = ESTIMATORS[name](folds=2, steps=20).estimate_with_info(x, y)
    assert found.mi_estimate == pytest.approx(-math.log(1 - 0.64), abs=0.16)
    assert 0.02 < found.standard_error < 0.07


def elliptical(rows: int):
    """Student's t with one degree of freedom, uncorrelated: 0.2242 nats, none of them Gaussian."""
    rng = np.random.default_rng(5)
    length = np.sqrt(rng.chisquare(1, size=(rows, 1)))
    return rng.normal(size=(rows, 1)) / length, rng.normal(size=(rows, 1)) / length


@pytest.mark.parametrize("name", ESTIMATORS)
def test_what_no_gaussian_has_is_learned(name):
    estimator = ESTIMATORS[name](folds=2, steps=100, rate=5e-3, hidden=32, batch_size=128)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndertrainedWarning)
        found = estimator.estimate_with_info(*elliptical(1000))
    assert 0.12 < found.mi_estimate < 0.2242 + 3 * 0.025
    for fold, step in enumerate(found.additional_information["step"]):
        curve = [point for point in found.curve if point.fold == fold]
        chosen = next(point for point in curve if point.step == step)
        assert chosen.validation == max(point.validation for point in curve)
        assert 0.02 < chosen.validation < 0.6  # 75 rows, in nats: information, not a likelihood
        assert -0.1 < chosen.train < 0.6


@pytest.mark.parametrize("name", ESTIMATORS)
def test_shuffled_pairs_have_no_information(name):
    """1,500 rows; with 600 the 45 that validate choose a step which costs .04 nats."""
    pair = gaussian_pair(1500).shuffled(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndertrainedWarning)
        estimator = ESTIMATORS[name](folds=2, steps=40, batch_size=128)
        assert abs(estimator.estimate(pair.x, pair.y)) < 0.03


def test_options_change_the_estimate():
    x, y = elliptical(120)
    common = {"folds": 2, "steps": 10, "check_every": 10, "hidden": 16}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EstimationWarning)
        for kind, options in (
            (Knife, {"kernels": 3}),
            (Flow, {"bins": 4}),
            (Flow, {"transforms": 1}),
        ):
            plain, changed = (
                kind(**common | more).estimate_with_info(x, y).curve[-1] for more in ({}, options)
            )
            assert plain != changed
