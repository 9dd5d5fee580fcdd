"""A journal survives the death of a worker in the middle of a line."""

from __future__ import annotations

import json

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from tune.made_up_search import worker

from mimrl.errors import ConfigError
from mimrl.tune import storage
from mimrl.tune.ledger import COMPLETE, read
from mimrl.tune.storage import open_storage

ENTRY = '{"op_code":4,"worker_id":"gone","trial_id":0,"values":[0.25],"user_attr":{"a":"\\u00e9"}}'


@pytest.fixture
def journal(tmp_path):
    """Two trials by a worker that has ended."""
    path = tmp_path / "study.log"
    worker(f"journal:///{path}", tmp_path, 2).run()
    return path


def append(path, text):
    with path.open("ab") as file:
        file.write(text.encode())


@pytest.mark.parametrize("length", [1, 10, 11, 30, len(ENTRY) - 1, len(ENTRY)])
def test_a_study_goes_on_after_a_worker_was_killed_while_it_wrote(journal, tmp_path, length):
    """Whatever was written of the line, even all but its end."""
    whole = journal.read_bytes()
    append(journal, ENTRY[:length])
    for total in (2, 4):  # a worker that finds nothing to do, and one that does
        one = worker(f"journal:///{journal}", tmp_path, total)
        one.run()
        assert [row.outcome for row in read(one.study)] == [COMPLETE] * total
    assert journal.read_bytes().startswith(whole)
    lines = journal.read_text().splitlines()
    assert all(isinstance(json.loads(line)["op_code"], int) for line in lines)
    assert "gone" not in journal.read_text()


def test_without_the_repair_nobody_could_read_it_any_more(journal):
    append(journal, ENTRY[:30])
    plain = JournalStorage(JournalFileBackend(str(journal)))
    study = optuna.load_study(study_name=plain.get_all_studies()[0].study_name, storage=plain)
    study.set_user_attr("a", 1)  # behind the piece, on one line with it
    with pytest.raises(json.JSONDecodeError):
        study.set_user_attr("b", 2)
    with pytest.raises(ConfigError, match=r"line \d+ of .* is no entry of a journal"):
        open_storage(f"journal:///{journal}")


def test_a_worker_at_work_repairs_it_too(journal, tmp_path):
    one = worker(f"journal:///{journal}", tmp_path, 4)
    append(journal, ENTRY[:30])
    one.run()
    assert [row.outcome for row in read(one.study)] == [COMPLETE] * 4


def test_a_piece_longer_than_what_is_read_at_a_time(journal, tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "BLOCK", 7)
    whole = journal.read_bytes()
    append(journal, ENTRY)
    storage._drop_piece(journal)
    assert journal.read_bytes() == whole
    storage._drop_piece(journal)
    assert journal.read_bytes() == whole
    journal.write_bytes(b"")
    storage._drop_piece(journal)
    append(journal, ENTRY[:30])
    storage._drop_piece(journal)
    assert journal.read_bytes() == b""


@pytest.mark.parametrize("content", ["years of work", "first\nsecond", '{"op_code":4}\n\0\0\0'])
def test_a_last_line_that_no_worker_wrote_is_left_alone(tmp_path, content):
    path = tmp_path / "notes.txt"
    path.write_text(content)
    with pytest.raises(ConfigError, match="is no entry of a journal"):
        open_storage(f"journal:///{path}")
    storage._drop_piece(path)
    assert path.read_text() == content


def test_the_lock_is_given_back_where_the_repair_fails(tmp_path):
    lock = storage._Mending(str(tmp_path / "absent.log"))
    with pytest.raises(FileNotFoundError):
        lock.acquire()
    assert [*tmp_path.iterdir()] == []
