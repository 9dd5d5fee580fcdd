"""LSMI of any torch model: the results, and arguments that do not fit."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from small_encoders import SIZE, Encoders, batches, built, text_audio_labels
from torch.utils.data import DataLoader, TensorDataset

import lsmi.estimation
from lsmi.adapters import BatchFeatures
from lsmi.decomposition import PointwiseInformation, decompose_pointwise
from lsmi.estimation import run_lsmi_estimation
from lsmi.results import RAW, Analysis, PairReading, Quantity, SplitReading
from mimrl.errors import ConfigError, EstimationError

PAGE = Path(__file__).parents[2] / "docs" / "lsmi-python.md"


@pytest.fixture
def data():
    return text_audio_labels()


def stand_in(splits, pairs, settings):
    """An analysis whose pointwise values are columns of the features."""
    (pair,) = pairs
    readings = {}
    for name, split in splits.items():
        x1, x2 = (split.features[modality] for modality in pair)
        columns = (x1[:, 0], x2[:, 0], x1[:, 1], x2[:, 1], x1[:, 2])
        found = decompose_pointwise(PointwiseInformation(*columns))
        totals = {n: Quantity(1.0, 0.5, 2.0, 0.0, -0.1, 0.1) for n in RAW}
        totals["r_adjusted"] = Quantity(1.0, 0.5, 2.0)
        readings[name] = SplitReading(
            ids=tuple(split.ids or map(str, range(len(split)))),
            labels=split.labels,
            decomposition=found,
            label_entropy=0.7,
            quantities=totals,
            scales={},
            reliability={},
        )
    return Analysis(
        pairs={pair: PairReading(pair, readings, (3, 2), {})},
        classes=(0, 1),
        prior=np.array([0.5, 0.5]),
        notes={},
        settings=settings,
    )


@pytest.fixture
def loaders(data):
    def made(size):
        return batches([v[:size] for v in data], lambda t, a, y: (t, a, y))

    return made(SIZE), made(24)


def test_results_have_the_published_keys_and_hold_the_analysis(loaders, monkeypatch, tmp_path):
    seen = {}

    def watched(splits, pairs, settings):
        seen.update(splits=splits, settings=settings, analysis=stand_in(splits, pairs, settings))
        return seen["analysis"]

    monkeypatch.setattr(lsmi.estimation, "analyse", watched)
    path = tmp_path / "new" / "lsmi.pt"
    results = run_lsmi_estimation(
        built(Encoders), *loaders, 2, "cpu", 7, 9, 32, path, modalities=("text", "audio"), folds=3
    )
    chosen = seen["settings"]
    assert (chosen.discriminator_epochs, chosen.entropy_epochs, chosen.batch_size) == (7, 9, 32)
    assert (chosen.folds, chosen.device) == (3, "cpu")
    assert list(seen["splits"]) == ["train", "valid"], "validation is not read as training data"
    for key, split, size in (("train", "train", SIZE), ("val", "valid", 24)):
        reading = seen["analysis"].pairs["text", "audio"].splits[split]
        found, parts = results[key], reading.decomposition
        for name in ("r", "u1", "u2", "s"):
            assert found[f"{name}_sample"].shape == (size,)
            np.testing.assert_array_equal(found[f"{name}_sample"], getattr(parts.adjusted, name))
            np.testing.assert_array_equal(found[f"{name}_sample_raw"], getattr(parts.raw, name))
            for ending in ("", "_raw"):
                mean = found[f"{name.upper()}_mean{ending}"]
                assert isinstance(mean, float)
                assert mean == pytest.approx(float(found[f"{name}_sample{ending}"].mean()))
        assert found["R_mean"] == pytest.approx(found["R_mean_raw"] + found["shift"])
        for name in ("i1", "i2", "i12", "h1", "h2"):
            np.testing.assert_array_equal(found[f"{name}_sample"], getattr(parts.information, name))
        assert found["intervals"]["i12"] == (0.5, 2.0)
        assert found["controls"]["r"] == (0.0, -0.1, 0.1)
        assert "r_adjusted" not in found["controls"]
        assert found["labels"].tolist() == seen["splits"][split].labels.tolist()
        assert found["ids"] == [str(row) for row in range(size)]
    assert results["metadata"]["modalities"] == ["text", "audio"]
    assert results["metadata"]["settings"] == {
        **dataclasses.asdict(chosen), "prior": "data", "scaling": "whiten",
    }  # fmt: skip
    assert_same(torch.load(path, weights_only=True), results)
    assert [p.name for p in path.parent.iterdir()] == ["lsmi.pt"]


def assert_same(one, other):
    """Equal containers of equal tensors."""
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            assert_same(one[key], other[key])
    else:
        assert one == other


def test_arguments_that_do_not_fit(loaders, monkeypatch, tmp_path):
    def never(*args, **kwargs):
        pytest.fail("an analysis was begun")

    monkeypatch.setattr(lsmi.estimation, "analyse", never)
    model = built(Encoders)
    with pytest.raises(EstimationError, match=r"n_classes is 3.* 2 different values: 0, 1; set n"):
        run_lsmi_estimation(model, *loaders, n_classes=3)
    with pytest.raises(ConfigError, match="two different features"):
        run_lsmi_estimation(model, *loaders, modalities=("text", "text"))
    with pytest.raises(ConfigError, match="two different features"):
        run_lsmi_estimation(model, *loaders, modalities="text")
    with pytest.raises(ConfigError, match=r"is a folder; expected a file"):
        run_lsmi_estimation(model, *loaders, save_path=tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="its folder cannot be made"):
        run_lsmi_estimation(model, *loaders, save_path=tmp_path / "file" / "lsmi.pt")
    with pytest.raises(ConfigError, match="batch_size is 1"):
        run_lsmi_estimation(model, *loaders, batch_size=1)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def planted(size, seed, *, chance=False):
    """The label is in x1; x2 is noise. With ``chance`` it is in neither."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, size)
    x1 = generator.normal(size=(size, 3)) + 3 * (0 if chance else labels[:, None])
    x2 = generator.normal(size=(size, 2))
    parts = (x1.astype("f4"), x2.astype("f4"), labels)
    return DataLoader(TensorDataset(*map(torch.from_numpy, parts)), batch_size=64)


def as_given(model, batch):
    return BatchFeatures({"signal": batch[0], "noise": batch[1]}, batch[2])


QUICK = {"shuffles": 1, "bootstrap": 50, "repeats": 1, "folds": 3, "measures": False}


@pytest.mark.filterwarnings("ignore:.*not distinguishable:mimrl.errors.EstimationWarning")
def test_what_one_feature_knows_is_unique_to_it():
    """At a distance of 3 sqrt(3) standard deviations the label is all but certain from x1.

    Tolerance: six readings with other seeds were off by 0.035 nats at most.
    """
    results = run_lsmi_estimation(
        None, planted(300, 0), planted(200, 1), adapter=as_given, seed=3, **QUICK
    )
    for found in (results["train"], results["val"]):
        assert found["U1_mean"] == pytest.approx(found["label_entropy"], abs=0.06)
        for name in ("R_mean", "U2_mean", "S_mean"):
            assert abs(found[name]) < 0.06
        for ending in ("", "_raw"):
            r, u1, u2, s = (found[f"{name}_sample{ending}"] for name in ("r", "u1", "u2", "s"))
            torch.testing.assert_close(r + u1, found["i1_sample"])
            torch.testing.assert_close(r + u2, found["i2_sample"])
            torch.testing.assert_close(r + u1 + u2 + s, found["i12_sample"])
        low, high = found["intervals"]["i1"]
        assert low <= found["i1_sample"].mean() <= high
        assert found["controls"]["i1"][2] < low


@pytest.mark.filterwarnings("ignore::mimrl.errors.EstimationWarning")
def test_chance_labels_tell_nothing_about_validation_samples():
    results = run_lsmi_estimation(
        None, planted(300, 0, chance=True), planted(200, 1, chance=True), adapter=as_given, **QUICK
    )
    for key in ("train", "val"):
        assert results[key]["i12_sample"].mean() < 0.02
        assert abs(results[key]["R_mean"]) < 0.03


@pytest.mark.filterwarnings("ignore::mimrl.errors.EstimationWarning")
def test_the_page_runs_and_prints_what_it_says(capsys, seeded):
    text = PAGE.read_text(encoding="utf-8")
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(code, str(PAGE), "exec"), {"__name__": "page"})
        assert capsys.readouterr().out.strip() == code.rstrip().rpartition("# ")[2]
