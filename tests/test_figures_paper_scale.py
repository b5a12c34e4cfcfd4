"""Costs along the number of GPUs: what is drawn is what was given."""

import numpy as np
import pytest

from dashbook.figures import paper_scale

GPUS = (1, 2, 4)
HOURS = {
    "teacher": np.array([[4.0, 8.0], [2.0, 8.5], [1.0, 9.0]]),
    "student": np.array([[2.0, 2.0], [1.0, 3.0], [0.5, 4.0]]),
}
SHARE = {name: 1 / (1 + values / 10) for name, values in HOURS.items()}


def test_both_ends_of_both_networks_are_drawn_and_one_number_of_gpus_is_marked() -> None:
    figure = paper_scale.scaling("a pair", GPUS, HOURS, SHARE, 2, (0.3, 1, 3, 10))
    for ax, given in zip(figure.axes, (HOURS, SHARE), strict=True):
        curves = [line for line in ax.lines if len(line.get_xdata()) == len(GPUS)]
        assert [line.get_linestyle() for line in curves] == ["-", "--"] * 2
        drawn = np.array([line.get_ydata() for line in curves])
        assert drawn == pytest.approx(np.concatenate([given["teacher"].T, given["student"].T]))
        shades = [line.get_color() for line in curves]
        assert shades == [paper_scale.COLORS[name] for name in ("teacher",) * 2 + ("student",) * 2]
        dots = [line for line in ax.lines if line.get_marker() == "o"]
        assert [tuple(dot.get_xdata()) for dot in dots] == [(2, 2)] * 2
        assert [list(dot.get_ydata()) for dot in dots] == [sorted(given[n][1]) for n in given]


def test_the_ranges_are_written_out() -> None:
    clock, share = paper_scale.scaling("a pair", GPUS, HOURS, SHARE, 2, (0.3, 1, 3, 10)).axes
    labels = [text.get_text() for text in clock.get_legend().get_texts()]
    assert labels == ["teacher: 2.0 – 8.5", "student: 1.0 – 3.0"]
    labels = [text.get_text() for text in share.get_legend().get_texts()]
    assert labels == ["teacher: 0.54 – 0.83", "student: 0.77 – 0.91"]
    assert clock.get_title() == "a pair: hours on the clock"
    assert share.get_title() == "efficiency on 2 GPUs"
    assert [text.get_text() for text in clock.get_yticklabels()] == ["0.3", "1", "3", "10"]
    assert clock.get_ylim() == pytest.approx((0.2, 20))


def test_one_gpu_is_singular() -> None:
    share = paper_scale.scaling("a pair", GPUS, HOURS, SHARE, 1, (1, 10)).axes[1]
    assert share.get_title() == "efficiency on 1 GPU"
