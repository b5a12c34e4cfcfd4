"""A book of one page, with the explorers that no chapter may have, and a repository address."""

import asyncio
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from book_pages import ROOT, Elements, explorers, visit, watched

import build
import execute

pytestmark = pytest.mark.browser

TEXT = r"""# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Tiny
#
# MathJax is on the pages that have a formula: $x$.

# %%
from dashbook import plots
from dashbook.widgets import Parameter, explorer


def drawn(a, b="x"):
    figure, grid = plots.axes(size=(4.0, 2.0))
    grid[0, 0].bar([0, 1], [a, len(b)])
    return figure


weight, words = Parameter(r"$\lambda_t$", [1.0, 2.0, 3.0]), Parameter("words", ["x", "xx"])
explorer(drawn, weight, words, play=True, alt="Two bars")
"""
TOC = "format: jb-book\nroot: intro\nchapters:\n  - file: notebooks/01_tiny\n"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Build the book with the real configuration, but for an address; return its page."""
    folder = tmp_path_factory.mktemp("tiny")
    book = folder / "book"
    ignored = shutil.ignore_patterns("_build", "notebooks", "scripts")
    shutil.copytree(ROOT / "book", book, ignore=ignored)
    shutil.copy2(ROOT / "pyproject.toml", folder)
    (book / "_toc.yml").write_text(TOC)
    (book / "intro.md").write_text("# Intro\n")
    config = (book / "_config.yml").read_text()
    assert config.count('  url: ""\n') == 1
    address = "  url: https://github.com/owner/name\n"
    (book / "_config.yml").write_text(config.replace('  url: ""\n', address))
    twin = book / "notebooks/01_tiny.py"
    twin.parent.mkdir()
    twin.write_text(TEXT)
    stored = twin.with_suffix(".ipynb")
    job = execute.run_all([twin], lambda _, notebook: execute.write(notebook, stored))
    with ThreadPoolExecutor(1) as pool:  # playwright has a loop of its own in this thread
        pool.submit(asyncio.run, job).result()
    twin.unlink()
    build.jupyter_book(book, book)
    return book / "_build/html/notebooks/01_tiny.html"


@pytest.fixture
def page(chromium, tiny):
    context = chromium.new_context()
    page = watched(context, tiny.parents[1].as_uri())
    visit(page, tiny.as_uri())
    yield page
    assert page.problems == []
    context.close()


def alt(page):
    (shown,) = [i for i in page.query_selector_all(".widget-image") if i.is_visible()]
    return shown.get_attribute("alt")


def test_a_label_in_latex_is_typeset(page):
    first, second = page.query_selector_all(".dash-explorer .widget-hslider .widget-label")
    assert first.query_selector("mjx-container") is not None
    assert "$" not in first.inner_text()
    assert second.inner_text() == "words"


def test_handles_are_named_in_words(page):
    names = [h.get_attribute("aria-label") for h in page.query_selector_all(".noUi-handle")]
    assert names == ["lambda_t", "words"]


def test_the_text_follows_the_picture(page):
    assert alt(page) == "Two bars; lambda_t: 1; words: x"
    for handle in page.query_selector_all(".noUi-handle"):
        handle.focus()
        page.keyboard.press("ArrowRight")
    page.wait_for_timeout(200)
    assert alt(page) == "Two bars; lambda_t: 2; words: xx"


def test_play_runs_through_the_first_parameter(page):
    (explorer,) = explorers(page)
    explorer.query_selector(".widget-play button").click()
    page.wait_for_timeout(3000)
    assert alt(page) == "Two bars; lambda_t: 3; words: x"


def test_with_an_address_the_page_can_be_launched(tiny):
    links = {a.get("href") for _, a in Elements(tiny).found}
    colab = "https://colab.research.google.com/github/owner/name/blob/main/notebooks/01_tiny.ipynb"
    assert colab in links
