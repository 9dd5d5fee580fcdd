import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from mimrl.errors import EstimationError, ShapeError
from mimrl.mi import gaussian_information, gaussian_pointwise
from mimrl.mi.mmg import LogisticLaw, corrections, exact_denoisers, nodes

X, Y = [0, 1, 2], [3, 4, 5, 6]


def covariance(seed: int = 0) -> np.ndarray:
    factors = np.random.default_rng(seed).normal(size=(7, 7))
    return factors @ factors.T + 0.1 * np.eye(7)


def two_pairs(strength: float, dim: int = 10) -> np.ndarray:
    matrix = np.eye(2 * dim)
    for pair in range(2):
        coupled = strength**2 / (1 + strength**2)
        matrix[pair, dim + pair] = matrix[dim + pair, pair] = coupled
    return matrix


def samples(count: int, matrix: np.ndarray, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    both = np.random.default_rng(seed).multivariate_normal(np.zeros(len(matrix)), matrix, count)
    return both[:, :3], both[:, 3:]


@pytest.mark.parametrize(("strength", "truth"), [(2.0, 1.0217), (17.2, 5.0017), (1100.0, 13.3130)])
def test_quadrature_of_the_exact_gap_is_the_information(strength, truth):
    exact = exact_denoisers(two_pairs(strength), 10)
    places, weights = nodes(-30.0, 34.0)
    found = 0.5 * float(weights @ exact.gap(places))
    assert found == pytest.approx(-math.log(1 - (strength**2 / (1 + strength**2)) ** 2), abs=1e-3)
    assert found == pytest.approx(truth, abs=1e-3)
    assert exact.information() == pytest.approx(found, abs=1e-6)


def test_the_published_interval_cuts_what_the_tail_adds():
    exact = exact_denoisers(two_pairs(1100.0), 10)
    law = LogisticLaw()
    assert exact.information(law.low, law.high) == pytest.approx(12.905, abs=5e-4)
    parts = exact.information(high=law.low), exact.information(low=law.high)
    assert parts[0] == pytest.approx(0, abs=1e-4)
    assert sum(parts) + exact.information(law.low, law.high) == pytest.approx(exact.information())


def test_denoisers_are_the_posterior_mean_of_the_noise():
    matrix, logsnr = covariance(), 0.7
    exact = exact_denoisers(matrix, 3)
    x, y = (torch.from_numpy(part) for part in samples(5, matrix))
    noise = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    at = torch.full((5, 1), logsnr, dtype=torch.float64)
    share = 1 / (1 + math.exp(-logsnr))
    z = math.sqrt(share) * x + math.sqrt(1 - share) * noise
    # By linear regression of the noise on z, or on (z, y), with population moments.
    shown = share * matrix[:3, :3] + (1 - share) * np.eye(3)
    cross = math.sqrt(share) * matrix[:3, 3:]
    free = math.sqrt(1 - share) * np.linalg.solve(shown, z.numpy().T).T
    assert_allclose(exact.unconditional(z, at), free, atol=1e-10)
    both = np.block([[shown, cross], [cross.T, matrix[3:, 3:]]])
    seen = np.linalg.solve(both, np.hstack([z, y]).T).T[:, :3]
    assert_allclose(exact.conditional(z, at, y), math.sqrt(1 - share) * seen, atol=1e-10)


def test_errors_are_noise_minus_denoised():
    matrix = covariance()
    exact = exact_denoisers(matrix, 3)
    x, y = samples(50, matrix)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(50, 3, generator=generator, dtype=torch.float64)
    at = 6 * torch.randn(50, 1, generator=generator, dtype=torch.float64)
    basis = torch.from_numpy(exact.basis)
    moved = noise @ basis.T  # rows are in the directions of the basis
    z = at.sigmoid().sqrt() * torch.from_numpy(x) + (-at).sigmoid().sqrt() * moved
    found = exact.errors(exact.rows(x, y), noise, at).own
    assert_allclose(found.free @ basis.T, moved - exact.unconditional(z, at), atol=1e-9)
    given = moved - exact.conditional(z, at, torch.from_numpy(y))
    assert_allclose(found.given @ basis.T, given, atol=1e-9)


def test_plain_integral_of_a_sample_is_its_gaussian_log_ratio():
    matrix = covariance()
    x, y = samples(200, matrix)
    exact = exact_denoisers(matrix, 3)
    log_ratio = gaussian_pointwise(np.hstack([x, y]), matrix, X, Y)
    assert_allclose(exact.plain(x, y), log_ratio, atol=1e-10)
    parts = [(-math.inf, -1.0), (-1.0, 2.5), (2.5, math.inf)]
    assert_allclose(sum(exact.plain(x, y, *part) for part in parts), log_ratio, atol=1e-10)
    parts_of = sum(exact.orthogonal(x, y, *part) for part in parts)
    assert_allclose(parts_of, exact.orthogonal(x, y), atol=1e-9)


def test_both_integrals_average_to_the_information_on_any_interval():
    matrix = covariance()
    exact = exact_denoisers(matrix, 3)
    x, y = samples(100_000, matrix)
    assert exact.information() == pytest.approx(gaussian_information(matrix, X, Y))
    for interval in ((-math.inf, math.inf), (-2.0, 3.0)):
        for values in (exact.plain(x, y, *interval), exact.orthogonal(x, y, *interval)):
            error = values.std() / math.sqrt(len(values))
            assert values.mean() == pytest.approx(exact.information(*interval), abs=4 * error)


def test_sampled_integrals_of_each_sample_are_the_closed_ones():
    matrix = covariance()
    exact, law = exact_denoisers(matrix, 3), LogisticLaw(0.0, 1.5)
    x, y = samples(4, matrix)
    repeats = 3000
    many = np.repeat(x, repeats, axis=0), np.repeat(y, repeats, axis=0)
    found = corrections(exact, exact.rows(*many), law, passes=4, seed=0)
    for sampled, closed in (
        (found.plain, exact.plain(x, y, law.low, law.high)),
        (found.orthogonal, exact.orthogonal(x, y, law.low, law.high)),
    ):
        values = sampled.reshape(4, repeats)
        error = values.std(axis=1) / math.sqrt(repeats)
        assert (abs(values.mean(axis=1) - closed) < 4 * error).all()


def test_common_noise_makes_the_plain_gap_less_noisy_than_its_parts():
    matrix = two_pairs(2.0)
    exact = exact_denoisers(matrix, 10)
    both = np.random.default_rng(0).multivariate_normal(np.zeros(20), matrix, 4000)
    rows = exact.rows(both[:, :10], both[:, 10:])
    found = corrections(exact, rows, LogisticLaw(), passes=1, seed=0)
    assert found.plain.std() < 0.5 * np.hypot(found.free.std(), found.given.std())


def test_input_that_cannot_be_used():
    with pytest.raises(ShapeError, match="dx"):
        exact_denoisers(np.eye(3), 3)
    with pytest.raises(ShapeError, match="covariance"):
        exact_denoisers(np.ones((2, 3)), 1)
    for matrix in ([[1.0, 0.5], [0.4, 1.0]], [[1.0, 1.0], [1.0, 1.0]], -np.eye(2)):
        with pytest.raises(EstimationError, match="positive definite"):
            exact_denoisers(matrix, 1)
    with pytest.raises(ShapeError, match="paired"):
        exact_denoisers(np.eye(3), 1).plain(np.zeros((5, 2)), np.zeros((5, 2)))
