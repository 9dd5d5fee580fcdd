"""Encoders: one modality's raw sequence to a sequence of the common width ``D``.

All share one call, ``encoder(values, lengths) -> (B, T, D)``, and one promise: padded steps come
out as exact zeros and change nothing. A sample without the modality (length 0) counts as one step
of zeros, so that it still has a feature vector. Recurrences and convolutions learn which vector
that is; linear projections, a transformer's among them, have no bias and give the zero vector.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from mimrl import pretrained
from mimrl.errors import ConfigError, ShapeError
from mimrl.mi.ranks import inverse, sent
from mimrl.model.layers import only_above, require_upper_part, stack_of
from mimrl.model.masks import step_mask, zero_padding
from mimrl.model.recurrence import run_padded
from mimrl.model.valid_rows import leave_padding_out
from mimrl.settings.model import (
    ConvSettings,
    EncoderSettings,
    GruSettings,
    LinearSettings,
    LstmSettings,
    TransformerSettings,
)

NORM_EPS = 1e-6
MASK_AS_IT_IS = (
    "albert", "bert", "camembert", "distilbert", "electra", "ernie", "roberta", "xlm-roberta",
)  # fmt: skip
"""Transformers that take a ready mask ``(B, 1, T, T)`` for the attention of PyTorch."""
MASKS_SINCE, TRANSFORMERS = 5, int(version("transformers").partition(".")[0])
"""Major versions of the package transformers: the first that takes such masks; the one here."""


class LinearEncoder(nn.Module):
    """One bias-free projection of features already extracted, then dropout."""

    def __init__(self, settings: LinearSettings, features: int, width: int) -> None:
        super().__init__()
        self.projection = nn.Linear(features, width, bias=False)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """``values`` ``(B, T, d)``, ``lengths`` ``(B,)`` to ``(B, T, D)``."""
        return self.dropout(self.projection(zero_padding(values, lengths)))


class _NormedEncoder(nn.Module):
    """A sequence model, then LayerNorm, ReLU, dropout; subclasses give :meth:`mix`."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.dropout = nn.Dropout(dropout)

    def mix(self, values: Tensor, lengths: Tensor) -> Tensor:
        """``(B, T, d)`` with zeros at padded steps to ``(B, T, D)``."""
        raise NotImplementedError

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """``values`` ``(B, T, d)``, ``lengths`` ``(B,)`` to ``(B, T, D)``."""
        values, lengths = zero_padding(values, lengths), lengths.clamp(min=1)
        activated = self.norm(self.mix(values, lengths)).relu()
        return self.dropout(zero_padding(activated, lengths))


class RecurrentEncoder(_NormedEncoder):
    """Bidirectional GRU or LSTM, both directions added, then LayerNorm, ReLU, dropout.

    The recurrent weights start orthogonal; the backward direction begins at the last valid step:
    sequences are packed, except on the CPU, where that is slow (:mod:`mimrl.model.recurrence`).
    """

    def __init__(self, settings: GruSettings | LstmSettings, features: int, width: int) -> None:
        super().__init__(width, settings.dropout)
        kind = nn.GRU if settings.kind == "gru" else nn.LSTM
        self.recurrent = kind(
            features, width, settings.layers, batch_first=True, bidirectional=True
        )
        for name, parameter in self.recurrent.named_parameters():
            if name.startswith("weight_hh"):
                nn.init.orthogonal_(parameter)

    def mix(self, values: Tensor, lengths: Tensor) -> Tensor:
        """Forward and backward states added at each step."""
        forward, backward = self._states(values, lengths).chunk(2, dim=-1)
        return forward + backward

    def _states(self, values: Tensor, lengths: Tensor) -> Tensor:
        if values.device.type == "cpu":
            return run_padded(self.recurrent, values, lengths)
        return run_packed(self.recurrent, values, lengths.cpu())


def run_packed(network: nn.GRU | nn.LSTM, values: Tensor, lengths: Tensor) -> Tensor:
    """``(B, T, 2 D)`` states of packed sequences, zero at padded steps; lengths on the host.

    Sorted by length here: with ``enforce_sorted=False`` PyTorch sends the order to the GPU and
    fetches it back, and waits for all earlier work both times. And without autocast, which runs
    cuDNN's recurrences in float16 whatever type it is for (ATen/cudnn/AutocastRNN.cpp): with bf16
    nothing scales the gradients that float16 loses.
    """
    longest_first = lengths.argsort(descending=True, stable=True)
    there, back = (sent(rows, values.device) for rows in (longest_first, inverse(longest_first)))
    with torch.autocast(values.device.type, enabled=False):
        ordered = values.to(next(network.parameters()).dtype).index_select(0, there)
        packed = pack_padded_sequence(ordered, lengths[longest_first], batch_first=True)
        states, _ = pad_packed_sequence(
            network(packed)[0], batch_first=True, total_length=values.shape[1]
        )
    return states.index_select(0, back)


class ConvEncoder(_NormedEncoder):
    """Convolution over time (kernel 3, padding 1), then LayerNorm, ReLU, dropout."""

    def __init__(self, settings: ConvSettings, features: int, width: int) -> None:
        super().__init__(width, settings.dropout)
        self.convolution = nn.Conv1d(features, width, kernel_size=3, padding=1)

    def mix(self, values: Tensor, lengths: Tensor) -> Tensor:
        """Each step with its two neighbours; beyond the valid steps the neighbours are zero."""
        return self.convolution(values.transpose(1, 2)).transpose(1, 2)


class TextEncoder(nn.Module):
    """A pretrained transformer, a bias-free projection to the common width, dropout.

    With ``train="none"`` the transformer stays in evaluation mode even while the rest trains, so
    its hidden states are fixed and may be computed once (:meth:`fixed_states`) and fed back in the
    place of token ids. With ``train="top"`` embeddings and lower layers are fixed, though their
    dropout stays on in training; with ``cache_lower`` it is off, and what they give may be computed
    once too.

    Args:
        settings: which transformer, and what of it learns.
        width: ``D``.
        config: the transformer's configuration; given, it is built with random weights instead of
            loaded from ``settings.source`` (for weights that a checkpoint holds).

    Raises:
        ConfigError: ``top_layers`` or ``max_tokens`` exceeds what the transformer has, or its lower
            layers cannot be cached.
        MissingFileError: the source cannot be loaded.
    """

    def __init__(
        self, settings: TransformerSettings, width: int, config: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.transformer = (
            pretrained.load_encoder(settings.source)
            if config is None
            else pretrained.build_encoder(config)
        )
        self.valid_rows = leave_padding_out(self.transformer)
        self.frozen = settings.train == "none"
        _check_limit(self.transformer, settings)
        if settings.train != "all":
            self.transformer.requires_grad_(False)
        self.lower = 0
        if settings.train == "top":
            self._learn_above(_layers(self.transformer, settings), settings)
        self.hidden_width = _field(self.transformer, "hidden_size")
        self.projection = nn.Linear(self.hidden_width, width, bias=False)
        self.dropout = nn.Dropout(settings.dropout)
        self.train()

    def train(self, mode: bool = True) -> TextEncoder:
        """Sets the mode; a frozen transformer stays in evaluation mode."""
        super().train(mode)
        if self.frozen or self.lower:
            self.transformer.eval()
        if self.lower:
            for layer in self._stack()[self.lower :]:
                layer.train(mode)
        return self

    def _learn_above(self, stack: nn.ModuleList, settings: TransformerSettings) -> None:
        """Makes the top layers learn, and the others fixed as a whole where they are cached."""
        for layer in stack[-settings.top_layers :]:
            layer.requires_grad_(True)
        if settings.cache_lower:
            self.lower = len(stack) - settings.top_layers
            if self.lower == 0:
                raise ConfigError(
                    f"model.encoders.text.cache_lower has no effect: all {len(stack)} layers of "
                    f"{settings.source!r} learn; lower top_layers, or remove it"
                )
            require_upper_part(self.transformer.eval(), stack, self.lower)

    def _stack(self) -> nn.ModuleList:
        return stack_of(self.transformer, "text")

    @property
    def cached(self) -> bool:
        """Whether :meth:`fixed_states` may be computed once."""
        return self.frozen or self.lower > 0

    def fixed_states(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """States that no training changes, for :meth:`forward` in the place of token ids.

        Args:
            ids: as in :meth:`hidden`.
            lengths: as in :meth:`hidden`.

        Returns:
            ``(B, T, d_text)``: those of :meth:`hidden` for a frozen transformer, else those that
            the lowest layer that learns starts from.
        """
        if self.frozen:
            return self.hidden(ids, lengths)
        return zero_padding(self._run(ids, lengths, all_states=True)[self.lower], lengths)

    def hidden(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """The transformer's last hidden states.

        Args:
            ids: ``(B, T)`` int64 token ids.
            lengths: ``(B,)`` valid tokens; 0 where there is no text.

        Returns:
            ``(B, T, d_text)``, zero at padded steps and for samples without text.
        """
        return zero_padding(self._run(ids, lengths)[-1], lengths)

    def _run(self, ids: Tensor, lengths: Tensor, *, all_states: bool = False) -> tuple[Tensor, ...]:
        """The last hidden states, or with ``all_states`` those that each layer starts from."""
        # A row without any valid key would be NaN in attention: let it see one, then zero it.
        valid = step_mask(lengths.clamp(min=1), ids.shape[1], ids.device)
        mask = valid.to(ids.dtype) if ids.device.type == "cpu" else self._whole_mask(valid)
        more = {"output_hidden_states": True} if all_states else {}
        with self._without_padding(valid):
            found = self.transformer(input_ids=ids, attention_mask=mask, **more)
        return tuple(found.hidden_states) if all_states else (found.last_hidden_state,)

    def _above(self, states: Tensor, lengths: Tensor) -> Tensor:
        """The last hidden states from those that the lowest layer that learns starts from."""
        ids = torch.zeros(states.shape[:2], dtype=torch.int64, device=states.device)
        with only_above(self.transformer, self._stack(), self.lower, states):
            return self.hidden(ids, lengths)

    def _without_padding(self, valid: Tensor) -> AbstractContextManager[None]:
        """Linear layers leave padded steps out, where finding the others waits for nothing.

        Compiled code would be translated anew for every number of valid steps.
        """
        compiled = self.transformer._compiled_call_impl is not None
        if compiled or valid.device.type != "cpu":
            return nullcontext()
        return self.valid_rows.only(valid)

    def _whole_mask(self, valid: Tensor) -> Tensor:
        """``(B, 1, T, T)``: who sees whom. Where transformers may leave it as it is, it need not
        look first whether all of ``valid`` is true, for which the host would wait for the GPU.
        """
        config: Any = self.transformer.config
        known = config.model_type in MASK_AS_IT_IS and config._attn_implementation == "sdpa"
        if not known or TRANSFORMERS < MASKS_SINCE:
            return valid.to(torch.int64)
        return valid[:, None, None].expand(-1, 1, valid.shape[1], -1)

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """Encodes texts.

        Args:
            values: ``(B, T)`` int64 token ids, or, where :attr:`cached`, ``(B, T, d_text)`` states
                that :meth:`fixed_states` gave.
            lengths: ``(B,)`` valid tokens; 0 where there is no text.

        Returns:
            ``(B, T, D)``.

        Raises:
            ShapeError: states of another width, or for a transformer that learns as a whole.
        """
        if values.is_floating_point():
            if not self.cached or values.shape[-1] != self.hidden_width:
                raise ShapeError(
                    f"text: got floats {tuple(values.shape)}; expected (B, T) token ids, or for a "
                    f"frozen transformer (B, T, {self.hidden_width}) hidden states"
                )
            states = zero_padding(values, lengths)
            states = self._above(states, lengths) if self.lower else states
        else:
            states = self.hidden(values, lengths)
        return self.dropout(self.projection(states))


def _field(transformer: nn.Module, name: str) -> int:
    config: Any = transformer.config
    return int(getattr(config, name))


def _check_limit(transformer: nn.Module, settings: TransformerSettings) -> None:
    """Refuses texts longer than the position table (RoBERTa's starts after its padding id)."""
    if getattr(transformer.config, "max_position_embeddings", None) is None:
        return
    table = getattr(getattr(transformer, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    used = 0 if padding is None else padding + 1
    limit = _field(transformer, "max_position_embeddings") - used
    if settings.max_tokens > limit:
        raise ConfigError(
            f"model.encoders.text.max_tokens is {settings.max_tokens}, but {settings.source!r} "
            f"reads at most {limit} tokens"
        )


def _layers(transformer: nn.Module, settings: TransformerSettings) -> nn.ModuleList:
    """The stack of layers, at least as many as are to learn."""
    found = stack_of(transformer, settings.source)
    if settings.top_layers > len(found):
        raise ConfigError(
            f"model.encoders.text.top_layers is {settings.top_layers}, but "
            f"{settings.source!r} has {len(found)} layers"
        )
    return found


SEQUENCE_ENCODERS: Mapping[str, Callable[[Any, int, int], nn.Module]] = {
    "linear": LinearEncoder,
    "gru": RecurrentEncoder,
    "lstm": RecurrentEncoder,
    "conv": ConvEncoder,
}


def build_encoder(
    settings: EncoderSettings,
    features: int,
    width: int,
    *,
    text_config: Mapping[str, Any] | None = None,
) -> nn.Module:
    """The encoder of one modality.

    Args:
        settings: its group of settings.
        features: ``d``, features of a step; not used by a transformer.
        width: ``D``.
        text_config: see :class:`TextEncoder`.

    Raises:
        ConfigError: token ids (``features`` 0) for an encoder that needs features.
    """
    if settings.kind == "transformer":
        return TextEncoder(settings, width, text_config)
    if features < 1:
        raise ConfigError(
            f"encoder {settings.kind!r} needs features, got token ids; use kind transformer"
        )
    return SEQUENCE_ENCODERS[settings.kind](settings, features, width)
