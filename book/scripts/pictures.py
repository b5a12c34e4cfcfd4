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
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]
STATIC = ROOT / "book" / "_static"
sys.path.append(str(ROOT / "book" / "_ext"))
BUTTONS = {"geometry": "", "playground": "train a student", "trajectory": "draw now"}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PAGE = """<!doctype html><meta charset="utf-8">
<style>body {{ font-family: sans-serif }} {css}</style>
<div class="dash-live" id="{kind}" data-live="{kind}" data-state="{state}"></div>
<script defer src="live/live.js"></script>"""
IDLE = "document.querySelector('.dash-live-body').ariaBusy !== 'true'"
LOOK = ".dash-live-controls, .dash-live-progress, .dash-live button { display: none !important }"


def write_page(folder: Path, kind: str) -> Path:
    """Write a page that holds one explorer, as the book's pages do; return its path."""
    import dash_live

    (folder / "live/weights").mkdir(parents=True, exist_ok=True)
    (folder / "live/live.js").write_text(dash_live.script())
    for file in dash_live.FILES.values():
        text = dash_live.weights_script(dash_live.results.load(f"digits/{file}"))
        (folder / f"live/weights/{file}.js").write_text(text)
    state = html.escape(json.dumps(dash_live.page_state(kind)))
    css = (STATIC / "live.css").read_text()
    page = folder / f"{kind}.html"
    page.write_text(PAGE.format(kind=kind, state=state, css=css))
    return page


def photograph(kinds: list[str]) -> None:
    """Open each explorer, press its button, wait, and keep what it shows without its controls."""
    chromium = next(filter(None, map(shutil.which, BROWSERS)))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 840, "height": 900})
        page.set_default_timeout(120_000)
        for kind in kinds:
            page.goto(write_page(Path(folder), kind).as_uri())
            if BUTTONS[kind]:
                page.get_by_text(BUTTONS[kind]).click()
                page.wait_for_function("document.querySelector('.dash-live-note').innerText")
            page.wait_for_function(IDLE)
            page.add_style_tag(content=LOOK)
            shot = Image.open(io.BytesIO(page.locator(".dash-live").screenshot()))
            few = shot.convert("RGB").quantize(64, dither=Image.Dither.NONE)  # colours: it is small
            few.save(STATIC / f"{kind}.png", optimize=True)
        browser.close()


if __name__ == "__main__":
    photograph(sys.argv[1:] or list(BUTTONS))
