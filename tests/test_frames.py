"""Explorers as pages show them, made from what a notebook stores of the widgets."""

import json
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
import torch
from dash_ink import CLASS
from ipywidgets import Widget
from ipywidgets.embed import dependency_state
from test_widgets import drawing, drawing_of_the_first

from dash_frames import FOLDER, STATE, VIEW, formulas, plain_explorers, without_pictures
from dashbook import plots
from dashbook.widgets import Parameter, explorer

NUMBERS, NAMES = [1.0, 2.0, 3.0, 4.0], ["a", "b", "c", "<d>"]


class Page(HTMLParser):
    """The tags of a page with their attributes, and the text of each script."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.script = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.tags[-1][0] == "script":
            self.script += data

    def all(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


@pytest.fixture
def page(tmp_path):
    """A function that shows widgets as a page of the book in tmp_path does."""

    def page(*roots):
        state = dependency_state(roots, drop_defaults=False)
        outputs = [
            {"data": {VIEW: {"model_id": root.model_id}, "text/plain": "x"}} for root in roots
        ]
        notebook = {
            "metadata": {"widgets": {STATE: {"state": state}}},
            "cells": [{"outputs": outputs}, {"source": "text"}],
        }
        content = [json.dumps(notebook)]
        env = SimpleNamespace(doc2path=lambda name: f"{name}.ipynb")
        builder = SimpleNamespace(format="html")
        plain_explorers(
            SimpleNamespace(builder=builder, env=env, outdir=tmp_path), "notebooks/x", content
        )
        made = json.loads(content[0])
        assert made["metadata"] == {}
        (html,) = [list(o["data"].items()) for c in made["cells"] for o in c.get("outputs", [])]
        assert [kind for kind, _ in html] == ["text/html"]
        return Page(html[0][1])

    yield page
    Widget.close_all()


def frames(page):
    return json.loads(page.script)


def test_a_slider_has_a_position_for_each_value_and_says_what_it_is(page):
    found = page(explorer(drawing, Parameter("$w$ of it", NUMBERS, start=2)))
    (slider,) = found.all("input")
    assert (slider["type"], slider["max"], slider["value"]) == ("range", "3", "2")
    assert json.loads(slider["data-shown"]) == ["1", "2", "3", "4"]
    assert slider["aria-label"] == "w of it"
    assert [alt for _, alt in frames(found)] == [f"picture; w of it: {i}" for i in range(1, 5)]
    (image,) = found.all("img")
    assert [image["src"], image["alt"]] == frames(found)[2]
    assert not found.all("button")


def test_pictures_are_files_each_of_the_values_that_its_words_name(page, tmp_path):
    root = explorer(drawing_of_the_first, Parameter("a", NUMBERS), Parameter("b", NAMES, start=1))
    found = page(root)
    for (src, alt), picture in zip(frames(found), every_picture(root), strict=True):
        assert alt == picture.tooltip
        assert (tmp_path / "notebooks" / src).resolve().read_bytes() == picture.value
    (image,) = found.all("img")
    assert image["alt"].endswith("a: 1; b: b")
    assert int(image["width"]) > int(image["height"]) > 0


def test_drawings_get_their_class_and_pictures_in_colour_do_not(page):
    def photograph(value):
        return plots.image_rows({f"{value}": torch.full((1, 3, 4, 4), value)}, size=(2.0, 1.4))

    (drawn,) = page(explorer(drawing, Parameter("a", NUMBERS))).all("img")
    (shown,) = page(explorer(photograph, Parameter("a", [0.0, 1.0]))).all("img")
    assert (drawn.get("class"), shown.get("class")) == (CLASS, None)


def every_picture(root):
    return [picture for row in root.children[1].children for picture in row.children]


def test_names_are_options_and_markup_in_them_is_text(page):
    found = page(explorer(drawing_of_the_first, Parameter("a", ["x", "y"]), Parameter("b", NAMES)))
    assert [("selected" in option) for option in found.all("option")] == [True, False, False, False]
    assert not found.all("d")
    assert frames(found)[3][1].endswith("b: <d>")


def test_few_values_are_radio_buttons_of_one_name(page):
    found = page(explorer(drawing, Parameter("a", ["x", "y"], start=1)))
    buttons = found.all("input")
    assert [b["type"] for b in buttons] == ["radio", "radio"]
    assert len({b["name"] for b in buttons}) == 1
    assert ["checked" in b for b in buttons] == [False, True]


def test_a_formula_in_a_label_is_marked_as_one():
    assert formulas(r"a < $\beta$ of $b$") == (
        r'a &lt; <span class="math">\(\beta\)</span> of <span class="math">\(b\)</span>'
    )


def test_where_pictures_were_deleted_their_notebooks_are_read_again(tmp_path):
    paths = {"index": "index.md", "notebooks/x": "notebooks/x.ipynb"}
    env = SimpleNamespace(found_docs=set(paths), doc2path=paths.get)
    app = SimpleNamespace(env=env, outdir=tmp_path)
    assert without_pictures(app, env, set(), set(), set()) == ["notebooks/x"]
    (tmp_path / FOLDER).mkdir(parents=True)
    assert without_pictures(app, env, set(), set(), set()) == []
