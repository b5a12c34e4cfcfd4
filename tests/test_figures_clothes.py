"""Figures of the clothes chapter: what is drawn is what was given."""

import numpy as np
import pytest
import torch

from dashbook import plots
from dashbook.figures import clothes


def drawn(ax, label):
    """The line of that name."""
    (line,) = [line for line in ax.lines if line.get_label() == label]
    return line


def test_teacher_draws_losses_in_the_middle_of_their_steps_and_every_importance():
    losses = {"alike": [0.5, 0.2], "weighted": [0.3, 0.1]}
    learned = {"clothes": torch.tensor([2.0, 1.0, 0.0]), "digits": torch.tensor([1.5, 1.0, 0.5])}
    loss, importance = clothes.teacher(losses, torch.ones(3), learned).axes
    assert drawn(loss, "weighted").get_xdata() == pytest.approx([50, 150])
    assert drawn(loss, "weighted").get_ydata() == pytest.approx([0.3, 0.1])
    assert loss.get_yscale() == "log"
    assert drawn(importance, "at the start").get_ydata() == pytest.approx(1)
    for name, omega in learned.items():
        assert drawn(importance, name).get_ydata() == pytest.approx(omega)


def test_one_noise_puts_the_title_over_the_last_row():
    pictures = {"Teacher": -torch.ones(3, 1, 2, 2), "Student": torch.ones(3, 1, 2, 2)}
    teacher, student = clothes.one_noise(pictures, "DASH: distance 0.30").axes
    assert (teacher.get_title(), student.get_title()) == ("", "DASH: distance 0.30")
    assert (teacher.get_ylabel(), student.get_ylabel()) == ("Teacher", "Student")
    assert (student.images[0].get_array()[:, :2] == 1).all()
    assert (teacher.images[0].get_array() == -1).all()


@pytest.mark.parametrize(("metric", "scale"), [("cos", "linear"), ("rho", "log")])
def test_diagnostic_draws_the_mean_of_the_seeds(metric, scale):
    seeds = [{"0": {metric: 1.0}, "500": {metric: 2.0}}, {"0": {metric: 3.0}, "500": {metric: 2.0}}]
    (ax,) = clothes.diagnostic({"dash": seeds}, metric).axes
    line = drawn(ax, plots.NAMES["dash"])
    assert line.get_xdata() == pytest.approx([250, 750])
    assert line.get_ydata() == pytest.approx([2, 2])
    assert ax.get_yscale() == scale
    assert ax.get_title() == plots.METRICS[metric]


def test_sweep_draws_one_run_a_row_within_fixed_limits():
    guidance = {
        "teacher": {"1": {"frechet": 90.0, "accuracy": 0.7}},
        "composite": {"1": {"frechet": 500.0, "accuracy": 0.9}},
    }
    distance, accuracy = clothes.sweep(guidance).axes
    assert drawn(distance, plots.NAMES["composite"]).get_ydata() == pytest.approx([500])
    assert drawn(accuracy, plots.NAMES["teacher"]).get_ydata() == pytest.approx([0.7])
    assert distance.get_ylim() == (70, 320)
    ticks = [label.get_text() for label in distance.get_yticklabels()]
    assert ticks == ["80", "100", "150", "200", "300"]


def test_weightings_draw_both_cosines_and_the_mean_ratio():
    cos = [np.array([0.1, 0.4]), np.array([0.3, 0.5])]
    ratios = {"cond_mse": np.array([[1.0, 2.0], [3.0, 4.0]]), "gap_mse": np.array([[5.0, 6.0]])}
    direction, error = clothes.weightings([0, 50], cos, ratios).axes
    for curve, name in zip(cos, clothes.WEIGHTINGS, strict=True):
        assert drawn(direction, name).get_xdata() == pytest.approx([25, 75])
        assert drawn(direction, name).get_ydata() == pytest.approx(curve)
    assert drawn(error, "conditional").get_ydata() == pytest.approx([2, 3])
    assert drawn(error, "gap").get_ydata() == pytest.approx([5, 6])
    shaded = error.collections[0].get_paths()[0].vertices
    assert (shaded[:, 1].min(), shaded[:, 1].max()) == (1, 4)
    assert error.get_yscale() == "log"
