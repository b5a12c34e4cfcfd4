"""The parts of the network against torch's own operators."""

import pytest
import torch
from torch.nn import functional as F

from dashlib.blocks import Attention, Conv3x3, taps
from dashlib.unet import STUDENT_DIGITS


def plain(x, conv):
    """What torch computes."""
    if conv.resample == "down":
        return F.conv2d(F.pad(x, (0, 1, 0, 1)), conv.weight, conv.bias, stride=2)
    x = F.interpolate(x, scale_factor=2, mode="nearest") if conv.resample == "up" else x
    return F.conv2d(x, conv.weight, conv.bias, padding=1)


@pytest.mark.parametrize("grid", [(2, 2), (3, 3), (2, 4), (4, 4), (6, 4)])
@pytest.mark.parametrize("resample", ["none", "up", "down"])
@pytest.mark.parametrize("c_in", [3, 16])
def test_a_convolution_is_torchs_on_every_grid_with_its_gradients(grid, resample, c_in):
    torch.manual_seed(0)
    conv, x = Conv3x3(c_in, 16, resample).double(), torch.randn(4, c_in, *grid).double()
    inputs = [x.requires_grad_(), conv.weight, conv.bias]
    want, found = plain(x, conv), conv(x)
    torch.testing.assert_close(found, want)
    direction = torch.randn_like(want)
    gradients = [torch.autograd.grad(y, inputs, direction) for y in (found, want)]
    torch.testing.assert_close(*gradients)


def test_a_small_grid_leaves_no_trace_in_the_weights_and_takes_an_empty_batch():
    conv = Conv3x3(3, 5)
    assert set(conv.state_dict()) == {"weight", "bias"}
    assert conv(torch.randn(0, 3, 2, 2)).shape == (0, 5, 2, 2)


def test_training_goes_on_after_the_first_pass_was_an_inference():
    taps.cache_clear()
    conv, x = Conv3x3(3, 5), torch.randn(2, 3, 2, 2)
    with torch.inference_mode():
        conv(x)
    conv(x).sum().backward()
    assert conv.weight.grad.abs().sum() > 0


def test_attention_is_that_of_its_1x1_convolutions():
    torch.manual_seed(0)
    layer, x = Attention(STUDENT_DIGITS, 32), torch.randn(2, 32, 3, 2)
    q, k, v = (f(layer.norm(x)).flatten(2) for f in (layer.q, layer.k, layer.v))
    weights = (q.transpose(1, 2) @ k / 32**0.5).softmax(-1)
    attended = (v @ weights.transpose(1, 2)).view(x.shape)
    torch.testing.assert_close(layer(x), x + layer.proj_out(attended))
