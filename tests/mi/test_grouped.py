"""Estimators computed together against the same estimators one by one."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import Tensor

from mimrl import mi
from mimrl.errors import EstimationError, ShapeError
from mimrl.mi.stacked import Stack, chain_of

pytestmark = pytest.mark.usefixtures("seeded")

TWO = (("f", "t"), ("f", "a"), ("t", "a"))
THREE = (*TWO, ("f", "v"), ("t", "v"))
WIDTHS = ({"f": 7, "t": 5, "a": 5, "v": 5, "l": 1}, {"f": 6, "t": 6, "a": 4, "v": 6, "l": 3})
ROWS = 9
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
"""Of losses and values, relative to 1 or the number itself, and of gradients to their norm. The
sums have at most 81 addends of rounding 6e-8 and 1e-16; float64 is far below its line."""

CRITICS = {
    "separable": lambda x, y: mi.SeparableCritic(x, y, embedding=4, hidden=8, layers=2),
    "concatenated": lambda x, y: mi.ConcatenatedCritic(x, y, hidden=8, layers=1),
    "bilinear": mi.BilinearCritic,
}


def learned(width: int) -> mi.LearnedBaseline:
    return mi.LearnedBaseline(width, hidden=6, layers=1)


BOUNDS = {
    "dv": lambda y: mi.Dv(),
    "nwj": lambda y: mi.Nwj(),
    "infonce": lambda y: mi.InfoNce(),
    "js": lambda y: mi.Js(),
    "smile": lambda y: mi.Smile(2.0),
    "mine": lambda y: mi.Mine(0.1),
    "tuba": lambda y: mi.Tuba(learned(y)),
    "tuba_constant": lambda y: mi.Tuba(mi.ConstantBaseline(0.5)),
    "tuba_gaussian": lambda y: mi.Tuba(mi.GaussianBaseline()),
    "interpolated": lambda y: mi.Interpolated(0.3, learned(y)),
}


def variables(widths, dtype, rows=ROWS):
    return {name: 0.5 * torch.randn(rows, width, dtype=dtype) for name, width in widths.items()}


def close(found: Tensor, wanted: Tensor, tolerance: float) -> None:
    """Apart by less than the tolerance, relative to the norm."""
    found, wanted = found.detach(), wanted.detach()
    scale = max(float(wanted.norm()), 1.0)
    assert float((found - wanted).norm()) <= tolerance * scale, (found, wanted)


def mutual(kind, bound, terms, widths, dtype):
    return {
        x + y: mi.VariationalMI(CRITICS[kind](widths[x], widths[y]), BOUNDS[bound](widths[y])).to(
            dtype
        )
        for x, y in terms
    }


def pairs(names, found):
    return {name: mi.Pairs(found[name[0]], found[name[1]]) for name in names}


def compare_gradients(group, estimators, tolerance):
    """Weights of a group, and their gradients, are those of the estimators they came from."""
    gradients = copy.deepcopy(group)
    with torch.no_grad():
        for place, weight in zip(gradients.parameters(), group.parameters(), strict=True):
            place.copy_(weight.grad)
    for name, estimator in estimators.items():
        weights = group.estimator(name).parameters(), gradients.estimator(name).parameters()
        for weight, gradient, wanted in zip(*weights, estimator.parameters(), strict=True):
            assert torch.equal(weight, wanted)
            close(gradient, wanted.grad, tolerance)


@pytest.mark.parametrize(
    ("terms", "widths"),
    [(TWO, WIDTHS[0]), (THREE, WIDTHS[1])],
    ids=["two modalities, a fused width of its own", "three, one of another width"],
)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_mutual_terms_are_the_same_together_and_one_by_one(dtype, terms, widths):
    """Losses, values and gradients; two steps, so that MINE's average has moved."""
    for kind, bound in itertools.product(CRITICS, BOUNDS):
        tolerance = TOLERANCE[dtype]
        estimators = mutual(kind, bound, terms, widths, dtype)
        group = mi.GroupedMutual(estimators)
        for _ in range(2):
            found = variables(widths, dtype)
            for module in (group, *estimators.values()):
                module.zero_grad()
            one = {n: e.loss(found[n[0]], found[n[1]]) for n, e in estimators.items()}
            all_of_them = group.losses(pairs(estimators, found))
            assert list(all_of_them) == list(one)
            for name, loss in one.items():
                close(all_of_them[name], loss, tolerance)
            torch.stack(list(one.values())).sum().backward()
            torch.stack(list(all_of_them.values())).sum().backward()
            compare_gradients(group, estimators, 10 * tolerance)
        sides = [
            {n: value.clone().requires_grad_() for n, value in found.items()} for _ in range(2)
        ]
        one = {n: e(sides[0][n[0]], sides[0][n[1]]) for n, e in estimators.items()}
        all_of_them = group(pairs(estimators, sides[1]))
        for name, value in one.items():
            close(all_of_them[name], value, tolerance)
        torch.stack(list(one.values())).sum().backward()
        torch.stack(list(all_of_them.values())).sum().backward()
        for name in {letter for term in estimators for letter in term}:
            close(sides[1][name].grad, sides[0][name].grad, 10 * tolerance)


@pytest.mark.parametrize("kind", CRITICS)
@pytest.mark.parametrize("bound", ["infonce", "mine", "interpolated"])
def test_some_terms_are_the_same_as_all(kind, bound):
    """Any subset in any order; the averages of the others stay where they are."""
    estimators = mutual(kind, bound, THREE, WIDTHS[1], torch.float64)
    group = mi.GroupedMutual(estimators)
    found = variables(WIDTHS[1], torch.float64)
    for names in (("tv", "fa"), ("fa", "ta"), ("tv",)):
        values, losses = group(pairs(names, found)), group.losses(pairs(names, found))
        assert list(values) == list(losses) == list(names)
        for name in names:
            samples = found[name[0]], found[name[1]]
            close(values[name], estimators[name](*samples), 1e-10)
            close(losses[name], estimators[name].loss(*samples), 1e-10)
    if bound == "mine":
        for name, estimator in estimators.items():
            assert torch.equal(group.estimator(name).bound.log_average, estimator.bound.log_average)


CONDITIONAL = ("alt", "tal", "vlt", "tvl", "tla", "tlv")


def conditional(reading, widths, dtype, names=CONDITIONAL):
    return {
        name: mi.ConditionalMI(
            *(widths[letter] for letter in name), estimator=reading, hidden=8, logit_clip=1.0
        ).to(dtype)
        for name in names
    }


def contrasts(names, found, other):
    return {
        name: mi.Contrast(
            mi.Triples(*(found[letter] for letter in name)),
            mi.Triples(*(other[letter] for letter in name)),
        )
        for name in names
    }


@pytest.mark.parametrize("widths", WIDTHS, ids=["rating", "classes"])
@pytest.mark.parametrize("names", [CONDITIONAL, ("alt", "tal", "tla")], ids=["three", "two"])
@pytest.mark.parametrize("reading", ["ldr", "dv", "nwj"])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_conditional_terms_are_the_same_together_and_one_by_one(dtype, reading, names, widths):
    tolerance = TOLERANCE[dtype]
    estimators = conditional(reading, widths, dtype, names)
    group = mi.GroupedConditional(estimators)
    other = variables(widths, dtype, rows=6)  # fewer product samples than joint ones
    sides = [variables(widths, dtype)]
    sides.append({name: value.clone() for name, value in sides[0].items()})
    for side in sides:
        for value in side.values():
            value.requires_grad_()
    plain, together = (contrasts(names, side, other) for side in sides)
    one = {n: e.loss(plain[n].joint, plain[n].product) for n, e in estimators.items()}
    all_of_them = group.losses(together)
    for name, loss in one.items():
        close(all_of_them[name], loss, tolerance)
    torch.stack(list(one.values())).sum().backward()
    torch.stack(list(all_of_them.values())).sum().backward()
    compare_gradients(group, estimators, 10 * tolerance)
    for side in sides:
        for value in side.values():
            value.grad = None
    one = {n: e(plain[n].joint, plain[n].product) for n, e in estimators.items()}
    all_of_them = group(together)
    for name, value in one.items():
        close(all_of_them[name], value, tolerance)
    torch.stack(list(one.values())).sum().backward()
    torch.stack(list(all_of_them.values())).sum().backward()
    for letter in {letter for name in names for letter in name}:
        close(sides[1][letter].grad, sides[0][letter].grad, 10 * tolerance)
    some = group({name: together[name] for name in (names[2], names[0])})
    assert list(some) == [names[2], names[0]]
    close(some[names[0]], one[names[0]], tolerance)


@pytest.mark.parametrize("kind", ["separable", "concatenated"])
def test_narrow_products_stay_within_their_rounding(kind):
    """bfloat16 rounds to 8 bits, by at most 2^-9 of each number.

    A score passes through 4 (3) products whose inputs and outputs are rounded: 8 (6) roundings of
    at most 2^-9 on numbers of the size of the scores, which themselves have a standard deviation
    below 1 here. Means over 64 x 64 scores do not add up errors: values stay within 8 x 2^-9.
    """
    widths = {"f": 32, "t": 32, "a": 32}
    estimators = {
        x + y: mi.VariationalMI(
            mi.SeparableCritic(32, 32, embedding=16, hidden=64)
            if kind == "separable"
            else mi.ConcatenatedCritic(32, 32, hidden=64),
            mi.InfoNce(),
        )
        for x, y in TWO
    }
    group = mi.GroupedMutual(estimators)
    found = variables(widths, torch.float32, rows=64)
    exact = group(pairs(estimators, found))
    with torch.autocast("cpu", torch.bfloat16):
        narrow = group(pairs(estimators, found))
    for name, value in narrow.items():
        assert value.dtype == torch.float32
        assert float((value - exact[name]).detach().abs()) < 8 * 2**-9
    assert any(not torch.equal(narrow[n], exact[n]) for n in exact)  # it was narrow


def test_narrow_classifiers_stay_within_their_rounding():
    """As above; the cross-entropy changes by at most half the change of a logit."""
    widths = {"t": 32, "a": 32, "v": 32, "l": 1}
    group = mi.GroupedConditional(conditional("dv", widths, torch.float32))
    found, other = (variables(widths, torch.float32, rows=64) for _ in range(2))
    samples = contrasts(CONDITIONAL, found, other)
    for compute in (group.losses, group):
        exact = compute(samples)
        with torch.autocast("cpu", torch.bfloat16):
            narrow = compute(samples)
        for name, value in narrow.items():
            assert value.dtype == torch.float32
            assert float((value - exact[name]).detach().abs()) < 8 * 2**-9


def test_what_is_given_back_can_be_loaded_again():
    estimators = mutual("separable", "interpolated", THREE, WIDTHS[1], torch.float32)
    other = mutual("separable", "interpolated", THREE, WIDTHS[1], torch.float32)
    group, found = mi.GroupedMutual(estimators), variables(WIDTHS[1], torch.float32)
    group.load("ta", other["ta"])
    values = group(pairs(estimators, found))
    for name in estimators:
        source = other if name == "ta" else estimators
        close(values[name], source[name](found[name[0]], found[name[1]]), 1e-5)


def test_rows_are_spread_by_who_is_asked_to():
    """Halves of the rows, computed one after the other and joined, give the same."""

    def halves(network, *rows):
        middle = rows[0].shape[1] // 2
        parts = [
            network(*(r[:, cut] for r in rows)) for cut in (slice(middle), slice(middle, None))
        ]
        return torch.cat(parts, dim=1)

    found = variables(WIDTHS[0], torch.float64)
    for kind, bound in itertools.product(CRITICS, ("infonce", "tuba")):
        estimators = mutual(kind, bound, THREE, WIDTHS[0], torch.float64)
        whole, spread = (mi.GroupedMutual(estimators, **o) for o in ({}, {"spread": halves}))
        for name, value in spread(pairs(estimators, found)).items():
            close(value, whole(pairs(estimators, found))[name], 1e-10)
    estimators = conditional("dv", WIDTHS[0], torch.float64)
    samples = contrasts(CONDITIONAL, found, variables(WIDTHS[0], torch.float64))
    whole = mi.GroupedConditional(estimators)(samples)
    for name, value in mi.GroupedConditional(estimators, spread=halves)(samples).items():
        close(value, whole[name], 1e-10)


def test_a_bias_stays_a_vector_for_the_optimiser():
    group = mi.GroupedConditional(conditional("dv", WIDTHS[0], torch.float32))
    shapes = {name: p.ndim for name, p in group.named_parameters()}
    assert {ndim for name, ndim in shapes.items() if "biases" in name} == {1}
    assert {ndim for name, ndim in shapes.items() if "weights" in name} == {3}


def test_dropout_falls_in_training_only():
    """Each network of a stack drops units of its own."""
    network = mi.ConditionalMI(2, 2, 2, hidden=16, dropout=0.5)
    group = mi.GroupedConditional({"a": network, "b": network})
    rows = mi.Triples(torch.randn(8, 2), torch.randn(8, 2), torch.randn(8, 2))
    a, b = group.logits({"a": rows, "b": rows})
    assert not torch.equal(a, b)
    a, b = group.eval().logits({"a": rows, "b": rows})
    torch.testing.assert_close(a, b)
    torch.testing.assert_close(a, network.eval().logits(rows))


def test_what_is_refused():
    found = variables(WIDTHS[0], torch.float32)
    critics = {kind: make(5, 5) for kind, make in CRITICS.items()}
    mixed = {kind: mi.VariationalMI(c, mi.InfoNce()) for kind, c in critics.items()}
    with pytest.raises(EstimationError, match="all of one kind"):
        mi.GroupedMutual(mixed)
    alike = {str(b): mi.VariationalMI(mi.BilinearCritic(5, 5), b) for b in (mi.Dv(), mi.Nwj())}
    with pytest.raises(EstimationError, match="must be alike"):
        mi.GroupedMutual(alike)
    group = mi.GroupedMutual(mutual("bilinear", "dv", TWO, WIDTHS[0], torch.float32))
    with pytest.raises(ShapeError, match=r"ft need widths \(7, 5\), got \(5, 5\)"):
        group({"ft": mi.Pairs(found["t"], found["a"])})
    with pytest.raises(ShapeError, match="same number of rows"):
        group({"ft": mi.Pairs(found["f"], found["t"]), "ta": mi.Pairs(*2 * [found["t"][:4]])})
    with pytest.raises(ShapeError, match="as many rows"):
        mi.Pairs(found["f"], found["t"][:3])
    with pytest.raises(EstimationError, match="two or more pairs"):
        group({"ft": mi.Pairs(found["f"][:1], found["t"][:1])})
    with pytest.raises(ShapeError, match="one form"):
        Stack([chain_of(mi.LearnedBaseline(w).network) for w in (3, 4)])
    classifiers = mi.GroupedConditional(conditional("dv", WIDTHS[0], torch.float32))
    with pytest.raises(ShapeError, match="alt need widths"):
        classifiers(
            contrasts(["tal"], found, found) | {"alt": contrasts(["tal"], found, found)["tal"]}
        )
