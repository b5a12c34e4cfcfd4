"""Figures of the teacher: the forward process, guidance over time, and the clamp rules."""

from collections.abc import Mapping, Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from dashbook import plots
from dashlib.guidance import Interval
from dashlib.sampling import Iterate


def over_signal(images: Tensor, alpha_bar: Tensor, t: int, title: str) -> Figure:
    """Noisy images ``(N, C, H, W)`` above the signal left at all timesteps, marked at t."""
    figure, ((above,), (below,)) = plots.axes(2, 1, size=(6.0, 3.4))
    plots.draw_images(above, images, len(images), title)
    below.plot(alpha_bar)
    below.plot([t], [alpha_bar[t]], "o", markersize=9)
    below.set(xlabel="timestep t", ylabel="$\\bar\\alpha_t$")
    return figure


def within_interval(
    images: Mapping[tuple[int, int], Tensor], low: int, high: int, w: float = 4.0
) -> Figure:
    """Images guided by w for ``low <= t < high``, between unguided and always guided ones; w(t).

    ``images[low, high]`` are ten images each, ``(10, C, H, W)``; ``(0, 0)`` and ``(0, 1000)`` are
    the rows above and below.
    """
    figure, ((above,), (below,)) = plots.axes(2, 1, size=(5.6, 3.8))
    rows = torch.cat([images[ends] for ends in ((0, 0), (low, high), (0, 1000))])
    plots.draw_images(above, rows, 10, f"rows: w = 1, this interval, w = {w:g}")
    below.plot(Interval(w, low, high)(torch.arange(1000)))
    below.set(xlabel="timestep t", ylabel="w", ylim=(0, w + 0.5))
    return figure


def two_rules(kept: Iterate, redone: Iterate, unexplained: Sequence[float]) -> Figure:
    """One step under *clamp* and *recompute*: images, and what is ``unexplained`` of x_t."""
    rows: dict[str, Tensor] = {}
    for rule, step in (("clamp", kept), ("recompute", redone)):
        rows |= {f"{rule}, $x_t$": step.x_t, f"{rule}, $\\hat x_0$": step.x0}
    figure = plots.image_rows(rows, size=(6.2, 2.8))
    left = [f"{r:.3f}" for r in unexplained]
    figure.suptitle(f"t = {kept.t}:  unexplained {left[0]} (clamp), {left[1]} (recompute)")
    return figure


def noise_sizes(
    t: Sequence[int], sizes: Mapping[tuple[str, str, int], Sequence[float]], teachers: Sequence[str]
) -> Figure:
    """The noise that each step used, ``sizes[teacher, rule, w]``, at t: a panel a teacher."""
    figure, grid = plots.axes(1, len(teachers), size=(7.6, 3.2))
    styles = {("clamp", 4): "-", ("clamp", 1): ":", ("recompute", 4): "-"}
    for ax, name in zip(grid[0], teachers, strict=True):
        for (rule, w), style in styles.items():
            shade, label = plots.CYCLE[rule == "clamp"], f"{rule}, w = {w}"
            ax.plot(t, sizes[name, rule, w], style, color=shade, label=label)
        ax.set(title=name, xlabel="timestep t", ylim=(0, 2.6))
    grid[0, 0].legend(loc="lower right")
    return figure
