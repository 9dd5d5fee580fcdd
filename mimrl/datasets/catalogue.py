"""All layouts in two literal tables; a file's layout is recognised from its content.

A new layout is one module with ``LAYOUT``, ``matches`` and ``read``, and one row in one of the
tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import h5py

from mimrl.datasets import (
    avec2019,
    csd,
    hdf5,
    mfn,
    mimrl_sdk,
    mmsa,
    multibench,
    noalign,
    planted,
    repair,
    words,
)
from mimrl.datasets.features import SPLITS, Corpus
from mimrl.datasets.fields import describe
from mimrl.datasets.inspection import shared
from mimrl.datasets.paths import resolve_path
from mimrl.datasets.pickles import read_pickle
from mimrl.datasets.rowlists import folder_content, folder_sample
from mimrl.datasets.splitting import require_splits, split_by_file, split_by_group
from mimrl.datasets.stored import is_hdf5, opened
from mimrl.errors import DataError
from mimrl.settings import DataSettings

OPTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "embeddings": ("words",),
        "feature_sets": ("mimrl_sdk", "avec2019"),
        "feature_files": ("csd",),
        "label_file": ("noalign", "csd"),
    }
)
"""Settings that only some layouts read."""

SHOWN = 12  # entries of a container that a message lists


class PickleLayout(Protocol):
    """A layout of pickles: recognised and read from the unpickled content."""

    LAYOUT: str

    def matches(self, content: object) -> bool:
        """Whether the content is in this layout; never raises."""
        ...

    def read(self, content: object, path: Path, settings: DataSettings) -> Corpus:
        """The corpus in the content of the file ``path``."""
        ...


class PathLayout(Protocol):
    """A layout of HDF5 files or folders: recognised and read from the path."""

    LAYOUT: str

    def matches(self, path: Path) -> bool:
        """Whether the file or folder is in this layout."""
        ...

    def read(self, path: Path, settings: DataSettings) -> Corpus:
        """The corpus in the file or folder."""
        ...


PICKLE_LAYOUTS: Mapping[str, PickleLayout] = MappingProxyType(
    {
        "mmsa": mmsa,
        "multibench": multibench,
        "noalign": noalign,
        "words": words,
        "mimrl_sdk": mimrl_sdk,
        "avec2019": avec2019,
    }
)
FOLDER_LAYOUTS = ("words", "mimrl_sdk", "avec2019")
"""Layouts of pickles that may also be a folder with one file a split."""

PATH_LAYOUTS: Mapping[str, PathLayout] = MappingProxyType({"hdf5": hdf5, "mfn": mfn, "csd": csd})
LAYOUTS = ("planted", *PICKLE_LAYOUTS, *PATH_LAYOUTS)


def open_corpus(settings: DataSettings, *, require: Sequence[str] = SPLITS) -> Corpus:
    """The data that ``settings`` mean, ready for :func:`mimrl.datasets.prepare.prepare`.

    Reads the file in the layout named or recognised, sets non-finite features to 0, and makes
    splits where ``split_file`` or ``split_by_group`` ask for them.

    Args:
        settings: the group ``data`` of the settings.
        require: splits that must be there, with samples in them; training needs all three.

    Returns:
        The corpus; its ``repairs`` count everything that was mended.

    Raises:
        MissingFileError: the path does not exist.
        DataError: no layout fits, several fit, the named one does not, the content is not what
            the layout promises, or a required split is absent.

    Warns:
        DataWarning: once, listing all repairs and ids that two splits share.
    """
    corpus = repair.repair(read_corpus(settings))
    if settings.split_file is not None:
        lists = resolve_path(settings.split_file, called="data.split_file")
        corpus = split_by_file(corpus, lists)
    elif settings.split_by_group is not None:
        corpus = split_by_group(corpus, settings.split_by_group, settings.split_seed)
    require_splits(corpus, require)
    doubles = shared({name: split.ids for name, split in corpus.splits.items()})
    repair.warn(
        corpus.source,
        {**corpus.repairs, **{f"ids in both {pair}": count for pair, count in doubles.items()}},
    )
    return corpus


def read_corpus(settings: DataSettings) -> Corpus:
    """The data as the file has them: not repaired, in the file's own splits.

    Raises:
        MissingFileError: the path does not exist.
        DataError: as :func:`open_corpus`; also a setting that the layout found does not read.
    """
    if settings.layout == "planted":
        return planted.generate(
            settings.planted, "classification" if settings.target == "class" else "regression"
        )
    path = resolve_path(_path_of(settings))
    by_path = path.is_dir() or is_hdf5(path) or settings.layout in PATH_LAYOUTS
    corpus = _read_path(path, settings) if by_path else _read_pickle(path, settings)
    _refuse_idle_options(corpus, settings)
    _check_modalities(corpus)
    return corpus


def _refuse_idle_options(corpus: Corpus, settings: DataSettings) -> None:
    """A setting that the layout found does not read would be ignored in silence."""
    idle = [
        f"data.{name} (read by {', '.join(layouts)})"
        for name, layouts in OPTIONS.items()
        if getattr(settings, name) and corpus.layout not in layouts
    ]
    if idle:
        raise DataError(
            f"{corpus.source} is in the layout '{corpus.layout}', in which these settings have no "
            f"effect: {', '.join(idle)}; remove them"
        )


def _path_of(settings: DataSettings) -> str:
    path = settings.path or settings.label_file
    if path is None:
        raise DataError("data.feature_files needs data.label_file, whose segments are the samples")
    return path


def _read_path(path: Path, settings: DataSettings) -> Corpus:
    fitting = [name for name, layout in PATH_LAYOUTS.items() if layout.matches(path)]
    sample = folder_sample(path)
    folders = [name for name in FOLDER_LAYOUTS if PICKLE_LAYOUTS[name].matches(sample)]
    name = _chosen([*fitting, *folders], path, _look(path), settings)
    if name in PATH_LAYOUTS:
        return PATH_LAYOUTS[name].read(path, settings)
    return PICKLE_LAYOUTS[name].read(folder_content(path), path, settings)


def _read_pickle(path: Path, settings: DataSettings) -> Corpus:
    content = read_pickle(path)
    fitting = [name for name, layout in PICKLE_LAYOUTS.items() if layout.matches(content)]
    name = _chosen(fitting, path, _summary(content), settings)
    return PICKLE_LAYOUTS[name].read(content, path, settings)


def _chosen(fitting: Sequence[str], path: Path, found: str, settings: DataSettings) -> str:
    """The one layout to read with."""
    if settings.layout != "auto":
        if settings.layout in fitting:
            return settings.layout
        advice = f"it looks like {' or '.join(fitting)}" if fitting else "no known layout fits it"
        raise DataError(
            f"{path}: expected the layout '{settings.layout}' that data.layout names, got {found}; "
            f"{advice}. Set data.layout=auto, or name the file that was meant"
        )
    if not fitting:
        raise DataError(
            f"{path}: expected one of the layouts {', '.join(LAYOUTS[1:])} (data/README.md "
            f"describes them), got {found}"
        )
    if len(fitting) > 1:
        raise DataError(
            f"{path}: fits the layouts {' and '.join(fitting)}; say which with data.layout"
        )
    return fitting[0]


def _look(path: Path) -> str:
    """What a folder or an HDF5 file holds, for messages."""
    if path.is_dir():
        names = sorted(item.name for item in path.iterdir())
        return f"a folder with {_listed(names)}"
    with opened(path) as file:
        kinds = {name: "group" if isinstance(file[name], h5py.Group) else "array" for name in file}
    return f"an HDF5 file with {_listed([f'{name} ({kind})' for name, kind in kinds.items()])}"


def _summary(content: object) -> str:
    """What the top of a pickle is, for messages."""
    if isinstance(content, dict):
        entries = [f"{key!r}: {describe(value)}" for key, value in content.items()]
        inner = next((v for v in content.values() if isinstance(v, dict)), {})
        below = f"; the first holds {_listed([repr(key) for key in inner])}" if inner else ""
        return f"a dictionary of {_listed(entries)}{below}"
    if isinstance(content, list | tuple) and content:
        return f"{describe(content)}, the first item being {describe(content[0])}"
    return describe(content)


def _listed(entries: Sequence[str]) -> str:
    more = f" and {len(entries) - SHOWN} more" if len(entries) > SHOWN else ""
    return (", ".join(entries[:SHOWN]) or "nothing") + more


def _check_modalities(corpus: Corpus) -> None:
    """Splits must have the same modalities, and each modality one width where it has any."""
    for name, split in corpus.splits.items():
        if set(split.sequences) != set(corpus.modalities):
            raise DataError(
                f"{corpus.source}: split {name} has {sorted(split.sequences)}, others have "
                f"{sorted(corpus.modalities)}; every split needs the same modalities"
            )
    for modality in corpus.modalities:
        widths = {
            name: split.sequences[modality].width
            for name, split in corpus.splits.items()
            if split.sequences[modality].width > 0
        }
        if len(set(widths.values())) > 1:
            raise DataError(
                f"{corpus.source}: {modality} has a different number of features in each split: "
                f"{widths}; the files must come from one extraction"
            )
