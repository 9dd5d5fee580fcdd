from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from mimrl.errors import CheckpointError, ConfigError, EstimationError, MissingFileError, ShapeError
from mimrl.mi.mmg import LogisticLaw, Plan, TrainingSettings, start
from mimrl.mi.mmg.checkpoint import load, restore, save

LAW = LogisticLaw()
SMALL = TrainingSettings(law=LAW, model_dim=16, batch_size=64, steps=12, check_every=4, passes=1)


def additive(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """X uniform on [0, 1], Y = X + noise uniform on [-0.1, 0.1]: 1.7094 nats."""
    generator = np.random.default_rng(seed)
    x = generator.random((count, 1))
    return x, x + generator.uniform(-0.1, 0.1, (count, 1))


def correlated(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Correlation 0.9: 0.8304 nats."""
    x, noise = np.random.default_rng(seed).normal(size=(2, count, 1))
    return x, 0.9 * x + np.sqrt(1 - 0.81) * noise


def sign_lost(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Y = X times a random sign + noise 0.5: 0.3901 nats, of which no Gaussian sees any."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(count, 1))
    sign = generator.choice([-1, 1], (count, 1))
    return x, sign * x + 0.5 * generator.normal(size=(count, 1))


def information_without_sign() -> float:
    """Of :func:`sign_lost`, by quadrature over x and y."""
    x, y = np.linspace(-8, 8, 801), np.linspace(-11, 11, 2201)
    given = [stats.norm.pdf(y, sign * x[:, None], 0.5) for sign in (-1, 1)]
    density = np.maximum((given[0] + given[1]) / 2, 1e-300)
    entropies = -(density * np.log(density)).sum(axis=1) * (y[1] - y[0])
    conditional = (stats.norm.pdf(x) * entropies).sum() * (x[1] - x[0])
    return 0.5 * np.log(2 * np.pi * np.e * 1.25) - conditional


def test_networks_learn_what_no_gaussian_has():
    truth = information_without_sign()
    assert truth == pytest.approx(0.3901, abs=1e-3)
    settings = replace(
        SMALL, model_dim=32, batch_size=256, steps=300, check_every=50, learning_rate=5e-3,
        ema_decay=0.95,
    )  # fmt: skip
    fit = start(*sign_lost(5000, 0), Plan(settings), seed=0)
    assert fit.information == pytest.approx(0, abs=0.01)
    fit.training.run()
    found = fit.model().readings(*sign_lost(4000, 1), passes=4)
    for form, reading in found.items():
        # A short training finds a third and more of it, and invents nothing.
        assert truth / 3 < reading.value < truth + 3 * reading.standard_error, form
    # Both laws sample the same integral with the same networks.
    errors = np.hypot(found["adaptive"].standard_error, found["plain"].standard_error)
    assert found["adaptive"].value == pytest.approx(found["plain"].value, abs=3 * errors)


@pytest.mark.parametrize("threshold", [None, 5.0], ids=["unified", "moe"])
def test_networks_on_no_base_learn_a_gaussian(threshold):
    settings = replace(
        SMALL, batch_size=128, steps=200, check_every=50, learning_rate=1e-2, ema_decay=0.95,
        snr_threshold=threshold,
    )  # fmt: skip
    fit = start(*correlated(5000, 0), Plan(settings, preconditioning="none"), seed=0)
    assert fit.information == pytest.approx(0, abs=1e-3)  # but for the tails
    fit.training.run()
    for form, reading in fit.model().readings(*correlated(4000, 1), passes=4).items():
        assert reading.value == pytest.approx(0.8304, abs=0.2), form


def test_a_gaussian_needs_no_network():
    fit = start(*correlated(5000, 0), Plan(replace(SMALL, steps=0)), seed=0)
    x, y = correlated(4000, 1)
    found = fit.model().readings(x, y, passes=1)
    exact = 0.5 * np.log(1 / 0.19) - (0.81 * (x**2 + y**2) - 1.8 * x * y).ravel() / 0.38
    # Moments of 4,250 fitting rows are known to 1.5 %, a correlation of 0.9 to 0.003.
    assert abs(found["plain"].pointwise - exact).mean() < 0.05
    assert found["plain"].value == pytest.approx(exact.mean(), abs=0.005)
    assert found["plain"].tails.mean() == pytest.approx(0, abs=1e-4)
    assert found["orthogonal"].standard_error < found["plain"].standard_error


def test_the_value_is_that_on_the_interval_and_the_tails():
    narrow = replace(SMALL, law=LogisticLaw(0.0, 1.0, 1.0), steps=0)
    fit = start(*correlated(5000, 0), Plan(narrow), seed=0)
    for form, reading in fit.model().readings(*correlated(20_000, 1), passes=1).items():
        expected = fit.coordinates.linear.information(-1.0, 1.0)
        assert reading.cut == pytest.approx(expected, abs=0.02), form
        assert reading.value == pytest.approx(0.8304, abs=0.02), form
        assert reading.value - reading.cut == pytest.approx(reading.tails.mean())


def test_same_seed_same_numbers_and_another_seed_others():
    def run(seed: int) -> np.ndarray:
        fit = start(*additive(300, 0), Plan(SMALL), seed=seed)
        fit.training.run()
        return fit.model().read(*additive(50, 1), "plain", passes=2).pointwise

    np.testing.assert_array_equal(run(0), run(0))
    assert (run(0) != run(1)).any()


def test_size_of_chunks_does_not_change_the_log_snrs():
    model = start(*correlated(300, 0), Plan(SMALL), seed=0).model()
    x, y = correlated(100, 1)
    whole = model.read(x, y, "plain", chunk=100)
    parts = model.read(x, y, "plain", chunk=7)
    assert parts.value == pytest.approx(whole.value, abs=1e-9)  # untrained: nothing is sampled


def test_the_chosen_step_is_read_and_the_adapted_law_is_used():
    fit = start(*additive(300, 0), Plan(SMALL), seed=0)
    fit.training.run()
    training = fit.training
    assert [look.step for look in training.looks] == [0, 4, 8, 12]
    assert training.read(training.result().experts).loss == pytest.approx(training.chosen.loss)
    model = fit.model()
    assert model.adapted.low == LAW.low
    assert model.adapted.high == LAW.high


def test_patience_ends_a_training():
    settings = replace(SMALL, steps=100, patience=2, learning_rate=1e-12)
    fit = start(*correlated(300, 0), Plan(settings), seed=0)
    fit.training.run()
    assert fit.training.step <= fit.training.chosen.step + 8


@pytest.mark.parametrize("threshold", [None, 5.0], ids=["unified", "moe"])
def test_a_training_written_down_and_gone_on_with_is_the_same(tmp_path, threshold):
    settings, path = replace(SMALL, snr_threshold=threshold), tmp_path / "new" / "one.safetensors"
    data = additive(300, 0)
    whole = start(*data, Plan(settings), seed=0)
    for _ in range(6):
        whole.training.advance()
    whole.training.look()
    save(path, whole.training, whole.coordinates, {"name": "one"})
    whole.training.run()

    saved = load(path)
    assert (saved.step, saved.steps, saved.settings) == (6, 12, {"name": "one"})
    again = start(*data, Plan(settings), seed=0, coordinates=saved.coordinates)
    restore(again.training, saved, path)
    again.training.run()
    assert again.training.looks == whole.training.looks
    test = additive(50, 1)
    for form in ("plain", "orthogonal", "adaptive"):
        np.testing.assert_array_equal(
            again.model().read(*test, form).pointwise, whole.model().read(*test, form).pointwise
        )
    assert [p.name for p in path.parent.iterdir()] == ["one.safetensors"]


def test_checkpoints_that_cannot_be_used(tmp_path):
    path = tmp_path / "one.safetensors"
    with pytest.raises(MissingFileError, match="does not exist"):
        load(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="not a readable"):
        load(path)
    fit = start(*additive(300, 0), Plan(SMALL), seed=0)
    save(path, fit.training, fit.coordinates, {})
    wider = start(*additive(300, 0), Plan(replace(SMALL, model_dim=24)), seed=0)
    with pytest.raises(CheckpointError, match="another training"):
        restore(wider.training, load(path), path)


def test_each_expert_has_an_average_of_its_own():
    fit = start(*additive(300, 0), Plan(replace(SMALL, snr_threshold=5.0)), seed=0)
    fit.training.run()
    low, high = (average.module for average in fit.training.averages)
    members = fit.training.network.experts.members
    for average, member in ((low, members[0]), (high, members[1])):
        gaps = [
            float((a - b).detach().abs().max())
            for a, b in zip(average.parameters(), member.parameters(), strict=True)
        ]
        assert 0 < max(gaps) < 0.05
    raw = start(*additive(300, 0), Plan(replace(SMALL, ema_decay=None)), seed=0).training
    assert raw.read_weights is raw.network.experts


def test_input_that_cannot_be_used():
    x, y = correlated(100, 0)
    with pytest.raises(ShapeError, match="paired"):
        start(x, y[:50], Plan(SMALL), seed=0)
    with pytest.raises(EstimationError, match="samples"):
        start(x[:10], y[:10], Plan(SMALL), seed=0)
    with pytest.raises(ConfigError, match="validation"):
        Plan(SMALL, validation=1.0)
    model = start(x, y, Plan(SMALL), seed=0).model()
    with pytest.raises(ShapeError, match="expected paired"):
        model.read(np.hstack([x, x]), y, "plain")
    assert torch.is_grad_enabled()
