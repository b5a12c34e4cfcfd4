"""The built book in the dark theme: drawings turn over and can be read, photographs stay.

Contrasts are those of WCAG 2: at least 3 : 1 for lines and marks, 4.5 : 1 for text.
"""

import base64
import io
import json
import re

import pytest
from book_pages import CHAPTERS, HTML, emptied, explorers, shared, visit
from dash_ink import CLASS, is_ink
from matplotlib.colors import to_rgb
from PIL import Image
from test_plots import luminance

from dashbook import paper, playground, plots
from execute import ROOT

pytestmark = pytest.mark.browser

DARK = "document.documentElement.dataset.theme = 'dark'"
DRAWN = "main div.cell_output img"
FAINT = "#BBBBBB"  # what lies below the rest in the playground, in the light as in the dark
LINES = [*plots.CYCLE, *paper.COLORS.values(), *playground.SHADES]
LINES += [*playground.TRAININGS.values(), *playground.HIDDEN.values()]
for script in sorted((ROOT / "book/explorers").glob("*.js")):
    LINES += re.findall('#[0-9A-F]{6}(?=")', script.read_text().replace(FAINT, ""))
LINES = dict.fromkeys(LINES)
STYLE = "i => { const of = getComputedStyle(i); return [of.filter, of.mixBlendMode]; }"
SIDE = 12  # pixels of a swatch
GROUNDS = {"a page": "figure", "an explorer": "div.dash-explorer"}


@pytest.fixture(scope="module")
def pages(chromium):
    with shared(chromium, viewport={"width": 1280, "height": 900}) as page:
        yield page


@pytest.fixture
def page(pages):
    return emptied(pages)


def swatches(colours):
    """A PNG file of white, and then a square of each of these colours."""
    picture = Image.new("RGB", (SIDE * (len(colours) + 1), SIDE), "white")
    for i, colour in enumerate(colours, start=1):
        rgb = tuple(round(255 * part) for part in colour)
        picture.paste(rgb, (SIDE * i, 0, SIDE * (i + 1), SIDE))
    out = io.BytesIO()
    picture.save(out, format="png")
    return out.getvalue()


def seen(page, box, *, above=0):
    """The pixels of a part of the page, with so many rows above it."""
    clip = {key: box[key] for key in ("x", "width", "height")} | {"y": box["y"] - above}
    clip["height"] += above
    return Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")


def contrast(one, other):
    low, high = sorted(luminance([part / 255 for part in rgb]) for rgb in (one, other))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("ground", GROUNDS)
def test_every_colour_and_every_name_stands_out_from_a_dark_page(page, ground):
    """Swatches of all colours of lines, of their names and of black take the place of a picture."""
    visit(page, (HTML / "notebooks/08_loss_geometry.html").as_uri())
    page.evaluate(DARK)
    lines = [to_rgb(colour) for colour in LINES]
    names = [tuple(plots.INK_DEPTH * part for part in rgb) for rgb in lines]
    address = base64.b64encode(swatches([*lines, *names, (0, 0, 0)])).decode()
    image = page.query_selector(f"{GROUNDS[ground]} img.{CLASS}")
    size = f"image.width = {SIDE * (2 * len(lines) + 2)}; image.height = {SIDE}"
    shown = f"image.src = 'data:image/png;base64,{address}'; {size}; image.style.width = 'auto'"
    image.evaluate(
        f"async image => {{ {shown}; image.style.maxWidth = 'none'; await image.decode() }}"
    )
    image.scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    pixels = seen(page, image.bounding_box(), above=2)
    beyond = pixels.getpixel((SIDE // 2, 0))
    paper_seen, *colours = (
        pixels.getpixel((SIDE * i + SIDE // 2, 2 + SIDE // 2)) for i in range(2 * len(lines) + 2)
    )
    assert paper_seen == beyond, "the paper is the page"
    assert max(paper_seen) < 80, "and dark"
    found = [contrast(colour, paper_seen) for colour in colours]
    wrong = {name: of for name, of in zip(LINES, found, strict=False) if of < 3}
    assert wrong == {}, "lines"
    assert min(found[len(lines) :]) >= 4.5, "their names, and black text"


def stored(image):
    """The file of a picture of the built book."""
    return (HTML / "notebooks" / image.get_attribute("src")).resolve().read_bytes()


@pytest.mark.parametrize("name", CHAPTERS)
def test_drawings_turn_over_and_pictures_in_colour_do_not(page, name):
    """Every chapter has drawings; the corner of the first has the colour of what is above it."""
    visit(page, (HTML / name).as_uri())
    page.evaluate(DARK)
    drawings = []
    for image in filter(lambda image: image.is_visible(), page.query_selector_all(DRAWN)):
        style = image.evaluate(STYLE)
        turned = style == ["invert(1) hue-rotate(180deg)", "screen"]
        assert turned == is_ink(stored(image)), image.get_attribute("src")
        assert turned or style == ["none", "normal"]
        drawings += [image] * turned
    drawings[0].scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    pixels = seen(page, drawings[0].bounding_box(), above=2)
    assert pixels.getpixel((1, 3)) == pixels.getpixel((1, 0))


@pytest.mark.parametrize("name", CHAPTERS)
def test_an_explorer_shows_drawings_or_pictures_in_colour(page, name):
    """Its class is that of its first picture, so all are of one kind."""
    visit(page, (HTML / name).as_uri())
    for explorer in explorers(page):
        frames = json.loads(explorer.query_selector("script").text_content())
        files = [(HTML / "notebooks" / src).resolve() for src, _ in frames]
        assert len({is_ink(path.read_bytes()) for path in files}) == 1
