"""Figures: pure functions from data to a matplotlib ``Figure``, one style, one colour a method.

Nothing here trains, samples or reads files.  Figures are made without pyplot, so no global state
is left behind; show one in a notebook with :func:`show`.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from cycler import cycler
from IPython.display import Image as NotebookImage
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A8A8A")
STYLE: dict[Any, Any] = {
    "font.size": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e3e3",
    "axes.axisbelow": True,
    "axes.titlesize": 12,
    "axes.prop_cycle": cycler(color=CYCLE),
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "lines.linewidth": 2.0,
    "svg.hashsalt": "dash",
}

# A method keeps its colour through the whole book.  The headline rows and fitnets, multi_w have
# Okabe & Ito's colours; the others were chosen to stay apart also under colour blindness.
COLORS = {
    "teacher": "#000000",
    "dash": "#0072B2",
    "cond_only": "#D55E00",
    "cond_only_dropout": "#009E73",
    "composite": "#CC79A7",
    "scratch": "#8A8A8A",
    "multi_w": "#E69F00",
    "fitnets": "#56B4E9",
    "gap_match": "#5A3A00",
    "gap_match_cond": "#A86B32",
    "pruned": "#14206E",
    "single_head": "#6A1B6A",
    "dash_sampled": "#5E2533",
    "dash_no_un": "#6C63F0",
    "dash_no_an": "#3ED27E",
}
NAMES = {
    "teacher": "Teacher",
    "dash": "DASH",
    "cond_only": "Cond-only",
    "cond_only_dropout": "Cond-only + dropout",
    "composite": "Composite, w = 4",
    "scratch": "Scratch",
    "multi_w": "Multi-w composite",
    "fitnets": "FitNets",
    "gap_match": "Gap match",
    "gap_match_cond": "Gap match + cond-only",
    "pruned": "Magnitude pruning",
    "single_head": "Single head",
    "dash_sampled": "One branch an image",
    "dash_no_un": "DASH without L_un",
    "dash_no_an": "DASH without L_an",
}
METRICS = {
    "rho": "ρ: length of the gap (1 is ideal)",
    "cos": "cos: direction of the gap",
    "a_star": "a*: best rescaling of the gap",
    "gap_mse": "error of the gap",
    "cond_mse": "error of the conditional branch",
    "uncond_mse": "error of the unconditional branch",
}
DPI = 100
READABLE = 6.4  # inches: what is wider is drawn as if it were no wider, so that its text grows


def axes(
    rows: int = 1, columns: int = 1, size: tuple[float, float] = (6.4, 3.6)
) -> tuple[Figure, np.ndarray]:
    """A figure in the book's style and its axes, shape ``(rows, columns)``."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, dpi=DPI, layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
    return figure, grid


def png(figure: Figure, *, colors: int | None = None) -> bytes:
    """The figure as PNG bytes, the same for the same figure; ``colors`` quantises the palette.

    A page shows wide figures scaled down, and a phone most of all.  So one of more than
    ``READABLE`` inches is laid out at that width, with as many pixels as it would have had.
    """
    width, height = figure.get_size_inches()
    shrink = min(1.0, READABLE / width)
    figure.set_size_inches(width * shrink, height * shrink)
    picture = _pixels(figure, DPI / shrink)
    figure.set_size_inches(width, height)
    if colors is not None:
        method = Image.Quantize.MAXCOVERAGE
        picture = picture.quantize(colors, method, kmeans=3, dither=Image.Dither.NONE)
    out = io.BytesIO()
    picture.save(out, format="png", optimize=True)
    return out.getvalue()


def _pixels(figure: Figure, dpi: float) -> Image.Image:
    """The figure as drawn, once: ``savefig`` draws what has a layout twice."""
    with matplotlib.rc_context(STYLE):
        canvas, figure.dpi = FigureCanvasAgg(figure), dpi
        canvas.draw()
    figure.dpi = DPI
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def show(figure: Figure) -> NotebookImage:
    """The figure as a notebook output (a PNG of up to 256 colours)."""
    width = round(figure.get_figwidth() * DPI)
    return NotebookImage(png(figure, colors=256), format="png", width=width)


def color(key: str) -> str:
    """A method's colour, by the objective it was trained with."""
    return COLORS.get(key, "#56B4E9")


def draw_images(ax: Axes, images: Tensor, columns: int, title: str = "") -> None:
    """Draw images ``(N, C, H, W)`` (uint8, or floats in [-1, 1]) as a grid of ``columns``."""
    pixels = images.float() / 127.5 - 1 if not images.is_floating_point() else images
    n, channels, height, width = pixels.shape
    rows = -(-n // columns)
    white = -1.0 if channels == 1 else 1.0  # gray_r: -1 is paper
    shape = (rows * (height + 1) - 1, columns * (width + 1) - 1, channels)
    canvas = np.full(shape, white)
    for i, image in enumerate(pixels.clamp(-1, 1).permute(0, 2, 3, 1).numpy()):
        top, left = i // columns * (height + 1), i % columns * (width + 1)
        canvas[top : top + height, left : left + width] = image
    ax.imshow(canvas[..., 0] if channels == 1 else (canvas + 1) / 2, cmap="gray_r", vmin=-1, vmax=1)
    ax.set(xticks=[], yticks=[], title=title)
    ax.grid(False)
    ax.spines[:].set_visible(False)


def image_grid(images: Tensor, columns: int, title: str = "", width: float = 6.0) -> Figure:
    """One grid of images."""
    rows = -(-len(images) // columns)
    figure, grid = axes(size=(width, width * rows / columns + 0.4))
    draw_images(grid[0, 0], images, columns, title)
    return figure


def image_rows(rows: Mapping[str, Tensor], *, size: tuple[float, float] = (6.4, 4.0)) -> Figure:
    """Labelled rows of images, one above the other: the same column is the same x_T and label."""
    figure, grid = axes(len(rows), 1, size=size)
    for ax, (name, images) in zip(grid[:, 0], rows.items(), strict=True):
        draw_images(ax, images, len(images))
        ax.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=10)
    return figure


def image_grids(
    grids: Mapping[str, Tensor], columns: int, *, size: tuple[float, float] = (7.4, 4.0)
) -> Figure:
    """Titled grids of images side by side: the same place is the same x_T and label."""
    figure, cells = axes(1, len(grids), size=size)
    for ax, (title, images) in zip(cells[0], grids.items(), strict=True):
        draw_images(ax, images, columns, title)
    return figure


def images_over_curve(
    images: Tensor,
    values: Sequence[float],
    at: int,
    *,
    ylabel: str,
    title: str = "",
    size: tuple[float, float] = (6.0, 3.4),
) -> Figure:
    """A row of images above a curve over all timesteps, marked at timestep ``at``."""
    figure, cells = axes(2, 1, size=size)
    draw_images(cells[0, 0], images, len(images), title)
    ax = cells[1, 0]
    ax.plot(values, color=CYCLE[0])
    ax.plot([at], [values[at]], "o", color=CYCLE[1], markersize=9)
    ax.set(xlabel="timestep t", ylabel=ylabel)
    return figure


def lines(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    xlabel: str,
    ylabel: str,
    title: str = "",
    colors: Mapping[str, str] | None = None,
    log: bool = False,
    marker: str = "",
    size: tuple[float, float] = (6.4, 3.6),
) -> Figure:
    """Named curves ``name -> (x, y)`` on one pair of axes."""
    figure, grid = axes(size=size)
    ax = grid[0, 0]
    for i, (name, (x, y)) in enumerate(curves.items()):
        shade = (colors or {}).get(name, CYCLE[i % len(CYCLE)])
        ax.plot(x, y, label=name, color=shade, marker=marker, markersize=5)
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    if log:
        ax.set_yscale("log")
    if len(curves) > 1:
        ax.legend(frameon=False)
    return figure


def panels(
    curves: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]],
    *,
    xlabel: str,
    colors: Mapping[str, str] | None = None,
    log: bool = False,
    size: tuple[float, float] = (7.2, 3.4),
) -> Figure:
    """Titled panels side by side on one vertical scale, ``title -> name -> (x, y)``."""
    figure, grid = axes(1, len(curves), size=size)
    for ax, (title, named) in zip(grid[0], curves.items(), strict=True):
        for i, (name, (x, y)) in enumerate(named.items()):
            ax.plot(x, y, label=name, color=(colors or {}).get(name, CYCLE[i % len(CYCLE)]))
        ax.set(xlabel=xlabel, title=title)
        ax.sharey(grid[0, 0])
    if log:
        grid[0, 0].set_yscale("log")
    grid[0, 0].legend(fontsize=9, frameon=False)
    return figure


def draw_sweep(
    ax: Axes, values: Mapping[str, Sequence[Mapping[str, Mapping[str, float]]]], metric: str
) -> None:
    """A metric against the guidance scale: one line an objective, its seeds' range shaded.

    ``values[objective]`` holds, for each training seed, ``{scale: {metric: value}}``; an objective
    scored at fewer scales than another is drawn where it was scored.
    """
    scales = max((list(seeds[0]) for seeds in values.values()), key=len)
    for objective, seeds in values.items():
        labels = list(seeds[0])
        at = [scales.index(label) for label in labels]
        table = np.array([[seed[label][metric] for label in labels] for seed in seeds])
        shade = color(objective)
        ax.plot(at, table.mean(0), "o-", color=shade, label=NAMES.get(objective, objective))
        ax.fill_between(at, table.min(0), table.max(0), color=shade, alpha=0.2, lw=0)
    ax.set_xticks(range(len(scales)), scales)
    ax.set_xlabel("guidance scale w")


def sweep(values: Mapping[str, Sequence[Mapping[str, Mapping[str, float]]]]) -> Figure:
    """Frechet distance (log scale, lower is better) and class accuracy against the scale."""
    figure, grid = axes(1, 2, size=(8.2, 4.0))
    labels = {"frechet": "Fréchet distance", "accuracy": "class accuracy"}
    for ax, (metric, label) in zip(grid[0], labels.items(), strict=True):
        draw_sweep(ax, values, metric)
        ax.set_title(label)
    grid[0, 0].set_yscale("log")
    handles, names = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False)
    return figure


def importance_at(
    curves: Mapping[str, Sequence[float]], t: int, *, title: str = "", top: float | None = None
) -> Figure:
    """Importance curves over all timesteps with a marker, and its value, at timestep t."""
    figure, grid = axes(size=(6.4, 3.4))
    ax = grid[0, 0]
    for i, (name, values) in enumerate(curves.items()):
        shade = CYCLE[i % len(CYCLE)]
        ax.plot(values, color=shade, label=f"{name}: {values[t]:.2f}")
        ax.plot([t], [values[t]], "o", color=shade)
    ax.axvline(t, color="#999999", lw=1)
    ax.set(xlabel="timestep t", ylabel="weight (mean 1)", title=title or f"t = {t}", ylim=(0, top))
    ax.legend(loc="upper right", frameon=False)
    return figure


def per_timestep(
    reports: Mapping[str, Sequence[Mapping[str, Mapping[str, float]]]], metric: str
) -> Figure:
    """A gap metric in every timestep bin: one line an objective, its seeds' range shaded.

    ``reports[objective]`` holds, for each training seed, ``{first timestep: {metric: value}}``.
    Errors (names that end in ``mse``) are drawn on a log scale.
    """
    figure, grid = axes(size=(6.4, 3.4))
    ax = grid[0, 0]
    for objective, seeds in reports.items():
        starts = sorted(int(start) for start in seeds[0])
        middle = [start + (starts[1] - starts[0]) / 2 for start in starts]
        table = np.array([[seed[str(start)][metric] for start in starts] for seed in seeds])
        shade, name = color(objective), NAMES.get(objective, objective)
        ax.plot(middle, table.mean(0), "o-", ms=4, color=shade, label=name)
        ax.fill_between(middle, table.min(0), table.max(0), color=shade, alpha=0.2, lw=0)
    scale = "log" if metric.endswith("mse") else "linear"
    ax.set(xlabel="timestep t", title=METRICS.get(metric, metric), yscale=scale)
    ax.legend(fontsize=9, frameon=False)
    return figure
