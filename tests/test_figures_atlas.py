"""Figures of the gap atlas: what is drawn is what was given."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from dashbook import atlas, plots


def labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def heat(metric, values):
    return atlas.heat_map("dash", metric, {"dash": {metric: torch.tensor(values).double()}})


def test_a_map_has_its_numbers_the_noisiest_range_on_top():
    figure = heat("cos", [[0.0, 1.0], [0.5, 0.25], [0.75, 0.125]])
    ax = figure.axes[0]
    (image,) = ax.images
    assert image.get_array().tolist() == [[0, 1], [0.5, 0.25], [0.75, 0.125]]
    assert image.origin == "lower"
    assert image.get_clim() == (0, 1)
    numbers = {text.get_position(): text.get_text() for text in ax.texts}
    assert numbers[1, 0] == "1.00"
    assert numbers[0, 2] == "0.75"
    assert [text.get_text() for text in ax.get_yticklabels()] == ["0", "333", "666"]
    assert ax.get_title() == "DASH: cos"


def test_the_numbers_of_a_map_stand_out_from_their_cells():
    dark, light = heat("cos", [[0.0, 1.0]]).axes[0].texts
    assert (dark.get_color(), light.get_color()) == ("white", "black")


def test_twice_too_long_and_twice_too_short_are_equally_strong():
    ax = heat("rho", [[0.5, 1.0, 2.0]]).axes[0]
    assert ax.images[0].get_array().tolist() == [[-1, 0, 1]]
    assert [text.get_text() for text in ax.texts] == ["0.50", "1.00", "2.00"]


def test_numbers_inside_a_map_do_not_move_it():
    figure = heat("a_star", [[1.0, 2.0]])
    plots.png(figure)
    left_out = figure.axes[0].get_position().bounds
    again = heat("a_star", [[1.0, 2.0]])
    for number in again.axes[0].texts:
        number.set_in_layout(True)
    plots.png(again)
    assert again.axes[0].get_position().bounds == pytest.approx(left_out)


def test_energy_is_bars_and_importance_lines_over_the_same_ranges():
    energy, spent = torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([0.4, 0.3, 0.2, 0.1])
    ax = atlas.energy_and_importance(energy, {"TIRT": spent}).axes[0]
    assert [bar.get_height() for bar in ax.patches] == pytest.approx(energy.tolist())
    assert [bar.get_x() + bar.get_width() / 2 for bar in ax.patches] == [125, 375, 625, 875]
    assert ax.lines[0].get_xdata() == pytest.approx([125, 375, 625, 875])
    assert ax.lines[0].get_ydata() == pytest.approx(spent.tolist())
    assert [text.get_text() for text in ax.texts] == ["TIRT"], "bars are named in the title"


def test_scales_given_are_drawn_by_row_beside_the_scale_asked_for():
    given = {"gap": {"dash": [1, 2], "scratch": [3, 4]}, "output": {"dash": [2, 3]}}
    figure = atlas.scales_given(given | {"output": {"dash": [2, 3], "scratch": [5, 6]}}, w=4)
    left, right = figure.axes
    assert [list(line.get_ydata()) for line in left.lines[:2]] == [[1, 2], [3, 4]]
    assert [list(line.get_ydata()) for line in right.lines[:2]] == [[2, 3], [5, 6]]
    assert list(left.lines[0].get_xdata()) == [250, 750]
    assert left.lines[1].get_color() == plots.color("scratch")
    assert all(set(ax.lines[2].get_ydata()) == {4} for ax in figure.axes)
    assert not left.texts, "named beside the last panel, in the order of the ends"
    assert [text.get_text() for text in right.texts] == ["DASH", "Scratch"]


def test_remedies_show_the_mean_and_range_of_the_seeds():
    found = {
        (row, scale): {"plain": base + np.array([1.0, 2, 6]), "a*": base + np.array([0.0, 0, 0])}
        for row, base in (("dash", 1.0), ("composite", 10.0))
        for scale in ("4", "TAG")
    }
    figure = atlas.remedies(found)
    left, right = figure.axes
    assert (left.get_title(), right.get_title()) == ("w = 4", "TAG")
    means, ranges = left.lines[1], left.collections[1]
    assert means.get_xdata().tolist() == [13, 10]
    assert means.get_linestyle() == "None", "remedies are no steps of a way"
    assert to_rgb(means.get_color()) == to_rgb(plots.color("composite"))
    (plain, _) = ranges.get_segments()
    assert plain[:, 0].tolist() == [11, 16]
    assert [text.get_text() for text in left.get_yticklabels()] == ["plain", "a*"]
    assert {text.get_text() for text in right.get_yticklabels()} == {""}
    assert left.get_xscale() == "log"
    assert labels(figure) == ["DASH", "Composite, w = 4"]


def test_reach_has_a_line_for_the_dial_and_dots_for_the_rest():
    sweeps = {"dash": np.array([[8.0, 0.9], [9.0, 0.99]])}
    dots = {"dash": np.array([[10.0, 0.8], [20.0, 0.7], [30.0, 0.65]])}
    figure = atlas.reach(sweeps, dots)
    line, rest = figure.axes[0].lines
    assert line.get_xydata().tolist() == sweeps["dash"].tolist()
    assert rest.get_xydata().tolist() == dots["dash"].tolist()
    assert (line.get_marker(), rest.get_marker()) == ("None", "o")
    assert line.get_color() == rest.get_color() == plots.color("dash")
    assert [text.get_text() for text in figure.axes[0].texts] == ["DASH"], "named beside it"
