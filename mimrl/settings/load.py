"""Reading settings: a YAML file, then ``key=value`` overrides, then one check of everything."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from mimrl.errors import ConfigError, MissingFileError
from mimrl.settings.messages import Problem, explain
from mimrl.settings.tree import Settings


def load(path: str | Path | None = None, overrides: Sequence[str] = ()) -> Settings:
    """Settings from a YAML file and overrides.

    Args:
        path: a YAML file of nested keys; None takes the defaults alone.
        overrides: ``group.key=value`` each, the value in YAML (``training.epochs=5``,
            ``model.fusion.sizes=[[20,3,128],[5,3,64]]``); later ones win.

    Returns:
        The frozen, complete settings.

    Raises:
        MissingFileError: ``path`` does not exist.
        ConfigError: every problem of the file and the overrides, in one message.
    """
    tree = {} if path is None else read_yaml(Path(path))
    problems = []
    for override in overrides:
        try:
            _apply(tree, override)
        except ConfigError as error:
            problems.append(str(error))
    return from_mapping(tree, source=str(path or "settings"), problems=problems)


def from_mapping(
    tree: Mapping[str, Any], *, source: str = "settings", problems: Sequence[str] = ()
) -> Settings:
    """Settings from nested mappings, as a checkpoint or ``settings.yaml`` holds them.

    Raises:
        ConfigError: every problem, with ``source`` and those in ``problems``, in one message.
    """
    found = list(problems)
    settings, wrong = _check(tree)
    found += [problem.line for problem in wrong]
    if settings is None or found:
        lines = "".join(f"\n  - {line}" for line in dict.fromkeys(found))
        raise ConfigError(
            f"{source}: {len(found)} problem{'s' if len(found) > 1 else ''}:{lines}\n"
            "'python train.py --help' lists every setting with its default and range."
        )
    return settings


def with_data(settings: Settings, changes: Mapping[str, Any], source: str) -> Settings:
    """A checkpoint's settings with other data.

    Args:
        settings: of the checkpoint.
        changes: keys of ``data`` and their values, as JSON has them.
        source: the option that names the data, for the message.

    Raises:
        ConfigError: they do not fit together.
    """
    tree = settings.model_dump(mode="json")
    tree["data"] |= changes
    if tree["data"]["layout"] != "planted":
        tree["data"].pop("planted")
    return from_mapping(tree, source=f"the checkpoint's settings with the data of {source}")


def with_data_file(settings: Settings, path: str | Path) -> Settings:
    """A checkpoint's settings with the data file that ``--data`` names, in its layout or any."""
    layout = "auto" if settings.data.layout == "planted" else settings.data.layout
    return with_data(settings, {"path": str(path), "layout": layout}, "--data")


def problems_of(tree: Mapping[str, Any]) -> list[Problem]:
    """What a first look finds wrong with nested mappings; empty where they are settings."""
    return _validate(_tuples(tree))[1]


def dump(settings: Settings) -> str:
    """The complete settings as YAML that :func:`load` reads back to equal settings."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


class _Yaml(yaml.SafeLoader):
    """YAML in which a key may stand once in a mapping and 1e-3 is a number."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.constructor.ConstructorError(
                None, None, f"key {', '.join(twice)} stands there twice", node.start_mark
            )
        return super().construct_mapping(node, deep=deep)


_Yaml.add_implicit_resolver(  # YAML 1.1 takes 1e-3 for text; 1.2 and its users do not
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def read_yaml(
    path: Path,
    what: str = "settings file",
    hint: str = "configs/ holds one for each data set",
) -> dict[str, Any]:
    """A YAML file as a mapping, with 1e-3 as a number and no key twice.

    Args:
        path: the file.
        what: what the file is, for the message where there is none.
        hint: what to do then.

    Raises:
        MissingFileError: ``path`` does not exist, or is a folder.
        ConfigError: it is not YAML, or no mapping.
    """
    if path.is_dir():
        raise MissingFileError(f"{what} {path} is a folder, expected a file; {hint}")
    if not path.is_file():
        raise MissingFileError(f"{what} {path} does not exist; {hint}")
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), _Yaml)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML that can be used: {error}") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected a mapping of settings, got {type(tree).__name__}")
    return tree


def _apply(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    names = key.strip().split(".")
    if not equals or not all(names):
        raise ConfigError(f"'{override}': expected group.key=value, e.g. training.epochs=5")
    try:
        value = yaml.load(text, _Yaml)
    except yaml.YAMLError as error:
        reason = getattr(error, "problem", None) or error
        raise ConfigError(f"'{override}': the value is not YAML ({reason})") from error
    node = tree
    for name in names[:-1]:
        below = node.get(name)
        if isinstance(below, str):  # a kind written short, e.g. fusion: lmf
            below = {"kind": below}
        node[name] = below if isinstance(below, dict) else {}
        node = node[name]
    node[names[-1]] = value


def _check(tree: Mapping[str, Any]) -> tuple[Settings | None, list[Problem]]:
    """Validates ``tree``; on problems, the rest is validated again without what they name.

    A rule that ties several settings together is looked at only when each of them is valid by
    itself; the second look finds such problems in the same go. One that mentions a setting already
    found wrong would follow from its default, and is left out.
    """
    settings, problems = _validate(_tuples(tree))
    if settings is not None:
        return settings, []
    rest = copy.deepcopy(_plain(tree))
    for problem in problems:
        _remove(rest, problem.keys)
    names = {str(name) for p in problems for name in (*p.keys[-1:], p.meant) if name}
    known = {problem.line for problem in problems}
    more = [
        problem
        for problem in _validate(_tuples(rest))[1]
        if problem.line not in known
        and not any(re.search(rf"\b{re.escape(name)}\b", problem.line) for name in names)
    ]
    return None, problems + more


def _validate(tree: Any) -> tuple[Settings | None, list[Problem]]:
    try:
        return Settings.model_validate(tree, strict=True), []
    except ValidationError as error:
        return None, explain(Settings, error.errors(include_url=False))


def _tuples(value: Any) -> Any:
    """Lists as tuples, as a strict validation wants them."""
    if isinstance(value, Mapping):
        return {str(key): _tuples(item) for key, item in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def _plain(value: Any) -> Any:
    """Mappings as dicts, so that keys can be taken out."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return value


def _remove(tree: Any, keys: Sequence[str | int]) -> None:
    """Takes out what lies at ``keys``, or the list that holds it; a whole-tree rule stays."""
    if not keys:
        return
    below = tree.get(keys[0]) if isinstance(tree, dict) else None
    if len(keys) > 1 and isinstance(below, dict):
        _remove(below, keys[1:])
    elif isinstance(tree, dict):
        tree.pop(keys[0], None)
