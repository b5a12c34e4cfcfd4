"""Classifier-free guidance: the convention, one forward for two branches, schedules w(t)."""

import math
from dataclasses import replace

import pytest
import torch

from dashlib.guidance import TAG, Branches, Constant, Guided, Interval, branches
from dashlib.unet import UNet

T = torch.arange(1000)


@pytest.fixture
def pair():
    return Branches(torch.randn(3, 1, 2, 2), torch.randn(3, 1, 2, 2))


@pytest.fixture
def stub(fixed):
    return fixed(torch.tensor(3.0), torch.tensor(1.0))


def batch(n=4):
    return torch.zeros(n, 1, 2, 2), torch.zeros(n).long(), torch.arange(n)


def test_w_is_one_for_conditional_and_zero_for_unconditional(pair):
    torch.testing.assert_close(pair.guided(1), pair.cond)
    assert torch.equal(pair.guided(0), pair.uncond)
    torch.testing.assert_close(pair.guided(3), pair.cond + 2 * pair.gap)
    assert torch.equal(pair.gap, pair.cond - pair.uncond)


def test_w_may_differ_between_images(pair):
    together = pair.guided(torch.tensor([0.0, 1.5, 4.0]))
    alone = [pair[i : i + 1].guided(w) for i, w in enumerate((0.0, 1.5, 4.0))]
    torch.testing.assert_close(together, torch.cat(alone))


def test_w_may_be_a_tensor_without_dimensions(pair):
    assert torch.equal(pair.guided(torch.tensor(2.0)), pair.guided(2.0))


def test_a_part_of_the_branches_keeps_them_together(pair):
    part = pair[torch.tensor([2, 0])]
    assert torch.equal(part.cond, pair.cond[[2, 0]])
    assert torch.equal(part.uncond, pair.uncond[[2, 0]])


def test_both_branches_come_from_one_forward_of_twice_the_batch(stub):
    both = branches(stub, *batch())
    assert stub.batches == [8]
    assert both.cond.eq(3).all()
    assert both.uncond.eq(1).all()


def test_branches_are_those_of_two_forwards(model):
    x, t, y = torch.randn(3, 1, 8, 8), torch.tensor([5, 500, 999]), torch.tensor([0, 4, 9])
    both = branches(model, x, t, y)
    torch.testing.assert_close(both.cond, model(x, t, y), rtol=1e-4, atol=1e-5)
    null = torch.full_like(y, model.null_label)
    torch.testing.assert_close(both.uncond, model(x, t, null), rtol=1e-4, atol=1e-5)


def test_shared_masks_drop_the_same_units_in_both_branches(tiny):
    """With the null row equal to a label's, the branches differ by their masks alone."""
    for shared in (True, False):
        model = UNet(replace(tiny, dropout=0.5, shared_masks=shared)).train()
        with torch.no_grad():
            model.class_embed.weight[-1] = model.class_embed.weight[3]
            both = branches(model, torch.randn(4, 1, 8, 8), T[:4], torch.full((4,), 3))
            again = branches(model, torch.randn(4, 1, 8, 8), T[:4], torch.full((4,), 3))
        assert torch.allclose(both.cond, both.uncond, atol=1e-5) == shared
        assert not torch.allclose(both.cond, again.cond, atol=1e-2), "the next batch has others"


@pytest.mark.parametrize("change", [{"dropout": 0.0}, {}])
def test_shared_masks_change_nothing_without_dropout(tiny, change):
    """Nor in evaluation: one forward of twice the batch, no draws."""
    model = UNet(replace(tiny, **{"dropout": 0.1, "shared_masks": True, **change}))
    model.train("dropout" in change)
    asked = []
    model.register_forward_pre_hook(lambda module, inputs: asked.append(len(inputs[0])))
    state = torch.get_rng_state()
    branches(model, torch.zeros(4, 1, 8, 8), T[:4], torch.zeros(4).long())
    assert asked == [8]
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("w", "value", "size"), [(1, 3.0, 4), (1.0, 3.0, 4), (0, 1.0, 4)])
def test_guided_evaluates_one_branch_where_one_is_enough(stub, w, value, size):
    x, t, y = batch()
    assert Guided(stub, y, w)(x, t).eq(value).all()
    assert stub.batches == [size]


def test_guided_evaluates_both_branches_otherwise(stub):
    x, t, y = batch()
    assert Guided(stub, y, 4)(x, t).eq(1 + 4 * 2).all()
    assert stub.batches == [8]


def test_guided_follows_a_schedule(stub):
    x, _, y = batch(2)
    t = torch.tensor([0, 999])
    out = Guided(stub, y, TAG())(x, t)
    torch.testing.assert_close(out[:, 0, 0, 0], 1 + 2 * TAG()(t))


def test_tag_is_never_four():
    w = TAG()(T)
    assert w[0].item() == pytest.approx(3.7725, abs=1e-3)
    assert w[-1].item() == pytest.approx(1.2286, abs=1e-3)
    assert TAG()(torch.tensor([1000])).item() == pytest.approx(1.2276, abs=1e-3)
    assert w.mean().item() == pytest.approx(2.5, abs=0.01)
    assert (w.diff() < 0).all()
    assert TAG()(torch.tensor([500])).item() == pytest.approx(2.5)


def test_tag_over_the_released_timesteps():
    w = TAG()(torch.arange(0, 1000, 20))
    assert w.mean().item() == pytest.approx(2.53, abs=0.005)
    assert w[-1].item() == pytest.approx(1.25, abs=0.005)


def test_tag_stretches_with_the_number_of_timesteps():
    torch.testing.assert_close(TAG(T=50)(torch.arange(50)), TAG()(torch.arange(0, 1000, 20)))


def test_interval_guides_inside_only():
    w = Interval(3.0, 200, 400)(T)
    assert w[200:400].eq(3).all()
    assert w[:200].eq(1).all()
    assert w[400:].eq(1).all()


@pytest.mark.parametrize("w", [Constant(2), TAG(), Interval(2, 0, 9)], ids=repr)
def test_a_schedule_gives_one_float_an_image(w):
    out = w(torch.tensor([0, 10, 999]))
    assert out.shape == (3,)
    assert out.is_floating_point()


@pytest.mark.parametrize("w", [math.nan, math.inf, TAG(w_max=math.nan), Interval(math.inf, 0, 5)])
def test_a_scale_that_is_not_finite_is_an_error(fixed, w):
    zeros = torch.zeros(2, 1, 2, 2)
    with pytest.raises(ValueError, match=r"guidance scale .* not finite"):
        Guided(fixed(zeros, zeros), torch.zeros(2).long(), w)
