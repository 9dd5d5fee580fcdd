"""Settings of the model: an encoder for each modality, the fusion, the head."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from mimrl.settings.base import Group

Activation = Literal[
    "elu", "gelu", "hardshrink", "hardtanh", "leakyrelu", "prelu", "relu", "rrelu", "tanh"
]
Compose = Literal["mean", "sum", "cat"]
Rate = Annotated[float, Field(ge=0, lt=1)]


class TransformerSettings(Group):
    """A pretrained text encoder from transformers, then a projection to the common width."""

    kind: Literal["transformer"] = "transformer"
    source: str = Field(
        "bert-base-uncased",
        description="hub name, local folder, or package:<import name>/<folder>",
    )
    train: Literal["all", "top", "none"] = Field(
        "all", description="all layers learn, only the top ones, or none (outputs are cached)"
    )
    top_layers: int = Field(3, ge=1, description="layers that learn with train=top")
    cache_lower: bool = Field(
        False,
        description="with train=top: the layers that do not learn run once, without dropout, and "
        "what they give is kept",
    )
    max_tokens: int = Field(50, ge=3, le=4096, description="longer texts are cut")
    dropout: Rate = Field(0.1, description="dropout after the projection")

    @model_validator(mode="after")
    def _check(self) -> TransformerSettings:
        if self.cache_lower and self.train != "top":
            raise ValueError(
                f"cache_lower has no effect with train={self.train}; set train=top, or remove it"
            )
        return self


class LinearSettings(Group):
    """Features already extracted: one bias-free projection to the common width."""

    kind: Literal["linear"] = "linear"
    dropout: Rate = Field(0.1, description="dropout after the projection")


class GruSettings(Group):
    """A bidirectional GRU, directions summed, LayerNorm, ReLU, dropout."""

    kind: Literal["gru"] = "gru"
    layers: int = Field(2, ge=1, le=16, description="stacked recurrent layers")
    dropout: Rate = Field(0.1, description="dropout after the ReLU")


class LstmSettings(Group):
    """A bidirectional LSTM, directions summed, LayerNorm, ReLU, dropout."""

    kind: Literal["lstm"] = "lstm"
    layers: int = Field(1, ge=1, le=16, description="stacked recurrent layers")
    dropout: Rate = Field(0.1, description="dropout after the ReLU")


class ConvSettings(Group):
    """A convolution over time (kernel 3, padding 1), LayerNorm, ReLU, dropout."""

    kind: Literal["conv"] = "conv"
    dropout: Rate = Field(0.1, description="dropout after the ReLU")


EncoderSettings = Annotated[
    TransformerSettings | LinearSettings | GruSettings | LstmSettings | ConvSettings,
    Field(discriminator="kind"),
]


class CubeMlpSettings(Group):
    """CubeMLP: blocks of MLPs along time, modality and width (Sun et al., ACM MM 2022)."""

    kind: Literal["cubemlp"] = "cubemlp"
    time_len: int = Field(100, ge=1, description="sequences are cut or zero-padded to this length")
    sizes: tuple[tuple[int, int, int], ...] = Field(
        ((50, 3, 128), (10, 3, 128)),
        min_length=1,
        description="(time, modalities, width) after each block",
    )
    hidden: tuple[tuple[int, int, int], ...] | None = Field(
        None, description="hidden sizes of each block's MLPs; null: as sizes"
    )
    activation: Activation = Field("gelu", description="activation inside the MLPs")
    dropout: tuple[Rate, Rate, Rate] = Field(
        (0.0, 0.0, 0.0), description="dropout after the MLP over time, modality, width"
    )
    bias: bool = Field(True, description="biases in the MLPs")
    ln_first: bool = Field(False, description="LayerNorm before each MLP, not after")
    project_residual: bool = Field(
        True, description="residuals are bias-free projections; false: identity (sizes must agree)"
    )
    residual_start: Literal["random", "pooling"] = Field(
        "random",
        description="start of projected residuals: random (as published), or pooling: averages "
        "over time, identity over width, and MLPs whose last layer starts at zero",
    )
    length_scaling: bool = Field(
        False,
        description="inputs times time_len / length, so that averages over time are averages over "
        "valid steps",
    )
    compose_modalities: Compose = Field("mean", description="how modalities are joined at the end")
    compose_time: Compose = Field("mean", description="how time steps are joined at the end")

    @model_validator(mode="after")
    def _check(self) -> CubeMlpSettings:
        hidden = self.sizes if self.hidden is None else self.hidden
        if len(hidden) != len(self.sizes):
            raise ValueError(f"hidden has {len(hidden)} blocks, sizes has {len(self.sizes)}")
        if min(min(block) for block in self.sizes + hidden) < 1:
            raise ValueError("all sizes of CubeMLP must be at least 1")
        if not self.ln_first and min(min(block) for block in self.sizes) == 1:
            raise ValueError(
                "sizes has a 1 with ln_first=false: a LayerNorm over one value leaves nothing of "
                "it; set ln_first=true or use 2 and more"
            )
        return self


class TensorFusionSettings(Group):
    """TFN: outer product of the modalities' means (Zadeh et al., EMNLP 2017)."""

    kind: Literal["tfn"] = "tfn"
    factor_width: int = Field(16, ge=1, le=256, description="width of each factor")
    width: int = Field(128, ge=1, description="width of the fused features")
    dropout: Rate = Field(0.1, description="dropout on the fused features")


class LowRankFusionSettings(Group):
    """LMF: low-rank approximation of the outer product (Liu et al., ACL 2018)."""

    kind: Literal["lmf"] = "lmf"
    rank: int = Field(4, ge=1, le=256, description="rank of the weight tensor")
    width: int = Field(128, ge=1, description="width of the fused features")
    dropout: Rate = Field(0.1, description="dropout on the fused features")


class ConcatFusionSettings(Group):
    """Concatenation of the modalities' means and one hidden layer."""

    kind: Literal["concat"] = "concat"
    width: int = Field(128, ge=1, description="width of the fused features")
    dropout: Rate = Field(0.1, description="dropout on the fused features")


class CrossModalSettings(Group):
    """Cross-modal transformer: each modality attends to all others (Tsai et al., ACL 2019)."""

    kind: Literal["crossmodal"] = "crossmodal"
    heads: int = Field(4, ge=1, description="attention heads; must divide the common width")
    layers: int = Field(2, ge=1, le=32, description="layers for each ordered pair of modalities")
    width: int = Field(128, ge=1, description="width of the fused features")
    dropout: Rate = Field(0.1, description="dropout inside the layers")


FusionSettings = Annotated[
    CubeMlpSettings
    | TensorFusionSettings
    | LowRankFusionSettings
    | ConcatFusionSettings
    | CrossModalSettings,
    Field(discriminator="kind"),
]


class ModelSettings(Group):
    """The network: encoders -> fusion -> head."""

    width: int = Field(128, ge=1, description="common width D of all encoders")
    encoders: dict[str, EncoderSettings] = Field(
        default_factory=dict,
        description="modality -> its encoder; where not named: transformer for text, gru else",
    )
    fusion: FusionSettings = Field(
        default_factory=CubeMlpSettings, description="how modalities are fused"
    )
    head_dropout: Rate = Field(0.1, description="dropout in the head (fused width above 128)")
