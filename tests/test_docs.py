"""What the pages say is so: links lead somewhere, commands name files that exist, examples run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mimrl.command import _parser
from mimrl.datasets import LAYOUTS
from mimrl.errors import DataError
from mimrl.settings import DataSettings, load

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md")), ROOT / "data/README.md"]
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_readme_names_every_layout_and_every_config():
    for layout in LAYOUTS:
        assert f"| `{layout}` |" in README
    for config in (ROOT / "configs").glob("*.yaml"):
        assert f"--config configs/{config.name}" in README


def test_commands_of_the_readme_are_valid():
    text = README.replace("\\\n", " ")
    commands = re.findall(r"^python train\.py (--config .*)$|`python train\.py (.*?)`", text, re.M)
    found = [first or second for first, second in commands]
    assert len(found) > 10
    for command in found:
        if "--help" in command or "[--" in command:
            continue
        arguments = _parser().parse_intermixed_args(shlex.split(command))
        load(ROOT / arguments.config, arguments.overrides)


def test_example_layout_reads_what_it_says():
    page = (ROOT / "docs" / "adding-a-dataset.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", page, re.S)
    names: dict[str, object] = {}
    exec(compile(block, "adding-a-dataset.md", "exec"), names)
    layout = SimpleNamespace(**names)
    clips = [
        {"clip": i, "split": split, "words": ["so", "good"], "voice": np.ones((i, 3)), "score": i}
        for i, split in enumerate(("train", "train", "valid", "test"), 1)
    ]
    assert layout.matches(clips)
    assert not layout.matches({"train": clips})
    corpus = layout.read(clips, Path("x.pkl"), DataSettings(path="x.pkl"))
    assert [len(corpus.splits[name]) for name in ("train", "valid", "test")] == [2, 1, 1]
    assert corpus.splits["train"].sequences["audio"].lengths.tolist() == [1, 2]
    assert corpus.splits["test"].raw_text == ("so good",)
    lacking = layout.read(clips[:2], Path("x.pkl"), DataSettings(path="x.pkl"))
    assert list(lacking.splits) == ["train"]
    clips[0]["voice"] = np.ones(3)
    with pytest.raises(DataError, match=r"x\.pkl, clip 1"):
        layout.read(clips, Path("x.pkl"), DataSettings(path="x.pkl"))
