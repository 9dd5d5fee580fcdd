import numpy as np
import pytest
from scipy import stats

from mimrl.errors import ConfigError, EstimationError
from mimrl.mi.tasks import (
    CUBE,
    HALF_CUBE,
    TASKS,
    WIGGLY_X,
    WIGGLY_Y,
    Asinh,
    CoupledPairs,
    Identity,
    MixtureQuantile,
    NormalCdf,
    SignedPower,
    Spiral,
    Student,
    SwissRoll,
    Transformed,
    Wave,
    Wiggly,
    spiralled,
    two_pairs,
)

NORMAL = np.random.default_rng(0).normal(size=(400, 3))
UNIFORM = np.random.default_rng(1).uniform(1e-6, 1 - 1e-6, size=(400, 3))
PEAKS = MixtureQuantile((0.3, 0.7), (0.0, 5.0))
MONOTONE = {
    "identity": (Identity(), NORMAL),
    "normal cdf": (NormalCdf(), NORMAL),
    "half cube": (HALF_CUBE, NORMAL),
    "cube": (CUBE, NORMAL),
    "asinh": (Asinh(), 100 * NORMAL),
    "wiggly x": (WIGGLY_X, 3 * NORMAL),
    "wiggly y": (WIGGLY_Y, 3 * NORMAL),
    "peaks": (PEAKS, UNIFORM),
}
TURNING = {
    "roll": (SwissRoll(), UNIFORM[:, :1]),
    "spiral": (Spiral(0, 1, 0.3), NORMAL),
    "spiral of y": (Spiral(1, 2, -2.0), NORMAL),
}


@pytest.mark.parametrize("kind", MONOTONE | TURNING)
def test_inverse_undoes(kind):
    transform, values = (MONOTONE | TURNING)[kind]
    before = values.copy()
    image = transform.forward(values)
    assert image.shape == (len(values), transform.widened(values.shape[1]))
    # 1e-9: the normal distribution function at 4 keeps 1e-16 of a slope of 1e-4.
    np.testing.assert_allclose(transform.inverse(image), values, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("kind", MONOTONE)
def test_maps_of_one_coordinate_keep_ranks(kind):
    """And with them whatever an estimator that reads ranks only would say."""
    transform, values = MONOTONE[kind]
    ranks = stats.rankdata(values, axis=0)
    np.testing.assert_array_equal(stats.rankdata(transform.forward(values), axis=0), ranks)


def test_values_by_hand():
    np.testing.assert_allclose(HALF_CUBE.forward(np.array([[-4.0, 9.0]])), [[-8.0, 27.0]])
    np.testing.assert_allclose(NormalCdf().forward(np.array([[0.0]])), [[0.5]])
    at_zero = 0.2 * np.sin(1) + 0.03 * np.sin(-2.5), 0.17 * np.sin(3.5) + 0.02 * np.sin(-2.5)
    assert WIGGLY_X.forward(np.zeros((1, 1)))[0, 0] == pytest.approx(at_zero[0])
    assert WIGGLY_Y.forward(np.zeros((1, 1)))[0, 0] == pytest.approx(at_zero[1])
    # The roll runs from 1.5 pi, straight down, to 4.5 pi, straight up.
    roll = SwissRoll().forward(np.array([[0.0], [1.0]]))
    np.testing.assert_allclose(roll, [[0, -1.5 * np.pi / 21], [0, 4.5 * np.pi / 21]], atol=1e-12)
    # Length 1, a quarter turn a unit: the first coordinate turns into the second.
    quarter = Spiral(0, 1, np.pi / 2).forward(np.array([[1.0, 0.0, 0.0]]))
    np.testing.assert_allclose(quarter, [[0.0, 1.0, 0.0]], atol=1e-12)
    # A symmetric mixture has its median half way.
    halves = MixtureQuantile((0.5, 0.5), (-1.0, 3.0))
    np.testing.assert_allclose(halves.forward(np.array([[0.5]])), [[1.0]], atol=1e-12)


def test_spiral_keeps_lengths_and_other_coordinates():
    image = Spiral(0, 2, 1.0).forward(NORMAL)
    np.testing.assert_allclose((image**2).sum(axis=1), (NORMAL**2).sum(axis=1))
    np.testing.assert_array_equal(image[:, 1], NORMAL[:, 1])
    assert np.abs(image - NORMAL).max() > 1


def test_speed_of_a_spiral_is_shared_by_the_coordinates():
    law = spiralled(two_pairs(5), speed=2.0)
    assert law.transform_x == Spiral(0, 1, 0.4)
    assert law.transform_y == Spiral(1, 2, 0.4)


def test_transformed_law_is_the_image_of_its_base():
    base = CoupledPairs(1, 2, (0.3,))
    law = Transformed(Transformed(base, NormalCdf(), HALF_CUBE), SwissRoll(), Asinh())
    assert (law.dim_x, law.dim_y, law.dim_total) == (2, 2, 4)
    x, y = base.sample(50, 3)
    bent_x, bent_y = law.sample(50, 3)
    np.testing.assert_array_equal(bent_x, SwissRoll().forward(NormalCdf().forward(x)))
    np.testing.assert_array_equal(bent_y, Asinh().forward(HALF_CUBE.forward(y)))
    np.testing.assert_allclose(law.log_ratio(bent_x, bent_y), base.log_ratio(x, y), atol=1e-6)
    assert law.mutual_information() == base.mutual_information()


def test_bimodal_task_has_the_margins_of_its_mixtures():
    x, y = TASKS["1v1-bimodal-0.75"].sample(5_000, 0)
    assert stats.kstest(x[:, 0], lambda v: PEAKS.inverse(v)).pvalue > 1e-3
    halves = MixtureQuantile((0.5, 0.5), (-1.0, 3.0))
    assert stats.kstest(y[:, 0], lambda v: halves.inverse(v)).pvalue > 1e-3


def test_values_that_are_no_image():
    for values in ([[0.0]], [[1.0]], [[-0.1]], [[np.nan]]):
        with pytest.raises(EstimationError, match="between 0 and 1"):
            NormalCdf().inverse(np.array(values))
    with pytest.raises(EstimationError, match="between 0 and 1"):
        PEAKS.forward(np.array([[1.2]]))
    rolled = SwissRoll().forward(UNIFORM[:, :1])
    SwissRoll().inverse(rolled.astype(np.float32).astype(np.float64))
    for moved in (1.001 * rolled, rolled + 0.01, np.full((1, 2), np.nan)):
        with pytest.raises(EstimationError, match="Swiss roll"):
            SwissRoll().inverse(moved)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Wiggly((Wave(0.5, 2.0, 0.0),)), "sum to less than 1"),
        (lambda: Wiggly((Wave(np.nan, 2.0, 0.0),)), "sum to less than 1"),
        (lambda: SignedPower(0.0), "exponent must be positive"),
        (lambda: MixtureQuantile((0.5, 0.6), (0.0, 1.0)), "weights of sum 1"),
        (lambda: MixtureQuantile((1.0,), (0.0, 1.0)), "one mean a weight"),
        (lambda: MixtureQuantile((1.5, -0.5), (0.0, 1.0)), "a weight must be positive"),
        (lambda: Spiral(1, 1, 1.0), "two coordinates"),
        (lambda: Spiral(-1, 1, 1.0), "two coordinates"),
        (lambda: Spiral(0, 1, np.inf), "speed"),
        (lambda: spiralled(two_pairs(2)), "width 3 or more, got 2"),
        (lambda: Transformed(two_pairs(2), SwissRoll()), "width 1, got width 2"),
        (lambda: Transformed(Student(np.eye(3), 1, 2), Spiral(0, 1, 1.0)), "width 2 or more"),
    ],
)
def test_maps_that_cannot_be(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
