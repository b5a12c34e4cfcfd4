"""Parts of :class:`dashlib.unet.UNet`: its configuration, embeddings, blocks and levels.

Sources: Ho et al. 2020; Dhariwal & Nichol 2021; the DASH release (arXiv 2606.00798).
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dashlib.checks import check_choice

NullInit = Literal["normal", "zero", "mean_of_classes"]
Prediction = Literal["eps", "v"]


@dataclass(frozen=True)
class UNetConfig:
    """Everything that fixes the architecture; ``ValueError`` for what cannot be built."""

    image_channels: int = 3
    image_size: int = 32  # pixels a side; images are square
    num_classes: int = 10
    ch: int = 128  # width of the first level
    mults: tuple[int, ...] = (1, 2, 2, 2)  # width of level i is ch * mults[i]
    blocks: int = 2  # residual blocks a level on the way down (one more on the way up)
    attn_resolutions: tuple[int, ...] = (16,)  # grid sizes with attention, beside the middle
    dropout: float = 0.1
    groups: int = 32  # of every GroupNorm
    patch_size: int = 1  # 1: the paper's; p: the network sees p x p patches as channels
    embed_std: float = 1.0  # standard deviation of the class table's rows at the start
    null_init: NullInit = "normal"  # start of the null row: random, zero, mean of the class rows
    w_conditioned: bool = False  # the guidance scale w is an input, embedded like t
    prediction: Prediction = "eps"  # what the body gives; the network gives eps in any case
    shared_masks: bool = False  # of dropout in training: the same for both branches of an image

    def __post_init__(self) -> None:
        for name in ("mults", "attn_resolutions"):  # JSON knows lists only
            object.__setattr__(self, name, tuple(getattr(self, name)))
        counts = self.image_size, self.num_classes, self.groups, self.blocks, self.patch_size
        if not self.mults or min(*counts, *self.mults) < 1 or not 0 <= self.dropout <= 1:
            raise ValueError(f"{self}: at least one level, counts from 1, dropout in [0, 1]")
        if self.ch < 4 or self.ch % 2:
            raise ValueError(f"ch={self.ch}: an even number from 4 (sines and cosines of t)")
        shrink = self.patch_size * 2 ** (len(self.mults) - 1)
        if self.image_size % shrink:
            of = f"patch_size {self.patch_size} x 2^({len(self.mults)} levels - 1)"
            remedy = f"is not divisible by {shrink} = {of}: use fewer levels or pad"
            raise ValueError(f"image_size {self.image_size} {remedy}")
        widths = [self.ch, *(self.ch * m for m in self.mults)]
        if any(width % self.groups for width in widths):
            raise ValueError(f"groups={self.groups} must divide every width {widths}")
        check_choice("null_init", self.null_init, get_args(NullInit))
        check_choice("prediction", self.prediction, get_args(Prediction))

    @property
    def null_label(self) -> int:
        """The label of the unconditional branch: one past the last class."""
        return self.num_classes

    @property
    def images(self) -> tuple[int, int, int]:
        """Channels, pixels a side, and classes of the images."""
        return self.image_channels, self.image_size, self.num_classes

    @property
    def grids(self) -> list[int]:
        """Positions a side of every level."""
        return [self.image_size // self.patch_size // 2**i for i in range(len(self.mults))]


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


def pointwise(conv: nn.Conv2d, tokens: Tensor) -> Tensor:
    """A 1x1 convolution of the positions of a grid: ``(B, N, c_in)`` -> ``(B, N, c_out)``."""
    return F.linear(tokens, conv.weight.flatten(1), conv.bias)


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
        tokens = self.norm(x).flatten(2).transpose(1, 2)
        q, k, v = (pointwise(conv, tokens) for conv in (self.q, self.k, self.v))
        if x.is_cuda:  # one head: the fused kernels take four dimensions
            q, k, v = (part.unsqueeze(1) for part in (q, k, v))
        out = pointwise(self.proj_out, F.scaled_dot_product_attention(q, k, v).view_as(tokens))
        return x + out.transpose(1, 2).reshape(x.shape)


class Downsample(nn.Module):
    """Halve the grid by a 3x3 convolution of stride 2, padded right and below only."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, c, H, W)`` -> ``(B, c, H/2, W/2)``."""
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Double the grid (nearest neighbour), then a 3x3 convolution."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, c, H, W)`` -> ``(B, c, 2H, 2W)``."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    """One resolution: residual blocks ``c_ins -> c``, attention on chosen grids, a resampling."""

    def __init__(
        self, cfg: UNetConfig, grid: int, c_ins: list[int], c: int, resample: type | None = None
    ) -> None:
        super().__init__()
        attend = grid in cfg.attn_resolutions
        self.block = nn.ModuleList(ResBlock(cfg, c_in, c) for c_in in c_ins)
        self.attn = nn.ModuleList(Attention(cfg, c) for _ in c_ins if attend)
        self.downsample = Downsample(c) if resample is Downsample else None
        self.upsample = Upsample(c) if resample is Upsample else None

    def step(self, i: int, x: Tensor, emb: Tensor) -> Tensor:
        """The i-th residual block, and its attention."""
        h = self.block[i](x, emb)
        return self.attn[i](h) if len(self.attn) else h


def levels(modules: nn.ModuleList) -> list[Level]:
    """The levels of ``UNet.down`` or ``UNet.up``, with their type."""
    return [m for m in modules if isinstance(m, Level)]
