"""A tiny transformer in a local folder, and batches of random sequences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest
import torch
import transformers
from tiny_bert import save_tiny_bert

from mimrl.datasets.loading import Batch

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz")


@pytest.fixture(scope="session")
def tiny_source(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a random BERT of three layers, width 16, and its tokenizer."""
    folder = tmp_path_factory.mktemp("tiny-bert")
    save_tiny_bert(folder, vocabulary=len(WORDS), layers=3)
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(WORDS))
    transformers.BertTokenizer(str(vocabulary)).save_pretrained(folder)
    return str(folder)


MakeBatch = Callable[..., Batch]


@pytest.fixture
def make_batch() -> MakeBatch:
    """``make_batch({"audio": 5}, {"audio": (3, 7)})``: width 0 gives token ids."""

    def make(
        widths: Mapping[str, int],
        lengths: Mapping[str, Sequence[int]],
        *,
        dtype: torch.dtype = torch.float32,
        seed: int = 0,
    ) -> Batch:
        generator = torch.Generator().manual_seed(seed)
        inputs, valid = {}, {}
        for name, width in widths.items():
            n = torch.tensor(lengths[name])
            steps, size = max(1, int(n.max())), len(n)
            mask = torch.arange(steps) < n[:, None]
            if width == 0:
                ids = torch.randint(5, len(WORDS), (size, steps), generator=generator)
                inputs[name] = ids * mask
            else:
                x = torch.randn(size, steps, width, generator=generator, dtype=dtype)
                inputs[name] = x * mask[..., None]
            valid[name] = n
        size = len(next(iter(valid.values())))
        return Batch(torch.arange(size), inputs, valid, torch.zeros(size))

    return make
