"""Per-timestep importance: normalisation, the gradient of lambda, transfer, uncertainty."""

import pytest
import torch

from dashlib.schedule import Schedule
from dashlib.weighting import (
    TIRT,
    WEIGHTINGS,
    HighNoise,
    MinSNR,
    Uncertainty,
    make_weighting,
    transfer,
)

ALL = torch.arange(1000)


@pytest.fixture
def short():
    """Ten timesteps, so that finite differences are cheap."""
    return Schedule(T=10)


@pytest.fixture
def tirt(short):
    """TIRT with a lambda of its own at every timestep, in double precision."""
    weighting = TIRT(short).double()
    weighting.lam.data = torch.randn(10, dtype=torch.float64)
    return weighting


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_weights_have_mean_one_over_all_timesteps(schedule, name):
    weighting = make_weighting(name, schedule)
    for parameter in weighting.parameters():
        torch.nn.init.normal_(parameter)
    assert weighting.importance().shape == (1000,)
    assert weighting.importance().mean().item() == pytest.approx(1, abs=1e-5)
    assert (weighting.importance() > 0).all()


@pytest.mark.parametrize("name", [n for n in WEIGHTINGS if n != "tirt_batch"])
def test_a_timestep_has_the_same_weight_in_every_batch(schedule, name):
    weighting, t = make_weighting(name, schedule), torch.tensor([3, 999, 3, 500])
    torch.testing.assert_close(weighting(t), weighting.importance()[t])
    torch.testing.assert_close(weighting(t[:2]), weighting(t)[:2])


def test_reduce_is_the_mean_of_weighted_losses(schedule):
    weighting, t, loss = make_weighting("min_snr", schedule), torch.tensor([0, 400]), torch.rand(2)
    want = (weighting.importance()[t] * loss).sum() / 2
    torch.testing.assert_close(weighting.reduce(loss, t), want)


def test_uniform_is_the_plain_mean(schedule):
    loss = torch.rand(5)
    assert make_weighting("uniform", schedule).reduce(loss, ALL[:5]) == loss.mean()


@pytest.mark.parametrize("gamma", [5.0, 1.5])
def test_min_snr_for_eps(schedule, gamma):
    weights, snr = MinSNR(schedule, gamma=gamma).importance().double(), schedule.snr()
    torch.testing.assert_close(
        weights / weights[-1], (gamma / snr).clamp(max=1), rtol=1e-5, atol=0
    )  # the last weight has SNR < gamma, so it is the unit
    assert weights[snr < gamma].unique().numel() == 1


def test_gamma_is_five_unless_said_otherwise(schedule):
    for kind in (MinSNR, TIRT):
        assert torch.equal(kind(schedule).importance(), kind(schedule, gamma=5.0).importance())


@pytest.mark.parametrize("base", ["published", "eps"])
@pytest.mark.parametrize("gamma", [5.0, 1.5])
def test_tirt_is_base_times_sigmoid(schedule, base, gamma):
    weighting = TIRT(schedule, base=base, gamma=gamma)
    torch.nn.init.normal_(weighting.lam)
    snr = schedule.snr()
    factor = {"published": snr.clamp(max=gamma), "eps": (gamma / snr).clamp(max=1)}[base]
    omega = factor * torch.sigmoid(weighting.lam.double())
    want = (omega / omega.mean()).float().detach()
    torch.testing.assert_close(weighting.importance().detach(), want)


def test_names_stand_for_their_options(schedule):
    options = {"tirt": {}, "tirt_eps": {"base": "eps"}, "tirt_batch": {"normalize": "batch"}}
    t = torch.tensor([0, 500, 999])
    for name, how in options.items():
        assert torch.equal(make_weighting(name, schedule)(t), TIRT(schedule, **how)(t)), name
    assert len({make_weighting(name, schedule)(t)[0].item() for name in options}) == 3


def test_published_base_weight_looks_at_clean_images(schedule):
    """The mass that method.md, section 3 states, at lambda = 0."""
    mass = TIRT(schedule).importance().detach() / 1000
    assert mass[:301].sum().item() == pytest.approx(0.74, abs=0.005)
    assert mass[500:].sum().item() == pytest.approx(0.067, abs=0.0005)
    assert mass[700:].sum().item() == pytest.approx(0.012, abs=0.0005)


def test_batch_normalisation_has_mean_one_in_the_batch(schedule):
    weighting, t = make_weighting("tirt_batch", schedule), torch.tensor([0, 10, 900])
    assert weighting(t).mean().item() == pytest.approx(1)
    importance = weighting.importance()[t]
    torch.testing.assert_close(weighting(t), importance / importance.mean())
    assert make_weighting("tirt", schedule)(t).mean().item() != pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("repeats", [1, 3])
def test_gradient_of_lambda_has_its_closed_form(tirt, repeats):
    """dL/dlambda_t = base_t sigmoid'(lambda_t) (loss_t - L) / sum(omega), L the weighted mean."""
    t = torch.arange(10).repeat(repeats)
    loss = torch.rand(10 * repeats, dtype=torch.float64)
    tirt.reduce(loss, t).backward()
    s = torch.sigmoid(tirt.lam.detach())
    omega, of_t = tirt.base * s, loss.reshape(repeats, 10).mean(0)
    average = (omega * of_t).sum() / omega.sum()
    want = omega * (1 - s) * (of_t - average) / omega.sum()
    torch.testing.assert_close(tirt.lam.grad, want)


def test_gradient_of_lambda_agrees_with_finite_differences(tirt):
    t, loss = torch.tensor([0, 2, 2, 7, 9]), torch.rand(5, dtype=torch.float64)
    tirt.reduce(loss, t).backward()
    lam, h = tirt.lam.detach().clone(), 1e-6

    @torch.no_grad()
    def at(shift):
        tirt.lam.copy_(lam + shift)
        return tirt.reduce(loss, t)

    steps = torch.eye(10, dtype=torch.float64) * h
    slopes = torch.stack([(at(step) - at(-step)) / (2 * h) for step in steps])
    torch.testing.assert_close(tirt.lam.grad, slopes, rtol=1e-5, atol=1e-9)


def test_descent_takes_weight_from_harder_timesteps(short):
    """The doubt about TIRT: it converges to easy timesteps, not to hard ones."""
    weighting, loss = TIRT(short), torch.linspace(0.1, 1, 10)
    optimizer = torch.optim.Adam(weighting.parameters(), lr=0.05)
    for _ in range(20):
        optimizer.zero_grad()
        weighting.reduce(loss, torch.arange(10)).backward()
        optimizer.step()
    assert weighting.lam[-1] < 0 < weighting.lam[0]


def test_a_frozen_weighting_no_longer_learns(schedule):
    weighting = TIRT(schedule)
    frozen = weighting.freeze()
    weighting.lam.data += torch.randn(1000)
    assert not any(p.requires_grad for p in frozen.parameters())
    assert frozen.lam.eq(0).all()  # a copy: the teacher may go on
    assert weighting.lam.requires_grad
    assert not frozen.reduce(torch.ones(2), ALL[:2]).requires_grad


def test_transfer_hands_over_the_importance(schedule):
    teacher = TIRT(schedule)
    torch.nn.init.normal_(teacher.lam)
    student = transfer(teacher.lam.detach(), schedule)
    assert torch.equal(student.importance(), teacher.importance().detach())
    assert not any(p.requires_grad for p in student.parameters())
    teacher.lam.data.zero_()
    assert student.lam.ne(0).any()


def test_transfer_of_another_length_is_an_error(schedule):
    with pytest.raises(ValueError, match=r"shape \(999,\): the schedule has 1000"):
        transfer(torch.zeros(999), schedule)


def test_uncertainty_is_best_at_the_log_of_the_expected_loss(short):
    weighting, loss, t = Uncertainty(short), torch.linspace(0.1, 2, 10), torch.arange(10)
    weighting.u.data = loss.log()
    best = weighting.reduce(loss, t)
    best.backward()
    torch.testing.assert_close(weighting.u.grad, torch.zeros(10), atol=1e-7, rtol=0)
    torch.testing.assert_close(best, (1 + loss.log()).mean())
    for change in (0.1, -0.1):
        weighting.u.data = loss.log() + change
        assert weighting.reduce(loss, t) > best


def test_uncertainty_weighs_by_the_inverse_of_the_loss(short):
    weighting, loss = Uncertainty(short), torch.linspace(0.1, 2, 10)
    weighting.u.data = loss.log()
    contributions = weighting.importance().detach() * loss
    torch.testing.assert_close(contributions, contributions[:1].expand(10))


def test_frozen_uncertainty_is_a_weighted_mean(short):
    weighting, loss, t = Uncertainty(short), torch.rand(3), torch.tensor([0, 5, 9])
    torch.nn.init.normal_(weighting.u)
    want = (weighting.importance()[t] * loss).mean().detach()
    torch.testing.assert_close(weighting.freeze().reduce(loss, t), want)


@pytest.mark.parametrize("name", WEIGHTINGS)
@pytest.mark.parametrize("t", [-1, 1000])
def test_a_timestep_outside_the_schedule_is_an_error(schedule, name, t):
    with pytest.raises(ValueError, match=r"timesteps 0\.\.999"):
        make_weighting(name, schedule).reduce(torch.ones(1), torch.tensor([t]))


def test_an_unknown_name_lists_the_names(schedule):
    with pytest.raises(ValueError, match=f"'snr': one of {', '.join(WEIGHTINGS)}"):
        make_weighting("snr", schedule)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base": "x0"}, "base 'x0': one of published, eps"),
        ({"normalize": "epoch"}, "normalize 'epoch': one of timesteps, batch"),
    ],
)
def test_an_unknown_option_of_tirt_is_an_error(schedule, options, message):
    with pytest.raises(ValueError, match=message):
        TIRT(schedule, **options)


def test_high_noise_is_a_bounded_inverse_of_the_signal(schedule):
    weights = make_weighting("high_noise", schedule).importance()
    signal = schedule.alpha_bar(torch.arange(schedule.T)).sqrt()
    below = signal > 1 / 20
    ratio = weights * signal
    torch.testing.assert_close(ratio[below], ratio[:1].double().expand(int(below.sum())).float(),
                               check_dtype=False, rtol=1e-5, atol=0)  # fmt: skip
    assert weights[~below].unique().numel() == 1, "beyond the bound: all alike"
    assert (weights.max() / weights.min()).item() == pytest.approx(20, rel=1e-3)
    assert HighNoise(schedule, bound=1.0).importance().unique().numel() == 1
