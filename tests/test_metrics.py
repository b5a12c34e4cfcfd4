"""Gap metrics and the Frechet distance, against closed forms."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from dashbook.playground import weighted_by_length
from dashlib import metrics
from dashlib.data import Images
from dashlib.guidance import Branches, branches
from dashlib.metrics import (
    compare,
    distances,
    frechet,
    gaussian,
    image_errors,
    noisy_pairs,
    pair_stats,
    predict,
    spreads,
    summarise,
    summarise_by,
)
from dashlib.schedule import Schedule
from dashlib.unet import UNet


@pytest.fixture
def teacher():
    return Branches(torch.randn(6, 1, 4, 4), torch.randn(6, 1, 4, 4))


@pytest.fixture
def student():
    return Branches(torch.randn(6, 1, 4, 4), torch.randn(6, 1, 4, 4))


def summary(student, teacher):
    return summarise(pair_stats(student, teacher))


def test_metrics_are_what_their_formulas_say(student, teacher):
    gs, gt = student.gap.double().flatten(1), teacher.gap.double().flatten(1)
    e_c, e_u = (student.cond - teacher.cond).double(), (student.uncond - teacher.uncond).double()
    norms = gs.norm(dim=1), gt.norm(dim=1)
    want = {
        "rho": norms[0].mean() / norms[1].mean(),
        "cos": torch.nn.functional.cosine_similarity(gs, gt).mean(),
        "gap_mse": ((gs - gt) ** 2).mean(),
        "gap_s_ms": (gs**2).mean(),
        "gap_t_ms": (gt**2).mean(),
        "cond_mse": (e_c**2).mean(),
        "uncond_mse": (e_u**2).mean(),
        "common_mse": (((e_c + e_u) / 2) ** 2).mean(),
        "a_star": (gs * gt).sum() / (gs**2).sum(),
        "n": 6,
    }
    assert summary(student, teacher) == pytest.approx({k: float(v) for k, v in want.items()})


@pytest.mark.parametrize("factor", [0.25, 1.0, 3.0])
def test_a_scaled_gap_has_that_rho_and_the_same_direction(teacher, factor):
    scaled = Branches(teacher.uncond + factor * teacher.gap, teacher.uncond)
    found = summary(scaled, teacher)
    assert found["rho"] == pytest.approx(factor, rel=1e-5)
    assert found["cos"] == pytest.approx(1, abs=1e-6)
    assert found["a_star"] == pytest.approx(1 / factor, rel=1e-5)
    assert found["uncond_mse"] == 0


def test_a_reversed_gap_has_cosine_minus_one(teacher):
    found = summary(Branches(teacher.uncond, teacher.cond), teacher)
    assert (found["rho"], found["cos"]) == (pytest.approx(1), pytest.approx(-1))
    assert found["a_star"] == pytest.approx(-1)


def test_the_cosine_does_not_depend_on_how_small_the_gaps_are(teacher):
    found = summary(
        Branches(1e-7 * teacher.gap, torch.zeros(6, 1, 4, 4)),
        Branches(1e-7 * teacher.gap, torch.zeros(6, 1, 4, 4)),
    )
    assert found["cos"] == pytest.approx(1, abs=1e-6)


def test_a_star_is_the_best_single_factor(student, teacher):
    def error(a):
        return (a * student.gap - teacher.gap).square().mean()

    best = summary(student, teacher)["a_star"]
    assert error(best) < min(error(best + 0.05), error(best - 0.05))


def test_branch_errors_split_into_a_common_part_and_the_gaps_error(student, teacher):
    found = summary(student, teacher)
    both = found["cond_mse"] + found["uncond_mse"]
    assert both == pytest.approx(2 * found["common_mse"] + found["gap_mse"] / 2)


def test_a_common_drift_is_invisible_to_the_gap(teacher):
    found = summary(Branches(teacher.cond + 0.5, teacher.uncond + 0.5), teacher)
    assert found["gap_mse"] == pytest.approx(0, abs=1e-12)
    assert found["common_mse"] == pytest.approx(0.25, rel=1e-5)


def test_a_collapsed_gap(teacher):
    found = summary(Branches(teacher.cond, teacher.cond), teacher)
    assert (found["rho"], found["cos"]) == (0, 0)
    assert math.isnan(found["a_star"])


def test_a_teacher_without_a_gap_has_no_rho(teacher):
    found = summary(teacher, Branches(teacher.cond, teacher.cond))
    assert math.isnan(found["rho"])
    assert found["gap_t_ms"] == 0


def test_groups_are_summarised_on_their_own(student, teacher):
    stats, group = pair_stats(student, teacher), torch.tensor([7, 2, 7, 2, 7, 2])
    found = summarise_by(stats, group)
    assert set(found) == {2, 7}
    assert found[7] == summarise({k: v[::2] for k, v in stats.items()})
    assert found[2]["n"] == 3


def test_nothing_to_summarise_is_an_error(student, teacher):
    stats = {k: v[:0] for k, v in pair_stats(student, teacher).items()}
    with pytest.raises(ValueError, match="no pairs"):
        summarise(stats)


@pytest.fixture
def report(model, digits, schedule):
    def make(student=model, teacher=model, pairs=600, seed=0, **options):
        noisy = noisy_pairs(digits.test, schedule, pairs=pairs, seed=seed)
        both = predict(student, noisy), predict(teacher, noisy)
        return compare(*both, noisy, schedule, **options)

    return make


def test_a_teacher_agrees_with_itself(report):
    overall = report().overall
    assert overall["rho"] == 1
    assert overall["cos"] == pytest.approx(1)
    assert overall["a_star"] == pytest.approx(1)
    assert [overall[f"{k}_mse"] for k in ("gap", "cond", "uncond", "common")] == [0] * 4


def test_every_pair_is_counted_once(report):
    found = report(bins=20)
    assert list(found.per_timestep) == list(range(0, 1000, 50))
    assert list(found.per_class) == list(range(10))
    for groups in (found.per_timestep, found.per_class):
        assert sum(g["n"] for g in groups.values()) == found.overall["n"] == 600
        mean = sum(g["n"] * g["gap_t_ms"] for g in groups.values()) / 600
        assert mean == pytest.approx(found.overall["gap_t_ms"])


def test_images_are_taken_in_turn(report, digits):
    counts = digits.test.y.bincount().tolist()
    assert [g["n"] for g in report(pairs=297).per_class.values()] == counts
    assert [g["n"] for g in report(pairs=594).per_class.values()] == [2 * c for c in counts]


def test_a_report_depends_on_its_seed_only(report, tiny):
    other = UNet(tiny).eval()
    torch.rand(3)
    one, again = report(other), report(other)
    assert one == again
    assert report(other, seed=1).overall != one.overall


def test_a_prediction_does_not_depend_on_the_size_of_its_batches(model, digits, schedule):
    noisy = noisy_pairs(digits.test, schedule, pairs=50)
    small, large = predict(model, noisy, batch_size=7), predict(model, noisy)
    torch.testing.assert_close(small.cond, large.cond, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(small.uncond, large.uncond, rtol=1e-4, atol=1e-5)
    assert not large.cond.requires_grad


def test_a_prediction_is_of_each_pairs_own_timestep_and_label(model, digits, schedule):
    noisy = noisy_pairs(digits.test, schedule, pairs=20)
    found, want = predict(model, noisy), branches(model, noisy.x_t, noisy.t, noisy.y)
    assert torch.equal(found.cond, want.cond)
    assert torch.equal(found.uncond, want.uncond)


def test_noisy_pairs_are_the_images_at_random_timesteps(digits, schedule):
    noisy = noisy_pairs(digits.test, schedule, pairs=700)
    assert noisy.x_t.shape == (700, 1, 8, 8)
    assert torch.equal(noisy.y, digits.test.y[torch.arange(700) % 297])
    early = noisy.t < 10
    difference = (noisy.x_t - digits.test.x[torch.arange(700) % 297])[early]
    assert difference.square().mean().sqrt().item() < 0.05
    assert noisy.t.float().mean().item() == pytest.approx(499.5, abs=40)


def test_every_timestep_of_the_schedule_is_drawn(digits):
    noisy = noisy_pairs(digits.test, Schedule(T=4), pairs=200)
    assert noisy.t.unique().tolist() == [0, 1, 2, 3]


def test_a_report_sees_the_branches(report, fixed):
    teacher = fixed(torch.tensor(3.0), torch.tensor(1.0))
    student = fixed(torch.tensor(3.5), torch.tensor(0.5))
    overall = report(student, teacher).overall
    assert overall["rho"] == pytest.approx(1.5)
    assert overall["cond_mse"] == pytest.approx(0.25)
    assert overall["common_mse"] == 0


def test_bins_must_divide_the_timesteps(report):
    with pytest.raises(ValueError, match="bins=7 must divide the 1000"):
        report(bins=7)


def test_a_report_on_no_pairs_is_an_error(report):
    with pytest.raises(ValueError, match="pairs"):
        report(pairs=0)


def random_gaussian(d, n=None, seed=0):
    """Correlated features, well conditioned if n > d."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n or 10 * d, d, generator=generator)
    return gaussian(x * torch.linspace(1, 2, d) + x[:, :1] + seed)


def test_mean_and_covariance():
    x = torch.randn(50, 4)
    mean, cov = gaussian(x)
    assert mean.dtype == cov.dtype == torch.float64
    np.testing.assert_allclose(cov, np.cov(x.double().numpy().T))
    np.testing.assert_allclose(mean, x.double().mean(0))


def test_the_covariance_of_one_feature_is_a_matrix():
    mean, cov = gaussian(torch.tensor([[1.0], [3.0]]))
    assert (mean.tolist(), cov.tolist()) == ([2.0], [[2.0]])


def test_the_closed_form_in_one_dimension():
    a, b = ((torch.tensor([m]).double(), torch.tensor([[v]]).double()) for m, v in ((1, 4), (3, 9)))
    assert frechet(a, b) == pytest.approx((1 - 3) ** 2 + (2 - 3) ** 2)


def test_the_closed_form_of_diagonal_covariances():
    """Also singular ones: a zero variance is allowed."""
    a, b = torch.tensor([4.0, 0.0, 1.0, 0.0]).double(), torch.tensor([1.0, 9.0, 0.0, 0.0]).double()
    m_a, m_b = torch.arange(4).double(), torch.ones(4).double()
    want = (m_a - m_b).square().sum() + (a.sqrt() - b.sqrt()).square().sum()
    assert frechet((m_a, a.diag()), (m_b, b.diag())) == pytest.approx(want.item(), rel=1e-9)


@pytest.mark.parametrize("d", [2, 16, 64])
def test_frechet_is_that_of_the_matrix_square_root(d):
    (m_a, c_a), (m_b, c_b) = a, b = random_gaussian(d, seed=1), random_gaussian(d, seed=2)
    root = scipy.linalg.sqrtm((c_a @ c_b).numpy())
    want = (m_a - m_b).square().sum() + c_a.trace() + c_b.trace() - 2 * np.trace(root).real
    assert frechet(a, b) == pytest.approx(want.item(), rel=1e-9)


@pytest.mark.parametrize("wrong", ["mean", "covariance"])
def test_frechet_of_moments_that_are_not_finite_is_an_error(wrong):
    moments = {"mean": torch.zeros(2).double(), "covariance": torch.eye(2).double()}
    good = tuple(moments.values())
    bad = tuple(m * math.nan if name == wrong else m for name, m in moments.items())
    for pair in ((good, bad), (bad, good)):
        with pytest.raises(ValueError, match=r"moments of features: .* not finite"):
            frechet(*pair)


def test_frechet_of_singular_covariances_is_stable():
    a, b = random_gaussian(40, n=10, seed=1), random_gaussian(40, n=12, seed=2)
    assert frechet(a, a) == pytest.approx(0, abs=1e-5)
    assert frechet(a, b) == pytest.approx(frechet(b, a), rel=1e-6)
    assert math.isfinite(frechet(a, b))


def test_frechet_is_a_symmetric_distance():
    a, b = random_gaussian(8, seed=1), random_gaussian(8, seed=2)
    assert frechet(a, b) == pytest.approx(frechet(b, a), rel=1e-9)
    assert frechet(a, b) > 0
    assert frechet(a, a) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("n", [0, 1])
def test_a_covariance_needs_two_features(n):
    with pytest.raises(ValueError, match=f"{n} feature vectors"):
        gaussian(torch.zeros(n, 4))


def test_noisy_pairs_of_bytes_are_those_of_floats(schedule):
    stored = Images(torch.randint(0, 256, (6, 3, 32, 32)).byte(), torch.zeros(6).long())
    floats = Images(stored.pixels(), stored.y)
    pairs = [metrics.noisy_pairs(images, schedule, pairs=20).x_t for images in (stored, floats)]
    assert torch.equal(*pairs)


def test_weighted_by_length_is_one_cosine_of_all_gaps_and_their_ratio(student, teacher):
    found = weighted_by_length(summary(student, teacher))
    gs, gt = student.gap.double(), teacher.gap.double()
    assert found["longer"] == pytest.approx((gs.norm() / gt.norm()).item())
    assert found["cos_e"] == pytest.approx(((gs * gt).sum() / gs.norm() / gt.norm()).item())
    assert found["rho"] == summary(student, teacher)["rho"]


def test_an_uncorrelated_error_lengthens_the_gap_as_predicted(teacher):
    error = torch.randn(6, 1, 4, 4)
    gap = teacher.gap
    error -= (error * gap).sum() / gap.square().sum() * gap  # not correlated with the gap
    found = weighted_by_length(summary(Branches(teacher.cond + error, teacher.uncond), teacher))
    assert found["longer"] == pytest.approx(found["uncorrelated"], rel=1e-5)
    assert found["uncorrelated"] > 1.1


def test_the_kernel_distance_is_the_mean_over_all_pairs_of_different_features():
    a, b = torch.randn(5, 3), torch.randn(4, 3) + 1

    def k(x, y):
        return (x.double() @ y.double() / 3 + 1) ** 3

    within = [
        np.mean([k(x[i], x[j]) for i in range(len(x)) for j in range(len(x)) if i != j])
        for x in (a, b)
    ]
    across = np.mean([k(x, y) for x in a for y in b])
    assert distances(a, b)["kernel"] == pytest.approx(within[0] + within[1] - 2 * across, rel=1e-9)
    assert distances(a, b)["frechet"] == frechet(gaussian(a), gaussian(b))


def test_the_kernel_distance_does_not_depend_on_how_many_and_the_frechet_distance_does():
    """Of few and of many samples of one distribution beside many of the same."""
    generator, found = torch.Generator().manual_seed(0), {}
    for n in (20, 200):
        draws = [torch.randn(n, 8, generator=generator) for _ in range(60)]
        found[n] = [distances(x, torch.randn(500, 8, generator=generator)) for x in draws]
    means = {n: {k: np.mean([one[k] for one in of]) for k in of[0]} for n, of in found.items()}
    assert means[20]["frechet"] > 5 * means[200]["frechet"]
    error = np.std([one["kernel"] for one in found[20]]) / 60**0.5
    assert abs(means[20]["kernel"]) < 3 * error


def test_an_error_in_the_image_is_that_of_eps_scaled(schedule):
    error = torch.randn(4, 3, 16, 16)
    t = torch.tensor([0, 500, 900, 970])
    found = image_errors(error, t, schedule)
    x_t, a = torch.randn(4, 3, 16, 16), schedule.alpha_bar(t)
    moved = schedule.predict_x0(x_t.double(), error.double(), t)
    moved -= schedule.predict_x0(x_t.double(), torch.zeros_like(error).double(), t)
    torch.testing.assert_close(found["image"], moved.square().mean((1, 2, 3)))
    scaled = error.double().square().mean((1, 2, 3)) * (1 - a) / a
    torch.testing.assert_close(found["image"], scaled)
    torch.testing.assert_close(found["dc"], moved.mean((2, 3)).square().mean(1))
    torch.testing.assert_close(found["image"], found["dc"] + found["low"] + found["high"])


@pytest.mark.parametrize(
    ("waves", "part"), [(0, "dc"), (1, "low"), (4, "low"), (5, "high"), (16, "high")]
)
def test_a_wave_lies_in_its_band(schedule, waves, part):
    x = torch.cos(2 * math.pi * waves * torch.arange(32) / 32).expand(1, 3, 32, 32)
    found = image_errors(x, torch.tensor([500]), schedule)
    assert found[part].item() == pytest.approx(found["image"].item(), rel=1e-9)


def test_spreads_are_of_mean_colours():
    grey = torch.linspace(-1, 1, 11).reshape(-1, 1, 1, 1).expand(-1, 3, 4, 4)
    found = spreads(grey)
    assert found["luminance"] == pytest.approx(torch.linspace(-1, 1, 11).std().item())
    assert found["red_green"] == pytest.approx(0, abs=1e-12)
    assert found["blue_yellow"] == pytest.approx(0, abs=1e-12)
    red = grey.clone()
    red[:, 1:] = 0  # only R varies: B - (R + G)/2 by half of it
    cast = spreads(red)
    assert cast["red_green"] == pytest.approx(found["luminance"])
    assert cast["blue_yellow"] == pytest.approx(found["luminance"] / 2)
    assert spreads(grey[:, :1]).keys() == {"luminance"}
    with pytest.raises(ValueError, match="at least 2"):
        spreads(grey[:1])
