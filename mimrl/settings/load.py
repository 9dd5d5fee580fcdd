"""Reading settings: a YAML file, then ``key=value`` overrides, then one check of everything."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from mimrl.errors import ConfigError, MissingFileError
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
    tree = {} if path is None else _read(Path(path))
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
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        found += [_line(item) for item in error.errors(include_url=False)]
    if found:
        lines = "".join(f"\n  - {line}" for line in found)
        raise ConfigError(
            f"{source}: {len(found)} problem{'s' if len(found) > 1 else ''}:{lines}\n"
            "'python train.py --help' lists every setting with its default and range."
        )
    return settings


def dump(settings: Settings) -> str:
    """The complete settings as YAML that :func:`load` reads back to equal settings."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise MissingFileError(
            f"settings file {path} does not exist; configs/ holds one for each data set"
        )
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
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
        value = _scalar(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ConfigError(f"'{override}': the value is not YAML ({error})") from error
    node = tree
    for name in names[:-1]:
        below = node.get(name)
        if isinstance(below, str):  # a kind written short, e.g. fusion: lmf
            below = {"kind": below}
        node[name] = below if isinstance(below, dict) else {}
        node = node[name]
    node[names[-1]] = value


def _scalar(value: Any) -> Any:
    """YAML 1.1 reads 1e-3 as text; the user meant a number."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _line(item: Mapping[str, Any]) -> str:
    kinds = {"transformer", "linear", "gru", "lstm", "conv"}
    where = ".".join(str(part) for part in item["loc"] if str(part) not in kinds) or "settings"
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        return f"{where}: unknown key; remove it or correct its name"
    shown = "" if item["type"] in ("value_error", "missing") else f" (got {_short(item['input'])})"
    return f"{where}: {message}{shown}"


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else text[:77] + "..."
