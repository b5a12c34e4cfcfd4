"""Figures of the teacher's chapter: what is drawn is what was given."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from dashbook import plots, teacher
from dashlib.sampling import Iterate


def pictures(n: int, value: float = 0.0) -> torch.Tensor:
    return torch.full((n, 1, 4, 4), value)


def drawn(figure: Figure, panel: int = 0) -> np.ndarray:
    return np.asarray(figure.axes[panel].images[0].get_array())


def test_two_rules_are_four_rows_and_two_numbers() -> None:
    def step(x_t: float, x0: float) -> Iterate:
        return Iterate(0, 980, pictures(10, x_t), pictures(10, x0), pictures(10), pictures(10))

    figure = teacher.two_rules(step(0.1, 0.2), step(0.3, 0.4), (0.25, 0))
    assert [drawn(figure, i)[0, 0] for i in range(4)] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    names = [ax.get_ylabel() for ax in figure.axes]
    assert [name.split(",")[0] for name in names] == ["clamp", "clamp", "recompute", "recompute"]
    assert figure.get_suptitle() == "t = 980:  unexplained 0.250 (clamp), 0.000 (recompute)"


def test_noise_sizes_are_drawn_against_t_with_a_dotted_line_for_no_guidance() -> None:
    curves = (("clamp", 4), ("clamp", 1), ("recompute", 4))
    sizes = {(name, *key): [i, 1.0] for name in "ab" for i, key in enumerate(curves)}
    figure = teacher.noise_sizes([999, 0], sizes, ["b", "a"])
    assert [ax.get_title() for ax in figure.axes] == ["b", "a"]
    for ax in figure.axes:
        assert [line.get_ydata()[0] for line in ax.lines] == [0, 1, 2]
        assert [line.get_linestyle() for line in ax.lines] == ["-", ":", "-"]
        assert list(ax.lines[0].get_xdata()) == [999, 0]
        shades = [line.get_color() for line in ax.lines]
        assert shades == [plots.CYCLE[1], plots.CYCLE[1], plots.CYCLE[0]]
    labels = {text.get_text() for text in figure.axes[0].texts}
    assert labels == {"clamp, w = 4", "clamp, w = 1", "recompute, w = 4"}
