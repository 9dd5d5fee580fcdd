"""Workers of one study, with a formula in place of the training."""

import json
import multiprocessing
import os
import re
import signal
import time

import pytest
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState
from tune.made_up_search import Formula, plan, worker

from mimrl.errors import CheckpointError, ConfigError
from mimrl.training.turns import process_name
from mimrl.tune import ledger, life
from mimrl.tune import study as studies
from mimrl.tune.ledger import COMPLETE, INTERRUPTED, LOST, PRUNED, REFUSED, SURPLUS, account, read
from mimrl.tune.study import suggested
from mimrl.tune.work import first_line

FORK = multiprocessing.get_context("fork")  # no second import of torch


@pytest.fixture(params=["sqlite", "journal"])
def url(request, tmp_path):
    return f"{request.param}:///{tmp_path}/made/up/study.file"


def params(study):
    return [trial.params for trial in study.get_trials(deepcopy=False)]


def outcomes(study):
    return [row.outcome for row in read(study)]


def test_total_counts_over_calls(url, tmp_path):
    said = []
    first = worker(url, tmp_path, 3, say=said.append)
    first.run()
    assert outcomes(first.study) == [COMPLETE] * 3
    worker(url, tmp_path, 3).run()
    assert len(read(first.study)) == 3
    second = worker(url, tmp_path, 5)
    second.run()
    assert outcomes(second.study) == [COMPLETE] * 5
    number = r"-?\d+\.\d{4}"
    assert re.fullmatch(
        rf"trial 0: valid mae {number}; best {number} \(trial 0\); "
        r"\d\.\d s \(mean \d\.\d s\); 2 of 3 left, about \d\.\d s",
        said[0],
    )
    assert said[2].endswith("0 of 3 left")


def test_a_search_is_the_same_again_also_when_it_was_stopped(tmp_path):
    """14 trials: the last ones are drawn by the tree-structured estimator, not at random."""
    whole = worker(InMemoryStorage(), tmp_path, 14)
    whole.run()
    storage = InMemoryStorage()
    for total in (3, 12, 14):
        parts = worker(storage, tmp_path, total)
        parts.run()
    assert params(parts.study) == params(whole.study)
    other = worker(InMemoryStorage(), tmp_path, 3, plan=plan("seed=1", seeds=(0,)), sampler="tpe")
    other.run()
    assert params(other.study) != params(whole.study)[:3]


def test_the_estimator_finds_better_values_than_chance(tmp_path):
    """The best 10 of 40 by the estimator lie nearer to the optimum than random ones."""
    mean = {}
    for sampler in ("tpe", "random"):
        found = worker(InMemoryStorage(), tmp_path, 40, sampler=sampler)
        found.run()
        values = [row.value for row in read(found.study)]
        mean[sampler] = sum(values[-20:]) / 20
    assert mean["tpe"] < 0.5 * mean["random"]


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_pruning_saves_epochs_and_keeps_the_best(tmp_path, pruner):
    total = 20
    free = worker(InMemoryStorage(), tmp_path, total, sampler="random")
    free.run()
    ten = plan("training.epochs=10")  # as many as the formula trains
    cut = worker(InMemoryStorage(), tmp_path, total, plan=ten, sampler="random", pruner=pruner)
    cut.run()
    rows = read(cut.study)
    pruned = [row for row in rows if row.outcome == PRUNED]
    assert pruned
    assert len(pruned) + outcomes(cut.study).count(COMPLETE) == total
    assert all(row.epochs < 10 and "others were better" in row.reason for row in pruned)
    assert sum(row.epochs for row in rows) < 0.9 * sum(row.epochs for row in read(free.study))
    best = ledger.best(rows, lower=True)
    assert best is not None
    assert best.number not in {row.number for row in pruned}
    if pruner == "median":  # curves do not cross here: the best is never below the median
        assert best.value == ledger.best(read(free.study), lower=True).value


def test_two_workers_share_a_study_and_do_not_exceed_the_total(url, tmp_path):
    total = 7
    made = worker(url, tmp_path, 0)  # the tables

    def work():
        worker(url, tmp_path, total, nap=0.002).run()

    processes = [FORK.Process(target=work) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    rows = read(made.study)
    assert [row.outcome for row in rows] == [COMPLETE] * total
    assert len({row.worker for row in rows}) > 1
    assert len({tuple(row.params.values()) for row in rows}) == total


def test_workers_that_start_at_once_make_one_database(tmp_path):
    url = f"sqlite:///{tmp_path}/new.db"
    gate = FORK.Barrier(3)

    def work():
        gate.wait()
        worker(url, tmp_path, 3).run()

    processes = [FORK.Process(target=work) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert outcomes(worker(url, tmp_path, 3).study) == [COMPLETE] * 3


def test_a_trial_asked_for_by_too_many_is_surplus(url, tmp_path):
    """Two workers saw room for one more: the later number is handed back, and not shown."""
    one = worker(url, tmp_path, 1)
    taken = one.study.ask()
    one._one()
    assert [t.state for t in one.study.trials] == [TrialState.RUNNING, TrialState.FAIL]
    assert one.study.trials[1].user_attrs["outcome"] == SURPLUS
    assert [row.number for row in read(one.study)] == [taken.number]


def test_a_killed_worker_s_trial_is_found_and_tried_again(url, tmp_path):
    made = worker(url, tmp_path, 0)
    process = FORK.Process(target=lambda: worker(url, tmp_path, 3, nap=30).run())
    process.start()
    while not (running := made.study.get_trials(states=(TrialState.RUNNING,))) or (
        len(running[0].params) < 4 or "beat" not in running[0].user_attrs
    ):
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    assert [row.outcome for row in read(made.study)] == [LOST]  # also before a worker looks
    assert "0 running" in first_line(made.plan, read(made.study), 3, url)
    said = []
    again = worker(url, tmp_path, 3, say=said.append)
    again.run()
    assert said[0] == "trial 0 was lost with its worker; it is tried again"
    assert outcomes(again.study) == [LOST] + [COMPLETE] * 3
    assert params(again.study)[1] == params(again.study)[0]
    assert account(read(again.study), 3).finished == 3


def test_silence_counts_as_death_where_processes_cannot_be_seen(url, tmp_path, monkeypatch):
    one = worker(url, tmp_path, 2)
    trial = one.study.ask()
    trial.suggest_float("training.clip_at", 0.0001, 1.0)
    trial.set_user_attr("worker", "another-host:1")
    trial.set_user_attr("beat", time.time() - life.GRACE + 30)
    assert life.bury(one.study) == {}
    assert one._suspicious()
    trial.set_user_attr("beat", time.time() - life.GRACE - 1)
    assert life.bury(one.study) == {0: True}
    assert life.bury(one.study) == {}
    one.run()
    assert outcomes(one.study) == [LOST, COMPLETE, COMPLETE]


def test_a_trial_that_is_lost_again_and_again_is_given_up(tmp_path):
    one = worker(InMemoryStorage(), tmp_path, 9)
    for again in range(life.RETRIES + 1):
        trial = one.study.ask()
        trial.suggest_float("training.clip_at", 0.0001, 1.0)
        trial.set_user_attr("worker", "another-host:1")
        trial.set_user_attr("beat", 0.0)
        assert life.bury(one.study) == {trial.number: again < life.RETRIES}
    assert not one.study.get_trials(states=(TrialState.WAITING,))
    values = {trial.params["training.clip_at"] for trial in one.study.trials}
    assert len(values) == 1


def test_a_trial_taken_for_lost_by_mistake_is_dropped(url, tmp_path):
    one = worker(url, tmp_path, 1)
    said = []
    one.say = said.append

    class Robbed(Formula):
        def run(self, trial):
            if trial.number == 0:
                assert life.fail(one.study, 0, LOST, "it was silent")
            return super().run(trial)

    one.trials = Robbed(one.plan, tmp_path)
    one.run()
    assert said[0] == "trial 0 was taken for lost by another worker and is dropped"
    assert outcomes(one.study) == [LOST, COMPLETE]


def test_signs_of_life_go_on_while_a_trial_runs(url, tmp_path, monkeypatch):
    monkeypatch.setattr(life, "INTERVAL", 0.01)
    one = worker(url, tmp_path, 1)
    trial = one.study.ask()
    with life.Beating(trial):
        first = one.study.trials[0].user_attrs["beat"]
        until = time.monotonic() + 20
        while one.study.trials[0].user_attrs["beat"] == first and time.monotonic() < until:
            time.sleep(0.01)
        found = one.study.get_trials(deepcopy=False)[0]
        assert found.user_attrs["beat"] > first
        assert not life.is_dead(found)
    assert found.user_attrs["worker"] == process_name()


def test_an_interrupted_trial_is_put_back(url, tmp_path):
    one = worker(url, tmp_path, 3)

    class Stopped(Formula):
        def run(self, trial):
            if trial.number == 1:
                self.plan.space.settings(suggested(trial))
                raise KeyboardInterrupt
            return super().run(trial)

    one.trials = Stopped(one.plan, tmp_path)
    said = []
    one.say = said.append
    with pytest.raises(KeyboardInterrupt):
        one.run()
    assert outcomes(one.study) == [COMPLETE, INTERRUPTED, "waiting"]
    assert read(one.study)[1].reason == "Ctrl-C or SIGTERM"
    assert said[-1] == "trial 1 was interrupted; it is tried again"
    worker(url, tmp_path, 3).run()
    assert outcomes(one.study) == [COMPLETE, INTERRUPTED, COMPLETE, COMPLETE]
    assert params(one.study)[1] == params(one.study)[2]


@pytest.mark.parametrize("moment", ["ask", "fail", "retry"])
def test_ctrl_c_cannot_part_a_trial_from_its_record(tmp_path, monkeypatch, moment):
    """Once while the trial is asked for; a second time while the first one is being recorded."""
    one = worker(InMemoryStorage(), tmp_path, 2)
    monkeypatch.setattr(life, "RETRIES", 1)
    place = one.study if moment == "ask" else life
    original, times = getattr(place, moment), []

    def pressed(*arguments):
        found = original(*arguments)
        if not times:
            times.append(moment)
            signal.raise_signal(signal.SIGINT)
        return found

    class Stopped(Formula):
        def run(self, trial):
            self.plan.space.settings(suggested(trial))
            raise KeyboardInterrupt

    monkeypatch.setattr(place, moment, pressed)
    if moment != "ask":
        one.trials = Stopped(one.plan, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        one.run()
    assert times
    # interrupted before anything was drawn, a trial leaves nothing to try again
    assert outcomes(one.study) == [INTERRUPTED] + ["waiting"] * (moment != "ask")
    one.trials = Formula(one.plan, tmp_path)
    one.run()
    assert outcomes(one.study) == [INTERRUPTED, COMPLETE, COMPLETE]


def test_a_retry_that_ends_before_it_draws_hands_its_settings_on(tmp_path):
    one = worker(InMemoryStorage(), tmp_path, 9)
    one.study.enqueue_trial({"training.clip_at": 0.125})
    trial = one.study.ask()
    trial.set_user_attr("worker", "another-host:1")
    trial.set_user_attr("beat", 0.0)
    assert life.bury(one.study) == {0: True}
    assert one.study.ask().suggest_float("training.clip_at", 0.0001, 1.0) == 0.125


def test_a_bug_ends_the_search_and_its_trial_does_not_count(tmp_path):
    one = worker(InMemoryStorage(), tmp_path, 1)

    class Broken(Formula):
        def run(self, trial):
            return {}["missing"]

    one.trials = Broken(one.plan, tmp_path)
    with pytest.raises(KeyError):
        one.run()
    assert outcomes(one.study) == ["crashed"]
    assert read(one.study)[0].reason == "KeyError: 'missing'"
    assert account(read(one.study), 1).left == 1


def test_a_search_in_which_everything_is_refused_ends_early(tmp_path):
    one = worker(InMemoryStorage(), tmp_path, 200, refused=True)
    with pytest.raises(ConfigError, match="all 10 trials were refused or diverged") as caught:
        one.run()
    assert "- nobody wants this" in str(caught.value)
    assert outcomes(one.study) == [REFUSED] * 10
    again = worker(one.study._storage, tmp_path, 10)  # it has its trials, and they are no better
    with pytest.raises(ConfigError, match="all 10 trials were refused or diverged"):
        again.run()


def test_more_trials_than_are_asked_for(tmp_path):
    one = worker(InMemoryStorage(), tmp_path, 3)
    one.run()
    rows = read(one.study)
    assert "3 trials done, more than the 2 asked for, 0 running" in first_line(
        one.plan, rows, 2, ""
    )
    assert "3 of 3 trials done, 0 running" in first_line(one.plan, rows, 3, "")


def test_refused_trials_count_and_the_search_goes_on(tmp_path):
    one = worker(InMemoryStorage(), tmp_path, 6)

    class Picky(Formula):
        def run(self, trial):
            self.refused = trial.number < 4
            return super().run(trial)

    one.trials = Picky(one.plan, tmp_path)
    one.run()
    assert outcomes(one.study) == [REFUSED] * 4 + [COMPLETE] * 2


def test_no_trial_begins_after_the_timeout(tmp_path):
    said = []
    one = worker(InMemoryStorage(), tmp_path, 50, nap=0.02, timeout=0.1, say=said.append)
    one.run()
    assert 1 <= len(read(one.study)) < 50
    assert said[-1] == "the time is up: no more trials are begun here"


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (plan("training.epochs=3"), r"settings\.training\.epochs: 70 then, 3 now"),
        (plan("training.select_by=corr"), r"select_by: \"auto\" then"),
        (plan(seeds=(0, 1)), r"seeds: \[0\] then, \[0, 1\] now"),
        (plan(space={"training.clip": ["norm"]}), r"space\.training\.clip_at: given then, left"),
    ],
)
def test_a_study_of_something_else_is_refused(tmp_path, other, message):
    url = f"sqlite:///{tmp_path}/x.db"
    worker(url, tmp_path, 1)
    with pytest.raises(CheckpointError, match=message):
        worker(url, tmp_path, 1, plan=other)
    machine = plan("device=cpu", "threads=1", "output=elsewhere", "name=other")
    worker(url, tmp_path, 1, plan=machine)


def test_a_study_of_another_program_is_refused(tmp_path):
    import optuna

    url = f"sqlite:///{tmp_path}/x.db"
    foreign = optuna.create_study(storage=url, study_name="made-up")
    foreign.add_trial(optuna.create_trial(value=1.0))
    with pytest.raises(CheckpointError, match=r"none of mimrl\.tune"):
        worker(url, tmp_path, 1)


def test_what_is_left_is_shared_by_the_workers_at_work():
    row = ledger.Row(0, COMPLETE, 1.0, 60.0, 5, {})
    running = [ledger.Row(n, "running", None, 0.0, 0, {}) for n in (1, 2)]
    lost = ledger.Row(3, LOST, None, 30.0, 1, {})
    state = account([row, *running, lost], 9)
    assert (state.finished, state.left, state.workers) == (1, 8, 2)
    assert state.seconds == 90.0  # lost time was paid, too
    assert state.mean == 60.0
    assert state.left_seconds == 8 * 60.0 / 2


def test_a_study_that_began_before_a_setting_existed_goes_on():
    """Settings have their defaults; those that were asked for still count."""
    storage = InMemoryStorage()
    begun = studies.create(storage, "old", plan(), sampler="random", pruner="none")
    stored = json.loads(begun.user_attrs[studies.PLAN])
    del stored["settings"]["evaluation"], stored["settings"]["training"]["modality_dropout"]
    begun.set_user_attr(studies.PLAN, json.dumps(stored))
    studies.create(storage, "old", plan(), sampler="random", pruner="none")
    other = plan("training.modality_dropout=0.2")
    with pytest.raises(CheckpointError, match=r"training\.modality_dropout"):
        studies.create(storage, "old", other, sampler="random", pruner="none")
