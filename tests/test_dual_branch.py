"""Dual-branch distillation: pictures from one noise, ranks, and figures of what is given."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from matplotlib.colors import to_rgb
from torch import Tensor

from dashbook import dual_branch, plots
from dashbook.paper import NAMES
from dashbook.tables import DASHES
from dashlib.recipes import DIGITS
from dashlib.sampling import Iterate


def test_branch_plane_fills_one_weighting_and_names_it_once() -> None:
    points = {
        ("dash", "transfer"): ([0.1, 0.2], [0.3, 0.4]),
        ("dash", "uniform"): ([0.5, 0.6], [0.7, 0.8]),
    }
    ax = dual_branch.branch_plane(points, filled="transfer").axes[0]
    full, empty = ax.lines[:2]
    assert empty.get_xydata().tolist() == [[0.5, 0.7], [0.6, 0.8]]
    assert to_rgb(full.get_markerfacecolor()) == to_rgb(plots.color("dash"))
    assert to_rgb(empty.get_markerfacecolor()) == (1, 1, 1)
    assert [text.get_text() for text in ax.texts] == [NAMES["dash"]]


def path(*ends: float) -> list[Iterate]:
    """Iterates of two images, whose predicted images are the negative of their states."""
    states = [torch.full((2, 1, 2, 2), end) for end in ends]
    return [Iterate(i, 9 - i, x, -x, x, x) for i, x in enumerate(states)]


def run(level: int) -> Any:
    """A run whose pictures at the k-th guidance scale all have the grey level ``level + 10 k``."""
    grey = level + 10 * torch.arange(len(DIGITS.guidance))
    samples = grey.byte()[:, None, None, None, None].expand(-1, 3, 1, 2, 2)
    return SimpleNamespace(name="digits/some", trace={"samples": samples})


def test_stored_pictures_are_those_of_the_scale_in_minus_one_to_one() -> None:
    at = list(DIGITS.guidance).index("4")
    found = dual_branch.stored(run(100), "4")
    assert found.shape == (3, 1, 2, 2)
    assert found.unique().item() == pytest.approx((100 + 10 * at) / 127.5 - 1)
    with pytest.raises(ValueError, match="17"):
        dual_branch.stored(run(100), "17")


def test_rms_is_the_root_of_the_mean_square() -> None:
    ours, theirs = (dual_branch.stored(run(level), "2") for level in (100, 151))
    assert dual_branch.rms(ours, theirs) == pytest.approx(51 / 127.5)
    a, b = torch.zeros(2, 1, 1, 1), torch.tensor([3.0, 4.0])[:, None, None, None]
    assert dual_branch.rms(a, b) == pytest.approx(12.5**0.5)


def test_paths_are_compared_step_by_step_with_the_teachers() -> None:
    def iterate(x_next: Tensor) -> Iterate:
        other = torch.full_like(x_next, 99)
        return Iterate(0, 0, other, other, other, x_next)

    one = torch.ones(2, 1, 2, 2)
    paths = {"teacher": [iterate(one), iterate(2 * one)], "dash": [iterate(one), iterate(5 * one)]}
    assert dual_branch.apart(paths) == {"teacher": [0, 0], "dash": [0, 3]}


def test_objectives_are_ranked_beside_the_paper() -> None:
    distances = {"uniform": {"dash": 3.0, "scratch": 9.0, "composite": 5.0}}
    rhos = {"uniform": {"dash": 0.9, "scratch": 1.0, "composite": 2.346}}
    header, _, *lines = (
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in dual_branch.beside_paper(distances, rhos).splitlines()
    )
    found = {line[0]: dict(zip(header, line, strict=True)) for line in lines}
    ours = [row["ours: rank by FD TAG, uniform"] for row in found.values()]
    theirs = [row["*paper:* rank by FID, CIFAR-10"] for row in found.values()]
    assert (list(found), ours, theirs) == (
        [NAMES[row] for row in rhos["uniform"]],
        ["1", "3", "2"],
        ["1", "3", "2"],
    )
    assert found[NAMES["composite"]]["ours: ρ, uniform"] == "2.35"
    assert found[NAMES["dash"]]["*paper:* ρ"] == "0.91"
    assert found[NAMES["scratch"]]["*paper:* ρ"] == DASHES


def binned(**metrics: list[float]) -> Any:
    """A run with gap metrics in equal ranges of timesteps."""
    starts = [str(1000 * i // 2) for i in range(2)]
    bins = {s: {k: v[i] for k, v in metrics.items()} for i, s in enumerate(starts)}
    return SimpleNamespace(metrics={"gap": {"per_timestep": dict(reversed(bins.items()))}})


def test_per_timestep_draws_bins_in_order() -> None:
    line = dual_branch.per_timestep({"dash": [binned(rho=[1.0, 2.0])]}, "rho").axes[0].lines[0]
    assert list(line.get_xdata()) == [250, 750]
    assert list(line.get_ydata()) == [1.0, 2.0]


def test_per_timestep_draws_mean_and_range_of_the_seeds() -> None:
    seeds = [binned(cond_mse=[value, 1.0]) for value in (0.1, 0.3)]
    ax = dual_branch.per_timestep({"dash": seeds}, "cond_mse").axes[0]
    assert ax.lines[0].get_ydata()[0] == pytest.approx(0.2)
    shaded = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert (shaded.min(), shaded.max()) == pytest.approx((0.1, 1.0))
    assert ax.get_title() == dual_branch.METRICS["cond_mse"]
    assert (ax.get_yscale(), ax.lines[0].get_color()) == ("log", plots.color("dash"))
