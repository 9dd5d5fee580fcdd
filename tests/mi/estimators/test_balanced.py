"""The balanced reading: closed forms, invariance, and what it cannot claim."""

import itertools
import math

import numpy as np
import pytest
import torch

from mimrl.errors import EstimationError, ShapeError
from mimrl.mi.estimators.balanced import balanced


def scores_of(seed, size=6):
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(size, size, generator=generator, dtype=torch.float64)


def test_two_pairs_in_closed_form():
    found = balanced(torch.tensor([[1.5, 0.0], [0.0, 1.5]], dtype=torch.float64))
    truth = math.log(2 * math.exp(1.5) / (math.exp(1.5) + 1))
    np.testing.assert_allclose(found, truth, rtol=1e-12)


def test_terms_of_x_alone_and_of_y_alone_do_not_count():
    scores = scores_of(0)
    rows, columns = scores_of(1)[:, :1], scores_of(2)[:1]
    torch.testing.assert_close(balanced(scores + rows + columns, 400), balanced(scores, 400))


def test_all_means_of_the_balanced_ratio_are_one():
    scores = scores_of(3)
    ratios = torch.stack(  # pair (i, i + shift) for all shifts: every combination once
        [balanced(scores.roll(-shift, dims=1), 400).exp() for shift in range(len(scores))]
    )
    matrix = torch.stack([row.roll(place) for place, row in enumerate(ratios.T)])
    np.testing.assert_allclose(matrix.mean(dim=0), 1, atol=1e-9)
    np.testing.assert_allclose(matrix.mean(dim=1), 1, atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_over_all_pairings_of_independent_rows_the_mean_is_at_most_zero(seed):
    scores = scores_of(seed, 5)
    pairings = list(itertools.permutations(range(5)))
    means = [float(balanced(scores[:, list(pairing)]).mean()) for pairing in pairings]
    assert np.mean(means) < 0
    assert max(means) > 0  # a single pairing may well look dependent


def test_no_value_exceeds_log_rows():
    found = balanced(50 * torch.eye(8, dtype=torch.float64))
    np.testing.assert_allclose(found, math.log(8), atol=1e-12)


def test_what_is_no_matrix_of_pairs_is_refused():
    with pytest.raises(ShapeError, match=r"\(3, 2\)"):
        balanced(torch.zeros(3, 2))
    with pytest.raises(EstimationError, match="two or more pairs"):
        balanced(torch.zeros(1, 1))
