"""Real files, each from its config through both commands; a few epochs only, run-throughs all."""

from __future__ import annotations

import csv
import itertools
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lsmi.command
import mimrl.command
from mimrl.datasets.catalogue import open_corpus
from mimrl.datasets.prepare import prepare
from mimrl.settings import load
from mimrl.training.checkpoint import load_model

pytestmark = pytest.mark.slow

CONFIGS = Path(__file__).parents[1] / "configs"
SIZES = {
    "sarcasm_clips": {"train": 90, "valid": 22, "test": 22},
    "pom": {"train": 600, "valid": 100, "test": 203},
    "misa_dev": {"train": 137, "valid": 46, "test": 46},
}
ATOMS = ("r", "u1", "u2", "s")
EXACT = 1e-7  # of a sum of three numbers with nine significant digits, the largest below 100


@dataclass(frozen=True)
class Done:
    """A run and its reading."""

    name: str
    folder: Path
    stem: Path

    def json(self, path: Path) -> Any:
        """A JSON file; NaN and infinity are refused, as they are no JSON."""
        return json.loads(path.read_text(), parse_constant=pytest.fail)

    def csv(self, path: Path) -> list[dict[str, str]]:
        """The lines of a table."""
        with path.open(newline="") as file:
            return list(csv.DictReader(file))


@pytest.fixture(scope="module", params=list(SIZES))
def done(request, data_root, tmp_path_factory) -> Done:
    """Trained and read once for each config, with two epochs and short fits."""
    output = tmp_path_factory.mktemp("runs")
    name = request.param
    quick = ["training.epochs=2", "training.controls=1", "device=cpu", "threads=1"]
    config = str(CONFIGS / f"{name}.yaml")
    assert mimrl.command.main(["--config", config, f"output={output}", *quick]) == 0
    run = Done(name, output / name / "seed0", output / "reading")
    reading = ["--ckpt_path", str(run.folder), "--save_path", str(run.stem), "--device", "cpu"]
    reading += ["--dataset", name, "--config_path", str(CONFIGS), "--batch_size", "64"]
    short = ["--discriminator_epochs", "5", "--entropy_epochs", "5", "--folds", "3"]
    short += ["--repeats", "1", "--shuffles", "1", "--bootstrap", "100", "--density", "em"]
    assert lsmi.command.main([*reading, *short]) == 0
    return run


def test_every_metric_is_a_number(done):
    report = done.json(done.folder / "metrics.json")
    assert report["samples"] == SIZES[done.name]
    for split in ("valid", "test"):
        assert report[split]
        assert all(isinstance(value, float | int) for value in report[split].values())
    assert all(0 <= share <= 1 for share in report["alive"].values())
    settings = load(done.folder / "settings.yaml")
    assert set(report["alive"]) == {*settings.data.modalities, "fused"}


def test_every_loss_and_term_is_a_number(done):
    def numbers(tree):
        return [n for v in tree.values() for n in (numbers(v) if isinstance(v, dict) else [v])]

    lines = [json.loads(line) for line in (done.folder / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert "stage1" in lines[1]
    for line in lines:
        assert all(math.isfinite(value) for value in numbers(line))


def test_a_prediction_for_every_sample(done):
    rows = done.csv(done.folder / "predictions.csv")
    for split in ("valid", "test"):
        ids = [row["id"] for row in rows if row["split"] == split]
        assert len(set(ids)) == len(ids) == SIZES[done.name][split]
    assert all(row["label"] and row["prediction"] for row in rows)


def test_a_reading_of_every_sample_for_every_pair(done):
    rows = done.csv(done.stem.with_suffix(".csv"))
    names = (*load(CONFIGS / f"{done.name}.yaml").data.modalities, "fused")
    pairs = list(itertools.combinations(names, 2))
    assert list(dict.fromkeys((row["first"], row["second"]) for row in rows)) == pairs
    for pair, (split, size) in itertools.product(pairs, SIZES[done.name].items()):
        mine = [r["id"] for r in rows if (r["first"], r["second"], r["split"]) == (*pair, split)]
        assert len(set(mine)) == len(mine) == size
    names = ("i1", "i2", "i12", "h1", "h2", *ATOMS, *(f"{atom}_adjusted" for atom in ATOMS))
    values = {key: np.array([float(row[key]) for row in rows]) for key in names}
    assert all(np.isfinite(column).all() for column in values.values())
    for kind in ("", "_adjusted"):
        r, u1, u2, s = (values[f"{name}{kind}"] for name in ATOMS)
        np.testing.assert_allclose(r + u1, values["i1"], atol=EXACT)
        np.testing.assert_allclose(r + u2, values["i2"], atol=EXACT)
        np.testing.assert_allclose(r + u1 + u2 + s, values["i12"], atol=EXACT)


def test_totals_are_means_of_the_samples(done):
    rows = done.csv(done.stem.with_suffix(".csv"))
    report = done.json(done.stem.with_suffix(".json"))
    assert report["unit"] == "nats"
    for pair in report["pairs"]:
        for split, found in pair["splits"].items():
            place = (pair["first"], pair["second"], split)
            mine = [r for r in rows if (r["first"], r["second"], r["split"]) == place]
            assert found["samples"] == len(mine)
            for key in ("i1", "i2", "i12", *ATOMS):
                mean = np.mean([float(row[key]) for row in mine])
                total = found["quantities"][key]
                assert total["value"] == pytest.approx(mean, abs=1e-6)
                assert total["low"] <= total["value"] + 1e-9 <= total["high"] + 2e-9
            assert found["quantities"]["i12"]["value"] <= found["label_entropy"]


def test_pictures(done):
    for picture in (done.folder / "curves.png", done.stem.with_suffix(".png")):
        assert picture.read_bytes().startswith(b"\x89PNG")


def test_checkpoint_says_what_it_was_trained_on(done):
    loaded = load_model(done.folder)
    assert loaded.settings == load(done.folder / "settings.yaml")
    assert loaded.settings.data == load(CONFIGS / f"{done.name}.yaml").data


def test_all_zero_videos_of_pom_count_as_missing(data_root):
    settings = load(CONFIGS / "pom.yaml")
    data = prepare(open_corpus(settings.data), settings)
    lacking = {
        name: int((samples.inputs["video"].lengths == 0).sum())
        for name, samples in data.splits.items()
    }
    assert lacking == {"train": 322, "valid": 48, "test": 116}
    assert sum(lacking.values()) > sum(len(samples) for samples in data.splits.values()) / 2
    assert data.notes["train: all-zero video counted as missing"] == 322
    assert not any((samples.inputs["audio"].lengths == 0).any() for samples in data.splits.values())


def test_label_of_pom_is_the_column_that_the_config_names(data_root):
    settings = load(CONFIGS / "pom.yaml")
    corpus = open_corpus(settings.data)
    assert len(corpus.label_names) == 17
    column = corpus.label_names.index(settings.data.label)
    data = prepare(corpus, settings)
    for name, samples in data.splits.items():
        np.testing.assert_array_equal(samples.labels, corpus.splits[name].labels[:, column])


def test_videos_of_misa_dev_stay_whole(data_root):
    settings = load(CONFIGS / "misa_dev.yaml")
    data = prepare(open_corpus(settings.data), settings)
    groups = {name: set(samples.groups or ()) for name, samples in data.splits.items()}
    assert sum(map(len, groups.values())) == len(set.union(*groups.values())) == 10
    assert all(groups.values())
