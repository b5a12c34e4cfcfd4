"""Explorers: every combination is drawn, the slider is wired in the browser, limits are errors."""

import ipywidgets
import pytest
from matplotlib.figure import Figure

from dashlib import plots, widgets
from dashlib.widgets import Parameter, explorer


def drawing(*values: float) -> Figure:
    figure, grid = plots.axes(size=(1.0, 0.6))
    grid[0, 0].bar(range(len(values)), values)
    return figure


def images(widget: ipywidgets.Widget) -> list[bytes]:
    if isinstance(widget, ipywidgets.Image):
        return [widget.value]
    return [value for child in widget.children for value in images(child)]


def test_one_picture_a_value_and_all_differ() -> None:
    root = explorer(drawing, Parameter("a", [1.0, 2.0, 3.0], start=2))
    controls, stack = root.children
    assert "dash-explorer" in root._dom_classes
    assert len(set(images(stack))) == 3
    assert stack.selected_index == controls.children[0].index == 2


def test_two_parameters_nest() -> None:
    root = explorer(drawing, Parameter("a", [1.0, 2.0]), Parameter("b", [1.0, 2.0, 3.0], start=1))
    outer = root.children[1]
    assert [len(inner.children) for inner in outer.children] == [3, 3]
    assert all(inner.selected_index == 1 for inner in outer.children)
    assert len(set(images(outer))) == 6


def test_links_are_client_side() -> None:
    """Only jslink works on a static page, so every link must be one, slider -> stack."""
    root = explorer(drawing, Parameter("a", [1.0, 2.0]), play=True)
    everything = ipywidgets.widgets.widget._instances.values()
    links = [w for w in everything if isinstance(w, ipywidgets.widgets.widget_link.Link)]
    play, slider = root.children[0].children
    ends = [(link.source[0], link.target[0]) for link in links]
    assert (slider, root.children[1]) in ends
    assert (play, slider) in ends


def test_without_stack_the_kernel_exchanges_one_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(ipywidgets, "Stack")
    root = explorer(drawing, Parameter("a", [1.0, 2.0]), Parameter("b", [1.0, 2.0]))
    (first, second), picture = root.children[0].children, root.children[1]
    seen = {picture.value}
    first.index = 1
    seen.add(picture.value)
    second.index = 1
    seen.add(picture.value)
    assert len(seen) == 3


@pytest.mark.parametrize("count", [0, 3])
def test_one_or_two_parameters(count: int) -> None:
    with pytest.raises(ValueError, match="takes 1 or 2 parameters"):
        explorer(drawing, *[Parameter(str(i), [1.0, 2.0]) for i in range(count)])


def test_too_many_pictures_is_an_error_before_anything_is_drawn() -> None:
    def never(*_: float) -> Figure:
        raise AssertionError("drawn")

    with pytest.raises(ValueError, match=f"at most {widgets.MAX_FRAMES} pictures"):
        explorer(never, Parameter("a", list(range(widgets.MAX_FRAMES + 1))))


def test_parameter_errors() -> None:
    with pytest.raises(ValueError, match="start=5 is not an index"):
        Parameter("a", [1.0, 2.0], start=5)
    with pytest.raises(ValueError, match="shown alike"):
        Parameter("a", [1.0, 1.0])
