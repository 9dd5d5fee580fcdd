"""Frozen text encoders: what the tests of their states and of the cache share."""

from collections.abc import Iterator

import pytest
import torch
from tiny_bert import save_tiny_bert
from training.frozen_texts import Model, make_model

from mimrl.model.encoders import TextEncoder
from mimrl.training import frozen


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a random BERT of two layers."""
    folder = tmp_path_factory.mktemp("bert")
    save_tiny_bert(folder, vocabulary=60, layers=2)
    return str(folder)


@pytest.fixture
def model(source: str) -> Model:
    return make_model(source)


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """States count as too large for the memory."""
    monkeypatch.setattr(frozen, "MEMORY_BYTES", 1000)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Batches that the encoder was run on."""
    made: list[int] = []
    hidden = TextEncoder.hidden

    def counted(self: TextEncoder, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        made.append(len(ids))
        return hidden(self, ids, lengths)

    monkeypatch.setattr(TextEncoder, "hidden", counted)
    return made
