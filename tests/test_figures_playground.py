"""Figures of the playground: what is drawn is what was given."""

import numpy as np
import pytest
import torch
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb
from matplotlib.contour import QuadContourSet

from dashbook import playground
from dashbook.playground import ExactDenoiser, pinwheel
from dashlib.schedule import Schedule


@pytest.fixture
def exact():
    return ExactDenoiser(pinwheel(), Schedule())


@pytest.fixture
def points(exact):
    y = torch.tensor([2, 0, 1, 0])
    return exact.mixture.sample(y)


def found(ax, kind):
    """List what of a kind is drawn, in order."""
    return [artist for artist in ax.collections if isinstance(artist, kind)]


def at(dots):
    return torch.tensor(np.asarray(dots.get_offsets())).float()


def test_classes_draws_every_point_in_the_colour_of_its_class(exact, points):
    (ax,) = playground.classes(exact.mixture, points, "title").axes
    for k, dots in enumerate(found(ax, PathCollection)):
        torch.testing.assert_close(at(dots), points.x[points.y == k].flatten(1))
        assert to_rgb(dots.get_facecolors()[0][:3]) == to_rgb(playground.SHADES[k])
    assert len(found(ax, QuadContourSet)) == 3
    assert ax.get_title() == "title"


def test_an_outline_is_a_line_of_equal_density(exact, points):
    (ax,) = playground.classes(exact.mixture, points, "title").axes
    contours = found(ax, QuadContourSet)[1]
    side = torch.linspace(-playground.EDGE, playground.EDGE, 60)
    lattice = torch.cartesian_prod(side, side)
    label = torch.ones(len(lattice)).long()
    top = exact.mixture.log_density(lattice, label).exp().max().item()
    assert contours.levels == pytest.approx([share * top for share in playground.HEIGHTS])
    line = torch.tensor(contours.get_paths()[1].vertices)
    density = exact.mixture.log_density(line, torch.ones(len(line)).long()).exp()
    assert density.numpy() == pytest.approx(0.4 * top, rel=0.05)
