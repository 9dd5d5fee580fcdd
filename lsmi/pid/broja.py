"""BROJA: the unique information of Bertschinger, Rauh, Olbrich, Jost and Ay (2014), solved.

Unique information may depend on p(y, x1) and p(y, x2) alone. Among all q(y, x1, x2) with these two
marginals, the one that makes the modalities together say least has no synergy, so

    r + u1 + u2 = min_q I_q(X1, X2; Y)     over q(y, x1) = p(y, x1), q(y, x2) = p(y, x2).

As p(y) is given, that is the largest H_q(Y | X1, X2): concave in q under linear constraints. In the
form of Makkeh, Theis and Vicente (2018, "BROJA-2PID"), with t <= q log(z / q) an exponential cone,

    maximise sum t(y, x1, x2)  with  (t, q, z) in K_exp,  z(x1, x2) = sum_y q(y, x1, x2),

which the interior-point solver Clarabel takes as it is, through its own interface: a modelling
layer would bring half a dozen packages to write this one program, and rewrite it on every call.
"""

from __future__ import annotations

from dataclasses import dataclass

import clarabel
import numpy as np
import numpy.typing as npt
from scipy import sparse

from lsmi.decomposition import Totals
from lsmi.pid.tables import FloatArray, checked, from_redundancy, information, mutual
from mimrl.errors import EstimationError

SLACK = 1e-5  # nats by which a solution may miss its bounds; seen: below 1e-6
SOLVED = ("Solved", "AlmostSolved")


def broja(table: npt.ArrayLike) -> Totals:
    """The decomposition with the least information the two marginals allow.

    Args:
        table: ``(C, K1, K2)`` probabilities p(y, x1, x2).

    Returns:
        Atoms in nats, none negative.

    Raises:
        ShapeError: not ``(C, K1, K2)``.
        NonFiniteError: NaN or infinite entries.
        EstimationError: not probabilities, or the solver found no solution.

    >>> from lsmi.pid.gates import GATES
    >>> broja(GATES["and"].table).round(3)
    Totals(r=0.216, u1=0.0, u2=0.0, s=0.347)
    """
    p = checked(table)
    known = information(p)
    union = mutual(least_informative(p).reshape(len(p), -1))
    low, high = max(known.i1, known.i2), min(known.i12, known.i1 + known.i2)
    if not low - SLACK <= union <= high + SLACK:
        raise EstimationError(
            f"the solution of BROJA's program has {union:.6g} nats, outside of what is possible "
            f"({low:.6g} to {high:.6g}); merge symbols that hold hardly any samples"
        )
    union = min(max(union, low), high)
    return from_redundancy(known.i1 + known.i2 - union, known)


def least_informative(p: FloatArray) -> FloatArray:
    """The q(y, x1, x2) of least I(X1, X2; Y) among those with p's marginals (y, x1), (y, x2).

    Args:
        p: ``(C, K1, K2)`` probabilities, as :func:`lsmi.pid.tables.checked` returns them.

    Returns:
        ``(C, K1, K2)``, none negative; marginals to about 1e-8.

    Raises:
        EstimationError: the solver found no solution.
    """
    program = _program(p)
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.direct_solve_method = "qdldl"  # one thread; "auto" took four times as long
    quadratic = sparse.csc_matrix((len(program.cost), len(program.cost)))
    solver = clarabel.DefaultSolver(
        quadratic, program.cost, program.matrix, program.offset, program.cones, settings
    )
    solution = solver.solve()
    if str(solution.status) not in SOLVED:
        raise EstimationError(
            f"BROJA's program over {len(program.cells[0])} cells was not solved: Clarabel says "
            f"{solution.status}; merge symbols that hold hardly any samples"
        )
    q = np.zeros_like(p)
    q[program.cells] = np.maximum(np.asarray(solution.x)[: len(program.cells[0])], 0.0)
    return q


@dataclass(frozen=True)
class _Program:
    """Minimise ``cost @ v`` with ``offset - matrix @ v`` in the product of ``cones``.

    ``v`` is q of all ``cells``, then t of those of them whose (x1, x2) more than one label shares:
    in the others q = z, and their t is 0 whatever q is.
    """

    cells: tuple[npt.NDArray[np.int64], ...]
    cost: FloatArray
    matrix: sparse.csc_matrix
    offset: FloatArray
    cones: list[object]


def _program(p: FloatArray) -> _Program:
    # q(y, x1, x2) <= min(p(y, x1), p(y, x2)), so cells without one of these stay out
    allowed = (p.sum(axis=2)[:, :, None] > 0) & (p.sum(axis=1)[:, None, :] > 0)
    cells = np.nonzero(allowed)
    shared = np.flatnonzero(allowed.sum(axis=0)[cells[1], cells[2]] > 1)
    many, cone_count = len(cells[0]), len(shared)
    marginals, values = _marginals(p, cells)
    rows = [
        sparse.hstack([marginals, sparse.csr_matrix((len(values), cone_count))]),
        sparse.hstack([-sparse.identity(many), sparse.csr_matrix((many, cone_count))]),
        _cone_rows(p.shape, cells, shared),
    ]
    return _Program(
        cells=cells,
        cost=np.concatenate([np.zeros(many), np.full(cone_count, -1.0)]),
        matrix=sparse.csc_matrix(sparse.vstack(rows)),
        offset=np.concatenate([values, np.zeros(many + 3 * cone_count)]),
        cones=[
            clarabel.ZeroConeT(len(values)),
            clarabel.NonnegativeConeT(many),
            *(clarabel.ExponentialConeT() for _ in range(cone_count)),
        ],
    )


def _marginals(
    p: FloatArray, cells: tuple[npt.NDArray[np.int64], ...]
) -> tuple[sparse.csr_matrix, FloatArray]:
    """Equations of q's sums over x2 and over x1, without those that follow from the others."""
    y, a, b = cells
    classes, k1, k2 = p.shape
    ones, column = np.ones(len(y)), np.arange(len(y))
    over_x2 = sparse.csr_matrix((ones, (y * k1 + a, column)), shape=(classes * k1, len(y)))
    over_x1 = sparse.csr_matrix((ones, (y * k2 + b, column)), shape=(classes * k2, len(y)))
    first, second = p.sum(axis=2), p.sum(axis=1)
    # both sets sum to p(y): of the second, the largest equation of each label follows
    needed = second > 0
    needed[np.arange(classes), second.argmax(axis=1)] = False
    keep1, keep2 = np.flatnonzero(first), np.flatnonzero(needed)
    equations = sparse.vstack([over_x2[keep1], over_x1[keep2]]).tocsr()
    return equations, np.concatenate([first.reshape(-1)[keep1], second.reshape(-1)[keep2]])


def _cone_rows(
    shape: tuple[int, ...], cells: tuple[npt.NDArray[np.int64], ...], shared: npt.NDArray[np.int64]
) -> sparse.csr_matrix:
    """Rows whose negatives are (t, q, z) of each shared cell, in Clarabel's order of the cone."""
    place = cells[1] * shape[2] + cells[2]
    many, number = len(place), np.arange(len(shared))
    same, column = np.nonzero(place[shared][:, None] == place[None, :])
    rows = np.concatenate([3 * number, 3 * number + 1, 3 * same + 2])
    columns = np.concatenate([many + number, shared, column])
    values = np.full(len(rows), -1.0)
    size = (3 * len(shared), many + len(shared))
    return sparse.csr_matrix((values, (rows, columns)), shape=size)
