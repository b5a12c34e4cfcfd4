"""A network that gives v: what comes out is eps, by the formula, and the sampler can use it."""

from dataclasses import asdict, replace

import pytest
import torch

from dashlib import checkpoints
from dashlib.guidance import branches
from dashlib.losses import mse
from dashlib.sampling import sample
from dashlib.schedule import Schedule
from dashlib.unet import UNet, UNetConfig

T = torch.tensor([0, 400, 970, 999])


def pair(tiny, seed=0):
    """Two networks of the same body: one gives its output as eps, one as v."""
    found = []
    for prediction in ("eps", "v"):
        torch.manual_seed(seed)
        found.append(UNet(replace(tiny, prediction=prediction)).eval())
    return found


@pytest.fixture
def inputs(tiny):
    x = torch.randn(4, tiny.image_channels, tiny.image_size, tiny.image_size)
    return x, T, torch.tensor([0, 1, 9, 10])


def test_eps_follows_from_v(tiny, inputs):
    body, net = pair(tiny)
    a = Schedule().alpha_bar(T).float()[:, None, None, None]
    with torch.no_grad():
        want = (1 - a).sqrt() * inputs[0] + a.sqrt() * body(*inputs)
        torch.testing.assert_close(net(*inputs), want, rtol=0, atol=1e-5)


def test_eps_is_the_default_and_adds_nothing(tiny, inputs):
    torch.manual_seed(0)
    plain = UNet(replace(tiny)).eval()
    body, net = pair(tiny)
    assert plain.cfg.prediction == "eps"
    assert torch.equal(plain(*inputs), body(*inputs))
    assert list(plain.state_dict()) == list(net.state_dict()), "v has no weights of its own"
    assert not hasattr(plain, "signal")


def test_another_schedule_means_another_v(tiny, inputs):
    torch.manual_seed(0)
    steep = UNet(replace(tiny, prediction="v"), Schedule(torch.linspace(0.99, 0.01, 1000))).eval()
    _, net = pair(tiny)
    assert not torch.allclose(steep(*inputs), net(*inputs))


def test_gradients_of_v_are_those_of_eps_times_the_signal(tiny, inputs):
    body, net = pair(tiny)
    x, _, y = inputs
    t = torch.full((4,), 970)
    signal = Schedule().alpha_bar(t[:1]).sqrt().item()
    body(x, t, y).sum().backward()
    net(x, t, y).sum().backward()
    for a, b in zip(body.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(b.grad, signal * a.grad, rtol=1e-4, atol=1e-6)


def test_both_branches_and_a_patched_network(tiny, inputs):
    _, net = pair(replace(tiny, patch_size=2))
    both = branches(net, inputs[0], T, inputs[2].clamp(max=9))
    assert both.cond.shape == inputs[0].shape
    assert mse(both.cond, both.uncond).gt(0).all()


def test_a_checkpoint_keeps_what_the_network_predicts(tiny, inputs, tmp_path):
    _, net = pair(tiny)
    checkpoints.save_model(tmp_path / "net", net)
    again, _ = checkpoints.load_model(tmp_path / "net")
    assert again.cfg == net.cfg
    assert torch.equal(again(*inputs), net(*inputs))


def test_a_configuration_from_before_predicts_eps(tiny):
    old = {k: v for k, v in asdict(tiny).items() if k != "prediction"}
    assert UNetConfig(**old).prediction == "eps"


def test_an_unknown_prediction_is_refused():
    with pytest.raises(ValueError, match=r"prediction 'x0': one of eps, v"):
        UNetConfig(prediction="x0")


def test_ddim_from_the_last_step_recovers_a_gaussian():
    """A perfect v of images ~ N(m, s^2): 50 steps from t = 999 give its mean and spread."""
    schedule, m, s = Schedule(), 0.3, 0.2

    def perfect(x_t, t):
        a = schedule.alpha_bar(t).float()[:, None, None, None]
        v = (a.sqrt() * (1 - a).sqrt() * (1 - s**2) * x_t - (1 - a).sqrt() * m) / (a * s**2 + 1 - a)
        return (1 - a).sqrt() * x_t + a.sqrt() * v  # as the network combines them

    x_T = torch.randn(4000, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    found = sample(perfect, x_T, schedule, steps=50, clamp="none")
    assert abs(found.mean().item() - m) < 0.02
    assert abs(found.std().item() - s) < 0.02
