"""Sizes of an original network, read from its weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from mimrl.errors import CheckpointError
from mimrl.original.reading import Stored

Block = tuple[int, int, int]
Kind = Literal["gru", "lstm", "conv"]
AXES = ("l", "k", "d")  # time, modality, width in the original's names
GATES: Mapping[int, Kind] = {3: "gru", 4: "lstm"}
LETTERS = {"audio": "a", "video": "v"}


@dataclass(frozen=True)
class BertSizes:
    """Of the text encoder: rows of its three tables, width, layers, width inside a layer."""

    vocabulary: int
    positions: int
    types: int
    width: int
    layers: int
    intermediate: int


@dataclass(frozen=True)
class SequenceSizes:
    """Of the audio or video encoder: its kind, features of a frame, stacked layers."""

    kind: Kind
    features: int
    layers: int


@dataclass(frozen=True)
class Sizes:
    """All that the weights tell about a network.

    Attributes:
        width: ``D``, common width of the encoded sequences.
        bert: the text encoder.
        audio: the audio encoder.
        video: the video encoder.
        time_len: steps to which sequences are cut or padded before they are stacked.
        hidden: (time, modalities, width) inside the MLPs of each block.
        blocks: (time, modalities, width) after each block.
        project: for each block, whether its residuals are projections.
        bias: whether the MLPs have biases.
        prelu: whether their activation is a PReLU, the one that has a weight.
        ln_first: whether LayerNorm comes before each MLP; None where all sizes stay the same.
        fused: ``D_f``, width of the head's input.
        outputs: width of the head's output.
    """

    width: int
    bert: BertSizes
    audio: SequenceSizes
    video: SequenceSizes
    time_len: int
    hidden: tuple[Block, ...]
    blocks: tuple[Block, ...]
    project: tuple[bool, ...]
    bias: bool
    prelu: bool
    ln_first: bool | None
    fused: int
    outputs: int


def read_sizes(stored: Stored) -> Sizes:
    """The sizes of the network in a checkpoint.

    Raises:
        CheckpointError: weights are missing, or have another number of axes than they must.
    """
    shapes = _Shapes(stored)
    width, _ = shapes.of("W_t.weight", 2)
    stack = [
        f"mlp_encoder.layers_stack.{i}." for i in range(shapes.count("mlp_encoder.layers_stack"))
    ]
    hidden, blocks = zip(*(_block(shapes, prefix) for prefix in stack), strict=True)
    _, time_len = shapes.of(f"{stack[0]}mlp_l.fc1.weight", 2)
    before = ((time_len, len(LETTERS) + 1, width), *blocks[:-1])
    last = "classifier.3.weight" if "classifier.3.weight" in shapes else "classifier.0.weight"
    return Sizes(
        width=width,
        bert=_bert(shapes),
        audio=_sequence(shapes, "audio"),
        video=_sequence(shapes, "video"),
        time_len=time_len,
        hidden=hidden,
        blocks=blocks,
        project=tuple(f"{prefix}res_projection_l.weight" in shapes for prefix in stack),
        bias=f"{stack[0]}mlp_l.fc1.bias" in shapes,
        prelu=f"{stack[0]}mlp_l.activation.weight" in shapes,
        ln_first=_ln_first(shapes, stack, before, blocks),
        fused=shapes.of("classifier.0.weight", 2)[1],
        outputs=shapes.of(last, 2)[0],
    )


class _Shapes:
    """Shapes by name, with one message for what is missing."""

    def __init__(self, stored: Stored) -> None:
        self._path = stored.path
        self._weights: Mapping[str, Tensor] = stored.weights

    def __contains__(self, name: str) -> bool:
        return name in self._weights

    def of(self, name: str, axes: int) -> tuple[int, ...]:
        """The shape of ``name``, which has ``axes`` axes."""
        if name not in self._weights:
            raise self.error(f"expected weights {name!r}, got none of that name")
        shape = tuple(self._weights[name].shape)
        if len(shape) != axes or 0 in shape:
            raise self.error(f"expected {name} with {axes} axes, got shape {shape}")
        return shape

    def count(self, prefix: str) -> int:
        """How many modules ``prefix.0``, ``prefix.1``... there are."""
        found = [re.match(rf"{re.escape(prefix)}\.(\d+)\.", name) for name in self._weights]
        return max((int(match[1]) + 1 for match in found if match), default=0)

    def error(self, text: str) -> CheckpointError:
        return CheckpointError(
            f"{self._path}: {text}; expected the whole state_dict of an original MIMRL network "
            "(a CubeMLP checkpoint, or one of changed code, has other weights)"
        )


def _bert(shapes: _Shapes) -> BertSizes:
    embeddings = "bertmodel.embeddings."
    vocabulary, width = shapes.of(f"{embeddings}word_embeddings.weight", 2)
    return BertSizes(
        vocabulary=vocabulary,
        positions=shapes.of(f"{embeddings}position_embeddings.weight", 2)[0],
        types=shapes.of(f"{embeddings}token_type_embeddings.weight", 2)[0],
        width=width,
        layers=shapes.count("bertmodel.encoder.layer"),
        intermediate=shapes.of("bertmodel.encoder.layer.0.intermediate.dense.weight", 2)[0],
    )


def _sequence(shapes: _Shapes, modality: str) -> SequenceSizes:
    letter = LETTERS[modality]
    convolution = f"conv_{letter}.weight"
    if convolution in shapes:
        _, features, kernel = shapes.of(convolution, 3)
        if kernel != 3:
            raise shapes.error(f"expected {convolution} with kernel 3, got kernel {kernel}")
        return SequenceSizes("conv", features, 1)
    name = f"rnn_{letter}"
    rows, features = shapes.of(f"{name}.weight_ih_l0", 2)
    _, hidden = shapes.of(f"{name}.weight_hh_l0", 2)
    shapes.of(f"{name}.weight_ih_l0_reverse", 2)
    kind = GATES.get(rows // hidden) if rows % hidden == 0 else None
    if kind is None:
        raise shapes.error(
            f"expected {name}.weight_ih_l0 with 3 (gru) or 4 (lstm) times {hidden} rows, got {rows}"
        )
    layers = 1
    while f"{name}.weight_ih_l{layers}" in shapes:
        layers += 1
    return SequenceSizes(kind, features, layers)


def _block(shapes: _Shapes, prefix: str) -> tuple[Block, Block]:
    """Hidden and output sizes of one block."""
    hidden = [shapes.of(f"{prefix}mlp_{axis}.fc1.weight", 2)[0] for axis in AXES]
    after = [shapes.of(f"{prefix}mlp_{axis}.fc2.weight", 2)[0] for axis in AXES]
    return (hidden[0], hidden[1], hidden[2]), (after[0], after[1], after[2])


def _ln_first(
    shapes: _Shapes, stack: list[str], before: tuple[Block, ...], after: tuple[Block, ...]
) -> bool | None:
    """A LayerNorm has the size of what it normalises: of an MLP's input, or of its output."""
    for prefix, sizes_in, sizes_out in zip(stack, before, after, strict=True):
        for axis, size_in, size_out in zip(AXES, sizes_in, sizes_out, strict=True):
            if size_in != size_out:
                return shapes.of(f"{prefix}ln_{axis}.weight", 1)[0] == size_in
    return None
