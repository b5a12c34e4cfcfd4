"""Photograph live explorers in headless Chromium, for readers without JavaScript.

python book/scripts/pictures.py          all of them, to book/_static/
python book/scripts/pictures.py geometry
"""

import html
import io
import json
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
STATIC = ROOT / "book" / "_static"
sys.path.append(str(ROOT / "book" / "_ext"))
TRAIN = "train a student under these weights"
PICTURES: dict[str, tuple[str, dict[str, float], list[str | tuple[str, float]]]] = {
    # by name: an explorer, its settings, and the buttons pressed and sliders moved before
    "geometry": ("geometry", {}, []),
    "playground": ("playground", {}, ["train a student"]),
    "trajectory": ("trajectory", {}, ["draw now"]),
    "learned": ("importance", {"lambda": 0}, [TRAIN, ("lambda", 1), TRAIN]),
}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PAGE = """<!doctype html><meta charset="utf-8">
<style>body {{ font-family: sans-serif }} {css}</style>
<div class="dash-live" id="{kind}" data-live="{kind}" data-state="{state}"></div>
<script defer src="live/live.js"></script>"""
IDLE = "document.querySelector('.dash-live-body').ariaBusy !== 'true'"
HIDDEN = ".dash-live-controls, .dash-live-bands, .dash-live-progress, .dash-live button"
LOOK = f"{HIDDEN} {{ display: none !important }}"


def write_page(folder: Path, kind: str, **changed: float) -> Path:
    """Write a page that holds one explorer, as the book's pages do; return its path."""
    import dash_live

    (folder / "live/weights").mkdir(parents=True, exist_ok=True)
    (folder / "live/live.js").write_text(dash_live.script())
    for file in dash_live.FILES.values():
        text = dash_live.weights_script(dash_live.results.load(f"digits/{file}"))
        (folder / f"live/weights/{file}.js").write_text(text)
    state = html.escape(json.dumps(dash_live.page_state(kind, **changed)))
    css = (STATIC / "live.css").read_text()
    page = folder / f"{kind}.html"
    page.write_text(PAGE.format(kind=kind, state=state, css=css))
    return page


def move(page: Page, moves: list[str | tuple[str, float]]) -> None:
    """Press buttons, by their text, and set sliders, by name and value; wait for what follows."""
    for one in moves:
        if isinstance(one, str):
            page.get_by_text(one, exact=True).click()
            page.wait_for_function("document.querySelector('.dash-live-note').innerText")
        else:
            name, value = one
            page.locator(f"[data-name={name}] input").fill(str(value))
        page.wait_for_function(IDLE)


def photograph(names: list[str]) -> None:
    """Open explorers, do what their pictures show, and keep that without its controls."""
    chromium = next(filter(None, map(shutil.which, BROWSERS)))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 840, "height": 900})
        page.set_default_timeout(120_000)
        for name in names:
            kind, changed, moves = PICTURES[name]
            page.goto(write_page(Path(folder), kind, **changed).as_uri())
            move(page, moves)
            page.add_style_tag(content=LOOK)
            shot = Image.open(io.BytesIO(page.locator(".dash-live").screenshot()))
            few = shot.convert("RGB").quantize(64, dither=Image.Dither.NONE)  # colours: it is small
            few.save(STATIC / f"{name}.png", optimize=True)
        browser.close()


if __name__ == "__main__":
    photograph(sys.argv[1:] or list(PICTURES))
