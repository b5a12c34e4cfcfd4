"""Second moments of branch errors, against the gap report and against brute force."""

import math

import numpy as np
import pytest
import torch

from dashbook.geometry import (
    Form,
    Moments,
    angle,
    composite,
    errors,
    moments,
    placement,
    stored_moments,
    unit,
)
from dashlib import results
from dashlib.guidance import Branches
from dashlib.metrics import pair_stats, summarise


@pytest.fixture
def pair():
    """A student and a teacher whose errors are correlated, 40 images of 2x4x4."""
    teacher = Branches(*torch.randn(2, 40, 2, 4, 4))
    e_c = torch.randn(40, 2, 4, 4)
    e_u = 0.8 * e_c + 0.3 * torch.randn(40, 2, 4, 4)
    return Branches(teacher.cond + e_c, teacher.uncond + e_u), teacher


def mean_under(form, of):
    """``tr(Q M)``."""
    return (form.matrix * of.matrix).sum()


def test_errors_are_student_minus_teacher(pair):
    student, teacher = pair
    error = errors(student, teacher)
    torch.testing.assert_close(error.cond, student.cond - teacher.cond)
    torch.testing.assert_close(error.uncond, student.uncond - teacher.uncond)
    torch.testing.assert_close(error.gap, student.gap - teacher.gap)


def test_moments_are_means_over_all_elements(pair):
    error = errors(*pair)
    points = torch.stack([error.cond.flatten(), error.uncond.flatten()]).double()
    want = (points @ points.T / points.shape[1]).numpy()
    np.testing.assert_allclose(moments(error).matrix, want)


def test_a_gap_report_holds_the_same_moments(pair):
    """E e_c e_u comes from three mean squares, though no report stores it."""
    summary = summarise(pair_stats(*pair))
    np.testing.assert_allclose(stored_moments(summary).matrix, moments(errors(*pair)).matrix)


def test_common_part_and_difference_share_out_the_whole(pair):
    """|e_c|^2 + |e_u|^2 = 2 |m|^2 + |d|^2 / 2."""
    error, m = errors(*pair), moments(errors(*pair))
    common = ((error.cond + error.uncond) / 2).square().mean().item()
    difference = error.gap.square().mean().item()
    assert m.along((1, 1)) == pytest.approx(2 * common, rel=1e-5)
    assert m.along((1, -1)) == pytest.approx(difference / 2, rel=1e-5)
    assert m.cc + m.uu == pytest.approx(2 * common + difference / 2, rel=1e-5)
    assert sum(m.eigenvalues) == pytest.approx(m.cc + m.uu)


@pytest.mark.parametrize("w", [0.0, 1.0, 2.5, 4.0])
def test_any_guided_error_follows_from_the_moments(pair, w):
    student, teacher = pair
    want = (student.guided(w) - teacher.guided(w)).square().mean().item()
    assert mean_under(composite(w), moments(errors(student, teacher))) == pytest.approx(
        want, rel=1e-4
    )


def test_the_best_scale_has_the_smallest_guided_error(pair):
    m = moments(errors(*pair))
    least = mean_under(composite(m.best_w), m)
    assert all(mean_under(composite(m.best_w + step), m) > least for step in (-0.1, 0.1))


def test_a_single_residual_is_invisible_at_its_best_scale():
    m = Moments(0.6 * 0.6, 0.6 * 0.8, 0.8 * 0.8)
    assert m.best_w == pytest.approx(4)
    assert mean_under(composite(m.best_w), m) == pytest.approx(0, abs=1e-12)


def test_common_drift_has_no_best_scale():
    assert math.isnan(Moments(1, 1, 1).best_w)
    assert math.isnan(Moments(0, 0, 0).best_w)


def test_the_ellipse_has_the_root_mean_squares_as_half_axes(pair):
    m = moments(errors(*pair))
    line = m.ellipse()
    assert line.shape == (121, 2)
    (low, high), (minor, major) = m.eigenvalues, m.axes
    assert np.abs(line @ major).max() == pytest.approx(math.sqrt(high), rel=1e-3)
    assert np.abs(line @ minor).max() == pytest.approx(math.sqrt(low), rel=1e-3)
    inverse = np.linalg.inv(m.matrix)
    np.testing.assert_allclose(np.einsum("ni,ij,nj->n", line, inverse, line), 1)


def test_the_ellipse_of_errors_on_a_line_is_that_line():
    line = Moments(9, 12, 16).ellipse()
    np.testing.assert_allclose(np.abs(line @ (0.8, -0.6)), 0, atol=1e-9)
    assert angle(line[0]) == pytest.approx(angle((3, 4)))


def test_what_one_student_has_beyond_another_points_somewhere():
    base = Moments(0.03, 0.028, 0.03)
    more = Moments(0.03 + 9e-3, 0.028 + 12e-3, 0.03 + 16e-3)
    np.testing.assert_allclose((more - base).axes[1], unit((3, 4)), atol=1e-9)
    assert (base - more).eigenvalues[0] == pytest.approx(-0.025)  # less is a difference, too


@pytest.mark.parametrize("entries", [(1, 2, 1), (-1, 0, 1), (-1, 0, -1), (math.nan, 0, 1)])
def test_what_cannot_be_moments(entries):
    with pytest.raises(ValueError, match="negative in some direction"):
        Moments(*entries)


def test_a_summary_of_something_else():
    with pytest.raises(KeyError, match="uncond_mse"):
        stored_moments({"cond_mse": 0.1})


def test_seeds_count_alike():
    seeds = [{"cond_mse": 1.0, "uncond_mse": 2.0, "gap_mse": 3.0}]
    seeds += [{"cond_mse": 3.0, "uncond_mse": 2.0, "gap_mse": 0.5}]
    assert stored_moments(*seeds[:1]) == Moments(1, 0, 2)
    np.testing.assert_allclose(stored_moments(*seeds).matrix, [[2, 1.125], [1.125, 2]])
    with pytest.raises(ValueError, match="at least one"):
        stored_moments()


def test_stored_students_have_moments_that_share_out_their_errors():
    """Overall and in every bin; the common part is stored too, and must fit."""
    for name in results.names():
        gap = results.load(name).metrics.get("gap")
        for summary in [gap["overall"], *gap["per_timestep"].values()] if gap else []:
            m = stored_moments(summary)
            assert m.along((1, 1)) == pytest.approx(2 * summary["common_mse"], rel=1e-6), name
            assert mean_under(Form(1, -1, 1), m) == pytest.approx(summary["gap_mse"], rel=1e-6), (
                name
            )


def test_a_needle_beyond_the_yardstick_is_placed_along_the_blind_direction():
    base = Moments(0.02, 0.0, 0.02)
    along = 0.5 * np.outer((0.6, 0.8), (0.6, 0.8))
    needle = Moments(base.cc + along[0, 0], along[0, 1], base.uu + along[1, 1])
    found = placement(needle, base, composite(4))
    axes = [found[key] for key in ("main", "own", "excess")]
    assert axes == pytest.approx([angle((3, 4))] * 3)
    assert found["soft"] == pytest.approx((0.5 + 0.02) / 0.02)
    assert found["stiff"] == pytest.approx(1)
    assert found["ratio"] == pytest.approx((0.52 / 0.02) ** 0.5)
    assert found["w"] == pytest.approx(needle.best_w)


def test_a_yardstick_has_no_excess_and_a_round_form_no_direction():
    base = Moments(0.03, 0.01, 0.02)
    found = placement(base, base, Form(1.1, 0, 1))
    assert math.isnan(found["excess"])
    assert math.isnan(found["own"])
    assert found["soft"] == found["stiff"] == 1
