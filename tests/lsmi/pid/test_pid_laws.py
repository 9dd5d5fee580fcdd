"""Laws of the measures on arbitrary tables, and BROJA solved in two other ways."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize, minimize_scalar

from lsmi.pid import GATES, broja, i_min, information, mmi
from lsmi.pid.broja import least_informative
from lsmi.pid.tables import mutual
from mimrl.errors import EstimationError

MODULE = import_module("lsmi.pid.broja")  # the package has a function of this name
SOLVER = 1e-6  # nats; 1,500 tables, many of them nearly singular, missed their bounds by 3e-7


@st.composite
def tables(draw, widest=3):
    """Counts with many zeros: rows, columns and whole labels may be empty."""
    shape = tuple(draw(st.integers(1, widest)) for _ in range(3))
    counts = draw(arrays(np.int64, shape, elements=st.sampled_from([0, 0, 1, 2, 7, 100])))
    assume(counts.sum() > 0)
    return counts / counts.sum()


def union(q):
    return mutual(q.reshape(len(q), -1))


@settings(max_examples=60, deadline=None)
@given(tables())
def test_atoms_add_up_and_none_is_negative(table):
    known = information(table)
    for measure in (i_min, broja):
        found = measure(table)
        assert found.r + found.u1 == pytest.approx(known.i1, abs=1e-12)
        assert found.r + found.u2 == pytest.approx(known.i2, abs=1e-12)
        assert sum(found) == pytest.approx(known.i12, abs=1e-12)
        assert min(found) > -1e-12
    # MMI is the largest redundancy that leaves both unique parts
    largest = mmi(known.i1, known.i2, known.i12)
    assert sum(largest) == pytest.approx(known.i12, abs=1e-12)
    assert max(i_min(table).r, broja(table).r) <= largest.r + 1e-12


@settings(max_examples=25, deadline=None)
@given(tables(), st.randoms(use_true_random=False))
def test_names_of_symbols_labels_and_modalities_do_not_matter(table, random):
    moved = table
    for axis, size in enumerate(table.shape):
        moved = moved.take(random.sample(range(size), size), axis=axis)
    for measure in (i_min, broja):
        there, back = measure(table), measure(moved.swapaxes(1, 2))
        assert (back.r, back.u2, back.u1, back.s) == pytest.approx(tuple(there), abs=SOLVER)


@settings(max_examples=25, deadline=None)
@given(tables(), st.integers(0, 2**31))
def test_a_blurred_copy_has_nothing_of_its_own(table, seed):
    """If x2 is x1 read through noise that knows nothing of y, BROJA's u2 is 0 (Blackwell)."""
    first = table.sum(axis=2)
    noise = np.random.default_rng(seed).dirichlet(np.ones(3), size=first.shape[1])
    found = broja(first[:, :, None] * noise)
    assert found.u2 == pytest.approx(0, abs=SOLVER)
    assert found.s == pytest.approx(0, abs=SOLVER)


@settings(max_examples=25, deadline=None)
@given(tables())
def test_the_solution_keeps_both_marginals(table):
    q = least_informative(table)
    assert q.sum(axis=2) == pytest.approx(table.sum(axis=2), abs=1e-7)
    assert q.sum(axis=1) == pytest.approx(table.sum(axis=1), abs=1e-7)


@pytest.mark.parametrize("seed", [0, 3, 4])  # tables whose solution has no zeros
def test_the_solution_is_stationary(seed):
    """No direction that keeps the marginals descends: log q(y|x1, x2) is a(y, x1) + b(y, x2).

    For q inside of the feasible set this proves the minimum, as the program is convex.
    """
    table = np.random.default_rng(seed).dirichlet(np.full(36, 50.0)).reshape(3, 3, 4)
    q = least_informative(table)
    assert q.min() > 1e-4
    slope = np.log(q / q.sum(axis=0))
    without = slope - slope.mean(axis=1, keepdims=True) - slope.mean(axis=2, keepdims=True)
    # q is known to 1e-8 of 1e-4
    assert without + slope.mean(axis=(1, 2), keepdims=True) == pytest.approx(0, abs=1e-3)


STEP = np.array([[1.0, -1.0], [-1.0, 1.0]])  # the only direction that keeps marginals of 2 x 2


def by_line_search(table):
    """Two labels, two symbols each: one number a label, searched one inside the other."""

    def bounds(p):
        return max(-p[0, 0], -p[1, 1]), min(p[0, 1], p[1, 0])

    def line(objective, p):
        low, high = bounds(p)
        if high - low < 1e-12:
            return objective(0.5 * (low + high))
        found = minimize_scalar(
            objective, bounds=(low, high), method="bounded", options={"xatol": 1e-9}
        )
        return min(found.fun, objective(low), objective(high))  # it never tries the ends

    def moved(first, second):
        q = table + np.stack([first * STEP, second * STEP])
        return union(np.maximum(q, 0.0))

    return line(lambda first: line(lambda second: moved(first, second), table[1]), table[0])


@pytest.mark.parametrize("seed", range(6))
def test_binary_tables_by_nested_line_search(seed):
    spread = 0.3 if seed % 2 else 2.0  # uneven and even tables
    table = np.random.default_rng(seed).dirichlet(np.full(8, spread)).reshape(2, 2, 2)
    known, found = information(table), broja(table)
    expected = known.i1 + known.i2 - by_line_search(table)
    assert found.r == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("gate", ["and", "or", "xor", "unique", "rdn"])
def test_binary_gates_by_nested_line_search(gate):
    table = GATES[gate].table
    known = information(table)
    expected = known.i1 + known.i2 - by_line_search(table)
    assert broja(table).r == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_larger_tables_by_sequential_quadratic_programming(seed):
    table = np.random.default_rng(seed).dirichlet(np.ones(18)).reshape(2, 3, 3)
    classes = table.sum(axis=(1, 2))
    start = table.sum(axis=2)[:, :, None] * table.sum(axis=1)[:, None] / classes[:, None, None]

    def marginals(q):
        q = q.reshape(table.shape)
        return np.concatenate([q.sum(axis=2).ravel(), q.sum(axis=1)[:, :-1].ravel()])

    wanted = marginals(table)
    found = minimize(
        lambda q: union(np.maximum(q, 0).reshape(table.shape)),
        start.ravel(),
        method="SLSQP",
        bounds=[(0, 1)] * table.size,
        constraints={"type": "eq", "fun": lambda q: marginals(q) - wanted},
        options={"ftol": 1e-10, "maxiter": 300},
    )
    ours = union(least_informative(table))
    assert ours <= found.fun + 1e-6
    assert ours == pytest.approx(found.fun, abs=1e-4)  # its gradients are finite differences


def test_an_unsolved_program_is_an_error(monkeypatch):
    def solver(*given):
        return SimpleNamespace(solve=lambda: SimpleNamespace(status="MaxIterations", x=[]))

    monkeypatch.setattr(MODULE.clarabel, "DefaultSolver", solver)
    with pytest.raises(EstimationError, match="MaxIterations"):
        broja(GATES["and"].table)


def test_a_solution_out_of_bounds_is_an_error(monkeypatch):
    monkeypatch.setattr(MODULE, "least_informative", lambda p: GATES["rdn"].table)
    with pytest.raises(EstimationError, match="outside of what is possible"):
        broja(GATES["xor"].table * 0.5 + 0.0625)
