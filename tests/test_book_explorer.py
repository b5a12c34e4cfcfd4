"""A book of one page, with the explorers that no chapter may have, and a repository address."""

import asyncio
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from book_pages import ROOT, Elements, made_once, visit, watched

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
# KaTeX is on the pages that have a formula: $x$.

# %%
from dashbook import plots
from dashbook.widgets import Parameter, explorer


def drawn(a, b="x"):
    figure, grid = plots.axes(size=(4.0, 2.0))
    grid[0, 0].bar([0, 1], [a, len(b)])
    grid[0, 0].set_title("Two bars")
    return figure


weight, words = Parameter(r"$\lambda_t$", [1.0, 2.0, 3.0, 4.0]), Parameter("words", ["x", "xx"])
explorer(drawn, weight, words)
"""
TOC = "format: jb-book\nroot: intro\nchapters:\n  - file: notebooks/01_tiny\n"


def one_page(folder):
    """Build the book with the real configuration, but for an address."""
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


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The page of that book."""
    folder = made_once(tmp_path_factory, "tiny", one_page)
    return folder / "book/_build/html/notebooks/01_tiny.html"


@pytest.fixture
def page(chromium, tiny):
    context = chromium.new_context()
    page = watched(context, tiny.parents[1].as_uri())
    visit(page, tiny.as_uri())
    yield page
    assert page.problems == []
    context.close()


def alt(page):
    return page.locator(".dash-explorer img").get_attribute("alt")


def test_a_label_in_latex_is_typeset(page):
    first, second = page.query_selector_all(".dash-explorer label > span, .dash-explorer legend")
    assert first.query_selector(".katex") is not None
    assert "$" not in first.inner_text()
    assert second.inner_text() == "words"


def test_inputs_are_named_in_words(page):
    assert page.get_by_role("slider", name="lambda_t", exact=True).count() == 1
    assert page.get_by_role("group", name="words").get_by_role("radio").count() == 2


def test_the_text_follows_the_picture(page):
    assert alt(page) == "Two bars; lambda_t: 1; words: x"
    for name in ("input[type=range]", "input:checked"):
        page.locator(f".dash-explorer {name}").focus()
        page.keyboard.press("ArrowRight")
    assert alt(page) == "Two bars; lambda_t: 2; words: xx"


def test_a_page_loads_one_picture_until_somebody_asks_for_more(chromium, tiny):
    context, asked = chromium.new_context(), set()
    page = watched(context, tiny.parents[1].as_uri())
    page.on("request", lambda request: asked.add(request.url))
    visit(page, tiny.as_uri())
    assert len([url for url in asked if "/explorers/" in url]) == 1
    page.locator("input:checked").focus()
    page.wait_for_timeout(500)
    assert len([url for url in asked if "/explorers/" in url]) == 8
    context.close()


def test_with_an_address_the_page_can_be_launched(tiny):
    links = {a.get("href") for _, a in Elements(tiny).found}
    colab = "https://colab.research.google.com/github/owner/name/blob/main/notebooks/01_tiny.ipynb"
    assert colab in links
