"""Running the benchmark: what is measured, on which samples, in which processes."""

import json
import warnings
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest
from benchmark_probe import TASK, TASKS, Probe, lines

import mimrl.mi.benchmark.running as running
from mimrl.errors import ConfigError, EstimationError, MissingFileError
from mimrl.mi.benchmark import run_benchmark
from mimrl.mi.estimators.conditional import MutualDifference
from mimrl.mi.estimators.gaussian import Gaussian
from mimrl.mi.estimators.ksg import Ksg
from mimrl.mi.estimators.table import CONDITIONAL_ESTIMATORS, ESTIMATORS
from mimrl.mi.tasks import BMI_TASKS, CONDITIONAL_TASKS, task_named


@pytest.fixture
def recordings(tmp_path):
    """Samples of two tasks in files, 40 rows each."""
    folder = tmp_path / "recorded"
    folder.mkdir()
    for name in TASKS:
        x, y = task_named(name).sample(40, seed=11)
        np.savez(folder / f"{name}.npz", x=x, y=y)
    return folder


class TestMeasuring:
    def test_an_estimate_is_that_of_the_estimator_on_the_task_with_this_seed(self):
        result = run_benchmark(["ksg1", "gaussian"], TASKS, samples=200, seeds=(3, 4))
        assert len(result.records) == 2 * 2 * 2
        for record in result.records:
            task = task_named(record.task)
            expected = ESTIMATORS[record.estimator].estimate(*task.sample(200, record.seed))
            assert record.estimate == expected
            assert record.truth == task.mutual_information
            assert record.error == expected - record.truth
            assert record.failure is None
            assert record.wall_seconds > 0

    def test_the_default_is_every_estimator_on_the_forty_tasks(self, monkeypatch):
        monkeypatch.setattr(running, "measure", _not_measured)
        with pytest.raises(InterruptedError) as stopped:
            run_benchmark()
        assert stopped.value.args[0].samples == 5000
        wanted = _wanted(monkeypatch)
        assert {one.task.name for one in wanted} == set(BMI_TASKS)
        assert [one.name for one in wanted[: len(ESTIMATORS)]] == list(ESTIMATORS)

    def test_a_seed_is_added_to_the_estimators_own(self):
        result = run_benchmark({"probe": Probe(seed=100)}, [TASK], samples=20, seeds=(0, 5))
        assert [record.estimate for record in result.records] == [100, 105]
        assert {record.settings["seed"] for record in result.records} == {100}

    def test_a_seed_reaches_estimators_inside(self):
        outer = MutualDifference(estimator=Probe(seed=7))
        task = CONDITIONAL_TASKS["noisy-channel"]
        found = running.measure(_one(outer, task, seed=5))
        assert found.information == {"wholes": [12.0, 12.0], "parts": [12.0, 12.0]}

    def test_shuffled_samples_have_the_same_margins_and_no_information(self):
        probe = {"probe": Probe()}
        run_benchmark(probe, [TASK], samples=300)
        shuffled = run_benchmark(probe, [TASK], samples=300, shuffled=True)
        plain, mixed = Probe.seen
        assert np.array_equal(plain.x, mixed.x)
        assert np.array_equal(np.sort(plain.y, axis=0), np.sort(mixed.y, axis=0))
        assert np.mean(plain.y == mixed.y) < 0.05
        assert shuffled.records[0].truth == 0
        assert shuffled.records[0].shuffled

    def test_shuffled_gaussian_pairs_read_nothing(self):
        """Twice N times the plug-in value is chi-squared of one degree: 20 has p = 8e-6."""
        tasks = [TASK, "noisy-channel"]
        result = run_benchmark(["gaussian"], tasks, samples=2000, shuffled=True)
        assert [record.truth for record in result.records] == [0, 0]
        assert all(abs(record.estimate) < 20 / (2 * 2000) for record in result.records)

    def test_conditional_tasks_have_their_own_estimators(self):
        result = run_benchmark(["gaussian", "ksg"], ["conditional"], samples=100)
        assert list(result.tasks) == list(CONDITIONAL_TASKS)
        for record in result.records:
            task = CONDITIONAL_TASKS[record.task]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                estimator = CONDITIONAL_ESTIMATORS[record.estimator]
                assert record.estimate == estimator.estimate(*task.sample(100, 0))
            assert record.truth == task.conditional_mutual_information

    def test_both_kinds_of_task_side_by_side(self):
        result = run_benchmark(["gaussian", "ksg1", "ksg"], [TASK, "noisy-channel"], samples=100)
        assert set(result.cells) == {
            *((TASK, "gaussian"), (TASK, "ksg1")),
            *(("noisy-channel", "gaussian"), ("noisy-channel", "ksg")),
        }

    def test_options_are_changed_and_recorded(self):
        options = {"ksg1": {"neighbours": 3}}
        record = run_benchmark(["ksg1"], [TASK], samples=100, options=options).records[0]
        assert record.estimate == Ksg(neighbours=3).estimate(*task_named(TASK).sample(100, 0))
        assert record.settings["neighbours"] == 3

    def test_warnings_are_recorded_by_category_and_not_given(self):
        record = run_benchmark({"probe": Probe(doubt=True)}, [TASK], samples=20).records[0]
        assert record.warnings == [{"category": "BiasWarning", "text": "not to be believed"}]

    def test_an_estimator_that_raises_is_recorded_and_the_run_goes_on(self, tmp_path):
        estimators = {"broken": Probe(fail=True), "sound": Probe(level=2.0)}
        result = run_benchmark(estimators, TASKS, samples=20, out=tmp_path)
        assert [record.failure for record in result.records] == [
            *("RuntimeError: the probe broke", None) * 2
        ]
        assert result.records[0].estimate is None
        assert result.records[0].error is None
        assert json.loads(lines(tmp_path)[0])["estimate"] is None
        assert len(Probe.seen) == 4


class TestRecordings:
    def test_all_rows_in_their_order(self, recordings):
        result = run_benchmark({"probe": Probe()}, TASKS, data=recordings, seeds=(0, 1))
        for record, seen in zip(result.records, Probe.seen, strict=True):
            x, y = task_named(record.task).sample(40, seed=11)
            assert np.array_equal(seen.x, x)
            assert np.array_equal(seen.y, y)
            assert record.samples == 40
            assert record.source.startswith("recorded sha256:")

    def test_fewer_rows_are_a_choice_that_the_seed_makes(self, recordings):
        run_benchmark({"probe": Probe()}, [TASK], data=recordings, samples=15, seeds=(0, 1, 2))
        x, y = task_named(TASK).sample(40, seed=11)
        rows = [[x[:, 0].tolist().index(value) for value in seen.x[:, 0]] for seen in Probe.seen]
        assert all(chosen == sorted(set(chosen)) and len(chosen) == 15 for chosen in rows)
        assert all(np.array_equal(y[r], s.y) for r, s in zip(rows, Probe.seen, strict=True))
        assert rows[0] != rows[1] != rows[2] != rows[0]

    def test_other_recordings_are_measured_anew(self, recordings, tmp_path):
        def run():
            return run_benchmark({"p": Probe()}, [TASK], data=recordings, out=tmp_path / "out")

        run()
        run()
        assert len(Probe.seen) == 1
        x, y = task_named(TASK).sample(40, seed=12)
        np.savez(recordings / f"{TASK}.npz", x=x, y=y)
        run()
        assert len(Probe.seen) == 2

    def test_more_rows_than_there_are(self, recordings):
        with pytest.raises(ConfigError, match=r"41 samples of 1v1-normal-0\.75 .* 40 are recorded"):
            run_benchmark(["ksg1"], [TASK], data=recordings, samples=41)

    def test_a_missing_recording_is_told_before_anything_runs(self, recordings):
        with pytest.raises(MissingFileError, match=r"1v1-additive-0\.1"):
            run_benchmark({"probe": Probe()}, [TASK, "1v1-additive-0.1"], data=recordings)
        assert not Probe.seen

    def test_conditional_tasks_have_none(self, recordings):
        with pytest.raises(ConfigError, match="noisy-channel is conditional"):
            run_benchmark(["ksg"], ["noisy-channel"], data=recordings)

    def test_the_recorded_samples_of_the_benchmark(self, data_root):
        result = run_benchmark(["gaussian"], ["multinormal-dense-2-2-0.5"], data=data_root / "bmi")
        cell = result.cells["multinormal-dense-2-2-0.5", "gaussian"]
        assert cell.truth == pytest.approx(0.2939, abs=5e-5)  # its tasks.json has four digits
        assert abs(cell.error) < 4 * cell.standard_error


class TestProcesses:
    @pytest.mark.slow  # each process imports the package anew
    def test_two_processes_find_what_one_does(self, tmp_path):
        """Neither estimator draws a number or depends on the number of threads."""
        alone = run_benchmark(["ksg1", "gaussian"], TASKS, samples=200)
        both = run_benchmark(["ksg1", "gaussian"], TASKS, samples=200, jobs=2, out=tmp_path)
        assert [(r.task, r.estimator) for r in both.records] == [
            (r.task, r.estimator) for r in alone.records
        ]
        assert [r.estimate for r in both.records] == [r.estimate for r in alone.records]
        assert len(lines(tmp_path)) == 4

    def test_a_process_that_dies_is_an_error_that_says_so(self, monkeypatch):
        class Dying:
            def __init__(self, *_, **__):
                pass

            def submit(self, *_):
                future = Future()
                future.set_exception(BrokenProcessPool("died"))
                return future

            def shutdown(self, **_):
                pass

        monkeypatch.setattr(running, "ProcessPoolExecutor", Dying)
        with pytest.raises(EstimationError, match="a process of 2 died"):
            run_benchmark({"p": Probe()}, TASKS, samples=20, jobs=2)


def _one(estimator, task, seed):
    from mimrl.mi.benchmark import Measurement

    return Measurement("one", estimator, task, 50, seed)


def _not_measured(wanted):
    raise InterruptedError(wanted)


def _wanted(monkeypatch):
    """All measurements of the default benchmark, without one being made."""
    seen = []

    def keep(todo, jobs):
        seen.extend(todo)
        raise InterruptedError

    monkeypatch.setattr(running, "_measured", keep)
    with pytest.raises(InterruptedError):
        run_benchmark()
    return seen


def test_gaussian_estimate_lies_within_its_error():
    """The one task that the Gaussian estimator is made for, over ten seeds."""
    result = run_benchmark({"g": Gaussian()}, [TASK], samples=1000, seeds=range(10))
    cell = result.cells[TASK, "g"]
    assert cell.seeds == 10
    assert abs(cell.error) < 4 * cell.standard_error / np.sqrt(10)
