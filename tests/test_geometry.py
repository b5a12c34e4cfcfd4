"""Forms in the plane of branch errors, against Hessians of the objectives that are trained."""

import math

import numpy as np
import pytest
import torch

from dashbook.geometry import (
    Form,
    Symmetric,
    angle,
    averaged,
    centred,
    composite,
    errors,
    form_of,
    guided_error,
    moments,
    multi_w,
    scheduled,
    unit,
)
from dashlib.data import Batch
from dashlib.guidance import TAG, Branches, Constant
from dashlib.losses import OBJECTIVES, make_objective
from dashlib.unet import UNet

T = torch.arange(1000)
RELEASED = torch.arange(0, 1000, 20)  # the timesteps of the released 50-step sampler
CASES = [
    ("scratch", {}),
    ("cond_only", {}),
    ("cond_only_dropout", {}),
    ("composite", {}),
    ("composite", {"w": 1.0}),
    ("composite", {"w": 2.5}),
    ("multi_w", {}),
    ("multi_w", {"low": 0.0, "high": 3.0}),
    ("gap_match", {}),
    ("gap_match", {"imitation": 1.0}),
    ("gap_match", {"imitation": 0.3}),
    ("gap_match", {"imitation": 1.0, "gap": 3.0}),
    ("gap_match", {"imitation": 0.5868, "gap": 0.747, "unconditional": -0.0808}),
    ("dash", {}),
    ("dash", {"anchor": 0.0}),
    ("dash", {"unconditional": 0.0}),
    ("dash", {"unconditional": 0.0, "anchor": 0.0}),
    ("dash", {"imitation": 2.0, "unconditional": 3.0, "anchor": 0.5}),
]
CENTRED = [case for case in CASES if centred(make_objective(case[0], **case[1]))]


class Drifted:
    """The teacher's answers to a batch plus given errors; e_c, e_u broadcast to an image."""

    null_label = 10

    def __init__(self, batch, e_c, e_u):
        self.answers = batch.teacher.cond + e_c, batch.teacher.uncond + e_u

    def __call__(self, x_t, t, y):
        repeats = (len(x_t) // len(self.answers[0]), 1, 1, 1)  # one forward of 2B, or one of B
        cond, uncond = (a.repeat(repeats) for a in self.answers)
        return torch.where((y == self.null_label)[:, None, None, None], uncond, cond)


def make_batch(n, size):
    """Images in double precision with a teacher; the label of every tenth is dropped."""
    images = [torch.randn(n, 1, size, size, dtype=torch.double) for _ in range(4)]
    y = torch.arange(n) % 10
    dropped = torch.where(torch.arange(n) % 10 == 0, 10, y)
    x_t, eps, cond, uncond = images
    return Batch(x_t, torch.arange(n) % 1000, y, dropped, eps, Branches(cond, uncond))


def mean_loss(objective, batch, e_c, e_u):
    torch.manual_seed(1)  # an objective may draw scales: the same ones at each call
    return objective.total(objective.terms(Drifted(batch, e_c, e_u), batch)).mean()


def gradient_and_form(objective, batch):
    """Gradient at e = 0 and half the Hessian of the mean loss, by automatic differentiation."""

    def loss(e):
        return mean_loss(objective, batch, e[0], e[1])

    zero = torch.zeros(2, dtype=torch.double)
    gradient = torch.autograd.functional.jacobian(loss, zero)
    return gradient.numpy(), torch.autograd.functional.hessian(loss, zero).numpy() / 2


def value(form, e_c, e_u):
    """``e^T Q e``."""
    return form.cc * e_c**2 + 2 * form.cu * e_c * e_u + form.uu * e_u**2


def mean_under(form, of):
    """``tr(Q M)``."""
    return (form.matrix * of.matrix).sum()


def tolerance(name):
    return 0.02 if name == "multi_w" else 1e-10  # its scales are drawn


@pytest.mark.parametrize(("name", "options"), CASES)
def test_the_form_is_half_the_hessian_of_the_trained_loss(name, options):
    objective = make_objective(name, **options)
    batch = make_batch(50_000, 1) if name == "multi_w" else make_batch(20, 4)
    _, measured = gradient_and_form(objective, batch)
    np.testing.assert_allclose(form_of(objective).matrix, measured, atol=tolerance(name))


@pytest.mark.parametrize(("name", "options"), CASES)
def test_finite_differences_agree(name, options):
    """Central differences of the loss itself; exact for a quadratic, whatever the step."""
    objective, batch = make_objective(name, **options), make_batch(20, 4)
    h = 0.7

    def second(a, b):
        corners = ((p, q) for p in (1, -1) for q in (1, -1))
        at = [(p * q, h * (p * a + q * b)) for p, q in corners]
        return sum(sign * mean_loss(objective, batch, *e) for sign, e in at) / (4 * h * h)

    axes = np.eye(2)
    measured = [[second(a, b).item() / 2 for b in axes] for a in axes]
    _, exact = gradient_and_form(objective, batch)
    np.testing.assert_allclose(measured, exact, atol=1e-9)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_a_centred_loss_is_least_at_the_teacher(name, options):
    objective = make_objective(name, **options)
    gradient, _ = gradient_and_form(objective, make_batch(20, 4))
    assert centred(objective) == bool(np.abs(gradient).max() < 1e-10)


@pytest.mark.parametrize(("name", "options"), CENTRED)
def test_the_mean_loss_is_the_trace_of_form_times_moments(name, options):
    """For errors that differ from element to element, not only for a drift."""
    objective = make_objective(name, **options)
    batch = make_batch(100_000, 1) if name == "multi_w" else make_batch(20, 4)
    e_c = torch.randn_like(batch.x_t) + 0.3
    e_u = 0.5 * e_c + torch.randn_like(batch.x_t)
    student = Branches(batch.teacher.cond + e_c, batch.teacher.uncond + e_u)
    want = mean_loss(objective, batch, e_c, e_u).item()
    predicted = mean_under(form_of(objective), moments(errors(student, batch.teacher)))
    assert predicted == pytest.approx(want, rel=tolerance(name))


def test_features_are_not_outputs(tiny):
    """FitNets sees cond_only of the outputs, whatever its features cost."""
    net = UNet(tiny).eval()
    objective = make_objective("fitnets", teacher=UNet(tiny), student=tiny)
    x, t, y = torch.randn(4, 1, 8, 8), torch.arange(4), torch.arange(4)
    answers = Branches(torch.randn(4, 1, 8, 8), torch.randn(4, 1, 8, 8))
    batch = Batch(x, t, y, y, torch.randn(4, 1, 8, 8), answers)

    class Student:
        def features(self, x_t, t, y):
            return answers.cond + self.e_c, net.features(x_t, t, y)[1]

    def loss(e):
        student = Student()
        student.e_c = e[0]  # and e_u, which no forward of this objective asks for
        return objective.total(objective.terms(student, batch)).mean() + 0 * e[1]

    measured = torch.autograd.functional.hessian(loss, torch.zeros(2)) / 2
    np.testing.assert_allclose(form_of(objective).matrix, measured.numpy(), atol=1e-5)
    assert form_of(objective) == form_of(make_objective("cond_only"))
    assert centred(objective)


def test_every_objective_has_a_form_or_says_why_not(tiny):
    for name in OBJECTIVES:
        networks = {"teacher": UNet(tiny), "student": tiny} if name == "fitnets" else {}
        objective = make_objective(name, **networks)
        if name == "single_head":
            with pytest.raises(ValueError, match=r"SingleHeadMatch.*not a function of two branch"):
                form_of(objective)
        else:
            assert form_of(objective).eigenvalues[1] > 0


def test_the_rate_of_dropped_labels_is_a_choice():
    form = form_of(make_objective("cond_only_dropout"), label_dropout=0.25)
    assert form == Form(0.75, 0, 0.25)
    assert form.condition == pytest.approx(3)
    assert form_of(make_objective("cond_only_dropout")).condition == pytest.approx(9)


@pytest.mark.parametrize(("low", "high"), [(1.0, 4.0), (0.0, 1.0), (-2.0, 6.0), (2.0, 2.0)])
def test_random_scales_against_monte_carlo(low, high):
    w = low + (high - low) * torch.rand(400_000, dtype=torch.double)
    v = torch.stack([w, 1 - w])
    np.testing.assert_allclose(multi_w(low, high).matrix, (v @ v.T / len(w)).numpy(), rtol=0.02)


@pytest.mark.parametrize(("low", "high"), [(1.0, 4.0), (0.0, 1.0), (-2.0, 6.0)])
def test_the_determinant_is_the_variance_of_the_scale(low, high):
    soft, stiff = multi_w(low, high).eigenvalues
    assert soft * stiff == pytest.approx((high - low) ** 2 / 12)


def test_condition_numbers_claimed_for_the_objectives():
    """shared/method.md, section 1: 1; infinite; infinite; about 131; about 141."""
    assert form_of(make_objective("dash", anchor=0.0)).condition == 1
    assert form_of(make_objective("composite", w=4.0)).condition == math.inf
    assert form_of(make_objective("gap_match")).condition == math.inf
    assert form_of(make_objective("multi_w")).condition == pytest.approx(131.3, abs=0.05)
    assert scheduled(TAG(), RELEASED).condition == pytest.approx(140.6, abs=0.05)
    assert scheduled(TAG(), T).condition == pytest.approx(135.1, abs=0.05)  # over all timesteps
    assert form_of(make_objective("dash")).condition == pytest.approx(1.1)  # with its anchor


@pytest.mark.parametrize(
    ("name", "options", "null"),
    [
        ("cond_only", {}, (0, 1)),
        ("composite", {"w": 4.0}, (0.6, 0.8)),
        ("composite", {"w": 1.0}, (0, 1)),
        ("composite", {"w": 0.0}, (1, 0)),
        ("composite", {"w": 1.1}, unit((0.1, 1.1))),  # rounding must not hide it
        ("gap_match", {}, (0.5**0.5, 0.5**0.5)),
        ("dash", {"unconditional": 0.0}, (0, 1)),
        ("multi_w", {"low": 3.0, "high": 3.0}, unit((2, 3))),
    ],
)
def test_null_directions(name, options, null):
    form = form_of(make_objective(name, **options))
    np.testing.assert_allclose(form.null, null, atol=1e-12)
    assert form.condition == math.inf
    assert value(form, *form.null) == pytest.approx(0, abs=1e-12)
    assert form.along(form.null) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name", ["dash", "multi_w", "cond_only_dropout", "scratch"])
def test_a_form_of_full_rank_has_no_null_direction(name):
    form = form_of(make_objective(name))
    assert form.null is None
    assert 1 < form.condition < math.inf


def test_the_soft_direction_of_random_scales():
    form = multi_w(1.0, 4.0)
    np.testing.assert_allclose(form.axes[0], (0.5449, 0.8385), atol=1e-4)
    assert form.along(form.axes[0]) == pytest.approx(form.eigenvalues[0])
    assert form.along((0.6, 0.8)) > 1.5 * form.along(form.axes[0])  # near, not the same


def test_both_branches_are_the_scales_zero_and_one():
    """DASH without its anchor is twice the composite whose scale is 0 or 1, by a coin."""
    np.testing.assert_allclose(2 * averaged(0.5, 0.5).matrix, np.eye(2))


def test_a_schedule_is_averaged_over_its_timesteps():
    np.testing.assert_allclose(scheduled(Constant(4.0), T).matrix, composite(4).matrix)
    w = TAG()(RELEASED).double()
    want = sum(composite(x).matrix for x in w.tolist()) / len(w)
    np.testing.assert_allclose(scheduled(TAG(), RELEASED).matrix, want)


def test_weights_of_timesteps():
    picked = torch.zeros(1000)
    picked[[0, 999]] = torch.tensor([30.0, 10.0])
    ends = (composite(TAG()(T[k : k + 1]).double().item()).matrix for k in (0, 999))
    first, last = ends
    want = 0.75 * first + 0.25 * last
    np.testing.assert_allclose(scheduled(TAG(), T, picked).matrix, want, rtol=1e-6)


def test_at_one_timestep_a_schedule_is_blind():
    assert scheduled(TAG(), torch.tensor([300])).condition == math.inf


@pytest.mark.parametrize("seed", range(5))
def test_eigenvalues_and_axes_against_numpy(seed):
    cc, cu, uu = np.random.default_rng(seed).normal(size=3)
    matrix = Symmetric(cc, cu, uu)
    values, vectors = np.linalg.eigh(matrix.matrix)
    np.testing.assert_allclose(matrix.eigenvalues, values, rtol=1e-10)
    for mine, other in zip(matrix.axes, vectors.T, strict=True):
        np.testing.assert_allclose(mine, unit(other), atol=1e-10)
    assert (matrix - matrix).eigenvalues == (0, 0)


def test_a_direction_is_an_axis():
    np.testing.assert_allclose(unit((-3, -4)), (0.6, 0.8))
    assert [angle(d) for d in ((1, 0), (-2, 0), (1, 1), (0, -5), (1, -1))] == [0, 0, 45, 90, 135]
    for w in (-1.0, 0.5, 4.0, 100.0):
        assert angle(composite(w).null) == pytest.approx(angle((w - 1, w)))


@pytest.mark.parametrize("direction", [(0, 0), (1, math.nan), (math.inf, 1), (1, 2, 3), 5])
def test_directions_that_are_none(direction):
    with pytest.raises(ValueError, match=r"direction .*two finite numbers"):
        unit(direction)


@pytest.mark.parametrize("w", [-1.0, 0.0, 1.0, 2.5, 4.0])
def test_the_guided_error_is_that_of_guided_branches(w):
    student, teacher = (Branches(*torch.randn(2, 3, 1, 2, 2)) for _ in range(2))
    error = errors(student, teacher)
    want = student.guided(w) - teacher.guided(w)
    torch.testing.assert_close(guided_error(error.cond, error.uncond, w), want)
    torch.testing.assert_close(value(composite(w), error.cond, error.uncond), want.square())
    assert guided_error(0.6, 0.8, 4.0) == pytest.approx(0)


@pytest.mark.parametrize("entries", [(1, 2, 1), (-1, 0, 1), (0, 0, 0), (0, 1, 0), (1, 0, -1e-3)])
def test_forms_that_would_reward_an_error(entries):
    with pytest.raises(ValueError, match=r"eigenvalues .*none below 0, one above"):
        Form(*entries)


def test_an_objective_with_negative_factors_is_no_form():
    with pytest.raises(ValueError, match="none below 0"):
        form_of(make_objective("dash", unconditional=-1.0))


@pytest.mark.parametrize("entries", [(math.nan, 0, 1), (1, math.inf, 1)])
def test_entries_that_are_no_numbers(entries):
    with pytest.raises(ValueError, match="none below 0"):
        Form(*entries)


def test_bounds_the_wrong_way_round_are_the_same_scales():
    np.testing.assert_allclose(multi_w(4, 1).matrix, multi_w(1, 4).matrix)


def test_scales_that_no_random_number_has():
    with pytest.raises(ValueError, match="none below 0"):
        averaged(2.0, 3.0)  # E w^2 is at least (E w)^2


@pytest.mark.parametrize("weights", [torch.ones(3), torch.zeros(1000)])
def test_weights_that_do_not_belong_to_the_timesteps(weights):
    with pytest.raises((TypeError, ZeroDivisionError, ValueError)):
        scheduled(TAG(), T, weights)
