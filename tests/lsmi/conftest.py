"""A made-up analysis, its report on disk and the page of it; no test changes them."""

from __future__ import annotations

import pytest
from made_up import ORIGIN, analysis
from report_reading import Page

from lsmi.report import save


@pytest.fixture(scope="session")
def made():
    """An analysis with two pairs and three splits."""
    return analysis()


@pytest.fixture(scope="session")
def saved(made, tmp_path_factory):
    """The files of its report by their names."""
    folder = tmp_path_factory.mktemp("report")
    return {path.name: path for path in save(made, folder / "deep" / "out", ORIGIN)}


@pytest.fixture(scope="session")
def page(saved):
    """The report for a browser, read."""
    return Page(saved["out.html"].read_text(encoding="utf-8"))
