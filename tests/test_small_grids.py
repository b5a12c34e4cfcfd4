"""Products of small grids against the convolutions that they stand for."""

import copy

import pytest
import torch

from dashlib.blocks import Downsample, Upsample
from dashlib.scale.small_grids import PRODUCTS, taps, with_products
from dashlib.unet import STUDENT_DIGITS, UNet


def conv3x3(c_in, c_out):
    return torch.nn.Conv2d(c_in, c_out, 3, padding=1)


LAYERS = {  # kind: plain layer of so many channels
    "keep": lambda c: conv3x3(c, 16),
    "halve": Downsample,
    "double": Upsample,
}


def counted(monkeypatch):
    """Note the grids of all products from now on."""
    seen = []

    def noted(kind, height, width):
        seen.append((height, width))
        return taps(kind, height, width)

    monkeypatch.setattr("dashlib.scale.small_grids.taps", noted)
    return seen


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("grid", [(2, 2), (3, 3), (2, 4), (4, 4), (6, 4)])
@pytest.mark.parametrize("c", [3, 16])
def test_a_product_is_the_convolution_with_its_gradients(kind, grid, c, monkeypatch):
    plain = LAYERS[kind](c).double()
    layer, x = with_products(copy.deepcopy(plain)), torch.randn(4, c, *grid).double()
    seen, found, values = counted(monkeypatch), [], []
    for f in (plain, layer):
        inputs = [x.requires_grad_(), *f.parameters()]
        values.append(f(x))
        direction = torch.linspace(-1, 1, values[0].numel()).view_as(values[0]).double()
        found.append(torch.autograd.grad(values[-1], inputs, direction))
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*found)
    few = 16 if kind == "halve" or c == 3 else 4
    assert bool(seen) == (grid[0] * grid[1] <= few)


def test_a_network_keeps_its_weights_and_its_answers_and_so_does_its_copy(monkeypatch):
    model = UNet(STUDENT_DIGITS).eval()
    batch = torch.randn(3, 1, 8, 8), torch.tensor([0, 500, 999]), torch.tensor([0, 9, 10])
    want, state = model(*batch), model.state_dict()
    assert with_products(model) is model
    assert list(model.state_dict()) == list(state)
    seen = counted(monkeypatch)
    for net in (model, copy.deepcopy(model)):
        torch.testing.assert_close(net(*batch), want, rtol=1e-4, atol=1e-5)
    assert len(seen) > 2 * 10
    assert {(2, 2), (4, 4)} == {*seen}


def test_nothing_is_drawn(monkeypatch):
    taps.cache_clear()
    model, before = with_products(UNet(STUDENT_DIGITS)), torch.get_rng_state()
    seen = counted(monkeypatch)
    with torch.no_grad():
        model.eval()(torch.zeros(1, 1, 8, 8), torch.tensor([0]), torch.tensor([0]))
    assert seen
    assert torch.equal(torch.get_rng_state(), before)


def test_other_layouts_and_compiled_networks_convolve(monkeypatch):
    layer, x = with_products(conv3x3(16, 16)), torch.randn(1, 16, 2, 2)
    seen = counted(monkeypatch)
    layer(x)
    assert len(seen) == 1
    layer.to(memory_format=torch.channels_last)(x)
    layer.to(memory_format=torch.contiguous_format)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    layer(x)
    assert with_products(conv3x3(16, 16).to("meta"))(x.to("meta")).shape == x.shape
    assert len(seen) == 1


def test_1x1_convolutions_are_left_alone():
    kinds = {type(m) for m in with_products(UNet(STUDENT_DIGITS)).modules()}
    assert kinds >= {torch.nn.Conv2d, *PRODUCTS.values()}


def test_an_empty_batch_has_an_empty_answer():
    assert with_products(conv3x3(3, 5))(torch.randn(0, 3, 2, 2)).shape == (0, 5, 2, 2)


def test_training_goes_on_after_the_first_pass_was_an_inference():
    taps.cache_clear()
    conv, x = with_products(conv3x3(3, 5)), torch.randn(2, 3, 2, 2)
    with torch.inference_mode():
        conv(x)
    conv(x).sum().backward()
    assert conv.weight.grad.abs().sum() > 0
