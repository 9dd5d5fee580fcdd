"""Files are replaced as a whole, or stay as they were."""

import os

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


def test_a_private_file_is_opened_to_those_who_may_read_others(tmp_path):
    """As ``safetensors`` makes them; runs are shared in a group's folder."""
    umask = os.umask(0o027)
    try:
        with written_whole(tmp_path / "private") as beside:
            beside.unlink()
            beside.touch(0o600)
    finally:
        os.umask(umask)
    assert (tmp_path / "private").stat().st_mode & 0o777 == 0o640


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
