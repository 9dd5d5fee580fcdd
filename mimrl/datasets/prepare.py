"""From a corpus to what a training run reads: chosen modalities, tokens, scalers, targets."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mimrl.datasets import labels as rules
from mimrl.datasets import scaling, tokens
from mimrl.datasets.features import SPLITS, TRAIN, Corpus, FloatArray, IntArray, Ragged, Split
from mimrl.datasets.rows import row_blocks
from mimrl.datasets.samples import Prepared, Samples, picked
from mimrl.datasets.scaling import Scaler
from mimrl.datasets.views import narrowed
from mimrl.errors import ConfigError, DataError, DataWarning
from mimrl.pretrained import load_tokenizer
from mimrl.settings import DataSettings, Settings

__all__ = ["Prepared", "Samples", "all_zero", "label_column", "prepare"]

TEXT = "text"


@dataclass(frozen=True)
class _Targets:
    """What is predicted in each split, and which rows of the corpus it is known for."""

    rows: Mapping[str, IntArray]
    ratings: Mapping[str, FloatArray]
    labels: Mapping[str, FloatArray | IntArray]
    class_names: tuple[str, ...] = ()


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
    _require(corpus, settings.data)
    targets = _targets(corpus, settings.data)
    if settings.training.loss.kind == "bce" and len(targets.class_names) != 2:
        raise ConfigError(
            f"training.loss bce needs two classes, but {corpus.source} has "
            f"{len(targets.class_names)}; use ce or focal"
        )
    notes: Counter[str] = Counter()
    for name in SPLITS:
        notes[f"{name}: neutral samples dropped"] += len(corpus.splits[name]) - len(
            targets.rows[name]
        )
    inputs = _inputs(corpus, settings, targets.rows, notes)
    widths = _widths(corpus, inputs)
    fitted = _fitted(inputs[TRAIN], settings, corpus.source) if scalers is None else dict(scalers)
    features = [name for name, width in widths.items() if width > 0]
    _check_scalers(fitted, widths, corpus.source)
    used = {name: fitted[name] for name in features}
    splits = {
        name: _samples(corpus.splits[name], inputs[name], used, targets, name) for name in SPLITS
    }
    _warn_of_empty_samples(splits, corpus.source)
    return Prepared(
        splits=splits,
        widths=widths,
        num_classes=len(targets.class_names) or 1,
        class_names=targets.class_names,
        scalers=used,
        layout=corpus.layout,
        source=corpus.source,
        notes={text: count for text, count in notes.items() if count},
    )


def label_column(corpus: Corpus, label: str | int | None) -> int:
    """Number of the label column that a setting means; without a setting the first one.

    Raises:
        DataError: no column of that name or number.
    """
    names = corpus.label_names
    if label is None:
        return 0
    if isinstance(label, str) and label in names:
        return names.index(label)
    if isinstance(label, int) and 0 <= label < len(names):
        return label
    raise DataError(
        f"{corpus.source}: data.label is {label!r}, but the label columns are "
        f"{', '.join(f'{i}: {name}' for i, name in enumerate(names))}"
    )


def all_zero(sequences: Ragged) -> npt.NDArray[np.bool_]:
    """``(N,)`` bool: which sequences have steps and nothing but zeros in them, read in chunks."""
    alive = np.zeros(sequences.values.shape[0] + 1, dtype=np.int64)
    for rows, block in row_blocks(sequences.values):
        alive[1:][rows] = np.any(block.reshape(len(block), -1) != 0, axis=1)
    counts = np.cumsum(alive)
    non_zero = counts[sequences.offsets[1:]] - counts[sequences.offsets[:-1]]
    return (non_zero == 0) & (sequences.lengths > 0)


def _require(corpus: Corpus, data: DataSettings) -> None:
    """Raises DataError for splits that the corpus lacks or that have no samples."""
    lacking = [name for name in SPLITS if not len(corpus.splits.get(name, ()))]
    if lacking:
        raise DataError(
            f"{corpus.source}: no samples in split {', '.join(lacking)} (found: "
            f"{', '.join(f'{name} {len(split)}' for name, split in corpus.splits.items())}); "
            "training, selection and the final test need one each: set data.split_file or "
            "data.split_by_group"
        )


def _targets(corpus: Corpus, data: DataSettings) -> _Targets:
    column = label_column(corpus, data.label)
    where = f"{corpus.source}, label column {corpus.label_names[column]!r}"
    known = {name: rules.as_ratings(corpus.splits[name].labels[:, column]) for name in SPLITS}
    for name, values in known.items():
        _check_finite(values, corpus.splits[name], f"{where}, split {name}")
    rows = {n: np.flatnonzero(rules.kept_rows(v, data.target)) for n, v in known.items()}
    empty = [name for name in SPLITS if not len(rows[name])]
    if empty:
        raise DataError(f"{where}: all samples of {', '.join(empty)} are neutral and were dropped")
    ratings = {name: known[name][rows[name]] for name in SPLITS}
    if data.target == "regression":
        return _Targets(rows, ratings, ratings)
    try:
        labels, names = _classes(ratings, data)
    except DataError as error:
        raise DataError(f"{where} (columns: {', '.join(corpus.label_names)}): {error}") from error
    absent = [names[c] for c in range(len(names)) if c not in set(labels[TRAIN].tolist())]
    if absent:
        raise DataError(
            f"{where}: no training sample is of class {', '.join(absent)} (target {data.target}); "
            "choose a target with fewer classes"
        )
    return _Targets(rows, ratings, labels, names)


def _classes(
    ratings: Mapping[str, FloatArray], data: DataSettings
) -> tuple[dict[str, IntArray], tuple[str, ...]]:
    if data.target == "class":
        coding = rules.class_coding(np.concatenate(list(ratings.values())))
        return {name: coding.encode(values) for name, values in ratings.items()}, coding.names
    classes = {n: rules.rating_classes(values, data.target) for n, values in ratings.items()}
    return classes, rules.LABEL_RULES[data.target].class_names


def _check_finite(values: FloatArray, split: Split, where: str) -> None:
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise DataError(
            f"{where}: {len(bad)} labels are NaN or infinite, e.g. of "
            f"{', '.join(split.ids[i] for i in bad[:5])}; remove these samples from the file"
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
        filled = {s: x[modality].width for s, x in inputs.items() if len(x[modality].values.shape)}
        sizes = {s: w for s, w in filled.items() if inputs[s][modality].values.shape[0] > 0}
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
    targets: _Targets,
    name: str,
) -> Samples:
    rows = targets.rows[name]
    return Samples(
        ids=tuple(split.ids[i] for i in rows),
        inputs=inputs,
        scalers=scalers,
        labels=targets.labels[name],
        ratings=targets.ratings[name],
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
