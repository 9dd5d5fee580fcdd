"""Small corpora for the tests of storing, splitting and inspecting."""

from __future__ import annotations

import numpy as np

from mimrl.datasets.features import Corpus, Ragged, Split

WIDTHS = {"text": 5, "audio": 3}


def make_split(name: str, size: int, seed: int = 0, groups: int | None = None) -> Split:
    """Random sequences of 0 to 6 steps, two label columns, transcripts, token ids, groups."""
    generator = np.random.default_rng([seed, size])
    lengths = {m: generator.integers(0, 7, size) for m in WIDTHS}
    return Split(
        ids=tuple(f"{name}é$_${i}" for i in range(size)),
        sequences={
            m: Ragged.from_list([generator.normal(size=(t, d)) for t in lengths[m]], width=d)
            for m, d in WIDTHS.items()
        },
        labels=generator.normal(size=(size, 2)).astype(np.float32),
        raw_text=tuple("" if i == 0 else f"wörd {i}" for i in range(size)),
        token_ids=Ragged.from_list([np.arange(i % 3 + 1) for i in range(size)]),
        groups=None if groups is None else tuple(f"{name}{i % groups}" for i in range(size)),
    )


def make_corpus(sizes: dict[str, int], seed: int = 0, groups: int | None = None) -> Corpus:
    """A corpus of :func:`make_split` splits."""
    splits = {
        name: make_split(name, size, seed + k, groups)
        for k, (name, size) in enumerate(sizes.items())
    }
    return Corpus("mmsa", "/somewhere/made.pkl", splits, ("one", "two"), {"text: mended": 2})


def same_ragged(one: Ragged, other: Ragged) -> bool:
    """Whether all sequences are equal, with their types."""
    return len(one) == len(other) and all(
        a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b)
        for a, b in zip(one, other, strict=True)
    )


def same_split(one: Split, other: Split) -> bool:
    """Whether two splits hold the same samples in the same order."""
    tokens = (one.token_ids, other.token_ids)
    return (
        one.ids == other.ids
        and one.raw_text == other.raw_text
        and one.groups == other.groups
        and np.array_equal(one.labels, other.labels)
        and set(one.sequences) == set(other.sequences)
        and all(same_ragged(one.sequences[m], other.sequences[m]) for m in one.sequences)
        and (tokens == (None, None) or same_ragged(*tokens))
    )
