"""Figures of dual-branch distillation: what is drawn is what was given."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from dashbook import plots
from dashbook.figures import dual_branch
from dashlib.sampling import Iterate


def test_turning_error_points_where_it_says_and_marks_every_loss_there() -> None:
    losses = {"cond_only": [1.0, 0.5, 0.0], "dash": [1.0, 1.0, 1.0]}
    figure = dual_branch.turning_error(90, [0, 45, 90], losses)
    plane, loss = figure.axes
    assert plane.texts[0].xy == pytest.approx((0, 1))
    blind, dot, dash, _ = loss.lines
    assert blind.get_ydata().tolist() == [1.0, 0.5, dual_branch.LEAST]
    assert (dot.get_xdata().item(), dot.get_ydata().item()) == (90, dual_branch.LEAST)
    assert dash.get_color() == plots.color("dash")
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == [plots.NAMES[row] for row in losses]


def test_loss_terms_lie_in_the_middle_of_their_steps() -> None:
    figure = dual_branch.loss_terms({"live": {"anchor": [3.0, 2.0]}, "stored": {}}, every=20)
    left, right = figure.axes
    assert left.lines[0].get_xydata().tolist() == [[10, 3], [30, 2]]
    assert (left.get_title(), right.get_title()) == ("live", "stored")
    assert left.get_yscale() == "log"


def test_branch_plane_fills_one_weighting_and_names_it_once() -> None:
    points = {
        ("dash", "transfer"): ([0.1, 0.2], [0.3, 0.4]),
        ("dash", "uniform"): ([0.5, 0.6], [0.7, 0.8]),
    }
    ax = dual_branch.branch_plane(points, filled="transfer").axes[0]
    full, empty = ax.lines[:2]
    assert empty.get_xydata().tolist() == [[0.5, 0.7], [0.6, 0.8]]
    assert to_rgb(full.get_markerfacecolor()) == to_rgb(plots.color("dash"))
    assert to_rgb(empty.get_markerfacecolor()) == (1, 1, 1)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [plots.NAMES["dash"]]


def test_pictures_are_labelled_with_the_distance_of_all_of_them() -> None:
    teacher = torch.zeros(4, 1, 2, 2)
    student = torch.tensor([0.0, 0.0, 0.6, 0.8])[:, None, None, None].expand(4, 1, 2, 2)
    figure = dual_branch.from_one_noise({"teacher": teacher, "composite": student}, shown=2)
    first, second = figure.axes
    assert (first.get_ylabel(), second.get_ylabel()) == ("Teacher", "Composite  0.50")
    assert first.images[0].get_array().shape == (2, 5), "two pictures and a line between them"


def path(*ends: float) -> list[Iterate]:
    """Iterates of two images, whose predicted images are the negative of their states."""
    states = [torch.full((2, 1, 2, 2), end) for end in ends]
    return [Iterate(i, 9 - i, x, -x, x, x) for i, x in enumerate(states)]


def test_along_the_way_shows_predictions_and_the_distance_of_states() -> None:
    paths = {"teacher": path(0.0, 0.0, 0.0), "dash": path(0.1, 0.2, 0.3)}
    teacher, dash = dual_branch.along_the_way(paths, 5).axes
    assert (teacher.get_ylabel(), dash.get_ylabel()) == ("Teacher  0.00", "DASH  0.20")
    shown = np.asarray(dash.images[0].get_array())
    assert shown[:, :2] == pytest.approx(-0.2)
    last = dual_branch.along_the_way(paths, 10).axes[1]
    assert last.get_ylabel() == "DASH  0.30"
