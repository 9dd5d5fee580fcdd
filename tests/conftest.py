"""Fixtures shared by all tests: where real data lie, and a guard over process-wide state."""

from __future__ import annotations

import os

# Read when torch, transformers and matplotlib are imported, here and in the tests' subprocesses.
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tensors are small: a second thread only costs
os.environ["HF_HUB_OFFLINE"] = "1"  # a test never asks the network
os.environ["MPLBACKEND"] = "Agg"

import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
import sklearn.metrics  # noqa: F401  (draws from `random` when first imported, not in a test)
import torch

# No test is timed: the first call of an operation alone may take half a second.
hypothesis.settings.register_profile("mimrl", deadline=None)
hypothesis.settings.load_profile("mimrl")

# A script's background job ignores Ctrl-C, and so would the tests' own signals and processes.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# --doctest-modules would import them all under the one name that they share, and refuse to.
collect_ignore_glob = ["*conftest.py"]

SETTINGS: dict[str, Callable[[], Any]] = {
    "torch default dtype": torch.get_default_dtype,
    "torch default device": torch.get_default_device,
    "torch gradient mode": torch.is_grad_enabled,
    "torch anomaly mode": torch.is_anomaly_enabled,
    "torch deterministic mode": torch.are_deterministic_algorithms_enabled,
    "torch number of threads": torch.get_num_threads,
    "torch float32 matmul precision": torch.get_float32_matmul_precision,
    "cudnn benchmark": lambda: torch.backends.cudnn.benchmark,
    "cudnn deterministic": lambda: torch.backends.cudnn.deterministic,
    "numpy error handling": np.geterr,
}
GENERATORS: dict[str, Callable[[], Any]] = {
    "torch": lambda: torch.get_rng_state().numpy().tobytes(),
    "numpy": lambda: np.random.get_state()[1].tobytes(),  # noqa: NPY002
    "random": random.getstate,
}


def _root(variable: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set")
    if not Path(value).is_dir():
        pytest.skip(f"{variable}={value} is not a folder")
    return Path(value)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder of the real data sets; skips the test where there is none."""
    return _root("MIMRL_DATA_ROOT")


@pytest.fixture(scope="session")
def reference_root() -> Path:
    """Folder of reference numbers of other codes; skips the test where there is none."""
    return _root("MIMRL_REFERENCE_ROOT")


@pytest.fixture
def seeded() -> Iterator[None]:
    """Seeds the global generators for a test that draws from them itself, and restores them."""
    state = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng():
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        torch.manual_seed(0)
        yield
    random.setstate(state[0])
    np.random.set_state(state[1])  # noqa: NPY002


@pytest.fixture(autouse=True)
def _process_wide_state_is_left_alone() -> Iterator[None]:
    """Fails a test after which a process-wide setting or a global generator is not as before.

    Set up before all other function fixtures and torn down after them, so that what ``seeded``
    and ``monkeypatch`` restore counts as left alone.
    """
    settings = {name: read() for name, read in SETTINGS.items()}
    generators = {name: read() for name, read in GENERATORS.items()}
    yield
    changed = [name for name, read in SETTINGS.items() if read() != settings[name]]
    drawn = [name for name, read in GENERATORS.items() if read() != generators[name]]
    if changed:
        pytest.fail(f"process-wide settings were changed: {', '.join(changed)}", pytrace=False)
    if drawn:
        pytest.fail(
            f"the global random state of {', '.join(drawn)} was changed. Library code takes a "
            "generator or a seed (or works inside torch.random.fork_rng()); a test that draws "
            "from the global generators itself, or builds modules, requests the fixture 'seeded' "
            "(for a whole file: pytestmark = pytest.mark.usefixtures('seeded'))",
            pytrace=False,
        )
