import json
import math
from pathlib import Path

import pytest
import torch

from mimrl.errors import CheckpointError, ConfigError, DataError, MissingFileError
from mimrl.mi.mmg import command, experiment
from mimrl.mi.mmg.experiment import Experiment, run_experiment
from mimrl.mi.mmg.results import append_result, read_results
from mimrl.mi.mmg.training import Training

FAST = (
    *("--dim", "3", "--strength", "20", "--max_epochs", "2", "--train_sample_num", "400"),
    *("--test_num", "200", "--model_dim", "8", "--mi_estimation_interval", "2", "--passes", "1"),
    *("--quiet", "--device", "cpu"),
)
SMALL = Experiment(
    dim=3, strength=20.0, max_epochs=2, train_sample_num=400, test_num=200, model_dim=8,
    mi_estimation_interval=2, passes=1,
).filled()  # fmt: skip


def run(folder: Path, *words: str) -> int:
    places = "--results_file", str(folder / "r.jsonl"), "--checkpoint_dir", str(folder / "c")
    return command.main([*FAST, *places, *words])


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "r.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("expert", ["mmg", "mmg_moe"])
def test_one_experiment(tmp_path, capsys, expert):
    assert run(tmp_path, *(["--use_moe"] if expert == "mmg_moe" else [])) == 0
    (result,) = lines(tmp_path)
    assert json.loads(capsys.readouterr().out) == result
    assert result["task"] == "multinormal-sparse-3-3-2-20.0"
    assert result["gt_mi"] == pytest.approx(-math.log(1 - (400 / 401) ** 2))
    assert result["estimator"] == expert
    for name in ("mi_estimate", "mi_estimate_orthogonal", "mi_estimate_adaptive"):
        assert result[name] == pytest.approx(5.30, abs=0.4)  # 200 test samples: +- 0.1
    assert result["mi_estimate_range"] == pytest.approx(result["mi_estimate"], abs=0.01)
    assert result["logsnr_range"] == [-10, 14]
    assert result["steps"] == 6
    settings = result["settings"]
    assert (settings["batch_size"], settings["learning_rate"]) == (128, 1e-3)
    assert settings["use_moe"] == (expert == "mmg_moe")


def test_what_is_done_is_not_done_again(tmp_path, capsys, monkeypatch):
    assert run(tmp_path) == 0
    monkeypatch.setattr(command, "run_experiment", lambda *_, **__: pytest.fail("ran again"))
    assert run(tmp_path) == 0
    assert len(lines(tmp_path)) == 1
    assert "already" in capsys.readouterr().err
    monkeypatch.undo()
    assert run(tmp_path, "--passes", "2") == 0  # another setting is another experiment
    assert len(lines(tmp_path)) == 2


def test_the_sweep_covers_all_and_gives_each_its_own_defaults(tmp_path, monkeypatch):
    def described(asked: Experiment, **_: object) -> dict:
        return {"settings": asked.settings()}

    monkeypatch.setattr(command, "run_experiment", described)
    words = ["--run_all", "--quiet", "--device", "cpu", "--results_file", str(tmp_path / "r.jsonl")]
    assert command.main(words) == 0
    found = [line["settings"] for line in lines(tmp_path)]
    assert len(found) == 3 * 5 * 5
    assert {(s["task_type"], s["dim"], s["strength"]) for s in found} == {
        (kind, dim, strength)
        for kind in ("multinormal", "half_cube", "spiral")
        for dim in (3, 5, 10, 20, 50)
        for strength in (200.0, 650.0, 1100.0, 1550.0, 2000.0)
    }
    for s in found:
        own = (1e-3, 128, 500) if s["dim"] <= 5 else (2e-3, 256, 750)
        assert (s["learning_rate"], s["batch_size"], s["max_epochs"]) == own


def test_a_sweep_that_was_killed_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "DMI_KINDS", ("multinormal",))
    monkeypatch.setattr(command, "DMI_DIMS", (3,))
    monkeypatch.setattr(command, "DMI_STRENGTHS", (2.0, 20.0))
    assert run(tmp_path, "--run_all") == 0
    whole = (tmp_path / "r.jsonl").read_bytes()
    (tmp_path / "r.jsonl").write_bytes(whole[: len(whole) - 40])  # in the middle of a line
    assert run(tmp_path, "--run_all") == 0
    again, before = lines(tmp_path), [json.loads(line) for line in whole.splitlines()]
    assert [r["settings"] for r in again] == [r["settings"] for r in before]
    assert [r["mi_estimate"] for r in again] == [r["mi_estimate"] for r in before]


def test_an_interrupted_training_goes_on_to_the_same_result(tmp_path, monkeypatch):
    monkeypatch.setattr(experiment, "WRITE_EVERY", 0.0)

    def stop(training: Training) -> None:
        if training.step == 4:
            raise KeyboardInterrupt

    steps: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        run_experiment(SMALL, checkpoints=tmp_path, progress=stop)
    resumed = run_experiment(
        SMALL, checkpoints=tmp_path, progress=lambda training: steps.append(training.step)
    )
    assert steps == [6]
    whole = run_experiment(SMALL)
    assert resumed["mi_estimate_orthogonal"] == whole["mi_estimate_orthogonal"]
    assert resumed["mi_estimate"] == whole["mi_estimate"]


def test_a_checkpoint_is_read_or_trained_on(tmp_path):
    first = run_experiment(SMALL, checkpoints=tmp_path)
    again = run_experiment(
        SMALL, checkpoints=tmp_path, load_checkpoint=True, progress=lambda _: pytest.fail("trained")
    )
    assert again["mi_estimate"] == first["mi_estimate"]
    longer = Experiment(**{**SMALL.settings(), "max_epochs": 4.0})
    steps: list[int] = []
    more = run_experiment(
        longer,
        checkpoints=tmp_path,
        load_checkpoint=True,
        progress=lambda training: steps.append(training.step),
    )
    assert steps == [8, 10, 12]
    assert more["steps"] == 12
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(CheckpointError, match="as many epochs"):
        run_experiment(SMALL, checkpoints=tmp_path, load_checkpoint=True)
    fresh = run_experiment(SMALL, checkpoints=tmp_path)  # not asked to load: trained anew
    assert fresh["steps"] == 6
    other = Experiment(**{**SMALL.settings(), "learning_rate": 0.1})
    with pytest.raises(MissingFileError, match="--load_ckpt"):
        run_experiment(other, checkpoints=tmp_path, load_checkpoint=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--strength", "-1"], "strength"),
        (["--dim", "1"], "dim"),
        (["--snr_threshold", "99", "--use_moe"], "snr_threshold = 99"),
        (["--logsnr_scale", "0"], "log-SNR law"),
        (["--ema_decay", "1"], "ema_decay"),
        (["--train_sample_num", "3"], "train_sample_num"),
        (["--device", "abacus"], "abacus"),
        (["--load_ckpt"], "does not exist"),
        (["--learning_rate", "0"], "learning_rate"),
        (["--batch_size", "0"], "batch_size"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_code_2(tmp_path, capsys, words, message):
    assert run(tmp_path, *words) == 2
    found = capsys.readouterr()
    assert message in found.err
    assert found.err.count("\n") == 1
    assert not found.out
    assert not list(tmp_path.iterdir())


def test_options_argparse_knows_to_be_wrong(capsys):
    for words in (["--task_type", "cube"], ["--dim", "three"], ["--preprocess", "log"]):
        with pytest.raises(SystemExit) as ended:
            command.main(words)
        assert ended.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_help_names_every_setting(capsys):
    with pytest.raises(SystemExit):
        command.main(["--help"])
    text = capsys.readouterr().out
    for name in Experiment.__dataclass_fields__:
        assert f"--{name}" in text


def test_results_files(tmp_path):
    path = tmp_path / "new" / "r.jsonl"
    assert read_results(path) == []
    append_result(path, {"a": 1})
    with path.open("a") as file:
        file.write('{"a": ')
    assert read_results(path) == [{"a": 1}]
    append_result(path, {"a": 2})
    assert path.read_text() == '{"a": 1}\n{"a": 2}\n'
    for content in ("nonsense\n", "[1]\n"):
        path.write_text(content)
        with pytest.raises(DataError, match="line 1"):
            read_results(path)


def test_settings_are_those_of_a_training_or_of_its_reading(tmp_path):
    same = Experiment(**{**SMALL.settings(), "max_epochs": 9.0, "test_num": 7, "passes": 3})
    other = Experiment(**{**SMALL.settings(), "weight_decay": 0.1})
    assert same.checkpoint(tmp_path) == SMALL.checkpoint(tmp_path)
    assert other.checkpoint(tmp_path) != SMALL.checkpoint(tmp_path)
    with pytest.raises(ConfigError, match="test_num = 1"):
        Experiment(test_num=1).filled()
    assert torch.get_num_threads() >= 1


def test_a_checkpoint_of_other_settings_is_refused(tmp_path):
    other = Experiment(**{**SMALL.settings(), "weight_decay": 0.1})
    run_experiment(other, checkpoints=tmp_path)
    other.checkpoint(tmp_path).rename(SMALL.checkpoint(tmp_path))
    with pytest.raises(CheckpointError, match="other settings"):
        run_experiment(SMALL, checkpoints=tmp_path, load_checkpoint=True)
