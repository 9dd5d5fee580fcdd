"""Gaussian mixtures and class-conditional Gaussians: closed forms, laws of EM, scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from known_mixtures import log_density, sample, unlabelled
from scipy.stats import multivariate_normal
from sklearn.discriminant_analysis import (
    LinearDiscriminantAnalysis,
    QuadraticDiscriminantAnalysis,
)
from sklearn.mixture import GaussianMixture

from lsmi.density import ClassConditional, Mixture, choose, estimate
from lsmi.density.coordinates import fit_coordinates
from lsmi.density.covariances import (
    Gaussians,
    linear_form,
    log_joint,
    matrices,
    products,
    relative_size,
    unit,
)
from lsmi.density.em import Effort, Fitting, fit_gaussians
from lsmi.density.starts import assignments
from mimrl.errors import EstimationError

EXACT = {"floor": 0.0, "shrinkage": 0.0}


def silent(count):
    """Progress that nobody watches."""


def random_gaussians(kind, shared, generator, count=3, dimensions=4):
    """Components of one fit and the covariance matrix of each."""
    means = torch.from_numpy(generator.normal(size=(1, count, dimensions)))
    roots = torch.from_numpy(generator.normal(size=(1, 1 if shared else count, 7, dimensions)))
    spreads = products(roots, kind).mean(dim=2)
    weights = torch.from_numpy(generator.dirichlet(np.ones(count)))[None]
    if kind == "full":
        full = matrices(spreads, dimensions)
    else:
        variances = spreads if kind == "diag" else spreads / dimensions
        full = torch.diag_embed(variances.expand(*variances.shape[:2], dimensions))
    return Gaussians(weights.log(), means, spreads), full.expand(1, count, -1, -1)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("kind", ["spherical", "diag", "full"])
def test_two_ways_to_the_density_of_a_component_agree_with_scipy(kind, shared):
    generator = np.random.default_rng(0)
    model, full = random_gaussians(kind, shared, generator)
    x = torch.from_numpy(generator.normal(size=(1, 9, 4)) * 2)
    expected = [
        multivariate_normal(model.means[0, k], full[0, k]).logpdf(x[0])
        + model.log_weights[0, k].item()
        for k in range(3)
    ]
    assert log_joint(x, model, kind)[0].numpy() == pytest.approx(np.stack(expected), abs=1e-10)
    a, b, c = linear_form(model, kind)
    terms = (products(x, kind) @ a.transpose(1, 2), x @ b.transpose(1, 2), c.unsqueeze(1))
    assert sum(terms)[0].T.numpy() == pytest.approx(np.stack(expected), abs=1e-10)


@pytest.mark.parametrize("kind", ["spherical", "diag", "full"])
def test_relative_size_is_the_mean_variance_in_units_of_the_reference(kind):
    model, full = random_gaussians(kind, False, np.random.default_rng(0))
    assert relative_size(3 * model.spreads, model.spreads, 4, kind).numpy() == pytest.approx(3)
    variances = full.diagonal(dim1=-2, dim2=-1).mean(-1, keepdim=True)
    found = relative_size(model.spreads, unit(4, kind), 4, kind)
    assert found.numpy() == pytest.approx(variances.numpy())


def test_one_component_is_the_gaussian_of_the_rows():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(80, 3)) @ generator.normal(size=(3, 3)) * 0.01 + 7
    rows = np.arange(60)
    family = Mixture(forms=(("full", 1), ("diag", 1), ("spherical", 1)), **EXACT)
    found = unlabelled(family, x, [rows]).marginal[:, 0]
    mean, covariance = x[rows].mean(axis=0), np.cov(x[rows].T, ddof=0)
    variances = covariance.diagonal()
    forms = (covariance, np.diag(variances), np.eye(3) * variances.mean())
    for values, matrix in zip(found, forms, strict=True):
        expected = multivariate_normal(mean, matrix).logpdf(x)
        assert values == pytest.approx(expected, abs=1e-8)


def test_the_floor_is_a_share_of_the_variance_of_the_fit():
    x = np.random.default_rng(0).normal(size=(50, 2)) * [1.0, 1e-3]
    family = Mixture(forms=(("full", 1), ("diag", 1)), floor=0.5, shrinkage=0)
    covariance = np.cov(x.T, ddof=0)
    for values, matrix in zip(
        unlabelled(family, x, [np.arange(50)]).marginal[:, 0],
        (1.5 * covariance, 1.5 * np.diag(covariance.diagonal())),
        strict=True,
    ):
        expected = multivariate_normal(x.mean(axis=0), matrix).logpdf(x)
        assert values == pytest.approx(expected, abs=1e-8)


def test_a_singular_covariance_is_an_error_that_names_the_floor():
    x = np.repeat(np.random.default_rng(0).normal(size=(4, 2)), 10, axis=0)
    with pytest.raises(EstimationError, match="became singular with floor 0; raise the floor"):
        unlabelled(Mixture(forms=(("full", 4),), **EXACT), x, [np.arange(40)])


NARROW = {
    "bit": ([[0], [1]], [0.5, 0.5]),
    "rare bit": ([[0], [1]], [0.25, 0.75]),
    "three": ([[0], [1], [2]], [0.25, 0.5, 0.25]),
    "four in a row": ([[0], [1], [2], [3]], [0.25] * 4),
    "two bits": ([[0, 0], [0, 1], [1, 0], [1, 1]], [0.25] * 4),
    "two rare bits": ([[0, 0], [0, 1], [1, 0], [1, 1]], [1 / 16, 3 / 16, 3 / 16, 9 / 16]),
    "corner": ([[0, 0], [0, 1], [1, 0]], [0.5, 0.25, 0.25]),
}


@pytest.mark.parametrize("name", NARROW)
def test_narrow_clusters_are_always_found(name):
    """Five samples each, in all forms; 23 free numbers on 2,000 rows cost .006 nats."""
    means, weights = NARROW[name]
    count = len(weights)
    generator = np.random.default_rng(0)
    family = Mixture(
        forms=tuple((f, count) for f in ("spherical", "diag", "full", "tied", "tied spherical"))
    )
    for _ in range(5):
        x, _ = sample(means, weights, 0.1, 4000, generator)
        found = unlabelled(family, x, [np.arange(2000)]).marginal[:, 0, 2000:]
        exact, _ = log_density(x[2000:], means, weights, 0.1)
        assert (exact - found).mean(axis=1) == pytest.approx(0, abs=0.02)


def test_narrow_and_broad_clusters_at_one_place():
    """A component's covariance is drawn to the others' shape, not to their size."""
    generator = np.random.default_rng(0)
    sizes = np.where(generator.random(4000) < 0.25, 0.02, 1.0)[:, None]
    x = generator.normal(size=(4000, 5)) * sizes
    # where two components lie on each other, their shares alone cost log densities
    given = [-0.5 * (x**2).sum(1) / s**2 - 5 * np.log(s * np.sqrt(2 * np.pi)) for s in (0.02, 1)]
    exact = np.logaddexp(given[0] + np.log(0.25), given[1] + np.log(0.75))
    found = unlabelled(Mixture(forms=(("full", 2),)), x, [np.arange(2000)]).marginal[0, 0]
    # 41 free numbers on 2,000 rows cost .010 nats
    assert (exact - found)[2000:].mean() == pytest.approx(0, abs=0.03)


def test_gaussian_in_32_dimensions():
    """The best candidate stays within half a nat of a single Gaussian's held-out likelihood."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(2400, 32)) @ (np.eye(32) + generator.normal(size=(32, 32)) / 8)
    rows, held, test = np.arange(1600), np.arange(1600, 2000), np.arange(2000, 2400)
    found = unlabelled(Mixture(), x, [rows])
    single = found.marginal[found.names.index("full Gaussian mixture, 1"), 0]
    best = found.marginal[choose(found, 0, held), 0]
    assert best[test].mean() > single[test].mean() - 0.5
    exact = multivariate_normal(np.zeros(32), np.cov(x.T)).logpdf(x[test]).mean()
    # 560 free numbers on 1,600 rows cost .35 nats against the covariance of all 2,400
    assert single[test].mean() == pytest.approx(exact, abs=0.5)


@pytest.mark.parametrize("form", ["spherical", "diag", "full", "tied", "tied spherical"])
def test_a_round_never_lowers_the_likelihood(form):
    generator = np.random.default_rng(3)
    x = generator.uniform(-1, 1, size=(300, 2)) + generator.normal(size=(300, 2)) / 5
    efforts = [Effort(rounds=count, tolerance=-np.inf) for count in range(1, 12)]
    families = [Mixture(forms=((form, 4),), effort=effort, **EXACT) for effort in efforts]
    path = [unlabelled(family, x, [np.arange(300)]).marginal.mean() for family in families]
    assert np.diff(path).min() > -1e-12
    assert path[-1] > path[0] + 1e-6


@pytest.mark.parametrize("form", ["spherical", "diag", "full", "tied"])
def test_same_optimum_as_scikit_learn(form):
    """Its own EM from its own starts; overlapping clusters of unequal weights and widths."""
    generator = np.random.default_rng(5)
    x, component = sample([[0, 0, 0], [3, 1, 0], [0, 3, 2]], [0.5, 0.3, 0.2], 1, 1500, generator)
    if form != "tied":
        x[component == 1] = [3, 1, 0] + (x[component == 1] - [3, 1, 0]) * [0.4, 1.0, 1.5]
    model = GaussianMixture(3, covariance_type=form, tol=1e-9, max_iter=2000, n_init=5,
                            reg_covar=0, random_state=0).fit(x[:1000])  # fmt: skip
    effort = Effort(tolerance=1e-9, rounds=2000)
    family = Mixture(forms=((form, 3),), effort=effort, **EXACT)
    found = unlabelled(family, x, [np.arange(1000)]).marginal[0, 0]
    assert found == pytest.approx(model.score_samples(x), abs=2e-3)


@pytest.mark.parametrize("seed", range(3))
def test_the_quick_effort_ranks_as_the_full_one_does(seed):
    """Its choice, fitted in full, is as likely on held-out rows as the choice of the full effort.

    Four clusters in ten dimensions that overlap: a start that merges two of them loses .1 nats.
    """
    generator = np.random.default_rng(seed)
    means = 2 * generator.normal(size=(4, 10)) / np.sqrt(2)
    x, _ = sample(means, [0.25] * 4, 1, 1500, generator)
    fit, held = [np.arange(1000)], np.arange(1000, 1500)
    full = unlabelled(Mixture(), x, fit)
    quick = unlabelled(Mixture().quick(), x, fit)
    chosen, best = (choose(tried, 0, held, margin=1.0) for tried in (quick, full))
    lost = full.marginal[best, 0, held] - full.marginal[chosen, 0, held]
    assert lost.mean() < 0.01


def test_defaults_are_as_likely_as_scikit_learn_on_held_out_rows():
    """On data that no mixture fits; the default floor, shrinkage and tolerance."""
    generator = np.random.default_rng(7)
    u = generator.normal(size=(3000, 2))
    x = np.stack([u[:, 0], u[:, 0] ** 2 + 0.5 * u[:, 1]], axis=1)
    for form, count in (("full", 4), ("diag", 6), ("tied", 5), ("spherical", 4)):
        model = GaussianMixture(count, covariance_type=form, n_init=3, random_state=0)
        expected = model.fit(x[:1500]).score(x[1500:])
        found = unlabelled(Mixture(forms=((form, count),)), x, [np.arange(1500)])
        assert found.marginal[0, 0, 1500:].mean() > expected - 0.03


def test_shrinkage_leads_from_own_covariances_to_the_pooled_shape():
    generator = np.random.default_rng(0)
    x = torch.from_numpy(generator.normal(size=(2, 400, 3)) * [[[1.0]], [[0.1]]])
    x[1] = x[1] @ torch.from_numpy(generator.normal(size=(3, 3)))
    weight = torch.ones(2, 400, dtype=torch.float64)
    own, some, pooled = (
        fit_gaussians(x, weight, 2, Fitting("full", False, 1, floor=0, shrinkage=rows)).spreads[0]
        for rows in (0.0, 1.0, 1e12)
    )
    assert some.numpy() == pytest.approx(own.numpy(), rel=0.05, abs=0.02)
    shape = own.mean(dim=0, keepdim=True)
    size = relative_size(own[None], shape[None], 3, "full")[0]
    expected = shape * (400 * size + 1) / 401
    assert pooled.numpy() == pytest.approx(expected.numpy(), rel=1e-6)


def test_starts_put_a_centre_into_every_cluster():
    generator = np.random.default_rng(0)
    x, component = sample([[0, 0], [0, 9], [9, 0], [9, 9]], [0.25] * 4, 0.1, 200, generator)
    weight = torch.ones(1, 200, dtype=torch.float64)
    weight[0, 150:] = 0
    member = assignments(torch.from_numpy(x)[None], weight, 4, starts=3, seed=0)
    assert member.shape == (1, 3, 4, 200)
    assert member[..., 150:].sum() == 0
    for start in member[0, :, :, :150]:
        assert start.sum(0).tolist() == [1] * 150
        found = start.argmax(0).numpy()
        assert len({(a, b) for a, b in zip(found, component[:150], strict=True)}) == 4
    # fewer different rows than clusters
    copies = torch.ones(1, 6, 2, dtype=torch.float64)
    assert assignments(copies, weight[:, :6], 4, starts=2, seed=0).sum() == 12


@pytest.mark.parametrize("scale", ["one number", "standard", "white"])
def test_coordinates_have_unit_scale_on_each_fit(scale):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(90, 3)) @ generator.normal(size=(3, 3)) * [1, 10, 100] + 4
    fits = [np.arange(40), np.arange(30, 90)]
    found = fit_coordinates(x, fits, scale)
    for fit, rows in enumerate(fits):
        z = found(torch.from_numpy(x))[fit].numpy()[rows]
        covariance = np.cov(z.T, ddof=0)
        assert z.mean(axis=0) == pytest.approx(0, abs=1e-12)
        assert covariance.trace() == pytest.approx(3)
        if scale != "one number":
            assert covariance.diagonal() == pytest.approx(1)
        if scale == "white":
            assert covariance == pytest.approx(np.eye(3), abs=1e-9)
        volume = np.linalg.slogdet(found.factor[fit].numpy())[1]
        assert found.log_volume[fit].item() == pytest.approx(volume)


def test_class_conditional_closed_forms():
    generator = np.random.default_rng(0)
    labels = generator.choice(3, 200, p=[0.5, 0.3, 0.2])
    x = generator.normal(size=(200, 2)) @ generator.normal(size=(2, 2)) + labels[:, None]
    rows = np.arange(150)
    forms = (("shared spherical", 1), ("shared full", 1), ("own diag", 1), ("own full", 1),
             ("own spherical", 1))  # fmt: skip
    found = ClassConditional(forms=forms, **EXACT)(x, labels, 3, [rows], silent)
    parts = [x[rows][labels[rows] == c] for c in range(3)]
    shares = np.array([len(part) for part in parts]) / 150
    own = [np.cov(part.T, ddof=0) for part in parts]
    within = sum(share * matrix for share, matrix in zip(shares, own, strict=True))
    expected = (
        [np.eye(2) * within.trace() / 2] * 3,
        [within] * 3,
        [np.diag(matrix.diagonal()) for matrix in own],
        own,
        [np.eye(2) * matrix.trace() / 2 for matrix in own],
    )
    for number, covariances in enumerate(expected):
        given = np.stack([
            multivariate_normal(part.mean(axis=0), matrix).logpdf(x)
            for part, matrix in zip(parts, covariances, strict=True)
        ], axis=1)  # fmt: skip
        assert found.given[number][0] == pytest.approx(given, abs=1e-7)
        marginal = np.log(np.exp(given) @ shares)
        assert found.marginal[number, 0] == pytest.approx(marginal, abs=1e-7)


def test_bayes_rule_gives_discriminant_analysis_of_scikit_learn():
    generator = np.random.default_rng(1)
    labels = generator.choice(3, 300, p=[0.5, 0.3, 0.2])
    x = generator.normal(size=(300, 4)) + np.eye(3, 4)[labels] * 2
    found = ClassConditional(forms=(("shared full", 1), ("own full", 1)), **EXACT)(
        x, labels, 3, [np.arange(200)], silent
    )
    log_prior = np.log(np.bincount(labels[:200]) / 200)
    for number, model in enumerate(
        (LinearDiscriminantAnalysis(solver="lsqr"), QuadraticDiscriminantAnalysis())
    ):
        expected = model.fit(x[:200], labels[:200]).predict_log_proba(x)
        joint = found.given[number][0] + log_prior
        posterior = joint - found.marginal[number, 0][:, None]
        # quadratic: scikit-learn divides by n - 1
        assert posterior == pytest.approx(expected, abs=1e-6 if number == 0 else 0.3)


def test_names_of_the_classes_do_not_matter():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 150)
    x = generator.normal(size=(150, 2)) + 3 * labels[:, None]
    order = np.array([2, 0, 1])
    family = ClassConditional()
    found = family(x, labels, 3, [np.arange(100)], silent)
    renamed = family(x, order[labels], 3, [np.arange(100)], silent)
    assert renamed.marginal == pytest.approx(found.marginal, abs=1e-8)
    for candidate, given in found.given.items():
        assert renamed.given[candidate][..., order] == pytest.approx(given, abs=1e-8)


def test_mixture_within_classes_finds_what_labels_do_not_tell():
    """xor: both classes have their clusters at two corners."""
    means, weights = [[0, 0], [0, 1], [1, 0], [1, 1]], [0.25] * 4
    x, corner = sample(means, weights, 0.1, 4000, np.random.default_rng(0))
    labels = np.array([0, 1, 1, 0])[corner]
    exact, corners = log_density(x, means, weights, 0.1)
    given = np.stack([np.logaddexp(corners[:, 0], corners[:, 3]),
                      np.logaddexp(corners[:, 1], corners[:, 2])], axis=1) - np.log(2)  # fmt: skip
    family = ClassConditional(forms=(("shared spherical", 2), ("shared full", 2), ("own full", 2)))
    found = family(x, labels, 2, [np.arange(2000)], silent)
    for number in range(3):
        assert (exact - found.marginal[number, 0])[2000:].mean() == pytest.approx(0, abs=0.02)
        mine = np.take_along_axis(found.given[number][0] - given, labels[:, None], 1)[2000:]
        assert mine.mean() == pytest.approx(0, abs=0.02)


# The error of a density with the right form is that of its means: with n / C rows a class it is
# about sqrt(E sum_c p(c|x)^2 |x - m_c|^2 / sigma^2 * C / n): .06 nats for 2 classes, .19 for 10.
@pytest.mark.parametrize(("classes", "limit"), [(2, 0.08), (10, 0.23)])
def test_toy_mixture_of_the_paper(classes, limit):
    """The published code's root-mean-square error of h(x1) is 0.48 and 2.6 nats."""
    generator = np.random.default_rng(0)
    means, weights = np.eye(classes), np.full(classes, 1 / classes)
    x, labels = sample(means, weights, 0.5, 2000, generator)
    train = np.arange(1600)
    held = np.arange(320)
    found = estimate(
        x, labels, classes, [np.setdiff1d(train, held)], (ClassConditional(), Mixture())
    )
    name = found.names[choose(found, 0, held, margin=1.0)]
    assert name.startswith("class-conditional Gaussian, ")
    assert "spherical" in name
    winner = ClassConditional().only(name)(x, labels, classes, [train], silent)
    exact, given = log_density(x, means, weights, 0.5)
    error = (winner.marginal[0, 0] - exact)[1600:]
    assert np.sqrt(np.mean(error**2)) < limit
    mine = np.take_along_axis(winner.given[0][0] - given, labels[:, None], axis=1)[1600:]
    # sqrt(D C / n), the means' error of the sample's own class alone, and a third more
    assert np.sqrt(np.mean(mine**2)) < 1.33 * classes / 40
