"""Estimates with the shipped weights: known truths, laws, and what is refused."""

import math
import warnings

import numpy as np
import pytest
import torch

from mimrl.errors import EstimationError, SampleSizeWarning, ShapeError, TiesWarning
from mimrl.mi.infonet import (
    compute_smi_mean,
    estimate_batch,
    estimate_mi,
    infer,
    load_model,
    pointwise,
)
from mimrl.mi.infonet.drawing import Source
from mimrl.mi.infonet.loading import SHIPPED
from mimrl.mi.infonet.validation import family_errors


@pytest.fixture(scope="module")
def model():
    return load_model()


def gaussians(rho, count, pairs, seed=0):
    x, noise = np.random.default_rng(seed).standard_normal((2, pairs, count))
    return x, rho * x + math.sqrt(1 - rho**2) * noise


@pytest.mark.parametrize("rho", [0.2, 0.6, 0.9, 0.99])
def test_gaussian_pairs(model, rho):
    x, y = gaussians(rho, 2000, 16)
    found = estimate_batch(model, x, y)
    truth = -0.5 * math.log(1 - rho**2)
    # the standard error of the mean of the log ratio is rho / sqrt(n) at most: 0.022 a pair
    assert abs(found.mean() - truth) < 0.01 + 0.02 * truth
    assert np.abs(found - truth).mean() < 0.035


@pytest.mark.parametrize(
    ("count", "most"), [(200, 0.03), (500, 0.015), (2000, 0.005), (5000, 0.005), (40_000, 0.005)]
)
def test_shuffled_data_have_none(model, count, most):
    x, _ = gaussians(0.5, count, 30)
    y = np.random.default_rng(1).permuted(x**3 + 1, axis=1)
    found = estimate_batch(model, x, y)
    assert abs(found.mean()) < most
    assert np.abs(found).max() < 0.15


def test_families_that_are_neither_gaussian_nor_monotone(model):
    for row in family_errors(model, 2000, 8, seed=11, names=("functions", "blocks", "curves")):
        assert row.absolute < 0.05, row


def test_independent_of_units_order_axes_and_monotone_maps(model):
    x, y = (column[0] for column in gaussians(0.7, 900, 1))
    value = estimate_mi(model, x, y)
    assert estimate_mi(model, np.exp(x), 3 * y - 100) == value
    assert estimate_mi(model, y, x) == pytest.approx(value, abs=1e-5)
    assert estimate_mi(model, -x, y**3) == pytest.approx(value, abs=1e-5)
    order = np.random.default_rng(0).permutation(900)
    assert estimate_mi(model, x[order], y[order]) == pytest.approx(value, abs=1e-6)


def test_numpy_and_torch_one_pair_and_batches_agree_and_repeat(model):
    x, y = gaussians(0.6, 400, 5)
    alone = np.array([estimate_mi(model, a, b) for a, b in zip(x, y, strict=True)])
    batch = np.stack([x, y], axis=2)
    assert np.array_equal(infer(model, batch), infer(model, batch))
    np.testing.assert_allclose(infer(model, batch), alone, atol=1e-5)
    np.testing.assert_allclose(infer(model, torch.tensor(batch), batchsize=2), alone, atol=1e-5)
    ranked = batch.argsort(axis=1).argsort(axis=1) / 400
    np.testing.assert_allclose(infer(model, ranked), alone, atol=1e-5)
    single = estimate_mi(model, torch.tensor(x[0]).float(), torch.tensor(y[0]).float())
    assert single == pytest.approx(alone[0], abs=1e-3)  # rounding to float32 may tie two values
    assert isinstance(single, float)


def test_soft_ranks_come_close_to_hard_ones(model):
    x, y = (column[0] for column in gaussians(0.7, 600, 1))
    hard = estimate_mi(model, x, y)
    assert estimate_mi(model, x, y, soft=1e-4) == pytest.approx(hard, abs=1e-3)
    some = estimate_mi(model, x, y, soft=1.0)
    assert some != hard
    assert some == pytest.approx(hard, abs=0.1)


def test_pointwise_values_have_the_estimate_for_mean_and_follow_the_truth(model):
    x, y = (column[0] for column in gaussians(0.8, 3000, 1))
    found = pointwise(model, x, y)
    assert found.mean() == pytest.approx(estimate_mi(model, x, y), abs=1e-6)
    square = (0.64 * (x**2 + y**2) - 1.6 * x * y) / 0.36
    exact = -0.5 * (math.log(0.36) + square)
    assert np.corrcoef(found, exact)[0, 1] > 0.95


def test_sliced_information(model):
    """Two Gaussians with one correlated pair of coordinates, against the integral over angles."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((3000, 2))
    y = np.stack([0.9 * x[:, 0] + math.sqrt(0.19) * generator.standard_normal(3000)] * 2, axis=1)
    y[:, 1] = generator.standard_normal(3000)
    angles = (np.arange(400) + 0.5) / 400 * 2 * math.pi
    rho = 0.9 * np.cos(angles[:, None]) * np.cos(angles[None])
    truth = float((-0.5 * np.log1p(-(rho**2))).mean())
    found = compute_smi_mean(x, y, model, seq_len=1000, proj_num=150, batchsize=64)
    # 150 projections of values with standard deviation 0.18, and the samples' own 0.01
    assert found == pytest.approx(truth, abs=4 * 0.18 / math.sqrt(150))
    assert compute_smi_mean(x, y, model, seq_len=1000, proj_num=150, batchsize=64) == found
    other = compute_smi_mean(x, y, model, seq_len=1000, proj_num=150, batchsize=64, seed=1)
    assert other != found


def test_no_projection_is_dropped_and_batches_change_nothing(model):
    x, y = np.random.default_rng(0).standard_normal((2, 200, 3))
    values = [
        compute_smi_mean(x, y + x, model, proj_num=7, batchsize=size) for size in (1, 3, 7, 100)
    ]
    assert values == pytest.approx([values[0]] * 4, abs=1e-6)
    fewer = compute_smi_mean(x, y + x, model, proj_num=6, batchsize=3)
    assert abs(values[0] - fewer) > 1e-6


def test_sliced_information_of_columns_is_their_information(model):
    x, y = (column[0] for column in gaussians(0.7, 500, 1))
    found = compute_smi_mean(x, torch.tensor(y)[:, None], model, proj_num=4)
    assert found == pytest.approx(estimate_mi(model, x, y), abs=1e-5)  # up to signs, which do not


@pytest.mark.parametrize(
    ("x", "y", "error", "text"),
    [
        (np.zeros((5, 2)), np.zeros((5, 2)), ShapeError, "two columns"),
        (np.arange(30.0), np.arange(31.0), ShapeError, "two columns"),
        (np.arange(99.0), np.arange(99.0), EstimationError, "at least 100"),
        (np.arange(200.0), np.ones(200), EstimationError, "equal values"),
        (np.append(np.arange(199.0), np.nan), np.arange(200.0), EstimationError, "x holds"),
        (np.arange(200.0), np.append(np.arange(199.0), np.inf), EstimationError, "y holds"),
        (["a"] * 200, np.arange(200.0), EstimationError, "numbers"),
    ],
)
def test_samples_that_cannot_be_used(model, x, y, error, text):
    with pytest.raises(error, match=text):
        estimate_mi(model, x, y)


def test_other_arguments_that_cannot_be_used(model):
    columns = np.random.default_rng(0).standard_normal((2, 200))
    with pytest.raises(ShapeError, match=r"\(B, N, 2\)"):
        infer(model, columns)
    with pytest.raises(ShapeError, match=r"\(B, N\)"):
        estimate_batch(model, *columns)
    with pytest.raises(EstimationError, match="batchsize"):
        infer(model, columns.T[None], batchsize=0)
    with pytest.raises(EstimationError, match="at least one pair"):
        infer(model, np.zeros((0, 200, 2)))
    with pytest.raises(EstimationError, match="proj_num"):
        compute_smi_mean(*columns, model, proj_num=0)
    with pytest.raises(EstimationError, match="seq_len"):
        compute_smi_mean(*columns, model, seq_len=201)
    with pytest.raises(ShapeError, match="as many rows"):
        compute_smi_mean(columns[0], columns[1, :100], model)
    with pytest.raises(EstimationError, match="x must have"):
        compute_smi_mean(np.zeros((200, 0)), columns[1], model)


def test_doubts_are_warned_of(model):
    x, y = (column[0] for column in gaussians(0.5, 300, 1))
    with pytest.warns(TiesWarning, match="of the values of x"):
        estimate_mi(model, np.round(x, 1), y)
    with pytest.warns(SampleSizeWarning, match="trained on"):
        estimate_mi(model, x[:120], y[:120])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimate_mi(model, x, y)


@pytest.mark.filterwarnings("ignore::mimrl.errors.TiesWarning")
def test_equal_values_keep_the_information_of_a_table(model):
    """Four values, half of the samples equal: ties broken at random add and take nothing."""
    source = Source(0)
    x = torch.floor(4 * source.uniform(3000))
    y = torch.where(source.uniform(3000) < 0.5, x, torch.floor(4 * source.uniform(3000)))
    truth = 0.625 * math.log(4 * 0.625) + 0.375 * math.log(4 * 0.125)
    assert estimate_mi(model, x, y) == pytest.approx(truth, abs=0.04)
    assert estimate_mi(model, x, x) == pytest.approx(math.log(4), abs=0.1)  # the entropy of x
    shuffled = y[torch.randperm(3000, generator=torch.Generator().manual_seed(0))]
    assert abs(estimate_mi(model, x, shuffled)) < 0.01
    alone = estimate_mi(model, x, y)
    batch = estimate_batch(model, torch.stack([x, x.flip(0)]), torch.stack([y, y]))
    assert batch[0] == pytest.approx(alone, abs=1e-5)


def test_shipped_weights_are_small_and_tell_how_they_were_made():
    import json

    assert SHIPPED.stat().st_size < 5e6
    about = json.loads(SHIPPED.with_suffix(".json").read_text(encoding="utf-8"))
    assert about["pairs"] > 0
    assert about["settings"]["seed"] == 0
