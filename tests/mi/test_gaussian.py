import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimrl.errors import EstimationError, ShapeError
from mimrl.mi import gaussian_information as information
from mimrl.mi import gaussian_pointwise as pointwise


def covariance(size: int, seed: int) -> np.ndarray:
    factors = np.random.default_rng(seed).normal(size=(size, size))
    return factors @ factors.T + 0.3 * np.eye(size)


def test_one_column_each_is_the_partial_correlation():
    matrix = covariance(3, 0)
    precision = np.linalg.inv(matrix)
    partial = -precision[0, 1] / np.sqrt(precision[0, 0] * precision[1, 1])
    assert information(matrix, [0], [1], [2]) == pytest.approx(-0.5 * np.log(1 - partial**2))


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_chain_rule_symmetry_and_scale(seed):
    matrix = covariance(6, seed)
    x, y, z = [0, 1], [2], [3, 5]
    joint = information(matrix, x, y + z)
    assert joint == pytest.approx(information(matrix, x, z) + information(matrix, x, y, z))
    assert information(matrix, x, y, z) == pytest.approx(information(matrix, y, x, z))
    scale = np.diag([1.0, 5.0, 0.1, 2.0, 3.0, 7.0])
    assert information(scale @ matrix @ scale, x, y, z) == pytest.approx(
        information(matrix, x, y, z)
    )


def test_pointwise_values_average_to_the_information():
    matrix = covariance(5, 1)
    samples = np.random.default_rng(0).multivariate_normal(np.zeros(5), matrix, size=50_000)
    ratios = pointwise(samples, matrix, [0, 1], [2], [4])
    error = ratios.std() / np.sqrt(len(ratios))
    assert ratios.mean() == pytest.approx(information(matrix, [0, 1], [2], [4]), abs=4 * error)
    # E_product[ratio] = 1, with the product drawn as x from p(x | z), here by resampled z = none.
    shuffled = samples.copy()
    shuffled[:, [0, 1]] = samples[np.random.default_rng(1).permutation(50_000)][:, [0, 1]]
    ratio = np.exp(pointwise(shuffled, matrix, [0, 1], [2]))
    assert ratio.mean() == pytest.approx(1, abs=4 * ratio.std() / np.sqrt(len(ratio)))


def test_pointwise_does_not_depend_on_units():
    matrix, scale = covariance(4, 2), np.array([3.0, 0.2, 10.0, 1.0])
    samples = np.random.default_rng(0).normal(size=(10, 4))
    scaled = pointwise(samples * scale, matrix * np.outer(scale, scale), [0], [1], [2, 3])
    np.testing.assert_allclose(scaled, pointwise(samples, matrix, [0], [1], [2, 3]))


def test_columns_and_matrices_that_cannot_be_used():
    for columns in (([0], [0]), ([0], [5]), ([], [1]), ([0], [-1])):
        with pytest.raises(ShapeError, match="column"):
            information(np.eye(3), *columns)
    with pytest.raises(ShapeError, match="covariance"):
        information(np.ones((2, 3)), [0], [1])
    with pytest.raises(EstimationError, match="symmetric"):
        information([[1.0, 0.5], [0.0, 1.0]], [0], [1])
    with pytest.raises(EstimationError, match="positive definite"):
        information(np.ones((2, 2)), [0], [1])
    with pytest.raises(ShapeError, match="samples"):
        pointwise(np.zeros((3, 2)), np.eye(3), [0], [1])
