"""The network against a second one, written on its own from a state dict: every layer counts.

The oracle below knows nothing of ``dashlib``: ``torch.nn.functional`` on named weights, from the
description of the architecture (Ho et al. 2020; Dhariwal & Nichol 2021).  How many levels, blocks
and attentions there are it reads from the names; the groups of GroupNorm and the size of the
patches it is told.
"""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from dashlib import blocks, results
from dashlib.unet import UNet, UNetConfig


def part(weights, prefix):
    """The weights below a name, by the rest of their names."""
    return {k[len(prefix) + 1 :]: v for k, v in weights.items() if k.startswith(prefix + ".")}


def norm(weights, name, x, groups):
    return F.group_norm(x, groups, weights[f"{name}.weight"], weights[f"{name}.bias"], eps=1e-6)


def conv(weights, name, x, **how):
    return F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], **how)


def linear(weights, name, x):
    return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def swish(x):
    return x * torch.sigmoid(x)


def sinusoids(t, width):
    """One row a timestep: the sines, then the cosines, of t 10000^(-i / (width/2 - 1))."""
    rates = [10_000 ** (-i / (width // 2 - 1)) for i in range(width // 2)]
    return torch.tensor(
        [[f(time * rate) for f in (math.sin, math.cos) for rate in rates] for time in t.tolist()]
    )


def embedding(weights, t):
    width = weights["dense.0.weight"].shape[1]
    return linear(weights, "dense.1", swish(linear(weights, "dense.0", sinusoids(t, width))))


def residual(weights, x, emb, groups):
    h = conv(weights, "conv1", swish(norm(weights, "norm1", x, groups)), padding=1)
    h = h + linear(weights, "temb_proj", swish(emb)).unsqueeze(-1).unsqueeze(-1)
    h = conv(weights, "conv2", swish(norm(weights, "norm2", h, groups)), padding=1)
    return h + (conv(weights, "nin_shortcut", x) if "nin_shortcut.weight" in weights else x)


def attention(weights, x, groups):
    h = norm(weights, "norm", x, groups)
    q, k, v = (conv(weights, name, h).flatten(2) for name in "qkv")
    scores = torch.einsum("bci,bcj->bij", q, k) / math.sqrt(x.shape[1])
    attended = torch.einsum("bij,bcj->bci", scores.softmax(dim=2), v)
    return x + conv(weights, "proj_out", attended.reshape(x.shape))


def halved(weights, x):
    return conv(weights, "conv", F.pad(x, (0, 1, 0, 1)), stride=2)


def doubled(weights, x):
    return conv(weights, "conv", x.repeat_interleave(2, dim=2).repeat_interleave(2, 3), padding=1)


def step(level, i, h, emb, groups):
    """The i-th block of a level and, if the level has any, its attention."""
    h = residual(part(level, f"block.{i}"), h, emb, groups)
    weights = part(level, f"attn.{i}")
    return attention(weights, h, groups) if weights else h


def children(weights, prefix):
    """The numbered parts below a name, in order."""
    numbers = {int(k.split(".")[0]) for k in part(weights, prefix)}
    return [part(weights, f"{prefix}.{i}") for i in sorted(numbers)]


def contracted(weights, h, emb, groups):
    """The way down: what leaves the last level, and what every skip connection carries."""
    carried = [h]
    for level in children(weights, "down"):
        for i in range(len(children(level, "block"))):
            carried.append(h := step(level, i, h, emb, groups))
        if down := part(level, "downsample"):
            carried.append(h := halved(down, h))
    return h, carried


def oracle(weights, x, t, y, w=None, *, groups, patch_size):
    """Return what a UNet with these weights answers."""
    emb = embedding(part(weights, "temb"), t) + weights["class_embed.weight"][y]
    if w is not None:
        emb = emb + embedding(part(weights, "wemb"), 250 * (w - 1))
    h = conv(weights, "conv_in", F.pixel_unshuffle(x, patch_size), padding=1)
    h, carried = contracted(weights, h, emb, groups)
    h = residual(part(weights, "mid.block_1"), h, emb, groups)
    h = attention(part(weights, "mid.attn_1"), h, groups)
    h = residual(part(weights, "mid.block_2"), h, emb, groups)
    for level in reversed(children(weights, "up")):
        for i in range(len(children(level, "block"))):
            h = step(level, i, torch.cat([h, carried.pop()], 1), emb, groups)
        if up := part(level, "upsample"):
            h = doubled(up, h)
    assert not carried
    h = conv(weights, "conv_out", swish(norm(weights, "norm_out", h, groups)), padding=1)
    return F.pixel_shuffle(h, patch_size)


def inputs(cfg):
    """Four images, with timesteps and labels over their whole ranges, the null label too."""
    x = torch.randn(4, cfg.image_channels, cfg.image_size, cfg.image_size)
    return x, torch.tensor([0, 1, 500, 999]), torch.tensor([0, 3, cfg.num_classes, 9])


@torch.no_grad()
def shaken(module):
    """The module with no zeros and no ones among its weights: biases and norms count, too."""
    for weights in module.parameters():
        weights += 0.1 * torch.randn(weights.shape)
    return module.eval()


@torch.no_grad()
def check(model, *batch):
    cfg = model.cfg
    options = {"groups": cfg.groups, "patch_size": cfg.patch_size}
    want = oracle(model.state_dict(), *batch, **options)
    torch.testing.assert_close(model(*batch), want, rtol=1e-4, atol=1e-4 * want.std().item())


@pytest.mark.parametrize("name", ["digits/teacher-uniform", "digits/dash-transfer-s0"])
def test_a_stored_network_answers_as_the_oracle(name):
    model = results.load(name).model()
    check(model, *inputs(model.cfg))


def test_a_stored_single_head_answers_as_the_oracle():
    model = results.load("digits/single_head-transfer-s0").model()
    check(model, *inputs(model.cfg), torch.tensor([1.0, 1.7, 3.0, 4.0]))


PAPER = UNetConfig(ch=16, mults=(1, 2, 2, 2), groups=8)  # the released shape, an eighth as wide


@pytest.mark.parametrize(
    "change",
    [{}, {"blocks": 1, "w_conditioned": True}, {"image_size": 16, "attn_resolutions": (16, 4, 2)}],
)
def test_a_network_of_the_papers_shape_answers_as_the_oracle(change):
    model = shaken(UNet(replace(PAPER, **change)))
    w = (torch.tensor([1.0, 1.7, 3.0, 4.0]),) if model.cfg.w_conditioned else ()
    check(model, *inputs(model.cfg), *w)


@pytest.mark.parametrize("c_in", [16, 32])
def test_a_residual_block_is_the_oracles(c_in):
    block = shaken(blocks.ResBlock(PAPER, c_in, 32))
    x, emb = torch.randn(3, c_in, 8, 8), torch.randn(3, 4 * PAPER.ch)
    torch.testing.assert_close(block(x, emb), residual(block.state_dict(), x, emb, PAPER.groups))


def test_attention_is_the_oracles():
    layer, x = shaken(blocks.Attention(PAPER, 32)), torch.randn(3, 32, 6, 4)
    torch.testing.assert_close(layer(x), attention(layer.state_dict(), x, PAPER.groups))


@pytest.mark.parametrize(
    ("kind", "want"), [(blocks.Downsample, halved), (blocks.Upsample, doubled)]
)
def test_a_resampling_is_the_oracles(kind, want):
    layer, x = shaken(kind(32)), torch.randn(3, 32, 4, 6)
    torch.testing.assert_close(layer(x), want(layer.state_dict(), x))


@pytest.mark.parametrize("attend", [True, False])
def test_a_level_is_the_oracles_blocks_and_attention(attend):
    level = shaken(blocks.Level(PAPER, 16 if attend else 8, [16, 32], 32))
    h = want = torch.randn(3, 16, 4, 4)
    emb = torch.randn(3, 4 * PAPER.ch)
    for i in range(2):
        h, want = level.step(i, h, emb), step(level.state_dict(), i, want, emb, PAPER.groups)
    torch.testing.assert_close(h, want, rtol=1e-4, atol=1e-5)


def test_the_embedding_of_time_is_the_oracles():
    layer, t = shaken(blocks.TimeEmbedding(16)), torch.tensor([0, 1, 500, 999])
    torch.testing.assert_close(layer(t), embedding(layer.state_dict(), t), rtol=1e-4, atol=1e-4)
