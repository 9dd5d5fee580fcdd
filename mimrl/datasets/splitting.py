"""Splits for files that have none, or other splits than theirs: by whole groups or from a list."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mimrl.datasets.features import SPLITS, Corpus, IntArray, Ragged, Split
from mimrl.datasets.fields import videos
from mimrl.errors import DataError, MissingFileError

_HOW = (
    "name a list with data.split_file=FILE.json, or let data.split_by_group=[0.7,0.1,0.2] make "
    "splits of whole videos"
)


def groups_of(split: Split) -> tuple[str, ...]:
    """What each sample must not be separated from.

    The split's own groups; else the video in ids such as ``video$_$3`` and ``video[3]``, where
    all ids are of that kind; else the id, so that every sample is a group of its own.
    """
    return split.groups or videos(split.ids) or split.ids


def merged(corpus: Corpus) -> Split:
    """All samples of a corpus, split after split, with their groups.

    Transcripts and token ids are kept where every split has them. Features on disk stay there.
    """
    parts = list(corpus.splits.values())
    texts = [part.raw_text for part in parts]
    tokens = [part.token_ids for part in parts]
    return Split(
        ids=tuple(name for part in parts for name in part.ids),
        sequences={
            name: Ragged.join([part.sequences[name] for part in parts])
            for name in corpus.modalities
        },
        labels=np.concatenate([part.labels for part in parts]),
        raw_text=tuple(t for text in texts for t in text or ()) if all(_given(texts)) else None,
        token_ids=Ragged.join([t for t in tokens if t]) if all(_given(tokens)) else None,
        groups=tuple(name for part in parts for name in groups_of(part)),
    )


def _given(values: Sequence[object]) -> list[bool]:
    return [value is not None for value in values]


def split_by_group(corpus: Corpus, shares: Sequence[float], seed: int) -> Corpus:
    """Splits by whole groups, at random, as close to ``shares`` as whole groups allow.

    For the test and then the validation split, groups in random order are chosen whose sizes add
    up to the reachable number of samples nearest to its share (exactly, by dynamic programming
    over sums); the rest is for training.

    Args:
        corpus: samples in any splits, which are given up.
        shares: of train, valid, test; adding up to 1. A share of 0 makes no such split.
        seed: the same seed, file and shares give the same splits.

    Raises:
        DataError: fewer groups than splits with a share.
    """
    everything = merged(corpus)
    names = everything.groups or ()
    sizes = Counter(names)
    wanted = [split for split, share in zip(SPLITS, shares, strict=True) if share > 0]
    if len(sizes) < len(wanted):
        raise DataError(
            f"{corpus.source}: {len(sizes)} groups (videos or speakers) cannot make "
            f"{len(wanted)} splits of whole groups; use data.split_file"
        )
    order = sorted(sizes)
    np.random.default_rng(seed).shuffle(order)
    targets = {s: share * len(names) for s, share in zip(SPLITS, shares, strict=True)}
    split_of = _assign(order, sizes, {split: targets[split] for split in wanted})
    rows = {
        split: [i for i, name in enumerate(names) if split_of[name] == split] for split in wanted
    }
    return replace(
        corpus, splits={split: everything.select(np.array(rows[split])) for split in wanted}
    )


def _assign(
    order: Sequence[str], sizes: Mapping[str, int], targets: Mapping[str, float]
) -> dict[str, str]:
    """Group -> split; every split of ``targets`` gets one group at least."""
    rest_split, *others = targets
    left = list(order)
    chosen: dict[str, list[str]] = {}
    for split in reversed(others):
        chosen[split] = _nearest_sum(left, sizes, targets[split])
        left = [name for name in left if name not in set(chosen[split])]
    chosen[rest_split] = left
    for split in targets:
        if not chosen[split]:  # a few large groups: the smallest that can be spared goes there
            spare = [name for groups in chosen.values() if len(groups) > 1 for name in groups]
            name = min(spare, key=lambda group: sizes[group])
            giver = next(groups for groups in chosen.values() if name in groups)
            giver.remove(name)
            chosen[split].append(name)
    return {name: split for split, groups in chosen.items() for name in groups}


def _nearest_sum(order: Sequence[str], sizes: Mapping[str, int], target: float) -> list[str]:
    """Groups whose sizes add up to the reachable sum nearest to ``target``.

    Bit ``s`` of ``reached[k]`` says that some of the first ``k`` groups add up to ``s``.
    """
    reached = [1]
    for name in order:
        reached.append(reached[-1] | reached[-1] << sizes[name])
    bits = np.array(list(bin(reached[-1])[:1:-1])) == "1"
    sums = np.flatnonzero(bits)
    total = int(sums[np.abs(sums - target).argmin()])
    chosen = []
    for k in range(len(order), 0, -1):
        if not reached[k - 1] >> total & 1:
            chosen.append(order[k - 1])
            total -= sizes[order[k - 1]]
    return chosen


def split_by_file(corpus: Corpus, path: Path) -> Corpus:
    """Splits as a JSON file lists them: ``{"train": [...], "valid": [...], "test": [...]}``.

    A name is that of a sample or of a group (a video); a sample's id goes before a group's name.
    Samples in no list are left out and counted in ``repairs``.

    Args:
        corpus: samples in any splits, which are given up.
        path: the JSON file.

    Raises:
        MissingFileError: no such file.
        DataError: not such JSON; a name that the corpus does not have; a sample listed twice,
            by itself or through its group.
    """
    lists = _read_lists(path)
    everything = merged(corpus)
    rows_of: dict[str, list[int]] = {}
    for names in (everything.groups or (), everything.ids):  # ids last: they win over groups
        own: dict[str, list[int]] = {}
        for row, name in enumerate(names):
            own.setdefault(name, []).append(row)
        rows_of |= own
    unknown = [name for names in lists.values() for name in names if name not in rows_of]
    if unknown:
        raise DataError(
            f"{path}: {len(unknown)} names are neither ids nor groups of {corpus.source}: "
            f"{unknown[:5]}; its ids look like {list(everything.ids[:3])}"
        )
    rows = {split: [r for name in names for r in rows_of[name]] for split, names in lists.items()}
    listed = Counter(row for chosen in rows.values() for row in chosen)
    twice = [everything.ids[row] for row, times in listed.items() if times > 1]
    if twice:
        raise DataError(
            f"{path}: {len(twice)} samples are listed more than once, by id or through their "
            f"group: {twice[:5]}; list each once"
        )
    repairs = dict(corpus.repairs)
    if len(listed) < len(everything):
        repairs[f"samples not in {path.name}, left out"] = len(everything) - len(listed)
    ordered = {split: _sorted(chosen) for split, chosen in rows.items() if chosen}
    splits = {split: everything.select(chosen) for split, chosen in ordered.items()}
    return replace(corpus, splits=splits, repairs=repairs)


def _sorted(rows: list[int]) -> IntArray:
    return np.array(sorted(rows), dtype=np.int64)


def _read_lists(path: Path) -> dict[str, list[str]]:
    if not path.is_file():
        raise MissingFileError(f"data.split_file {path} does not exist")
    expected = 'expected {"train": [names], "valid": [names], "test": [names]}'
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path}: {expected}, but it is not JSON: {error}") from error
    if not isinstance(content, dict) or not set(content) <= set(SPLITS) or not content:
        found = sorted(content) if isinstance(content, dict) else type(content).__name__
        raise DataError(f"{path}: {expected}, got {found}")
    lists: dict[str, list[str]] = {}
    for split in (name for name in SPLITS if name in content):
        names = content[split]
        if not isinstance(names, list) or not all(isinstance(n, str | int) for n in names):
            raise DataError(f"{path}: {expected}; '{split}' is not a list of names")
        lists[split] = [str(name) for name in names]
    return lists


def require_splits(corpus: Corpus, needed: Sequence[str] = SPLITS) -> None:
    """Checks that a corpus can be trained on, selected on and tested on.

    Raises:
        DataError: a split of ``needed`` is absent or has no sample.
    """
    absent = [name for name in needed if name not in corpus.splits or not corpus.splits[name].ids]
    if absent:
        sizes = {name: len(split) for name, split in corpus.splits.items()}
        raise DataError(
            f"{corpus.source}: no {' and no '.join(absent)} split; the file has {sizes}. To make "
            f"splits, {_HOW}"
        )
