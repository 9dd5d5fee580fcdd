"""Tables of counts: closed forms of discrete laws, corrections without error, cells by the rule."""

import numpy as np
import pytest
from scipy.stats import chi2_contingency
from sklearn.metrics import mutual_info_score

from mimrl.errors import BiasWarning, ConfigError, SampleSizeWarning
from mimrl.mi.estimators.histogram import Histogram


def drawn(law, rows, seed):
    """Pairs of row and column numbers of a table of probabilities."""
    flat = np.random.default_rng(seed).choice(law.size, size=rows, p=law.ravel())
    return np.divmod(flat, law.shape[1])


def exact(law):
    return float((law * np.log(law / np.outer(law.sum(axis=1), law.sum(axis=0)))).sum())


def random_law(seed, rows=4, columns=3):
    law = np.random.default_rng(seed).random((rows, columns)) + 0.05
    return law / law.sum()


def test_the_plain_value_and_its_test_of_independence():
    x, y = drawn(random_law(0), 500, 0)
    found = Histogram(correction="none").estimate_with_info(x, y)
    assert found.mi_estimate == pytest.approx(mutual_info_score(x, y))
    assert found.pointwise.mean() == pytest.approx(found.mi_estimate)
    table = np.zeros((4, 3))
    np.add.at(table, (x, y), 1)
    g = chi2_contingency(table, lambda_="log-likelihood", correction=False)
    assert found.additional_information["p_value"] == pytest.approx(g.pvalue)
    assert found.additional_information["cells"] == [4, 3]


@pytest.mark.parametrize("law", [random_law(1), np.outer([0.2, 0.3, 0.5], [0.5, 0.25, 0.25])])
def test_miller_madow_leaves_no_bias_in_integer_data(law):
    values = [Histogram().estimate(*drawn(law, 300, seed)) for seed in range(300)]
    error = np.std(values) / np.sqrt(300)
    # What is left of the bias is of order 1 / N^2.
    assert np.mean(values) == pytest.approx(exact(law), abs=4 * error + 2e-4)
    plain = [Histogram(correction="none").estimate(*drawn(law, 300, s)) for s in range(300)]
    assert np.mean(plain) > exact(law) + 4 * error


def test_permutations_subtract_the_mean_of_shuffled_pairs():
    x, y = drawn(random_law(2), 200, 0)
    rng = np.random.default_rng(0)
    shuffled = [Histogram(correction="none").estimate(x, rng.permutation(y)) for _ in range(400)]
    found = Histogram(correction="permutations").estimate_with_info(x, y)
    error = np.std(shuffled) / 20
    assert found.additional_information["bias"] == pytest.approx(np.mean(shuffled), abs=4 * error)


def test_cells_of_equal_count_do_not_see_increasing_maps():
    rng = np.random.default_rng(0)
    x = rng.normal(size=5000)
    y = 0.75 * x + np.sqrt(1 - 0.75**2) * rng.normal(size=5000)
    found = Histogram().estimate_with_info(x, y)
    assert found.additional_information["cells"] == [31, 31]
    truth = -0.5 * np.log(1 - 0.75**2)
    # 31 cells keep 99 % of the information of this pair.
    assert found.mi_estimate == pytest.approx(truth, abs=0.01 + 3 * found.standard_error)
    assert Histogram().estimate(np.exp(x), y**3) == found.mi_estimate
    assert Histogram(bins=2).estimate(x, y) < found.mi_estimate < truth + 0.05


def test_equal_values_share_a_cell():
    x = np.r_[np.zeros(900), np.arange(1.0, 101.0)]
    found = Histogram(bins=10).estimate_with_info(x, x)
    assert found.additional_information["cells"][0] == 2  # the zeros, and the rest
    assert found.mi_estimate == pytest.approx(-0.9 * np.log(0.9) - 0.1 * np.log(0.1), abs=0.01)


def test_more_columns_are_cut_along_their_largest_variance():
    """The first component decides the first cut: x and y share only its sign."""
    rng = np.random.default_rng(0)
    common = rng.normal(size=(4000, 1))
    x = common + 0.1 * rng.normal(size=(4000, 5))
    with pytest.warns(BiasWarning, match=r"x \(5 columns\) into 16 cells"):
        found = Histogram().estimate_with_info(x, np.sign(common))
    assert found.additional_information["cells"] == [16, 2]
    assert found.mi_estimate == pytest.approx(np.log(2), abs=0.05)
    counts = np.unique(np.round(np.exp(found.pointwise), 12), return_counts=True)[1]
    assert counts.max() >= 4000 // 16


def test_classes_in_several_columns_have_a_cell_each():
    """One-hot columns are classes, and no doubt is raised."""
    labels = np.random.default_rng(0).integers(0, 5, size=2000)
    found = Histogram().estimate_with_info(np.eye(5)[labels], labels)
    assert found.additional_information["cells"] == [5, 5]
    assert found.mi_estimate == pytest.approx(np.log(5), abs=0.01)


@pytest.mark.filterwarnings("ignore::mimrl.errors.BiasWarning")
@pytest.mark.parametrize("width", [1, 2, 5, 25])
@pytest.mark.parametrize("correction", ["miller_madow", "permutations"])
def test_independent_samples_read_nothing(width, correction):
    rng = np.random.default_rng(width)
    found = Histogram(correction=correction).estimate_with_info(
        rng.normal(size=(2000, width)), rng.standard_cauchy(size=(2000, width))
    )
    assert abs(found.mi_estimate) < 0.03
    assert 1e-4 < found.additional_information["p_value"] < 1 - 1e-4


def test_what_is_doubtful_or_refused():
    x, y = np.random.default_rng(0).normal(size=(2, 200))
    with pytest.warns(SampleSizeWarning, match="take fewer bins"):
        Histogram(bins=40).estimate(x, y)
    with pytest.raises(ConfigError, match="bins"):
        Histogram(bins=1)
    found = Histogram().estimate_with_info(x[:25] > 0, y[:25])  # the smallest two by two table
    assert found.additional_information["cells"] == [2, 2]
