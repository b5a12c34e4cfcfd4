"""The parts of the network against torch's own operators."""

import pytest
import torch
from torch.nn import functional as F

from dashlib.blocks import Attention, Conv3x3
from dashlib.unet import STUDENT_DIGITS


@pytest.mark.parametrize("size", [1, 2, 3, (2, 4), 4])
@pytest.mark.parametrize("scale", [1, 2])
def test_a_convolution_is_torchs_on_every_grid_with_its_gradients(size, scale):
    torch.manual_seed(0)
    grid = (size, size) if isinstance(size, int) else size
    conv, x = Conv3x3(3, 5, scale=scale).double(), torch.randn(4, 3, *grid).double()
    inputs = [x.requires_grad_(), conv.weight, conv.bias]
    enlarged = F.interpolate(x, scale_factor=scale, mode="nearest")
    want, found = F.conv2d(enlarged, conv.weight, conv.bias, padding=1), conv(x)
    torch.testing.assert_close(found, want)
    direction = torch.randn_like(want)
    gradients = [torch.autograd.grad(y, inputs, direction) for y in (found, want)]
    torch.testing.assert_close(*gradients)


def test_the_small_grid_leaves_no_trace_in_the_weights():
    conv = Conv3x3(3, 5)
    assert set(conv.state_dict()) == {"weight", "bias"}
    assert conv(torch.randn(0, 3, 2, 2)).shape == (0, 5, 2, 2)


def test_attention_is_that_of_its_1x1_convolutions():
    torch.manual_seed(0)
    layer, x = Attention(STUDENT_DIGITS, 32), torch.randn(2, 32, 3, 2)
    q, k, v = (f(layer.norm(x)).flatten(2) for f in (layer.q, layer.k, layer.v))
    weights = (q.transpose(1, 2) @ k / 32**0.5).softmax(-1)
    attended = (v @ weights.transpose(1, 2)).view(x.shape)
    torch.testing.assert_close(layer(x), x + layer.proj_out(attended))
