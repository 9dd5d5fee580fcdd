"""Pretrained text encoders: where a source points to, and how it is loaded.

A source is a hub name (``bert-base-uncased``), a local folder, or
``package:<import name>/<folder>`` for an encoder that an installed package ships, which needs no
network at all.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import transformers
from safetensors import SafetensorError
from torch import nn

from mimrl.errors import CheckpointError, ConfigError, DataError, MissingFileError

PACKAGE = "package:"


def resolve(source: str) -> str:
    """The name or folder that transformers understands.

    Args:
        source: a hub name, a local folder, or ``package:<import name>/<folder>``.

    Returns:
        The path of an existing folder, or the hub name unchanged.

    Raises:
        ConfigError: a ``package:`` source without a folder.
        MissingFileError: the package is not installed, it has no such folder, or a source that is
            written like a path does not exist.

    >>> resolve("bert-base-uncased")
    'bert-base-uncased'
    """
    if source.startswith(PACKAGE):
        return str(_package_folder(source))
    path = Path(source).expanduser()
    if path.is_dir():
        return str(path)
    if source.startswith((".", "/", "~")) or "\\" in source or source.count("/") > 1:
        raise MissingFileError(
            f"text encoder {source!r}: no such folder ({path.absolute()}); expected a folder with "
            "config.json and weights, a hub name, or package:<import name>/<folder>"
        )
    return source


def load_encoder(source: str) -> nn.Module:
    """A transformers model in float32 with the weights of ``source``, without its pooler.

    Only last hidden states are used here; the pooler would be dead weight in every checkpoint.

    Args:
        source: see :func:`resolve`.

    Raises:
        MissingFileError: nothing usable is found there, or the hub cannot be reached.
        DataError: the weights are damaged or incomplete.
        ConfigError: the model is not an encoder of one sequence.
    """
    place = resolve(source)
    with _reported(source, "text encoder"), _quiet():
        model, loading = transformers.AutoModel.from_pretrained(place, output_loading_info=True)
    absent = sorted(name for name in loading["missing_keys"] if not name.startswith("pooler."))
    if absent:
        raise DataError(
            f"text encoder {source!r}: its weights lack {len(absent)} of the network's tensors, "
            f"for instance {absent[0]}; expected weights that belong to its config.json"
        )
    return _stripped(model, source)


def build_encoder(config: Mapping[str, Any]) -> nn.Module:
    """The same network as :func:`load_encoder` from its configuration alone, weights random.

    A checkpoint holds the configuration and all weights, so a trained model can be read where
    neither the hub nor the package is at hand.

    Args:
        config: what :func:`encoder_config` gave.

    Raises:
        CheckpointError: the installed transformers does not know this kind of model.
    """
    fields = dict(config)
    kind = str(fields.pop("model_type", ""))
    try:
        with _quiet():
            model = transformers.AutoModel.from_config(
                transformers.AutoConfig.for_model(kind, **fields)
            )
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"text encoder of kind {kind!r}: transformers {transformers.__version__} cannot build "
            f"it from its stored configuration ({error}); install the version that trained it"
        ) from error
    return _stripped(model, kind)


def encoder_config(model: nn.Module) -> dict[str, Any]:
    """The configuration of a transformers model as JSON-ready values, for :func:`build_encoder`."""
    config: Any = model.config
    fields = config.to_diff_dict()
    fields.pop("_name_or_path", None)
    return {**fields, "model_type": config.model_type}


def load_tokenizer(source: str) -> Any:
    """The tokenizer that belongs to ``source``.

    Args:
        source: see :func:`resolve`.

    Raises:
        MissingFileError: nothing usable is found there, or the hub cannot be reached.
        DataError: its files are damaged.
    """
    place = resolve(source)
    with _reported(source, "tokenizer"), _quiet():
        return transformers.AutoTokenizer.from_pretrained(place)


def _package_folder(source: str) -> Path:
    name, slash, folder = source.removeprefix(PACKAGE).partition("/")
    if not name or not slash or not folder:
        raise ConfigError(f"text encoder {source!r}: expected package:<import name>/<folder>")
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise MissingFileError(
            f"text encoder {source!r}: no package {name!r} is installed; install it, or set "
            "model.encoders.text.source to a hub name or a local folder"
        )
    places = [Path(location) / folder for location in spec.submodule_search_locations]
    for place in places:
        if place.is_dir():
            return place
    raise MissingFileError(
        f"text encoder {source!r}: package {name!r} has no folder {folder!r} ({places[0]})"
    )


def _stripped(model: nn.Module, source: str) -> nn.Module:
    if getattr(model.config, "is_encoder_decoder", False):
        raise ConfigError(
            f"text encoder {source!r} is an encoder-decoder; expected an encoder of one sequence "
            "such as BERT, RoBERTa, DeBERTa or MiniLM"
        )
    if getattr(model, "pooler", None) is not None:
        model.pooler = None  # type: ignore[assignment]
    return model.float()


@contextmanager
def _reported(source: str, what: str) -> Iterator[None]:
    """Turns what transformers raises into one message that says what to do."""
    try:
        yield
    except SafetensorError as error:
        raise DataError(f"{what} {source!r}: its weights are damaged ({error})") from error
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise MissingFileError(
            f"{what} {source!r} cannot be loaded: {reason} If this machine is offline, set "
            "model.encoders.text.source to a local folder or to package:<import name>/<folder>."
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """No load reports or progress bars of transformers inside; its settings are put back after."""
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
