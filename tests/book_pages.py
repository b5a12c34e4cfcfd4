"""Share among the tests of the built book: its pages, a browser, when a page is ready."""

import os
import shutil
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "book/_build/stored/_build/html"
PAGES = sorted(str(p.relative_to(HTML)) for p in HTML.rglob("*.html") if "_static" not in p.parts)
CHAPTERS = [p for p in PAGES if p.startswith("notebooks/")]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
PATIENCE = 120_000  # ms: a busy machine is slow, not broken
READY = """() => [...document.images].every(image => image.complete)
    && [...document.querySelectorAll(".math")].every(e => e.querySelector(".katex"))"""


class Elements(HTMLParser):
    """The elements of a page in order, as pairs of a tag and its attributes."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def skip_or_fail(reason):
    """Skip, except under CI=true, where a missing browser or book is a failure."""
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)


def made_once(folders, name, make):
    """A folder that the first of pytest's processes makes, while the others wait for it.

    ``folders`` is pytest's ``tmp_path_factory``.
    """
    base = folders.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    made = folder.with_suffix(".made")
    with FileLock(folder.with_suffix(".lock")):
        if not made.exists():
            make(folder)
            made.touch()
    return folder


@contextmanager
def launched():
    """Run Chromium."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        skip_or_fail(f"none of {', '.join(BROWSERS)} is installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


def watched(context, *inside):
    """Open a page that notes what it asks for outside these addresses and what goes wrong in it."""
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.problems = []
    note = page.problems.append
    within = (*inside, "data:", "blob:")
    page.on("request", lambda r: r.url.startswith(within) or note(f"asks for {r.url}"))
    page.on("requestfailed", lambda r: note(f"did not find {r.url}"))
    page.on("response", lambda r: r.status < 400 or note(f"status {r.status} for {r.url}"))
    page.on("pageerror", lambda e: note(f"error {e}"))
    page.on("console", lambda m: m.type != "error" or note(f"console: {m.text} {m.location}"))
    return page


@contextmanager
def shared(chromium, *inside, **options):
    """A page for many tests, which read scripts and fonts once; see :func:`emptied`."""
    if not CHAPTERS:
        skip_or_fail("the book is not built: run `make book`")
    context = chromium.new_context(**options)
    yield watched(context, *(inside or (HTML.as_uri(),)))
    context.close()


def emptied(page):
    """The page without what the test before showed in it, and found wrong."""
    page.goto("about:blank")
    page.problems.clear()
    return page


def visit(page, url):
    """Go to a page and wait until its pictures and formulas are there."""
    page.goto(url, timeout=PATIENCE)
    page.wait_for_function(READY, timeout=PATIENCE)
    page.wait_for_timeout(300)


def explorers(page):
    return page.query_selector_all(".dash-explorer")
