"""The page on original checkpoints names what there is."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import mimrl.original
from mimrl.original import OriginalOptions, load_options

PAGE = (Path(__file__).parents[2] / "docs" / "original-checkpoints.md").read_text()


def test_the_options_shown_are_all_and_their_defaults(tmp_path):
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
    (tmp_path / "run.yaml").write_text(block)
    shown = load_options(tmp_path / "run.yaml")
    assert shown.model_fields_set == set(OriginalOptions.model_fields)
    none = {"audio": "none", "video": "none"}
    assert shown == OriginalOptions(scaling=none)


def test_the_names_imported_exist():
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    tree = ast.parse("\n".join(blocks))
    named = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "mimrl.original"
        for alias in node.names
    }
    assert len(named) > 3
    assert named <= set(mimrl.original.__all__)
