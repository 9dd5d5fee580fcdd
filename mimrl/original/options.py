"""What the weights of an original checkpoint do not tell, with the published values as defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, ValidationError

from mimrl.errors import ConfigError, MissingFileError
from mimrl.settings.base import Group
from mimrl.settings.data import Scaling
from mimrl.settings.messages import explain
from mimrl.settings.model import Activation, Compose, Rate


class OriginalOptions(Group):
    """Settings of the run that wrote a checkpoint, as far as its weights do not show them.

    The defaults are those of the published run (CMU-MOSI, ``mosi_Dec``). Where a default is null,
    the sizes of the weights often tell; a value that contradicts them is an error.
    """

    activation: Activation = Field(
        "gelu", description="activation inside the MLPs of CubeMLP (--activate)"
    )
    ln_first: bool | None = Field(
        None, description="LayerNorm before each MLP; null: as the sizes tell, else false"
    )
    compose_modalities: Compose | None = Field(
        None, description="--features_compose_k; null: cat where the head's width shows it, or mean"
    )
    compose_time: Compose | None = Field(
        None, description="--features_compose_t; null: cat where the head's width shows it, or mean"
    )
    heads: int | None = Field(
        None, ge=1, description="attention heads of BERT; null: its width / 64"
    )
    dropout: tuple[Rate, Rate, Rate, Rate] = Field(
        (0.1, 0.1, 0.1, 0.1),
        description="dropout of text, audio, video, head; without effect on features and readings",
    )
    dropout_mlp: tuple[Rate, Rate, Rate] = Field(
        (0.0, 0.0, 0.0),
        description="dropout after the MLPs over time, modality, width; as above, without effect",
    )
    means: Literal["padded", "valid"] = Field(
        "padded",
        description="unimodal features: means over the padded length as published, or valid steps",
    )
    tokenizer: str = Field(
        "bert-base-uncased",
        description="hub name, local folder, or package:<import name>/<folder>",
    )
    max_tokens: int | None = Field(
        None, ge=3, le=4096, description="longer texts are cut; null: time_len, read from weights"
    )
    text_padding: Literal["max_tokens", "batch"] = Field(
        "max_tokens",
        description="token ids are padded to max_tokens (mosi_Dec, mosei_Dec) or to the longest "
        "of their batch (*_SDK)",
    )
    scaling: dict[Literal["audio", "video"], Scaling] = Field(
        default_factory=dict,
        description="audio, video -> none, standard, minmax or log, fitted on train; none where "
        "not named, as in mosi_Dec and mosei_Dec",
    )
    batch_size: int = Field(
        128,
        ge=1,
        description="samples that are padded together, in the order of the file (--batch_size)",
    )


def load_options(path: str | Path | None = None) -> OriginalOptions:
    """Options from a YAML file; None takes the defaults.

    Raises:
        MissingFileError: no such file.
        ConfigError: not YAML, unknown keys or wrong values, all of them in one message.
    """
    if path is None:
        return OriginalOptions()
    file = Path(path)
    if not file.is_file():
        raise MissingFileError(
            f"options file {file} does not exist; docs/original-checkpoints.md shows one"
        )
    try:
        tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not YAML that can be used: {error}") from error
    tree = {} if tree is None else tree
    if not isinstance(tree, dict):
        raise ConfigError(f"{file}: expected a mapping of options, got {type(tree).__name__}")
    return _checked(tree, str(file))


def _checked(tree: dict[object, object], source: str) -> OriginalOptions:
    values = {str(key): tuple(v) if isinstance(v, list) else v for key, v in tree.items()}
    try:
        return OriginalOptions.model_validate(values, strict=True)
    except ValidationError as error:
        problems = explain(OriginalOptions, error.errors(include_url=False))
    lines = "".join(f"\n  - {problem.line.replace('.[key]', '')}" for problem in problems)
    raise ConfigError(
        f"{source}: {len(problems)} problem{'s' if len(problems) > 1 else ''}:{lines}\n"
        f"Options of an original checkpoint: {', '.join(OriginalOptions.model_fields)}."
    )
