"""Figures of the playground: what is drawn is what was given."""

import numpy as np
import pytest
import torch
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb
from matplotlib.contour import QuadContourSet
from matplotlib.quiver import Quiver

from dashbook import playground, plots
from dashbook.playground import ExactDenoiser, pinwheel
from dashlib.guidance import Guided
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
    (dots,) = found(ax, PathCollection)
    torch.testing.assert_close(at(dots), points.x.flatten(1))
    shades = [to_rgb(color[:3]) for color in dots.get_facecolors()]
    assert shades == [to_rgb(playground.SHADES[k]) for k in points.y]
    assert len(found(ax, QuadContourSet)) == 3
    assert ax.get_title() == "title"


def test_an_outline_is_a_line_of_equal_density(exact):
    _, grid = plots.axes()
    playground._outline(grid[0, 0], exact.mixture, 1, 1.05, "black", 1.0)
    (contours,) = found(grid[0, 0], QuadContourSet)
    _, _, lattice = playground._lattice(1.05, 60)
    label = torch.ones(len(lattice)).long()
    top = exact.mixture.log_density(lattice, label).exp().max().item()
    assert contours.levels == pytest.approx([share * top for share in playground.HEIGHTS])
    line = torch.tensor(contours.get_paths()[1].vertices)
    density = exact.mixture.log_density(line, torch.ones(len(line)).long()).exp()
    assert density.numpy() == pytest.approx(0.4 * top, rel=0.05)


def test_guided_flow_draws_the_guided_field_and_the_points(exact, points):
    (ax,) = playground.guided_flow(exact, points.x, 4.0, 400).axes
    (arrows,) = found(ax, Quiver)
    half = ax.get_xlim()[1]
    where = torch.tensor(arrows.XY).float()
    eps = Guided(exact, torch.zeros(169).long(), 4.0)(where, torch.full((169,), 400))
    shown = np.stack([arrows.U, arrows.V], axis=1).reshape(169, 2)
    assert shown == pytest.approx(-eps.numpy() / (2.2 * half), rel=1e-4, abs=1e-5)
    torch.testing.assert_close(at(found(ax, PathCollection)[0]), points.x.flatten(1))
    assert ax.get_title() == "w = 4, t = 400"
    shades = [to_rgb(lines.get_edgecolor()[0][:3]) for lines in found(ax, QuadContourSet)]
    assert shades == [to_rgb("#BBBBBB")] * 2 + [to_rgb(playground.SHADES[0])]


def test_beside_exact_says_the_distance_and_keeps_far_points_on_the_edge(exact, points):
    def student(x_t, t, y):
        return torch.ones_like(x_t)

    student.null_label = 3
    far = points.x + torch.tensor([3.0, 4.0])[:, None, None]
    figure = playground.beside_exact("dash", 1.0, (exact, student), (points.x, far), points.y)
    left, right = figure.axes
    theirs, ours = found(left, Quiver)
    assert torch.as_tensor(ours.U).allclose(torch.tensor(-1 / 2.2))
    assert theirs.U.std() > 0
    assert to_rgb(ours.get_facecolor()[0][:3]) == to_rgb(plots.color("dash"))
    assert left.get_title() == plots.NAMES["dash"]
    assert right.get_title() == "w = 1: endpoint distance 5.00"
    goal, drawn = found(right, PathCollection)
    torch.testing.assert_close(at(goal), points.x.flatten(1))
    torch.testing.assert_close(at(drawn), torch.full((4, 2), playground.EDGE))


def test_a_distance_that_is_huge_has_no_decimals(exact, points):
    far = points.x + torch.tensor([3000.0, 4000.0])[:, None, None]
    figure = playground.beside_exact("dash", 2.0, (exact, exact), (points.x, far), points.y)
    assert figure.axes[1].get_title() == "w = 2: endpoint distance 5,000"
