"""From files people have to batches of tensors.

:func:`open_corpus` reads a file of any known layout into a :class:`Corpus`; then
:mod:`~mimrl.datasets.prepare` chooses modalities and label and fits scalers, and
:mod:`~mimrl.datasets.loading` makes batches. These two need torch and are imported by themselves.
"""

from mimrl.datasets.catalogue import LAYOUTS, open_corpus, read_corpus
from mimrl.datasets.conversion import convert
from mimrl.datasets.features import SPLITS, Corpus, Ragged, Split
from mimrl.datasets.inspection import Inspection, inspect
from mimrl.datasets.paths import resolve_path

__all__ = [
    "LAYOUTS",
    "SPLITS",
    "Corpus",
    "Inspection",
    "Ragged",
    "Split",
    "convert",
    "inspect",
    "open_corpus",
    "read_corpus",
    "resolve_path",
]
