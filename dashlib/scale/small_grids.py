"""Convolutions of small grids as matrix products: for networks of digits on a CPU, and opt-in.

On grids up to 4x4 a product ``(B, c_in H W) @ (c_in H W, c_out H' W')`` is faster than convolving.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from dashlib.blocks import Downsample, Upsample
from dashlib.unet import UNet


def with_products(model: UNet) -> UNet:
    """The same network, in place, with the same weights: its answers differ by rounding only."""
    for layer in model.modules():
        if getattr(layer, "padding", (1, 1)) == (1, 1):  # of the convolutions those of 3x3
            layer.__class__ = PRODUCTS.get(type(layer), type(layer))
    return model


@cache
@torch.inference_mode(False)  # kept for training, too
def taps(kind: type[nn.Module], height: int, width: int) -> Tensor:
    """Mark the entry of the kernel between an output and an input: ``(9, H', W', H W)``."""
    with torch.device("meta"):  # where nothing is drawn
        layer = nn.Conv2d(1, 1, 3, padding=1) if kind is nn.Conv2d else kind(1)
    conv, n = getattr(layer, "conv", layer), height * width
    conv.weight, conv.bias = nn.Parameter(torch.eye(9).view(9, 1, 3, 3)), None
    return layer(torch.eye(n).view(n, 1, height, width)).detach().permute(1, 2, 3, 0).contiguous()


class _Product(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        """``(B, c_in, H, W)`` -> ``(B, c_out, H', W')``; larger grids are convolved as ever."""
        conv: Any = getattr(self, "conv", self)
        height, width = x.shape[-2:]
        grid = height * width
        narrow = isinstance(self, Downsample) or min(conv.weight.shape[:2]) < 16
        plain = x.device.type == "cpu" and conv.weight.is_contiguous()  # not channels_last
        if grid > (16 if narrow else 4) or not plain or torch.compiler.is_compiling():
            return super().forward(x)
        between = taps(type(self).__bases__[1], height, width).to(conv.weight)
        pairs = (conv.weight.flatten(2) @ between.flatten(1)).unflatten(2, (-1, grid))
        dense = pairs.transpose(1, 2).reshape(-1, conv.in_channels * grid)
        bias = conv.bias.repeat_interleave(len(dense) // conv.out_channels)
        out = nn.functional.linear(x.flatten(1), dense, bias)
        return out.view(len(x), conv.out_channels, *between.shape[1:3])


_KINDS: tuple[type[nn.Module], ...] = (nn.Conv2d, Downsample, Upsample)
PRODUCTS = {kind: type(kind.__name__, (_Product, kind), {}) for kind in _KINDS}
