"""What was planted in generated data is what LSMI reads from a network trained on them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench" / "planted_lsmi.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("planted_lsmi", BENCH)
    module = importlib.util.module_from_spec(spec)
    # dataclasses look their module up by name
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        yield module


@pytest.mark.slow
@pytest.mark.parametrize("interaction", ["redundant", "unique_text", "synergy"])
def test_planted_component_is_the_largest_on_test(bench, interaction):
    row = bench.measure(interaction, seed=0, small=True)
    assert row.found == row.planted
    # standard errors of 384 samples and of the estimates: see the table in docs/lsmi.md
    for atom, exact in row.exact_adjusted.items():
        assert row.adjusted[atom] == pytest.approx(exact, abs=0.1)
