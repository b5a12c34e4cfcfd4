"""What :class:`dashlib.unet.UNet` is built of: embeddings, residual blocks, attention, levels.

Sources: Ho et al. 2020; Dhariwal & Nichol 2021; the DASH release (arXiv 2606.00798).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from dashlib.unet import UNetConfig


def sinusoidal(t: Tensor, width: int) -> Tensor:
    """Sines and cosines of t at ``width/2`` frequencies from 1 down to 1e-4: ``(B, width)``."""
    half = width // 2
    freqs = torch.exp(torch.arange(half, device=t.device) * (-math.log(10000) / (half - 1)))
    angles = t.float()[:, None] * freqs
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class TimeEmbedding(nn.Module):
    """Sinusoids of width ch through two linear layers of width 4 ch."""

    def __init__(self, ch: int) -> None:
        super().__init__()
        self.ch = ch
        self.dense = nn.ModuleList([nn.Linear(ch, 4 * ch), nn.Linear(4 * ch, 4 * ch)])

    def forward(self, t: Tensor) -> Tensor:
        """``(B,)`` -> ``(B, 4 ch)``."""
        return self.dense[1](F.silu(self.dense[0](sinusoidal(t, self.ch))))


class ResBlock(nn.Module):
    """norm-SiLU-conv, add the embedding, norm-SiLU-dropout-conv, add the input."""

    def __init__(self, cfg: UNetConfig, c_in: int, c_out: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(cfg.groups, c_in, eps=1e-6)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.temb_proj = nn.Linear(4 * cfg.ch, c_out)
        self.norm2 = nn.GroupNorm(cfg.groups, c_out, eps=1e-6)
        self.dropout = nn.Dropout(cfg.dropout)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1)
        if c_in != c_out:
            self.nin_shortcut = nn.Conv2d(c_in, c_out, 1)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """``(B, c_in, H, W)`` and ``(B, 4 ch)`` -> ``(B, c_out, H, W)``."""
        h = self.conv1(F.silu(self.norm1(x)))
        h = h + self.temb_proj(F.silu(emb))[:, :, None, None]
        h = self.conv2(self.dropout(F.silu(self.norm2(h))))
        return h + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


class Attention(nn.Module):
    """Single-head self-attention over the positions of the grid, with a residual connection."""

    def __init__(self, cfg: UNetConfig, c: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(cfg.groups, c, eps=1e-6)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(c, c, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out."""
        h = self.norm(x)
        q, k, v = (f(h).flatten(2).transpose(1, 2) for f in (self.q, self.k, self.v))
        out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
        return x + self.proj_out(out)


class Downsample(nn.Module):
    """Stride-2 convolution, padded right and below only."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, c, H, W)`` -> ``(B, c, H/2, W/2)``."""
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Nearest-neighbour doubling, then a convolution."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, c, H, W)`` -> ``(B, c, 2H, 2W)``."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    """One resolution: residual blocks, attention after each if wanted, maybe a resampling."""

    def __init__(
        self,
        cfg: UNetConfig,
        widths: list[tuple[int, int]],
        attend: bool,
        *,
        down: bool = False,
        up: bool = False,
    ) -> None:
        super().__init__()
        self.block = nn.ModuleList(ResBlock(cfg, c_in, c_out) for c_in, c_out in widths)
        self.attn = nn.ModuleList(Attention(cfg, c) for _, c in widths if attend)
        self.downsample = Downsample(widths[-1][1]) if down else None
        self.upsample = Upsample(widths[-1][1]) if up else None

    def step(self, i: int, x: Tensor, emb: Tensor) -> Tensor:
        """The i-th residual block, and its attention."""
        h = self.block[i](x, emb)
        return self.attn[i](h) if len(self.attn) else h


def levels(modules: nn.ModuleList) -> list[Level]:
    """The levels of ``UNet.down`` or ``UNet.up``, with their type."""
    return [m for m in modules if isinstance(m, Level)]
