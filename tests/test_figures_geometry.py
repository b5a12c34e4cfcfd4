"""Figures in the plane of branch errors: what is drawn is what was given."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from dashbook import geometry, plots
from dashbook.geometry import Moments, unit
from dashlib.guidance import Branches


def labels(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_descent_draws_what_is_left_and_the_hidden_row_dashed() -> None:
    left = {"composite": np.array([1.0, 0.5, 0.5]), "gap_match": np.array([1.0, 0.5, 0.5])}
    left["dash"] = np.array([1.0, 0.1, 0.0])
    ax = geometry.descent(left, dashed="gap_match").axes[0]
    assert ax.get_yscale() == "log"
    assert ax.get_xlim() == (-5, 2)
    assert [line.get_label() for line in ax.lines] == [plots.NAMES[row] for row in left]
    assert [line.get_color() for line in ax.lines] == [plots.color(row) for row in left]
    assert [line.get_linestyle() for line in ax.lines] == ["-", "--", "-"]
    assert list(ax.lines[0].get_xdata()) == [0, 1, 2]
    assert ax.lines[0].get_ydata() == pytest.approx([1, 0.5, 0.5])
    assert ax.lines[2].get_ydata()[-1] > 0, "a logarithm has no zero"


def test_clouds_draw_pixels_ellipses_and_the_null_direction() -> None:
    of = {k: Branches(*torch.randn(2, 5, 1, 4, 4)) for k in ("composite", "dash")}
    figure = geometry.clouds(of, {"composite": unit((3, 4)), "dash": None})
    left, right = figure.axes
    assert len(left.lines[0].get_xdata()) == 5 * 16 / 10
    assert (len(left.lines), len(right.lines)) == (3, 2), "a null direction on the left only"
    assert to_rgb(left.lines[1].get_color()) == to_rgb(plots.color("composite"))


def test_ellipses_are_as_wide_as_the_errors() -> None:
    rows = {"dash": Moments(0.04, 0.0, 0.01), "composite": Moments(0.5, 0.4, 0.6)}
    figure = geometry.ellipses(rows, unit((3, 4)), 2.0)
    (ax,) = figure.axes
    assert ax.get_xlim() == (-2.0, 2.0)
    assert ax.lines[1].get_xdata().max() == pytest.approx(0.2)
    assert ax.lines[1].get_ydata().max() == pytest.approx(0.1, rel=1e-3)
    assert labels(figure) == [plots.NAMES[row] for row in rows]
