"""The mixture in the plane: noise against autograd, the tower property, samples, bad input."""

import math

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from dashbook.playground import (
    ExactDenoiser,
    Mixture,
    as_points,
    endpoint_distance,
    energy_distance,
    judge,
    pinwheel,
)
from dashlib import guidance
from dashlib.guidance import Guided
from dashlib.sampling import sample


def random_mixture(classes=4, components=3):
    """Everything drawn at random: means, a standard deviation for each component, priors."""
    means = torch.randn(classes, components, 2)
    std, priors = torch.rand(classes, components) + 0.1, torch.rand(classes) + 0.2
    return Mixture(means, std, priors.double() / priors.double().sum())


@pytest.fixture
def mixture():
    return random_mixture()


@pytest.fixture
def exact(mixture, schedule):
    return ExactDenoiser(mixture, schedule)


@pytest.fixture
def noisy(mixture, schedule):
    """200 noisy points at all noise levels, in float64: ``(x_t, t, y)``."""
    y = mixture.labels(200)
    x0, t = mixture.sample(y).x.double(), torch.randint(1000, (200,))
    return schedule.add_noise(x0, torch.randn_like(x0), t), t, y


def unconditional(exact, x_t, t):
    return exact(x_t, t, torch.full_like(t, exact.null_label))


def by_autograd(exact, x_t, t, y=None):
    """``-sqrt(1 - alpha_bar) grad log p_t``, with the gradient by differentiation."""
    x_t = x_t.clone().requires_grad_()
    alpha_bar = exact.schedule.alpha_bar(t)
    log_density = exact.mixture.log_density(x_t, y, alpha_bar=alpha_bar)
    (score,) = torch.autograd.grad(log_density.sum(), x_t)
    return -(1 - alpha_bar).sqrt().reshape(-1, 1, 1, 1) * score


def test_the_conditional_noise_is_the_gradient_of_the_log_density(exact, noisy):
    torch.testing.assert_close(exact(*noisy), by_autograd(exact, *noisy))


def test_the_unconditional_noise_is_the_gradient_of_the_log_density(exact, noisy):
    x_t, t, _ = noisy
    torch.testing.assert_close(unconditional(exact, x_t, t), by_autograd(exact, x_t, t))


def test_the_log_density_is_that_of_an_independent_mixture(mixture):
    x, y = torch.randn(50, 2).double(), torch.randint(4, (50,))

    def reference(weights, means, std):
        parts = Independent(Normal(means, std[:, None].expand(-1, 2)), 1)
        return MixtureSameFamily(Categorical(weights), parts).log_prob(x)

    everything = mixture.priors.repeat_interleave(3) / 3
    all_at_once = reference(everything, mixture.means.flatten(0, 1), mixture.std.flatten())
    torch.testing.assert_close(mixture.log_density(x), all_at_once)
    for k in range(4):
        one = reference(torch.ones(3).double(), mixture.means[k], mixture.std[k])
        torch.testing.assert_close(mixture.log_density(x, y)[y == k], one[y == k])


@pytest.mark.parametrize("t", [0, 300, 999])
def test_the_density_is_that_of_noised_samples(exact, schedule, t):
    y = exact.mixture.labels(100_000)
    x0, when = exact.mixture.sample(y).x.double(), torch.full((100_000,), t)
    x_t = schedule.add_noise(x0, torch.randn_like(x0), when)
    alpha_bar = schedule.alpha_bar(when)
    lifted = exact.mixture.log_density(x_t, alpha_bar=alpha_bar).exp()
    box = (as_points(x_t).abs() < 0.5).all(1).double().mean()
    side = torch.linspace(-0.5, 0.5, 101)[:-1] + 0.005
    grid = torch.cartesian_prod(side, side)
    inside = exact.mixture.log_density(grid, alpha_bar=alpha_bar[0])
    assert inside.exp().mean().item() == pytest.approx(box.item(), abs=0.006)
    assert torch.isfinite(lifted).all()


def test_the_unconditional_noise_is_the_mean_of_the_conditional_over_the_posterior(exact, noisy):
    x_t, t, _ = noisy
    every = [exact(x_t, t, torch.full_like(t, k)) for k in range(4)]
    posterior = exact.mixture.posterior(x_t, exact.schedule.alpha_bar(t))
    torch.testing.assert_close(posterior.sum(1), torch.ones(200).double())
    mean = sum(posterior[:, k].reshape(-1, 1, 1, 1) * every[k] for k in range(4))
    torch.testing.assert_close(unconditional(exact, x_t, t), mean)


def test_the_noise_that_was_added_is_predicted_best_by_the_exact_noise(exact, schedule):
    y, t = exact.mixture.labels(20_000), torch.randint(1000, (20_000,))
    x0 = exact.mixture.sample(y).x
    eps = torch.randn_like(x0)
    x_t = schedule.add_noise(x0, eps, t)
    answers = guidance.branches(exact, x_t, t, y)
    errors = [(eps - s * answers.cond).square().mean() for s in (0.95, 1.0, 1.05)]
    assert errors[1] == min(errors)
    assert errors[1] < (eps - answers.uncond).square().mean()
    # E[eps - eps_cond] = 0, and the residue has nothing to do with the prediction
    assert (eps - answers.cond).mean().abs() < 0.01
    assert ((eps - answers.cond) * answers.cond).mean().abs() < 0.01


def test_it_is_a_denoiser_like_any_other(exact, noisy):
    x_t, t, y = noisy
    both = guidance.branches(exact, x_t, t, y)
    assert torch.equal(both.cond, exact(x_t, t, y))
    assert torch.equal(both.uncond, unconditional(exact, x_t, t))
    assert exact.null_label == 4


def test_points_may_be_flat_or_pixels_and_keep_their_shape_and_type(exact, noisy):
    x_t, t, y = (v[:5] for v in noisy)
    pixels, flat = exact(x_t.float(), t, y), exact(x_t.float().flatten(1), t, y)
    assert (pixels.shape, flat.shape) == ((5, 2, 1, 1), (5, 2))
    assert pixels.dtype == torch.float32
    assert torch.equal(pixels.flatten(1), flat)


def test_with_one_class_there_is_nothing_to_guide(schedule):
    exact = ExactDenoiser(random_mixture(classes=1), schedule)
    x_t, t, y = torch.randn(20, 2).double(), torch.randint(1000, (20,)), torch.zeros(20).long()
    assert guidance.branches(exact, x_t, t, y).gap.abs().max() < 1e-12


def test_at_the_last_timestep_all_is_noise(exact):
    x_t, t, y = torch.randn(50, 2).double(), torch.full((50,), 999), torch.randint(4, (50,))
    answers = guidance.branches(exact, x_t, t, y)
    torch.testing.assert_close(answers.cond, x_t, rtol=0, atol=1e-3)
    assert answers.gap.abs().max() < 1e-3
    prior = exact.mixture.priors.expand(50, 4)
    torch.testing.assert_close(
        exact.mixture.posterior(x_t, exact.schedule.alpha_bar(t)), prior, rtol=0, atol=1e-3
    )


def test_at_the_first_timestep_the_noise_points_to_the_nearest_component(schedule):
    std = torch.tensor(0.1)
    exact = ExactDenoiser(
        Mixture(torch.tensor([[[1.0, 0.0]], [[-1.0, 0.0]]]), std, torch.tensor([0.5, 0.5])),
        schedule,
    )
    x_t, t = torch.tensor([[1.2, 0.0], [-1.0, 0.3]]), torch.tensor([0, 0])
    a = schedule.alpha_bar(t[:1])
    v = a * 0.01 + 1 - a
    want = (1 - a).sqrt() * (x_t.double() - a.sqrt() * torch.tensor([[1.0, 0], [-1.0, 0]])) / v
    torch.testing.assert_close(unconditional(exact, x_t.double(), t), want)
    torch.testing.assert_close(exact(x_t.double(), t, torch.tensor([0, 1])), want)


def test_far_away_nothing_overflows(exact):
    x_t, t = torch.full((1000, 2), 300.0), torch.arange(1000)
    answers = guidance.branches(exact, x_t, t, torch.zeros(1000).long())
    assert torch.isfinite(answers.cond).all()
    assert torch.isfinite(answers.uncond).all()


def test_samples_follow_the_mixture():
    mixture = pinwheel()
    y = mixture.labels(40_000)
    shares = torch.bincount(y, minlength=3) / len(y)
    torch.testing.assert_close(shares.double(), mixture.priors, rtol=0, atol=0.01)
    x = mixture.sample(y).x
    assert x.shape == (40_000, 2, 1, 1)
    assert x.dtype == torch.float32
    for k in range(3):
        mean, own = mixture.means[k].mean(0), as_points(x[y == k]).double()
        spread = mixture.std[k].square().mean() + mixture.means[k].var(0, unbiased=False)
        torch.testing.assert_close(own.mean(0), mean, rtol=0, atol=0.01)
        torch.testing.assert_close(own.var(0), spread, rtol=0, atol=0.01)


def test_randomness_is_an_argument(mixture):
    def draw(seed):
        generator = torch.Generator().manual_seed(seed)
        y = mixture.labels(30, generator=generator)
        return mixture.sample(y, generator=generator)

    first, again, other = draw(1), draw(1), draw(2)
    assert torch.equal(first.x, again.x)
    assert torch.equal(first.y, again.y)
    assert not torch.equal(first.x, other.x)


def test_the_exact_noise_samples_the_mixture(schedule):
    mixture = pinwheel()
    exact = ExactDenoiser(mixture, schedule)
    y = mixture.labels(2000)
    options = {"clamp": "none", "spacing": "leading"}
    x = sample(Guided(exact, y, 1), torch.randn(2000, 2, 1, 1), schedule, **options)
    for k in range(3):
        fresh = mixture.sample(torch.full((2000,), k)).x
        assert abs(energy_distance(x[y == k], fresh)) < 0.003
    assert energy_distance(x[y == 0], fresh) > 0.1


def test_the_pinwheel_lies_in_the_square_and_its_classes_overlap():
    mixture = pinwheel()
    images = mixture.sample(mixture.labels(20_000))
    assert (images.x.abs() > 1).float().mean() < 0.002
    likeliest = mixture.log_joint(images.x, 1.0).logsumexp(2).argmax(1)
    assert 0.8 < (likeliest == images.y).float().mean() < 0.9


def test_the_energy_distance_of_two_far_points_masses_is_twice_their_distance():
    a, b = torch.zeros(5, 2), torch.tensor([[3.0, 4.0]]).repeat(7, 1)
    assert energy_distance(a, b) == pytest.approx(10)
    assert energy_distance(a, a) == 0


def test_the_energy_distance_of_two_gaussians_is_its_closed_form():
    # in the plane E|N(0, 2 s^2 I)| = s sqrt(pi): here s = 1, 2 and, between the two, sqrt(2.5)
    a, b = torch.randn(4000, 2), 2 * torch.randn(4000, 2)
    want = math.sqrt(math.pi) * (2 * math.sqrt(2.5) - 1 - 2)
    assert energy_distance(a, b) == pytest.approx(want, abs=0.02)


def test_the_energy_distance_has_no_bias():
    values = [energy_distance(torch.randn(30, 2), torch.randn(30, 2)) for _ in range(200)]
    assert abs(sum(values) / 200) < 0.01
    assert min(values) < 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"means": torch.zeros(2, 3)}, r"means of shape \(2, 3\)"),
        ({"means": torch.zeros(2, 3, 3)}, r"means of shape \(2, 3, 3\)"),
        ({"std": torch.tensor(0.0)}, "std 0.0"),
        ({"std": torch.full((3, 2), 0.1)}, r"\(2, 3\) of them"),
        ({"priors": torch.tensor([0.5, 0.6])}, "sum 1"),
        ({"priors": torch.tensor([1.5, -0.5])}, "positive"),
        ({"priors": torch.ones(1)}, "2 positive numbers, sum 1"),
    ],
)
def test_a_mixture_that_makes_no_sense_is_refused(change, message):
    fine = {
        "means": torch.zeros(2, 3, 2),
        "std": torch.tensor(0.1),
        "priors": torch.tensor([0.5, 0.5]),
    }
    assert Mixture(**fine).std.shape == (2, 3)
    with pytest.raises(ValueError, match=message):
        Mixture(**fine | change)


def test_labels_timesteps_and_shapes_out_of_range_are_refused(exact):
    x, t, y = torch.zeros(2, 2), torch.tensor([0, 1]), torch.tensor([0, 1])
    for call in (
        lambda: exact(x, t, y + 4),
        lambda: exact(x, t, y - 1),
        lambda: exact.mixture.sample(y + 3),  # 4 is the null label, not a class
        lambda: exact.mixture.log_density(x, y + 3),
    ):
        with pytest.raises(ValueError, match=r"label out of range: got .*, not 0\.\."):
            call()
    with pytest.raises(ValueError, match="timestep out of range"):
        exact(x, t + 999, y)
    with pytest.raises(ValueError, match=r"points of shape \(2, 3\)"):
        exact(torch.zeros(2, 3), t, y)
    with pytest.raises(ValueError, match=r"points of shape \(2, 1, 2, 1\)"):
        exact(torch.zeros(2, 1, 2, 1), t, y)
    with pytest.raises(ValueError, match="1 and 2 points"):
        energy_distance(x[:1], x)


def test_the_posterior_of_clean_points_is_bayes_rule(mixture):
    x = torch.randn(50, 2)
    each = [mixture.log_density(x, torch.full((50,), k)) for k in range(4)]
    joint = mixture.priors * torch.stack(each, dim=1).exp()
    torch.testing.assert_close(mixture.posterior(x), joint / joint.sum(1, keepdim=True))


def test_the_endpoint_distance_compares_place_by_place():
    a = torch.randn(5, 2, 1, 1)
    assert endpoint_distance(a + torch.tensor([3.0, 4.0])[:, None, None], a) == pytest.approx(5)
    assert endpoint_distance(a, a) == 0


def test_points_of_the_mixture_are_judged_better_than_those_of_other_labels():
    mixture = pinwheel()
    y = mixture.labels(3000)
    real, more = mixture.sample(y), mixture.sample(y)
    fair, wrong = judge(mixture, more.x, real), judge(mixture, mixture.sample((y + 1) % 3).x, real)
    assert abs(fair["energy"]) < 0.01 < 0.1 < wrong["energy"]
    assert fair["nll"] == pytest.approx(-mixture.log_density(more.x, y).mean().item())
    right = mixture.posterior(more.x)[torch.arange(3000), y]
    assert fair["label"] == pytest.approx(right.mean().item())
    assert wrong["label"] < 0.2 < 0.6 < fair["label"]
    assert wrong["nll"] > fair["nll"] + 1
