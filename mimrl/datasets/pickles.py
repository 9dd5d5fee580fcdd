"""Reading other people's pickles without running anything they ask for.

A pickle is a program: it names Python objects by module and name and calls them. Here each name it
may use stands for a small function of ours that builds plain data from plain data, so nothing else
can be reached: neither through other names, nor by dotted names, nor by overwriting the state of
what is admitted. Admitted are NumPy arrays, dtypes and scalars as NumPy 1 and 2 write them (object
arrays included), strings, bytes, numbers and containers; Python 2's pickles are read as latin-1.
Structured and pandas types are not admitted: their state can hold raw pointers or run code.

Arrays and dtypes are first read as inert records and turned into NumPy objects in a second walk,
from checked dtype, shape and bytes only. ``OrderedDict`` and ``defaultdict`` come back as ``dict``.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from mimrl.errors import DataError, MimrlError, MissingFileError, UnsafePickleError

_DTYPE = re.compile(r"[<>=|]?(?:b1|[iu][1248]|f(?:2|4|8|16)|c(?:8|16|32)|O[48]?|[SaU]\d+|\?)")
_DTYPE_STATE = 8  # version, byte order, subarray, names, fields, size, alignment, flags


class _Record:
    """State of an array or dtype as a pickle gave it; holds data and does nothing."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]


class _DtypeRecord(_Record):
    """A dtype: its code, then its byte order by BUILD."""

    __slots__ = ("dtype",)

    def __init__(self, code: object, *_flags: object) -> None:
        code = code.decode("ascii", "replace") if isinstance(code, bytes) else code
        if not isinstance(code, str) or not _DTYPE.fullmatch(code):
            raise UnsafePickleError(f"dtype {code!r} is not of numbers, strings or objects")
        self.dtype = np.dtype("O" if "O" in code else code)

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) < _DTYPE_STATE:
            raise ValueError(f"state of a dtype is {type(state).__name__}")
        _, order, subarray, names, fields, *_ = state
        if not (subarray is None and names is None and fields is None):
            raise UnsafePickleError("structured dtypes are not admitted")
        order = order.decode("ascii", "replace") if isinstance(order, bytes) else order
        if order not in ("<", ">", "=", "|"):
            raise ValueError(f"byte order {order!r}")
        if self.dtype.kind not in "bO" and order in ("<", ">"):
            self.dtype = self.dtype.newbyteorder("<" if order == "<" else ">")


class _ArrayRecord(_Record):
    """An array: shape, dtype, order and content, given by BUILD or at once."""

    __slots__ = ("axes", "content", "dtype", "fortran", "shape")

    def __init__(self) -> None:
        self.shape: object = (0,)
        self.dtype: object = _DtypeRecord("i1")
        self.fortran: object = False
        self.content: object = b""
        self.axes: object = None  # order of the axes in memory, which NumPy 2.3 and later may give

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise ValueError(f"state of an array is {type(state).__name__}")
        self.shape, self.dtype, self.fortran, self.content = state[-4:]


class _Mapping(dict[Any, Any]):
    """An ``OrderedDict`` or ``defaultdict`` while it is read; its attributes cannot be set."""

    __slots__ = ()

    def __setstate__(self, state: object) -> NoReturn:
        raise UnsafePickleError("attributes of containers are not admitted")


class _Maker:
    """What an admitted name stands for: may be called, but neither inspected nor changed."""

    __slots__ = ("_make",)
    __hash__ = None  # type: ignore[assignment]
    _make: Callable[..., Any]

    def __init__(self, make: Callable[..., Any]) -> None:
        object.__setattr__(self, "_make", make)

    def __call__(self, *args: object) -> Any:
        return self._make(*args)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise UnsafePickleError("attributes of functions are not admitted")

    def __setstate__(self, state: object) -> NoReturn:
        raise UnsafePickleError("attributes of functions are not admitted")


def _refused(*_args: object) -> NoReturn:
    raise UnsafePickleError("types may be named here, not called")


def _reconstruct(kind: object, *_args: object) -> _ArrayRecord:
    if kind is not _NDARRAY:
        raise UnsafePickleError("subclasses of numpy.ndarray are not admitted")
    return _ArrayRecord()


def _from_buffer(
    buffer: object, dtype: object, shape: object, order: object, axes: object = None
) -> _ArrayRecord:
    record = _ArrayRecord()
    record.__setstate__((shape, dtype, order == "F", buffer))
    record.axes = axes if order == "K" else None
    return record


def _scalar(dtype: object, content: object = b"") -> Any:
    kind = _known_dtype(dtype)
    if kind.hasobject:
        return content
    return _numbers(content, kind, 1)[0]


def _encode(text: object, encoding: object = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise UnsafePickleError(f"_codecs.encode with encoding {encoding!r}")
    return text.encode("latin1")


def _bytes(content: object = b"", encoding: object = "latin1") -> bytes:
    return content if isinstance(content, bytes) else _encode(content, encoding)


def _mapping(items: object = ()) -> _Mapping:
    if not isinstance(items, (list, tuple)):
        raise ValueError(f"items of a mapping are {type(items).__name__}")
    return _Mapping(items)


def _default_mapping(factory: object = None, items: object = ()) -> _Mapping:
    if factory is not None and factory not in (_LIST, _DICT, _SET, _INT, _FLOAT):
        raise UnsafePickleError("defaultdict of something other than list, dict, set or numbers")
    return _mapping(items)


def _collected(kind: type) -> Callable[..., Any]:
    def collect(items: object = ()) -> Any:
        if not isinstance(items, (list, tuple, set, frozenset)):
            raise ValueError(f"items of a {kind.__name__} are {type(items).__name__}")
        return kind(items)

    return collect


def _complex(real: object, imaginary: object) -> complex:
    if not isinstance(real, (int, float)) or not isinstance(imaginary, (int, float)):
        raise ValueError("parts of a complex number are not numbers")
    return complex(real, imaginary)


_NDARRAY = _Maker(_refused)
_LIST, _DICT, _SET = _Maker(_collected(list)), _Maker(_mapping), _Maker(_collected(set))
_INT, _FLOAT = _Maker(_refused), _Maker(_refused)


def _admitted() -> dict[tuple[str, str], _Maker]:
    """Module and name, as Python 2 and 3 and NumPy 1 and 2 write them -> what is used instead."""
    names = {
        ("numpy", "ndarray"): _NDARRAY,
        ("numpy", "dtype"): _Maker(_DtypeRecord),
        ("_codecs", "encode"): _Maker(_encode),
        ("collections", "OrderedDict"): _DICT,
        ("collections", "defaultdict"): _Maker(_default_mapping),
    }
    for core in ("numpy.core", "numpy._core"):
        names[f"{core}.multiarray", "_reconstruct"] = _Maker(_reconstruct)
        names[f"{core}.multiarray", "scalar"] = _Maker(_scalar)
        names[f"{core}.numeric", "_frombuffer"] = _Maker(_from_buffer)
    plain = {
        "list": _LIST,
        "dict": _DICT,
        "set": _SET,
        "frozenset": _Maker(_collected(frozenset)),
        "bytes": _Maker(_bytes),
        "bytearray": _Maker(_bytes),
        "complex": _Maker(_complex),
        "int": _INT,
        "float": _FLOAT,
    }
    for builtins in ("builtins", "__builtin__"):
        names |= {(builtins, name): maker for name, maker in plain.items()}
    return names


ADMITTED: Mapping[tuple[str, str], _Maker] = MappingProxyType(_admitted())


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """What an admitted name stands for; anything else is refused, dotted names included."""
        if (module, name) not in ADMITTED:
            raise UnsafePickleError(f"it asks for {module}.{name}")
        return ADMITTED[module, name]


def read_pickle(path: Path) -> object:
    """The data in a pickle: arrays, strings, numbers and containers, nothing else.

    Args:
        path: a file written by ``pickle.dump`` of Python 2 or 3, any protocol.

    Returns:
        Its first object; arrays in native byte order.

    Raises:
        MissingFileError: no such file.
        UnsafePickleError: the pickle asks for anything but the types above; the message names it.
        DataError: the file is truncated, damaged, empty, or not a pickle.
    """
    if not path.exists():
        raise MissingFileError(f"{path} does not exist")
    try:
        with path.open("rb") as file:
            return _Walk().plain(_Unpickler(file, encoding="latin1").load())
    except UnsafePickleError as error:
        raise UnsafePickleError(
            f"{path}: refused, because {error}; only NumPy arrays, strings, numbers and "
            "containers are read from pickles. If you trust the file, load it yourself and save "
            "those values alone under the keys of the layout"
        ) from error
    except MimrlError:
        raise
    except Exception as error:  # a damaged pickle can fail in every way Python can
        raise DataError(
            f"{path}: expected a whole pickle or HDF5 file, but it is empty, truncated, damaged or "
            f"something else ({type(error).__name__}: {' '.join(str(error).split())}); copy or "
            "download it again"
        ) from error


class _Walk:
    """Replaces the records in what was read by NumPy objects, each shared record once."""

    def __init__(self) -> None:
        # A value is kept beside its replacement, so that its id is not given to another one.
        self._done: dict[int, tuple[object, object]] = {}

    def plain(self, value: object) -> object:
        """``value`` with NumPy arrays and dtypes, and plain dicts."""
        if isinstance(value, _Maker):
            raise UnsafePickleError("it holds a type or function as a value")
        if not isinstance(value, (_Record, dict, list, tuple)):
            return value
        if id(value) in self._done:
            return self._done[id(value)][1]
        if isinstance(value, dict):
            return self._dict(value)
        if isinstance(value, list):
            self._done[id(value)] = (value, value)
            value[:] = [self.plain(item) for item in value]
            return value
        result: object
        if isinstance(value, tuple):
            result = tuple(self.plain(item) for item in value)
        elif isinstance(value, _ArrayRecord):
            result = self._array(value)
        else:
            result = _known_dtype(value)
        self._done[id(value)] = (value, result)
        return result

    def _dict(self, value: dict[Any, Any]) -> dict[Any, Any]:
        result = value if type(value) is dict else dict(value)
        self._done[id(value)] = (value, result)
        for key in result:
            result[key] = self.plain(result[key])
        return result

    def _array(self, record: _ArrayRecord) -> npt.NDArray[np.generic]:
        dtype, shape = _known_dtype(record.dtype), record.shape
        if isinstance(shape, int):
            shape = (shape,)
        if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError(f"shape {shape!r} of an array")
        size = 1
        for n in shape:
            size *= n
        flat: npt.NDArray[np.generic]
        if dtype.hasobject:
            flat = self._objects(record.content, size)
        else:
            flat = _numbers(record.content, dtype, size)
        record.content = b""  # large files would be in memory twice otherwise
        values = flat.reshape(shape, order="F" if record.fortran else "C")
        if record.axes is None:
            return values
        if not isinstance(record.axes, (tuple, list)):
            raise ValueError(f"axes {record.axes!r} of an array")
        return values.transpose(record.axes)

    def _objects(self, content: object, size: int) -> npt.NDArray[np.generic]:
        if not isinstance(content, list) or len(content) != size:
            raise ValueError(f"an object array of {size} values has other content")
        flat = np.empty(size, dtype=object)
        for i, item in enumerate(content):
            flat[i] = self.plain(item)
        return flat


def _known_dtype(value: object) -> np.dtype[Any]:
    if not isinstance(value, _DtypeRecord):
        raise UnsafePickleError(f"an array has dtype {type(value).__name__}")
    return value.dtype


def _numbers(content: object, dtype: np.dtype[Any], size: int) -> npt.NDArray[np.generic]:
    """``size`` values of ``dtype`` from their bytes, writable and in native byte order."""
    raw = content.encode("latin1") if isinstance(content, str) else content
    if not isinstance(raw, (bytes, bytearray)) or len(raw) != size * dtype.itemsize:
        raise ValueError(f"an array of {size} values of {dtype} has other content")
    if size == 0:
        return np.zeros(0, dtype.newbyteorder("="))
    values = np.frombuffer(raw, dtype=dtype, count=size)
    return values.astype(dtype.newbyteorder("="), copy=not isinstance(raw, bytearray))
