"""Features out of any torch model: what the adapter sees, what comes back, what is refused."""

from __future__ import annotations

from collections import namedtuple
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_encoders import SIZE, Encoders, batches, built, text_audio_labels
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lsmi.adapters import BatchFeatures, default_adapter
from lsmi.extraction import extract
from mimrl.errors import ConfigError, EstimationError, ShapeError


@pytest.fixture
def data():
    return text_audio_labels()


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
