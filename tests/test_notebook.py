"""The notebook runs from top to bottom, and is stored without what it printed."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]


@pytest.fixture
def notebook():
    return nbformat.read(ROOT / "run.ipynb", as_version=4)


def test_is_stored_without_outputs(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


def test_holds_no_logic(notebook):
    """It calls the packages: no function or class of its own, no loop."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            kinds = (ast.FunctionDef, ast.ClassDef, ast.For, ast.While)
            assert not any(isinstance(node, kinds) for node in ast.walk(ast.parse(cell.source)))


@pytest.mark.slow
def test_runs(notebook, tmp_path, monkeypatch):
    monkeypatch.setenv("MIMRL_SMOKE", "1")
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    runs = {path.name for path in (tmp_path / "runs").iterdir()}
    assert "notebook" in runs
    for name in runs:
        written = {path.name for path in (tmp_path / "runs" / name / "seed0").iterdir()}
        assert {
            "metrics.json",
            "curves.png",
            "lsmi.csv",
            "lsmi.json",
            "lsmi.png",
            "lsmi.html",
        } <= written
    shown = [
        output
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type in ("display_data", "execute_result")
    ]
    assert sum("image/png" in output.data for output in shown) == 2 * len(runs)
    assert not any(output.output_type == "error" for output in shown)
