"""``python -m mimrl.missing``: what it reads, prints and writes, and what it refuses."""

from __future__ import annotations

import csv
import json
import shutil

import pytest
from training.small import small_settings

from mimrl.missing import main
from mimrl.training import checkpoint
from mimrl.training.missing import DEFINITION
from mimrl.training.run import train, train_seeds

SHORT = ("training.epochs=1", "training.controls=0")
FEW = ["--rates", "0,.5", "--draws", "2", "--device", "cpu"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """``plain`` with two seeds, whose reports have missing modalities, and one with dropout."""
    folder = tmp_path_factory.mktemp("runs")
    asked = (
        *("name=plain", "evaluation.missing=true"),
        *("evaluation.missing_rates=[0,0.5]", "evaluation.missing_draws=2"),
    )
    train_seeds(small_settings(folder, *SHORT, *asked), (0, 1), progress=False)
    more = ("name=dropped", "training.modality_dropout=0.5")
    train(small_settings(folder, *SHORT, *more), progress=False)
    return folder


def read(folder):
    return json.loads((folder / "missing.json").read_text())


class TestWhatItDoes:
    @pytest.mark.parametrize("split", ["valid", "test"])
    def test_it_gives_the_numbers_of_the_run_itself(self, runs, tmp_path, split, capsys):
        run = runs / "plain" / "seed1"
        assert main([str(run), *FEW, "--split", split, "--out", str(tmp_path / "new/out")]) == 0
        found = read(tmp_path / "new" / "out")
        metrics = json.loads((run / "metrics.json").read_text())
        assert found["split"] == split
        assert found["definition"] == DEFINITION == metrics["missing"]["definition"]
        assert found["models"][str(run)]["seeds"] == [metrics["missing"][split]]
        said = capsys.readouterr().out
        assert " ".join(said.split()).startswith(DEFINITION)
        assert f"{run}: 32 samples; present in all of them\n" in said
        assert "text+audio+video " in said
        assert "mean (standard deviation) over 2 draws" in said

    def test_files_go_to_the_folder_of_a_run_or_of_a_checkpoint(self, runs, tmp_path, capsys):
        run = shutil.copytree(runs / "plain" / "seed0", tmp_path / "seed0")
        (run / "missing.png").unlink()
        assert main([str(run / "best.safetensors"), *FEW]) == 0
        assert (run / "missing.png").stat().st_size > 10_000
        lines = list(csv.DictReader((run / "missing.csv").open()))
        assert len(lines) == 7 + 2 * 2
        assert lines[0]["present"] == "text+audio+video"
        assert [line["draw"] for line in lines[7:]] == ["0", "1", "0", "1"]
        assert capsys.readouterr().out.endswith(
            f"written: {run}: missing.json, missing.csv, missing.png\n"
        )

    def test_several_seeds_and_several_runs(self, runs, tmp_path, capsys):
        names = [str(runs / "plain"), str(runs / "dropped")]
        assert main([*names, *FEW, "--out", str(tmp_path), "--threads", "1"]) == 0
        models = read(tmp_path)["models"]
        assert list(models) == names
        assert [len(models[name]["seeds"]) for name in names] == [2, 1]
        both = [one["subsets"]["text"]["auc"] for one in models[names[0]]["seeds"]]
        assert models[names[0]]["subsets"]["text"]["mean"]["auc"] == pytest.approx(sum(both) / 2)
        assert models[names[0]]["rates_over"] == "2 seeds (means of 2 draws each)"
        assert "mean (standard deviation) over 2 seeds" in capsys.readouterr().out

    def test_the_seed_of_the_draws(self, runs, tmp_path):
        run = str(runs / "plain" / "seed0")
        found = []
        for seed in ("3", "3", "4"):
            assert main([run, *FEW, "--out", str(tmp_path), "--seed", seed]) == 0
            found.append(read(tmp_path)["models"][run])
        assert found[0] == found[1]
        assert found[0]["subsets"] == found[2]["subsets"]
        assert found[0]["rates"]["0.5"] != found[2]["rates"]["0.5"]

    def test_an_incomplete_training_is_said_to_be_one(self, runs, tmp_path, capsys):
        copy = shutil.copytree(runs / "plain", tmp_path / "plain")
        (copy / "seed1" / "metrics.json").unlink()
        assert main([str(copy), *FEW]) == 0
        assert capsys.readouterr().err == (
            f"warning: {copy / 'seed1'}: its training is not complete; its best model so far is "
            "evaluated\n"
        )


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                ["nothing"],
                "nothing holds no model; expected a run folder such as runs/<name>/seed0",
            ),
            (["{runs}"], "holds no model"),
            (["{runs}/plain/seed0/last.safetensors"], "holds a state, expected a model"),
            (["{runs}/plain/seed0/log.jsonl"], "is not a readable safetensors file"),
            (["{runs}/plain", "--data", "no.pkl"], "data file no.pkl does not exist"),
            (["{runs}/plain", "--out", "{runs}/plain/seed0/log.jsonl"], "folder cannot be made"),
        ],
    )
    def test_what_cannot_be_used_is_one_message(self, runs, arguments, message, capsys):
        assert main([part.format(runs=runs) for part in arguments]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("error: ")
        assert message in said.err
        assert said.err.count("\n") == 1

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["a", "--rates", "0,1"], "'0,1': expected different numbers in [0, 1), separated by"),
            (["a", "--rates", ".1,0.1"], "expected different numbers in [0, 1)"),
            (["a", "--rates", "x"], "expected different numbers in [0, 1)"),
            (["a", "--draws", "0"], "'0': expected a whole number from 1 on"),
            (["a", "--seed", "1,2"], "'1,2': expected one seed, got 2"),
            (["a", "--split", "train"], "invalid choice: 'train'"),
            (["a", "b"], "--out FOLDER is needed where several RUNs are compared"),
            (["a", "a", "--out", "o"], "RUN: expected different ones, got a a"),
            ([], "the following arguments are required: RUN"),
        ],
    )
    def test_wrong_arguments(self, arguments, message, capsys):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2
        assert message in capsys.readouterr().err

    def test_a_model_of_one_modality(self, tmp_path, capsys):
        more = ("data.modalities=[text]", "model.encoders={}")
        folder = train(small_settings(tmp_path, *SHORT, *more), progress=False).folder
        capsys.readouterr()
        assert main([str(folder)]) == 2
        assert "expected two modalities and one draw, or more of both" in capsys.readouterr().err

    def test_models_of_other_modalities_are_not_compared(self, runs, tmp_path, capsys):
        more = ("data.modalities=[text,audio]", "model.encoders={}")
        folder = train(small_settings(tmp_path, *SHORT, *more), progress=False).folder
        arguments = [str(folder), str(runs / "plain"), *FEW, "--out", str(tmp_path)]
        assert main(arguments) == 2
        assert "expected the same modalities, metrics and rates" in capsys.readouterr().err

    def test_data_that_are_gone(self, runs, tmp_path, capsys):
        """The run's settings name a file that is no longer there: --data is what helps."""
        loaded = checkpoint.load_model(runs / "plain" / "seed0")
        tree = loaded.settings.model_dump(mode="json")
        tree["data"] |= {"path": "gone.pkl", "layout": "mmsa"}
        del tree["data"]["planted"]
        tensors, header = checkpoint.read(loaded.path, "model")
        checkpoint.write(
            tmp_path / "moved.safetensors", "model", tensors, {**header, "settings": tree}
        )
        assert main([str(tmp_path / "moved.safetensors")]) == 2
        assert "or name the data file with --data" in capsys.readouterr().err
