"""The network: an encoder for each modality, the fusion, the head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from mimrl import pretrained
from mimrl.errors import ConfigError, ShapeError
from mimrl.model.encoders import TextEncoder, build_encoder
from mimrl.model.fusion import build_fusion
from mimrl.model.masks import masked_mean
from mimrl.model.output import Encoded, Output
from mimrl.settings.model import EncoderSettings, GruSettings, ModelSettings, TransformerSettings

if TYPE_CHECKING:
    from mimrl.datasets.loading import Batch

HEAD_WIDTH = 128


class MIMRL(nn.Module):
    """Encoders -> fusion -> head (Sun et al., IEEE TAFFC 2025), for any number of modalities.

    Args:
        settings: the network's settings. A modality without an encoder in ``settings.encoders``
            gets a transformer if it is called ``text``, a GRU otherwise.
        modalities: names; the order is the order along the modality axis.
        widths: modality -> features of a step; 0 for token ids.
        outputs: ``C``: 1 for regression, else the number of classes.
        text_config: configuration of the transformer, from a checkpoint (its
            :attr:`text_config`); it is then built with random weights, to be filled by
            ``load_state_dict``, and neither hub nor package is needed.

    Attributes:
        fused_width: ``D_f``.
        text_encoder: the encoder that holds a transformer, or None.
        text_config: its configuration, JSON-ready, or None: what a checkpoint must keep beside
            the settings.

    Raises:
        ConfigError: no modality, a repeated name, a missing width, or sizes that do
            not fit together.
        MissingFileError: the pretrained text encoder cannot be loaded.

    Note:
        The initial weights come from torch's global generator, as all of ``torch.nn``'s do. For
        weights that depend on a seed only, build inside ``torch.random.fork_rng()`` after
        ``torch.manual_seed(seed)``.
    """

    def __init__(
        self,
        settings: ModelSettings,
        modalities: Sequence[str],
        widths: Mapping[str, int],
        outputs: int,
        *,
        text_config: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.modalities = tuple(modalities)
        chosen = {name: _encoder_settings(settings, name) for name in self.modalities}
        _check(self.modalities, widths, outputs, chosen)
        self.encoders = nn.ModuleDict(
            {
                name: build_encoder(
                    chosen[name], widths.get(name, 0), settings.width, text_config=text_config
                )
                for name in self.modalities
            }
        )
        self.widths = {name: widths.get(name, 0) for name in self.modalities}
        self.fusion = build_fusion(settings.fusion, len(self.modalities), settings.width)
        self.fused_width = self.fusion.width
        self.head = _head(self.fused_width, outputs, settings.head_dropout)

    @property
    def text_encoder(self) -> TextEncoder | None:
        """The encoder with a transformer in it."""
        found = [e for e in self.encoders.values() if isinstance(e, TextEncoder)]
        return found[0] if found else None

    @property
    def text_config(self) -> dict[str, Any] | None:
        """The transformer's configuration."""
        encoder = self.text_encoder
        return None if encoder is None else pretrained.encoder_config(encoder.transformer)

    def text_parameters(self) -> list[nn.Parameter]:
        """The pretrained transformer's parameters that learn (its projection is not among them)."""
        encoder = self.text_encoder
        if encoder is None:
            return []
        return [p for p in encoder.transformer.parameters() if p.requires_grad]

    def other_parameters(self) -> list[nn.Parameter]:
        """All other parameters that learn."""
        text = {id(p) for p in self.text_parameters()}
        return [p for p in self.parameters() if p.requires_grad and id(p) not in text]

    def forward(self, batch: Batch) -> Output:
        """Predicts a batch.

        Args:
            batch: its ``inputs`` hold ``(B, T_m, d_m)`` features for each modality, or ``(B, T)``
                token ids for a transformer (``(B, T, d_text)`` hidden states if it is frozen);
                ``lengths`` hold ``(B,)`` valid steps, 0 where a sample lacks the modality.

        Raises:
            ShapeError: a modality is missing or has another width.
        """
        return self.fuse(self.run_encoders(batch))

    def run_encoders(self, batch: Batch) -> Encoded:
        """The encoders' sequences of a batch; see :meth:`forward`."""
        sequences, lengths = {}, {}
        for name in self.modalities:
            values, valid = self._input(batch, name)
            sequences[name] = self.encoders[name](values, valid)
            lengths[name] = valid.clamp(min=1)
        return Encoded(sequences, lengths)

    def fuse(self, encoded: Encoded) -> Output:
        """Features and predictions from the encoders' sequences."""
        sequences, lengths = encoded.sequences, encoded.lengths
        unimodal = {name: masked_mean(sequences[name], lengths[name]) for name in self.modalities}
        fused = self.fusion(list(sequences.values()), list(lengths.values()))
        return Output(prediction=self.head(fused), fused=fused, unimodal=unimodal)

    def _input(self, batch: Batch, name: str) -> tuple[Tensor, Tensor]:
        if name not in batch.inputs:
            raise ShapeError(f"batch has no modality {name!r}; it has {sorted(batch.inputs)}")
        values = batch.inputs[name]
        if isinstance(self.encoders[name], TextEncoder):
            return values, batch.lengths[name]
        if values.ndim != 3 or values.shape[2] != self.widths[name]:
            raise ShapeError(
                f"{name}: expected (B, T, {self.widths[name]}) features, got {tuple(values.shape)}"
            )
        return values, batch.lengths[name]


def _encoder_settings(settings: ModelSettings, name: str) -> EncoderSettings:
    default = TransformerSettings() if name == "text" else GruSettings()
    return settings.encoders.get(name, default)


def _check(
    modalities: tuple[str, ...],
    widths: Mapping[str, int],
    outputs: int,
    encoders: Mapping[str, EncoderSettings],
) -> None:
    if not modalities or len(set(modalities)) < len(modalities):
        raise ConfigError(f"expected different modalities, one or more, got {list(modalities)}")
    if outputs < 1:
        raise ConfigError(f"expected one or more outputs, got {outputs}")
    for name, encoder in encoders.items():
        if encoder.kind != "transformer" and widths.get(name, 0) < 1:
            raise ConfigError(
                f"modality {name!r} with encoder {encoder.kind} needs features, but its width is "
                f"{widths.get(name, 0)} (0 = token ids, which only a transformer reads)"
            )
    if sum(encoder.kind == "transformer" for encoder in encoders.values()) > 1:
        raise ConfigError("only one modality can have a transformer encoder")


def _head(width: int, outputs: int, dropout: float) -> nn.Module:
    """Linear for narrow features, else one hidden layer of 128."""
    if width <= HEAD_WIDTH:
        return nn.Linear(width, outputs)
    return nn.Sequential(
        nn.Linear(width, HEAD_WIDTH),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(HEAD_WIDTH, outputs),
    )
