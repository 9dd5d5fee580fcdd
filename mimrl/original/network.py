"""The original network's forward pass, from the modules of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from mimrl.errors import ShapeError
from mimrl.model.encoders import ConvEncoder, RecurrentEncoder
from mimrl.model.masks import masked_mean, step_mask, zero_padding
from mimrl.model.model import MIMRL
from mimrl.model.output import Output

if TYPE_CHECKING:
    from mimrl.datasets.loading import Batch


class OriginalMimrl(nn.Module):
    """MIMRL as published: padded steps pass through LayerNorm and fusion, and count in the means.

    The modules and weights are those of :attr:`network`, our :class:`~mimrl.model.model.MIMRL`
    (which masks padding: the two agree on samples that fill their batch in every modality). What
    differs is done here:

    - hidden states of padded tokens are kept;
    - the length of an audio or video sequence is its number of frames that are not all zero, at
      least 1, wherever these stand; a recurrent encoder gives zeros after it;
    - LayerNorm and ReLU turn padded frames into ``relu(bias)``, which enters the cube;
    - unimodal features are means over the padded length, so they depend on the batch.

    Args:
        network: text first (a transformer), then audio and video (gru, lstm or conv), CubeMLP.
        padded_means: False takes means over valid steps instead.
    """

    def __init__(self, network: MIMRL, *, padded_means: bool = True) -> None:
        super().__init__()
        self.network = network
        self.padded_means = padded_means

    def forward(self, batch: Batch) -> Output:
        """Predicts a batch.

        Args:
            batch: its ``inputs`` hold ``text`` ``(B, T)`` token ids, ``audio`` and ``video``
                ``(B, T, d)``, zero at padded steps; of its ``lengths`` only those of text are used.

        Raises:
            ShapeError: a modality is missing or has another width.
        """
        sequences, lengths = [], []
        for name in self.network.modalities:
            if name not in batch.inputs:
                raise ShapeError(f"batch has no modality {name!r}; it has {sorted(batch.inputs)}")
            values = batch.inputs[name]
            valid = batch.lengths[name] if values.ndim == 2 else frames(values)
            valid = valid.clamp(min=1)
            sequences.append(self._encoded(name, values, valid))
            lengths.append(valid)
        unimodal = {
            name: sequence.mean(dim=1) if self.padded_means else masked_mean(sequence, valid)
            for name, sequence, valid in zip(
                self.network.modalities, sequences, lengths, strict=True
            )
        }
        fused = self.network.fusion(sequences, lengths)
        return Output(prediction=self.network.head(fused), fused=fused, unimodal=unimodal)

    def _encoded(self, name: str, values: Tensor, lengths: Tensor) -> Tensor:
        """One modality's ``(B, T, D)``, padded steps included."""
        encoder = self.network.encoders[name]
        if isinstance(encoder, RecurrentEncoder | ConvEncoder):
            width = self.network.widths[name]
            if values.ndim != 3 or values.shape[2] != width:
                raise ShapeError(
                    f"{name}: expected (B, T, {width}) features, got {tuple(values.shape)}"
                )
            mixed = encoder.mix(values, lengths)
            if isinstance(encoder, RecurrentEncoder):  # what it gives after the end is undefined
                mixed = zero_padding(mixed, lengths)
            return encoder.dropout(encoder.norm(mixed).relu())
        text = self.network.text_encoder
        if text is None or encoder is not text or values.ndim != 2:
            raise ShapeError(f"{name}: expected (B, T) token ids, got {tuple(values.shape)}")
        mask = step_mask(lengths, values.shape[1], values.device).to(values.dtype)
        states = text.transformer(input_ids=values, attention_mask=mask).last_hidden_state
        return text.dropout(text.projection(states))


def frames(values: Tensor) -> Tensor:
    """``(B,)`` int64: the number of steps of ``values`` ``(B, T, d)`` that are not all zero."""
    return values.abs().sum(dim=-1).ne(0).sum(dim=1)
