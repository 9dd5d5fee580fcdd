"""Going on with a benchmark: what is kept of an earlier run, and what is measured again."""

import json
import os

import pytest
from benchmark_probe import TASK, TASKS, Probe, lines

from mimrl.errors import DataError
from mimrl.mi.benchmark import run_benchmark


class TestGoingOn:
    def test_what_is_there_is_not_measured_again(self, tmp_path):
        estimators = {"a": Probe(level=1.0), "b": Probe(level=2.0)}
        first = run_benchmark(estimators, TASKS, samples=20, out=tmp_path)
        second = run_benchmark(estimators, TASKS, samples=20, out=tmp_path)
        assert len(Probe.seen) == len(lines(tmp_path)) == 4
        assert second == first

    def test_a_name_is_no_setting(self, tmp_path):
        run_benchmark({"a": Probe()}, [TASK], samples=20, out=tmp_path)
        result = run_benchmark({"other": Probe()}, [TASK], samples=20, out=tmp_path)
        assert len(Probe.seen) == 1
        assert result.estimators == ("other",)

    @pytest.mark.parametrize(
        "other",
        [
            {"estimators": {"p": Probe(level=0.5)}},
            {"samples": 21},
            {"seeds": (1,)},
            {"shuffled": True},
            {"tasks": ["1v1-additive-0.75"]},
        ],
        ids=lambda other: next(iter(other)),
    )
    def test_another_setting_is_measured(self, other, tmp_path):
        first = {"estimators": {"p": Probe()}, "tasks": [TASK], "samples": 20, "out": tmp_path}
        run_benchmark(**first)
        result = run_benchmark(**first | other)
        assert len(Probe.seen) == len(lines(tmp_path)) == 2
        assert len(result.records) == 1

    def test_another_version_of_the_package_is_measured(self, tmp_path, monkeypatch):
        run_benchmark({"p": Probe()}, [TASK], samples=20, out=tmp_path)
        monkeypatch.setattr("mimrl.mi.benchmark.measurement.version", lambda: "999")
        run_benchmark({"p": Probe()}, [TASK], samples=20, out=tmp_path)
        assert len(Probe.seen) == 2

    @pytest.mark.parametrize("cut", [1, 7, 200])
    def test_a_last_line_that_a_kill_broke_is_measured_again(self, cut, tmp_path):
        estimators = {"a": Probe(level=1.0), "b": Probe(level=2.0)}
        first = run_benchmark(estimators, [TASK], samples=20, out=tmp_path)
        file = tmp_path / "results.jsonl"
        whole = lines(tmp_path)[0]
        os.truncate(file, file.stat().st_size - cut)
        second = run_benchmark(estimators, [TASK], samples=20, out=tmp_path)
        assert len(Probe.seen) == 3
        assert lines(tmp_path)[0] == whole
        assert [json.loads(line)["estimate"] for line in lines(tmp_path)] == [1.0, 2.0]
        assert [r.estimate for r in second.records] == [r.estimate for r in first.records]

    def test_a_broken_line_elsewhere_is_an_error(self, tmp_path):
        run_benchmark({"p": Probe()}, TASKS, samples=20, out=tmp_path)
        file = tmp_path / "results.jsonl"
        file.write_text("{" + "\n" + file.read_text())
        with pytest.raises(DataError, match=r"results\.jsonl, line 1 is not JSON"):
            run_benchmark({"p": Probe()}, TASKS, samples=20, out=tmp_path)

    def test_a_line_of_something_else_is_an_error(self, tmp_path):
        (tmp_path / "results.jsonl").write_text('{"task": "t", "more": 1}\n')
        with pytest.raises(DataError, match=r"line 1 is no record .* lacks .*has besides"):
            run_benchmark({"p": Probe()}, TASKS, samples=20, out=tmp_path)

    def test_failures_are_kept_until_they_are_asked_for_again(self, tmp_path):
        estimators = {"broken": Probe(fail=True), "sound": Probe()}
        for again, readings in [(None, 2), (None, 2), ("failed", 3), ("all", 5)]:
            result = run_benchmark(estimators, [TASK], samples=20, out=tmp_path, again=again)
            assert len(Probe.seen) == readings
            assert result.records[0].failure

    def test_of_two_records_the_later_counts(self, tmp_path):
        run_benchmark({"p": Probe()}, [TASK], samples=20, out=tmp_path)
        later = json.loads(lines(tmp_path)[0]) | {"estimate": 9.0}
        with (tmp_path / "results.jsonl").open("a") as file:
            file.write(json.dumps(later) + "\n")
        result = run_benchmark({"p": Probe()}, [TASK], samples=20, out=tmp_path)
        assert result.records[0].estimate == 9.0

    def test_an_interruption_leaves_what_was_done(self, tmp_path):
        estimators = {"a": Probe(level=1.0), "b": Probe(level=2.0), "c": Probe(stop_after=2)}
        with pytest.raises(KeyboardInterrupt):
            run_benchmark(estimators, [TASK], samples=20, out=tmp_path)
        assert [json.loads(line)["estimate"] for line in lines(tmp_path)] == [1.0, 2.0]

    def test_records_survive_the_file(self, tmp_path):
        """NaN has no JSON: a standard error that is not known comes back as None."""
        first = run_benchmark(["ksg1", "gaussian"], TASKS, samples=60, out=tmp_path)
        assert run_benchmark(["ksg1", "gaussian"], TASKS, samples=60, out=tmp_path) == first
