"""LSMI of any torch model: what the adapter sees, what comes back, what is refused."""

from __future__ import annotations

import dataclasses
import re
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lsmi.estimation
from lsmi.adapters import BatchFeatures, default_adapter
from lsmi.decomposition import PointwiseInformation, decompose_pointwise
from lsmi.estimation import run_lsmi_estimation
from lsmi.extraction import extract
from lsmi.results import RAW, Analysis, PairReading, Quantity, SplitReading
from mimrl.errors import ConfigError, EstimationError, ShapeError

SIZE = 40
PAGE = Path(__file__).parents[2] / "docs" / "lsmi-python.md"


class Encoders(nn.Module):
    """Two encoders with the layers that behave differently in training."""

    def __init__(self):
        super().__init__()
        self.text = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
        self.audio = nn.Linear(2, 5)

    def forward(self, text, audio):
        return {"text": self.text(text), "audio": self.audio(audio)}


class ByBatch(Encoders):
    """Takes the whole batch, a mapping."""

    def forward(self, batch):
        return super().forward(batch["words"], batch["voice"])


class WithOutput(Encoders):
    """Gives an object with ``unimodal`` and ``fused``, as this project's model does."""

    def forward(self, text, audio):
        found = super().forward(text, audio)
        return SimpleNamespace(unimodal=found, fused=torch.cat(list(found.values()), dim=1))


class WithEncode(Encoders):
    """Classifies when called; encodes when asked to."""

    def encode(self, batch):
        return {name: getattr(self, name)(values) for name, values in batch[0].items()}

    def forward(self, batch):
        raise AssertionError("the model was called instead of encode")


@pytest.fixture
def data():
    generator = np.random.default_rng(0)
    text = torch.from_numpy(generator.normal(size=(SIZE, 3)).astype("f4"))
    audio = torch.from_numpy(generator.normal(size=(SIZE, 2)).astype("f4"))
    return text, audio, torch.from_numpy(generator.integers(0, 2, SIZE))


def built(kind):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind()


def batches(data, make, size=16):
    rows = [slice(i, i + size) for i in range(0, len(data[0]), size)]
    return [make(*(values[row] for values in data)) for row in rows]


Clip = namedtuple("Clip", "words voice sense")

CASES = {
    "tuple": (Encoders, lambda t, a, y: (t, a, y)),
    "list, labels (B, 1)": (Encoders, lambda t, a, y: [t, a, y[:, None]]),
    "namedtuple, float labels": (Encoders, lambda t, a, y: Clip(t, a, y.float())),
    "mapping": (ByBatch, lambda t, a, y: {"words": t, "voice": a, "label": y, "id": ["x"]}),
    "output": (WithOutput, lambda t, a, y: (t, a, y)),
    "encode": (WithEncode, lambda t, a, y: ({"text": t, "audio": a}, y == 1)),
}


@pytest.mark.parametrize("case", CASES)
def test_default_adapter_on_the_obvious_cases(data, case):
    kind, make = CASES[case]
    model = built(kind)
    found = extract(model, batches(data, make))
    model.eval()
    with torch.no_grad():
        expected = {"text": model.text(data[0]), "audio": model.audio(data[1])}
    assert list(found.features) == ["text", "audio"]
    for name, values in expected.items():
        np.testing.assert_allclose(found.features[name], values.numpy(), rtol=1e-6, atol=1e-6)
        assert found.features[name].dtype == np.float64
    assert found.labels.tolist() == data[2].tolist()
    assert found.labels.dtype == np.int64


def test_chosen_features(data):
    loader = batches(data, lambda t, a, y: (t, a, y))
    found = extract(built(WithOutput), loader, modalities=("fused", "audio"))
    assert {k: v.shape for k, v in found.features.items()} == {
        "fused": (SIZE, 9),
        "audio": (SIZE, 5),
    }
    with pytest.raises(EstimationError, match=r"no features video, only text, audio, fused"):
        extract(built(WithOutput), loader, modalities=("text", "video"), name="val_dataloader")


def test_a_model_of_this_project_and_its_batches(tmp_path):
    from training.small import small_settings

    from mimrl.datasets.catalogue import open_corpus
    from mimrl.datasets.loading import iterate
    from mimrl.datasets.prepare import prepare
    from mimrl.training.inference import encode
    from mimrl.training.run import build_model

    settings = small_settings(tmp_path)
    prepared = prepare(open_corpus(settings.data), settings)
    model = built(lambda: build_model(settings, prepared))
    samples = prepared.splits["valid"]
    found = extract(model, iterate(samples, 8, bucketing=False), modalities=("text", "fused"))
    expected = encode(model, samples, batch_size=32).named()
    for name, values in found.features.items():
        np.testing.assert_allclose(values, expected[name].numpy(), rtol=1e-4, atol=1e-5)
    assert found.labels.tolist() == samples.labels.tolist()


def test_the_model_and_the_generators_are_left_as_they_were(data):
    model = built(Encoders).train()
    model.audio.eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    seen = []

    def adapter(model, batch):
        seen.append((model.training, model.text[2].training, torch.is_grad_enabled()))
        return default_adapter(model, batch)

    state = torch.get_rng_state()
    loader = DataLoader(TensorDataset(*data), batch_size=16, shuffle=True)
    extract(model, loader, adapter=adapter)
    assert set(seen) == {(False, False, False)}
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert model.text[1].training
    assert not model.audio.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())

    def broken(model, batch):
        raise KeyError("words")

    with pytest.raises(KeyError):
        extract(model, loader, adapter=broken)
    assert model.training
    assert not model.audio.training


def test_one_pass_keeps_samples_together(data):
    """A loader that shuffles is read once: features, labels and names are of the same sample."""
    data[0][:, 0] = torch.arange(SIZE)
    data[2][:] = torch.arange(SIZE) % 2

    def adapter(model, batch):
        text, audio, label = batch
        names = [f"{int(value)}" for value in text[:, 0]]
        return BatchFeatures({"text": text, "audio": audio}, label, ids=names, groups=names)

    passes = []

    class Counted(DataLoader):
        def __iter__(self):
            passes.append(1)
            return super().__iter__()

    found = extract(None, Counted(TensorDataset(*data), 16, shuffle=True), adapter=adapter)
    assert passes == [1]
    order = found.features["text"][:, 0].astype(int)
    assert sorted(order) == list(range(SIZE))
    assert found.labels.tolist() == (order % 2).tolist()
    assert found.ids == found.groups == [str(row) for row in order]


@pytest.mark.parametrize(
    ("kind", "make", "message"),
    [
        (Encoders, lambda t, a, y: t, "no tensor of labels in a batch that is a Tensor"),
        (Encoders, lambda t, a, y: {"words": t}, "a batch that is a mapping with words"),
        (Encoders, lambda t, a, y: (t, y), r"model\(\*batch\[:-1\]\) failed: TypeError"),
        (
            ByBatch,
            lambda t, a, y: {"voice": t, "y": y},
            r"model\(batch\) failed: KeyError: 'words'",
        ),
        (Encoders, lambda t, a, y: (a, t, y), r"failed: RuntimeError: .*shapes"),
        (lambda: nn.Linear(3, 2), lambda t, a, y: (t, y), "the model gives a Tensor, not a map"),
    ],
)
def test_what_cannot_be_told_shows_how_to_write_an_adapter(data, kind, make, message):
    with pytest.raises(EstimationError, match=message) as caught:
        extract(built(kind), batches(data, make))
    assert "def adapter(model, batch):" in str(caught.value)


def gives(features=None, labels=None, **names):
    def adapter(model, batch):
        text, audio, label = batch
        chosen = {"text": text, "audio": audio} if features is None else features(text, audio)
        return BatchFeatures(chosen, label if labels is None else labels(label), **names)

    return adapter


@pytest.mark.parametrize(
    ("adapter", "error", "message"),
    [
        (lambda model, batch: batch, EstimationError, "adapter gave a tuple of Tensor.*BatchFeat"),
        (gives(lambda t, a: {"text": t[:, None], "audio": a}), ShapeError, r"\(16, 1, 3\).*mean"),
        (gives(lambda t, a: {"text": t[1:], "audio": a}), ShapeError, r"\(15, 3\).*\(16, D\)"),
        (gives(lambda t, a: {"text": t, "audio": [1]}), ShapeError, "audio is a list of int"),
        (gives(labels=lambda y: y + 0.25), EstimationError, r"has label [01]\.25, expected whole"),
        (gives(labels=lambda y: y[:, None].repeat(1, 2)), ShapeError, r"labels are \(16, 2\)"),
        (gives(labels=lambda y: y.tolist()), ShapeError, "labels are a list"),
        (gives(ids=["a"]), EstimationError, "ids of some samples are missing"),
        (
            gives(lambda t, a: {"text": t[:, : 1 + len(t) % 3], "audio": a}),
            ShapeError,
            r"text has widths \[2, 3\]",
        ),
    ],
)
def test_adapters_that_are_wrong(data, adapter, error, message):
    loader = batches(data, lambda *parts: parts)
    with pytest.raises(error, match=message) as caught:
        extract(None, loader, adapter=adapter, name="train_dataloader")
    assert "train_dataloader" in str(caught.value)


def test_no_batches_and_no_such_device(data):
    with pytest.raises(EstimationError, match="val_dataloader gives no batches"):
        extract(None, [], name="val_dataloader")
    loader = batches(data, lambda *parts: parts)
    with pytest.raises(ConfigError, match="device is 'gpu'"):
        extract(built(Encoders), loader, device="gpu")
    with pytest.raises(ConfigError, match=r"device=cuda:99.*no such GPU"):
        extract(built(Encoders), loader, device="cuda:99")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_the_model_comes_back_from_the_device(data):
    model = built(Encoders)
    loader = batches(data, lambda *parts: parts)
    found = extract(model, loader, device="cuda")
    assert next(model.parameters()).device.type == "cpu"
    expected = extract(model, loader)
    np.testing.assert_allclose(found.features["text"], expected.features["text"], atol=1e-4)


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
