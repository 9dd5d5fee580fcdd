"""Conditional estimators against digammas made by a loop, exact log ratios and the chain rule."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.special import digamma

from mimrl.errors import BiasWarning, ConfigError, EstimationError, TiesWarning
from mimrl.mi.estimators.conditional import ConditionalKsg, MutualDifference
from mimrl.mi.estimators.conditional_classifier import ConditionalClassifier
from mimrl.mi.estimators.gaussian import ConditionalGaussian, Gaussian
from mimrl.mi.estimators.histogram import Histogram
from mimrl.mi.estimators.ksg import Ksg
from mimrl.mi.estimators.sliced import Sliced
from mimrl.mi.tasks import (
    CONDITIONAL_TASKS,
    common_cause,
    common_effect,
    conditional_task_named,
    independent_given,
    noisy_channel,
)

BENCH = Path(__file__).parents[3] / "bench"
few = pytest.mark.filterwarnings("ignore::mimrl.errors.SampleSizeWarning")


def obvious(x, y, z, k, variant):
    """Frenzel and Pompe, or Mesner and Shalizi, sample by sample."""
    values = []
    for centre in range(len(x)):
        others = np.arange(len(x)) != centre
        in_x, in_y, in_z = (np.abs(v[others] - v[centre]).max(axis=1) for v in (x, y, z))
        reach = np.sort(np.max([in_x, in_y, in_z], axis=0))[k - 1]
        distances = np.maximum(in_x, in_z), np.maximum(in_y, in_z), in_z
        if variant == "frenzel_pompe":
            xz, yz, only_z = (digamma((d < reach).sum() + 1) for d in distances)
        else:
            xz, yz, only_z = (digamma((d <= reach).sum()) for d in distances)
        values.append(digamma(k) - xz - yz + only_z)
    return np.array(values)


@few
@pytest.mark.parametrize("variant", ["frenzel_pompe", "mesner_shalizi"])
@pytest.mark.parametrize("task", ["common-cause-1", "two-causes", "common-cause-20"])
def test_the_equations_of_the_papers(variant, task):
    x, y, z = conditional_task_named(task).sample(150, 0)
    found = ConditionalKsg(variant=variant, neighbours=4, preprocessing="none")
    result = found.estimate_with_info(x, y, z)
    np.testing.assert_allclose(result.pointwise, obvious(x, y, z, 4, variant), atol=1e-12)
    assert result.mi_estimate == pytest.approx(result.pointwise.mean(), abs=1e-14)


@pytest.mark.parametrize(
    "estimator",
    [
        ConditionalKsg(neighbours=3),
        ConditionalKsg(neighbours=3, norm="euclidean"),
        ConditionalGaussian(),
        MutualDifference(estimator=Ksg(neighbours=3)),
        MutualDifference(estimator=Gaussian()),
    ],
    ids=repr,
)
@pytest.mark.parametrize(
    "task",
    [noisy_channel(), common_cause(1), common_effect(), independent_given(1)],
    ids=lambda task: task.name,
)
def test_gaussian_triples(estimator, task):
    """Near the mean exact log ratio of the same samples; neighbours have a bias of 2 to 4 %."""
    found, exact = [], []
    for seed in range(3):
        x, y, z = task.sample(1500, seed)
        found.append(estimator.estimate(x, y, z))
        exact.append(task.log_ratio(x, y, z).mean())
    assert np.mean(found) == pytest.approx(np.mean(exact), abs=0.01 + 0.04 * np.mean(exact))


def test_counting_the_edge_reads_a_little_more():
    """The other variant on independent samples: 0.008 too much at k = 10, 0.03 at k = 4."""
    x, y, z = independent_given(1).sample(3000, 0)
    excess = [
        ConditionalKsg(variant="mesner_shalizi", neighbours=k).estimate(x, y, z) for k in (4, 10)
    ]
    assert 0.02 < excess[0] < 0.04
    assert 0 < excess[1] < 0.02


def test_five_thousand_samples_of_the_noisy_channel_and_of_no_dependence():
    task = noisy_channel()
    truth, rows = task.conditional_mutual_information, [task.sample(5000, s) for s in range(4)]
    for estimator in (ConditionalKsg(), ConditionalGaussian()):
        values = [estimator.estimate(*samples) for samples in rows]
        # 2 %, and the scatter of four samples' own mean log ratio, 0.013 each.
        assert np.mean(values) == pytest.approx(truth, abs=0.02 * truth + 0.0065)
        nothing = estimator.estimate(*independent_given(1).sample(5000, 0))
        assert abs(nothing) < 0.02


def test_conditional_neighbours_take_classes_for_z():
    """x and y depend on each other in one class only; the ties of z are said."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, size=1500)
    x, noise = rng.normal(size=(2, 1500))
    y = np.where(labels == 1, 0.9, 0.0) * x + np.where(labels == 1, np.sqrt(0.19), 1.0) * noise
    with pytest.warns(TiesWarning, match="z"):
        found = ConditionalKsg().estimate_with_info(x, y, labels)
    truth = -0.25 * np.log(0.19)
    assert found.mi_estimate == pytest.approx(truth, abs=0.03 + 3 * found.standard_error)
    assert abs(found.pointwise[labels == 0].mean()) < 0.06
    classified = ConditionalClassifier(discrete=True, folds=2, hidden=16, steps=120, rate=5e-3)
    other = classified.estimate_with_info(x, y, labels)
    assert other.mi_estimate == pytest.approx(truth, abs=0.1)
    assert other.additional_information["neighbour_distance"] == 0


@few
@pytest.mark.parametrize("order", ["first", "second", "both"])
@pytest.mark.parametrize("debias", [True, False])
def test_the_chain_rule_holds_exactly_for_gaussian_fits(order, debias):
    x, y, z = conditional_task_named("two-causes").sample(60, 0)
    difference = MutualDifference(estimator=Gaussian(debias=debias), order=order)
    found = difference.estimate_with_info(x, y, z)
    direct = ConditionalGaussian(debias=debias).estimate_with_info(x, y, z)
    assert found.mi_estimate == pytest.approx(direct.mi_estimate, abs=1e-10)
    assert found.standard_error == pytest.approx(direct.standard_error, abs=1e-10)
    np.testing.assert_allclose(found.pointwise, direct.pointwise, atol=1e-9)


def test_both_orders_are_averaged():
    task = common_cause(1)
    x, y, z = task.sample(400, 0)
    first, second, both, swapped = (
        MutualDifference(order=order).estimate_with_info(*arguments)
        for order, arguments in (
            *(("first", (x, y, z)), ("second", (x, y, z)), ("both", (x, y, z))),
            ("first", (y, x, z)),
        )
    )
    assert first.mi_estimate == pytest.approx(
        Ksg().estimate(x, np.c_[y, z]) - Ksg().estimate(x, z), abs=1e-12
    )
    assert first.mi_estimate != second.mi_estimate == pytest.approx(swapped.mi_estimate, abs=1e-12)
    assert both.mi_estimate == pytest.approx((first.mi_estimate + second.mi_estimate) / 2)
    assert len(both.additional_information["wholes"]) == 2


def test_a_difference_follows_the_estimator_inside():
    rng = np.random.default_rng(0)
    z = rng.integers(0, 3, size=(2000, 1))
    x, y = (z + rng.integers(0, 2, size=(2000, 1)) for _ in range(2))
    found = MutualDifference(estimator=Histogram()).estimate(x, y, z)  # ties are no doubt to it
    assert found == pytest.approx(0, abs=0.01)
    assert MutualDifference(estimator=Histogram()).fewest(1, 1, 1) == 30
    assert MutualDifference().smallest == 20
    with pytest.raises(ConfigError, match="order"):
        MutualDifference(order="third")


@pytest.mark.filterwarnings("ignore::mimrl.errors.VarianceWarning")
def test_without_pointwise_values_the_errors_are_taken_for_independent():
    x, y, z = common_cause(1).sample(300, 0)
    sliced = Sliced(estimator=Gaussian(), projections=10)
    with pytest.warns(BiasWarning, match="sliced") as caught:
        found = MutualDifference(estimator=sliced, order="first").estimate_with_info(x, y, z)
    assert sum(isinstance(warning.message, BiasWarning) for warning in caught) == 1
    assert found.pointwise is None
    with pytest.warns(BiasWarning):
        whole = sliced.estimate_with_info(x, np.c_[y, z])
    part = sliced.estimate_with_info(x, z)
    assert found.mi_estimate == pytest.approx(whole.mi_estimate - part.mi_estimate)
    assert found.standard_error == pytest.approx(
        np.hypot(whole.standard_error, part.standard_error)
    )


LITTLE = {"folds": 2, "hidden": 32, "steps": 200, "rate": 3e-3, "batch_size": 256}


@pytest.mark.parametrize("read_out", ["ldr", "dv", "nwj"])
def test_the_classifier_finds_what_is_there_and_nothing_else(read_out):
    estimator = ConditionalClassifier(read_out=read_out, **LITTLE)
    x, y, z = common_cause(1).sample(1200, 0)
    found = estimator.estimate_with_info(x, y, z)
    exact = common_cause(1).log_ratio(x, y, z)
    # A short training of a small network on 600 rows: 0.06 of 0.223.
    assert found.mi_estimate == pytest.approx(exact.mean(), abs=0.06)
    assert np.corrcoef(found.pointwise, exact)[0, 1] > 0.8
    assert found.pointwise.mean() == pytest.approx(found.mi_estimate, abs=1e-12)
    assert 0.7 < found.standard_error / (exact.std() / np.sqrt(1200)) < 3
    nothing = estimator.estimate_with_info(*independent_given(1).sample(1200, 0))
    assert abs(nothing.mi_estimate) < 0.02


def test_the_classifier_warns_of_a_wide_z_and_regression_narrows_it():
    samples = independent_given(20).sample(1200, 0)
    with pytest.warns(BiasWarning, match="too high"):
        plain = ConditionalClassifier(**LITTLE).estimate_with_info(*samples)
    narrow = ConditionalClassifier(regression=True, **LITTLE).estimate_with_info(*samples)
    assert plain.mi_estimate > 0.05
    assert abs(narrow.mi_estimate) < 0.02
    far = "neighbour_distance"
    assert narrow.additional_information[far] < 0.01 < 0.1 < plain.additional_information[far]


def test_the_classifier_is_deterministic_by_seed_and_checks_its_settings():
    x, y, z = common_cause(1).sample(120, 0)
    short = {"folds": 2, "hidden": 8, "steps": 30}
    values = [ConditionalClassifier(seed=s, **short).estimate(x, y, z) for s in (0, 0, 1)]
    assert values[0] == values[1] != values[2]
    far_away = ConditionalClassifier(seed=0, **short).estimate(x + 1e9, y * 1e-9, z)
    assert far_away == pytest.approx(values[0], abs=1e-3)
    with pytest.raises(ConfigError, match="device"):
        ConditionalClassifier(device="abacus")
    with pytest.raises(EstimationError, match="at least 100"):
        ConditionalClassifier().estimate(x[:50], y[:50], z[:50])


@pytest.mark.slow
def test_the_classifier_on_five_thousand_samples():
    """Within 2 % of the mean exact log ratio of the same samples, by default settings."""
    found, exact = [], []
    for seed in range(2):
        x, y, z = noisy_channel().sample(5000, seed)
        found.append(ConditionalClassifier(seed=seed).estimate(x, y, z))
        exact.append(noisy_channel().log_ratio(x, y, z).mean())
    assert np.mean(found) == pytest.approx(np.mean(exact), rel=0.02)


def test_the_bench_prints_a_table_and_judges_two_tasks(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(str(BENCH))
    out = tmp_path / "out.json"
    before = set(sys.modules)
    bench = importlib.import_module("conditional_estimators")
    words = ["--samples", "300", "--seeds", "2", "--estimators", "gaussian", "ksg_3"]
    code = bench.main([*words, "--json", str(out)])
    for name in set(sys.modules) - before:
        if name in ("conditional_estimators", "reporting"):
            del sys.modules[name]
    printed, report = capsys.readouterr().out, json.loads(out.read_text())
    assert code == (0 if report["wanted_holds"] else 1)
    assert len(report["rows"]) == 2 * len(CONDITIONAL_TASKS)
    assert printed.count("| noisy-channel |") == 3  # in the table, and judged twice
    by_task = {(row["task"], row["estimator"]): row for row in report["rows"]}
    channel = by_task["noisy-channel", "gaussian"]
    assert np.mean(channel["estimates"]) == pytest.approx(np.mean(channel["exact"]), abs=0.02)
