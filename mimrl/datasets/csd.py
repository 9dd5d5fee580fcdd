"""CMU-MultimodalSDK computational sequences (``.csd``), aligned to the label segments.

A ``.csd`` is an HDF5 file of one root group (Zadeh et al., ACL 2018)::

    <root>/data/<video>/features    (n, d) numbers, or (n, 1) bytes for words
    <root>/data/<video>/intervals   (n, 2) start and end in seconds
    <root>/metadata/<key>           (1,) JSON text

``data.label_file`` holds the labels, whose intervals are the samples, and ``data.feature_files``
the features, modality -> file. A file of words (``text: ...TimestampedWords.csd``; ``words: ...``
where text has vectors too) gives the transcripts and the steps: one step is one word of the
segment, with the mean of the feature rows that overlap the word; pauses (``sp``) are dropped, and
a word without rows is a step of zeros. Without words, or in a segment without words, a sample is
one step, the mean over the whole segment. A segment that no row of a modality overlaps lacks it.

Non-finite values are set to 0 before averaging. Sample ``i`` of a video is called ``video$_$i``
and its group is the video. The format has no splits: everything is in ``train`` until
``data.split_file`` or ``data.split_by_group`` says otherwise.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from mimrl.datasets.alignment import averages, overlapping
from mimrl.datasets.computational import ComputationalSequence, root_name
from mimrl.datasets.features import TRAIN, Corpus, Ragged, Split
from mimrl.datasets.paths import resolve_path
from mimrl.datasets.repair import clean
from mimrl.datasets.rows import Piece, PieceRows
from mimrl.datasets.stored import StoredFile, StoredRows, is_hdf5, opened
from mimrl.errors import DataError
from mimrl.settings import DataSettings

LAYOUT = "csd"
PAUSE = "sp"
WORDS = "words"
_SEGMENT = re.compile(r"^(.+)\[(\d+)\]$")  # how mmsdk names the pieces of an aligned video


def matches(path: Path) -> bool:
    """Whether ``path`` is a computational sequence, or a folder that holds ``.csd`` files.

    Raises:
        DataError: an HDF5 file that is truncated or damaged.
    """
    if path.is_dir():
        return any(is_hdf5(file) for file in path.glob("*.csd"))
    if not is_hdf5(path):
        return False
    with opened(path) as file:
        return root_name(file) is not None


def read(path: Path, settings: DataSettings) -> Corpus:
    """Reads the labels and aligns the features to their segments, one video at a time.

    Args:
        path: the file of labels, or a folder in which the files that the settings name lie (the
            one with "label" in its root name is then the default ``label_file``), or, without
            ``feature_files``, any one sequence to be looked at.
        settings: ``label_file`` and ``feature_files`` matter here.

    Returns:
        The corpus, all in ``train``; ``repairs`` counts missing features and non-finite values.

    Raises:
        MissingFileError: a file that the settings name does not exist.
        DataError: a file that is not such a sequence; no or several files of labels; two files of
            words; a feature file that has none of the videos.
    """
    labels = _label_path(path, settings)
    folder = path if path.is_dir() else None
    files = {
        modality: resolve_path(name, within=folder, called=f"data.feature_files.{modality}")
        for modality, name in settings.feature_files.items()
    }
    if not files and not _holds_labels(labels):
        return _features_alone(labels)
    with ExitStack() as stack:
        label_sequence = ComputationalSequence.of(labels, stack.enter_context(opened(labels)))
        if label_sequence.is_words:
            raise DataError(f"{labels} holds words; name the file of labels in data.label_file")
        sequences = {
            modality: ComputationalSequence.of(file, stack.enter_context(opened(file)))
            for modality, file in files.items()
        }
        return _aligned(label_sequence, sequences)


def _label_path(path: Path, settings: DataSettings) -> Path:
    if settings.label_file is not None:
        folder = path if path.is_dir() else None
        return resolve_path(settings.label_file, within=folder, called="data.label_file")
    if path.is_file():
        return path
    candidates = [file for file in sorted(path.glob("*.csd")) if _holds_labels(file)]
    if len(candidates) != 1:
        raise DataError(
            f"{path}: expected one .csd of labels, found {[file.name for file in candidates]} "
            f"among {sorted(file.name for file in path.glob('*.csd'))}; name it in "
            "data.label_file, and the features in data.feature_files"
        )
    return candidates[0]


def _holds_labels(path: Path) -> bool:
    with opened(path) as file:
        return "label" in str(root_name(file) or "").lower()


@dataclass
class _Samples:
    """What has been gathered so far, one entry a segment."""

    ids: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    labels: list[npt.NDArray[np.float32]] = field(default_factory=list)
    sequences: dict[str, list[npt.NDArray[np.float32]]] = field(default_factory=dict)
    repairs: Counter[str] = field(default_factory=Counter)


def _aligned(
    labels: ComputationalSequence, sequences: Mapping[str, ComputationalSequence]
) -> Corpus:
    pivots = {name: sequence for name, sequence in sequences.items() if sequence.is_words}
    if len(pivots) > 1:
        raise DataError(f"data.feature_files: {sorted(pivots)} hold words; name one such file")
    features = {name: sequence for name, sequence in sequences.items() if name not in pivots}
    for sequence in sequences.values():
        if not set(sequence.videos) & set(labels.videos):
            raise DataError(
                f"{sequence.path} has none of the videos of {labels.path}: "
                f"{list(sequence.videos[:3])} against {list(labels.videos[:3])}; they must be of "
                "one corpus"
            )
    gathered = _Samples(sequences={name: [] for name in features})
    for video in tqdm(
        labels.videos, desc=f"aligning {labels.path.name}", disable=None, leave=False
    ):
        _add_video(gathered, video, labels, next(iter(pivots.values()), None), features)
    split = Split(
        ids=tuple(gathered.ids),
        sequences={
            name: Ragged.from_list(gathered.sequences[name], width=sequence.width)
            for name, sequence in features.items()
        },
        labels=np.concatenate(gathered.labels),
        raw_text=tuple(gathered.texts) if pivots else None,
        groups=tuple(gathered.groups),
    )
    names = labels.label_names()
    return Corpus(LAYOUT, str(labels.path), {TRAIN: split}, names, dict(gathered.repairs))


def _add_video(
    gathered: _Samples,
    video: str,
    labels: ComputationalSequence,
    words: ComputationalSequence | None,
    features: Mapping[str, ComputationalSequence],
) -> None:
    timed = labels.timed(video)
    if timed is None:  # a video of this very file
        raise DataError(f"{labels.path}: video {video} disappeared while it was read")
    ratings, segments = timed
    named = _SEGMENT.match(video)
    group = named[1] if named else video
    for k in range(len(segments)):
        clip = named[2] if named and len(segments) == 1 else str(k)
        gathered.ids.append(f"{group}$_${clip}")
        gathered.groups.append(group)
    gathered.labels.append(ratings.astype(np.float32))
    steps = [segment[None] for segment in segments]
    if words is not None:
        for k, (text, times) in enumerate(_words(words, video, segments)):
            gathered.texts.append(text)
            gathered.repairs["text: no words in the segment"] += not text
            steps[k] = times if text else steps[k]
    for modality, sequence in features.items():
        _add_features(gathered, modality, sequence, video, steps)
    gathered.repairs = +gathered.repairs


def _words(
    words: ComputationalSequence, video: str, segments: npt.NDArray[np.float64]
) -> list[tuple[str, npt.NDArray[np.float64]]]:
    """For each segment its transcript and the intervals of its words."""
    timed = words.timed(video)
    if timed is None:
        return [("", np.zeros((0, 2)))] * len(segments)
    spoken = [item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item)
              for item in timed[0][:, 0]]  # fmt: skip
    order = np.argsort(timed[1][:, 0], kind="stable")
    order = order[np.array([spoken[i] != PAUSE for i in order], dtype=bool)]
    times = timed[1][order]
    chosen = [np.flatnonzero(overlapping(times, segment)) for segment in segments]
    return [(" ".join(spoken[order[i]] for i in rows), times[rows]) for rows in chosen]


def _add_features(
    gathered: _Samples,
    modality: str,
    sequence: ComputationalSequence,
    video: str,
    steps: list[npt.NDArray[np.float64]],
) -> None:
    ends = np.cumsum([len(times) for times in steps])
    timed = sequence.timed(video)
    if timed is None:
        means = np.zeros((int(ends[-1]), sequence.width), np.float32)
        found = np.zeros(len(means), dtype=bool)
    else:
        values = clean(timed[0].astype(np.float32, copy=False), modality, gathered.repairs)
        means, found = averages(values, timed[1], np.concatenate(steps))
    for rows, present in zip(np.split(means, ends[:-1]), np.split(found, ends[:-1]), strict=True):
        gathered.sequences[modality].append(rows if present.any() else rows[:0])
        gathered.repairs[f"{modality}: no features in the segment"] += not present.any()


def _features_alone(path: Path) -> Corpus:
    """One sequence file as it is: a sample a video, no labels; rows stay on disk."""
    with opened(path) as file:
        sequence = ComputationalSequence.of(path, file)
        if sequence.is_words:
            raise DataError(
                f"{path} holds words alone; name it in data.feature_files (text: FILE) beside a "
                "data.label_file"
            )
        stored = StoredFile(path)
        arrays = [sequence.array(video, "features") for video in sequence.videos]
        pieces = [
            Piece(StoredRows(stored, array.name, array.shape), 0, len(array)) for array in arrays
        ]
        name = root_name(file) or LAYOUT
        offsets = np.concatenate([[0], np.cumsum([piece.stop for piece in pieces])])
        split = Split(
            ids=sequence.videos,
            sequences={name: Ragged(PieceRows(pieces), offsets.astype(np.int64))},
            labels=np.zeros((len(pieces), 0), np.float32),
            groups=sequence.videos,
        )
        return Corpus(LAYOUT, str(path), {TRAIN: split}, ())
