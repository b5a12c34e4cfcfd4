"""The network: sizes and names of the released models, shapes, null row, errors.

``data/official_inventory.json`` holds the parameter names, shapes and counts of the authors' four
checkpoints (release of arXiv 2606.00798), taken from the project's inventory of that format.  The
CIFAR-100 models differ from the CIFAR-10 ones in the shape of the class table only, so one list of
shapes a size is kept.
"""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dashlib import blocks, unet
from dashlib.unet import UNet, UNetConfig, count_parameters, reset_null_row

INVENTORY = json.loads((Path(__file__).parent / "data/official_inventory.json").read_text())
RELEASED = {
    ("teacher", "cifar10"): 35_751_939,
    ("student", "cifar10"): 6_082_627,
    ("teacher", "cifar100"): 35_798_019,
    ("student", "cifar100"): 6_105_667,
}


def on_meta(cfg: UNetConfig) -> UNet:
    """The network without its weights: nothing is computed or stored."""
    with torch.device("meta"):
        return UNet(cfg)


def images(cfg: UNetConfig, n: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    x = torch.randn(n, cfg.image_channels, cfg.image_size, cfg.image_size)
    return x, torch.arange(n) * 100, torch.arange(n)


@pytest.mark.parametrize(("size", "dataset"), RELEASED)
def test_released_models_have_the_released_number_of_parameters(size, dataset):
    model = on_meta(getattr(unet, f"{size}_{dataset}".upper()))
    assert count_parameters(model) == RELEASED[size, dataset] == INVENTORY[size][dataset]


@pytest.mark.parametrize(("size", "dataset"), RELEASED)
def test_released_models_have_the_released_names_and_shapes(size, dataset):
    model = on_meta(getattr(unet, f"{size}_{dataset}".upper()))
    want = dict(INVENTORY[size]["shapes"])
    if dataset == "cifar100":
        want["class_embed.weight"] = [101, want["class_embed.weight"][1]]
    assert {k: list(v.shape) for k, v in model.state_dict().items()} == want


def test_digits_models_keep_the_ratio_of_the_released_ones():
    teacher, student = (
        count_parameters(on_meta(cfg)) for cfg in (unet.TEACHER_DIGITS, unet.STUDENT_DIGITS)
    )
    assert (teacher, student) == (942_468, 168_916)
    assert 5.5 < teacher / student < 6.2


@pytest.mark.parametrize("patch_size", [1, 2])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_noise_has_the_shape_of_the_images(tiny, patch_size, channels):
    cfg = replace(tiny, patch_size=patch_size, image_channels=channels)
    model, (x, t, y) = UNet(cfg), images(cfg)
    assert model(x, t, y).shape == x.shape == (3, channels, 8, 8)
    assert model.conv_in.in_channels == channels * patch_size**2


def test_a_released_student_runs():
    model = UNet(unet.STUDENT_CIFAR10).eval()
    with torch.no_grad():
        out = model(*images(model.cfg, 1))
    assert out.shape == (1, 3, 32, 32)
    assert out.isfinite().all()


def test_evaluation_is_deterministic_and_training_drops_out(model):
    batch = images(model.cfg)
    assert torch.equal(model(*batch), model(*batch))
    model.train()
    assert not torch.equal(model(*batch), model(*batch))


def test_images_of_a_batch_do_not_mix(model):
    x, t, y = images(model.cfg)
    alone = torch.cat([model(x[i : i + 1], t[i : i + 1], y[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(alone, model(x, t, y), rtol=1e-4, atol=1e-5)


def test_branches_differ_by_the_null_row_only(model):
    x, t, y = images(model.cfg)
    null = torch.full_like(y, model.null_label)
    cond, uncond = model(x, t, y).detach(), model(x, t, null).detach()
    assert not torch.allclose(cond, uncond)
    model.class_embed.weight.data[-1] += 1
    assert torch.equal(model(x, t, y), cond)
    assert not torch.allclose(model(x, t, null), uncond)
    model.class_embed.weight.data[-1] = model.class_embed.weight.data[1]
    assert torch.equal(model(x, t, null)[1], cond[1])  # image 1 has label 1


def test_the_null_row_starts_as_configured(tiny):
    rows = {}
    for how in ("normal", "zero", "mean_of_classes"):
        torch.manual_seed(0)
        rows[how] = UNet(replace(tiny, null_init=how)).class_embed.weight.detach()
    classes = rows["normal"][:-1]
    assert all(torch.equal(table[:-1], classes) for table in rows.values())
    assert rows["normal"][-1].norm() > 1
    assert rows["zero"][-1].eq(0).all()
    torch.testing.assert_close(rows["mean_of_classes"][-1], classes.mean(0))


def test_the_class_table_starts_as_large_as_configured(tiny):
    tables = []
    for std in (1.0, 0.02):
        torch.manual_seed(0)
        tables.append(UNet(replace(tiny, embed_std=std)).state_dict())
    rows = [state.pop("class_embed.weight") for state in tables]
    torch.testing.assert_close(rows[1], 0.02 * rows[0])
    assert rows[0].std().item() == pytest.approx(1, abs=0.1)
    assert all(torch.equal(v, tables[1][k]) for k, v in tables[0].items())


@pytest.mark.parametrize("how", ["zero", "mean_of_classes"])
def test_the_null_row_alone_is_reset_after_training(model, how):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(*images(model.cfg)).square().mean().backward()
    optimizer.step()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    reset_null_row(model, how)
    rows = before.pop("class_embed.weight")
    want = torch.zeros_like(rows[0]) if how == "zero" else rows[:-1].mean(0)
    torch.testing.assert_close(model.class_embed.weight[-1].detach(), want)
    assert torch.equal(model.class_embed.weight[:-1], rows[:-1])
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in before.items())


def test_normal_leaves_the_null_row(model):
    before = model.class_embed.weight.clone()
    reset_null_row(model, "normal")
    assert torch.equal(model.class_embed.weight, before)


def test_an_unknown_way_to_reset_the_null_row_is_an_error(model):
    with pytest.raises(ValueError, match="mean_of_classes"):
        reset_null_row(model, "mean")


def test_time_embedding_is_sines_and_cosines():
    out = blocks.sinusoidal(torch.tensor([0, 3]), 8)
    freqs = [10_000 ** (-i / 3) for i in range(4)]  # from 1 down to 1e-4
    want = [math.sin(3 * f) for f in freqs] + [math.cos(3 * f) for f in freqs]
    torch.testing.assert_close(out[0], torch.tensor([0.0] * 4 + [1.0] * 4))
    torch.testing.assert_close(out[1], torch.tensor(want), rtol=1e-5, atol=1e-6)


def test_attention_is_single_headed_softmax_over_positions(tiny):
    attention, x = blocks.Attention(tiny, 8), torch.randn(2, 8, 4, 4)
    h = attention.norm(x)
    q, k, v = (f(h).reshape(2, 8, 16) for f in (attention.q, attention.k, attention.v))
    weights = torch.einsum("bcp,bcs->bps", q, k).div(8**0.5).softmax(-1)
    out = torch.einsum("bps,bcs->bcp", weights, v).reshape(x.shape)
    torch.testing.assert_close(attention(x), x + attention.proj_out(out))


@pytest.mark.parametrize("corner", [0, 2])
def test_downsampling_pads_right_and_below_only(corner):
    down, x = blocks.Downsample(1), torch.randn(1, 1, 4, 4)
    nn.init.zeros_(down.conv.weight)
    nn.init.zeros_(down.conv.bias)
    down.conv.weight.data[0, 0, corner, corner] = 1
    want = F.pad(x, (0, 1, 0, 1))[..., corner::2, corner::2][..., :2, :2]
    torch.testing.assert_close(down(x), want)


def test_normalisation_has_the_released_epsilon():
    norms = [m for m in on_meta(unet.TEACHER_CIFAR10).modules() if isinstance(m, nn.GroupNorm)]
    assert {(m.eps, m.num_groups) for m in norms} == {(1e-6, 32)}


@pytest.mark.parametrize("label", [-1, 11])
def test_a_label_out_of_range_is_an_error(model, label):
    x, t, _ = images(model.cfg, 1)
    with pytest.raises(ValueError, match=rf"got {label}.*0\.\.9 and 10 is the null label"):
        model(x, t, torch.tensor([label]))


@pytest.mark.parametrize("shape", [(2, 1, 4, 4), (2, 3, 8, 8), (2, 8, 8)])
def test_images_of_another_shape_are_an_error(model, shape):
    with pytest.raises(ValueError, match=r"\(C, H, W\) = \(1, 8, 8\)"):
        model(torch.zeros(shape), torch.tensor([0, 0]), torch.tensor([0, 0]))


def test_one_timestep_and_one_label_an_image(model):
    x, t, y = images(model.cfg)
    with pytest.raises(ValueError, match="one timestep and one label an image"):
        model(x, t[:2], y)
    with pytest.raises(ValueError, match="one timestep and one label an image"):
        model(x, t, y[:2])


def test_a_negative_timestep_is_an_error(model):
    x, t, y = images(model.cfg)
    with pytest.raises(ValueError, match="timestep out of range: got -1"):
        model(x, t - 1, y)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": 30}, "30 is not divisible by 8"),
        ({"patch_size": 3}, "not divisible by 24"),
        ({"groups": 48}, "groups=48 must divide every width"),
        ({"ch": 16, "mults": (2, 4)}, r"groups.*16"),  # the first convolution's width, ch itself
        ({"mults": ()}, "mults"),
        ({"patch_size": 0}, "patch_size"),
        ({"blocks": 0}, "blocks"),
        ({"ch": 3, "groups": 1}, "ch"),  # half of the time embedding are sines
        ({"null_init": "mean"}, "mean_of_classes"),
    ],
)
def test_a_network_that_cannot_be_built_is_an_error(change, message):
    with pytest.raises(ValueError, match=message):
        UNetConfig(**change)
