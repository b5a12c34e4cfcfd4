"""Explorers: a pure figure function under one or two sliders, drawn in advance.

Every combination of slider values is drawn once and kept as a small picture; the browser alone
switches between them.  So an explorer moves in JupyterLab, in Colab *and* on the static pages of
the book, where no Python runs.
"""

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets
from ipywidgets import HBox, Image, Layout, Play, SelectionSlider, VBox, Widget
from matplotlib.figure import Figure

from dashlib.plots import DPI, png

MAX_FRAMES = 60
COLORS = 64


class Parameter:
    """One slider: its label and the values it steps through (with what to print for each)."""

    def __init__(
        self, label: str, values: Sequence[Any], shown: Sequence[str] | None = None, start: int = 0
    ) -> None:
        self.label, self.values, self.start = label, list(values), start
        self.shown = (
            list(shown) if shown else [f"{v:g}" if isinstance(v, float) else str(v) for v in values]
        )
        if not 0 <= start < len(self.values):
            raise ValueError(f"{label}: start={start} is not an index of {len(self.values)} values")
        if len(set(self.shown)) < len(self.values):
            raise ValueError(f"{label}: two values are shown alike in {self.shown}")

    def slider(self) -> SelectionSlider:
        """The slider, which sits at ``start``."""
        options = [(text, i) for i, text in enumerate(self.shown)]
        return SelectionSlider(
            options=options,
            value=self.start,
            description=self.label,
            continuous_update=True,
            style={"description_width": "initial"},
            layout=Layout(width="min(100%, 430px)"),
        )


def explorer(figure: Callable[..., Figure], *parameters: Parameter, play: bool = False) -> VBox:
    """Sliders over the pictures of ``figure(value)`` or ``figure(value_1, value_2)``.

    ``play=True`` (one parameter) adds a button that runs through the values.  Raises
    ``ValueError`` for no or more than two parameters, or more than ``MAX_FRAMES`` pictures (a page
    must stay light).
    """
    count = 1
    for parameter in parameters:
        count *= len(parameter.values)
    if not 1 <= len(parameters) <= 2 or count > MAX_FRAMES:
        raise ValueError(
            f"{len(parameters)} parameters, {count} pictures: an explorer takes 1 or 2 parameters "
            f"and at most {MAX_FRAMES} pictures; use fewer values"
        )
    sliders = [p.slider() for p in parameters]
    frames = _frames(figure, parameters)
    picture = _stacked(frames, sliders) if hasattr(ipywidgets, "Stack") else _live(frames, sliders)
    controls: list[Widget] = list(sliders)
    if play and len(parameters) == 1:
        controls.insert(0, _play_button(parameters[0], sliders[0]))
    root = VBox([HBox(controls, layout=Layout(flex_flow="row wrap")), picture])
    root.add_class("dash-explorer")
    return root


def _frames(figure: Callable[..., Figure], parameters: Sequence[Parameter]) -> list[list[Image]]:
    """Pictures by first and second parameter (one column if there is no second)."""
    first = parameters[0].values
    if len(parameters) == 1:
        return [[_image(figure(a))] for a in first]
    return [[_image(figure(a, b)) for b in parameters[1].values] for a in first]


def _image(figure: Figure) -> Image:
    width = round(figure.get_figwidth() * DPI)
    layout = Layout(width=f"{width}px", max_width="100%", height="auto")
    return Image(value=png(figure, colors=COLORS), format="png", layout=layout)


def _stacked(frames: list[list[Image]], sliders: list[SelectionSlider]) -> Widget:
    """Nested stacks whose visible page follows the sliders in the browser."""
    pages: list[Widget] = []
    for row in frames:
        pages.append(row[0] if len(sliders) == 1 else _stack(row, sliders[1]))
    return _stack(pages, sliders[0])


def _stack(pages: Sequence[Widget], slider: SelectionSlider) -> Widget:
    stack = ipywidgets.Stack(list(pages), selected_index=slider.index)
    ipywidgets.jslink((slider, "index"), (stack, "selected_index"))
    return stack


def _live(frames: list[list[Image]], sliders: list[SelectionSlider]) -> Widget:
    """Where ipywidgets has no ``Stack`` (old Colab): one picture that the kernel exchanges."""
    shown = Image(format="png", layout=frames[0][0].layout)

    def update(_: object = None) -> None:
        row = frames[sliders[0].index]
        shown.value = row[sliders[1].index if len(sliders) == 2 else 0].value

    for slider in sliders:
        slider.observe(update, names="index")
    update()
    return shown


def _play_button(parameter: Parameter, slider: SelectionSlider) -> Play:
    button = Play(min=0, max=len(parameter.values) - 1, value=parameter.start, interval=300)
    ipywidgets.jslink((button, "value"), (slider, "index"))
    return button
