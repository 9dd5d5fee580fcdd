"""Files are replaced as a whole, or stay as they were."""

import pytest

from mimrl.mi.writing import written_whole


def test_a_file_appears_with_its_last_byte(tmp_path):
    path = tmp_path / "table.csv"
    for text in ("old", "new"):
        with written_whole(path) as beside:
            beside.write_text(text)
            assert beside.parent == tmp_path  # a rename works within one file system only
            assert path.exists() == (text == "new")
        assert path.read_text() == text
    assert list(tmp_path.iterdir()) == [path]


def interrupted(path):
    with written_whole(path) as beside:
        beside.write_text("ne")
        raise KeyboardInterrupt


def test_a_writer_that_fails_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        interrupted(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), written_whole(tmp_path / "none" / "table.csv") as beside:
        beside.write_text("new")
