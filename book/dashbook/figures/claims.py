"""Figures of the ledger of claims: lengths of gaps beside the paper's, and rivals beside DASH."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dashbook import plots
from dashbook.measurements import Estimate
from dashbook.rules import holds

SHADES = ("0.78", "0.87", "0.95")  # of the groups of gaps, from the shortest
JUDGED = {True: "#0072B2", False: "#D55E00", None: "#8A8A8A"}  # agrees, disagrees, undecided
DISTANCES = [0.5, 1, 2, 5, 10, 30, 100]


def _shade_groups(ax: Axes, groups: Mapping[str, tuple[float, float]], top: float) -> None:
    for (name, ends), shade in zip(groups.items(), SHADES, strict=True):
        ax.axvspan(*ends, color=shade, lw=0, zorder=0)
        ax.text(ends[0] * 1.04, top - 0.15, name, fontsize=9, va="top")


def gap_lengths(
    published: Mapping[str, tuple[float, float]],
    groups: Mapping[str, tuple[float, float]],
    measured: Mapping[str, Sequence[float]],
) -> Figure:
    """Lengths of gaps (rho): the paper's as bars, ours as points, the paper's groups shaded.

    ``published[row]`` holds the bar's ends, ``groups[name]`` those of a group (three of them, from
    the shortest gaps), ``measured[row]`` the seeds.
    """
    figure, grid = plots.axes(size=(7.4, 4.2))
    ax = grid[0, 0]
    _shade_groups(ax, groups, len(published))
    for y, (row, ends) in enumerate(published.items()):
        ax.plot(ends, [y + 0.2] * 2, "k|-", lw=3, ms=9)
        ax.plot(measured[row], [y - 0.15] * len(measured[row]), "o", ms=7, color=plots.color(row))
    ax.set(xscale="log", xlim=(0.06, 6), ylim=(-0.6, len(published) - 0.1))
    ax.set_xlabel("ρ: length of the gap, teacher's = 1")
    ax.set_xticks([0.1, 0.2, 0.5, 1, 2, 5], ["0.1", "0.2", "0.5", "1", "2", "5"])
    ax.set_yticks(range(len(published)), [plots.NAMES[row] for row in published])
    return figure


def excess_forest(found: Mapping[str, Estimate], errors: float) -> Figure:
    """Each rival's Frechet distance over DASH's, give or take so many standard errors.

    ``found[row]``: the :func:`dashbook.measurements.frechet_excess` of a row over DASH.
    """
    figure, grid = plots.axes(size=(6.4, 3.7))
    ax = grid[0, 0]
    for y, excess in enumerate(found.values()):
        base, shade = excess.parts[1].mean, JUDGED[holds("above 0", excess, errors)]
        ends = [1 + (excess.value + sign * errors * excess.error) / base for sign in (-1, 1)]
        ax.plot(np.clip(ends, 0.01, None), [y, y], color=shade)
        ax.plot(1 + excess.value / base, y, "o", color=shade)
    ax.axvline(1, color="black", lw=1)
    ax.set(xscale="log", xlim=(0.3, 150), xlabel="FD / FD of DASH")
    ax.set_xticks(DISTANCES, ["½", *(f"{d:g}" for d in DISTANCES[1:])])
    ax.set_yticks(range(len(found)), [plots.NAMES[row] for row in found], fontsize=9)
    ax.set_ylim(-0.6, len(found) - 0.4)
    ax.minorticks_off()
    return figure
