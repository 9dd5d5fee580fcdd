import numpy as np
import pytest
from numpy.testing import assert_allclose

from mimrl.errors import EstimationError
from mimrl.mi import gaussian_information
from mimrl.mi.mmg import Coordinates
from mimrl.mi.tasks import dmi_task

KINDS = ["whiten", "rescale", "none"]


def coloured(count: int = 20_000) -> tuple[np.ndarray, np.ndarray, float]:
    factors = np.random.default_rng(0).normal(size=(5, 5))
    matrix = factors @ factors.T + 0.2 * np.eye(5)
    both = np.random.default_rng(1).multivariate_normal(np.zeros(5), matrix, count)
    units = np.array([1.0, 30.0, 0.02, 5.0, 1.0])
    both = both * units + np.array([3.0, -100.0, 0.0, 1.0, 2.0])
    truth = gaussian_information(np.cov(both, rowvar=False), [0, 1, 2], [3, 4])
    return both[:, :3], both[:, 3:], truth


@pytest.mark.parametrize("kind", KINDS)
def test_information_of_the_linear_denoisers_does_not_depend_on_the_coordinates(kind):
    x, y, truth = coloured()
    found = Coordinates.fit(x, y, kind)
    # Held-out correlations of 20,000 rows differ from those in the sample by about 1e-3.
    assert found.linear.information() == pytest.approx(truth, abs=5e-3)
    values = found.linear.plain(found.x(x), found.y(y))
    assert values.mean() == pytest.approx(truth, abs=5e-3)


def test_a_column_that_varies_in_one_row_only_tells_nothing():
    """Rows that choose directions may lack it: x then has fewer of them than y."""
    y, x, truth = coloured()
    rare = np.zeros((len(x), 1))
    rare[7] = 1
    found = Coordinates.fit(np.hstack([x, rare]), y, "rescale")
    assert found.linear.information() == pytest.approx(truth, abs=5e-3)  # as above


@pytest.mark.parametrize("kind", KINDS)
def test_coordinates_are_what_they_are_called(kind):
    x, y, _ = coloured()
    found = Coordinates.fit(x, y, kind)
    seen = found.x(x)
    moments = np.cov(seen, rowvar=False, bias=True)
    assert_allclose(seen.mean(axis=0), 0, atol=1e-9)
    if kind == "whiten":
        assert_allclose(moments, np.eye(3), atol=1e-9)
        root = np.diag(x.std(axis=0)) @ found.x.matrix  # the symmetric root stays closest
        assert_allclose(root, root.T, atol=1e-9)
        assert (np.linalg.eigvalsh(root) > 0).all()
    elif kind == "rescale":
        assert_allclose(np.diag(moments), 1)
    else:
        assert_allclose(moments, np.cov(x, rowvar=False, bias=True))
    linear = found.linear
    assert_allclose(
        (linear.basis * linear.variances) @ linear.basis.T, moments, rtol=1e-6, atol=1e-9
    )
    residual = seen - found.y(y) @ linear.slopes.T
    rest = (linear.rest_basis * linear.rest_variances) @ linear.rest_basis.T
    assert_allclose(rest, np.cov(residual, rowvar=False), rtol=0.05, atol=0.02 * rest.max())


def test_independent_variables_of_many_dimensions_have_no_linear_information():
    x, y = np.random.default_rng(0).normal(size=(2, 3000, 50))
    linear = Coordinates.fit(x, y, "rescale").linear
    # In the sample itself 50 x 50 independent columns have 0.45 nats.
    assert gaussian_information(np.cov(x.T, y.T), range(50), range(50, 100)) > 0.4
    assert linear.information() < 0.01
    other = np.random.default_rng(1).normal(size=(2, 3000, 50))
    assert abs(linear.plain(*other).mean()) < 0.02


def test_thirteen_nats_are_read_to_a_hundredth():
    task = dmi_task("multinormal", 10, 1100.0)
    x, y = task.sample(20_000, 0)
    linear = Coordinates.fit(x, y, "rescale").linear
    assert linear.information() == pytest.approx(task.mutual_information, abs=0.03)


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_that_repeats_others_adds_nothing(kind):
    x, y, truth = coloured()
    wide = np.hstack([x, x[:, :1] - 2 * x[:, 2:]])
    found = Coordinates.fit(wide, y, kind)
    assert found.linear.information() == pytest.approx(truth, abs=5e-3)
    values = found.linear.plain(found.x(wide), found.y(y))
    assert values.mean() == pytest.approx(truth, abs=5e-3)


def test_a_column_that_x_and_y_share_has_infinite_information():
    x, y, _ = coloured(500)
    with pytest.raises(EstimationError, match="infinite"):
        Coordinates.fit(x, np.hstack([y, 3 * x[:, :1]]), "rescale")
