"""Figures of TIRT Transfer: what is drawn is what was given."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from dashbook import plots, tirt
from dashlib.schedule import Schedule
from dashlib.weighting import TIRT


def labels(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_signs_shade_what_is_harder_than_the_mean() -> None:
    hard = torch.arange(1000).flip(0).float()  # 999, 998, ..., 0
    figure = tirt.signs({"TIRT": hard, "uniform": 2 * hard}, 899.0, -hard)
    above, below = figure.axes
    first, second, level = above.lines
    assert first.get_xydata()[0].tolist() == [10, hard[:20].mean()]
    assert second.get_ydata() == pytest.approx(2 * first.get_ydata())
    assert list(level.get_ydata()) == [899, 899]
    assert below.lines[0].get_ydata().tolist() == (-hard).tolist()
    shaded = [ax.patches[0].get_x() + ax.patches[0].get_width() for ax in (above, below)]
    assert shaded == [100, 100]
    assert labels(figure) == ["TIRT", "uniform", "L, TIRT"]


def test_after_draws_lambda_its_importance_and_the_start() -> None:
    lam = torch.linspace(-0.5, 1, 1000)
    left, right = tirt.after(lam, 0.25).axes
    start, now = left.lines
    assert now.get_ydata().tolist() == lam.tolist()
    assert not np.any(start.get_ydata())
    omega = TIRT(Schedule()).base * torch.sigmoid(lam)
    assert right.lines[1].get_ydata() == pytest.approx((omega / omega.mean()).numpy(), rel=1e-5)
    assert right.lines[0].get_ydata().mean() == pytest.approx(1, rel=1e-5)
    assert to_rgb(now.get_color()) == to_rgb(plots.CYCLE[0])
    assert left.get_title() == "λ after 25% of training"


def test_curves_are_means_of_twenty_neighbours_in_the_middle_of_theirs() -> None:
    x, y = tirt.smoothed(torch.arange(1000).float())
    assert (x[:2], y[:2], len(x)) == ([10, 30], [9.5, 29.5], 50)


def test_importance_names_its_value() -> None:
    curves = {"TIRT": torch.tensor([0.5, 1.5]), "uniform": torch.ones(2)}
    ax = tirt.importance_at(1, curves).axes[0]
    assert labels(ax.figure) == ["TIRT: 1.50", "uniform: 1.00"]
    lines, dots = ax.lines[:2], ax.lines[2:4]
    assert [list(line.get_ydata()) for line in lines] == [[0.5, 1.5], [1, 1]]
    assert [(dot.get_xdata()[0], float(dot.get_ydata()[0])) for dot in dots] == [(1, 1.5), (1, 1)]
    assert [dot.get_color() for dot in dots] == [line.get_color() for line in lines]
    assert ax.get_title() == "t = 1"
