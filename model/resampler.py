"""Perceiver resampler: any number of patch vectors in, `num_latents` vectors out (paper section 4.1).

Letters: M pictures, P patches, N latents, D vision width, E = heads x dim_head, T text width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from .configuration_aki import AkiConfig


class ResamplerAttention(nn.Module):
    """Latents ask patches and latents. Keys and values come from `[patches; latents]`, in this order."""

    def __init__(self, dim: int, heads: int, dim_head: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_media = nn.LayerNorm(dim)
        self.norm_latents = nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, heads * dim_head, bias=False)
        self.to_kv = nn.Linear(dim, 2 * heads * dim_head, bias=False)
        self.to_out = nn.Linear(heads * dim_head, dim, bias=False)

    def forward(self, patches: Tensor, latents: Tensor, positions: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """(M, P, D), (M, N, D) -> (M, N, D). `positions`: (N, E) added to queries and (P + N, E) added to keys."""
        latents = self.norm_latents(latents)
        query = self.to_q(latents)
        key, value = self.to_kv(torch.cat([self.norm_media(patches), latents], dim=1)).chunk(2, dim=-1)
        if positions is not None:
            query, key = query + positions[0], key + positions[1]
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (query, key, value))
        answer = functional.scaled_dot_product_attention(query, key, value)
        mixed: Tensor = self.to_out(answer.transpose(1, 2).flatten(2))
        return mixed


class ResamplerLayer(nn.Module):
    """Attention and feed-forward, each with a residual. GELU is the exact one."""

    def __init__(self, dim: int, heads: int, dim_head: int, ff_mult: int) -> None:
        super().__init__()
        self.attention = ResamplerAttention(dim, heads, dim_head)
        self.norm = nn.LayerNorm(dim)
        self.up = nn.Linear(dim, ff_mult * dim, bias=False)
        self.down = nn.Linear(ff_mult * dim, dim, bias=False)

    def forward(self, patches: Tensor, latents: Tensor, positions: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """(M, P, D), (M, N, D) -> (M, N, D)."""
        latents = latents + self.attention(patches, latents, positions)
        change: Tensor = self.down(functional.gelu(self.up(self.norm(latents))))
        return latents + change


class Resampler(nn.Module):
    """Perceiver resampler and the projection to the text backbone's width."""

    def __init__(self, config: AkiConfig) -> None:
        super().__init__()
        dim = config.vision_config.hidden_size
        self.position_encoding = config.resampler_position_encoding
        self.heads, self.dim_head = config.resampler_heads, config.resampler_dim_head
        self.latents = nn.Parameter(torch.randn(config.num_latents, dim))
        self.layers = nn.ModuleList(
            ResamplerLayer(dim, config.resampler_heads, config.resampler_dim_head, config.resampler_ff_mult)
            for _ in range(config.resampler_depth)
        )
        self.norm = nn.LayerNorm(dim)
        self.projection = nn.Linear(dim, config.text_config.hidden_size)

    def forward(self, patches: Tensor) -> Tensor:
        """(M, P, D) -> (M, N, T)."""
        latents = self.latents.to(patches.dtype).expand(patches.shape[0], -1, -1)
        positions = self._positions(patches) if self.position_encoding == "sincos" else None
        for layer in self.layers:
            latents = layer(patches, latents, positions)
        projected: Tensor = self.projection(self.norm(latents))
        return projected

    def _positions(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Sine-cosine places of latents and patches: latents stand where a coarser grid would put them."""
        of_latents = grid_positions(self.latents.shape[0], self.heads, self.dim_head).to(patches)
        of_patches = grid_positions(patches.shape[1], self.heads, self.dim_head).to(patches)
        return of_latents, torch.cat([of_patches, of_latents])


def grid_positions(num_cells: int, heads: int, dim_head: int) -> Tensor:
    """(num_cells, heads x dim_head) sine-cosine positions of a near-square grid on the unit square.

    Every head gets all frequencies of both axes: its channels are [sin x, cos x, sin y, cos y], each a quarter of the
    head. (With the usual order, one half of all channels per axis, a head would see one axis only.)
    """
    columns = math.ceil(math.sqrt(num_cells))
    rows = math.ceil(num_cells / columns)
    cell = torch.arange(num_cells)
    x, y = (cell % columns + 0.5) / columns, (cell // columns + 0.5) / rows
    frequencies = math.pi * 8 ** torch.linspace(
        0, 1, max(1, dim_head // 4)
    )  # half a wave to four waves across the picture
    angles = [axis[:, None] * frequencies for axis in (x, y)]
    one_head = torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=-1)
    one_head = functional.pad(one_head, (0, max(0, dim_head - one_head.shape[-1])))[:, :dim_head]
    return one_head.repeat(1, heads)


def near_identity(weight: Tensor, std: float) -> Tensor:
    """(out, in) -> the same shape: ones on the diagonal (repeated when out > in) and a little noise."""
    out_features, in_features = weight.shape
    eye = torch.eye(in_features).repeat(math.ceil(out_features / in_features), 1)[:out_features]
    return (eye + std * torch.randn(out_features, in_features)).to(weight)
