"""Optuna says nothing in tests, and its notes on what may change are left out."""

from __future__ import annotations

import optuna
import pytest


@pytest.fixture(autouse=True)
def _quiet():
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(verbosity)
