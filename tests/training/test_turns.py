"""Who makes a file that several want: one does, and nobody waits for the dead."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from mimrl.training import turns
from mimrl.training.turns import SILENCE, has_ended, process_name, turn

FORK = multiprocessing.get_context("fork")  # no second import of torch


def never() -> bool:
    return False


def unexpected(holder: str) -> None:
    raise AssertionError(f"waits for {holder}")


@pytest.fixture
def clock(monkeypatch):
    """Time passes in sleep only; ``on_sleep`` is called then."""
    made = SimpleNamespace(now=0.0, on_sleep=lambda: None)

    def sleep(seconds):
        made.now += seconds
        assert made.now < 10 * SILENCE, "it waits for ever"
        made.on_sleep()

    fake = SimpleNamespace(monotonic=lambda: made.now, sleep=sleep)
    monkeypatch.setattr(turns, "time", fake)
    return made


def lock_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def test_a_lock_lies_beside_the_file_while_it_is_made(tmp_path):
    path = tmp_path / "new" / "states"
    with turn(path, never, unexpected) as mine:
        assert mine
        assert lock_of(path).read_text().startswith(f"{process_name()} ")
    assert [*path.parent.iterdir()] == []
    with pytest.raises(ZeroDivisionError), turn(path, never, unexpected):
        raise ZeroDivisionError
    assert [*path.parent.iterdir()] == []


def test_a_living_holder_is_waited_for_until_the_file_is_there(tmp_path, clock):
    path, told = tmp_path / "states", []
    with turn(path, never, unexpected):
        clock.on_sleep = lambda: clock.now < 30 or path.touch()
        with turn(path, path.exists, told.append) as mine:
            assert not mine
        assert lock_of(path).exists()
    assert told == [process_name()]
    assert clock.now == pytest.approx(30, abs=turns.POLL)


def test_a_holder_that_failed_leaves_the_work_to_who_waits(tmp_path, clock):
    path = tmp_path / "states"
    holder = turn(path, never, unexpected)
    holder.__enter__()
    clock.on_sleep = lambda: clock.now == 5 and holder.__exit__(None, None, None)
    with turn(path, path.exists, lambda _: None) as mine:
        assert mine


def test_a_holder_elsewhere_is_dead_after_a_long_silence_only(tmp_path, clock):
    """It signs until 500 s, several times as long as the silence that counts."""
    path = tmp_path / "states"
    lock_of(path).write_text("another-host/1:77 abc")
    stamp = iter(range(10**9))

    def sign():
        if clock.now <= 500:
            os.utime(lock_of(path), (0, next(stamp)))

    clock.on_sleep = sign
    with turn(path, path.exists, lambda _: None) as mine:
        assert mine
    assert 500 + SILENCE <= clock.now <= 500 + SILENCE + 3 * turns.POLL
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("content", ["", "no process at all"])
def test_a_lock_without_a_holder_does_not_block_for_ever(tmp_path, clock, content):
    """Its maker was killed between making and writing it."""
    path = tmp_path / "states"
    lock_of(path).write_text(content)
    with turn(path, path.exists, lambda _: None) as mine:
        assert mine


def test_a_killed_process_is_noticed_at_once(tmp_path, clock):
    path = tmp_path / "states"

    def hold():
        turns.time = time
        with turn(path, never, unexpected):
            time.sleep(100)

    process = FORK.Process(target=hold)
    process.start()
    while not (lock_of(path).exists() and lock_of(path).read_text()):
        time.sleep(0.01)
    name = lock_of(path).read_text().partition(" ")[0]
    assert not has_ended(name)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert has_ended(name)
    with turn(path, path.exists, unexpected) as mine:
        assert mine
    assert clock.now == 0
    assert [*tmp_path.iterdir()] == []


def test_a_lock_that_was_broken_and_taken_again_is_left_to_its_new_holder(tmp_path):
    path = tmp_path / "states"
    with turn(path, never, unexpected):
        lock_of(path).write_text("another-host/1:77 abc")
    assert lock_of(path).read_text() == "another-host/1:77 abc"


def test_who_breaks_a_lock_too_late_gives_it_back(tmp_path):
    lock = tmp_path / "lock"
    lock.write_text("new")
    turns._break(lock, "old")
    assert lock.read_text() == "new"
    turns._break(lock, "new")
    turns._break(lock, "new")
    assert [*tmp_path.iterdir()] == []


def test_a_place_that_takes_no_lock_makes_nobody_wait(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the place of a folder")
    with turn(tmp_path / "file" / "states", never, unexpected) as mine:
        assert mine

    def full(file, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(turns.os, "write", full)
    with turn(tmp_path / "states", never, unexpected) as mine:
        assert mine
        assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_names_of_other_hosts_tell_nothing():
    assert not has_ended("another-host/1:1")
    assert not has_ended("")
    assert not has_ended(process_name())
