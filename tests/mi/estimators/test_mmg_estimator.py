import numpy as np
import pytest

from mimrl.errors import ConfigError, EstimationError, UndertrainedWarning
from mimrl.mi.estimators.mmg import Mmg

FAST = {"steps": 40, "model_dim": 16, "batch_size": 128, "folds": 2, "passes": 2}


def gaussian(count: int = 1500, dim: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """One pair of correlation 0.8 among columns of noise: 0.5108 nats."""
    x, noise = np.random.default_rng(seed).normal(size=(2, count, dim))
    y = noise.copy()
    y[:, 0] = 0.8 * x[:, 0] + 0.6 * noise[:, 0]
    return x, y


@pytest.mark.parametrize("experts", ["unified", "moe"])
@pytest.mark.parametrize("form", ["plain", "orthogonal", "adaptive"])
def test_gaussian_information(experts, form):
    found = Mmg(**FAST, experts=experts, form=form).estimate_with_info(*gaussian())
    assert found.mi_estimate == pytest.approx(0.5108, abs=3 * found.standard_error + 0.01)
    assert found.mi_estimate == pytest.approx(found.pointwise.mean())
    assert {point.fold for point in found.curve} == {0, 1}
    assert found.curve[0].validation == pytest.approx(0.51, abs=0.2)
    assert len(found.additional_information["step"]) == 2


@pytest.mark.parametrize("dim", [1, 5, 25])
def test_shuffled_pairs_have_no_information(dim):
    x, y = gaussian(dim=dim)
    y = y[np.random.default_rng(1).permutation(len(y))]
    assert abs(Mmg(**FAST).estimate(x, y)) < 0.03


def test_strictly_increasing_maps_of_columns_change_nothing():
    x, y = gaussian()
    plain = Mmg(**FAST).estimate(x, y)
    assert Mmg(**FAST).estimate(np.exp(2 * x), y**3) == pytest.approx(plain, abs=0.03)


def test_fit_is_read_on_other_rows():
    fitted = Mmg(**FAST).fit(*gaussian())
    x, y = gaussian(seed=1)
    assert fitted.score(x, y) == pytest.approx(0.5108, abs=0.08)
    assert fitted.pointwise(x, y).shape == (1500,)
    assert fitted.score(x, y[::-1]) < -0.2  # unpaired rows contradict the fit


def test_networks_matter_where_the_gaussian_is_blind():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(3000, 1))
    y = generator.choice([-1, 1], (3000, 1)) * x + 0.3 * generator.normal(size=(3000, 1))
    settings = {**FAST, "steps": 150, "model_dim": 32, "batch_size": 256, "learning_rate": 6e-3}
    with pytest.warns(UndertrainedWarning, match="more steps"):
        found = Mmg(**settings).estimate_with_info(x, y)
    assert found.mi_estimate > 0.15
    assert max(found.additional_information["linear_information"]) < 0.02
    assert Mmg(**{**settings, "steps": 0}).estimate(x, y) < 0.02


def test_same_seed_same_numbers():
    pair = gaussian(count=400)
    settings = {**FAST, "steps": 10}
    first, again = (Mmg(**settings, seed=3).estimate(*pair) for _ in range(2))
    assert first == again
    assert Mmg(**settings, seed=4).estimate(*pair) != first


def test_settings_and_data_that_cannot_be_used():
    for bad in ({"experts": "three"}, {"form": "flat"}, {"logsnr_scale": 0}, {"device": "abacus"}):
        with pytest.raises(ConfigError, match=next(iter(bad))):
            Mmg(**bad)
    with pytest.raises(ConfigError, match="snr_threshold"):
        Mmg(experts="moe", snr_threshold=50.0).estimate(*gaussian(count=200))
    x, y = gaussian(count=400)
    with pytest.raises(EstimationError, match="infinite"):
        Mmg(preprocessing="standardise").estimate(x, np.hstack([y, x[:, :1]]))
