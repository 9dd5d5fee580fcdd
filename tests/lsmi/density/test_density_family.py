"""What all families of densities owe: mass 1, units, rows they may see; choosing among them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from known_mixtures import sample, unlabelled

from lsmi.density import (
    ClassConditional,
    Densities,
    Flow,
    Knife,
    Mixture,
    choose,
    default_families,
    estimate,
    log_densities,
    restrict,
)
from lsmi.density.classes import COVARIANCES as CLASS_FORMS
from lsmi.density.mixture import COVARIANCES as MIXTURE_FORMS
from mimrl.errors import ConfigError, EstimationError, NonFiniteError, ShapeError

FAMILIES = {
    "mixture": Mixture(forms=tuple((form, 3) for form in MIXTURE_FORMS)),
    "classes": ClassConditional(forms=tuple((form, k) for form in CLASS_FORMS for k in (1, 2))),
    "knife": Knife(components=3, epochs=2, batch_size=32),
    "flow": Flow(epochs=2, batch_size=32),
}
each_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


def silent(count):
    """Progress that nobody watches."""


def data(dimensions, size=200, classes=3):
    generator = np.random.default_rng(dimensions)
    means = generator.normal(size=(classes, dimensions)) * 2
    return sample(means, np.full(classes, 1 / classes), 0.7, size, generator)


@pytest.mark.parametrize("dimensions", [1, 2])
@each_family
def test_density_integrates_to_one(family, dimensions):
    """On a grid of steps of .1 over 12 standard deviations; one class of four has no rows."""
    x, labels = data(dimensions)
    axis = np.arange(-15, 15, 0.1 if dimensions == 1 else 0.15)
    grid = np.stack(np.meshgrid(*[axis] * dimensions), axis=-1).reshape(-1, dimensions)
    rows, no_labels = np.arange(200), np.zeros(len(grid), np.int64)
    found = family(np.vstack([x, grid]), np.append(labels, no_labels), 4, [rows], silent)
    cell = (axis[1] - axis[0]) ** dimensions
    # the tails of a flow may reach further than the grid
    assert np.exp(found.marginal[:, 0, 200:]).sum(axis=1) * cell == pytest.approx(1, abs=2e-3)
    for given in found.given.values():
        assert given.shape == (1, len(x) + len(grid), 4)
        assert np.exp(given[0, 200:]).sum(axis=0) * cell == pytest.approx(np.ones(4), abs=1e-3)


@each_family
def test_units_move_the_log_density_by_the_log_volume(family):
    x, labels = data(3)
    fits = [np.arange(150), np.arange(30, 200)]
    found = family(x, labels, 3, fits, silent)
    moved = family(40 * x + 3, labels, 3, fits, silent)
    # two epochs in single precision
    assert moved.marginal == pytest.approx(found.marginal - 3 * np.log(40), abs=2e-3)
    assert moved.given.keys() == found.given.keys()
    for candidate, given in found.given.items():
        assert moved.given[candidate] == pytest.approx(given - 3 * np.log(40), abs=1e-6)


@pytest.mark.parametrize(
    "family",
    [
        Mixture(forms=(("full", 2), ("tied", 3), ("full", 1))),
        ClassConditional(forms=(("own full", 1), ("shared full", 2), ("own full", 2))),
        Knife(components=1, epochs=1),
        Flow(epochs=1),
    ],
    ids=type,
)
def test_models_with_full_covariances_do_not_know_the_axes(family):
    """Under any linear map; KNIFE and the flow at their start, a Gaussian."""
    x, labels = data(3)
    matrix = np.random.default_rng(0).normal(size=(3, 3)) * [[1.0], [10.0], [0.1]]
    found = family(x, labels, 3, [np.arange(150)], silent).marginal
    mapped = family(x @ matrix, labels, 3, [np.arange(150)], silent).marginal
    if isinstance(family, Knife | Flow):
        found, mapped = found[:1], mapped[:1]
    shift = np.linalg.slogdet(matrix)[1]
    assert mapped == pytest.approx(found - shift, abs=1e-4)


@pytest.mark.parametrize("form", ["spherical", "tied spherical"])
def test_spherical_mixtures_do_not_know_the_rotation(form):
    x, _ = data(3)
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    family = Mixture(forms=((form, 3),))
    found, turned = (unlabelled(family, z, [np.arange(150)]).marginal for z in (x, x @ rotation))
    assert turned == pytest.approx(found, abs=1e-6)


@each_family
def test_rows_outside_a_fit_do_not_touch_it(family):
    """Neither their features nor their labels, which need not even be labels."""
    x, labels = data(2)
    fits = [np.arange(0, 90), np.arange(60, 150)]
    found = family(x, labels, 3, fits, silent)
    outside = np.ones(200, bool)
    outside[fits[0]] = False
    other, wrong = x.copy(), labels.copy()
    other[outside] = 1e3 * np.random.default_rng(1).normal(size=(int(outside.sum()), 2)) - 50
    wrong[150:] = -7
    moved = family(other, wrong, 3, fits, silent)
    assert np.array_equal(moved.marginal[:, 0, :90], found.marginal[:, 0, :90])
    for candidate, given in found.given.items():
        assert np.array_equal(moved.given[candidate][0, :90], given[0, :90])
    assert not np.allclose(moved.marginal[:, 1, 60:90], found.marginal[:, 1, 60:90])


@pytest.mark.parametrize("name", ["mixture", "classes"])
def test_fits_of_one_call_are_those_of_many(name):
    x, labels = data(2)
    fits = [np.arange(0, 90), np.arange(60, 200), np.arange(0, 200, 3)]
    whole = FAMILIES[name](x, labels, 3, fits, silent)
    for number, rows in enumerate(fits):
        alone = FAMILIES[name](x, labels, 3, [rows], silent)
        # the order of sums may differ, and with it the last digits
        assert alone.marginal[:, 0] == pytest.approx(whole.marginal[:, number], abs=1e-6)


@each_family
def test_names_progress_and_one_candidate_alone(family):
    x, labels = data(2)
    steps = []
    whole = family(x, labels, 3, [np.arange(150)], steps.append)
    assert whole.names == family.names
    assert whole.marginal.shape == (len(family.names), 1, 200)
    assert np.isfinite(whole.marginal).all()
    assert sum(steps) == family.steps
    number = len(family.names) - 1
    name = family.names[number]
    alone = restrict([Mixture(forms=(("full", 7),)), family], name)(
        x, labels, 3, [np.arange(150)], silent
    )
    assert np.array_equal(alone.marginal[alone.names.index(name)], whole.marginal[number])
    with pytest.raises(ConfigError, match="no candidate is called 'other'"):
        family.only("other")


def test_all_families_together():
    x, labels = data(2)
    families = (FAMILIES["mixture"], FAMILIES["classes"])
    found = estimate(x, labels, 3, [np.arange(150)], families)
    parts = [family(x, labels, 3, [np.arange(150)], silent) for family in families]
    assert found.names == parts[0].names + parts[1].names
    assert np.array_equal(found.marginal, np.concatenate([part.marginal for part in parts]))
    assert set(found.given) == set(range(5, 15))
    assert np.array_equal(found.given[6], parts[1].given[1])
    names, values = log_densities(x, [np.arange(150)], families[:1])
    assert names == parts[0].names
    assert np.array_equal(values, parts[0].marginal)


def test_default_families_are_known_by_name():
    families = default_families(epochs=3)
    names = [name for family in families for name in family.names]
    assert len(set(names)) == len(names)
    for family in families:
        assert restrict(families, family.names[0]).names[0] == family.names[0]
    with pytest.raises(ConfigError, match="no density candidate is called 'nothing'"):
        restrict(families, "nothing")


def test_the_likeliest_on_held_out_rows_is_chosen():
    marginal = np.zeros((3, 2, 4))
    marginal[1, 0] = [-1, 9, 9, 0]
    marginal[2, 1, 3] = 0.5
    found = Densities(("a", "b", "c"), marginal)
    assert choose(found, 0, np.array([0])) == 0
    assert choose(found, 0, np.array([1, 2])) == 1
    assert choose(found, 1, np.array([2, 3])) == 2
    # b is ahead of a by 4.5 on average, with a standard error of 4.5 / sqrt 2
    assert choose(found, 0, np.array([1, 3])) == 1
    assert choose(found, 0, np.array([1, 3]), margin=1) == 1
    assert choose(found, 0, np.array([1, 3]), margin=2) == 0
    with pytest.raises(EstimationError, match="no held-out rows"):
        choose(found, 0, np.zeros(0, np.int64))


def test_what_cannot_be_estimated_is_refused():
    x, labels = data(2)
    fits, families = [np.arange(100)], (FAMILIES["mixture"],)
    with pytest.raises(ShapeError, match=r"shape \(200,\) with labels"):
        estimate(x[:, 0], labels, 3, fits, families)
    with pytest.raises(ShapeError, match=r"lie in 0\.\.2; expected 0\.\.1"):
        estimate(x, labels, 2, fits, families)
    with pytest.raises(NonFiniteError, match="first in row 7"):
        estimate(np.where(np.arange(200)[:, None] == 7, np.nan, x), labels, 3, fits, families)
    with pytest.raises(EstimationError, match="given 1 rows; expected at least 2"):
        estimate(x, labels, 3, [fits[0], np.array([4])], families)
    with pytest.raises(EstimationError, match="given 0 rows"):
        estimate(x, labels, 3, [], families)
    with pytest.raises(ConfigError, match="expected at least one, each name once"):
        estimate(x, labels, 3, fits, families * 2)
    with pytest.raises(ConfigError, match="of form 'round'"):
        Mixture(forms=(("round", 2),))
    with pytest.raises(ConfigError, match="of 0 components"):
        ClassConditional(forms=(("own full", 0),))


@each_family
def test_features_that_hardly_vary_do_not_break_a_fit(family):
    """A constant coordinate, a copied one, repeated rows, and more dimensions than rows."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(40, 2))[np.arange(60) % 20]
    x = np.hstack([x, x[:, :1], np.full((60, 1), 5.0), generator.normal(size=(60, 30))])
    labels = np.arange(60) % 3
    for rows in (np.arange(60), np.arange(20)):
        found = family(x, labels, 3, [rows], silent)
        assert np.isfinite(found.marginal).all()
        assert all(np.isfinite(given).all() for given in found.given.values())


def test_global_generators_are_left_alone():
    torch_state, numpy_state = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    x, labels = data(2)
    estimate(x, labels, 3, [np.arange(150)], tuple(FAMILIES.values()))
    assert torch.equal(torch_state, torch.random.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])  # noqa: NPY002
