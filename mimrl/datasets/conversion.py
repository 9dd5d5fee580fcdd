"""From any layout to our own HDF5 file."""

from __future__ import annotations

from pathlib import Path

from mimrl.datasets import hdf5
from mimrl.datasets.catalogue import open_corpus
from mimrl.datasets.features import Corpus
from mimrl.errors import DataError
from mimrl.settings import DataSettings


def convert(settings: DataSettings, target: Path, *, progress: bool = False) -> Corpus:
    """Reads the data that ``settings`` mean, repairs and splits them, and writes one HDF5 file.

    The file is written beside ``target`` and renamed at the end, so that ``target`` is either
    whole or as it was. It need not have all three splits.

    Args:
        settings: where the data are; the modalities and label of a training play no part.
        target: the file to make.
        progress: show a progress bar where standard error is a terminal.

    Returns:
        The corpus that was written.

    Raises:
        MissingFileError: the data do not exist.
        DataError: they cannot be read, or ``target`` cannot be written or is another file.

    Warns:
        DataWarning: what was repaired.
    """
    _check_target(target)
    corpus = open_corpus(settings, require=())
    source = Path(corpus.source)
    made_from = hdf5.origin(source) if corpus.layout == hdf5.LAYOUT else None
    hdf5.write(corpus, target, made_from=made_from, progress=progress)
    return corpus


def _check_target(target: Path) -> None:
    """Says at once what writing would say only after a long reading."""
    if target.is_dir() or not target.parent.is_dir():
        raise DataError(f"{target}: expected the name of a file in a folder that exists")
    hdf5.refuse_other_files(target)
