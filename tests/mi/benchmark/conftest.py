"""Every test of the benchmark begins with a probe that has seen nothing."""

import pytest
from benchmark_probe import Probe


@pytest.fixture(autouse=True)
def _nothing_seen():
    Probe.seen.clear()
