"""Figures of the collapse's chapter: what is drawn is what was given."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from dashbook import plots
from dashbook.figures import collapse
from dashbook.geometry import guided_error


def shades(figure: Figure) -> list[float]:
    """The first pixel of every row of images."""
    return [float(ax.images[0].get_array()[0, 0]) for ax in figure.axes]


@pytest.mark.parametrize("w", [1.0, 4.0, 8.0])
def test_the_blind_line_is_where_the_guided_error_is_zero(w) -> None:
    (ax,) = collapse.blind_line(w).axes
    cond_only, composite, dash = ax.lines
    assert list(cond_only.get_xdata()) == [0, 0]
    e_c, e_u = composite.get_xy2()
    assert guided_error(e_c, e_u, w) == pytest.approx(0)
    assert composite.get_xy1() == (0, 0)
    assert (dash.get_xdata(), dash.get_ydata()) == ([0], [0])
    colors = [line.get_color() for line in ax.lines]
    assert colors == [plots.color(row) for row in ("cond_only", "composite", "dash")]
    assert ax.get_legend().get_texts()[1].get_text() == f"composite, w = {w:g}"


def test_images_are_in_the_row_of_their_scale() -> None:
    values, scales = torch.tensor([0.1, 0.4, 0.2, 0.5]), torch.tensor([1, 4, 1.5, 4])
    figure = collapse.rows_by_scale(values[:, None, None, None].expand(-1, 1, 3, 3), scales)
    assert [ax.get_ylabel() for ax in figure.axes] == ["w = 1", "w = 1.5", "w = 4"]
    assert shades(figure) == pytest.approx([0.1, 0.2, 0.4])
    widths = [ax.images[0].get_array().shape[1] for ax in figure.axes]
    assert widths == [3, 3, 7], "two images at the last scale, with one pixel between"


def test_gap_while_training_draws_rho_against_steps_and_the_ideal() -> None:
    gaps = {"usual": {1: {"rho": 0.8}, 160: {"rho": 1.5}}, "small": {1: {"rho": 0.1}}}
    usual, small, ideal = collapse.gap_while_training(gaps).axes[0].lines
    assert usual.get_xydata().tolist() == [[1, 0.8], [160, 1.5]]
    assert small.get_xydata().tolist() == [[1, 0.1]]
    assert small.get_label() == "small"
    assert list(ideal.get_ydata()) == [1, 1]


def test_guided_errors_have_the_colours_and_names_of_their_objectives() -> None:
    errors = {"composite": [0.3, 0.01], "dash": [0.02, 0.03]}
    (ax,) = collapse.guided_errors([1, 4], errors).axes
    for line, (row, values) in zip(ax.lines, errors.items(), strict=True):
        assert line.get_xydata().tolist() == np.transpose([[1, 4], values]).tolist()
        assert (line.get_label(), line.get_color()) == (plots.NAMES[row], plots.color(row))
    assert ax.get_yscale() == "log"


def test_samples_stand_beside_their_distance() -> None:
    samples = {"teacher": torch.zeros(3, 1, 4, 4), "composite": torch.full((3, 1, 4, 4), 0.5)}
    figure = collapse.samples_with_distance(samples, {"composite": 208.6, "teacher": 3.6})
    names = [ax.get_ylabel() for ax in figure.axes]
    assert names == ["Teacher\nFD 4", "Composite\nFD 209"]
    assert shades(figure) == [0, 0.5]
