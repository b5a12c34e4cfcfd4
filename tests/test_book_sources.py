"""What the book is made of: each chapter is in it, each source cited, each citation known."""

import re

import pytest
import yaml

from execute import NOTEBOOKS, ROOT

BOOK = ROOT / "book"
TOC = [entry["file"] for entry in yaml.safe_load((BOOK / "_toc.yml").read_text())["chapters"]]
BIB = (BOOK / "references.bib").read_text()
TEXTS = [*sorted(NOTEBOOKS.glob("*.py")), *sorted(BOOK.glob("*.md"))]


def cited(text):
    groups = re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", text)
    return {key.strip() for group in groups for key in group.split(",")}


def test_every_chapter_is_in_the_book_in_order():
    chapters = [name.removeprefix("notebooks/") for name in TOC if name.startswith("notebooks/")]
    assert chapters == sorted(path.stem for path in NOTEBOOKS.glob("*.py"))


def test_every_source_is_cited_and_every_citation_has_a_source():
    keys = re.findall(r"^@\w+\{(\w+),", BIB, re.MULTILINE)
    assert len(set(keys)) == len(keys)
    assert set().union(*(cited(path.read_text()) for path in TEXTS)) == set(keys)


@pytest.mark.parametrize(
    "work",
    [
        "shafi2026dash",
        "ho2022classifier",
        "ho2020denoising",
        "song2021ddim",
        "hang2023minsnr",
        "karras2024edm2",
        "karras2024autoguidance",
        "kynkaanniemi2024interval",
        "meng2023distillation",
        "romero2015fitnets",
    ],
)
def test_the_works_that_the_book_rests_on_are_cited_in_chapters(work):
    assert any(work in cited(path.read_text()) for path in TEXTS if path.parent == NOTEBOOKS)


def test_the_landing_page_has_one_picture_and_says_in_three_sentences_who_reads_what():
    text = (BOOK / "index.md").read_text()
    assert text.count("```{figure}") == 1
    (section,) = re.findall(r"## Who should read what\n\n(.*?)\n\n", text, re.DOTALL)
    assert len(re.findall(r"\.(?:\s|$)", section)) == 3
    linked = re.findall(r"\]\((notebooks/\w+)\)", section)
    assert set(linked) == {name for name in TOC if name.startswith("notebooks/")}
