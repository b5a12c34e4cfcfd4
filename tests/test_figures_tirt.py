"""Figures of TIRT Transfer: what is drawn is what was given."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from dashbook import plots
from dashbook.figures import tirt
from dashlib.schedule import Schedule
from dashlib.weighting import TIRT


def labels(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_mass_is_the_share_up_to_each_timestep() -> None:
    weights = {"low": torch.tensor([3.0, 1.0, 0.0, 0.0]), "even": torch.ones(4)}
    figure = tirt.mass(weights)
    low, even = (line.get_ydata().tolist() for line in figure.axes[0].lines)
    assert low == [0.75, 1, 1, 1]
    assert even == [0.25, 0.5, 0.75, 1]
    assert labels(figure) == ["low", "even"]


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


def test_drifts_are_means_of_twenty_neighbours() -> None:
    of = torch.arange(40).float()
    figure = tirt.drifts(of, 2 * of, 0.987, 0.5)
    measured, predicted = figure.axes[0].lines
    assert measured.get_xydata().tolist() == [[10, 9.5], [30, 29.5]]
    assert predicted.get_ydata().tolist() == [19, 59]
    assert figure.axes[0].get_title() == "correlation 0.99; measured = 0.50 × predicted"


def test_every_lambda_is_named() -> None:
    figure = tirt.lambdas({"teacher's": torch.ones(40), "own": torch.zeros(40)})
    assert labels(figure) == ["teacher's", "own"]
    assert figure.axes[0].lines[0].get_ydata().tolist() == [1, 1]


def test_sweep_shades_the_range_of_the_seeds_and_counts_them() -> None:
    figure = tirt.sweep({"TIRT": np.array([[1.0, 4.0], [3.0, 8.0]])}, ("1", "TAG"))
    ax = figure.axes[0]
    assert ax.lines[0].get_ydata().tolist() == [2, 6]
    shaded = ax.collections[0].get_paths()[0].vertices
    assert (shaded[:, 1].min(), shaded[:, 1].max()) == (1, 8)
    assert labels(figure) == ["TIRT (2)"]


def test_ratios_lie_in_the_middle_of_their_ranges() -> None:
    figure = tirt.ratios(np.array([[0.5, 2.0], [1.0, 4.0]]), "title", T=100)
    ax = figure.axes[0]
    assert ax.lines[0].get_xydata().tolist() == [[25, 0.5], [75, 2]]
    assert labels(figure) == ["seed 0", "seed 1"]
    assert (ax.get_title(), ax.get_yscale()) == ("title", "log")
