"""Figures: pure functions from data to a matplotlib ``Figure``, one style, one colour a method.

Figures are made without pyplot, so no global state is left behind; :func:`show` shows one.
"""

import io
from collections.abc import Mapping, Sequence
from operator import itemgetter
from textwrap import fill
from typing import Any

import matplotlib
import numpy as np
from cycler import cycler
from IPython.display import Image as NotebookImage
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from dashbook.paper import COLORS, NAMES
from dashlib.results import Run

Values = Sequence[float] | Sequence[str] | np.ndarray
Curve = tuple[Values, Values]  # x, y
CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#A1942F", "#4596E7", "#8A8A8A")
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
    "axes.formatter.min_exponent": 5,  # 0.01 and 100 on log axes, not powers of ten
    "legend.frameon": False,
    "lines.linewidth": 2.0,
    "svg.hashsalt": "dash",
}

DPI = 100
INK = {"Paper": "white"}  # marks a picture that a dark page may turn over: dash_ink reads it
BESIDE = 5.0  # where TAG stands on an axis of guidance scales from 1 to 4
INK_DEPTH = 0.6  # of a line's colour in its name: text needs more contrast than a line
NAME = 18  # letters of a line's name that stand side by side
JUDGED = {True: CYCLE[0], False: CYCLE[1], None: CYCLE[6]}  # for the claim, against it, undecided
READABLE = 6.4  # inches: what is wider is drawn as if it were no wider, so that its text grows


def axes(
    rows: int = 1, columns: int = 1, size: tuple[float, float] = (6.4, 3.6), title: str = ""
) -> tuple[Figure, np.ndarray]:
    """A figure in the book's style and its axes, shape ``(rows, columns)``, under one title."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, dpi=DPI, layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
    if title:
        figure.suptitle(title, x=0.02, ha="left", fontsize=12)
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
    out, marks = io.BytesIO(), PngInfo()
    for item in INK.items() if not _in_colour(figure) else ():
        marks.add_text(*item)
    picture.save(out, format="png", optimize=True, pnginfo=marks)
    return out.getvalue()


def _in_colour(figure: Figure) -> bool:
    """Tell whether some axes hold a picture in colour; grey ones are ink on paper, as lines are."""
    images = [image for ax in figure.axes for image in ax.images]
    return any(
        np.asarray(image.get_array()).ndim == 3 or not image.cmap.is_gray() for image in images
    )


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
    return COLORS.get(key, CYCLE[5])


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


def middles(n: int, T: float = 1000) -> np.ndarray:
    """The middles of n equal ranges of the T timesteps."""
    return (np.arange(n) + 0.5) * T / n


def draw_seeds(ax: Axes, x: Values, seeds: np.ndarray, **style: Any) -> None:
    """A line with dots through the means of ``seeds``, ``(seeds, len(x))``, their range shaded."""
    (line,) = ax.plot(x, seeds.mean(0), "o-", **style)
    ax.fill_between(x, seeds.min(0), seeds.max(0), color=line.get_color(), alpha=0.2, lw=0)


def at_scales(labels: Sequence[str]) -> list[float]:
    """Place guidance scales on an axis; TAG, which is no number, stands beside the others."""
    return [BESIDE if label == "TAG" else float(label) for label in labels]


def draw_scales(ax: Axes, labels: Sequence[str], seeds: np.ndarray, **style: Any) -> None:
    """The same against w; TAG, the last if there, is a mark a seed beside the line."""
    at, n = at_scales(labels), len(labels) - ("TAG" in labels)
    draw_seeds(ax, at[:n], seeds[:, :n], **style)
    for x, tag in zip(at[n:], seeds[:, n:].T, strict=True):
        ax.plot([x] * len(tag), tag, "D", ms=5, color=ax.lines[-1].get_color())


def name_ends(ax: Axes, size: float = 11) -> None:
    """Name every labelled line right of the axes, in its colour, at the height where it ends.

    Names that would overlap make room for each other, up and down alike, beside the axes.
    """
    ax.autoscale_view()
    found = []
    for line in (line for line in ax.lines if not str(line.get_label()).startswith("_")):
        at = (ax.transScale + ax.transLimits).transform(np.asarray(line.get_xydata()))
        found.append((min(max(at[at[:, 0].argmax(), 1], 0), 1), line))
    ends, lines = zip(*sorted(found, key=itemgetter(0)), strict=True)
    names = [fill(str(line.get_label()), NAME) for line in lines]
    rows = np.array([name.count("\n") + 1 for name in names])
    width, height = ax.figure.bbox.width / DPI, ax.figure.bbox.height / DPI
    row = size / 55 / (height * min(1.0, READABLE / width) - 1.1)  # of about the axes' height
    room = row * (rows.cumsum() - rows / 2)
    free = np.clip(ends - room, 0, max(0, 1 - row * rows.sum()))
    low, high = np.maximum.accumulate(free), np.minimum.accumulate(free[::-1])[::-1]
    for y, name, line in zip((low + high) / 2 + room, names, lines, strict=True):
        dark = tuple(INK_DEPTH * part for part in to_rgb(line.get_color()))
        ax.text(1.01, y, name, color=dark, va="center", fontsize=size, transform=ax.transAxes)


def legend_below(figure: Figure, columns: int, **style: Any) -> None:
    """One legend under the figure, of what its first axes show."""
    handles = figure.axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=columns, frameon=False, **style)


def draw_curves(
    ax: Axes, curves: Mapping[str, Curve], colors: Mapping[str, str] | None = None, **style: Any
) -> None:
    """Named curves, in their own colours or those of the cycle."""
    for i, (name, (x, y)) in enumerate(curves.items()):
        ax.plot(x, y, label=name, color=(colors or {}).get(name, CYCLE[i % len(CYCLE)]), **style)


def lines(
    curves: Mapping[str, Curve],
    *,
    colors: Mapping[str, str] | None = None,
    marker: str = "",
    level: float | None = None,
    log: bool = False,
    size: tuple[float, float] = (6.4, 3.6),
    **shown: Any,
) -> Figure:
    """Named curves ``name -> (x, y)`` on axes set to what is ``shown``; grey: a ``level``."""
    figure, ((ax,),) = axes(size=size)
    draw_curves(ax, curves, colors, marker=marker, markersize=5)
    if level is not None:
        ax.axhline(level, color="#999999", lw=1)
    ax.set(yscale="log" if log else "linear", **shown)
    if len(curves) > 1:
        name_ends(ax)
    return figure


def panels(
    means: Mapping[str, Mapping[str, Values]],
    width: float,
    xlabel: str,
    *,
    title: str = "",
    log: bool = False,
    size: tuple[float, float] = (7.2, 3.4),
    colors: Mapping[str, str] | None = None,
    named_in: int = -1,
) -> Figure:
    """Titled panels, one vertical scale: ``title -> name -> means over a width``; one has names."""
    figure, grid = axes(1, len(means), size, title)
    for ax, (name, named) in zip(grid[0], means.items(), strict=True):
        curves = {k: (middles(len(v), width * len(v)), v) for k, v in named.items()}
        draw_curves(ax, curves, colors)
        ax.set(xlabel=xlabel, title=name)
        ax.sharey(grid[0, 0])
    grid[0, 0].set_yscale("log" if log else "linear")
    name_ends(grid[0, named_in], 10)
    return figure


def forest(
    found: Mapping[str, tuple[Values, Values, bool | None]], middle: float, **shown: Any
) -> Figure:
    """Named intervals with dots, ``name -> (ends, dots, verdict)``, about a black line."""
    figure, ((ax,),) = axes(size=(6.8, 3.6))
    for y, (ends, dots, verdict) in enumerate(found.values()):
        ax.plot(ends, [y, y], color=JUDGED[verdict])
        ax.plot(dots, [y] * len(dots), "o", ms=5, color=JUDGED[verdict])
    ax.axvline(middle, color="black", lw=1)
    ax.set_yticks(range(len(found)), found, fontsize=10)
    ax.set(ylim=(-0.6, len(found) - 0.4), **shown)
    return figure


def sweep(rows: Mapping[str, Sequence[Run]]) -> Figure:
    """Frechet distance (log) and class accuracy against the guidance scale, seeds' range shaded."""
    figure, grid = axes(1, 2, size=(8.2, 4.0))
    scored = {row: [run.metrics["guidance"] for run in runs] for row, runs in rows.items()}
    scales = max((list(seeds[0]) for seeds in scored.values()), key=len)
    titles = {"frechet": "Fréchet distance", "accuracy": "class accuracy"}
    for ax, (metric, title) in zip(grid[0], titles.items(), strict=True):
        for row, seeds in scored.items():
            table = np.array([[of[metric] for of in seed.values()] for seed in seeds])
            draw_scales(ax, [*seeds[0]], table, color=color(row), label=NAMES.get(row, row))
        ax.set_xticks(at_scales(scales), scales)
        ax.set(xlabel="guidance scale w", title=title)
    grid[0, 0].set_yscale("log")
    name_ends(grid[0, 1], 10)
    return figure
