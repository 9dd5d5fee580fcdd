"""Files of another format are refused with a word on what to do."""

from __future__ import annotations

import pytest
import torch

from mimrl.errors import CheckpointError
from mimrl.training import checkpoint


def test_a_file_of_an_earlier_format_is_refused(tmp_path, monkeypatch):
    """Format 1 had the weights of each critic by itself."""
    file = tmp_path / "best.safetensors"
    with monkeypatch.context() as earlier:
        earlier.setattr(checkpoint, "FORMAT", 1)
        checkpoint.write(file, "model", {"weight": torch.zeros(2)}, {})
        assert checkpoint.read(file, "model")[0]["weight"].shape == (2,)
    assert checkpoint.FORMAT == 2
    with pytest.raises(CheckpointError, match=r"format 1 .* reads format 2: use the version"):
        checkpoint.read(file, "model")
