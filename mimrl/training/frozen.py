"""A frozen text encoder is run once: its outputs take the place of the token ids."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from mimrl.datasets.features import Ragged
from mimrl.datasets.loading import iterate
from mimrl.datasets.prepare import Prepared, Samples
from mimrl.model.encoders import TextEncoder
from mimrl.model.model import MIMRL

TEXT = "text"


def with_hidden_states(
    model: MIMRL, data: Prepared, batch_size: int, device: torch.device
) -> Prepared:
    """``data`` with the hidden states of a frozen text encoder in place of its token ids.

    Unchanged when the text encoder learns, or when there is none.
    """
    encoder = model.text_encoder
    if encoder is None or model.text_parameters():
        return data
    splits = {
        name: _encoded(encoder, samples, batch_size, device)
        for name, samples in data.splits.items()
    }
    return replace(data, splits=splits)


@torch.no_grad()
def _encoded(
    encoder: TextEncoder, samples: Samples, batch_size: int, device: torch.device
) -> Samples:
    text_only = replace(samples, inputs={TEXT: samples.inputs[TEXT]}, scalers={})
    states: list[np.ndarray] = [np.zeros((0,))] * len(samples)
    for batch in iterate(text_only, batch_size):
        lengths = batch.lengths[TEXT]
        hidden = encoder.hidden(batch.inputs[TEXT].to(device), lengths.to(device)).cpu()
        for row, length, state in zip(batch.rows.tolist(), lengths.tolist(), hidden, strict=True):
            states[row] = state[:length].numpy()
    width = max(state.shape[1] for state in states if state.ndim == 2)
    inputs = {**samples.inputs, TEXT: Ragged.from_list(states, width=width)}
    return replace(samples, inputs=inputs)
