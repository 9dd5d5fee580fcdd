"""A text encoder small enough for tests, in a local folder as pretrained ones are."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers

WIDTH = 16
LONGEST = 40


def save_tiny_bert(folder: Path, *, vocabulary: int, layers: int) -> None:
    """A random BERT of width 16 without a tokenizer; the same call writes the same weights."""
    config = transformers.BertConfig(
        vocab_size=vocabulary,
        hidden_size=WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=LONGEST,
    )
    with torch.random.fork_rng():
        torch.manual_seed(5)
        transformers.BertModel(config).save_pretrained(folder)
