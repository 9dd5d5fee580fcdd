"""Settings of speed and memory: what they change in the results is rounding, or stated here."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mimrl.settings.base import Group


class PerformanceSettings(Group):
    """How the same mathematics is computed."""

    precision: Literal["float32", "bf16", "fp16"] = Field(
        "float32",
        description="of matrix products in training: bf16 and fp16 autocast (fp16 with scaled "
        "gradients, GPU only); losses, bounds and metrics stay float32",
    )
    compile: bool = Field(
        False,
        description="torch.compile of the network; needs a C++ compiler, first steps take long; "
        "draws other dropout from the same seed",
    )
    loader_workers: int = Field(
        0,
        ge=0,
        description="processes that read and pad batches ahead, at most twice the machine's cores; "
        "0: none, in the training's",
    )
    cache: str | None = Field(
        None,
        min_length=1,
        description="folder in which hidden states of a frozen text encoder (train=none) are kept "
        "from run to run; null: computed anew in each",
    )
    bank_size: int | None = Field(
        None,
        ge=2,
        description="rows of the bank of training features that product samples are drawn from, "
        "drawn anew each epoch; null: all",
    )
    bank_dtype: Literal["float32", "float16"] = Field(
        "float32", description="how the bank is kept; float16 halves its memory"
    )
