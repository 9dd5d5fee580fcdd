"""A model with a frozen text encoder, and samples of token ids for it."""

import numpy as np
import torch

from mimrl.datasets.features import Ragged
from mimrl.datasets.loading import iterate
from mimrl.datasets.samples import Prepared, Samples
from mimrl.model.encoders import TextEncoder
from mimrl.settings.model import TransformerSettings

CPU = torch.device("cpu")
SIZES = {"train": 700, "valid": 40, "test": 9}


class Model:
    """What :func:`with_hidden_states` asks of a model."""

    def __init__(self, encoder: TextEncoder | None) -> None:
        self.text_encoder = encoder

    def text_parameters(self) -> list[torch.nn.Parameter]:
        return [p for p in self.text_encoder.transformer.parameters() if p.requires_grad]


def make_model(source: str, train: str = "none") -> Model:
    settings = TransformerSettings(kind="transformer", source=source, train=train, max_tokens=30)
    return Model(TextEncoder(settings, 8))


def make_data(seed: int = 0, longest: int = 12) -> Prepared:
    """Token ids and audio; some samples have no text."""
    generator = np.random.default_rng(seed)
    splits = {}
    for name, size in SIZES.items():
        ids = [generator.integers(5, 60, n) for n in generator.integers(0, longest + 1, size)]
        audio = [generator.normal(size=(n, 3)) for n in generator.integers(1, 4, size)]
        splits[name] = Samples(
            ids=tuple(f"{name}{i}" for i in range(size)),
            inputs={"text": Ragged.from_list(ids), "audio": Ragged.from_list(audio)},
            scalers={},
            labels=generator.normal(size=size).astype(np.float32),
        )
    return Prepared(splits, {"text": 0, "audio": 3}, 1, (), {}, "made", "made")


def same(one: Prepared, other: Prepared) -> bool:
    """Whether all texts are equal bit for bit, as sequences and as batches."""
    for name, samples in one.splits.items():
        pairs = (samples.inputs["text"], other.splits[name].inputs["text"])
        if not all(np.array_equal(a, b) for a, b in zip(*pairs, strict=True)):
            return False
        batches = iterate(samples, 32), iterate(other.splits[name], 32)
        for a, b in zip(*batches, strict=True):
            if not torch.equal(a.inputs["text"], b.inputs["text"]):
                return False
    return True


def on_disk(data: Prepared) -> list[bool]:
    return [not isinstance(s.inputs["text"].values, np.ndarray) for s in data.splits.values()]
