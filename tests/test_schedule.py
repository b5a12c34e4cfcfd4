"""The forward process: its shape, its inverses, its errors."""

import math

import pytest
import torch

from dashlib.schedule import Schedule, check_timesteps, cosine_alpha_bar

EVERY_T = torch.arange(1000)


def test_alpha_bar_falls_from_almost_one_to_almost_zero():
    a = cosine_alpha_bar(1000)
    assert a.shape == (1000,)
    assert a.dtype == torch.float64
    assert (a.diff() < 0).all()
    assert 0 < a[-1] < 1e-6
    assert 0.999 < a[0] < 1


def test_alpha_bar_is_nichols_cosine_where_no_beta_is_clipped():
    a = cosine_alpha_bar(1000)
    i = torch.arange(1001, dtype=torch.float64)
    f = torch.cos((i / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2
    betas, given = 1 - a[1:] / a[:-1], 1 - f[2:] / f[1:-1]
    inner = (given > 1e-4) & (given < 0.9999)
    assert inner.sum() > 900
    torch.testing.assert_close(betas[inner], given[inner])


def test_betas_are_clipped_at_both_ends():
    a = torch.cat([torch.ones(1, dtype=torch.float64), cosine_alpha_bar(1000)])
    betas = 1 - a[1:] / a[:-1]
    assert betas.min().item() == pytest.approx(1e-4, rel=1e-9)
    assert betas.max().item() == pytest.approx(0.9999, rel=1e-9)


def test_snr_is_signal_over_noise(schedule):
    snr, a = schedule.snr(), schedule.alpha_bar(EVERY_T)
    torch.testing.assert_close(snr * (1 - a), a)
    assert (snr.diff() < 0).all()
    assert torch.equal(schedule.snr(torch.tensor([7, 7])), snr[[7, 7]])


def test_noise_has_unit_variance_and_the_mean_is_the_scaled_image(schedule):
    t = torch.full((20_000,), 400)
    x0, eps = torch.full((20_000, 1), 0.5), torch.randn(20_000, 1)
    x_t, a = schedule.add_noise(x0, eps, t), schedule.alpha_bar(t)[0].item()
    assert x_t.mean().item() == pytest.approx(0.5 * a**0.5, abs=0.03)
    assert x_t.var().item() == pytest.approx(1 - a, rel=0.05)


@pytest.mark.parametrize("t", [0, 1, 250, 500, 900, 998])
def test_predictions_undo_the_noise(schedule, t):
    x0, eps = torch.randn(2, 3, 1, 4, 4, dtype=torch.float64)
    steps = torch.full((3,), t)
    x_t = schedule.add_noise(x0, eps, steps)
    torch.testing.assert_close(schedule.predict_x0(x_t, eps, steps), x0)
    torch.testing.assert_close(schedule.predict_eps(x_t, x0, steps), eps)


def test_every_image_has_its_own_timestep(schedule):
    x0, eps, t = torch.ones(3, 1, 2, 2), torch.zeros(3, 1, 2, 2), torch.tensor([0, 500, 999])
    signal = schedule.add_noise(x0, eps, t)[:, 0, 0, 0]
    torch.testing.assert_close(signal, schedule.alpha_bar(t).sqrt().float())


def test_results_keep_the_type_of_the_images(schedule):
    for dtype in (torch.float32, torch.float64):
        x = torch.zeros(2, 1, 2, 2, dtype=dtype)
        assert schedule.add_noise(x, x, torch.tensor([1, 2])).dtype == dtype


def test_a_schedule_can_be_given():
    given = Schedule(torch.tensor([0.9, 0.5, 0.1]))
    assert given.T == 3
    torch.testing.assert_close(given.snr(), torch.tensor([9, 1, 1 / 9]).double(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("method", ["add_noise", "predict_x0", "predict_eps"])
@pytest.mark.parametrize("t", [-1, 1000])
def test_a_timestep_outside_the_schedule_is_an_error(schedule, method, t):
    x = torch.zeros(1, 1, 2, 2)
    with pytest.raises(ValueError, match=rf"got {t}\.\.{t}.*timesteps 0\.\.999"):
        getattr(schedule, method)(x, x, torch.tensor([t]))


def test_float_timesteps_are_an_error(schedule):
    with pytest.raises(ValueError, match=r"must be integers.*float32.*t\.long\(\)"):
        schedule.alpha_bar(torch.tensor([1.0]))


def test_no_timesteps_are_no_error():
    check_timesteps(torch.zeros(0, dtype=torch.long), 1000)
