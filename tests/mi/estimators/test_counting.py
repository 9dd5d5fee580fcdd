"""Counts by trees and by distance tables against a loop that can be read."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimrl.errors import EstimationError
from mimrl.mi.estimators import counting
from mimrl.mi.estimators.counting import count_within, surroundings


def obvious(blocks, k, groups, reach, norm="max"):
    """Radius, inside and counts of every row, by the words of the docstring."""
    order = np.inf if norm == "max" else 2
    radii, insides, counts = [], [], []
    for centre in range(len(blocks[0])):
        others = [i for i in range(len(blocks[0])) if i != centre]
        near = [
            np.linalg.norm(block[others] - block[centre], ord=order, axis=1) for block in blocks
        ]
        joint = np.max(near, axis=0)
        radius = np.sort(joint)[k - 1]
        radii.append(radius)
        everyone = int((joint <= radius).sum())
        insides.append(everyone if reach == "own" or radius == 0 else k)
        found = []
        for group in groups:
            distance = np.max([near[block] for block in group], axis=0)
            if radius == 0:
                found.append(int((distance == 0).sum()))
            elif reach == "open":
                found.append(int((distance < radius).sum()) + 1)
            elif reach == "closed":
                found.append(int((distance <= radius).sum()))
            else:
                found.append(int((distance <= distance[joint <= radius].max()).sum()))
        counts.append(found)
    return np.array(radii), np.array(insides), np.array(counts).T


def samples(kind, seed, rows=80, widths=(1, 2, 1)):
    rng = np.random.default_rng(seed)
    blocks = [rng.normal(size=(rows, width)) for width in widths]
    if kind == "integers":  # many ties, also exact repetitions of whole rows
        return [np.round(block) for block in blocks]
    if kind == "mixed":
        return [blocks[0], np.round(2 * blocks[1]) / 3, blocks[2] * (blocks[2] > 0)]
    return blocks


GROUPS = [[0], [1], [0, 2], [0, 1, 2]]


@pytest.mark.parametrize("reach", ["open", "closed", "own"])
@pytest.mark.parametrize("kind", ["continuous", "mixed", "integers"])
@pytest.mark.parametrize("k", [1, 4])
def test_trees_and_distance_tables_count_as_the_loop(reach, kind, k, monkeypatch):
    blocks = samples(kind, k)
    expected = obvious(blocks, k, GROUPS, reach)
    monkeypatch.setattr(counting, "CHUNK_ELEMENTS", 700)  # several chunks
    for width in (10, 0):  # trees, then distances
        monkeypatch.setattr(counting, "TREE_WIDTH", width)
        found = surroundings(blocks, k, GROUPS, reach=reach)
        np.testing.assert_array_equal(found.radius, expected[0])
        np.testing.assert_array_equal(found.inside, expected[1])
        np.testing.assert_array_equal(found.counts, expected[2])


@pytest.mark.parametrize("reach", ["open", "closed", "own"])
def test_euclidean_blocks_count_as_the_loop(reach):
    blocks = samples("continuous", 0, widths=(3, 2, 1))
    expected = obvious(blocks, 3, GROUPS, reach, "euclidean")
    found = surroundings(blocks, 3, GROUPS, reach=reach, norm="euclidean")
    np.testing.assert_allclose(found.radius, expected[0], rtol=1e-14)
    np.testing.assert_array_equal(found.counts, expected[2])
    flat = surroundings(blocks, 3, GROUPS, reach=reach)
    assert (flat.counts != found.counts).any()


def test_wide_blocks_use_distance_tables_and_agree(monkeypatch):
    blocks = samples("continuous", 3, widths=(8, 7, 1))
    wide = surroundings(blocks, 5, GROUPS)
    monkeypatch.setattr(counting, "TREE_WIDTH", 16)
    narrow = surroundings(blocks, 5, GROUPS)
    np.testing.assert_array_equal(wide.radius, narrow.radius)
    np.testing.assert_array_equal(wide.counts, narrow.counts)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(-8, 8), st.booleans())
def test_counts_on_a_line_are_exact_at_the_edge(seed, exponent, shifted):
    """Every radius is the distance of another point, where rounding of value + radius would err."""
    rng = np.random.default_rng(seed)
    column = rng.normal(size=40) * 10.0**exponent + (1e3 if shifted else 0)
    column[:5] = column[5:10]
    radii = np.abs(column - column[rng.permutation(40)])
    expected = (np.abs(column[:, None] - column) <= radii[:, None]).sum(axis=1)
    np.testing.assert_array_equal(count_within(column[:, None], radii), expected)
    below = np.nextafter(radii, 0)
    expected = (np.abs(column[:, None] - column) <= below[:, None]).sum(axis=1)
    np.testing.assert_array_equal(count_within(column[:, None], below), expected)


def test_as_many_neighbours_as_other_samples():
    blocks = samples("continuous", 0, rows=5)
    found = surroundings(blocks, 4, [[0], [1]], reach="own")
    np.testing.assert_array_equal(found.counts, 4)
    with pytest.raises(EstimationError, match="at least 6 samples"):
        surroundings(blocks, 5, [[0], [1]])
