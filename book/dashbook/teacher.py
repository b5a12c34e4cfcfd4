"""Figures of the teacher: the clamp rules, and the noise that they use."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from torch import Tensor

from dashbook import plots
from dashlib.sampling import Iterate


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
    figure, grid = plots.axes(1, len(teachers), (7.6, 3.2), "Keeping ε inflates the noise")
    styles = {("clamp", 4): "-", ("clamp", 1): ":", ("recompute", 4): "-"}
    for ax, name in zip(grid[0], teachers, strict=True):
        for (rule, w), style in styles.items():
            shade, label = plots.CYCLE[rule == "clamp"], f"{rule}, w = {w}"
            ax.plot(t, sizes[name, rule, w], style, color=shade, label=label)
        ax.set(title=name, xlabel="timestep t", ylim=(0, 2.6))
    plots.name_ends(grid[0, 0], 10)
    return figure
