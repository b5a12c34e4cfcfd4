"""Every address inside the built book leads somewhere; launch buttons need a repository."""

from functools import cache
from urllib.parse import unquote, urlsplit

import pytest
from book_pages import CHAPTERS, HTML, PAGES, Elements, skip_or_fail

import colab

pytestmark = pytest.mark.browser  # with the tests that need a built book

ADDRESSES = ("href", "src", "data-src", "poster")


@pytest.fixture(autouse=True)
def _built():
    if not CHAPTERS:
        skip_or_fail("the book is not built: run `make book`")


@cache
def elements(name):
    return Elements(HTML / name).found


@cache
def anchors(name):
    return {a[key] for _, a in elements(name) for key in ("id", "name") if a.get(key)}


def addresses(name):
    """Return what a page points at inside the book."""
    found = {a[key] for _, a in elements(name) for key in ADDRESSES if a.get(key)}
    return sorted(a for a in found if not urlsplit(a).scheme and not a.startswith("//"))


def problem(name, address):
    """Say what is wrong with an address on a page, or return None."""
    parts = urlsplit(address)
    target = (HTML / name).parent / unquote(parts.path) if parts.path else HTML / name
    if not target.resolve().is_file():
        return f"{address}: no such file"
    if not parts.fragment or target.suffix != ".html":
        return None
    inside = str(target.resolve().relative_to(HTML.resolve()))
    return None if unquote(parts.fragment) in anchors(inside) else f"{address}: no such anchor"


@pytest.mark.parametrize("name", PAGES)
def test_every_link_and_anchor_resolves(name):
    found = [problem(name, address) for address in addresses(name) if address != "#"]
    assert [p for p in found if p] == []


@pytest.mark.parametrize("name", PAGES)
def test_every_page_names_its_icon(name):
    """A browser asks the server of a page without one for /favicon.ico, which is not there."""
    icons = [a["href"] for tag, a in elements(name) if tag == "link" and a.get("rel") == "icon"]
    assert len(icons) == 1
    assert problem(name, icons[0]) is None


@pytest.mark.parametrize("name", PAGES)
def test_no_two_elements_share_an_anchor(name):
    ids = [a["id"] for _, a in elements(name) if a.get("id")]
    assert sorted(i for i in set(ids) if ids.count(i) > 1) == []


def test_chapters_offer_their_notebook():
    for name in CHAPTERS:
        source = f"../_sources/{name.removesuffix('.html')}.ipynb"
        assert any(a.get("href") == source for _, a in elements(name)), name


@pytest.mark.parametrize("name", CHAPTERS)
def test_launch_buttons_need_a_repository(name):
    links = [a["href"] for _, a in elements(name) if "colab" in (a.get("href") or "")]
    if not colab.repository():
        assert links == []
        assert not any("launch-buttons" in (a.get("class") or "") for _, a in elements(name))
        return
    owner_and_name = colab.repository().removeprefix("https://github.com/")
    notebook = f"{name.removesuffix('.html')}.ipynb"
    (link,) = set(links)
    assert link == (
        f"https://colab.research.google.com/github/{owner_and_name}/blob/main/{notebook}"
    )
    assert (HTML.parents[2] / notebook).is_file()
