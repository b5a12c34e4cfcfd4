"""Figures: reproducible bytes, one colour a method, and what is drawn is what was given."""

import io
import re
from itertools import combinations, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from dashbook import paper, playground, plots
from dashlib.losses import OBJECTIVES
from dashlib.recipes import ROWS


def curve(height: float = 1.0) -> Figure:
    return plots.lines({"a": ([0, 1], [0, height]), "b": ([0, 1], [1, 0])}, xlabel="x", ylabel="y")


def test_lines_are_set_to_what_is_shown_and_mark_a_level() -> None:
    figure = plots.lines({"a": ([1, 2], [3, 4])}, level=2, log=True, title="t", ylim=(None, 8))
    (ax,) = figure.axes
    line, level = ax.lines
    assert line.get_xydata().tolist() == [[1, 3], [2, 4]]
    assert list(level.get_ydata()) == [2, 2]
    assert (ax.get_yscale(), ax.get_title(), ax.get_ylim()[1]) == ("log", "t", 8)


def test_panels_draw_means_in_the_middle_of_their_width() -> None:
    both = {"live": {"anchor": [3.0, 2.0]}, "stored": {}}
    figure = plots.panels(both, 20, "step", title="falls", log=True, named_in=0)
    left, right = figure.axes
    assert figure.get_suptitle() == "falls"
    assert [text.get_text() for text in left.texts] == ["anchor"]
    assert left.lines[0].get_xydata().tolist() == [[10, 3], [30, 2]]
    assert (left.get_title(), right.get_title()) == ("live", "stored")
    assert (left.get_yscale(), left.get_xlabel()) == ("log", "step")


def test_png_is_reproducible_and_follows_the_data() -> None:
    assert plots.png(curve()) == plots.png(curve())
    assert plots.png(curve()) != plots.png(curve(0.5))


def test_quantised_png_is_smaller_and_has_few_colours() -> None:
    full, small = plots.png(curve()), plots.png(curve(), colors=16)
    picture = Image.open(io.BytesIO(small))
    assert len(small) < len(full)
    assert len(picture.getcolors()) <= 16


def test_the_text_of_a_wide_figure_grows_and_its_pixels_stay() -> None:
    def drawn(width: float) -> tuple[tuple[int, int], int]:
        figure, grid = plots.axes(size=(width, 2.0))
        grid[0, 0].remove()
        figure.text(0.5, 0.5, "I", ha="center", va="center", fontsize=40)
        picture = Image.open(io.BytesIO(plots.png(figure))).convert("L")
        assert tuple(figure.get_size_inches()) == (width, 2.0)
        return picture.size, int((np.asarray(picture) < 128).any(1).sum())

    (usual, height), (wide, taller) = drawn(plots.READABLE), drawn(2 * plots.READABLE)
    assert (usual, wide) == ((640, 200), (1280, 200))
    assert taller == pytest.approx(2 * height, abs=2)


def test_colours_of_the_cycle_are_used_without_being_asked_for() -> None:
    ax = plots.axes()[1][0, 0]
    assert [ax.plot([0, 1])[0].get_color() for _ in plots.CYCLE] == list(plots.CYCLE)


def test_quantised_png_keeps_the_hue_of_faint_shades() -> None:
    figure, grid = plots.axes()
    for i, shade in enumerate(plots.CYCLE):  # each under a line, as the seeds' ranges are
        grid[0, 0].fill_between([0, 1], [i, i], [i + 1, i + 1], color=shade, alpha=0.2, lw=0)
        grid[0, 0].plot([0, 1], [i, i + 1], "o-", color=shade)
    full, small = (
        np.asarray(Image.open(io.BytesIO(plots.png(figure, colors=n))).convert("RGB"), float)
        for n in (None, 64)
    )
    assert (np.abs(full - small).max(2) > 16).mean() < 0.005
    assert np.abs(full - small).mean() < 2.5


def test_every_objective_has_a_name_and_a_colour_of_its_own() -> None:
    keys = {"teacher", *ROWS, *OBJECTIVES}
    keys = {key for key in keys if not key.startswith("dash_an_")}  # DASH at other settings
    keys = {key for key in keys if not key.endswith("_v")}  # of CIFAR-10: named by its chapter
    swept = ("dash_gap_", "dash_mixed_", "dash_sampled_", "tag_form")  # in no chapter
    keys = {key for key in keys if not key.startswith(swept)}
    assert set(paper.ROWS) == set(keys)
    assert len({plots.color(key) for key in keys}) == len(keys)


# How linear RGB is seen by protanopes and deuteranopes: Machado, Oliveira & Fernandes 2009.
SIGHT = {
    "usual": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}
TO_XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
) / np.array([[0.9505], [1.0], [1.089]])  # sRGB, relative to its white


def seen(colour: str, sight: np.ndarray) -> np.ndarray:
    """CIELAB coordinates of a colour for this sight (without the linear foot near black)."""
    srgb = np.array(to_rgb(colour))
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    x, y, z = np.cbrt(TO_XYZ @ np.clip(sight @ linear, 0, 1))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("sight", SIGHT)
def test_colours_stay_apart_under_colour_blindness(sight: str) -> None:
    places = {key: seen(plots.color(key), SIGHT[sight]) for key in paper.COLORS}
    for a, b in combinations(places, 2):
        assert np.linalg.norm(places[a] - places[b]) > 8, f"{a} and {b}"


EXPLORERS = Path(__file__).parents[1] / "book" / "explorers"
SHOWN = "".join(path.read_text() for path in sorted(EXPLORERS.glob("*.js")))
LINES = [*plots.CYCLE, *paper.COLORS.values(), *playground.SHADES]
LINES += re.findall(r'name: [^}]*?color: "(#\w{6})"', SHOWN)


def test_explorers_have_the_classes_colours_and_name_lines_of_their_own() -> None:
    assert ", ".join(f'"{shade}"' for shade in playground.SHADES) in SHOWN
    assert len(LINES) > len({*plots.CYCLE, *paper.COLORS.values(), *playground.SHADES})


@pytest.mark.parametrize("colour", dict.fromkeys(LINES))
def test_every_colour_stands_out_from_white_paper(colour: str) -> None:
    """WCAG 2 asks of lines and marks a contrast of 3 : 1."""
    assert 1.05 / (luminance(to_rgb(colour)) + 0.05) >= 3


@pytest.mark.parametrize(("channels", "drawn"), [(1, (5, 5)), (3, (5, 5, 3))])
def test_images_are_tiled_with_a_gap(channels: int, drawn: tuple[int, ...]) -> None:
    images = torch.full((4, channels, 2, 2), -1.0)
    images[3] = 1.0
    figure = plots.image_grids({"": images}, 2)
    canvas = np.asarray(figure.axes[0].images[0].get_array())
    assert canvas.shape == drawn
    assert canvas[4, 4].max() == 1  # the last image is bottom right
    assert canvas[0, 0].min() == (-1 if channels == 1 else 0)


def test_bytes_and_floats_draw_the_same() -> None:
    floats = torch.tensor([-1.0, 1.0]).reshape(1, 1, 1, 2)
    as_bytes = torch.tensor([0, 255], dtype=torch.uint8).reshape(1, 1, 1, 2)
    drawn = [
        np.asarray(plots.image_grids({"": x}, 1).axes[0].images[0].get_array())
        for x in (floats, as_bytes)
    ]
    np.testing.assert_allclose(*drawn)


def test_image_rows_are_labelled() -> None:
    rows = {name: torch.zeros(3, 1, 2, 2) for name in ("one", "two")}
    assert [ax.get_ylabel() for ax in plots.image_rows(rows).axes] == ["one", "two"]


def test_seeds_are_a_line_through_their_means_and_their_range() -> None:
    ax = plots.axes()[1][0, 0]
    plots.draw_seeds(ax, ("1", "TAG"), np.array([[1.0, 4.0], [3.0, 8.0]]), label="TIRT")
    assert ax.lines[0].get_ydata().tolist() == [2, 6]
    shaded = ax.collections[0].get_paths()[0].vertices
    assert (shaded[:, 1].min(), shaded[:, 1].max()) == (1, 8)


def test_middles_of_ranges() -> None:
    assert plots.middles(2).tolist() == [250, 750]
    assert plots.middles(2, 100).tolist() == [25, 75]


def scored(frechet: dict[str, float]) -> Any:
    guidance = {w: {"frechet": fd, "accuracy": 1.0} for w, fd in frechet.items()}
    return SimpleNamespace(metrics={"guidance": guidance})


def test_sweep_draws_the_mean_of_the_seeds() -> None:
    seeds = [scored({"1": f}) for f in (2.0, 4.0)]
    figure = plots.sweep({"dash": seeds})
    assert figure.axes[0].lines[0].get_ydata() == pytest.approx([3.0])
    assert figure.axes[0].get_yscale() == "log"


def test_sweep_places_a_row_that_lacks_scales() -> None:
    rows = {"dash": {"1": 1.0, "2": 2.0, "4": 4.0}, "multi_w": {"1": 1.0, "4": 4.0}}
    ax = plots.sweep({row: [scored(fd)] for row, fd in rows.items()}).axes[0]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1", "2", "4"]
    assert list(ax.lines[1].get_xdata()) == [1, 4]
    assert list(ax.lines[1].get_ydata()) == [1, 4]


def test_tag_stands_beside_the_scales_and_is_joined_to_none() -> None:
    seeds = [scored({"1": 1.0, "4": 4.0, "TAG": fd}) for fd in (2.0, 3.0)]
    ax = plots.sweep({"dash": seeds}).axes[0]
    line, tag = ax.lines
    assert list(line.get_xdata()) == [1, 4]
    assert (list(tag.get_xdata()), list(tag.get_ydata())) == ([plots.BESIDE] * 2, [2, 3])
    assert tag.get_linestyle() == "None"
    assert tag.get_color() == line.get_color()
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1", "4", "TAG"]


def named(ax: Any) -> dict[str, tuple[float, Any]]:
    """The height, in shares of the axes, and the colour of each name beside them."""
    return {text.get_text(): (text.get_position()[1], text.get_color()) for text in ax.texts}


def test_lines_are_named_where_they_end_and_unnamed_ones_are_not() -> None:
    ax = plots.axes()[1][0, 0]
    ax.plot([0, 1], [0, 8], label="DASH")
    ax.plot([1, 0], [2, 9], label="drawn from the right")
    ax.plot([0, 1], [3, 2])
    ax.set_ylim(0, 10)
    plots.name_ends(ax)
    (dash, shade), (other, _) = named(ax)["DASH"], named(ax)["drawn from the\nright"]
    assert len(ax.texts) == 2
    assert (dash, other) == (pytest.approx(0.8), pytest.approx(0.2))
    assert shade == pytest.approx([plots.INK_DEPTH * part for part in to_rgb(plots.CYCLE[0])])


def test_names_of_lines_that_end_together_make_room_for_each_other() -> None:
    ax = plots.axes()[1][0, 0]
    for i, name in enumerate("abc"):
        ax.plot([0, 1], [i, 5], label=name)
    ax.plot([0, 1], [0, 0], label="far")
    ax.set_ylim(0, 10)
    plots.name_ends(ax)
    *near, far = sorted((y for y, _ in named(ax).values()), reverse=True)
    assert 0 < far < 0.1, "beside the axes, not below them"
    assert near[1] == pytest.approx(0.5)
    assert near[0] - near[1] == pytest.approx(near[1] - near[2])
    plots.png(ax.figure)
    boxes = sorted((text.get_window_extent() for text in ax.texts), key=lambda box: box.y0)
    assert all(low.y1 <= high.y0 + 1 for low, high in pairwise(boxes)), "none lies on another"


def test_a_name_on_a_log_axis_stands_at_its_line_and_that_of_a_line_below_at_the_foot() -> None:
    curves = {"tenth": ([1, 2], [1, 0.1]), "gone": ([1, 2], [1, 1e-9])}
    figure = plots.lines(curves, log=True, ylim=(0.01, 1))
    heights = {name: y for name, (y, _) in named(figure.axes[0]).items()}
    assert heights["tenth"] == pytest.approx(0.5)
    assert 0 < heights["gone"] < 0.1


def test_a_forest_has_intervals_and_dots_in_the_colour_of_the_verdict() -> None:
    found = {"so": ((-1, 1), [0], None), "good": ((-3, -1), [-2, -1.5], True)}
    ax = plots.forest(found | {"bad": ((1, 3), [2], False)}, 0, xlabel="FD").axes[0]
    bars, dots = ax.lines[0:6:2], ax.lines[1:6:2]
    assert [list(bar.get_xdata()) for bar in bars] == [[-1, 1], [-3, -1], [1, 3]]
    assert [list(dot.get_xdata()) for dot in dots] == [[0], [-2, -1.5], [2]]
    assert [bar.get_color() for bar in bars] == [plots.JUDGED[k] for k in (None, True, False)]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["so", "good", "bad"]
    assert ax.get_xlabel() == "FD"


def luminance(colour: Any) -> float:
    """Relative luminance of sRGB in [0, 1], as WCAG 2 defines it."""
    srgb = np.asarray(colour)
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


@pytest.mark.parametrize("colour", [*plots.CYCLE, *paper.COLORS.values()])
def test_the_name_of_a_line_can_be_read_on_paper(colour: str) -> None:
    """At least 4.5 : 1, WCAG 2's bound for text; tests/test_book_dark.py looks at dark pages."""
    ax = plots.axes()[1][0, 0]
    ax.plot([0, 1], label="name", color=colour)
    plots.name_ends(ax)
    assert 1.05 / (luminance(ax.texts[0].get_color()) + 0.05) >= 4.5


def is_ink(figure: Figure) -> bool:
    return plots.INK.items() <= Image.open(io.BytesIO(plots.png(figure))).info.items()


def test_drawings_and_grey_pictures_are_ink_on_paper_and_colours_are_not() -> None:
    grey, photograph = torch.zeros(1, 1, 2, 2), torch.zeros(1, 3, 2, 2)
    assert is_ink(curve())
    assert is_ink(plots.image_rows({"digit": grey}))
    assert not is_ink(plots.image_rows({"digit": grey, "photograph": photograph}))
    figure, grid = plots.axes()
    grid[0, 0].imshow([[0.0, 1.0]], cmap="viridis")
    assert not is_ink(figure)


def test_a_log_axis_has_decimals_and_no_powers_of_ten() -> None:
    figure = plots.lines({"FD": ([1, 2, 3], [0.02, 3.0, 400.0])}, log=True)
    with matplotlib.rc_context(plots.STYLE):
        ticks = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert any("0.1" in tick for tick in ticks)
    assert not any("^" in tick for tick in ticks)
