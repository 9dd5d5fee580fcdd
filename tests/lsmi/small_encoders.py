"""Small models of two encoders, and batches to pass through them."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

SIZE = 40


class Encoders(nn.Module):
    """Two encoders with the layers that behave differently in training."""

    def __init__(self):
        super().__init__()
        self.text = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
        self.audio = nn.Linear(2, 5)

    def forward(self, text, audio):
        return {"text": self.text(text), "audio": self.audio(audio)}


def built(kind):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind()


def batches(data, make, size=16):
    rows = [slice(i, i + size) for i in range(0, len(data[0]), size)]
    return [make(*(values[row] for values in data)) for row in rows]


def text_audio_labels():
    """Random text (SIZE, 3) and audio (SIZE, 2), and labels 0 and 1."""
    generator = np.random.default_rng(0)
    text = torch.from_numpy(generator.normal(size=(SIZE, 3)).astype("f4"))
    audio = torch.from_numpy(generator.normal(size=(SIZE, 2)).astype("f4"))
    return text, audio, torch.from_numpy(generator.integers(0, 2, SIZE))
