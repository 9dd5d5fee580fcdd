"""The whole analysis on data whose information is known."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from lsmi import AnalysisSettings, NamedFeatures, analyse, decompose
from lsmi.estimates import Round, density
from lsmi.plan import make_plan
from lsmi.results import ADJUSTED, ATOMS, INFORMATION, RAW
from lsmi.truth import toy
from mimrl.errors import ConfigError, EstimationError, EstimationWarning, NonFiniteError, ShapeError

PAIR = ("x1", "x2")
QUICK = AnalysisSettings(
    discriminator_epochs=15,
    entropy_epochs=5,
    folds=2,
    repeats=1,
    hidden=32,
    density="em",
    shuffles=0,
    bootstrap=50,
    measures=False,
)
CHANCE = "ignore:.*not distinguishable from shuffled labels"


def features(kind, size, generator, width=12):
    """ReLU features that hold one bit each, buried in other directions."""
    a, b = generator.choice([-1.0, 1.0], size=(2, size))
    y = {"xor": a * b > 0, "copy": a > 0, "unique": a > 0, "chance": generator.random(size) > 0.5}
    fixed = np.random.default_rng(7).normal(size=(2, 4, width))
    other = a if kind == "copy" else b
    parts = [np.c_[2 * bit, generator.normal(size=(size, 3))] for bit in (a, other)]
    x1, x2 = (np.maximum(part @ matrix, 0) for part, matrix in zip(parts, fixed, strict=True))
    return NamedFeatures({"x1": x1, "x2": x2}, y[kind].astype(np.int64))


def splits(kind, seed=0, sizes=(500, 150, 200)):
    generator = np.random.default_rng(seed)
    names = ("train", "valid", "test")
    return {n: features(kind, size, generator) for n, size in zip(names, sizes, strict=True)}


def readings(data, settings=QUICK):
    return analyse(data, [PAIR], settings).pairs[PAIR].splits


@pytest.mark.parametrize(("kind", "atom"), [("xor", "s"), ("copy", "r"), ("unique", "u1")])
def test_planted_interaction_leads_in_every_split(kind, atom):
    for reading in readings(splits(kind)).values():
        totals = reading.decomposition.adjusted.totals
        assert totals.largest == atom
        assert getattr(totals, atom) > 0.5
        assert (reading.leading == atom).mean() > 0.6
        assert reading.decomposition.information.i12.mean() <= reading.label_entropy


@pytest.mark.filterwarnings(CHANCE)
def test_chance_labels_carry_nothing_and_cannot_be_told_from_the_control():
    settings = dataclasses.replace(QUICK, shuffles=2)
    for reading in readings(splits("chance"), settings).values():
        assert np.abs(tuple(reading.decomposition.totals)).max() < 0.03
        assert reading.decomposition.information.i12.mean() < 0.02
        assert reading.quantities["i12"].distinguishable is False
        assert any("shuffled labels" in remark for remark in reading.remarks)


def test_real_information_is_told_from_the_control_with_intervals_around_it():
    settings = dataclasses.replace(QUICK, shuffles=2, repeats=2, bootstrap=200)
    with pytest.warns(EstimationWarning, match="shuffled labels"):  # R of xor is chance
        found = readings(splits("xor"), settings)
    for reading in found.values():
        assert set(RAW) | set(ADJUSTED) <= set(reading.quantities)
        synergy = reading.quantities["s"]
        assert synergy.low < synergy.value < synergy.high
        assert synergy.distinguishable
        assert abs(synergy.control) < 0.05
        # the interval of a mean of hundreds of samples, not of one
        assert 0.002 < synergy.high - synergy.low < 0.08


def test_toy_mixture_beats_half_the_published_error():
    """Root-mean-square errors of the published code on this case: r 0.155, h(x1) 0.48."""
    generator = np.random.default_rng(0)
    mixture = toy(2, 0.5)
    data = {"train": mixture.sample(1600, generator), "test": mixture.sample(400, generator)}
    found = readings(data, dataclasses.replace(QUICK, scaling="none"))["test"].decomposition
    truth = mixture.decompose(data["test"])
    assert np.sqrt(np.mean((found.r - truth.r) ** 2)) < 0.077
    assert np.sqrt(np.mean((found.information.h1 - truth.information.h1) ** 2)) < 0.24


def test_totals_do_not_depend_on_units_rotation_or_order_of_features():
    data = splits("unique", sizes=(400, 120, 120))
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(12, 12)))[0]
    moved = {
        name: dataclasses.replace(
            split, features={**split.features, "x1": 30 * split.features["x1"][:, ::-1] @ rotation}
        )
        for name, split in data.items()
    }
    one, other = (readings(d)["test"].decomposition for d in (data, moved))
    assert tuple(one.totals) == pytest.approx(tuple(other.totals), abs=0.02)


def test_same_seed_same_numbers():
    data = splits("xor", sizes=(200, 60, 60))
    settings = dataclasses.replace(QUICK, shuffles=1)
    with pytest.warns(EstimationWarning):
        one, other = (readings(data, settings) for _ in range(2))
    for name in data:
        assert np.array_equal(one[name].decomposition.r, other[name].decomposition.r)
        assert one[name].quantities == other[name].quantities


def test_every_repeat_starts_its_densities_anew():
    """The model of all of train has the same rows in every repeat; its start makes it another."""
    generator = np.random.default_rng(0)
    z, labels = generator.normal(size=(160, 2)), np.arange(160) % 2
    rows = {"train": np.arange(120), "test": np.arange(120, 160)}
    rounds = [Round(make_plan(rows, labels, None, 2, seed), labels) for seed in (0, 1)]
    settings = dataclasses.replace(QUICK, density="knife", entropy_epochs=2)
    found = density(z, 2, rounds, rows, settings, lambda steps: None).entropies[:, rows["test"]]
    assert 1e-4 < np.abs(found[0] - found[1]).mean() < 0.3


def test_controls_and_pairs_do_not_change_what_is_read():
    """A pair reads the same alone, beside others, and with a control."""
    data = splits("copy", sizes=(200, 60, 60))
    generator = np.random.default_rng(5)
    three = {
        name: dataclasses.replace(
            split, features={**split.features, "x3": generator.normal(size=(len(split), 6))}
        )
        for name, split in data.items()
    }
    settings = dataclasses.replace(QUICK, components=3)
    alone = readings(data, settings)
    with pytest.warns(EstimationWarning):
        beside = analyse(three, settings=dataclasses.replace(settings, shuffles=1))
    assert set(beside.pairs) == set(itertools.combinations(("x1", "x2", "x3"), 2))
    for name in data:
        again = beside.pairs[PAIR].splits[name].decomposition
        assert np.array_equal(alone[name].decomposition.r, again.r)


def test_unbalanced_chance_labels_need_the_prior_of_the_data():
    generator = np.random.default_rng(0)
    data = {
        name: NamedFeatures(
            dict(zip(PAIR, generator.normal(size=(2, size, 3)), strict=True)),
            np.arange(size) % 10 // 9,
        )
        for name, size in (("train", 400), ("test", 200))
    }
    found = readings(data)["test"].decomposition.information.i12.mean()
    settings = dataclasses.replace(QUICK, prior="uniform")
    uniform = readings(data, settings)["test"].decomposition.information.i12.mean()
    assert found == pytest.approx(0, abs=0.03)
    # log 2 - H(Y) = 0.368 nats that are not there
    assert uniform == pytest.approx(0.368, abs=0.03)


def test_information_of_a_prior_that_is_not_the_labels_is_said():
    """One sample in ten is of class 1: H(Y) is .325, and equal classes promise .693."""
    generator = np.random.default_rng(0)
    y = (generator.random(400) < 0.1).astype(np.int64)
    x1, x2 = y[:, None] + 0.01 * generator.normal(size=(2, 400, 2))
    quick = {"folds": 2, "repeats": 1, "shuffles": 0, "measures": False, "density": "classes"}
    found = decompose(x1, x2, y, discriminator_epochs=5, **quick)
    share = y.mean()
    entropy = -share * np.log(share) - (1 - share) * np.log(1 - share)
    assert found.diagnostics.label_entropy == pytest.approx(entropy)
    assert found.diagnostics.remarks == ()
    with pytest.warns(EstimationWarning, match="i12 is .* above the label's entropy"):
        decompose(x1, x2, y, discriminator_epochs=5, prior="uniform", **quick)


def test_what_is_given_comes_back_in_order():
    data = splits("copy", sizes=(80, 0, 30))
    labels = np.where(data["train"].labels == 1, 7, -2)
    data["train"] = dataclasses.replace(
        data["train"], labels=labels, ids=[f"clip{k}" for k in range(80)], texts=["so"] * 80
    )
    data["test"] = dataclasses.replace(
        data["test"], labels=np.where(data["test"].labels == 1, 7, -2), ratings=np.arange(30.0)
    )
    found = analyse(data, [PAIR], dataclasses.replace(QUICK, components=3))
    reading = found.pairs[PAIR]
    assert set(reading.splits) == {"train", "test"}
    assert found.classes == (-2, 7)
    assert reading.components == (3, 3)
    assert reading.splits["train"].ids[:2] == ("clip0", "clip1")
    assert np.array_equal(reading.splits["train"].labels, labels)
    assert found.prior == pytest.approx([np.mean(labels == -2), np.mean(labels == 7)])
    assert found.notes["train"].texts == ("so",) * 80
    assert found.notes["test"].ratings.tolist() == list(range(30))


def test_scales_are_offsets_of_the_entropies_and_read_without_other_models():
    data = splits("unique", sizes=(300, 80, 80))
    whitened = readings(data, dataclasses.replace(QUICK, components=4))["test"]
    own = readings(data, dataclasses.replace(QUICK, components=4, scaling="own"))["test"]
    assert next(iter(whitened.scales)) == "whiten"
    assert next(iter(own.scales)) == "own"
    assert {"whiten", "trace", "own", "matched"} <= set(whitened.scales)
    assert whitened.scales["whiten"].offset == 0.0
    for scales, same in ((whitened.scales, own), (own.scales, whitened)):
        name = next(iter(same.scales))
        assert tuple(scales[name].raw) == pytest.approx(tuple(same.decomposition.totals), abs=1e-9)


@pytest.mark.filterwarnings(CHANCE)
@pytest.mark.parametrize("method", ["crossfit", "published"])
def test_stages_hear_of_every_step(method):
    heard = {}

    def stage(name, total):
        heard[name] = [0, total]

        def done(count):
            heard[name][0] += count

        return done

    quick = {"discriminator_epochs": 3, "entropy_epochs": 2, "bootstrap": 0, "measures": False}
    if method == "crossfit":
        quick |= {"folds": 2, "repeats": 1, "density": "em", "shuffles": 1}
    data = splits("copy", sizes=(60, 0, 20))
    analyse(data, [PAIR], AnalysisSettings(method=method, **quick), stage)
    assert heard
    assert all(done == total for done, total in heard.values())


@pytest.mark.filterwarnings("ignore:.*worse than the class prior")
def test_published_method_reads_train_with_what_was_fitted_to_it():
    data = splits("chance", sizes=(200, 60, 60))
    settings = AnalysisSettings(method="published", bootstrap=50, measures=False)
    found = readings(data, settings)
    assert found["train"].decomposition.information.i12.mean() > 0.05  # of nothing at all
    assert found["test"].quantities["i12"].control is None


def test_direct_entropies_given_the_label():
    data = splits("copy")
    settings = dataclasses.replace(QUICK, density="classes", given="direct")
    information = readings(data, settings)["test"].decomposition.information
    assert information.h1_given is not None
    # log p(x|y) - log p(x) of the densities against i of the classifiers
    assert information.h1 - information.h1_given == pytest.approx(information.i1, abs=1.5)
    assert not np.allclose(information.h1 - information.h1_given, information.i1)


def test_a_classifier_worse_than_the_prior_is_a_warning():
    """Labels of valid follow the features, those of test contradict them."""
    data = splits("copy", sizes=(200, 100, 100))
    data["test"] = dataclasses.replace(data["test"], labels=1 - data["test"].labels)
    with pytest.warns(EstimationWarning, match=r"test: mean i\d+ is -"):
        readings(data)


def test_doubles_across_splits_are_said_and_not_fitted():
    data = splits("chance", sizes=(120, 40, 60))
    copied = {name: x.copy() for name, x in data["test"].features.items()}
    for name in copied:
        copied[name][:30] = data["train"].features[name][:30]
    labels = data["test"].labels.copy()
    labels[:30] = data["train"].labels[:30]
    data["test"] = NamedFeatures(copied, labels)
    with pytest.warns(EstimationWarning, match="30 samples of train have the same features"):
        found = readings(data)
    assert found["test"].decomposition.information.i12[:30].mean() < 0.1


def test_doubles_within_train_are_not_torn_apart():
    """Each sample three times: a classifier that saw two of them would know the third's label."""
    generator = np.random.default_rng(0)
    x1, x2 = np.repeat(generator.normal(size=(2, 150, 4)), 3, axis=1)
    y = np.repeat(generator.integers(0, 2, 150), 3)
    x1, x2 = np.r_[x1, generator.normal(size=(900, 4))], np.r_[x2, generator.normal(size=(900, 4))]
    y = np.r_[y, generator.integers(0, 2, 900)]
    found = decompose(x1, x2, y, **{k: getattr(QUICK, k) for k in ("folds", "repeats", "density")},
                      shuffles=0, measures=False, discriminator_epochs=15)  # fmt: skip
    assert found.i12.mean() < 0.02


def broken(**changes):
    data = splits("copy", sizes=(60, 0, 20))
    if {"x1", "x2", "x3"} & set(changes):
        changes = {"features": {**data["train"].features, **changes}}
    data["train"] = dataclasses.replace(data["train"], **changes)
    return data


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (broken(labels=np.zeros(60, np.int64)), EstimationError, "all training samples have"),
        (broken(labels=np.arange(60) % 2 + 5), EstimationError, "classes"),
        (broken(labels=np.linspace(0, 1, 60)), ShapeError, "one integer class"),
        (broken(x1=np.full((60, 12), np.nan)), NonFiniteError, "x1 of train"),
        (broken(x2=np.zeros((60, 12))), EstimationError, "x2: the features are the same"),
        (broken(x2=np.zeros((60, 5))), ShapeError, "different number of columns"),
        (broken(x3=np.zeros((60, 5))), ShapeError, "different features"),
        (broken(ids=["a"]), ShapeError, "ids of train"),
        ({"test": broken()["test"]}, EstimationError, "no train samples"),
        (broken(x1=np.full((60, 12), 1e200)), EstimationError, "rescale these features"),
        (broken(x1=np.full((60, 12), 1e-200)), EstimationError, "rescale these features"),
        (splits("copy", sizes=(3, 0, 20), seed=1), EstimationError, "too few for 2 folds"),
    ],
)
def test_bad_input_is_one_clear_message(data, error, message):
    with pytest.raises(error, match=message):
        analyse(data, [PAIR], QUICK)


@pytest.mark.parametrize("pair", [("x1", "x1"), ("x1", "smell")])
def test_a_pair_that_is_none(pair):
    with pytest.raises(ConfigError, match="two different ones of x1, x2"):
        analyse(splits("copy", sizes=(60, 0, 20)), [pair], QUICK)


def test_all_problems_of_the_settings_in_one_message():
    with pytest.raises(ConfigError, match=r"folds is 1.*components has no effect"):
        AnalysisSettings(folds=1, scaling="none", components=3)
    with pytest.raises(ConfigError, match=r"density has no effect with method published"):
        AnalysisSettings(method="published", density="em")
    with pytest.raises(ConfigError, match="given direct needs"):
        AnalysisSettings(given="direct")
    with pytest.raises(ConfigError, match=r"folds is '5'.*seed is None.*measures is 0"):
        AnalysisSettings(folds="5", seed=None, measures=0)
    with pytest.raises(ConfigError, match=r"repeats is True.*level is 'all'"):
        AnalysisSettings(repeats=True, level="all")
    assert AnalysisSettings(folds=np.int64(3)).folds == 3


@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
def test_a_device_that_is_not_there(device):
    settings = dataclasses.replace(QUICK, device=device)
    with pytest.raises(ConfigError, match="device"):
        analyse(splits("copy", sizes=(60, 0, 20)), [PAIR], settings)


def test_labels_groups_and_ids_may_be_any_arrays():
    data = splits("copy", sizes=(60, 0, 20))
    plain = readings(data)["train"]
    groups = {name: np.arange(len(split)) + 100 * k for k, (name, split) in enumerate(data.items())}
    other = {
        name: dataclasses.replace(
            split, labels=split.labels.astype(bool), groups=groups[name], ids=np.arange(len(split))
        )
        for name, split in data.items()
    }
    found = readings(other)["train"]
    assert np.array_equal(found.labels, plain.labels)
    assert found.labels.dtype == np.int64
    assert found.ids == plain.ids
    assert np.array_equal(found.decomposition.r, plain.decomposition.r)


def test_decompose_of_plain_arrays():
    data = splits("xor", sizes=(300, 0, 0))["train"]
    quick = {
        field.name: getattr(QUICK, field.name)
        for field in dataclasses.fields(QUICK)
        if field.name not in ("scaling", "folds", "seed")
    }
    found = decompose(data.features["x1"], data.features["x2"], data.labels, folds=2, **quick)
    assert found.r.shape == found.adjusted.s.shape == (300,)
    assert found.totals["s"].value == pytest.approx(found.s.mean())
    assert found.r + found.u1 == pytest.approx(found.i1, abs=1e-9)
    assert found.diagnostics.residual < 1e-9
    assert set(found.diagnostics.reliability) == set(INFORMATION)
    assert set(ATOMS) <= set(found.totals)
    with pytest.raises(ConfigError, match="unknown settings of the analysis: fold;"):
        decompose(data.features["x1"], data.features["x2"], data.labels, fold=2)


def test_more_dimensions_than_samples():
    generator = np.random.default_rng(0)
    x1, x2 = generator.normal(size=(2, 60, 200))
    x1[:, 0] += 40 * np.arange(60) % 2
    found = decompose(x1, x2, np.arange(60) % 2, folds=2, repeats=1, shuffles=0, measures=False,
                      discriminator_epochs=10, density="em", bootstrap=0)  # fmt: skip
    assert np.isfinite(found.r).all()
    assert max(found.diagnostics.components) <= 3
