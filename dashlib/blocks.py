"""What :class:`dashlib.unet.UNet` is built of: its configuration, embeddings, blocks and levels.

Sources: Ho et al. 2020; Dhariwal & Nichol 2021; the DASH release (arXiv 2606.00798).
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NullInit = Literal["normal", "zero", "mean_of_classes"]
Prediction = Literal["eps", "v"]


def check_null_init(how: str) -> None:
    """``ValueError`` for a start of the null row that there is not."""
    if how not in get_args(NullInit):
        raise ValueError(f"null_init {how!r}: one of {', '.join(get_args(NullInit))}")


@dataclass(frozen=True)
class UNetConfig:
    """Everything that fixes the architecture.  Raises ``ValueError`` for what cannot be built."""

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

    def __post_init__(self) -> None:
        if not self.mults or min(self.blocks, self.patch_size, *self.mults) < 1:
            raise ValueError(
                f"mults={self.mults}, blocks={self.blocks}, patch_size={self.patch_size}: "
                "at least one level, and nothing below 1"
            )
        if self.ch < 4 or self.ch % 2:
            raise ValueError(f"ch={self.ch}: an even number from 4 (sines and cosines of t)")
        shrink = self.patch_size * 2 ** (len(self.mults) - 1)
        if self.image_size % shrink:
            raise ValueError(
                f"image_size {self.image_size} is not divisible by {shrink} = patch_size "
                f"{self.patch_size} x 2^({len(self.mults)} levels - 1): use fewer levels or pad"
            )
        widths = [self.ch, *(self.ch * m for m in self.mults)]
        if any(width % self.groups for width in widths):
            raise ValueError(f"groups={self.groups} must divide every width {widths}")
        check_null_init(self.null_init)
        if self.prediction not in get_args(Prediction):
            raise ValueError(
                f"prediction {self.prediction!r}: one of {', '.join(get_args(Prediction))}"
            )

    @property
    def null_label(self) -> int:
        """The label of the unconditional branch: one past the last class."""
        return self.num_classes


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


Resample = Literal["none", "up", "down"]


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, resample: Resample) -> Tensor:
    """3x3 convolution that keeps the grid's size, doubles it (nearest neighbour) or halves it.

    ``down`` has stride 2 and pads right and below only.
    """
    if resample == "down":
        return F.conv2d(F.pad(x, (0, 1, 0, 1)), weight, bias, stride=2)
    if resample == "up":
        x = F.interpolate(x, scale_factor=2.0, mode="nearest")
    return F.conv2d(x, weight, bias, padding=1)


@cache
@torch.inference_mode(False)  # kept for training, too
def taps(height: int, width: int, resample: Resample) -> Tensor:
    """Which entry of the kernel lies between an output and an input: ``(9, H', W', H W)``."""
    n = height * width
    inputs, kernels = torch.eye(n).view(n, 1, height, width), torch.eye(9).view(9, 1, 3, 3)
    return convolve(inputs, kernels, None, resample).permute(1, 2, 3, 0).contiguous()


class Conv3x3(nn.Conv2d):
    """:func:`convolve` with weights.

    A small grid has so few positions that the same linear map is faster, on a CPU, as one matrix
    product ``(B, c_in H W) @ (c_in H W, c_out H' W')``: see ``benchmarks/small_grids.py``.
    """

    def __init__(self, c_in: int, c_out: int, resample: Resample = "none") -> None:
        super().__init__(c_in, c_out, 3)
        self.resample = resample
        self.few = 16 if resample == "down" or min(c_in, c_out) < 16 else 4  # positions

    def forward(self, x: Tensor) -> Tensor:
        """``(B, c_in, H, W)`` -> ``(B, c_out, H', W')``."""
        height, width = x.shape[-2:]
        plain = x.device.type == "cpu" and self.weight.is_contiguous()  # not channels_last
        if height * width > self.few or not plain or torch.compiler.is_compiling():
            return convolve(x, self.weight, self.bias, self.resample)
        assert self.bias is not None
        between = taps(height, width, self.resample).to(self.weight)
        pairs = (self.weight.flatten(2) @ between.flatten(1)).unflatten(2, (-1, height * width))
        dense = pairs.transpose(1, 2).reshape(-1, self.in_channels * height * width)
        bias = self.bias.repeat_interleave(len(dense) // self.out_channels)
        out = F.linear(x.flatten(1), dense, bias)
        return out.view(len(x), self.out_channels, *between.shape[1:3])


def pointwise(conv: nn.Conv2d, tokens: Tensor) -> Tensor:
    """A 1x1 convolution of the positions of a grid: ``(B, N, c_in)`` -> ``(B, N, c_out)``."""
    return F.linear(tokens, conv.weight.flatten(1), conv.bias)


class ResBlock(nn.Module):
    """norm-SiLU-conv, add the embedding, norm-SiLU-dropout-conv, add the input."""

    def __init__(self, cfg: UNetConfig, c_in: int, c_out: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(cfg.groups, c_in, eps=1e-6)
        self.conv1 = Conv3x3(c_in, c_out)
        self.temb_proj = nn.Linear(4 * cfg.ch, c_out)
        self.norm2 = nn.GroupNorm(cfg.groups, c_out, eps=1e-6)
        self.dropout = nn.Dropout(cfg.dropout)
        self.conv2 = Conv3x3(c_out, c_out)
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


class Resampling(nn.Module):
    """A convolution that halves or doubles the grid."""

    def __init__(self, c: int, resample: Resample) -> None:
        super().__init__()
        self.conv = Conv3x3(c, c, resample)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, c, H, W)`` -> ``(B, c, H/2, W/2)`` or ``(B, c, 2H, 2W)``."""
        return self.conv(x)


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
        self.downsample = Resampling(widths[-1][1], "down") if down else None
        self.upsample = Resampling(widths[-1][1], "up") if up else None

    def step(self, i: int, x: Tensor, emb: Tensor) -> Tensor:
        """The i-th residual block, and its attention."""
        h = self.block[i](x, emb)
        return self.attn[i](h) if len(self.attn) else h


def levels(modules: nn.ModuleList) -> list[Level]:
    """The levels of ``UNet.down`` or ``UNet.up``, with their type."""
    return [m for m in modules if isinstance(m, Level)]
