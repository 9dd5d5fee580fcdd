"""Whitening, calibration, classifiers and densities, each against something known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from lsmi.calibration import calibrate
from lsmi.density import Knife, Mixture, knife_log_density, log_densities
from lsmi.discriminators import PATIENCE, ClassifierSettings, Job, classifier_paths, moments
from lsmi.preprocessing import coordinates, fit_whitening, log_volumes
from lsmi.samples import check_features
from mimrl.errors import EstimationError, NonFiniteError, ShapeError


def test_whitened_features_have_unit_covariance_and_ignore_rotation_and_units():
    generator = np.random.default_rng(0)
    x = generator.exponential(size=(400, 6)) @ generator.normal(size=(6, 6))
    white = fit_whitening(x)(x)
    assert np.cov(white.T, ddof=0) == pytest.approx(np.eye(6), abs=1e-9)
    rotation = np.linalg.qr(generator.normal(size=(6, 6)))[0]
    moved = 7.0 * x[:, [3, 0, 5, 1, 2, 4]] @ rotation + 3.0
    assert fit_whitening(moved)(moved) == pytest.approx(white, abs=1e-8)


def test_whitening_leaves_out_what_does_not_vary():
    generator = np.random.default_rng(0)
    x = np.hstack([generator.normal(size=(50, 3)), np.full((50, 2), 4.2)])
    assert fit_whitening(np.hstack([x, x[:, :1]])).components == 3
    assert fit_whitening(generator.normal(size=(10, 40))).components == 9
    with pytest.raises(EstimationError, match="the same for every"):
        fit_whitening(np.full((20, 3), 1e4, np.float32))


def test_bad_features_are_refused():
    with pytest.raises(ShapeError, match=r"x1 of train has shape \(3, 2\)"):
        check_features(np.zeros((3, 2)), "x1 of train", 4)
    with pytest.raises(NonFiniteError, match="first in row 2"):
        check_features(np.array([[0.0], [1.0], [np.inf]]), "x1", 3)


def exact_odds(generator, size, slope):
    """Labels whose log odds are ``slope`` times the classifier's."""
    odds = generator.normal(size=size) * 2
    labels = (generator.random(size) < 1 / (1 + np.exp(-slope * odds))).astype(np.int64)
    logs = np.stack([-np.logaddexp(0, odds), -np.logaddexp(0, -odds)], axis=1)
    return logs, labels


@pytest.mark.parametrize("slope", [0.5, 1.0, 2.0])
def test_calibration_finds_the_slope_of_an_overconfident_or_timid_classifier(slope):
    logs, labels = exact_odds(np.random.default_rng(0), 20_000, slope)
    found = calibrate(logs[None], labels, np.log([0.5, 0.5]))
    assert found.slope == pytest.approx(slope, rel=0.06)  # three standard errors
    assert np.exp(found(logs, np.log([0.5, 0.5]))).sum(axis=1) == pytest.approx(1)


def test_calibration_falls_back_to_the_prior_on_chance_labels():
    generator = np.random.default_rng(0)
    logs, _ = exact_odds(generator, 300, 1.0)
    labels = (generator.random(300) < 0.2).astype(np.int64)
    log_prior = np.log([0.8, 0.2])
    found = calibrate(logs[None], labels, log_prior)
    assert found.slope == 0.0
    assert found(logs, log_prior) == pytest.approx(np.tile(log_prior, (300, 1)))


def test_one_confident_mistake_costs_no_more_than_the_calibration_rows_allow():
    logs = np.log(np.tile([1 - 1e-12, 1e-12], (100, 1)))
    found = calibrate(logs[None], np.zeros(100, np.int64), np.log([0.6, 0.4]))
    assert found.gain > 0.45  # of -log 0.6 = 0.511
    worst = found(logs, np.log([0.6, 0.4]))[0, 1]
    assert math.log(0.4 / 102) - 1e-9 <= worst < math.log(0.4 / 10)


def test_classifiers_learn_xor_and_the_exact_posterior_of_two_gaussians():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(1200, 2)) * 0.3 + generator.choice([-1.0, 1.0], size=(1200, 2))
    xor = (x[:, 0] * x[:, 1] > 0).astype(np.int64)
    shifted = generator.integers(0, 2, 1200)
    gaussian = generator.normal(size=(1200, 1)) + 1.5 * shifted[:, None]
    fits = (np.arange(900), np.arange(300, 1200))
    held = (np.arange(900, 1200), np.arange(250))
    jobs = [Job(fit, rows, xor, rows) for fit, rows in zip(fits, held, strict=True)]
    path = classifier_paths([x], 2, jobs, ClassifierSettings(hidden=(64, 64), epochs=25))
    assert [part.shape[1:] for part in path] == [(300, 2), (250, 2)]
    for part, rows in zip(path, held, strict=True):
        assert (part[-1].argmax(axis=1) == xor[rows]).mean() > 0.97
    linear = ClassifierSettings(hidden=(), epochs=25, rate=2e-2, members=2)
    jobs = [Job(fit, rows, shifted, rows) for fit, rows in zip(fits, held, strict=True)]
    logs = classifier_paths([gaussian], 2, jobs, linear)[1][-1]
    odds = 1.5 * gaussian[held[1], 0] - 1.5**2 / 2
    assert logs[:, 1] - logs[:, 0] == pytest.approx(odds, abs=0.5)  # 900 rows: s.e. about 0.15


def test_rows_outside_a_fit_do_not_touch_it():
    """Held-out labels decide at most when all trainings end, here after three epochs anyway."""
    generator = np.random.default_rng(0)
    x, labels = generator.normal(size=(120, 3)), generator.integers(0, 3, 120)
    settings = ClassifierSettings(hidden=(8,), epochs=3)
    fit, held = np.arange(80), np.arange(80, 120)
    (path,) = classifier_paths([x], 3, [Job(fit, held, labels, held)], settings)
    other = np.where(np.arange(120) < 80, labels, 0)
    moved = np.where(np.arange(120)[:, None] < 110, x, 9.0)
    (labelled,) = classifier_paths([x], 3, [Job(fit, held, other, held)], settings)
    (shifted,) = classifier_paths([moved], 3, [Job(fit, held, labels, held)], settings)
    assert np.array_equal(path, labelled)
    assert np.array_equal(path[:, :30], shifted[:, :30])


def test_a_training_that_only_overfits_ends_early():
    generator = np.random.default_rng(0)
    x, labels = generator.normal(size=(300, 8)), generator.integers(0, 2, 300)
    job = Job(np.arange(200), np.arange(200, 300), labels, np.arange(200, 300))
    heard = []
    settings = ClassifierSettings(hidden=(64, 64), epochs=200, rate=1e-2)
    (path,) = classifier_paths([x], 2, [job], settings, heard.append)
    assert PATIENCE < len(path) < 25
    assert sum(heard) == 200


def test_only_the_judges_labels_say_when_a_training_ends():
    generator = np.random.default_rng(0)
    x, labels = generator.normal(size=(300, 8)), generator.integers(0, 2, 300)
    other = np.where(np.arange(300) < 250, labels, 1 - labels)
    settings = ClassifierSettings(hidden=(32,), epochs=100, rate=1e-2)
    fit, held, judges = np.arange(200), np.arange(200, 300), np.arange(200, 250)
    first, second = (
        classifier_paths([x], 2, [Job(fit, held, told, judges)], settings)[0]
        for told in (labels, other)
    )
    assert np.array_equal(first, second)
    (unjudged,) = classifier_paths([x], 2, [Job(fit, held, labels, held[:0])], settings)
    assert len(first) < len(unjudged) == 25  # nobody ended it


def test_estimators_leave_the_global_generators_alone():
    torch_state, numpy_state = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    x = np.random.default_rng(0).normal(size=(90, 2))
    job = Job(np.arange(80), np.arange(80, 90), np.arange(90) % 2, np.arange(80, 90))
    classifier_paths([x], 2, [job], ClassifierSettings(epochs=1))
    log_densities(x, [np.arange(80)], (Mixture(), Knife(epochs=1)))
    assert torch.equal(torch_state, torch.random.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])  # noqa: NPY002


def test_knife_with_one_component_is_a_gaussian():
    generator = np.random.default_rng(0)
    d = 4
    mean, scales, lower = (generator.normal(size=s) for s in ((d,), (d,), (d, d)))
    mixing = (np.eye(d) + np.tril(lower, -1)) @ np.diag(np.exp(scales))
    covariance = np.linalg.inv(mixing.T @ mixing)
    x = generator.normal(size=(7, d))
    parts = (torch.as_tensor(v) for v in (x, mean[None], scales[None], lower[None], np.zeros(1)))
    expected = multivariate_normal(mean, covariance).logpdf(x)
    assert knife_log_density(*parts).numpy() == pytest.approx(expected, abs=1e-10)


def test_knife_integrates_to_one():
    generator = np.random.default_rng(1)
    shapes = ((3, 2), (3, 2), (3, 2, 2), (3,))
    parts = [torch.as_tensor(generator.normal(size=s) * 0.3) for s in shapes]
    axis = np.linspace(-12, 12, 401)
    grid = torch.as_tensor(np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2))
    total = knife_log_density(grid, *parts).exp().sum().item() * (axis[1] - axis[0]) ** 2
    assert total == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("scale", [0.05, 1.0, 10.0])
def test_densities_find_the_entropy_of_a_mixture_in_any_units(scale):
    """The published code reads .05 x N(0, I) in 3 dimensions 3.7 nats too high, 10 x 8.7."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(1500, 3)) * scale
    truth = 1.5 * math.log(2 * math.pi * math.e * scale**2)
    fit = np.arange(1000)
    for family in (Mixture(), Knife(epochs=15)):
        names, values = log_densities(x, [fit], (family,))
        assert values.shape == (len(names), 1, 1500)
        best = values[:, 0, 1000:1250].mean(axis=1).argmax()
        # standard error of the mean of 250 entropies: sqrt(1.5 / 250) = 0.08
        assert -values[best, 0, 1250:].mean() == pytest.approx(truth, abs=0.2)


def test_moments_end_with_the_last_epoch():
    assert max(moments(37)) == 37
    assert sorted(moments(1)) == [1]


def test_a_coordinate_that_varies_by_rounding_is_constant():
    generator = np.random.default_rng(0)
    x, rows = generator.normal(size=(200, 3)), np.arange(200)
    x[:, 2] = 0.1  # whose standard deviation is 1e-17, not 0
    found = coordinates(x, rows, "standard", None, "x")
    assert found.values.shape == (200, 2)
    with pytest.raises(EstimationError, match="1 of 3 coordinates are the same"):
        coordinates(x, rows, "none", None, "x")


def test_volumes_are_the_log_determinants_of_the_maps():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(500, 3)) @ generator.normal(size=(3, 3)) * [1.0, 5.0, 0.1]
    covariance = np.cov(x.T, ddof=0)
    found = log_volumes(covariance)
    white = np.linalg.inv(np.linalg.cholesky(covariance))  # any whitening: a rotation has volume 0
    # h(A x) = h(x) + log |det A|
    assert found["whiten"] == pytest.approx(np.linalg.slogdet(white)[1])
    scaling = np.diag(1 / np.sqrt(np.diag(covariance)))
    assert found["standard"] == pytest.approx(np.linalg.slogdet(scaling)[1])
    assert found["trace"] == pytest.approx(-1.5 * np.log(np.trace(covariance) / 3))
    assert "whiten" not in log_volumes(np.diag([1.0, 0.0]) + 1e-20)


def test_coordinates_of_every_scaling_say_what_the_others_would_add():
    generator = np.random.default_rng(0)
    x = np.c_[generator.normal(size=(80, 3)) * [1.0, 5.0, 0.1], np.full(80, 2.0)]
    rows = np.arange(60)
    whitened = coordinates(x, rows, "whiten", None, "x")
    own = coordinates(x, rows, "own", None, "x")
    assert np.array_equal(whitened.values, own.values)
    assert next(iter(whitened.volumes)) == "whiten"
    gap = own.volumes["own"] - own.volumes["whiten"]
    assert whitened.volumes["own"] - whitened.volumes["whiten"] == pytest.approx(gap)
    standard = coordinates(x, rows, "standard", None, "x").values
    assert standard.shape == (80, 3)
    assert standard[rows].std(axis=0) == pytest.approx(1)
    with pytest.raises(EstimationError, match="1 of 4 coordinates are the same"):
        coordinates(x, rows, "none", None, "x")
    assert np.array_equal(coordinates(x[:, :3], rows, "none", None, "x").values, x[:, :3])
    assert coordinates(x, rows, "whiten", 2, "x").values.shape == (80, 2)
