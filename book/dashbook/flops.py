"""FLOPs: a multiply-add is 2; convolutions, linear layers and attention's products are counted."""

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from dashlib.unet import UNet, UNetConfig


def flops(module: nn.Module, *inputs: Tensor) -> int:
    """FLOPs of one forward pass in the convention above (a multiply-add is 2)."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        module(*inputs)
    return counter.get_total_flops()


def forward_flops(cfg: UNetConfig) -> int:
    """FLOPs of one forward pass of one image; a guided sample of n steps takes 2 n of these."""
    with torch.device("meta"):
        image = torch.zeros(1, cfg.image_channels, cfg.image_size, cfg.image_size)
        zero = torch.zeros(1, dtype=torch.long)
        return flops(UNet(cfg).eval(), image, zero, zero)
