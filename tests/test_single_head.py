"""The w-conditioned network: w is an input, one forward guides, others are untouched."""

from dataclasses import replace
from itertools import repeat

import pytest
import torch

from dashlib.data import with_teacher
from dashlib.guidance import TAG, Guided, Interval
from dashlib.losses import make_objective
from dashlib.sampling import sample
from dashlib.training import TrainConfig, Trainer
from dashlib.unet import UNet
from dashlib.weighting import make_weighting


@pytest.fixture
def head(tiny):
    """A tiny w-conditioned network, in evaluation mode."""
    return UNet(replace(tiny, w_conditioned=True)).eval()


@pytest.fixture
def inputs():
    return torch.randn(3, 1, 8, 8), torch.tensor([5, 400, 900]), torch.arange(3)


def test_the_scale_changes_the_prediction(head, inputs):
    out = [head(*inputs, torch.full((3,), w)) for w in (1.0, 1.1, 4.0)]
    assert not torch.allclose(out[0], out[1], atol=1e-5)
    assert not torch.allclose(out[0], out[2], atol=1e-5)


def test_each_image_has_its_own_scale(head, inputs):
    w = torch.tensor([1.0, 2.5, 4.0])
    together = head(*inputs, w)
    for i in range(3):
        alone = head(*(v[i : i + 1] for v in inputs), w[i : i + 1])
        torch.testing.assert_close(alone, together[i : i + 1], rtol=1e-4, atol=1e-5)


def test_the_scale_is_embedded_like_the_time(head, inputs):
    _, t, y = inputs
    head.wemb.load_state_dict(head.temb.state_dict())
    sum_ = head.embed(t, y, 1 + t / 250) - head.class_embed(y)
    torch.testing.assert_close(sum_, 2 * head.temb(t), rtol=1e-3, atol=1e-4)


def test_only_the_embedding_of_w_is_new(tiny):
    states = []
    for w_conditioned in (False, True):
        torch.manual_seed(0)
        states.append(UNet(replace(tiny, w_conditioned=w_conditioned)).state_dict())
    plain, conditioned = states
    assert all(torch.equal(v, conditioned[k]) for k, v in plain.items())  # draws included
    new = {k: tuple(conditioned[k].shape) for k in conditioned if k not in plain}
    weights = {"wemb.dense.0.weight": (32, 8), "wemb.dense.1.weight": (32, 32)}
    assert new == weights | {"wemb.dense.0.bias": (32,), "wemb.dense.1.bias": (32,)}


def test_a_missing_scale_is_an_error(head, inputs):
    with pytest.raises(ValueError, match="w is missing"):
        head(*inputs)


def test_a_scale_given_in_vain_is_an_error(model, inputs):
    with pytest.raises(ValueError, match=r"UNetConfig\(w_conditioned=True\).*guidance\.Guided"):
        model(*inputs, torch.ones(3))


def test_one_scale_an_image(head, inputs):
    with pytest.raises(ValueError, match=r"one guidance scale an image: got w \(2,\)"):
        head(*inputs, torch.ones(2))


@pytest.mark.parametrize("w", [2.5, 3, TAG(), Interval(3, 0, 500)])
def test_one_forward_at_the_scale_of_the_timestep(inputs, w):
    x, t, y = inputs
    calls = []

    def model(*args):
        calls.append(args)
        return x

    model.w_conditioned = True
    assert Guided(model, y, w)(x, t) is x
    scale = w(t) if callable(w) else torch.full((3,), float(w))
    [(x_seen, t_seen, y_seen, w_seen)] = calls
    assert x_seen is x
    assert t_seen is t
    assert y_seen is y
    assert torch.equal(w_seen, scale)


def train(head, teacher, stream, schedule, steps=40):
    cfg = TrainConfig(steps=steps, lr=3e-3, ema=0.9)
    trainer = Trainer(head, make_objective("single_head"), make_weighting("uniform", schedule), cfg)
    batch = next(with_teacher(stream, teacher))
    return [record.loss for record in trainer.run(repeat(batch))]


def test_training_lowers_the_loss_and_reaches_the_embedding_of_w(
    tiny, model, stream, schedule, inputs
):
    head = UNet(replace(tiny, w_conditioned=True, dropout=0.0))
    before = head.wemb.dense[0].weight.detach().clone()
    losses = train(head, model, stream, schedule)
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])  # w is drawn anew at each step
    assert not torch.equal(head.wemb.dense[0].weight, before)


def test_a_single_head_can_be_sampled(head, schedule):
    y, noise = torch.arange(3), torch.randn(3, 1, 8, 8)
    images = [
        sample(Guided(head, y, w), noise, schedule, steps=4, clamp="none") for w in (1.0, 4.0)
    ]
    assert images[0].shape == (3, 1, 8, 8)
    assert not torch.allclose(*images)
