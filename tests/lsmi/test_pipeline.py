"""The whole reading on data whose information is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from gaussian_toy import exact, sample

from lsmi import AnalysisSettings, PairFeatures, analyse
from lsmi.decomposition import decompose_pointwise
from mimrl.errors import ConfigError, EstimationError, EstimationWarning, NonFiniteError, ShapeError

QUICK = AnalysisSettings(discriminator_epochs=15, entropy_epochs=10, folds=2, members=1, hidden=32)


def features(kind, size, generator, width=12):
    """ReLU features that hold one bit each, buried in other directions."""
    a, b = generator.choice([-1.0, 1.0], size=(2, size))
    y = {"xor": a * b > 0, "copy": a > 0, "unique": a > 0, "chance": generator.random(size) > 0.5}
    fixed = np.random.default_rng(7).normal(size=(2, 4, width))
    other = a if kind == "copy" else b
    parts = [np.c_[2 * bit, generator.normal(size=(size, 3))] for bit in (a, other)]
    x1, x2 = (np.maximum(part @ matrix, 0) for part, matrix in zip(parts, fixed, strict=True))
    return PairFeatures(x1, x2, y[kind].astype(np.int64))


def splits(kind, seed=0, sizes=(500, 150, 200)):
    generator = np.random.default_rng(seed)
    names = ("train", "valid", "test")
    return {n: features(kind, size, generator) for n, size in zip(names, sizes, strict=True)}


@pytest.mark.parametrize(("kind", "atom"), [("xor", "s"), ("copy", "r"), ("unique", "u1")])
def test_planted_interaction_leads_in_every_split(kind, atom):
    found = analyse(splits(kind), QUICK)
    for reading in found.splits.values():
        totals = reading.decomposition.adjusted.totals
        assert totals.largest == atom
        assert getattr(totals, atom) > 0.5
        assert reading.decomposition.information.i12.mean() <= reading.label_entropy


def test_chance_labels_carry_nothing_in_any_split():
    found = analyse(splits("chance"), QUICK)
    for reading in found.splits.values():
        assert np.abs(tuple(reading.decomposition.totals)).max() < 0.03
        assert reading.decomposition.information.i12.mean() < 0.02


def test_toy_mixture_beats_the_published_error():
    """Root-mean-square errors of the published code on this case: r 0.155, h(x1) 0.48."""
    generator = np.random.default_rng(0)
    data = {"train": sample(1600, 2, 0.5, 0.5, generator)}
    data["test"] = sample(400, 2, 0.5, 0.5, generator)
    settings = AnalysisSettings(
        scaling="none", discriminator_epochs=20, entropy_epochs=20, members=1, folds=2
    )
    found = analyse(data, settings).splits["test"].decomposition
    truth = decompose_pointwise(exact(data["test"], 0.5, 0.5))
    assert np.sqrt(np.mean((found.r - truth.r) ** 2)) < 0.1
    assert np.sqrt(np.mean((found.information.h1 - truth.information.h1) ** 2)) < 0.24


def test_totals_do_not_depend_on_units_rotation_or_order_of_features():
    data = splits("unique", sizes=(400, 120, 120))
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(12, 12)))[0]
    moved = {
        name: dataclasses.replace(pair, x1=30 * pair.x1[:, ::-1] @ rotation)
        for name, pair in data.items()
    }
    one, other = (analyse(d, QUICK).splits["test"].decomposition for d in (data, moved))
    assert tuple(one.totals) == pytest.approx(tuple(other.totals), abs=0.02)


def test_same_seed_same_numbers_and_folds_are_not_read_in_sample():
    data = splits("xor", sizes=(200, 60, 60))
    one, other = (analyse(data, QUICK) for _ in range(2))
    for name in data:
        parts = [analysis.splits[name].decomposition for analysis in (one, other)]
        assert np.array_equal(parts[0].r, parts[1].r)
        assert np.array_equal(parts[0].information.i12, parts[1].information.i12)


def test_unbalanced_chance_labels_need_the_prior_of_the_data():
    generator = np.random.default_rng(0)
    data = {
        name: PairFeatures(*generator.normal(size=(2, size, 3)), np.arange(size) % 10 // 9)
        for name, size in (("train", 400), ("test", 200))
    }
    found = analyse(data, QUICK).splits["test"].decomposition.information.i12.mean()
    settings = dataclasses.replace(QUICK, prior="uniform")
    uniform = analyse(data, settings).splits["test"].decomposition.information.i12.mean()
    assert found == pytest.approx(0, abs=0.03)
    # log 2 - H(Y) = 0.368 nats that are not there
    assert uniform == pytest.approx(0.368, abs=0.03)


def test_what_is_given_comes_back_in_order():
    data = splits("copy", sizes=(80, 0, 30))
    labels = np.where(data["train"].labels == 1, 7, -2)
    data["train"] = dataclasses.replace(
        data["train"], labels=labels, ids=[f"clip{k}" for k in range(80)]
    )
    data["test"] = dataclasses.replace(
        data["test"], labels=np.where(data["test"].labels == 1, 7, -2)
    )
    found = analyse(data, dataclasses.replace(QUICK, components=3))
    assert set(found.splits) == {"train", "test"}
    assert found.classes == (-2, 7)
    assert found.components == (3, 3)
    assert found.splits["train"].ids[:2] == ("clip0", "clip1")
    assert np.array_equal(found.splits["train"].labels, labels)
    assert found.prior == pytest.approx([np.mean(labels == -2), np.mean(labels == 7)])


def test_stages_hear_of_every_step():
    heard = {}

    def stage(name, total):
        heard[name] = [0, total]

        def done(count):
            heard[name][0] += count

        return done

    analyse(splits("copy", sizes=(60, 0, 20)), QUICK, stage)
    assert all(done == total for done, total in heard.values())
    assert list(heard)[-5:] == ["p(y|x1)", "p(y|x2)", "p(y|x12)", "p(x1)", "p(x2)"]


def test_a_classifier_worse_than_the_prior_is_a_warning():
    """Labels of valid follow the features, those of test contradict them."""
    data = splits("copy", sizes=(200, 100, 100))
    data["test"] = dataclasses.replace(data["test"], labels=1 - data["test"].labels)
    with pytest.warns(EstimationWarning, match=r"mean i\d+ of test is -"):
        analyse(data, QUICK)


def broken(**changes):
    data = splits("copy", sizes=(60, 0, 20))
    data["train"] = dataclasses.replace(data["train"], **changes)
    return data


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (broken(labels=np.zeros(60, np.int64)), EstimationError, "all training samples have"),
        (broken(labels=np.arange(60) % 2 + 5), EstimationError, "classes"),
        (broken(labels=np.linspace(0, 1, 60)), ShapeError, "one integer class"),
        (broken(x1=np.full((60, 12), np.nan)), NonFiniteError, "x1 of train"),
        (broken(x2=np.zeros((60, 12))), EstimationError, "the same for every"),
        (broken(x2=np.zeros((60, 5))), ShapeError, "different number of columns"),
        (broken(ids=["a"]), ShapeError, "ids of train"),
        ({"test": broken()["test"]}, EstimationError, "no train samples"),
    ],
)
def test_bad_input_is_one_clear_message(data, error, message):
    with pytest.raises(error, match=message):
        analyse(data, QUICK)


def test_all_problems_of_the_settings_in_one_message():
    with pytest.raises(ConfigError, match=r"folds is 1.*components has no effect"):
        AnalysisSettings(folds=1, scaling="none", components=3)
