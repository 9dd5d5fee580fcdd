"""From a corpus to what a training run reads: chosen modalities, tokens, scalers, targets."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from mimrl.datasets import scaling, targets, tokens
from mimrl.datasets.features import SPLITS, TRAIN, Corpus, IntArray, Ragged, Split
from mimrl.datasets.rows import row_blocks
from mimrl.datasets.samples import Prepared, Samples, picked
from mimrl.datasets.scaling import Scaler
from mimrl.datasets.targets import Targets
from mimrl.datasets.views import narrowed
from mimrl.errors import ConfigError, DataError, DataWarning
from mimrl.pretrained import load_tokenizer
from mimrl.settings import DataSettings, Settings

__all__ = ["Prepared", "Samples", "all_zero", "prepare"]

TEXT = "text"


def prepare(
    corpus: Corpus, settings: Settings, *, scalers: Mapping[str, Scaler] | None = None
) -> Prepared:
    """Chooses modalities and label, makes tokens, cuts sequences, fits scalers on train.

    Sequences of an HDF5 file stay in the file: they are read in chunks to find all-zero ones and
    to fit the scalers, and again when a batch asks for them.

    Args:
        corpus: as a layout module read it.
        settings: ``data`` and ``model.encoders`` matter here.
        scalers: those of a checkpoint, used instead of fitting new ones.

    Returns:
        The three splits ready for :func:`mimrl.datasets.loading.iterate`.

    Raises:
        DataError: a split, modality or label column that the file lacks; NaN labels; a split
            without samples; a class that no training sample has; labels that do not fit
            ``data.target``; given scalers of another width.
        ConfigError: two-class loss on more classes.

    Warns:
        DataWarning: samples that lack every chosen modality.
    """
    _require(corpus)
    chosen = targets.choose(corpus, settings.data)
    _check_loss(settings, chosen, corpus.source)
    notes = Counter(
        {
            f"{name}: neutral samples dropped": len(corpus.splits[name]) - len(rows)
            for name, rows in chosen.rows.items()
        }
    )
    inputs = _inputs(corpus, settings, chosen.rows, notes)
    widths = _widths(corpus, inputs)
    known = _fitted(inputs[TRAIN], settings, corpus.source) if scalers is None else scalers
    _check_scalers(known, widths, corpus.source)
    used = {name: known[name] for name, width in widths.items() if width > 0}
    splits = {
        name: _samples(corpus.splits[name], inputs[name], used, chosen, name) for name in SPLITS
    }
    _warn_of_empty_samples(splits, corpus.source)
    return Prepared(
        splits=splits,
        widths=widths,
        num_classes=len(chosen.class_names) or 1,
        class_names=chosen.class_names,
        scalers=used,
        layout=corpus.layout,
        source=corpus.source,
        notes={text: count for text, count in notes.items() if count},
    )


def all_zero(sequences: Ragged) -> npt.NDArray[np.bool_]:
    """``(N,)`` bool: which sequences have steps and nothing but zeros in them, read in chunks."""
    alive = np.zeros(sequences.values.shape[0] + 1, dtype=np.int64)
    for rows, block in row_blocks(sequences.values):
        alive[1:][rows] = np.any(block.reshape(len(block), -1) != 0, axis=1)
    counts = np.cumsum(alive)
    non_zero = counts[sequences.offsets[1:]] - counts[sequences.offsets[:-1]]
    return (non_zero == 0) & (sequences.lengths > 0)


def _require(corpus: Corpus) -> None:
    """Raises DataError for splits that the corpus lacks or that have no samples."""
    lacking = [name for name in SPLITS if not len(corpus.splits.get(name, ()))]
    if lacking:
        raise DataError(
            f"{corpus.source}: no samples in split {', '.join(lacking)} (found: "
            f"{', '.join(f'{name} {len(split)}' for name, split in corpus.splits.items())}); "
            "training, selection and the final test need one each: set data.split_file or "
            "data.split_by_group"
        )


def _check_loss(settings: Settings, chosen: Targets, source: str) -> None:
    """Raises ConfigError for the two-class loss on another number of classes."""
    if settings.training.loss.kind == "bce" and len(chosen.class_names) != 2:
        raise ConfigError(
            f"training.loss bce needs two classes, but {source} has {len(chosen.class_names)}; "
            "use ce or focal"
        )


def _inputs(
    corpus: Corpus, settings: Settings, rows: Mapping[str, IntArray], notes: Counter[str]
) -> dict[str, dict[str, Ragged]]:
    """Split -> modality -> sequences of the chosen rows, cut, all-zero ones emptied."""
    data, encoder = settings.data, settings.model.encoders.get(TEXT)
    found: dict[str, dict[str, Ragged]] = {name: {} for name in SPLITS}
    tokenizer = None
    for modality in data.modalities:
        for name in SPLITS:
            split = corpus.splits[name]
            if modality == TEXT and encoder is not None and encoder.kind == "transformer":
                tokenizer = tokenizer or load_tokenizer(encoder.source)
                ids = tokens.token_ids(
                    split, tokenizer, max_tokens=encoder.max_tokens, name=f"{corpus.source}, {name}"
                )
                found[name][modality] = narrowed(ids, rows=_or_all(rows[name], len(split)))
            else:
                sequences = _sequences(corpus, name, modality)
                kept, emptied = _cut(sequences, rows[name], data)
                notes[f"{name}: all-zero {modality} counted as missing"] += emptied
                found[name][modality] = kept
    return found


def _sequences(corpus: Corpus, split: str, modality: str) -> Ragged:
    sequences = corpus.splits[split].sequences
    if modality not in sequences:
        hint = ""
        if modality == TEXT and corpus.splits[split].raw_text is not None:
            hint = "; it has transcripts: set model.encoders.text to transformer"
        raise DataError(
            f"{corpus.source}: split {split} has no modality {modality!r}, only "
            f"{', '.join(sequences) or 'none'}{hint}; name those you want in data.modalities"
        )
    return sequences[modality]


def _cut(sequences: Ragged, rows: IntArray, data: DataSettings) -> tuple[Ragged, int]:
    lengths = sequences.lengths[rows]
    if data.max_steps is not None:
        lengths = np.minimum(lengths, data.max_steps)
    kept = narrowed(sequences, rows=_or_all(rows, len(sequences)), lengths=lengths)
    if not data.drop_all_zero:
        return kept, 0
    zero = all_zero(kept)
    return narrowed(kept, lengths=np.where(zero, 0, kept.lengths)), int(zero.sum())


def _widths(corpus: Corpus, inputs: dict[str, dict[str, Ragged]]) -> dict[str, int]:
    """Modality -> width; sequences of a split that are all empty take the others' width."""
    widths = {}
    for modality in inputs[TRAIN]:
        by_split = {name: split[modality] for name, split in inputs.items()}
        sizes = {name: seq.width for name, seq in by_split.items() if seq.values.shape[0] > 0}
        if len(set(sizes.values())) > 1:
            raise DataError(f"{corpus.source}: {modality} has different widths by split: {sizes}")
        if TRAIN not in sizes:
            raise DataError(
                f"{corpus.source}: no training sample has {modality} (all sequences are empty or "
                "all zero); leave it out of data.modalities"
            )
        widths[modality] = sizes[TRAIN]
        for split in inputs.values():
            if split[modality].values.shape[0] == 0 and sizes[TRAIN] > 0:
                empty = np.zeros((0, sizes[TRAIN]), np.float32)
                split[modality] = Ragged(empty, split[modality].offsets)
    return widths


def _fitted(train: Mapping[str, Ragged], settings: Settings, source: str) -> dict[str, Scaler]:
    data = settings.data
    return {
        name: scaling.fit(
            sequences,
            data.scaling.get(name, "standard"),
            clip=data.clip,
            name=f"{source}: {name}",
        )
        for name, sequences in train.items()
        if sequences.width > 0
    }


def _check_scalers(scalers: Mapping[str, Scaler], widths: Mapping[str, int], source: str) -> None:
    for name, width in widths.items():
        if width > 0 and (name not in scalers or scalers[name].width != width):
            had = f"width {scalers[name].width}" if name in scalers else "no such modality"
            raise DataError(
                f"{source}: {name} has {width} features, but the scalers given have {had}; use "
                "the data the checkpoint was trained on"
            )


def _samples(
    split: Split,
    inputs: Mapping[str, Ragged],
    scalers: Mapping[str, Scaler],
    chosen: Targets,
    name: str,
) -> Samples:
    rows = chosen.rows[name]
    return Samples(
        ids=tuple(split.ids[i] for i in rows),
        inputs=inputs,
        scalers=scalers,
        labels=chosen.labels[name],
        ratings=chosen.ratings[name],
        groups=picked(split.groups, rows),
        raw_text=picked(split.raw_text, rows),
    )


def _warn_of_empty_samples(splits: Mapping[str, Samples], source: str) -> None:
    empty = {name: int(np.sum(samples.lengths == 0)) for name, samples in splits.items()}
    if any(empty.values()):
        warnings.warn(
            f"{source}: samples that lack every chosen modality: {empty}; they are kept, and the "
            "model sees zeros",
            DataWarning,
            stacklevel=3,
        )


def _or_all(rows: IntArray, size: int) -> IntArray | None:
    """None where ``rows`` are all rows, so that nothing is copied."""
    return None if len(rows) == size else rows
