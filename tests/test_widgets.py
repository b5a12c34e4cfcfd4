"""Explorers: every combination is drawn, dials are wired in the browser, limits are errors."""

import io

import ipywidgets
import pytest
from matplotlib.figure import Figure
from PIL import Image

from dashbook import plots, widgets
from dashbook.widgets import Parameter, explorer


def drawing_of_the_first(value: float, _: str) -> Figure:
    return drawing(value)


def drawing(*values: float) -> Figure:
    figure, grid = plots.axes(size=(2.0, 1.4))
    grid[0, 0].bar(range(len(values)), values)
    return figure


def pictures(widget: ipywidgets.Widget) -> list[widgets.Picture]:
    if isinstance(widget, widgets.Picture):
        return [widget]
    return [picture for child in widget.children for picture in pictures(child)]


def images(widget: ipywidgets.Widget) -> list[bytes]:
    return [picture.value for picture in pictures(widget)]


def titled(value: float) -> Figure:
    figure, grid = plots.axes(size=(2.0, 1.4))
    grid[0, 0].set(title=f"t = {value:g}", xlabel="timestep t", ylabel=r"$\bar\alpha_t$")
    return figure


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
    """The browser switches without a kernel: links are jslinks, dial -> stack."""
    root = explorer(drawing, Parameter("a", [1.0, 2.0]))
    everything = ipywidgets.widgets.widget._instances.values()
    links = [w for w in everything if isinstance(w, ipywidgets.widgets.widget_link.Link)]
    (slider,) = root.children[0].children
    ends = [(link.source[0], link.target[0]) for link in links]
    assert (slider, root.children[1]) in ends


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


def test_without_stack_the_text_follows_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(ipywidgets, "Stack")
    root = explorer(drawing, Parameter("a", [1.0, 2.0]))
    assert root.children[1].tooltip == "picture; a: 1"
    root.children[0].children[0].index = 1
    assert root.children[1].tooltip == "picture; a: 2"


def test_the_text_of_a_picture_names_its_values() -> None:
    b = Parameter(r"$\lambda_t$", ["x", "y"], ["low", "high"])
    root = explorer(drawing_of_the_first, Parameter("a", [1.0, 2.5]), b)
    texts = [picture.tooltip for picture in pictures(root.children[1])]
    assert texts == [
        f"picture; a: {a}; lambda_t: {b}" for a in ("1", "2.5") for b in ("low", "high")
    ]


def test_the_text_of_a_picture_is_what_the_figure_says() -> None:
    (first, _) = pictures(explorer(titled, Parameter("t", [0, 999])).children[1])
    assert first.tooltip == "t = 0; bar alpha_t against timestep t; t: 0"


def test_a_figure_without_words_is_called_a_picture() -> None:
    (picture,) = pictures(explorer(drawing, Parameter("a", [1.0])).children[1])
    assert picture.tooltip == "picture; a: 1"


def test_a_picture_has_the_empty_description_without_which_its_text_is_not_shown() -> None:
    assert widgets.Picture(tooltip="words").get_state()["description"] == ""


@pytest.mark.parametrize(
    ("values", "shown", "kind"),
    [
        ([1.0, 2.0, 4.0, 8.0], (), ipywidgets.SelectionSlider),
        (["1", "2", "4", "TAG"], (), ipywidgets.SelectionSlider),
        (["a", "b", "c", "d"], (), ipywidgets.Dropdown),
        ([1, 2, 3, 4], ["one", "two", "three", "four"], ipywidgets.Dropdown),
        (["a", "b"], (), ipywidgets.ToggleButtons),
        ([1.0, 2.0, 4.0], (), ipywidgets.ToggleButtons),
    ],
)
def test_quantities_slide_names_are_listed_and_few_are_buttons(values, shown, kind) -> None:
    dial = Parameter("$a$", values, shown, start=1).dial()
    assert type(dial) is kind
    assert (dial.index, dial.description, dial.tooltip) == (1, "$a$", "a")


def test_frames_are_quantised() -> None:
    root = explorer(drawing, Parameter("a", [1.0]))
    (data,) = images(root.children[1])
    picture = Image.open(io.BytesIO(data))
    assert picture.mode == "P"
    assert len(picture.getcolors()) <= widgets.COLORS


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
    with pytest.raises(ValueError, match="plain text, without"):
        Parameter("a", [1.0], ["$w$"])
