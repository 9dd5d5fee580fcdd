"""What is asked of the benchmark: groups of tasks, and requests that cannot be met."""

import pytest
from benchmark_probe import TASK

from mimrl.errors import ConfigError
from mimrl.mi.benchmark import run_benchmark
from mimrl.mi.benchmark.selection import chosen_tasks
from mimrl.mi.estimators.conditional import ConditionalKsg
from mimrl.mi.tasks import BMI_TASKS, task_named


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"tasks": ["1v1-normal-0.57"]}, "no task called .*did you mean 1v1-normal-0.75"),
        ({"tasks": []}, "no task was asked for"),
        ({"estimators": ["ksg"]}, "no estimator for tasks of x and y called 'ksg'; did you mean"),
        ({"estimators": ["ksg1"], "tasks": ["conditional"]}, "for conditional tasks called 'ksg1'"),
        ({"estimators": []}, "no estimator was asked for"),
        ({"estimators": {"c": ConditionalKsg()}}, "no task that was asked for suits .* 'c'"),
        ({"estimators": ["ksg1"], "tasks": [TASK, "noisy-channel"]}, "suits the task 'noisy"),
        ({"options": {"ksg2": {"neighbours": 3}}}, r"\['ksg2'\], which are not measured"),
        ({"options": {"ksg1": {"k": 3}}}, "k is not an option"),
        ({"samples": 1}, "samples must be at least 2, got 1"),
        ({"seeds": ()}, "different integers from 0"),
        ({"seeds": (1, 1)}, "different integers from 0"),
        ({"seeds": (-1,)}, "different integers from 0"),
        ({"jobs": 0}, "jobs must be at least 1"),
    ],
    ids=str,
)
def test_what_cannot_be_measured(asked, text):
    with pytest.raises(ConfigError, match=text):
        run_benchmark(**{"estimators": ["ksg1"], "tasks": [TASK], "samples": 50} | asked)


def test_groups_of_tasks():
    ten = chosen_tasks(["independence"])
    assert len({task.name for task in ten} & set(BMI_TASKS)) == 10
    assert {task.dim_x for task in ten} == {1, 2, 3, 5, 25}
    steps = chosen_tasks(["gaussian-staircase", "cubic-staircase"])
    assert [task.mutual_information for task in steps] == pytest.approx([2, 4, 6, 8, 10] * 2)


def test_two_tasks_of_one_name():
    task = task_named(TASK)
    other = type(task)(task.name, task.law, "another", "here")
    with pytest.raises(ConfigError, match="two different tasks are called"):
        run_benchmark(["gaussian"], [task, other], samples=50)
    assert run_benchmark(["gaussian"], [task, TASK], samples=50).tasks == {
        TASK: task.mutual_information
    }
