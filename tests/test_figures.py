"""Figures of single chapters: what is drawn is what was given."""

import pytest

from dashbook import plots
from dashbook.figures import claims
from dashbook.measurements import Estimate, Part


def excess(value: float, error: float, base: float = 10.0) -> Estimate:
    parts = (Part("row", (base + value,), (0,)), Part("dash", (base,), (0,)))
    return Estimate(value, error, parts)


def test_rivals_are_drawn_over_dash_in_the_colour_of_the_judgement() -> None:
    found = {"scratch": excess(5, 1), "composite": excess(-5, 1), "cond_only": excess(1, 5)}
    (ax,) = claims.excess_forest(found, 2).axes
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    assert [dot.get_xdata().item() for dot in dots] == [1.5, 0.5, 1.1]
    assert [dot.get_color() for dot in dots] == [claims.JUDGED[k] for k in (True, False, None)]
    bars = [line for line in ax.lines if len(set(line.get_xdata())) == 2]
    assert bars[0].get_xdata() == pytest.approx([1.3, 1.7])
    assert ax.get_yticklabels()[0].get_text() == plots.NAMES["scratch"]


def test_gap_lengths_shows_every_seed_beside_the_papers_bar() -> None:
    published = {"cond_only": (0.08, 0.09), "dash": (0.89, 0.91)}
    groups = {"collapsed": (0.06, 0.35), "shortened": (0.35, 0.85), "kept": (0.85, 1.18)}
    measured = {"cond_only": (2.0, 2.1), "dash": (0.9,)}
    ax = claims.gap_lengths(published, groups, measured).axes[0]
    bars = [tuple(line.get_xdata()) for line in ax.lines if line.get_marker() == "|"]
    assert bars == list(published.values())
    dots = [tuple(line.get_xdata()) for line in ax.lines if line.get_marker() == "o"]
    assert dots == [(2.0, 2.1), (0.9,)]
    assert [text.get_text() for text in ax.texts] == list(groups)
