"""Drawings get their class on a page by the mark in their file; whatever else does not."""

from types import SimpleNamespace

import torch
from dash_ink import CLASS, is_ink, mark_drawings
from docutils import nodes
from docutils.utils import new_document

from dashbook import plots


def test_drawings_of_a_page_get_the_class_and_other_pictures_do_not(tmp_path):
    files = {
        "line.png": plots.png(plots.lines({"a": ([0, 1], [0, 1])})),
        "digits.png": plots.png(plots.image_rows({"digits": torch.zeros(2, 1, 4, 4)})),
        "photographs.png": plots.png(plots.image_rows({"": torch.zeros(2, 3, 4, 4)})),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    tree = new_document("page")
    tree += [nodes.image(uri=name, classes=["kept"]) for name in [*files, "favicon.svg"]]
    mark_drawings(SimpleNamespace(srcdir=tmp_path), tree)
    found = {image["uri"]: image["classes"] for image in tree.findall(nodes.image)}
    drawn, other = ["kept", CLASS], ["kept"]
    wanted = dict(zip(found, (drawn, drawn, other, other), strict=True))
    assert found == wanted


def test_a_picture_of_another_program_is_no_drawing_of_ours(tmp_path):
    path = tmp_path / "other.png"
    plots.lines({"a": ([0, 1], [0, 1])}).savefig(path)
    assert not is_ink(path.read_bytes())
