"""Every exception and warning that MIMRL and LSMI raise on purpose.

All errors descend from :class:`MimrlError`, so that a script can turn any of them into one message
and exit code 2; each is a built-in as well, so that a caller who does not know this module can
still write ``except ValueError``. A message says what was wrong (name, file, key), what was
expected, what was found, and what to do about it.
"""

from __future__ import annotations


class MimrlError(Exception):
    """Root of all errors raised on purpose."""


class ConfigError(MimrlError, ValueError):
    """Settings that cannot be used: unknown keys, wrong types, impossible combinations."""


class DataError(MimrlError, ValueError):
    """A data file whose content is not what its layout promises."""


class UnsafePickleError(DataError):
    """A pickle that asks for something other than arrays, strings, numbers and containers."""


class MissingFileError(MimrlError, FileNotFoundError):
    """A file, folder or installed package that does not exist."""


class CheckpointError(MimrlError, ValueError):
    """A checkpoint or run folder that cannot be read, or that another version wrote."""


class ShapeError(MimrlError, ValueError):
    """Arrays or tensors whose shapes do not fit together."""


class EstimationError(MimrlError, ValueError):
    """An information estimate that the data given do not allow (too few samples, one class...)."""


class ProcessError(MimrlError, RuntimeError):
    """One of several processes that train together ended or cannot be reached."""


class NonFiniteError(MimrlError, ArithmeticError):
    """A loss or an estimate became NaN or infinite; the message names the term, stage and step."""


class MimrlWarning(UserWarning):
    """Root of all warnings raised on purpose."""


class DataWarning(MimrlWarning):
    """Data were repaired or look doubtful: non-finite values, duplicate ids, empty sequences."""


class EstimationWarning(MimrlWarning):
    """An information estimate that its reader should not trust blindly."""


class CeilingWarning(EstimationWarning):
    """A bound reads close to the largest value that it can have."""


class VarianceWarning(EstimationWarning):
    """The standard error of an estimate is too large for its digits."""


class UndertrainedWarning(EstimationWarning):
    """A network was still getting better, or never got better, when its training ended."""


class TiesWarning(EstimationWarning):
    """Equal values in data that a method takes for continuous."""


class SampleSizeWarning(EstimationWarning):
    """Too few samples for the number of dimensions."""


class ConstantColumnWarning(EstimationWarning):
    """Columns that do not vary and were left out."""


class BiasWarning(EstimationWarning):
    """The method is known to be biased on data like these, or measures something else than MI."""


class TrainingWarning(MimrlWarning):
    """Training went on, but something about it deserves a look."""
