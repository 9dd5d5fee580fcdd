"""Word vectors for files that hold words but no text features."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mimrl.datasets.features import FloatArray
from mimrl.errors import DataError

_UNREADABLE = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Embeddings:
    """Vectors of words.

    Attributes:
        rows: word -> row of ``vectors``.
        vectors: ``(V, d)`` float32.
    """

    rows: dict[str, int]
    vectors: FloatArray

    def embed(self, words: Sequence[str]) -> tuple[FloatArray, int]:
        """``(T, d)`` vectors of ``words``, and how many words have none and became zeros.

        A word that is not in the table as written is looked up in lower case.
        """
        found = np.zeros((len(words), self.vectors.shape[1]), dtype=np.float32)
        unknown = 0
        for i, word in enumerate(words):
            row = self.rows.get(word, self.rows.get(word.lower()))
            if row is None:
                unknown += 1
            else:
                found[i] = self.vectors[row]
        return found, unknown


def load_embeddings(path: Path, wanted: Collection[str]) -> Embeddings:
    """The vectors of the words ``wanted`` (as written and in lower case) from a file.

    Args:
        path: ``.npz`` with ``words`` (V,) and ``vectors`` (V, d), or text in the form of GloVe and
            word2vec: a word and its numbers a line, perhaps after a line with V and d.
        wanted: only these are kept, so that a file of millions of words needs little memory.

    Raises:
        DataError: the file is of another form.
    """
    names = {form for word in wanted for form in (word, word.lower())}
    try:
        found = _from_npz(path, names) if path.suffix == ".npz" else _from_text(path, names)
    except _UNREADABLE as error:
        raise DataError(
            f"{path}: expected word vectors (.npz with words and vectors, or lines of a word and "
            f"its numbers), got {type(error).__name__}: {error}"
        ) from error
    if not found.rows:
        raise DataError(f"{path}: none of the {len(wanted)} words of the data has a vector in it")
    return found


def _from_npz(path: Path, wanted: set[str]) -> Embeddings:
    with np.load(path, allow_pickle=False) as file:
        words, vectors = file["words"], file["vectors"].astype(np.float32, copy=False)
    if words.ndim != 1 or vectors.ndim != 2 or len(words) != len(vectors):
        raise ValueError(f"words {words.shape} and vectors {vectors.shape}")
    rows = {str(word): i for i, word in enumerate(words) if str(word) in wanted}
    kept = vectors[np.fromiter(rows.values(), dtype=np.int64, count=len(rows))]
    return Embeddings({word: i for i, word in enumerate(rows)}, kept)


def _from_text(path: Path, wanted: set[str]) -> Embeddings:
    rows: dict[str, int] = {}
    vectors: list[FloatArray] = []
    width = 0
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file):
            parts = line.rstrip().split(" ")
            if number == 0 and len(parts) == 2:
                continue  # word2vec's header
            width = width or len(parts) - 1
            # Some words of GloVe contain blanks (". . ."): the numbers are the last ones.
            word = " ".join(parts[:-width]) if width else ""
            if word not in wanted or word in rows:
                continue
            rows[word] = len(vectors)
            vectors.append(np.array(parts[-width:], dtype=np.float32))
    if not vectors:
        return Embeddings({}, np.zeros((0, width), dtype=np.float32))
    return Embeddings(rows, np.stack(vectors))
