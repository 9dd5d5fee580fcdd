"""The published network (Hu et al., InfoNet, ICML 2024), so that weights in its layout can be read.

Latents attend to the samples (encoder); learned query rows attend to the samples' coordinates
(query maker); the queries attend to the latents (decoder) and become a Q x Q table of critic
values, which a fixed Gaussian filter smooths. The attribute names are those of the published state
dicts, misspellings included.

Note:
    The table is looked up as the published code does, because its weights were trained that way:
    ranks in (0, 1] are taken for coordinates of a grid that spans [-1, 1], so only a quarter of the
    table is ever read. The product expectation is not taken from five random shuffles, as there,
    but over all n^2 pairs: the same data always give the same answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

FILTER = 15
"""Width of the smoothing filter."""
FILTER_SPAN = 3.0
"""Standard deviations from the middle of the filter to the middles of its outermost places,
nearly: the published code takes (2 * 3 + 1) / 15 for the distance of two places."""
ROWS_AT_ONCE = 512
"""Of the n x n product pairs."""


@dataclass(frozen=True)
class PublishedConfig:
    """Sizes of a published network; the defaults are those of the published weights.

    A state dict tells all but the numbers of heads and the repeats.

    Attributes:
        latents: number of latents.
        latent_width: their width.
        queries: Q, the size of the table.
        blocks: self-attention blocks of the encoder.
        repeats: how often the encoder goes through these blocks.
        encoder_heads: of its cross-attention.
        self_heads: of its self-attention.
        query_heads: of the query maker.
        decoder_heads: of the decoder.
    """

    latents: int = 256
    latent_width: int = 256
    queries: int = 1000
    blocks: int = 8
    repeats: int = 1
    encoder_heads: int = 8
    self_heads: int = 16
    query_heads: int = 8
    decoder_heads: int = 4


class PublishedNetwork(nn.Module):
    """Encoder, query maker, decoder and filter.

    Args:
        config: sizes.
    """

    def __init__(self, config: PublishedConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or PublishedConfig()
        self.encoder = _Encoder(config)
        self.decoder = _Decoder(config)
        self.query_gen = _QueryMaker(config)
        self.mild = _Filter()

    def table(self, u: Tensor, v: Tensor) -> Tensor:
        """The smoothed table of critic values.

        Args:
            u: ``(B, N)`` ranks of x over N, in (0, 1].
            v: ``(B, N)`` ranks of y over N.

        Returns:
            ``(B, Q, Q)``.
        """
        latents = self.encoder(torch.stack([u, v], dim=2))
        return self.mild(self.decoder(self.query_gen(u, v), latents))

    def estimate(self, u: Tensor, v: Tensor) -> Tensor:
        """Donsker-Varadhan value of the table at the samples, over all product pairs.

        Args:
            u: ``(B, N)`` ranks of x in (0, 1), (rank - 1/2) / N as all of this package takes them;
                the published ones, rank / N, are made of them.
            v: ``(B, N)`` ranks of y, likewise.

        Returns:
            ``(B,)``, nats.
        """
        u, v = (ranks + 0.5 / ranks.shape[1] for ranks in (u, v))
        table = self.table(u, v)
        return torch.stack([_value(*one) for one in zip(table, u, v, strict=True)])


def config_of(state: dict[str, Tensor], **heads: int) -> PublishedConfig:
    """The sizes that a published state dict tells.

    Args:
        state: the state dict.
        **heads: fields of :class:`PublishedConfig` that it does not tell.

    Raises:
        KeyError: a weight of the layout is missing.
    """
    latents, width = state["encoder.latents"].shape
    blocks = {k.split(".")[2] for k in state if k.startswith("encoder.self_attn_block.")}
    queries = state["query_gen.query"].shape[-1]
    return PublishedConfig(latents, width, queries, len(blocks), **heads)


class _Attention(nn.Module):
    """Multi-head attention with a projection of its own for queries, keys, values and result."""

    def __init__(self, queries: int, keys: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qeury = nn.Linear(queries, queries)
        self.key = nn.Linear(keys, queries)
        self.value = nn.Linear(keys, queries)
        self.projection = nn.Linear(queries, queries)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        parts = (self.qeury(queries), self.key(keys), self.value(values))
        split = (p.unflatten(2, (self.heads, -1)).transpose(1, 2) for p in parts)
        found = functional.scaled_dot_product_attention(*split)
        return self.projection(found.transpose(1, 2).flatten(2))


class _CrossAttention(nn.Module):
    def __init__(self, queries: int, keys: int, heads: int) -> None:
        super().__init__()
        self.q_norm = nn.LayerNorm(queries)
        self.kv_norm = nn.LayerNorm(keys)
        self.attention = _Attention(queries, keys, heads)

    def forward(self, queries: Tensor, source: Tensor) -> Tensor:
        source = self.kv_norm(source)
        return queries + self.attention(self.q_norm(queries), source, source)


class _SelfAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = _Attention(width, width, heads)

    def forward(self, rows: Tensor) -> Tensor:
        normed = self.norm(rows)
        return rows + self.attention(normed, normed, normed)


class _Perceptron(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)
        )

    def forward(self, rows: Tensor) -> Tensor:
        return rows + self.mlp(rows)


class _CrossBlock(nn.Module):
    def __init__(self, queries: int, keys: int, heads: int) -> None:
        super().__init__()
        self.cross_attention = _CrossAttention(queries, keys, heads)
        self.mlp = _Perceptron(queries)

    def forward(self, queries: Tensor, source: Tensor) -> Tensor:
        return self.mlp(self.cross_attention(queries, source))


class _SelfBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.self_attention = _SelfAttention(width, heads)
        self.mlp = _Perceptron(width)

    def forward(self, rows: Tensor) -> Tensor:
        return self.mlp(self.self_attention(rows))


class _Encoder(nn.Module):
    def __init__(self, config: PublishedConfig) -> None:
        super().__init__()
        width = config.latent_width
        self.repeats = config.repeats
        self.latents = nn.Parameter(torch.randn(config.latents, width) * 0.02)
        self.cross_attn_block = _CrossBlock(width, 2, config.encoder_heads)
        self.self_attn_block = nn.ModuleList(
            _SelfBlock(width, config.self_heads) for _ in range(config.blocks)
        )

    def forward(self, samples: Tensor) -> Tensor:
        latents = self.cross_attn_block(self.latents.expand(len(samples), -1, -1), samples)
        for _ in range(self.repeats):
            for block in self.self_attn_block:
                latents = block(latents)
        return latents


class _Decoder(nn.Module):
    def __init__(self, config: PublishedConfig) -> None:
        super().__init__()
        self.cross_attn = _CrossBlock(config.queries, config.latent_width, config.decoder_heads)

    def forward(self, queries: Tensor, latents: Tensor) -> Tensor:
        return self.cross_attn(queries, latents)


class _QueryMaker(nn.Module):
    """Learned rows attend to the samples: keys from x, values from y, both through ``mlp_x``.

    ``mlp_y`` is in every published state dict and is never used there.
    """

    def __init__(self, config: PublishedConfig) -> None:
        super().__init__()
        size = config.queries
        self.query = nn.Parameter(torch.randn(1, size, size) * 0.02)
        self.mlp_x, self.mlp_y = (
            nn.Sequential(
                *(nn.Linear(1, 128), nn.LeakyReLU(0.01), nn.Linear(128, 512)),
                *(nn.LeakyReLU(0.01), nn.Linear(512, 512)),
            )
            for _ in range(2)
        )
        self.attention = _Attention(size, 512, config.query_heads)
        self.norm_q, self.norm_k, self.norm_v = (nn.LayerNorm(n) for n in (size, 512, 512))

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        keys = self.norm_k(self.mlp_x(u[:, :, None]))
        values = self.norm_v(self.mlp_x(v[:, :, None]))
        queries = self.norm_q(self.query).expand(len(u), -1, -1)
        return self.attention(queries, keys, values)


class _Filter(nn.Module):
    """Smooths a table; beyond its edges it is taken for zero."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        end = FILTER_SPAN + (2 * FILTER_SPAN + 1) / FILTER / 2
        edges = torch.linspace(-end, end, FILTER + 1, dtype=torch.float64)
        mass = torch.erf(edges / math.sqrt(2)).diff() / 2
        kernel = torch.outer(mass, mass).sqrt()
        self.register_buffer("kernel", (kernel / kernel.sum()).float()[None, None])

    def forward(self, table: Tensor) -> Tensor:
        return functional.conv2d(table[:, None], self.kernel, padding=FILTER // 2).squeeze(1)


def _value(table: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Donsker-Varadhan value of one table at one pair's samples."""
    rows, columns = _hats(v, len(table)), _hats(u, len(table))  # u runs along the table's columns
    joint = ((rows @ table) * columns).sum(dim=1).mean()
    logs = [
        (part @ table @ columns.T).double().flatten().logsumexp(0)
        for part in rows.split(ROWS_AT_ONCE)
    ]
    return joint - (torch.stack(logs).logsumexp(0) - 2 * math.log(len(u))).to(joint)


def _hats(coordinate: Tensor, size: int) -> Tensor:
    """Linear weights ``(N, Q)`` of coordinates on Q points from -1 to 1."""
    place = (coordinate + 1) / 2 * (size - 1)
    cell = torch.arange(size, device=coordinate.device)
    return (1 - (place[:, None] - cell).abs()).clamp_min(0)
