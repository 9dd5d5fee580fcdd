"""Columns of users' files: every format, every way to name them, every message."""

import h5py
import numpy as np
import pandas as pd
import pytest

from mimrl.errors import ConfigError, DataError, MissingFileError, ShapeError
from mimrl.mi.estimation.variables import read_variables

ROWS = 12
TABLE = np.arange(ROWS * 4.0).reshape(ROWS, 4) / 8
NAMES = ["height", "weight", "age", "x, y"]


@pytest.fixture
def csv(tmp_path):
    path = tmp_path / "table.csv"
    pd.DataFrame(TABLE, columns=NAMES).to_csv(path, index=False)
    return path


@pytest.fixture
def npz(tmp_path):
    path = tmp_path / "arrays.npz"
    np.savez(
        path,
        x=TABLE[:, :3],
        y=TABLE[:, 3],
        short=TABLE[:5, 0],
        cube=np.zeros((2, 2, 2)),
        text=np.array(["a", "b"]),
        **{"a:0-1": TABLE[:, 0]},
    )
    return path


def read(path, x, y="age", **more):
    return read_variables(path, {"x": x.split(" "), "y": [y]}, **more)


class TestNames:
    @pytest.mark.parametrize(
        ("words", "places"),
        [
            ("height", [0]),
            ("weight height", [1, 0]),
            ("weight,height", [1, 0]),
            ("0", [0]),
            ("0-1", [0, 1]),
            ("1,0", [1, 0]),
            ("*eight", [0, 1]),
            ("hei*,1", [0, 1]),
        ],
    )
    def test_columns_of_a_table(self, csv, words, places):
        found = read(csv, words)
        assert np.array_equal(found.arrays["x"], TABLE[:, places])
        assert np.array_equal(found.arrays["y"], TABLE[:, [2]])
        assert found.columns["x"] == [NAMES[place] for place in places]
        assert found.rows == ROWS

    def test_a_name_with_a_comma(self, csv):
        found = read_variables(csv, {"x": ["x, y"], "y": ["age"]})
        assert np.array_equal(found.arrays["x"], TABLE[:, [3]])

    def test_a_name_that_looks_like_a_range_wins(self, tmp_path):
        path = tmp_path / "t.csv"
        pd.DataFrame(TABLE, columns=["a", "b", "0-1", "age"]).to_csv(path, index=False)
        assert np.array_equal(read(path, "0-1").arrays["x"], TABLE[:, [2]])

    @pytest.mark.parametrize(
        ("word", "places", "labels"),
        [
            ("x", [0, 1, 2], ["x:0", "x:1", "x:2"]),
            ("x:1", [1], ["x:1"]),
            ("x:0-1", [0, 1], ["x:0", "x:1"]),
            ("x:2,x:0", [2, 0], ["x:2", "x:0"]),
            ("a:0-1", [0], ["a:0-1"]),
        ],
    )
    def test_columns_of_arrays(self, npz, word, places, labels):
        found = read(npz, word, "y")
        assert np.array_equal(found.arrays["x"], TABLE[:, places])
        assert np.array_equal(found.arrays["y"], TABLE[:, [3]])
        assert found.columns == {"x": labels, "y": ["y"]}


class TestFormats:
    @pytest.mark.parametrize("separator", [",", ";", "\t"])
    @pytest.mark.parametrize("header", [True, False])
    def test_text(self, tmp_path, separator, header):
        path = tmp_path / "t.txt"
        frame = pd.DataFrame(TABLE, columns=["a", "b c", "d", "e"])
        frame.to_csv(path, sep=separator, header=header, index=False)
        words = {"x": ["b c" if header else "1", "0"], "y": ["3"]}
        found = read_variables(path, words)
        assert np.array_equal(found.arrays["x"], TABLE[:, [1, 0]])
        assert np.array_equal(found.arrays["y"], TABLE[:, [3]])

    def test_text_with_a_byte_order_mark_and_spaces(self, tmp_path):
        path = tmp_path / "t.csv"
        path.write_text("\ufeffa, b\n1, 2\n3, 4\n", encoding="utf-8")
        found = read_variables(path, {"x": ["a"], "y": ["b"]})
        assert found.arrays["x"].tolist() == [[1], [3]]
        assert found.arrays["y"].tolist() == [[2], [4]]

    def test_text_with_separators_at_the_ends_of_lines(self, tmp_path):
        path = tmp_path / "t.csv"
        path.write_text("a,b\n1,2,\n3,4,\n")
        found = read_variables(path, {"x": ["a"], "y": ["b"]})
        assert found.arrays["x"].tolist() == [[1], [3]]

    def test_truth_values_are_numbers(self, tmp_path):
        path = tmp_path / "t.csv"
        path.write_text("a,b\nTrue,2\nFalse,4\n")
        found = read_variables(path, {"x": ["a"], "y": ["b"]})
        assert found.arrays["x"].tolist() == [[1], [0]]

    @pytest.mark.parametrize("array", [TABLE, TABLE.astype(np.float32), (TABLE * 8).astype(int)])
    def test_one_array(self, tmp_path, array):
        np.save(tmp_path / "t.npy", array)
        found = read_variables(tmp_path / "t.npy", {"x": ["0-1"], "y": ["3"]})
        assert np.array_equal(found.arrays["x"], array[:, :2])
        assert found.arrays["x"].dtype == np.float64

    def test_hdf5(self, tmp_path):
        with h5py.File(tmp_path / "t.h5", "w") as file:
            file["inside/x"] = TABLE
            file["y"] = TABLE[:, 0]
        found = read_variables(tmp_path / "t.h5", {"x": ["inside/x:1-2"], "y": ["y"]})
        assert np.array_equal(found.arrays["x"], TABLE[:, 1:3])
        assert found.columns["x"] == ["inside/x:1", "inside/x:2"]

    def test_parquet(self, tmp_path, monkeypatch):
        """The package that reads it may be missing, so pandas' reader is stood in for."""
        path = tmp_path / "t.parquet"
        path.write_bytes(b"any")
        frame = pd.DataFrame(TABLE, columns=NAMES)
        monkeypatch.setattr(pd, "read_parquet", lambda _: frame)
        assert np.array_equal(read(path, "weight").arrays["x"], TABLE[:, [1]])

        def missing(_):
            raise ImportError("no pyarrow")

        monkeypatch.setattr(pd, "read_parquet", missing)
        with pytest.raises(MissingFileError, match=r"no pyarrow.*save the data as CSV or npz"):
            read(path, "weight")


class TestMissingValues:
    @pytest.fixture
    def gaps(self, tmp_path):
        values = TABLE.copy()
        values[[3, 9], 0], values[4, 2] = np.nan, np.inf
        path = tmp_path / "gaps.csv"
        pd.DataFrame(values, columns=NAMES).to_csv(path, index=False)
        return path

    def test_are_told_with_their_rows(self, gaps):
        with pytest.raises(DataError) as error:
            read(gaps, "height weight")
        assert "height in 2 of 12 rows (3, 9); age in 1 of 12 rows (4)" in str(error.value)
        assert "--drop-missing" in str(error.value)

    def test_can_be_left_out(self, gaps):
        found = read(gaps, "height weight", drop_missing=True)
        kept = [row for row in range(ROWS) if row not in (3, 4, 9)]
        assert found.left_out == 3
        assert np.array_equal(found.arrays["x"], TABLE[kept][:, :2])
        assert np.array_equal(found.arrays["y"], TABLE[kept][:, [2]])

    def test_only_columns_that_are_used_matter(self, gaps):
        assert read(gaps, "weight", "x, y").left_out == 0


class TestMessages:
    @pytest.mark.parametrize(
        ("words", "kind", "text"),
        [
            ("hieght", DataError, "no column 'hieght'; did you mean height, weight?"),
            ("Age", DataError, "no column 'Age'; did you mean age?"),
            ("zzz", DataError, "no column 'zzz'; there are height, weight, age"),
            ("7", DataError, "'7': expected columns from 0 to 3"),
            ("2-1", DataError, "'2-1': expected columns from 0 to 3"),
            ("height 0", ConfigError, "named twice: height"),
            ("age", ConfigError, "column age is in x and in y"),
            (",", ConfigError, "no column is named; expected a name"),
        ],
    )
    def test_columns_of_a_table(self, csv, words, kind, text):
        with pytest.raises(kind) as error:
            read(csv, words)
        assert text in str(error.value)

    @pytest.mark.parametrize(
        ("words", "kind", "text"),
        [
            ("X", DataError, "no array 'X'; did you mean x?"),
            ("x:3", DataError, "'3': expected columns from 0 to 2"),
            ("x:a", DataError, "'x:a': expected NAME, NAME:3 or NAME:0-4"),
            ("cube", DataError, r"array cube must be (N,) or (N, d), got (2, 2, 2)"),
            ("short", ShapeError, "x (short) has 5, y (y) has 12"),
            ("x x:0", ConfigError, "named twice: x:0"),
        ],
    )
    def test_columns_of_arrays(self, npz, words, kind, text):
        with pytest.raises(kind) as error:
            read(npz, words, "y")
        assert text in str(error.value)

    def test_text_in_a_column(self, tmp_path):
        path = tmp_path / "t.csv"
        path.write_text("a,age\n1,2\n?,3\n4,5\nlow,5\n,5\n")
        with pytest.raises(DataError, match=r"column a holds text: '\?' in row 1 .* and 1 more"):
            read(path, "a")

    def test_text_in_an_array(self, npz):
        with pytest.raises(DataError, match="column text holds text: 'a' in row 0"):
            read_variables(npz, {"x": ["text"]})

    def test_complex_numbers(self, tmp_path):
        np.savez(tmp_path / "t.npz", x=np.ones(3) * 1j)
        with pytest.raises(DataError, match="column x must hold real numbers, got complex128"):
            read_variables(tmp_path / "t.npz", {"x": ["x"]})

    @pytest.mark.parametrize(
        ("name", "content", "text"),
        [
            ("t.npz", b"not a zip", "cannot be read as a .npz file"),
            ("t.npy", b"nonsense", "cannot be read as a .npy file"),
            ("t.h5", b"nonsense", "cannot be read as a .h5 file"),
            ("t.csv", b"", "its first line is empty"),
            ("t.csv", b"a,b,a\n1,2,3\n", "several columns are called 'a'"),
            ("t.csv", b"\xff\xfe\x00a\n", "cannot be read as a .csv file"),
            ("t.csv", b"a,age\n1,2\n1,2,3,4\n", "Expected 2 fields in line 3, saw 4"),
            ("t.csv", b"a,age\n0,5,1,5\n0,7,1,9\n", "does not match length of data"),
            ("t.docx", b"", "expected a file of one of .npz, .npy"),
        ],
    )
    def test_files(self, tmp_path, name, content, text):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError) as error:
            read(tmp_path / name, "a")
        assert text in str(error.value)
        assert name in str(error.value)

    def test_pickles_are_not_opened(self, tmp_path):
        np.savez(tmp_path / "t.npz", x=np.array([{"a": 1}], dtype=object))
        with pytest.raises(DataError, match=r"t\.npz cannot be read"):
            read_variables(tmp_path / "t.npz", {"x": ["x"]})

    def test_no_file(self, tmp_path):
        with pytest.raises(MissingFileError, match=r"none\.csv is not a file"):
            read(tmp_path / "none.csv", "a")

    def test_an_archive_under_the_name_of_an_array_and_back(self, tmp_path):
        np.savez(tmp_path / "a.npz", x=TABLE)
        (tmp_path / "a.npz").rename(tmp_path / "a.npy")
        with pytest.raises(DataError, match=r"several arrays; call it \.npz"):
            read(tmp_path / "a.npy", "x")
        np.save(tmp_path / "b.npy", TABLE)
        (tmp_path / "b.npy").rename(tmp_path / "b.npz")
        with pytest.raises(DataError, match=r"single array; call it \.npy"):
            read(tmp_path / "b.npz", "x")
