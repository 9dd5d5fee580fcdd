"""The restricted unpickler: data come through unchanged, everything else is refused unexecuted."""

from __future__ import annotations

import collections
import contextlib
import pickle
import pickletools
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimrl.datasets.pickles import ADMITTED, read_pickle
from mimrl.errors import DataError, MissingFileError, UnsafePickleError

DATA = {
    "floats": np.arange(12, dtype=np.float32).reshape(3, 4),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "swapped axes": np.arange(24.0).reshape(2, 3, 4).transpose(1, 0, 2),
    "big endian": np.arange(5, dtype=">f8"),
    "sliced": np.arange(10)[::3],
    "flags": np.array([True, False]),
    "complex": np.array([1 + 2j]),
    "half": np.array([0.5], dtype=np.float16),
    "strings": np.array(["ab", "ü", ""]),
    "bytes array": np.array([b"ab_1", b""]),
    "objects": np.array([["word", 1.5], [None, [np.zeros(2), "x"]]], dtype=object),
    "no rows": np.zeros((0, 7), dtype=np.float32),
    "zero axes": np.array(3.0),
    "scalar": np.float64(1.5),
    "small scalar": np.int8(-3),
    "string scalar": np.str_("id"),
    "bytes": b"\x00\xff",
    "empty bytes": b"",
    "set": {1, 2},
    "frozen": frozenset({"a"}),
    "complex number": 1 + 2j,
    "long": 1 << 80,
    "nested": [({"a": (1, None, True)},), [[]], ()],
}


def write(path: Path, content: object, protocol: int) -> Path:
    path.write_bytes(pickle.dumps(content, protocol))
    return path


def same(found: object, wanted: object) -> None:
    assert type(found) is type(wanted)
    if isinstance(wanted, np.ndarray):
        assert isinstance(found, np.ndarray)
        assert found.dtype == wanted.dtype.newbyteorder("=")
        assert found.shape == wanted.shape
        if wanted.dtype.hasobject:
            for one, other in zip(found.flat, wanted.flat, strict=True):
                same(one, other)
        else:
            np.testing.assert_array_equal(found, wanted)
    elif isinstance(wanted, dict):
        assert isinstance(found, dict)
        assert list(found) == list(wanted)
        for key in wanted:
            same(found[key], wanted[key])
    elif isinstance(wanted, (list, tuple)):
        assert isinstance(found, (list, tuple))
        for one, other in zip(found, wanted, strict=True):
            same(one, other)
    else:
        assert found == wanted


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_data_come_back_unchanged(tmp_path: Path, protocol: int) -> None:
    same(read_pickle(write(tmp_path / "data.pkl", DATA, protocol)), DATA)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_arrays_written_by_numpy_1(tmp_path: Path, protocol: int) -> None:
    content = pickle.dumps({"a": np.arange(3.0), "b": np.float32(2)}, protocol)
    old, new = b"numpy._core.multiarray", b"numpy.core.multiarray"
    if protocol >= 4:  # names carry their length, and so does the frame
        content = content.replace(bytes([len(old)]) + old, bytes([len(new)]) + new)
        content = content[:3] + struct.pack("<Q", len(content) - 11) + content[11:]
    else:
        content = content.replace(old, new)
    assert b"numpy.core" in content
    path = tmp_path / "old.pkl"
    path.write_bytes(content)
    same(read_pickle(path), {"a": np.arange(3.0), "b": np.float32(2)})


def test_pickle_of_python_2_with_array(tmp_path: Path) -> None:
    """As Python 2 and NumPy 1.16 write ``{'x': array([1.0, 256.0], 'f4'), 'id': 'caf\\xe9'}``."""
    content = (
        b"\x80\x02}q\x01(U\x01xq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq"
        b"\x04K\x00\x85q\x05U\x01bq\x06\x87q\x07Rq\x08(K\x01K\x02\x85q\tcnumpy\ndtype\nq\nU\x02f4q"
        b"\x0bK\x00K\x01\x87q\x0cRq\r(K\x03U\x01<q\x0eNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t"
        b"q\x0fb\x89U\x08\x00\x00\x80?\x00\x00\x80Cq\x10tq\x11bU\x02idq\x12U\x04caf\xe9q\x13u."
    )
    path = tmp_path / "python2.pkl"
    path.write_bytes(content)
    same(read_pickle(path), {"x": np.array([1, 256], dtype=np.float32), "id": "café"})


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_ordered_and_default_dicts_become_dicts(tmp_path: Path, protocol: int) -> None:
    ordered = collections.OrderedDict([("b", np.ones(2)), ("a", 1)])
    defaults = collections.defaultdict(list, {"x": [1]})
    path = write(tmp_path / "dicts.pkl", [ordered, defaults, ordered], protocol)
    found: Any = read_pickle(path)
    same(found, [{"b": np.ones(2), "a": 1}, {"x": [1]}, {"b": np.ones(2), "a": 1}])
    assert found[0] is found[2]


def test_shared_and_cyclic_references_stay(tmp_path: Path) -> None:
    array = np.arange(3)
    cycle: list[object] = [array, array]
    cycle.append(cycle)
    found: Any = read_pickle(write(tmp_path / "cycle.pkl", cycle, 4))
    assert found[0] is found[1]
    assert found[2] is found


def test_arrays_can_be_written_to(tmp_path: Path) -> None:
    for protocol in (2, 5):
        found: Any = read_pickle(write(tmp_path / "a.pkl", np.arange(3.0), protocol))
        found += 1


class Call:
    """Pickles as a call of ``function``."""

    def __init__(self, function: object, *args: object) -> None:
        self.function, self.args = function, args

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.args


def canary(path: Path) -> str:
    return f"open({str(path)!r}, 'w').close()"


def asks(module: str, name: str) -> bytes:
    """A protocol 4 pickle that calls ``module.name('x')``."""
    return (
        b"\x80\x04"
        + b"".join(b"\x8c" + bytes([len(s)]) + s.encode() for s in (module, name))
        + b"\x93\x8c\x01x\x85R."
    )


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("posix", "system"),
        ("builtins", "eval"),
        ("builtins", "exec"),
        ("builtins", "getattr"),
        ("builtins", "__import__"),
        ("builtins", "type"),
        ("builtins", "object"),
        ("builtins", "list.append"),
        ("__builtin__", "eval"),
        ("subprocess", "Popen"),
        ("numpy", "load"),
        ("numpy", "_core.multiarray._reconstruct"),
        ("numpy", "core.numeric._frombuffer.__globals__"),
        ("numpy", "dtype.__new__"),
        ("numpy", "fromfile"),
        ("numpy", "memmap"),
        ("numpy.testing._private.utils", "runstring"),
        ("numpy.testing", "rundocs"),
        ("numpy._core.multiarray", "fromfile"),
        ("numpy.core.multiarray", "scalar.__self__"),
        ("collections", "OrderedDict.fromkeys"),
        ("collections", "namedtuple"),
        ("_codecs", "lookup"),
        ("copyreg", "_reconstructor"),
        ("functools", "partial"),
        ("operator", "attrgetter"),
        ("pandas.core.frame", "DataFrame"),
        ("torch._utils", "_rebuild_tensor_v2"),
        ("mimrl.datasets.pickles", "read_pickle"),
    ],
)
def test_every_other_name_is_refused_by_name(tmp_path: Path, module: str, name: str) -> None:
    path = tmp_path / "bad.pkl"
    path.write_bytes(asks(module, name))
    with pytest.raises(UnsafePickleError, match="asks for") as caught:
        read_pickle(path)
    assert f"{module}.{name}" in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("nested", [False, True])
def test_nothing_runs(tmp_path: Path, protocol: int, nested: bool) -> None:
    mark = tmp_path / "was_run"
    call: object = Call(exec, canary(mark))
    content = {"train": [np.ones(2), call]} if nested else call
    with pytest.raises(UnsafePickleError, match=r"\.exec"):
        read_pickle(write(tmp_path / "bad.pkl", content, protocol))
    assert not mark.exists()


def glob(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


ENCODE = glob("_codecs", "encode")
ORDERED = glob("collections", "OrderedDict")
DEFAULT = glob("collections", "defaultdict")
DTYPE, NDARRAY = glob("numpy", "dtype"), glob("numpy", "ndarray")
RECONSTRUCT = glob("numpy.core.multiarray", "_reconstruct")
EMPTY = RECONSTRUCT + b"(" + NDARRAY + b"(I0\ntU\x01btR"  # an array before its state
TAMPERED = {
    "state of a function": ENCODE + b"}U\x08__code__I1\nsb",
    "slots of a function": ENCODE + b"(N}U\x08__code__I1\nstb",
    "slots of a class": ORDERED + b"(N}U\x06updateI1\nstb",
    "setstate of the array type": NDARRAY + b"(N}U\x0c__setstate__I1\nstb",
    "attributes of a dict": ORDERED + b")R}U\x05itemsI1\nsb",
    "call of the array type": NDARRAY + b"(I1000000000000\ntR",
    "instance of the array type": b"(i" + NDARRAY[1:],
    "new of the array type": NDARRAY + b")\x81",
    "new of a function": ENCODE + b")\x81",
    "another subclass": RECONSTRUCT + b"(" + ORDERED + b"(I0\ntU\x01btR",
    "structured dtype": DTYPE + b"(U\x05V8,i4I0\nI1\ntR",
    "raw memory dtype": DTYPE + b"(U\x02V8I0\nI1\ntR",
    "fields in the state": DTYPE
    + b"(U\x02f8I0\nI1\ntR(I3\nU\x01|N(U\x01atp1\n}U\x01a(NI0\ntsI8\nI1\nI0\ntb",
    "object pointers from bytes": EMPTY
    + b"(I1\n(I1\nt"
    + DTYPE
    + b"(U\x01OI0\nI1\ntR(I3\nU\x01|NNNI8\nI8\nI0\ntbI00\nU\x08AAAAAAAAtb",
    "more values than bytes": EMPTY
    + b"(I1\n(I1000000000000\nt"
    + DTYPE
    + b"(U\x02f8I0\nI1\ntRI00\nU\x08AAAAAAAAtb",
    "negative shape": EMPTY
    + b"(I1\n(I-1\nI-1\nt"
    + DTYPE
    + b"(U\x02f8I0\nI1\ntRI00\nU\x08AAAAAAAAtb",
    "empty items of any number": EMPTY
    + b"(I1\n(I1000000000000\nt"
    + DTYPE
    + b"(U\x02S0I0\nI1\ntRI00\nU\x00tb",
    "dtype that is text": EMPTY + b"(I1\n(I1\ntU\x02f8I00\nU\x08AAAAAAAAtb",
    "factory that is a function": DEFAULT + b"(" + ENCODE + b"tR",
    "other codec": ENCODE + b"(U\x01xU\x06rot_13tR",
    "bytes of any length": glob("builtins", "bytes") + b"(I1000000000000\ntR",
    "a type as a value": b"(" + NDARRAY + b"t",
    "a function in a list": b"(l" + ENCODE + b"a",
    "persistent id": b"Pid\n",
    "extension": b"\x82\x01",
}


@pytest.mark.parametrize("content", TAMPERED.values(), ids=TAMPERED.keys())
def test_tampering_with_admitted_names_is_refused(tmp_path: Path, content: bytes) -> None:
    before = {key: maker._make for key, maker in ADMITTED.items()}
    path = tmp_path / "bad.pkl"
    path.write_bytes(content + b".")
    with pytest.raises(DataError, match=r"bad\.pkl"):
        read_pickle(path)
    assert {key: maker._make for key, maker in ADMITTED.items()} == before


def test_object_array_that_holds_itself(tmp_path: Path) -> None:
    array = np.empty(1, dtype=object)
    array[0] = array
    with pytest.raises(DataError, match="RecursionError"):
        read_pickle(write(tmp_path / "self.pkl", array, 4))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"absent\.pkl does not exist"):
        read_pickle(tmp_path / "absent.pkl")


@pytest.mark.parametrize("content", [b"", b"not a pickle", b"\x89HDF\r\n\x1a\n\x00", b"PK\x03\x04"])
def test_something_else(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(content)
    with pytest.raises(DataError, match="expected a whole pickle"):
        read_pickle(path)


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a whole pickle"):
        read_pickle(tmp_path)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_truncated_anywhere(tmp_path: Path, protocol: int) -> None:
    whole = pickle.dumps({"a": np.arange(20.0), "b": ["x", (1, 2.0)]}, protocol)
    path = tmp_path / "cut.pkl"
    for size in range(0, len(whole) - 1, 7):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"cut\.pkl"):
            read_pickle(path)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damaged_anywhere(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A changed byte gives other data or a DataError (sizes left out: they only ask for memory)."""
    whole = bytearray(pickle.dumps({"a": np.arange(9.0), "b": [("x", 1.5), None]}, 2))
    sized = {"BINUNICODE", "BINBYTES", "LONG4", "LONG_BINPUT", "LONG_BINGET"}
    starts = [at for op, _, at in pickletools.genops(bytes(whole)) if op.name in sized]
    spans = [(at, at + 5) for at in starts if at is not None]
    places = [i for i in range(len(whole)) if not any(a <= i < b for a, b in spans)]
    sizing = {*b"BTXr\x8b\x8d\x8e\x95\x96"}
    whole[data.draw(st.sampled_from(places))] = data.draw(
        st.integers(0, 255).filter(lambda value: value not in sizing)
    )
    path = tmp_path_factory.getbasetemp() / "damaged.pkl"
    path.write_bytes(whole)
    with contextlib.suppress(DataError):
        read_pickle(path)


def test_real_files(data_root: Path) -> None:
    for name in ("mosi/mosi_utterance_mmsa.pkl", "mosi_misa/dev.pkl"):
        with (data_root / name).open("rb") as file:
            wanted = pickle.load(file)
        same(read_pickle(data_root / name), wanted)
