r"""Map where a student's gap is right, and repair it without training: rescale it at sampling.

A *map* has a row for each of ``bins`` equal ranges of timesteps and a column for each class.  For
the branches S of a student and T of its teacher on the same noisy images, with the gaps g and the
error :math:`e_u = S_u - T_u` of the unconditional branch, least squares gives

.. math:: a = \frac{E[g_S \cdot g_T]}{E|g_S|^2}, \qquad c = -\frac{E[g_S \cdot e_u]}{E|g_S|^2},

over all timesteps or over each range of them, a(t) and c(t).

* ``eps_u + w(t) a(t) gap``: the *gap repair*; ``a g_S`` is the multiple closest to ``g_T``.
* ``eps_u + (w(t) a(t) + c(t)) gap``: the *output repair*; for every w, ``v = w a + c`` brings the
  student's output ``S_u + v g_S`` closest to the teacher's ``T_u + w g_T``.

With ``e_u = 0`` they agree (c = 0); with ``e_c = 0``, c = 1 - a.  Both only rename the dial.

Coefficients are fitted on noisy *held-out* images, samples scored against the *training* images.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from dashbook import plots
from dashlib import results
from dashlib.guidance import Branches, GuidanceSchedule, Interval
from dashlib.metrics import NoisyPairs, Stats, summarise_by
from dashlib.recipes import DIGITS, GUIDANCE, HEADLINE, ROWS, SEEDS, TABLE
from dashlib.runs.scoring import SAMPLES
from dashlib.schedule import Schedule

Map = dict[str, Tensor]
Entry = dict[str, Any]
T = 1000  # timesteps
COMMAND = "python -m benchmarks.repair"
BINS, PAIRS, FIT_SEED = 20, 10_000, 0
SCALES = ("1.5", "4", "TAG")  # guidance that is repaired
INTERVALS = {
    f"w = {w}, {low} to {high}": Interval(w, low, high)
    for low, high in ((0, 500), (200, 800))
    for w in (2, 4)
}
# Kinds of repair: what is fitted, over all timesteps at once or over each of BINS ranges.
KINDS = {"a": "a*", "a_t": "a*(t)", "ac": "a*, c*", "ac_t": "a*(t), c*(t)"}
MAPPED = {  # metric: title, colours, limits of what is coloured
    "rho": ("ρ (colour: its logarithm)", "RdBu_r", (-2, 2)),
    "cos": ("cos", "viridis", (0, 1)),
    "a_star": ("a*", "RdBu", (0, 2)),
}


def gap_maps(stats: Stats, noisy: NoisyPairs, *, bins: int = 10, classes: int = 10) -> Map:
    """Every summary of :func:`dashlib.metrics.summarise` as a map, ``(bins, classes)``, float64.

    ``stats`` are those of :func:`dashlib.metrics.pair_stats` for the pairs ``noisy``; a cell
    without pairs has ``n = 0`` and is nan otherwise.
    """
    cells = summarise_by(stats, noisy.t * bins // T * classes + noisy.y)
    empty = dict.fromkeys(next(iter(cells.values())), math.nan) | {"n": 0}
    rows = [cells.get(cell, empty) for cell in range(bins * classes)]
    maps = {key: torch.tensor([row[key] for row in rows]).double() for key in empty}
    return {key: values.view(bins, classes) for key, values in maps.items()}


def errors(stats: Stats, noisy: NoisyPairs, schedule: Schedule) -> dict[str, np.ndarray]:
    """Root-mean-square errors up to t = 970 in BINS ranges, the last in the predicted image."""
    inside, moved = noisy.t <= 970, stats["common_mse"] / schedule.snr(noisy.t)
    kept = {key: v[inside] for key, v in (stats | {"moved": moved}).items()}
    ranges = summarise_by(kept, noisy.t[inside] * BINS // T).values()
    keys = {"gap error": "gap_mse", "common error": "common_mse"}
    keys["common error in the image"] = "moved"
    return {name: np.array([of[key] for of in ranges]) ** 0.5 for name, key in keys.items()}


def shares(values: Tensor) -> tuple[float, float]:
    """Shares of a map's variance, ``(bins, classes)``, between timesteps and between classes."""
    total = values.var(correction=0)
    timesteps, classes = (values.mean(axis).var(correction=0) / total for axis in (1, 0))
    return timesteps.item(), classes.item()


def profile(values: Tensor, bins: int) -> Tensor:
    """Shares of the sum of ``values``, ``(T,)``, in equal ranges of timesteps: ``(bins,)``, sum 1.

    ``ValueError`` unless the values are at least 0, not all of them 0.
    """
    if (values < 0).any() or not values.sum() > 0:
        raise ValueError("a profile needs values of at least 0, and one above")
    return values.double().view(bins, -1).sum(1) / values.double().sum()


def fit(
    student: Branches, teacher: Branches, t: Tensor, *, bins: int = 1
) -> dict[str, list[float]]:
    """Least-squares a and c in equal ranges of t, cleanest first; ``ValueError`` without a gap."""
    of = student.gap, teacher.gap, student.uncond - teacher.uncond
    gap, target, e_u = (v.double().flatten(1) for v in of)
    square, along, off = (
        torch.zeros(bins).double().index_add(0, t * bins // T, (gap * v).sum(1))
        for v in (gap, target, e_u)
    )
    if empty := (square == 0).nonzero().flatten().tolist():
        raise ValueError(f"the student has no gap in timestep ranges {empty} of {bins}: use fewer")
    return {"a": (along / square).tolist(), "c": (-off / square).tolist()}


@dataclass(frozen=True)
class Repaired:
    """``w(t) a(t) + c(t)``: any guidance schedule, with a and c for equal ranges of timesteps."""

    schedule: GuidanceSchedule
    a: Sequence[float]
    c: Sequence[float] = (0.0,)

    def __call__(self, t: Tensor) -> Tensor:
        """Guidance scale at t."""
        a, c = (torch.tensor(v, device=t.device)[t * len(v) // T] for v in (self.a, self.c))
        return self.schedule(t) * a + c


def config() -> Entry:
    """Settings that every entry of the report was made with; a change makes all of them stale."""
    return {
        "bins": BINS,
        "pairs": PAIRS,
        "fit_seed": FIT_SEED,
        "fitted_on": "held-out images of the digits split",
        "scored_against": "training images of the digits split",
        "samples": SAMPLES,
        "steps": 50,
        "repaired": {label: repr(GUIDANCE[label]) for label in SCALES},
        "intervals": {label: repr(w) for label, w in INTERVALS.items()},
    }


def path() -> Path:
    """Return the file of the report."""
    return results.root() / "repair" / "digits.json"


def students() -> list[str]:
    """The students to repair: all seeds of the headline rows, one of every other stored row.

    A network that takes w as an input has no gap to repair and is left out.
    """
    stored = set(results.names(DIGITS.name))
    rows = [row for row in TABLE if not ROWS[row].unet.w_conditioned]
    others = [f"{DIGITS.name}/{row}-transfer-s{SEEDS[0]}" for row in rows]
    named = [f"{DIGITS.name}/{row}-transfer-s{seed}" for seed in SEEDS for row in HEADLINE]
    return [*named, *(name for name in others if name in stored)]


def made_with(name: str) -> dict[str, str]:
    """SHA-256 of the weights that an entry depends on: student, teacher, classifier."""
    teacher = results.load(name).config["teacher"]
    parts = {"student": name, "teacher": teacher, "classifier": DIGITS.classifier}
    return {part: results.load(of).files["weights"]["sha256"] for part, of in parts.items()}


def read() -> dict[str, Entry]:
    """The entries that are still right: same settings, same weights.  None without a report.

    ``ValueError`` for a file that is not a report.
    """
    if not path().exists():
        return {}
    try:
        report = json.loads(path().read_text())
        entries, settings = report["entries"], report["config"]
    except (ValueError, KeyError, TypeError) as error:
        how = f"delete it and run `{COMMAND}`"
        raise ValueError(f"{path()} is not a report of repairs ({error!r}): {how}") from error
    known = [name for name in students() if name in entries and settings == config()]
    return {name: entries[name] for name in known if entries[name]["made_with"] == made_with(name)}


def stored() -> dict[str, Entry]:
    """The entries of all students; ``MissingRun`` if one is missing or made with other weights."""
    entries = read()
    if missing := [name for name in students() if name not in entries]:
        fault = f"no repairs of {', '.join(missing)} with their present weights and settings in "
        raise results.MissingRun(f"{fault}{path()}: make them with `{COMMAND}`")
    return entries


def runs(entries: Iterable[str]) -> dict[str, list[results.Run]]:
    """The stored runs of a report's entries by row of the table, both in the report's order."""
    found: dict[str, list[results.Run]] = {}
    for name in entries:
        row = name.removeprefix(f"{DIGITS.name}/").partition("-transfer-s")[0]
        found.setdefault(row, []).append(results.load(name))
    return found


def heat_map(row: str, metric: str, maps: Mapping[str, Map]) -> Figure:
    """A metric of ``MAPPED`` in a row's map, with its numbers; the noisiest range is on top."""
    (title, colors, (low, high)), values = MAPPED[metric], maps[row][metric].numpy()
    figure, ((ax,),) = plots.axes(size=(5.6, 4.2))
    (bins, classes), shade = values.shape, np.log2(values) if metric == "rho" else values
    image = ax.imshow(shade, cmap=colors, vmin=low, vmax=high, origin="lower", aspect="auto")
    light = image.cmap(image.norm(shade))[..., :3] @ (0.3, 0.6, 0.1)
    for (i, k), value in np.ndenumerate(values):
        ink = "black" if light[i, k] > 0.5 else "white"
        number = ax.text(k, i, f"{value:.2f}", ha="center", va="center", fontsize=8, color=ink)
        number.set_in_layout(False)  # it lies inside the axes, and measuring it costs time
    ax.set(title=f"{plots.NAMES[row]}: {title}", xlabel="class", ylabel="first timestep")
    ax.set_xticks(range(classes))
    ax.set_yticks(range(bins), [f"{i * T // bins}" for i in range(bins)])
    ax.grid(False)
    return figure


def energy_and_importance(energy: Tensor, spent: Mapping[str, Tensor]) -> Figure:
    """Profiles over timesteps, each ``(bins,)``: the gap energy as bars, importances as lines."""
    figure, ((ax,),) = plots.axes()
    at = plots.middles(len(energy))
    plots.draw_curves(ax, {name: (at, p.tolist()) for name, p in spent.items()})
    style = {"width": 0.96 * T / len(at), "color": "#cccccc", "zorder": 0}
    ax.bar(at, energy.tolist(), **style)
    ax.set(xlabel="timestep t", ylabel="share", title="TIRT's weight lies left of the gap (grey)")
    plots.name_ends(ax)
    return figure


def scales_given(given: Mapping[str, Mapping[str, Sequence[float]]], w: float = 4) -> Figure:
    """A panel a repair: ``given[title][row]``, a scale a range of timesteps; dashed: w."""
    title = "An output repair gives less guidance at low noise"
    figure, grid = plots.axes(1, len(given), (7.6, 3.8), title)
    for ax, (title, rows) in zip(grid[0], given.items(), strict=True):
        for row, scales in rows.items():
            at, name = plots.middles(len(scales)), plots.NAMES[row]
            ax.plot(at, scales, color=plots.color(row), label=name)
        ax.axhline(w, color="black", lw=1, ls="--")
        ax.sharey(grid[0, 0])
        ax.set(title=title, xlabel="timestep t", ylim=(0, 1.15 * w))
    plots.name_ends(grid[0, -1], 10)
    return figure


def remedies(found: Mapping[tuple[str, str], Mapping[str, np.ndarray]]) -> Figure:
    """A panel a scale: ``found[row, scale][remedy]``, distances of seeds, mean and range."""
    rows, scales = (list(dict.fromkeys(keys)) for keys in zip(*found, strict=True))
    title = "Fréchet distance: two numbers repair what one spoils"
    figure, grid = plots.axes(1, len(scales), (6.4, 4.4), title)
    names = list(found[rows[0], scales[0]])
    for ax, scale in zip(grid[0], scales, strict=True):
        for i, row in enumerate(rows):
            seeds = np.array([*found[row, scale].values()])
            at, shade = np.arange(len(names)) + (i - len(rows) // 2) * 0.2, plots.color(row)
            ax.hlines(at, seeds.min(1), seeds.max(1), color=shade)
            ax.plot(seeds.mean(1), at, "o", color=shade, label=plots.NAMES[row])
        ax.set(xscale="log", title=scale if scale == "TAG" else f"w = {scale}")
        ax.set_yticks(range(len(names)), names if ax is grid[0, 0] else [])
        ax.invert_yaxis()
    plots.legend_below(figure, 3)
    return figure


def reach(sweeps: Mapping[str, np.ndarray], dots: Mapping[str, np.ndarray]) -> Figure:
    """Frechet distance (log) and accuracy, ``(n, 2)`` a row: a line for its dial, and dots."""
    figure, ((ax,),) = plots.axes(size=(6.4, 4.4))
    for row, sweep in sweeps.items():
        ax.plot(*sweep.T, "-", color=plots.color(row), label=plots.NAMES[row])
        ax.plot(*dots[row].T, "o", ms=5, alpha=0.7, color=plots.color(row))
    ax.set(xscale="log", xlim=(5, 120), ylim=(0.6, 1.01))
    ax.set(xlabel="Fréchet distance", ylabel="accuracy", title="A scalar keeps to a student's line")
    plots.name_ends(ax)
    return figure
