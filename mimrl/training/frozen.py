"""A frozen text encoder is run once: its outputs take the place of the token ids.

The same holds for the lower layers of one whose top learns (``cache_lower``).

Where they are: in memory up to :data:`MEMORY_BYTES` for all splits together; beyond that in a file,
from which each batch reads its own. With a cache folder they are in a file there in any case, and
the next run that needs the same ones finds them; of several that start at once, one computes them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import transformers
from tqdm import tqdm

from mimrl.datasets.features import FloatArray, Ragged
from mimrl.datasets.loading import iterate
from mimrl.datasets.prepare import Prepared, Samples
from mimrl.errors import TrainingWarning
from mimrl.model.encoders import TextEncoder
from mimrl.model.model import MIMRL
from mimrl.training import cache
from mimrl.training.cache import States, UnwritableError

TEXT = "text"
MEMORY_BYTES = 1 << 30
BATCH = 64  # not the training's: states in a cache must not depend on it
POOL = 8 * BATCH  # samples sorted by length before they are cut into batches


def with_hidden_states(
    model: MIMRL,
    data: Prepared,
    device: torch.device,
    *,
    folder: str | Path | None = None,
    progress: bool = True,
) -> Prepared:
    """``data`` with the fixed states of a text encoder in place of its token ids.

    Unchanged when all of the text encoder learns, or when there is none. The states are float32
    whatever the precision of the training, and the same with and without a folder, in memory and
    on disk.

    Args:
        model: on ``device``.
        data: with token ids.
        device: where to compute.
        folder: in which states are kept from run to run; None: computed anew.
        progress: show a bar, where standard error is a terminal.

    Warns:
        TrainingWarning: a damaged file in the folder, or one that cannot be written; the states
            are computed, and kept elsewhere. Or a folder, but nothing to keep in it.
    """
    encoder = model.text_encoder
    if encoder is None or not encoder.cached:
        if folder is not None:
            warnings.warn(
                "performance.cache has no effect: it is for a frozen text encoder "
                "(model.encoders.text.train=none, or top with cache_lower), and there is none",
                TrainingWarning,
                stacklevel=2,
            )
        return data
    ids = {name: samples.inputs[TEXT] for name, samples in data.splits.items()}
    digest = "" if folder is None else cache.encoder_digest(encoder.transformer)
    wanted = {
        name: States(
            "split" if folder is None else cache.key_of(digest, tokens, _how(encoder, device)),
            tokens.offsets,
            encoder.hidden_width,
        )
        for name, tokens in ids.items()
    }
    small = sum(states.nbytes for states in wanted.values()) <= MEMORY_BYTES
    place = None if folder is None else Path(folder).expanduser()
    splits = {}
    for name, samples in data.splits.items():
        texts = replace(samples, inputs={TEXT: ids[name]}, scalers={})
        run = _Run(encoder, texts, device, f"text encoder, {name}", progress)
        found = _states(run, wanted[name], place, small=small)
        splits[name] = replace(samples, inputs={**samples.inputs, TEXT: found})
    return replace(data, splits=splits)


def _how(encoder: TextEncoder, device: torch.device) -> str:
    """What changes the states besides weights and texts: the code of the encoder is not ours."""
    precision = torch.get_float32_matmul_precision()
    code = f"torch {torch.__version__} transformers {transformers.__version__}"
    part = f"valid rows, layers {encoder.lower or 'all'}"
    return f"float32 {precision} {device.type} {BATCH} {POOL} {part} {code}"


@dataclass(frozen=True)
class _Run:
    """One pass of the encoder over a split, of which ``samples`` have the token ids only."""

    encoder: TextEncoder
    samples: Samples
    device: torch.device
    title: str
    progress: bool

    def blocks(self) -> Iterator[FloatArray]:
        """The states of all samples in order, a pool at a time."""
        ids = self.samples.inputs[TEXT]
        with self.bar() as bar:
            for start in range(0, len(self.samples), POOL):
                rows = np.arange(start, min(start + POOL, len(self.samples)))
                first, last = int(ids.offsets[rows[0]]), int(ids.offsets[rows[-1] + 1])
                block = np.zeros((last - first, self.encoder.hidden_width), np.float32)
                self._encode(rows, block, first)
                yield block
                bar.update(len(rows))

    def bar(self, done: int = 0) -> tqdm:
        """Counts clips; silent without a terminal."""
        return tqdm(
            total=len(self.samples),
            initial=done,
            desc=self.title + (", from the cache" if done else ""),
            unit="clip",
            dynamic_ncols=True,
            disable=None if self.progress else True,
        )

    def waiting(self, holder: str) -> None:
        """Says where the bar would be for which process this one waits."""
        tqdm(
            desc=f"{self.title}: waiting for process {holder}, which computes it",
            bar_format="{desc}",
            dynamic_ncols=True,
            disable=None if self.progress else True,
        ).close()

    @torch.no_grad()
    def _encode(self, rows: np.ndarray, block: np.ndarray, first: int) -> None:
        """Fills the states of ``rows``, whose first token is the split's ``first``, in."""
        ids = self.samples.inputs[TEXT]
        starts = ids.offsets[rows] - first
        for batch in iterate(self.samples.select(rows), BATCH):
            lengths = batch.lengths[TEXT]
            fixed = self.encoder.fixed_states(batch.inputs[TEXT].to(self.device), lengths)
            hidden = fixed.cpu().numpy()
            for row, length, states in zip(batch.rows, lengths.tolist(), hidden, strict=True):
                start = starts[int(row)]
                block[start : start + length] = states[:length]


def _states(run: _Run, states: States, folder: Path | None, *, small: bool) -> Ragged:
    """The states, from the first place that has them or takes them."""
    if folder is not None:
        place = folder
        kept = _tried(lambda: _shared(run, states, place), "performance.cache: ")
        if kept is not None:
            return _loaded(kept) if small else kept
    if not small:
        kept = _tried(lambda: _temporary(run, states), "")
        if kept is not None:
            return kept
    values = np.zeros(states.shape, np.float32)
    end = 0
    for block in run.blocks():
        values[end : end + len(block)] = block
        end += len(block)
    return Ragged(values, states.offsets)


def _shared(run: _Run, states: States, folder: Path) -> Ragged:
    """The states from the cache, where this process or another one puts them."""
    kept, found = cache.shared(states, folder, run.blocks, run.waiting)
    if found:
        run.bar(done=len(run.samples)).close()
    return kept


def _tried(attempt: Callable[[], Ragged], where: str) -> Ragged | None:
    """What ``attempt`` gives; None and a warning where it cannot write."""
    try:
        return attempt()
    except UnwritableError as error:
        warnings.warn(
            f"{where}{error}; the hidden states of the text are kept elsewhere, for this run only",
            TrainingWarning,
            stacklevel=4,
        )
        return None


def _loaded(stored: Ragged) -> Ragged:
    return Ragged(np.asarray(stored.values[0 : stored.values.shape[0]]), stored.offsets)


def _temporary(run: _Run, states: States) -> Ragged:
    """States in a file that goes with the last thing that reads it, or with this process."""
    folder = Path(tempfile.mkdtemp(prefix="mimrl-states-"))
    try:
        stored = cache.keep(states, folder, run.blocks())
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(stored.values, _remove, folder, os.getpid())
    return stored


def _remove(folder: Path, owner: int) -> None:
    """Removes a folder of this process; worker processes hold copies of what guards it."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
