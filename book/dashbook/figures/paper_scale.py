"""Figures of the paper's scale: what networks cost along the number of GPUs."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dashbook import plots
from dashbook.cost_report import span

COLORS = {"teacher": plots.COLORS["teacher"], "student": plots.COLORS["dash"]}


def _draw_ends(
    ax: Axes, gpus: Sequence[int], ends: Mapping[str, np.ndarray], at: int, digits: int
) -> None:
    """Both ends of each network's range as lines, and dots at one number of GPUs."""
    for name, values in ends.items():
        here = sorted(values[gpus.index(at)])
        for end, style in zip(values.T, ("-", "--"), strict=True):
            ax.plot(gpus, end, style, color=COLORS[name], lw=1.5)
        label = f"{name}: {span(here, digits)}"
        ax.plot([at] * 2, here, "o", color=COLORS[name], label=label)
    ax.set(xlabel="GPUs", xscale="log", xticks=gpus, xticklabels=gpus)
    ax.axvline(at, color="#999999", lw=1, zorder=0)
    ax.minorticks_off()


def scaling(
    title: str,
    gpus: Sequence[int],
    hours: Mapping[str, np.ndarray],
    efficiency: Mapping[str, np.ndarray],
    at: int,
    ticks: Sequence[float],
) -> Figure:
    """Hours on the clock (log scale), and the share of speed kept, against the number of GPUs.

    ``hours[name]`` and ``efficiency[name]``, shape ``(len(gpus), 2)``, hold the two ends of what is
    calculated for ``teacher`` and ``student``: solid, then dashed.  The ranges at ``at`` GPUs, one
    of ``gpus``, are marked and written out; ``ticks`` are those of the hours.
    """
    figure, grid = plots.axes(1, 2, size=(7.6, 3.5))
    clock, share = grid[0]
    _draw_ends(clock, gpus, hours, at, digits=1)
    _draw_ends(share, gpus, efficiency, at, digits=2)
    clock.set(title=f"{title}: hours on the clock", yscale="log")
    clock.set_yticks(ticks, [f"{t:g}" for t in ticks])
    clock.set_ylim(ticks[0] / 1.5, ticks[-1] * 2)
    share.set(title=f"efficiency on {at} GPU{'s' * (at > 1)}", ylim=(0, 1.45))
    clock.legend(fontsize=9)
    share.legend(fontsize=9, loc="upper right")
    return figure
