"""Explorers: a pure figure function under one or two sliders, drawn in advance.

Every combination of values is kept as a small picture with a text alternative, and the browser
switches between them.  For the pages of the book, book/_ext/dash_frames.py makes plain inputs.
"""

import re
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import ipywidgets
from ipywidgets import HBox, Image, Layout, VBox, Widget
from matplotlib.figure import Figure
from traitlets import Unicode

from dashbook.plots import DPI, png

MAX_FRAMES = 60
COLORS = 64
BUTTONS = 3  # values that stand beside each other


class Picture(Image):
    """A picture with a text alternative in ``tooltip``, which ipywidgets' own ``Image`` drops.

    The front end puts the tooltip of a widget on the page (as the element's ``title``, which screen
    readers read; on the book's pages it is ``alt``) if the widget has an empty description.
    """

    description = Unicode("").tag(sync=True)
    tooltip = Unicode("").tag(sync=True)


class Parameter:
    """One dial: its label and the values it steps through (with what to print for each).

    It is a slider over quantities, that is where what is shown begins with a digit, a list of
    names, and a row of buttons for two or three values of any kind.  The label may hold LaTeX
    between dollar signs; what is ``shown`` of a value is plain text.  Raises ``ValueError`` for a
    start outside the values, two values shown alike, or LaTeX in ``shown``.
    """

    def __init__(
        self, label: str, values: Sequence[Any], shown: Sequence[str] = (), start: int = 0
    ) -> None:
        printed = [f"{v:g}" if isinstance(v, float) else str(v) for v in values]
        self.label, self.values, self.start = label, list(values), start
        self.shown = list(shown) or printed
        if not 0 <= start < len(self.values):
            raise ValueError(f"{label}: start={start} is not an index of {len(self.values)} values")
        if len(set(self.shown)) < len(self.values):
            raise ValueError(f"{label}: two values are shown alike in {self.shown}")
        if any("$" in text for text in self.shown):
            raise ValueError(f"{label}: values are shown as plain text, without $, in {self.shown}")

    def dial(self) -> Widget:
        """The slider, list or row of buttons, which stands at ``start``."""
        options = [(text, i) for i, text in enumerate(self.shown)]
        kind, width = ipywidgets.Dropdown, "max-content"
        if len(options) <= BUTTONS:
            kind = ipywidgets.ToggleButtons
        elif self.shown[0][0].isdigit():
            kind, width = ipywidgets.SelectionSlider, "min(100%, 430px)"
        style = {"description_width": "initial"}
        layout = Layout(width=width, max_width="100%")
        dial = kind(
            options=options, value=self.start, description=self.label, style=style, layout=layout
        )
        dial.tooltip = _plain(self.label)
        return dial

    def read_out(self, index: int) -> str:
        """The label with one of its values, in words: ``guidance scale w: 4``."""
        return f"{_plain(self.label)}: {self.shown[index]}"


def explorer(figure: Callable[..., Figure], *parameters: Parameter) -> VBox:
    """Controls over the pictures of ``figure(value)`` or ``figure(value_1, value_2)``.

    The text alternative of a picture are the titles and axis labels of its figure, and the values.
    Raises ``ValueError`` for no or more than two parameters, or more than ``MAX_FRAMES`` pictures
    (a page must stay light).
    """
    count = prod(len(p.values) for p in parameters)
    if not 1 <= len(parameters) <= 2 or count > MAX_FRAMES:
        raise ValueError(
            f"{len(parameters)} parameters, {count} pictures: an explorer takes 1 or 2 parameters "
            f"and at most {MAX_FRAMES} pictures; use fewer values"
        )
    dials = [p.dial() for p in parameters]
    frames = _frames(figure, parameters)
    picture = _stacked(frames, dials) if hasattr(ipywidgets, "Stack") else _live(frames, dials)
    root = VBox([HBox(dials, layout=Layout(flex_flow="row wrap")), picture])
    root.add_class("dash-explorer")
    return root


def _frames(figure: Callable[..., Figure], parameters: Sequence[Parameter]) -> list[list[Picture]]:
    """Pictures by first and second parameter (one column if there is no second)."""

    def draw(*at: int) -> Picture:
        drawn = figure(*[p.values[i] for p, i in zip(parameters, at, strict=True)])
        values = [p.read_out(i) for p, i in zip(parameters, at, strict=True)]
        return _picture(drawn, "; ".join([_words(drawn), *values]))

    first, *second = [range(len(p.values)) for p in parameters]
    return [[draw(i, j) for j in second[0]] if second else [draw(i)] for i in first]


def _picture(figure: Figure, text: str) -> Picture:
    width = round(figure.get_figwidth() * DPI)
    layout = Layout(width=f"{width}px", max_width="100%", height="auto")
    return Picture(value=png(figure, colors=COLORS), format="png", layout=layout, tooltip=text)


def _words(figure: Figure) -> str:
    """Read what is written around the axes of a figure: titles, and quantity against quantity."""
    found = [figure.get_suptitle()]
    for ax in figure.axes:
        titles = [ax.get_title(loc=loc) for loc in ("left", "center", "right")]
        labels = " against ".join(filter(None, (ax.get_ylabel(), ax.get_xlabel())))
        found += [*titles, labels]
    return "; ".join(dict.fromkeys(_plain(text) for text in found if text)) or "picture"


def _plain(text: str) -> str:
    """A label without its LaTeX markup."""
    return " ".join(re.sub(r"[$\\{}]", " ", text).replace(" _", "_").split())


def _stacked(frames: list[list[Picture]], dials: list[Widget]) -> Widget:
    """Nested stacks whose visible page follows the dials in the browser."""

    def stack(pages: Sequence[Widget], dial: Widget) -> Widget:
        made = ipywidgets.Stack(list(pages), selected_index=dial.index)
        ipywidgets.jslink((dial, "index"), (made, "selected_index"))
        return made

    rows = [row[0] if len(dials) == 1 else stack(row, dials[1]) for row in frames]
    return stack(rows, dials[0])


def _live(frames: list[list[Picture]], dials: list[Widget]) -> Widget:
    """Replace ``Stack`` where ipywidgets has none (old Colab): the kernel exchanges a picture."""
    shown = Picture(format="png", layout=frames[0][0].layout)

    def update(_: object = None) -> None:
        row = frames[dials[0].index]
        frame = row[dials[1].index if len(dials) == 2 else 0]
        shown.value, shown.tooltip = frame.value, frame.tooltip

    for dial in dials:
        dial.observe(update, names="index")
    update()
    return shown
