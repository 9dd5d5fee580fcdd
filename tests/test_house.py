"""Rules of the house that a reader of one file cannot see: what imports what, what is left out."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import mimrl
from mimrl.settings import Settings
from mimrl.settings.walk import groups

ROOT = Path(__file__).parents[1]
LIBRARY = sorted([*ROOT.glob("mimrl/**/*.py"), *ROOT.glob("lsmi/**/*.py")])
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

# What each part may import of this project; the longest key that fits a module counts.
MAY_IMPORT = {
    "mimrl": (),
    "mimrl.errors": (),
    "mimrl.exits": ("mimrl.errors", "mimrl.launch"),
    "mimrl.launch": ("mimrl.errors",),
    "mimrl.terms": ("mimrl.errors",),
    "mimrl.pretrained": ("mimrl.errors",),
    "mimrl.settings": ("mimrl.errors", "mimrl.terms"),
    "mimrl.mi": ("mimrl.errors", "mimrl.exits"),  # the latter for its commands
    "mimrl.datasets": (
        *("mimrl", "mimrl.errors", "mimrl.exits", "mimrl.terms", "mimrl.pretrained"),
        *("mimrl.settings", "mimrl.mi"),
    ),
    "mimrl.model": (
        *("mimrl.errors", "mimrl.terms", "mimrl.pretrained", "mimrl.settings"),
        *("mimrl.mi", "mimrl.datasets"),
    ),
    "mimrl.training": (
        *("mimrl", "mimrl.errors", "mimrl.exits", "mimrl.terms", "mimrl.pretrained"),
        *("mimrl.settings", "mimrl.mi", "mimrl.datasets", "mimrl.model"),
        "mimrl.launch",
    ),
    "mimrl.original": (
        *("mimrl.errors", "mimrl.terms", "mimrl.pretrained", "mimrl.settings"),
        *("mimrl.mi", "mimrl.datasets", "mimrl.model"),
    ),
    "mimrl.command": (
        *("mimrl", "mimrl.errors", "mimrl.exits", "mimrl.settings", "mimrl.training"),
        "mimrl.launch",
    ),
    "mimrl.missing": (
        *("mimrl", "mimrl.errors", "mimrl.exits", "mimrl.settings", "mimrl.datasets"),
        *("mimrl.training", "mimrl.command"),
    ),
    "mimrl.tune": (
        *("mimrl", "mimrl.errors", "mimrl.exits", "mimrl.terms", "mimrl.pretrained"),
        *("mimrl.settings", "mimrl.mi", "mimrl.datasets", "mimrl.model", "mimrl.training"),
        *("mimrl.command", "mimrl.launch"),
    ),
    "lsmi": ("mimrl.errors", "mimrl.mi"),
    "lsmi.features": ("mimrl",),
    "lsmi.sources": ("mimrl",),
    "lsmi.command": ("mimrl",),
}
# Modules that a larger part does not carry: `mimrl` alone means the version, not all of mimrl.
WHOLE = {"lsmi.features", "lsmi.sources", "lsmi.command"}


def module_name(path: Path) -> str:
    """``mimrl/mi/bounds.py`` -> ``mimrl.mi.bounds``."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def part_of(module: str, parts: set[str] | dict[str, tuple[str, ...]]) -> str:
    """The longest of ``parts`` that ``module`` lies in."""
    return max((p for p in parts if f"{module}.".startswith(f"{p}.")), key=len)


def imports(path: Path) -> set[str]:
    """Modules of this project that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            base = node.module or ""
            below = {f"{base}.{alias.name}" for alias in node.names}
            modules = {name for name in below if (ROOT / Path(*name.split("."))).is_dir()}
            modules |= {
                name
                for name in below
                if (ROOT / Path(*name.split("."))).with_suffix(".py").exists()
            }
            found |= modules or {base}
    return {name for name in found if name.split(".")[0] in ("mimrl", "lsmi")}


@pytest.mark.parametrize("path", LIBRARY, ids=module_name)
def test_imports_point_one_way(path):
    module = module_name(path)
    here = part_of(module, MAY_IMPORT)
    for name in imports(path):
        there = part_of(name, MAY_IMPORT)
        whole = here in WHOLE or here.split(".")[0] == there.split(".")[0] == "lsmi"
        assert whole or there == here or there in MAY_IMPORT[here], f"{module} imports {name}"


def test_the_toolbox_of_mutual_information_needs_nothing_else_of_mimrl():
    code = (
        "import sys, mimrl.mi; "
        "print(*(m for m in sys.modules if m.startswith(('mimrl', 'lsmi', 'transformers'))))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name for name in ended.stdout.split() if not name.startswith("mimrl.mi")}
    assert loaded == {"mimrl", "mimrl.errors"}


@pytest.mark.parametrize("path", LIBRARY, ids=module_name)
def test_no_assert_no_print_and_no_long_module(path):
    text = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        assert not isinstance(node, ast.Assert), f"{path}:{node.lineno}: assert"
        called = node.func if isinstance(node, ast.Call) else None
        assert not (isinstance(called, ast.Name) and called.id == "print"), f"{path}:{node.lineno}"
    assert len(text.splitlines()) <= 400, f"{path} wants splitting"


@pytest.mark.parametrize("path", LIBRARY, ids=module_name)
def test_library_does_not_touch_global_generators_or_settings(path):
    """``torch.manual_seed`` is allowed inside ``torch.random.fork_rng`` only."""
    text = path.read_text(encoding="utf-8")
    for call in (
        *("np.random.seed", "random.seed(", "torch.set_default", "torch.set_grad_enabled("),
        *("torch.use_deterministic_algorithms", "torch.seed("),
    ):
        assert call not in text, f"{path} calls {call}"
    if "torch.manual_seed" in text:
        assert "fork_rng" in text, f"{path} seeds the global generator outside fork_rng"


def test_no_absolute_paths():
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if tracked.returncode:
        pytest.skip("not a git checkout")
    absolute = re.compile(r"(?<![\w.~$}<>/*-])/(?:root|home|opt|mnt|srv|work|Users)/\w")
    for name in tracked.stdout.split("\0"):
        path = ROOT / name
        if path.suffix in (".py", ".md", ".yaml", ".toml", ".ipynb", ".txt", "") and path.is_file():
            found = absolute.search(path.read_text(encoding="utf-8"))
            assert not found, f"{name}: {found.group()}"


def test_one_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert citation["version"] == mimrl.__version__
    assert f"## [{mimrl.__version__}]" in changelog
    assert PYPROJECT["tool"]["setuptools"]["dynamic"]["version"]["attr"] == "mimrl.__version__"
    assert importlib.metadata.version("mimrl") == mimrl.__version__


def test_constraints_hold_every_dependency_at_a_version_it_allows():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    exact = {pin.name.lower(): next(iter(pin.specifier)).version for pin in pins}
    assert all(str(pin.specifier).startswith("==") for pin in pins)
    project = PYPROJECT["project"]
    for text in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(exact[requirement.name.lower()]), text
    assert SpecifierSet(project["requires-python"]).contains("3.13.0")


def test_console_commands():
    """Read from pyproject.toml: an old mimrl.egg-info would tell of an earlier installation."""
    scripts = [
        importlib.metadata.EntryPoint(name, target, "console_scripts")
        for name, target in PYPROJECT["project"]["scripts"].items()
    ]
    assert {script.name for script in scripts} == {"mimrl-train", "mimrl-tune", "mimrl-lsmi"}
    assert all(callable(script.load()) for script in scripts)
    assert all(script.module.split(".")[0] in ("mimrl", "lsmi") for script in scripts)


def test_the_wheel_holds_the_two_packages_and_nothing_else():
    from setuptools import find_packages

    include = PYPROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    found = find_packages(str(ROOT), include=include)
    assert {name.split(".")[0] for name in found} == {"mimrl", "lsmi"}
    folders = {path.parent for path in LIBRARY}
    assert {ROOT / Path(*name.split(".")) for name in found} == folders


def test_every_setting_has_a_text():
    def check(group, prefix):
        for name, field in group.model_fields.items():
            inner = groups(field.annotation)
            if name != "kind":
                assert field.description, f"{prefix}{name} has no description"
                assert not field.description.endswith("."), (
                    f"{prefix}{name}: one line, no full stop"
                )
            for one in inner:
                check(one, f"{prefix}{name}.")

    check(Settings, "")


def test_ci_can_be_run():
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
