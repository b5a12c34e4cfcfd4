"""DDIM: timesteps, equality with an independent implementation, an exact Gaussian, errors."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from dashlib.guidance import Guided
from dashlib.sampling import (
    CLAMPS,
    balanced_labels,
    ddim,
    sample,
    starting_noise,
    timesteps,
)
from dashlib.unet import STUDENT_DIGITS

SHAPE = (2, 1, 4, 4)


@pytest.fixture
def x_T():
    return torch.randn(SHAPE, dtype=torch.float64)


def smooth(x, t):
    """Some noise predictor: bounded slope, so that rounding errors do not grow."""
    return 0.8 * torch.tanh(x) + 0.3 * torch.cos(x) + (t.double() / 2000).reshape(-1, 1, 1, 1)


def oracle(schedule, *, spacing="leading", clamp="none"):
    """Diffusers' scheduler with our betas; its table, kept in single precision, made double."""
    a = schedule.alpha_bar(torch.arange(schedule.T))
    betas = 1 - a / torch.cat([torch.ones(1), a[:-1]])
    theirs = DDIMScheduler(
        trained_betas=betas.numpy(),
        clip_sample=clamp != "none",
        set_alpha_to_one=True,
        timestep_spacing=spacing,
    )
    inner = slice(0, 990)  # 1 - beta loses its digits in single precision near beta = 1
    torch.testing.assert_close(theirs.alphas_cumprod[inner], a[inner].float(), rtol=1e-3, atol=0)
    theirs.alphas_cumprod = a
    return theirs


def their_sample(theirs, x, *, steps, eta=0.0, clamp="none", generator=None):
    theirs.set_timesteps(steps)
    for t in theirs.timesteps:
        noise = torch.randn(SHAPE, generator=generator) if eta else None
        out = theirs.step(
            smooth(x, t.expand(len(x))),
            int(t),
            x,
            eta=eta,
            use_clipped_model_output=clamp == "recompute",
            variance_noise=noise,
        )
        x = out.prev_sample
    return x


def seeded():
    return torch.Generator().manual_seed(5)


def test_linspace_goes_from_the_last_timestep_to_the_first():
    assert timesteps(1000, 3).tolist() == [999, 500, 0]
    assert timesteps(1000, 1).tolist() == [999]
    assert timesteps(10, 10).tolist() == list(range(9, -1, -1))


def test_leading_is_the_released_spacing():
    assert timesteps(1000, 50, "leading").tolist() == list(range(980, -1, -20))
    assert timesteps(1000, 1, "leading").tolist() == [0]


@pytest.mark.parametrize("steps", [3, 600, 999])
def test_leading_steps_that_do_not_divide_the_schedule_are_an_error(steps):
    """The released rule would start 600 steps at t = 599, from pure noise."""
    with pytest.raises(ValueError, match="for leading a divisor of 1000"):
        timesteps(1000, steps, "leading")


@pytest.mark.parametrize("spacing", ["leading", "linspace"])
@pytest.mark.parametrize("steps", [2, 7, 8, 10, 50, 333, 1000])
def test_timesteps_are_those_of_diffusers(schedule, spacing, steps):
    if spacing == "leading" and 1000 % steps:
        pytest.skip("refused")
    theirs = oracle(schedule, spacing=spacing)
    theirs.set_timesteps(steps)
    assert np.array_equal(timesteps(1000, steps, spacing), theirs.timesteps)


@pytest.mark.parametrize("clamp", CLAMPS)
@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("steps", [1, 5, 20])
def test_leading_ddim_is_that_of_diffusers(schedule, x_T, clamp, eta, steps):
    options = {"steps": steps, "eta": eta, "clamp": clamp}
    ours = sample(smooth, x_T, schedule, spacing="leading", generator=seeded(), **options)
    theirs = their_sample(oracle(schedule, clamp=clamp), x_T, generator=seeded(), **options)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("clamp", CLAMPS)
def test_linspace_ddim_over_all_timesteps_is_that_of_diffusers(schedule, x_T, clamp):
    """With fewer steps diffusers pairs linspace timesteps with evenly spaced predecessors."""
    ours = sample(smooth, x_T, schedule, steps=1000, clamp=clamp)
    theirs = oracle(schedule, spacing="linspace", clamp=clamp)
    theirs = their_sample(theirs, x_T, steps=1000, clamp=clamp)
    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-8)


def gaussian_eps(schedule, mean, std):
    """The exact noise predictor for images whose elements are N(mean, std^2)."""

    def eps(x, t):
        a = schedule.alpha_bar(t).reshape(-1, 1, 1, 1)
        return (1 - a).sqrt() * (x - a.sqrt() * mean) / (a * std**2 + 1 - a)

    return eps


@pytest.mark.parametrize("spacing", ["linspace", "leading"])
def test_exact_gaussian_data_are_sampled_exactly(schedule, spacing):
    """The update is affine in x, so two starting points give the mean and spread of all."""
    x_T = torch.tensor([0.0, 1.0], dtype=torch.float64).reshape(2, 1, 1, 1)
    errors = []
    for steps in (10, 100, 1000):
        out = sample(
            gaussian_eps(schedule, 0.4, 0.25),
            x_T,
            schedule,
            steps=steps,
            spacing=spacing,
            clamp="none",
        ).flatten()
        errors.append(((out[0] - 0.4).abs() + (out[1] - out[0] - 0.25).abs()).item())
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.005


def test_stochastic_sampling_has_the_right_spread(schedule):
    x_T = torch.randn(2000, 1, 1, 1)
    eps = gaussian_eps(schedule, 0.4, 0.25)
    x = sample(eps, x_T, schedule, steps=200, eta=1.0, clamp="none", generator=seeded())
    assert x.mean().item() == pytest.approx(0.4, abs=0.03)
    assert x.std().item() == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize("clamp", CLAMPS)
@pytest.mark.parametrize("spacing", ["linspace", "leading"])
def test_iterates_chain_and_end_with_the_image(schedule, x_T, clamp, spacing):
    path = list(ddim(smooth, x_T, schedule, steps=5, clamp=clamp, spacing=spacing))
    assert [i.index for i in path] == list(range(5))
    assert [i.t for i in path] == timesteps(1000, 5, spacing).tolist()
    assert path[0].x_t is x_T
    assert all(a.x_next is b.x_t for a, b in pairwise(path))
    torch.testing.assert_close(path[-1].x_next, path[-1].x0)
    assert torch.equal(
        path[-1].x_next, sample(smooth, x_T, schedule, steps=5, clamp=clamp, spacing=spacing)
    )


def test_iterates_agree_with_their_own_noise_and_image(schedule, x_T):
    for clamp in ("none", "recompute"):
        for i in ddim(smooth, x_T, schedule, steps=6, clamp=clamp):
            back = schedule.add_noise(i.x0, i.eps, torch.tensor([i.t, i.t]))
            torch.testing.assert_close(back, i.x_t)


def test_the_modes_of_clamping(schedule, x_T):
    path = {c: next(ddim(smooth, 3 * x_T, schedule, steps=6, clamp=c)) for c in CLAMPS}
    raw = smooth(3 * x_T, torch.tensor([999]))
    assert path["none"].x0.abs().max() > 1
    assert torch.equal(path["clamp"].x0, path["none"].x0.clamp(-1, 1))
    assert torch.equal(path["recompute"].x0, path["clamp"].x0)
    assert torch.equal(path["none"].eps, raw)
    assert torch.equal(path["clamp"].eps, raw)
    assert not torch.allclose(path["recompute"].eps, raw)


def test_unexplained_is_the_image_that_clamping_cuts_off(schedule, x_T):
    path = {c: next(ddim(smooth, 3 * x_T, schedule, steps=6, clamp=c)) for c in CLAMPS}
    t = torch.tensor([999])
    left = {c: s.x_t - schedule.add_noise(s.x0, s.eps, t) for c, s in path.items()}
    cut_off = path["none"].x0 - path["clamp"].x0
    expected = schedule.alpha_bar(torch.tensor(999)).sqrt() * cut_off
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(left["clamp"], expected)
    for rule in ("none", "recompute"):
        torch.testing.assert_close(left[rule], torch.zeros_like(x_T))


def test_recomputing_is_the_default(schedule, x_T):
    default = sample(smooth, x_T, schedule)
    assert torch.equal(default, sample(smooth, x_T, schedule, clamp="recompute", steps=50))
    assert default.abs().max() <= 1


def test_a_generator_makes_stochastic_runs_reproducible(schedule, x_T):
    one, again = (
        sample(smooth, x_T, schedule, steps=5, eta=1.0, generator=seeded()) for _ in range(2)
    )
    other = torch.Generator().manual_seed(6)
    assert torch.equal(one, again)
    assert not torch.equal(one, sample(smooth, x_T, schedule, steps=5, eta=1.0, generator=other))


def test_deterministic_runs_draw_nothing(schedule, x_T):
    before = torch.get_rng_state()
    sample(smooth, x_T, schedule, steps=5)
    assert torch.equal(torch.get_rng_state(), before)


def test_sampling_keeps_no_gradients(model, schedule):
    x = torch.randn(2, 1, 8, 8)
    out = sample(Guided(model, torch.tensor([1, 2]), 2.0), x, schedule, steps=2)
    assert not out.requires_grad
    assert out.shape == x.shape


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps=0: from 1 to 1000"),
        ({"steps": 1001}, "steps=1001"),
        ({"spacing": "trailing"}, "'trailing': one of .*linspace"),
        ({"clamp": "yes"}, "'yes': one of .*recompute"),
        ({"eta": -0.1}, "eta=-0.1"),
        ({"eta": 1.1}, "eta=1.1"),
    ],
)
def test_options_out_of_range_are_errors(schedule, x_T, options, message):
    with pytest.raises(ValueError, match=message):
        sample(smooth, x_T, schedule, **options)


def test_a_wrong_option_is_an_error_before_the_first_step(schedule, x_T):
    with pytest.raises(ValueError, match="eta"):
        ddim(smooth, x_T, schedule, eta=2)


def test_a_start_below_the_last_timestep():
    assert timesteps(1000, 3, start=970).tolist() == [970, 485, 0]
    assert timesteps(1000, 4).tolist() == timesteps(1000, 4, start=999).tolist()


@pytest.mark.parametrize("start", [-1, 1000])
def test_a_start_outside_the_schedule_is_an_error(start):
    with pytest.raises(ValueError, match=r"start=.*: from 0 to 999"):
        timesteps(1000, 3, start=start)


def test_leading_has_its_own_start():
    with pytest.raises(ValueError, match="only with spacing 'linspace'"):
        timesteps(1000, 4, "leading", start=970)


def test_ddim_begins_at_its_start(schedule, x_T):
    seen = [i.t for i in ddim(lambda x, t: x, x_T, schedule, steps=3, start=970)]
    assert seen == [970, 485, 0]


def test_the_starting_noise_depends_on_its_seed_only():
    one, again, other = (starting_noise(4, STUDENT_DIGITS, seed) for seed in (1, 1, 2))
    assert one.shape == (4, 1, 8, 8)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(starting_noise(2, STUDENT_DIGITS), starting_noise(2, STUDENT_DIGITS, 1234))


def test_labels_are_balanced_however_few_there_are():
    assert balanced_labels(5, 3).tolist() == [0, 1, 2, 0, 1]
    assert balanced_labels(1000).bincount().tolist() == [100] * 10
