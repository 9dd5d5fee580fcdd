"""The tree of errors and warnings."""

from __future__ import annotations

import builtins
import inspect
import warnings

import pytest

from mimrl import errors

ERRORS = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, errors.MimrlError)
]
WARNINGS = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, errors.MimrlWarning)
]


@pytest.mark.parametrize("error", [e for e in ERRORS if e is not errors.MimrlError])
def test_each_error_is_a_builtin_as_well(error):
    """So that a caller who does not know the module can still catch it."""
    parents = [
        parent
        for parent in error.__mro__
        if parent.__module__ == builtins.__name__ and parent not in (Exception, BaseException)
    ]
    assert parents[:-1], f"{error.__name__} descends from Exception alone"


@pytest.mark.parametrize("kind", ERRORS + WARNINGS)
def test_each_says_what_it_is_for_and_keeps_its_message(kind):
    assert kind.__doc__
    assert str(kind("what was wrong")) == "what was wrong"


@pytest.mark.parametrize("warning", WARNINGS)
def test_an_unexpected_warning_fails_a_test(warning):
    """pyproject.toml turns the project's own warnings into errors."""
    with pytest.raises(warning):
        warnings.warn("something", warning, stacklevel=1)
