"""``python -m mimrl.mi``: arguments, what is printed, exit codes."""

import importlib
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mimrl.mi.benchmark.command as benchmark_command
import mimrl.mi.estimation.command as estimation_command
from mimrl.mi.__main__ import COMMANDS, main
from mimrl.mi.benchmark.selection import chosen_estimators, chosen_tasks
from mimrl.mi.estimators.gaussian import Gaussian
from mimrl.mi.estimators.interface import Estimator
from mimrl.mi.estimators.ksg import Ksg
from mimrl.mi.estimators.table import CONDITIONAL_ESTIMATORS, ESTIMATORS
from mimrl.mi.tasks import conditional_task_named, task_named

ROOT = Path(__file__).parents[2]
RHO, ROWS = 0.8, 3000
TRUTH = -0.5 * np.log(1 - RHO**2)  # 0.5108
ERROR = RHO / np.sqrt(ROWS)  # of the log density ratio's mean: its variance is rho^2


@pytest.fixture(scope="module")
def csv(tmp_path_factory):
    """``x`` and ``y`` with correlation 0.8, ``noise`` without any, ``sex`` as text."""
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(2, ROWS))
    y = RHO * x + np.sqrt(1 - RHO**2) * rng.normal(size=ROWS)
    sex = np.where(x > 0, "f", "m")
    path = tmp_path_factory.mktemp("data") / "pairs.csv"
    pd.DataFrame({"x": x, "y": y, "noise": noise, "sex": sex}).to_csv(path, index=False)
    return path


def estimate(*words):
    return main(["estimate", *map(str, words)])


def benchmark(*words):
    return main(["benchmark", *map(str, words)])


class TestDispatch:
    @pytest.mark.parametrize("word", ["--help", "-h"])
    def test_help_names_every_command(self, word, capsys):
        assert main([word]) == 0
        shown = capsys.readouterr().out
        assert set(COMMANDS) == {"benchmark", "estimate", "mmg"}
        for name, (_, text) in COMMANDS.items():
            assert f"  {name}" in shown
            assert text in shown

    @pytest.mark.parametrize("words", [[], ["estimates"]])
    def test_no_such_command(self, words, capsys):
        assert main(words) == 2
        assert "usage: python -m mimrl.mi COMMAND" in capsys.readouterr().err

    @pytest.mark.parametrize("name", COMMANDS)
    def test_every_command_has_a_help_of_its_own(self, name, capsys):
        module = importlib.import_module(COMMANDS[name][0])
        with pytest.raises(SystemExit) as stopped:
            module.main(["--help"])
        assert stopped.value.code == 0
        assert f"python -m mimrl.mi {name}" in capsys.readouterr().out

    @pytest.mark.slow  # a process of its own
    def test_from_the_shell(self, csv):
        command = [sys.executable, "-m", "mimrl.mi", "estimate", str(csv), "--x", "sex", "--y", "y"]
        ended = subprocess.run(
            [*command, "--estimator", "gaussian"], capture_output=True, text=True, check=False
        )
        assert ended.returncode == 2
        assert ended.stdout == ""
        assert ended.stderr.startswith("error: column sex holds text: 'f' in row 0")
        assert len(ended.stderr.splitlines()) == 1


def test_commands_of_the_page_are_valid():
    """Arguments as the page has them; names of estimators, tasks and options too."""
    text = (ROOT / "docs" / "estimators.md").read_text().replace("\\\n", " ")
    found = [
        shlex.split(line) for line in re.findall(r"python -m mimrl\.mi ([^-`\n][^`\n]*)", text)
    ]
    assert len(found) > 10
    for name, *words in found:
        if name == "benchmark":
            asked = benchmark_command._parser().parse_args(words)
            tasks = chosen_tasks(asked.tasks)
            chosen_estimators(asked.estimators, tasks, benchmark_command._options(asked.set))
        elif name == "estimate":
            asked = estimation_command._parser().parse_args(words)
            if asked.estimator or asked.set:
                estimation_command._estimator(asked)
        else:
            assert name in COMMANDS


def test_python_of_the_page_runs():
    text = (ROOT / "docs" / "estimators.md").read_text()
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, "estimators.md", "exec"), names)
    assert len(names["frame"]) == 2


class TestEstimate:
    def test_a_known_information(self, csv, capsys):
        assert estimate(csv, "--x", "x", "--y", "y", "--estimator", "ksg1", "--shuffles", 3) == 0
        shown = capsys.readouterr()
        value = float(shown.out.split()[3])
        bits = float(shown.out.split("nats (")[1].split()[0])
        assert shown.out.startswith("I(X; Y) = ")
        assert value == pytest.approx(TRUTH, abs=4 * ERROR)
        assert bits == pytest.approx(value / np.log(2), abs=1e-4)
        lines = {line.split()[0]: line for line in shown.out.splitlines()[1:]}
        assert "3,000 rows of" in lines["samples"]
        assert lines["x"].split()[1:] == ["x"]
        assert "ksg1: I(X; Y) by k nearest neighbours" in lines["estimator"]
        assert "neighbours=10" in lines["options"]
        assert lines["warnings"].split()[1:] == ["none"]
        assert "3 times, y in a random order" in lines["shuffled"]
        assert "0 as large as the estimate (p = 0.25)" in lines["shuffled"]
        assert "no evidence" not in shown.out
        assert shown.err == ""

    def test_as_json(self, csv, capsys):
        words = ["--x", "x", "--y", "y", "--estimator", "ksg1", "--set", "neighbours=3"]
        assert estimate(csv, *words, "--shuffles", 2, "--json") == 0
        found = json.loads(capsys.readouterr().out)
        frame = pd.read_csv(csv)
        expected = Ksg(neighbours=3).estimate_with_info(frame["x"], frame["y"])
        assert found["mi_estimate"] == expected.mi_estimate
        assert found["mi_estimate_bits"] == expected.mi_estimate / np.log(2)
        assert found["standard_error"] == expected.standard_error
        assert found["settings"]["neighbours"] == 3
        assert found["columns"] == {"x": ["x"], "y": ["y"]}
        assert len(found["shuffled"]["values"]) == 2
        assert max(map(abs, found["shuffled"]["values"])) < 0.1

    def test_independent_columns_are_told_so(self, csv, capsys):
        """Whether 20 shuffles read as much is chance; for this file they do."""
        assert estimate(csv, "--x", "noise", "--y", "y", "--estimator", "gaussian") == 0
        assert "no evidence of dependence" in capsys.readouterr().out

    def test_given_z(self, tmp_path, capsys):
        x, y, z = conditional_task_named("common-cause-1").sample(2000, 0)
        np.savez(tmp_path / "t.npz", x=x, y=y, z=z)
        words = ["--x", "x", "--y", "y", "--z", "z", "--estimator", "gaussian", "--shuffles", 2]
        assert estimate(tmp_path / "t.npz", *words) == 0
        shown = capsys.readouterr().out
        assert shown.startswith("I(X; Y | Z) = ")
        assert float(shown.split()[5]) == pytest.approx(0.2231, abs=4 * 0.6 / np.sqrt(2000))
        assert "y among neighbours in z" in shown

    def test_doubts_stand_in_the_report_once(self, tmp_path, capsys):
        rng = np.random.default_rng(0)
        np.savez(tmp_path / "t.npz", x=rng.integers(0, 3, 200), y=rng.normal(size=200))
        words = ["--x", "x", "--y", "y", "--estimator", "ksg1", "--shuffles", 2]
        assert estimate(tmp_path / "t.npz", *words) == 0
        shown = capsys.readouterr()
        assert shown.out.count("TiesWarning: x: 1 of 1 columns repeat values") == 1
        assert shown.err == ""

    def test_the_reason_of_an_estimator_is_shown(self, csv, monkeypatch, capsys):
        class Reasoned(Estimator):
            """Says why."""

            def read(self, pair):
                found = Gaussian().read(pair)
                reason = {"chosen": "one", "why": "it is so", "values": {"one": 1, "two": 2}}
                return type(found)(found.mi_estimate, additional_information=reason)

        monkeypatch.setitem(estimation_command.ESTIMATORS, "reasoned", Reasoned())
        words = ["--x", "x", "--y", "y", "--estimator", "reasoned", "--shuffles", 0]
        assert estimate(csv, *words) == 0
        shown = capsys.readouterr().out
        assert "why        one: it is so" in shown
        assert "readings   one 1.0000, two 2.0000" in shown
        assert "standard error not known to this method" in shown
        assert "shuffled" not in shown

    def test_a_seed_reaches_the_estimator_and_the_shuffles(self, csv, capsys):
        def found(seed):
            words = ["--x", "x", "--y", "y", "--estimator", "gaussian", "--json", "--shuffles", 2]
            assert estimate(csv, *words, "--seed", seed) == 0
            return json.loads(capsys.readouterr().out)["shuffled"]["values"]

        assert found(1) == found(1) != found(2)

    def test_interrupted_shuffles_leave_the_estimate_and_those_that_were_done(
        self, csv, monkeypatch, capsys
    ):
        def interrupted(*_):
            yield 0.125
            raise KeyboardInterrupt

        monkeypatch.setattr(estimation_command, "shuffled_estimates", interrupted)
        assert estimate(csv, "--x", "x", "--y", "y", "--estimator", "gaussian") == 130
        shown = capsys.readouterr()
        assert shown.out.startswith("I(X; Y) = 0.5")
        assert "1 times, y in a random order: mean 0.1250 nats" in shown.out
        assert shown.err == "interrupted\n"

    def test_shuffles_that_take_long_are_told(self, csv, monkeypatch, capsys):
        monkeypatch.setattr(estimation_command, "LONG", 0.0)
        words = ["--x", "x", "--y", "y", "--estimator", "gaussian", "--shuffles", 2]
        assert estimate(csv, *words) == 0
        assert capsys.readouterr().err.startswith("2 shuffles will take about 0 minutes; Ctrl-C")

    def test_the_list_names_every_estimator_and_option(self, capsys):
        assert estimate("--list") == 0
        shown = capsys.readouterr().out
        words = set(shown.split())
        assert {*ESTIMATORS, *CONDITIONAL_ESTIMATORS} <= words
        for estimator in [*ESTIMATORS.values(), *CONDITIONAL_ESTIMATORS.values()]:
            for field in type(estimator).model_fields.values():
                assert field.description in shown
        assert estimate("--list", "--json") == 0
        found = json.loads(capsys.readouterr().out)["I(X; Y)"]
        assert list(found) == list(ESTIMATORS)
        assert found["ksg2"]["options"][0]["default"] == 2

    @pytest.mark.parametrize(
        ("words", "text"),
        [
            (["--x", "X1", "--y", "y"], "error: there is no column 'X1'; did you mean x?"),
            (["--x", "x", "--y", "sex"], "error: column sex holds text: 'f' in row 0"),
            (["--x", "x", "--y", "x"], "error: column x is in x and in y"),
            (["--x", "x", "--y", "y", "--estimator", "ksg3"], "did you mean ksg"),
            (["--x", "x", "--y", "y", "--z", "noise", "--estimator", "ksg1"], "did you mean ksg?"),
            (["--x", "x", "--y", "y", "--set", "k=3"], "k is not an option; the options are"),
            (["--x", "x", "--y", "y", "--set", "k"], "error: 'k': expected option=value"),
            (["--x", "x", "--y", "y", "--shuffles", "-1"], "shuffles and seed must be 0 or more"),
        ],
    )
    def test_bad_input_is_one_message(self, csv, words, text, capsys):
        more = [] if "--estimator" in words else ["--estimator", "ksg1"]
        assert estimate(csv, *words, *more) == 2
        shown = capsys.readouterr()
        assert shown.err.startswith("error: ")
        assert text in shown.err
        assert len(shown.err.splitlines()) == 1
        assert shown.out == ""

    def test_no_such_file(self, tmp_path, capsys):
        words = ["--x", "x", "--y", "y", "--estimator", "ksg1"]
        assert estimate(tmp_path / "none.csv", *words) == 2
        assert "none.csv is not a file" in capsys.readouterr().err

    @pytest.mark.parametrize("words", [[], ["file.csv"], ["file.csv", "--x", "a"]])
    def test_what_must_be_given(self, words, capsys):
        with pytest.raises(SystemExit) as stopped:
            estimate(*words)
        assert stopped.value.code == 2
        assert "expected FILE, --x and --y (or --list)" in capsys.readouterr().err


class TestBenchmark:
    TASKS = ("1v1-normal-0.75", "1v1-additive-0.75")

    def run(self, folder, *words):
        few = ["--tasks", *self.TASKS, "--samples", 100, "--jobs", 1, "--out", folder]
        return benchmark("--estimators", "ksg1", "gaussian", *few, *words)

    def test_the_table_and_the_files(self, tmp_path, capsys):
        assert self.run(tmp_path) == 0
        shown = capsys.readouterr()
        for task in self.TASKS:
            expected = ESTIMATORS["ksg1"].estimate(*task_named(task).sample(100, 0))
            line = next(line for line in shown.out.splitlines() if line.startswith(task))
            assert line.split()[2] == f"{expected:.3f}"
        assert shown.err == ""
        names = ["heatmap.png", "results.csv", "results.jsonl", "results.md"]
        assert sorted(path.name for path in tmp_path.iterdir()) == names
        assert all(f"{tmp_path / name}" in shown.out for name in names)
        frame = pd.read_csv(tmp_path / "results.csv")
        records = map(json.loads, (tmp_path / "results.jsonl").read_text().splitlines())
        assert frame["estimate"].tolist() == pytest.approx([r["estimate"] for r in records])

    def test_as_json(self, tmp_path, capsys):
        options = ["--set", "ksg1.neighbours=3", "--seeds", "0,1", "--json"]
        assert self.run(tmp_path, *options) == 0
        found = json.loads(capsys.readouterr().out)
        estimates = [
            Ksg(neighbours=3).estimate(*task_named(self.TASKS[0]).sample(100, seed))
            for seed in (0, 1)
        ]
        cell = found["tasks"][self.TASKS[0]]["estimators"]["ksg1"]
        assert cell["estimate"] == pytest.approx(np.mean(estimates))
        assert cell["seeds"] == 2
        assert found["estimators"]["ksg1"]["tasks"] == 2

    def test_shuffled_results_stand_beside_the_others(self, tmp_path, capsys):
        assert self.run(tmp_path) == 0
        before = (tmp_path / "results.csv").read_text()
        assert self.run(tmp_path, "--shuffled", "--json") == 0
        found = json.loads(capsys.readouterr().out.partition("\n{")[2].join(["{", ""]))
        assert {task["truth"] for task in found["tasks"].values()} == {0.0}
        assert (tmp_path / "results.csv").read_text() == before
        assert (tmp_path / "shuffled.csv").exists()
        assert (tmp_path / "shuffled.png").exists()
        assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 8

    def test_the_same_command_measures_nothing_again(self, tmp_path, monkeypatch, capsys):
        assert self.run(tmp_path) == 0
        first = capsys.readouterr().out

        def measured(wanted):
            raise AssertionError(wanted)

        monkeypatch.setattr("mimrl.mi.benchmark.running.measure", measured)
        assert self.run(tmp_path) == 0
        assert capsys.readouterr().out == first

    def test_interrupted(self, tmp_path, monkeypatch, capsys):
        def interrupted(*_, **__):
            raise KeyboardInterrupt

        monkeypatch.setattr(benchmark_command, "run_benchmark", interrupted)
        assert self.run(tmp_path) == 130
        assert "the same command goes on with what is left" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("words", "text"),
        [
            (["--tasks", "1v1-norml-0.75"], "did you mean 1v1-normal-0.75"),
            (["--set", "neighbours=3"], "expected NAME.option=value"),
            (["--set", "ksg1.k=3"], "k is not an option"),
            (["--set", "ksg2.neighbours=3"], "['ksg2'], which are not measured"),
            (["--data", "nowhere"], "nowhere is not a folder"),
            (["--jobs", "0"], "jobs must be at least 1"),
        ],
    )
    def test_bad_input_is_one_message(self, words, text, tmp_path, capsys):
        assert self.run(tmp_path, *words) == 2
        shown = capsys.readouterr()
        assert text in shown.err
        assert len(shown.err.splitlines()) == 1

    @pytest.mark.parametrize("seeds", ["a", "", "1,,2"])
    def test_seeds_that_are_none(self, seeds, tmp_path, capsys):
        with pytest.raises(SystemExit) as stopped:
            self.run(tmp_path, f"--seeds={seeds}")
        assert stopped.value.code == 2
        assert "expected integers between commas" in capsys.readouterr().err
