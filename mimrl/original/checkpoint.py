"""From a checkpoint of the original code to our network: sizes, options, names, assumptions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from mimrl.errors import CheckpointError, ConfigError
from mimrl.model.cubemlp import CubeMlp
from mimrl.model.model import MIMRL
from mimrl.original.network import OriginalMimrl
from mimrl.original.options import OriginalOptions
from mimrl.original.reading import Stored, read_weights
from mimrl.original.sizes import BertSizes, SequenceSizes, Sizes, read_sizes
from mimrl.settings.model import Compose, CubeMlpSettings, ModelSettings

MODALITIES = ("text", "audio", "video")
HEAD = 64  # width of an attention head in every published BERT
SHOWN = 5  # wrong names in a message
Rename = str | Callable[[re.Match[str]], str]
_AXES = {"l": "time", "k": "modality", "d": "feature"}
_RENAMES: tuple[tuple[str, Rename], ...] = (
    (r"^bertmodel\.", "encoders.text.transformer."),
    (r"^W_t\.", "encoders.text.projection."),
    (r"^rnn_([av])\.", r"encoders.\1.recurrent."),
    (r"^conv_([av])\.", r"encoders.\1.convolution."),
    (r"^ln_([av])\.", r"encoders.\1.norm."),
    (r"^encoders\.a\.", "encoders.audio."),
    (r"^encoders\.v\.", "encoders.video."),
    (r"^mlp_encoder\.layers_stack\.", "fusion.blocks."),
    (r"^(fusion\.blocks\.\d+)\.mlp_([lkd])\.", lambda m: f"{m[1]}.{_AXES[m[2]]}."),
    (r"^(fusion\.blocks\.\d+)\.ln_([lkd])\.", lambda m: f"{m[1]}.{_AXES[m[2]]}.norm."),
    (
        r"^(fusion\.blocks\.\d+)\.res_projection_([lkd])\.",
        lambda m: f"{m[1]}.{_AXES[m[2]]}.residual.",
    ),
)
# Not of the network: the critics, BERT's unused pooler, and a buffer of older transformers.
_LEFT_OUT = re.compile(r"vc?mi_estimator_|bertmodel\.pooler\.|bertmodel\.embeddings\.position_ids$")


@dataclass(frozen=True)
class OriginalCheckpoint:
    """A network of the original code, ready to be used.

    Attributes:
        path: the file.
        model: its forward pass, in evaluation mode on the CPU; ``model.network`` is our network
            with the same weights.
        sizes: what the weights tell.
        options: what they do not.
        max_tokens: tokens of a text at most.
        assumed: sentences for a reader: what was taken from defaults, and what to know.
        epoch: counted from 1; None where the file does not say.
    """

    path: Path
    model: OriginalMimrl
    sizes: Sizes
    options: OriginalOptions
    max_tokens: int
    assumed: tuple[str, ...]
    epoch: int | None


def load_original(path: str | Path, options: OriginalOptions | None = None) -> OriginalCheckpoint:
    """Builds the network of an original checkpoint.

    Args:
        path: the file, or the folder of a run that holds ``best_valid_model.pth.tar``.
        options: None takes the published values.

    Raises:
        MissingFileError: no such file.
        CheckpointError: see :func:`~mimrl.original.reading.read_weights`; weights that are missing
            or do not fit each other; options that contradict them.
    """
    options = options or OriginalOptions()
    stored = read_weights(path)
    sizes = read_sizes(stored)
    settings = _settings(stored.path, sizes, options)
    try:
        with torch.random.fork_rng(devices=[]):  # weights are drawn, then overwritten
            network = _network(settings, sizes, _bert_config(stored.path, sizes.bert, options))
    except ConfigError as error:
        raise CheckpointError(f"{stored.path}: its sizes make no network: {error}") from error
    _fill(stored, network)
    model = OriginalMimrl(network, padded_means=options.means == "padded").eval()
    max_tokens = _max_tokens(stored.path, sizes, options)
    return OriginalCheckpoint(
        path=stored.path,
        model=model,
        sizes=sizes,
        options=options,
        max_tokens=max_tokens,
        assumed=assumptions(sizes, options, settings, max_tokens),
        epoch=stored.epoch,
    )


def _settings(path: Path, sizes: Sizes, options: OriginalOptions) -> ModelSettings:
    modalities, time = _compose(path, sizes, options)
    text, audio, video, head = options.dropout
    tree: dict[str, Any] = {
        "width": sizes.width,
        "encoders": {
            "text": {"kind": "transformer", "max_tokens": 3, "dropout": text},
            "audio": _encoder(sizes.audio, audio),
            "video": _encoder(sizes.video, video),
        },
        "fusion": {
            "kind": "cubemlp",
            "time_len": sizes.time_len,
            "sizes": sizes.blocks,
            "hidden": sizes.hidden,
            "activation": _activation(path, sizes, options),
            "dropout": options.dropout_mlp,
            "bias": sizes.bias,
            "ln_first": _ln_first(path, sizes, options),
            "project_residual": True,
            "compose_modalities": modalities,
            "compose_time": time,
        },
        "head_dropout": head,
    }
    try:
        return ModelSettings.model_validate(tree)
    except ValidationError as error:
        reasons = "; ".join(str(item["msg"]) for item in error.errors(include_url=False))
        raise CheckpointError(f"{path}: its sizes make no network: {reasons}") from error


def _encoder(sizes: SequenceSizes, dropout: float) -> dict[str, Any]:
    layers = {} if sizes.kind == "conv" else {"layers": sizes.layers}
    return {"kind": sizes.kind, "dropout": dropout, **layers}


def _activation(path: Path, sizes: Sizes, options: OriginalOptions) -> str:
    given = "activation" in options.model_fields_set
    if given and sizes.prelu != (options.activation == "prelu"):
        found = "the weight of a prelu" if sizes.prelu else "no weight of a prelu"
        raise CheckpointError(
            f"{path}: option activation is {options.activation}, but its MLPs have {found}; "
            "correct the option"
        )
    return "prelu" if sizes.prelu else options.activation


def _ln_first(path: Path, sizes: Sizes, options: OriginalOptions) -> bool:
    told, given = sizes.ln_first, options.ln_first
    if told is not None and given is not None and told != given:
        raise CheckpointError(
            f"{path}: option ln_first is {str(given).lower()}, but its LayerNorms have the size of "
            f"the MLPs' {'inputs' if told else 'outputs'}; leave the option out"
        )
    return bool(given if told is None else told)


def _compose(path: Path, sizes: Sizes, options: OriginalOptions) -> tuple[Compose, Compose]:
    """How modalities, then time steps are joined: the head's width tells ``cat``."""
    time, modalities, width = sizes.blocks[-1]
    asked = (options.compose_modalities, options.compose_time)
    fitting = [
        cats
        for cats in product((False, True), repeat=2)
        if width * (modalities if cats[0] else 1) * (time if cats[1] else 1) == sizes.fused
        and all(how is None or (how == "cat") == cat for how, cat in zip(asked, cats, strict=True))
    ]
    where = (
        f"{path}: its head reads {sizes.fused} features and the last block gives (time, "
        f"modalities, width) {sizes.blocks[-1]}"
    )
    if not fitting:
        raise CheckpointError(
            f"{where}, which no choice of compose_modalities and compose_time joins"
            f"{'' if asked == (None, None) else ' that fits the options given'}; expected a "
            "product of the width and, for cat, of the others"
        )
    if len(fitting) > 1 and min(time, modalities) > 1:
        raise CheckpointError(
            f"{where}, which fits cat of modalities and cat of time alike; set option "
            "compose_modalities or compose_time to cat"
        )
    names = [how or ("cat" if cat else "mean") for how, cat in zip(asked, fitting[0], strict=True)]
    return names[0], names[1]


def _bert_config(path: Path, sizes: BertSizes, options: OriginalOptions) -> dict[str, Any]:
    heads = options.heads or sizes.width // HEAD
    if heads < 1 or sizes.width % heads or (options.heads is None and sizes.width % HEAD):
        raise CheckpointError(
            f"{path}: BERT's width {sizes.width} is not divided by "
            f"{'heads of ' + str(HEAD) if options.heads is None else str(heads) + ' heads'}; set "
            "option heads to the number of heads of the BERT that was trained"
        )
    return {
        "model_type": "bert",
        "vocab_size": sizes.vocabulary,
        "hidden_size": sizes.width,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": heads,
        "intermediate_size": sizes.intermediate,
        "max_position_embeddings": sizes.positions,
        "type_vocab_size": sizes.types,
    }


def _network(settings: ModelSettings, sizes: Sizes, bert: Mapping[str, Any]) -> MIMRL:
    widths = {"audio": sizes.audio.features, "video": sizes.video.features}
    network = MIMRL(settings, MODALITIES, widths, sizes.outputs, text_config=bert)
    fusion = settings.fusion
    if isinstance(fusion, CubeMlpSettings) and not all(sizes.project):
        # The original chooses for each block, our settings for all of them.
        network.fusion = CubeMlp(fusion, len(MODALITIES), sizes.width, project=sizes.project)
    return network


def _fill(stored: Stored, network: MIMRL) -> None:
    """Loads the weights after comparing all names and shapes."""
    own = network.state_dict()
    given: dict[str, Tensor] = {}
    theirs: dict[str, str] = {}
    for name, value in stored.weights.items():
        if not _LEFT_OUT.match(name):
            ours = _our_name(name, own)
            given[ours], theirs[ours] = value, name
    wrong = [f"{name} is missing" for name in own if name not in given]
    wrong += [f"{theirs[name]} has no place" for name in given if name not in own]
    wrong += [
        f"{theirs[name]} has shape {tuple(given[name].shape)} where {tuple(own[name].shape)} fits"
        for name in own
        if name in given and given[name].shape != own[name].shape
    ]
    if wrong:
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise CheckpointError(
            f"{stored.path}: its weights do not make up one network: {'; '.join(wrong[:SHOWN])}"
            f"{more}; expected the whole state_dict of an original MIMRL network with sizes as its "
            "other weights have them"
        )
    network.load_state_dict(given)


def _our_name(name: str, own: Mapping[str, Tensor]) -> str:
    for pattern, new in _RENAMES:
        name = re.sub(pattern, new, name)
    if name.startswith("classifier."):  # one layer is no sequence here
        inside = name.replace("classifier.", "head.", 1)
        name = inside if inside in own else inside.replace("head.0.", "head.", 1)
    return name


def _max_tokens(path: Path, sizes: Sizes, options: OriginalOptions) -> int:
    if options.max_tokens is not None and options.max_tokens > sizes.bert.positions:
        raise CheckpointError(
            f"{path}: option max_tokens is {options.max_tokens}, but its BERT has "
            f"{sizes.bert.positions} positions; lower it"
        )
    return options.max_tokens or max(3, min(sizes.time_len, sizes.bert.positions))


def assumptions(
    sizes: Sizes, options: OriginalOptions, settings: ModelSettings, max_tokens: int
) -> tuple[str, ...]:
    """What neither the weights nor the user said, and what a reader should know, as sentences."""
    given = options.model_fields_set
    fusion: Any = settings.fusion
    joined = {"compose_modalities": "modalities", "compose_time": "time steps"}
    found = {
        "activation": f"The MLPs' activation is {fusion.activation}" if not sizes.prelu else None,
        "ln_first": f"LayerNorm comes {'before' if fusion.ln_first else 'after'} each MLP"
        if sizes.ln_first is None
        else None,
        **{
            key: f"At the end {what} are joined by their mean (the weights cannot tell it from sum)"
            if getattr(fusion, key) == "mean"
            else None
            for key, what in joined.items()
        },
        "heads": f"BERT has {sizes.bert.width // HEAD} heads, its width {sizes.bert.width} / "
        f"{HEAD}",
        "means": "Unimodal features are means over the padded length, so they depend on the batch",
        "batch_size": f"{options.batch_size} samples in the order of the file are padded together",
        "tokenizer": f"Texts are tokenised as by {options.tokenizer}",
        "max_tokens": f"Texts are cut to {max_tokens} tokens",
        "text_padding": f"Token ids are padded to {max_tokens} tokens",
        "scaling": "Audio and video are not scaled",
    }
    sentences = [
        f"{text} (option {key})." for key, text in found.items() if text and key not in given
    ]
    return (
        *sentences,
        "BERT's activation is GELU and its LayerNorm's epsilon 1e-12, as in bert-base-uncased.",
        "The original code keeps references, not copies, of the best weights: unless it was "
        "changed, the file holds those of the last epoch, whatever its name and epoch say.",
    )
