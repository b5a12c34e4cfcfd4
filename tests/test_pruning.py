"""Magnitude pruning: which channels stay, and that added or joined channels stay together."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from dashlib.baselines.pruning import kept_channels, nearest_frequencies, prune, spaces_of
from dashlib.unet import TEACHER_CIFAR10, UNet, count_parameters


@pytest.fixture
def inputs():
    return torch.randn(3, 1, 8, 8), torch.tensor([5, 400, 900]), torch.tensor([0, 1, 10])


@pytest.mark.parametrize(
    "change",
    [{}, {"blocks": 2}, {"mults": (2, 1, 2)}, {"patch_size": 1}, {"attn_resolutions": ()}],
    ids=str,
)
def test_pruning_to_the_same_width_changes_nothing(tiny, inputs, change):
    teacher = UNet(replace(tiny, **change)).eval()
    pruned = prune(teacher, teacher.cfg)
    assert all(torch.equal(v, teacher.state_dict()[k]) for k, v in pruned.state_dict().items())
    assert torch.equal(pruned(*inputs), teacher(*inputs))


@pytest.mark.parametrize("change", [{}, {"blocks": 2, "mults": (2, 1, 2)}, {"w_conditioned": True}])
def test_the_pruned_network_is_the_one_of_its_configuration(tiny, inputs, change):
    teacher = UNet(replace(tiny, ch=16, **change))
    narrow = replace(teacher.cfg, ch=8, dropout=0.0)
    pruned = prune(teacher, narrow).eval()
    assert pruned.cfg == narrow
    w = [torch.ones(3)] if narrow.w_conditioned else []
    assert pruned(*inputs, *w).isfinite().all()
    assert pruned.conv_out.bias.equal(teacher.conv_out.bias)


def test_every_layer_with_weights_has_its_spaces(tiny):
    model = UNet(replace(tiny, w_conditioned=True, blocks=2))
    assert spaces_of(model).writes.keys() == {k.rpartition(".")[0] for k in model.state_dict()}


def test_half_the_teacher_has_the_size_of_the_papers_row():
    pruned = prune(UNet(TEACHER_CIFAR10), replace(TEACHER_CIFAR10, ch=64))
    assert count_parameters(pruned) == 8_954_883


def wide(tiny, **change):
    """A teacher whose groups and joined tensors divide into runs of 12 channels."""
    return UNet(replace(tiny, ch=24, groups=24, attn_resolutions=(2, 4), **change)).eval()


@torch.no_grad()
def silence_half(model):
    """Zero half of the runs of 12 channels of every space where they are written; what is left.

    Normalisations get random scales and, where a channel is left, random shifts.  The embedding
    of t loses its sinusoids, whose frequencies pruning changes.
    """
    found, left = spaces_of(model), {}
    for name, reads in found.reads.items():
        layer, into = model.get_submodule(name), found.writes[name]
        for space in into:
            if space not in left:
                width = len(layer.weight.T if isinstance(layer, nn.Embedding) else layer.weight)
                runs = width // 12
                chosen = torch.randperm(runs)[: runs // 2]
                left[space] = torch.isin(torch.arange(runs), chosen).repeat_interleave(12)
        if not into:
            continue
        mask = torch.cat([left[space] for space in into]).float()
        if reads is None:
            layer.weight.normal_()
            layer.bias.normal_().mul_(mask)
        elif isinstance(layer, nn.Embedding):
            layer.weight.mul_(mask)
        else:
            layer.weight.mul_(mask.reshape(-1, *[1] * (layer.weight.ndim - 1)))
            layer.bias.mul_(mask)
    model.temb.dense[0].weight.zero_()
    model.temb.dense[0].bias.zero_()
    return left


@pytest.mark.parametrize("change", [{}, {"blocks": 2}, {"mults": (1, 1)}], ids=str)
def test_removing_silent_channels_changes_nothing(tiny, inputs, change):
    """Holds only if all that is added, joined or multiplied agrees on which channels stay.

    Groups keep their size, and the silent channels fill whole groups.
    """
    teacher = wide(tiny, **change)
    left = silence_half(teacher)
    kept = kept_channels(teacher, 12)
    for space in left.keys() - {"temb.hidden"}:  # whose filters are all zero here
        assert torch.equal(kept[space], left[space]), space
    pruned = prune(teacher, replace(teacher.cfg, ch=12, groups=12))
    assert teacher(*inputs).std() > 0.1
    torch.testing.assert_close(pruned(*inputs), teacher(*inputs), rtol=1e-4, atol=1e-5)


def test_sinusoids_of_kept_frequencies_go_on_to_the_same_weights(tiny, inputs):
    """Of 4 frequencies the first and the last stay, exactly; the others are silent here."""
    teacher = UNet(tiny)
    teacher.temb.dense[0].weight.data[:, [1, 2, 5, 6]] = 0
    pruned = prune(teacher, replace(tiny, ch=4))
    hidden = kept_channels(teacher, 4)["temb.hidden"]
    want = teacher.temb.dense[0].weight[hidden][:, [0, 3, 4, 7]]
    assert torch.equal(pruned.temb.dense[0].weight, want)


@pytest.mark.parametrize(("ch", "narrow"), [(128, 64), (64, 32), (32, 16), (24, 16), (8, 8)])
def test_the_nearest_frequencies_stay(ch, narrow):
    logs = [torch.linspace(0, -math.log(1e4), n // 2) for n in (ch, narrow)]
    nearest = (logs[0][:, None] - logs[1]).abs().argmin(0)
    both = [*nearest.tolist(), *(ch // 2 + nearest).tolist()]
    assert nearest_frequencies(ch, narrow).nonzero().flatten().tolist() == both


@torch.no_grad()
def test_a_channel_stays_for_the_norms_of_all_its_filters(tiny):
    """The finest level's stream is written by conv_in, the block and the attention."""
    model = UNet(tiny)
    assert kept_channels(model, 4)["conv_in"].sum() == 4
    writers = (model.conv_in, model.down[0].block[0].conv2, model.down[0].attn[0].proj_out)
    for writer in writers:
        writer.weight.normal_(std=0.01)
    for channel, writer in zip((1, 4, 6), writers, strict=True):
        writer.weight[channel] += 1
    for writer in writers:  # smaller than any 1, but the sum is the fourth largest
        writer.weight[7] += 0.3
    kept = kept_channels(model, 4)["conv_in"]
    assert kept.nonzero().flatten().tolist() == [1, 4, 6, 7]
    pruned = prune(model, replace(tiny, ch=4))
    assert torch.equal(pruned.conv_in.weight, model.conv_in.weight[kept])
    assert torch.equal(pruned.conv_in.bias, model.conv_in.bias[kept])


def test_the_teacher_is_left_as_it_is_and_the_pruned_network_can_be_trained(model, tiny, inputs):
    model.requires_grad_(False)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    for cfg in (tiny, replace(tiny, ch=4)):
        pruned = prune(model, cfg)
        assert not pruned.training  # like the teacher
        pruned(*inputs).square().mean().backward()
        torch.optim.SGD(pruned.parameters(), lr=1.0).step()
        assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert prune(model.train(), tiny).training


@pytest.mark.parametrize(
    "change",
    [{"ch": 16}, {"blocks": 2}, {"mults": (1, 1)}, {"num_classes": 3}, {"w_conditioned": True}],
    ids=str,
)
def test_what_is_not_a_narrower_teacher_is_an_error(model, tiny, change):
    with pytest.raises(ValueError, match=r"not a narrower version.*ch <= 8"):
        prune(model, replace(tiny, **change))
