import math

import pytest
import torch
from scipy import stats

from mimrl.errors import ConfigError, ShapeError
from mimrl.mi.mmg import LogisticLaw, PiecewiseLaw, channel, stratified
from mimrl.mi.mmg.linear import nodes

LAWS = [
    LogisticLaw(),
    LogisticLaw(0.0, 1.5, 2.0),
    PiecewiseLaw.of(-10.0, 14.0, [0.0, 1.0, 5.0, 2.0], floor=0.2),
]


def test_channel_keeps_unit_variance_and_has_the_log_snr_asked_for():
    generator = torch.Generator().manual_seed(0)
    x, noise = torch.randn(2, 200_000, 1, generator=generator, dtype=torch.float64)
    for logsnr in (-3.0, 0.0, 4.0):
        at = torch.full((200_000, 1), logsnr, dtype=torch.float64)
        z = channel(x, noise, at)
        assert float(z.var()) == pytest.approx(1, abs=5 * math.sqrt(2 / 200_000))
        signal = channel(torch.ones(1, 1), torch.zeros(1, 1), at[:1])
        assert float((signal**2 / (1 - signal**2)).log()) == pytest.approx(logsnr, abs=1e-5)


def test_published_law_and_weights():
    law = LogisticLaw()
    assert (law.low, law.high) == (-10, 14)
    logsnr = torch.tensor([-9.0, 2.0, 5.5], dtype=torch.float64)
    place = (logsnr - 2) / 3
    published = 3 * math.tanh(2) / (place.sigmoid() * (-place).sigmoid())
    torch.testing.assert_close(law.weight(logsnr), published)
    ends = law.quantile(torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64))
    torch.testing.assert_close(ends, torch.tensor([-10.0, 2.0, 14.0], dtype=torch.float64))


@pytest.mark.parametrize("law", LAWS, ids=["published", "narrow", "piecewise"])
def test_weight_is_one_over_the_density_of_the_quantiles(law):
    shares = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    drawn = law.quantile(shares)
    assert law.low <= float(drawn.min()) <= float(drawn.max()) <= law.high
    # Integrals of 1, a and a bump: midpoints of 20,000 strata are exact to 1e-3 here.
    weight = law.weight(drawn)
    width = law.high - law.low
    assert float(weight.mean()) == pytest.approx(width, rel=1e-3)
    mean = 0.5 * (law.high**2 - law.low**2)
    assert float((weight * drawn).mean()) == pytest.approx(mean, abs=2e-2)
    inside = stats.norm.cdf(law.high, 1, 2) - stats.norm.cdf(law.low, 1, 2)
    bump = torch.exp(-((drawn - 1) ** 2) / 8) / math.sqrt(8 * math.pi)
    assert float((weight * bump).mean()) == pytest.approx(inside, abs=1e-3)


def test_an_adapted_law_has_its_mass_where_the_sizes_are_and_bounded_weights():
    law = PiecewiseLaw.of(0.0, 4.0, [0.0, 0.0, 3.0, 1.0], floor=0.1)
    assert law.shares == pytest.approx((0.025, 0.025, 0.7, 0.25))
    logsnr = torch.tensor([0.5, 2.5])
    torch.testing.assert_close(law.weight(logsnr), torch.tensor([40.0, 1 / 0.7]))
    assert PiecewiseLaw.of(0.0, 1.0, [0.0, 0.0], floor=0.1).shares == (0.5, 0.5)


def test_stratified_shares_are_spread_over_rows_and_over_passes():
    shares = stratified(50, 8, torch.Generator().manual_seed(0))
    assert shares.shape == (8, 50)
    for row in shares:  # one in each of 50 intervals, up to a shift of them all
        shifted = ((row - row.min()) * 50).round(decimals=6)
        assert float((shifted.sort().values - torch.arange(50)).abs().max()) < 1
    gaps = shares.sort(dim=0).values.diff(dim=0)
    torch.testing.assert_close(gaps, torch.full_like(gaps, 1 / 8))
    means = [float(stratified(3, 1, torch.Generator().manual_seed(s)).mean()) for s in range(400)]
    assert sum(means) / 400 == pytest.approx(0.5, abs=4 * (1 / 3) / math.sqrt(12 * 3 * 400))


def test_quadrature_is_exact_for_smooth_functions():
    places, weights = nodes(-3.0, 5.0)
    assert float(weights.sum()) == pytest.approx(8)
    assert float(weights @ places**5) == pytest.approx((5**6 - 3**6) / 6)


def test_laws_that_cannot_be_used():
    for bad in ({"scale": 0.0}, {"clip": -1.0}, {"location": math.inf}, {"scale": math.nan}):
        with pytest.raises(ConfigError, match="log-SNR law"):
            LogisticLaw(**bad)
    with pytest.raises(ShapeError, match="passes"):
        stratified(5, 0, torch.Generator())
    with pytest.raises(ShapeError, match="integrate"):
        nodes(1.0, math.inf)
