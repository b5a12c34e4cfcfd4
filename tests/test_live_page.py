"""Explorers that compute in the page, in Chromium: their numbers are PyTorch's."""

import functools
import io
import re
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
import torch
from book_pages import ROOT, made_once, watched
from live_js import Random, Taught, needs_node, stored
from PIL import Image

import build
import dash_live
from dashbook import live
from dashbook.geometry import form_of
from dashbook.tirt import shares
from dashlib import results
from dashlib.guidance import TAG, Guided, Interval, branches
from dashlib.losses import make_objective, mse
from dashlib.sampling import ddim
from dashlib.schedule import Schedule
from dashlib.weighting import MinSNR, Uniform

pytestmark = pytest.mark.browser

PAGE = """# Intro

```{live} dial
:picture: /_static/teacher_and_students.png
:alt: pictures of a teacher and of its students
A caption.
```

```{live} importance
:picture: /_static/dial.png
:alt: weights of all timesteps
Another caption.
```

```{live} geometry
:picture: /_static/geometry.png
:alt: level lines of six losses
A third caption.
```

```{live} playground
:picture: /_static/playground.png
:alt: a flow and where it ends
A fourth caption.
```

```{live} trajectory
:picture: /_static/trajectory.png
:alt: states on the way
A fifth caption.
```
"""
COLD = 1_500_000  # bytes of a page, with all that it loads before anybody touches it
IDLE = "document.querySelector('{} .dash-live-body').ariaBusy === 'false'"
CAPTIONS = "[...document.querySelectorAll('#dial figcaption')].map(e => e.textContent)"
ALL_TOLD = f"{CAPTIONS}.filter(text => /mean gap \\d/.test(text)).length === 4"  # after ten steps
PIXELS = """[...document.querySelectorAll('#dial canvas')].map(canvas => {
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    return [...data].filter((_, i) => i % 4 === 0);
})"""
ROWS = {"Teacher": "teacher-tirt", "Cond-only": "cond_only-transfer-s0"}
ROWS |= {"Composite, w = 4": "composite-transfer-s0", "DASH": "dash-transfer-s0"}


TWO = "#dial.steps=15&dial.second=none&dial.third=none"  # the teacher and one student


def one_page(folder):
    """Build a book of one page that has every live explorer."""
    book = folder / "book"
    ignored = shutil.ignore_patterns("_build", "notebooks", "scripts")
    shutil.copytree(ROOT / "book", book, ignore=ignored)
    shutil.copy2(ROOT / "pyproject.toml", folder)
    (book / "_toc.yml").write_text("format: jb-book\nroot: intro\n")
    (book / "intro.md").write_text(PAGE)
    build.jupyter_book(book, book)


@pytest.fixture(scope="session")
def html(tmp_path_factory):
    """The folder of that book."""
    return made_once(tmp_path_factory, "live", one_page) / "book/_build/html"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def served(html):
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=html)) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


@pytest.fixture
def opened(chromium, html, served):
    """A function that opens the page, from the disk or the server, with options of the context."""
    contexts = []

    def opened(fragment="", *, disk=True, before="", seen=len, **options):
        options.setdefault("viewport", {"width": 1280, "height": 1000})
        contexts.append(chromium.new_context(**options))
        page = watched(contexts[-1], html.as_uri(), served)
        page.add_init_script(before)
        page.on("request", lambda request: seen(request.url))
        page.goto(f"{html.as_uri() if disk else served}/intro.html{fragment}")
        return page

    yield opened
    for context in contexts:
        context.close()


def swipe(page, start, end, steps=8):
    """Draw a finger over the page, from one place to another."""
    session = page.context.new_cdp_session(page)

    def touch(kind, *places):
        points = [{"x": x, "y": y} for x, y in places]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", start)
    for i in range(1, steps + 1):
        touch("touchMove", [a + (b - a) * i / steps for a, b in zip(start, end, strict=True)])
        page.wait_for_timeout(20)
    touch("touchEnd")


def middle(locator):
    """The middle of an element that is brought into view."""
    locator.scroll_into_view_if_needed()
    box = locator.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def slide(page, selector, share):
    """Take a slider's knob with a finger, and push it to a share of its way; return its number."""
    slider = page.locator(f"{selector} input")
    _, y = middle(slider)
    box = slider.bounding_box()
    low, high, now = (float(slider.evaluate(f"e => e.{name}")) for name in ("min", "max", "value"))

    def at(part):
        return box["x"] + 8 + part * (box["width"] - 16), y

    swipe(page, at((now - low) / (high - low)), at(share))
    return float(page.locator(f"{selector} output").inner_text())


def drawn(page):
    """Return what is shown once it stands still: the mean gap of each model, and its pictures."""
    page.wait_for_function(IDLE.format("#dial"))
    captions = [caption.split(" mean gap ") for caption in page.evaluate(CAPTIONS)]
    pictures = page.evaluate(PIXELS)
    shown = zip(captions, pictures, strict=True)
    return {name: (float(gap), torch.tensor(picture)) for (name, gap), picture in shown}


@functools.cache
def network(name):
    """The network of a digits run, which nothing changes."""
    return stored(name)[0].model()


@functools.cache
def sampled(name, y, scale, seed, **settings):
    """Four pictures on their way, by dashlib; one run serves all tests that ask for it."""
    x_T, labels = Random(seed).normals(4, 1, 8, 8), torch.full((4,), y)
    with torch.no_grad():
        return list(ddim(Guided(network(name), labels, scale), x_T, Schedule(), **settings))


@torch.no_grad()
def expected(name, y, scale, seed, **settings):
    """The mean norm of the gap, and the grey values of the pictures, by dashlib."""
    steps = sampled(name, y, scale, seed, **settings)
    t = torch.tensor([it.t for it in steps]).repeat_interleave(4)
    x_t = torch.cat([it.x_t for it in steps])
    gap = branches(network(name), x_t, t, torch.full_like(t, y)).gap
    grey = 127.5 * (1 - steps[-1].x0.clamp(-1, 1))
    return gap.flatten(1).norm(dim=1).mean().item(), grey[:, 0].permute(1, 0, 2).flatten()


def agree(shown, y, scale, seed, **settings):
    for name, (gap, picture) in shown.items():
        norm, grey = expected(ROWS[name], y, scale, seed, **settings)
        assert gap == pytest.approx(norm, abs=1.5e-3), name
        assert (picture - grey).abs().max() < 0.7, name  # a grey value is rounded


@pytest.mark.parametrize("w", [4.0, 1.0])
def test_the_landing_page_says_what_its_dial_shows(w):
    found = {row: expected(run, 3, w, 1) for row, run in ROWS.items()}
    gaps, pictures = ([of[i] for of in found.values()] for i in (0, 1))
    _, cond_only, composite, dash = (gap / gaps[0] for gap in gaps)
    assert cond_only == pytest.approx(3, abs=0.1), "three times too long"
    assert 2 < composite < 3
    assert dash == pytest.approx(1, abs=0.2), "within a fifth"
    away = [(picture - pictures[0]).abs().mean().item() for picture in pictures]
    assert (away[2] > 60) == (w == 1), "at w = 1 composite is lost"
    assert max(away[1], away[3]) < 40


def test_what_chapters_2_and_3_say_of_the_dials_gaps_is_so():
    """At digit 3, noise 1 and 50 steps, where both open."""
    rows = ("teacher", "composite", "gap_match", "scratch", "cond_only_dropout", "dash")
    norms, grey = {}, {}
    for row, w in [*product(rows, [4.0]), *product(rows[:3], [1.0])]:
        norms[row, w], grey[row, w] = expected(dash_live.FILES[row], 3, w, 1)
    times = {(row, w): norm / norms["teacher", w] for (row, w), norm in norms.items()}
    away = {at: (of - grey["teacher", at[1]]).abs().mean().item() for at, of in grey.items()}
    assert 2 < times["composite", 4.0] < times["composite", 1.0]
    assert away["composite", 4.0] < 40 < 60 < away["composite", 1.0]
    assert max(times["gap_match", w] for w in (1.0, 4.0)) < 1.5
    assert min(away["gap_match", w] for w in (1.0, 4.0)) > 60, "no digit at either"
    told = {row: round(times[row, 4.0], 2) for row in rows[3:]}
    assert told == {"scratch": 1.44, "cond_only_dropout": 1.19, "dash": 1.05}


SETTINGS = [  # more than the ten steps of the quick pictures, which come before
    (True, "#dial.w=1.5&dial.label=7&dial.seed=3&dial.steps=15", 7, 1.5, 3, {"steps": 15}),
    (
        *(False, "#dial.schedule=tag&dial.w_max=6&dial.clamp=clamp&dial.steps=15&dial.first=none"),
        *(3, TAG(1, 6, 5), 1),
        {"steps": 15, "clamp": "clamp"},
    ),
    (
        True,
        "#dial.schedule=interval&dial.low=300&dial.high=700&dial.w=8&dial.steps=15&dial.third=none",
        *(3, Interval(8, 300, 700), 1),
        {"steps": 15},
    ),
]


@pytest.mark.parametrize(("disk", "fragment", "y", "scale", "seed", "settings"), SETTINGS)
def test_a_linked_view_shows_what_pytorch_says(opened, disk, fragment, y, scale, seed, settings):
    page = opened(fragment, disk=disk)
    shown = drawn(page)
    assert len(shown) == 4 - ("none" in fragment)
    agree(shown, y, scale, seed, **settings)
    assert page.problems == []


def test_without_workers_the_page_computes_the_same_in_slices(opened):
    page = opened(TWO, before="delete window.Worker;")
    agree(drawn(page), 3, 4.0, 1, steps=15)
    assert page.problems == []


def test_without_javascript_a_picture_and_its_caption_stand_there(opened):
    page = opened(java_script_enabled=False)
    captions = ("A caption", "Another caption", "A third", "A fourth", "A fifth")
    for kind, caption in zip(
        ("dial", "importance", "geometry", "playground", "trajectory"), captions, strict=True
    ):
        assert page.locator(f"#{kind} img").is_visible()
        assert caption in page.locator(f"#{kind} figcaption").inner_text()
    assert page.locator(".dash-live input").count() == 0


def test_nothing_is_loaded_until_somebody_asks_and_the_page_is_light(opened, html, served):
    asked = set()
    page = opened("", disk=False, seen=asked.add)
    page.wait_for_load_state("networkidle")
    ours = [url.split("?")[0].removeprefix(served) for url in asked if url.startswith(served)]
    files = [html / path.lstrip("/") for path in ours]
    assert not [path for path in files if path.parent.name == "weights"]
    sizes = {str(path.relative_to(html)): path.stat().st_size for path in files}
    assert sum(sizes.values()) < COLD, sizes
    assert page.locator("#dial img").is_visible()
    page.click(".dash-live-start")
    page.wait_for_function(ALL_TOLD)
    assert not page.locator("#dial img").count()


def test_keys_a_drag_and_reset_move_the_pictures_and_the_address(opened):
    page = opened(TWO)
    agree(drawn(page), 3, 4.0, 1, steps=15)
    page.locator("#dial [data-name=w] input").focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    agree(drawn(page), 3, 4.2, 1, steps=15)
    assert "dial.w=4.2&" in page.url + "&"
    box = page.locator("#dial [data-name=label] input").bounding_box()
    x, y = box["x"] + box["width"], box["y"] + box["height"] / 2
    page.mouse.move(x - box["width"] * 2 / 3, y)
    page.mouse.down()
    page.mouse.move(x + 5, y, steps=4)
    page.mouse.up()
    assert page.locator("#dial [data-name=label] output").inner_text() == "9"
    agree(drawn(page), 9, 4.2, 1, steps=15)
    page.locator("#dial .dash-live-controls button").click()
    assert "#" not in page.url
    page.wait_for_function(ALL_TOLD)
    assert page.problems == []


def test_pictures_follow_a_dial_that_is_still_moving(opened):
    page = opened(f"{TWO}&dial.w=0")
    drawn(page)
    box = page.locator("#dial [data-name=w] input").bounding_box()
    y, seen = box["y"] + box["height"] / 2, set()
    page.mouse.move(box["x"] + 8, y)
    page.mouse.down()
    for step in range(60):  # a movement at each frame or two, without a rest
        page.mouse.move(box["x"] + 8 + step * (box["width"] - 16) / 60, y)
        page.wait_for_timeout(30)
        seen.add(page.evaluate(CAPTIONS)[1])
        if len(seen) > 3:
            break
    assert len(seen) > 3, "the last of the pictures change on the way, too"
    page.mouse.up()
    w = float(page.locator("#dial [data-name=w] output").inner_text())
    agree(drawn(page), 3, w, 1, steps=15)


def test_a_finger_turns_the_dial_on_a_phone(opened):
    page = opened(
        "#dial.steps=5&dial.second=none&dial.third=none",
        viewport={"width": 400, "height": 900},
        has_touch=True,
    )
    drawn(page)
    box = page.locator("#dial [data-name=w] input").bounding_box()
    page.touchscreen.tap(box["x"] + 0.9 * box["width"], box["y"] + box["height"] / 2)
    w = float(page.locator("#dial [data-name=w] output").inner_text())
    assert w > 6
    agree(drawn(page), 3, w, 1, steps=5)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    right = page.evaluate("document.querySelector('.dash-live').getBoundingClientRect().right")
    parts = "[...document.querySelectorAll('.dash-live *:not(svg svg, svg svg *)')]"  # not cut off
    assert max(page.evaluate(f"{parts}.map(e => e.getBoundingClientRect().right)")) <= right


def test_a_choice_shows_its_own_sliders(opened):
    page = opened()
    visible = "[...document.querySelectorAll('#dial [data-name]')].filter(e => e.offsetParent)"
    names = f"{visible}.map(e => e.dataset.name)"
    assert {"w"} == {"w", "w_min", "low"} & set(page.evaluate(names))
    page.locator("#dial [data-name=schedule] select").select_option("tag")
    assert {"w_min", "w_max", "beta"} <= set(page.evaluate(names))
    page.locator("#dial [data-name=schedule] select").select_option("interval")
    assert {"w", "low", "high"} <= set(page.evaluate(names))
    assert all(
        page.locator(f"[data-name={name}]").first.inner_text() for name in page.evaluate(names)
    )


TOLD = """globalThis.ended = [];  // of every run, whether it was cancelled
globalThis.Worker = class extends Worker {
    constructor(...given) {
        super(...given);
        this.addEventListener("message", ({ data }) =>
            "cancelled" in data && ended.push([data.cancelled, data.answer !== undefined]));
    }
};"""
LONG = "#dial.steps=100&trajectory.steps=100&importance.steps=600&playground.steps=600"
BUTTONS = {"importance": "under these weights", "playground": "train a student"}


def cancelled(page, kind):
    """Let an explorer work until its bar moves, and press cancel: its run ends, without answer."""
    bar = page.locator(f"#{kind} progress")
    if kind in BUTTONS:
        page.locator(f"#{kind} button", has_text=BUTTONS[kind]).click()
    page.wait_for_function("bar => bar.value > 0 && bar.value < 1", arg=bar.element_handle())
    page.evaluate("ended.length = 0")
    page.locator(f"#{kind} .dash-live-progress button").click()
    page.wait_for_function(IDLE.format(f"#{kind}"))
    page.wait_for_function("ended.some(([cancelled]) => cancelled)")
    assert page.evaluate("ended.every(([cancelled, answered]) => cancelled !== answered)")
    assert bar.evaluate("bar => bar.value") == 1
    assert page.locator(f"#{kind} .dash-live-progress button").is_disabled()


def test_cancel_stops_every_explorer_that_works_for_a_while(opened):
    page = opened(LONG, before=TOLD)
    for kind in ("dial", "trajectory", *BUTTONS):
        cancelled(page, kind)
    assert settled(page, "trajectory") == [""], "nothing was sampled to its end"
    assert not page.evaluate(ENDS).startswith("Endpoint distance"), "there is no student"
    page.locator("#trajectory [data-name=steps] input").fill("5")
    page.wait_for_function("document.querySelector('#trajectory .dash-live-note').innerText")
    told_as_sampled(page, 5, steps=5, w=4.0)
    assert page.problems == []


def test_errors_are_shown_in_the_page(opened, html):
    page = opened("#dial.steps=5&dial.second=none&dial.third=none")
    lost = html / "live/weights/scratch-transfer-s0.js"
    hidden = lost.rename(lost.with_suffix(".away"))
    page.locator("#dial [data-name=first] select").select_option("scratch")
    page.wait_for_selector(".dash-live-error")
    assert "scratch-transfer-s0.js is not there" in page.locator(".dash-live-error").inner_text()
    hidden.rename(lost)


KINDS = ("dial", "importance", "geometry", "playground", "trajectory")
QUICK = "#dial.steps=5&dial.first=none&dial.second=none&trajectory.steps=5"
BROKEN = "broken on purpose"


def test_whatever_goes_wrong_is_told_in_the_explorer_until_it_works_again(opened):
    page = opened(QUICK)
    for kind in KINDS:
        settled(page, kind)
    page.evaluate(
        """text => {
            globalThis.whole = Element.prototype.replaceChildren;
            Element.prototype.replaceChildren = () => { throw new Error(text); };
        }""",
        BROKEN,
    )
    names = {"dial": "w", "importance": "gamma", "trajectory": "w"}
    for kind in KINDS:
        page.locator(f"#{kind} [data-name={names.get(kind, 'w')}] input").press("ArrowRight")
        page.wait_for_function(f"document.querySelector('#{kind} .dash-live-error')")
        assert BROKEN in page.locator(f"#{kind} .dash-live-error").inner_text()
    page.evaluate("() => { Element.prototype.replaceChildren = globalThis.whole; }")
    for kind in KINDS:
        page.locator(f"#{kind} [data-name={names.get(kind, 'w')}] input").press("ArrowLeft")
        settled(page, kind)
        assert not page.locator(f"#{kind} .dash-live-error").count(), kind
    assert page.problems == [], "told, and nothing besides"


def test_a_drawing_that_fails_on_the_way_is_told(opened):
    """A report of the worker that cannot be shown ends its run."""
    page = opened("#dial.steps=10&dial.second=none&dial.third=none")
    drawn(page)
    page.evaluate("text => { ImageData = function () { throw new Error(text); }; }", BROKEN)
    page.locator("#dial [data-name=w] input").press("ArrowRight")
    page.wait_for_function("document.querySelector('#dial .dash-live-error')")
    assert BROKEN in page.locator("#dial .dash-live-error").inner_text()
    page.wait_for_function(IDLE.format("#dial"))


WIDTHS = """kinds => kinds.flatMap(kind =>
    [...document.querySelectorAll(`#${kind} .dash-live-chart > svg, #${kind} .dash-live-plane`)]
        .map(svg => [svg.getBoundingClientRect().width, svg.parentElement.clientWidth]))"""


def test_explorers_are_drawn_again_when_the_window_changes(opened):
    """At its new width, with the numbers that they had: nothing is sampled or trained for it."""
    page = opened(QUICK, disk=False)
    said = {kind: settled(page, kind) for kind in KINDS}
    shown = drawn(page).keys()
    wide = page.evaluate(WIDTHS, KINDS)
    for width in (400, 1280):
        page.evaluate(
            "() => { globalThis.busy = 0; new MutationObserver((all) => { "
            "busy += all.filter(({ target }) => target.ariaBusy === 'true').length; })"
            ".observe(document.body, { subtree: true, attributeFilter: ['aria-busy'] }); }"
        )
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(500)
        for drawing, room in page.evaluate(WIDTHS, KINDS):
            assert room - 16 <= drawing <= room or drawing == 460 < room, width
        assert page.evaluate("busy") == 0
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert {kind: settled(page, kind) for kind in KINDS} == said
        assert drawn(page).keys() == shown
    assert page.evaluate(WIDTHS, KINDS) == wide
    assert page.problems == []


LIGHTS = """() => [".dash-live", ".dash-live output"].map(name => {
    const style = getComputedStyle(document.querySelector(name));
    const colour = name === ".dash-live" ? style.backgroundColor : style.color;
    const [r, g, b] = colour.match(/[\\d.]+/g).map(Number);
    return 0.3 * r + 0.6 * g + 0.1 * b;
})"""


CHARTS = ".dash-live-chart:not(:empty), .dash-live-half, #dial figcaption"


def seen_in(page, chart):
    """The colours above an element and of its paper, and the gray level furthest from this."""
    chart.scroll_into_view_if_needed()
    box, above = chart.bounding_box(), 4
    clip = box | {"y": box["y"] - above, "height": box["height"] + above}
    pixels = Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")
    middle = pixels.width // 2
    paper = pixels.getpixel((middle, above + 3))
    levels = np.asarray(pixels.convert("L"), dtype=int)[above:]
    return pixels.getpixel((middle, 1)), paper, levels.flat[abs(levels - sum(paper) / 3).argmax()]


@torch.no_grad()
@pytest.mark.parametrize(("disk", "width", "theme"), [(True, 400, "dark"), (False, 1280, "light")])
def test_every_explorer_answers_at_any_width_in_any_light(opened, schedule, disk, width, theme):
    page = opened(
        f"{QUICK}&dial.third=none&geometry.w=2&importance.preset=min_snr&trajectory.step=2"
        "&trajectory.w=1.95",
        disk=disk,
        viewport={"width": width, "height": 900},
        color_scheme=theme,
    )
    surface, text = page.evaluate(LIGHTS)
    assert (surface < 90 and text > 180) if theme == "dark" else (surface > 220 and text < 90)
    agree(drawn(page), 3, 4.0, 1, steps=5)
    for chart in page.locator(CHARTS).all():
        around, paper, ink = seen_in(page, chart)
        assert paper == around if theme == "dark" else min(paper) > 250
        assert abs(ink - sum(paper) / 3) > 100, "axes and names stand out"
    page.locator("#dial [data-name=w] input").press("ArrowLeft")
    agree(drawn(page), 3, 3.95, 1, steps=5)
    assert notes(page)[0] == percents(MinSNR(schedule).importance())
    page.locator("#importance [data-name=gamma] input").press("ArrowRight")
    assert notes(page)[0] == percents(MinSNR(schedule, 5.5).importance())
    judged(page, 2)
    page.locator("#geometry [data-name=w] input").press("ArrowRight")
    judged(page, 2.05)
    for step in (2, 3):
        settled(page, "trajectory")
        told_as_sampled(page, step, steps=5, w=1.95)
        page.locator("#trajectory [data-name=step] input").press("ArrowRight")
    at = page.locator("#playground [data-name=t] output").inner_text()
    page.locator("#playground [data-name=t] input").press("ArrowRight")
    assert f"at t = {int(at) + 1}," in page.locator("#playground svg").first.get_attribute(
        "aria-label"
    )
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.problems == []


def told_as_sampled(page, step, steps, w):
    """The trajectory says of a step how far apart dashlib's two runs are there."""
    names = "teacher-tirt", "dash-transfer-s0"
    runs = [sampled(name, 3, w, 1, steps=steps)[step - 1] for name in names]
    (note,) = settled(page, "trajectory")
    assert note.startswith(f"Step {step}, t = {runs[0].t}:")
    told = [float(n) for n in re.findall(r"(\d\.\d+)", note)]
    want = [mse(*(getattr(at, key) for at in runs)).mean().sqrt().item() for key in ("x_t", "x0")]
    assert told == pytest.approx(want, abs=1.5e-3)
    return runs


def notes(page):
    """The shares of the weight, in per cent, and the mean errors by their names."""
    shares, errors = page.locator("#importance .dash-live-note").all_inner_texts()
    named = re.findall(r"(untrained|trained before|trained now) (\d+\.\d+)", errors)
    return [float(share) for share in re.findall(r"([\d.]+) %", shares)], dict(named)


def percents(importance):
    return [pytest.approx(100 * share, abs=0.06) for share in shares(importance)]


def test_the_importance_follows_its_preset_its_sliders_and_the_pointer(opened, schedule):
    page = opened()
    assert notes(page)[0] == percents(results.load("digits/teacher-tirt").importance())
    page.locator("#importance [data-name=preset] select").select_option("min_snr")
    assert notes(page)[0] == percents(MinSNR(schedule).importance())
    page.locator("#importance [data-name=gamma] input").focus()
    page.keyboard.press("Home")
    assert notes(page)[0] == percents(MinSNR(schedule, 1.0).importance())
    page.locator("#importance [data-name=band8] input").focus()
    for _ in range(4):
        page.keyboard.press("ArrowUp")
    t = torch.arange(1000)
    lift = 2 ** (1 - (t - 800).abs() / 100).clamp(min=0)
    omega = MinSNR(schedule, 1.0).importance() * lift
    assert notes(page)[0] == percents(omega / omega.mean())
    assert "importance.band8=1" in page.url
    page.locator("#importance .dash-live-controls button").click()
    box = page.locator("#importance svg").first.bounding_box()
    x, y = box["x"] + 52 + 0.2 * (box["width"] - 76), box["y"] + box["height"]
    page.mouse.move(x, y - 40 - 60)
    page.mouse.down()
    page.mouse.move(x, y - 40 - 10, steps=3)
    page.mouse.up()
    assert float(page.locator("#importance [data-name=band2] output").inner_text()) < -1
    assert page.problems == []


@functools.cache
def taught(preset):
    """A student of the page's 20 steps under an importance, for all tests that press the button."""
    learned = results.load("digits/teacher-tirt").importance()
    importance = learned if preset == "tirt" else Uniform(Schedule()).importance()
    return Taught("dash", importance, steps=20, seed=3)


@needs_node
@pytest.mark.parametrize("before", ["", "delete window.Worker;"])
def test_students_trained_under_two_importances_are_dashlibs(opened, before):
    page = opened("#importance.steps=20&importance.seed=3", before=before)
    train = page.get_by_text("under these weights")
    train.click()
    page.wait_for_function(IDLE.format("#importance"))
    assert list(notes(page)[1]) == ["untrained", "trained now"]
    page.locator("#importance [data-name=preset] select").select_option("uniform")
    train.click()
    page.wait_for_function(IDLE.format("#importance"))
    first, second = taught("tirt"), taught("uniform")
    want = {"untrained": first.untrained, "trained before": first.trained}
    want["trained now"] = second.trained
    told = {name: float(error) for name, error in notes(page)[1].items()}
    assert told == pytest.approx(want, rel=5e-3, abs=6e-5)
    assert page.problems == []


def judged(page, w):
    """Tell what the geometry's table and note say, beside what dashbook and the sliders say."""
    e = [
        float(page.locator(f"#geometry [data-name={k}] output").inner_text())
        for k in ("e_c", "e_u")
    ]
    options = {"composite": {"w": w}, "multi_w": {"low": min(1, w), "high": max(1, w)}}
    rows = page.locator("#geometry tbody tr").all()
    for row, name in zip(rows, live.JUDGED, strict=True):
        form = form_of(make_objective(name, **options.get(name, {}))).matrix
        want = [e @ form @ e, *(-2 * form @ e)]
        shown = [float(cell) for cell in row.locator("td").all_inner_texts()]
        assert shown == pytest.approx(want, abs=0.006), name
    note = page.locator("#geometry .dash-live-note").inner_text()
    assert float(note.rstrip(".").split(": ")[1]) == pytest.approx(
        abs(w * e[0] + (1 - w) * e[1]), abs=0.006
    )
    return e


def test_the_geometry_follows_keys_a_drag_and_a_finger(opened):
    page = opened("#geometry.w=2.5", viewport={"width": 400, "height": 900}, has_touch=True)
    assert judged(page, 2.5) == [0.6, 0.8]
    point = page.locator("#geometry circle")
    point.focus()
    page.keyboard.press("ArrowRight")
    assert judged(page, 2.5) == [0.65, 0.8]
    box = point.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 70, y + 90, steps=4)
    page.mouse.up()
    dragged = judged(page, 2.5)
    assert dragged[0] < 0.2 > dragged[1]
    box = page.locator("#geometry [data-name=w] input").bounding_box()
    page.touchscreen.tap(box["x"] + 0.5 * box["width"], box["y"] + box["height"] / 2)
    w = float(page.locator("#geometry [data-name=w] output").inner_text())
    assert 3.5 < w < 4.5
    assert judged(page, w) == dragged
    assert f"geometry.e_c={dragged[0]:g}" in page.url
    page.locator("#geometry .dash-live-controls button").click()
    assert judged(page, 1) == [0.6, 0.8]
    assert "#" not in page.url
    assert page.problems == []


def settled(page, kind):
    """The notes of an explorer once it stands still."""
    page.wait_for_function(f"document.querySelector('#{kind} .dash-live-body').ariaBusy !== 'true'")
    if kind == "playground":
        page.wait_for_function(ENDS)
    return page.locator(f"#{kind} .dash-live-note").all_inner_texts()


ENDS = "document.querySelectorAll('#playground .dash-live-note')[1].innerText"


def as_taught(page, taught, *scales):
    """Press the button: the gap report, and the distance at each scale, are dashlib's."""
    page.get_by_text("train a student", exact=True).click()
    page.wait_for_function(f"{ENDS}.startsWith('Endpoint distance')")
    told, gap = settled(page, "playground")[0], taught.gap()
    keys = {"rho": "ρ", "cos": "cos", "cond_mse": "ec²", "uncond_mse": "eu²"}
    for key, name in keys.items():
        found = float(re.search(rf"{name} ([\d.]+)", told)[1])
        assert found == pytest.approx(gap[key], rel=5e-3, abs=6e-4), key
    for w in scales:
        slider = page.locator("#playground [data-name=w] input")
        slider.evaluate("(e, w) => { e.value = w; e.dispatchEvent(new Event('input')); }", w)
        page.wait_for_function(f"{ENDS}.startsWith('Endpoint distance at w = {w:g}:')")
        found = float(page.evaluate(ENDS).rstrip(".").split(": ")[1])
        assert found == pytest.approx(taught.apart(float(w)), rel=2e-2), w


@needs_node
def test_the_playground_trains_and_a_mean_that_is_dragged_makes_another_teacher(opened):
    page = opened(
        "#playground.objective=dash&playground.steps=20&playground.seed=3", has_touch=True
    )
    page.wait_for_function(f"{ENDS}.includes('exact field at w = 2')")
    as_taught(page, taught("uniform"), 2, 7)
    x, y = middle(page.locator("#playground circle").nth(2))
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y + 40, steps=4)
    page.mouse.up()
    page.wait_for_function(f"{ENDS}.includes('exact field')")
    moved = page.locator("#playground circle").nth(2).get_attribute("aria-valuetext")
    page.locator("#playground circle").nth(2).focus()
    page.keyboard.press("ArrowUp")
    assert page.locator("#playground circle").nth(2).get_attribute("aria-valuetext") != moved
    given = parse_qs(urlsplit(page.url).fragment)["playground.means"][0]
    means = [[float(of) for of in pair.split(",")] for pair in given.split(";")]
    page.locator("#playground [data-name=objective] select").select_option("cond_only")
    alone = Taught("cond_only", torch.ones(1000), steps=20, seed=3, means=means)
    as_taught(page, alone, 4)
    page.locator("#playground .dash-live-controls button").click()
    page.wait_for_function(f"{ENDS}.includes('exact field at w = 2')")
    assert "#" not in page.url
    assert page.problems == []


def test_means_that_cannot_be_read_are_told_in_the_page(opened):
    page = opened("#playground.means=1,2")
    assert "nine pairs x,y" in page.locator("#playground .dash-live-error").inner_text()


@torch.no_grad()
def test_the_trajectory_shows_both_models_at_the_step_that_is_scrubbed(opened):
    page = opened("#trajectory.steps=20&trajectory.w=2&trajectory.step=10", disk=False)

    def agrees(step):
        at, beside = told_as_sampled(page, step, steps=20, w=2.0)
        shown = torch.tensor(page.evaluate(PIXELS.replace("#dial", "#trajectory")))
        for row, x in zip(shown, (at.x_t, at.x0, beside.x_t, beside.x0), strict=True):
            grey = 127.5 * (1 - x.clamp(-1, 1))[:, 0].permute(1, 0, 2).flatten()
            assert (row - grey).abs().max() < 0.7

    agrees(10)
    step = page.locator("#trajectory [data-name=step] input")
    step.focus()
    page.keyboard.press("ArrowRight")
    agrees(11)
    box = step.bounding_box()
    y_of = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.2 * box["width"], y_of)
    page.mouse.down()
    page.mouse.move(box["x"] + 8, y_of, steps=3)
    page.mouse.up()
    agrees(int(page.locator("#trajectory [data-name=step] output").inner_text()))
    page.locator("#trajectory .dash-live-controls button").click()
    assert page.locator("#trajectory [data-name=step] output").inner_text() == "25"
    assert "#" not in page.url
    assert page.problems == []


@torch.no_grad()
def test_a_finger_drags_whatever_can_be_dragged_on_a_phone(opened):
    page = opened(
        f"{QUICK}&importance.preset=uniform", viewport={"width": 400, "height": 900}, has_touch=True
    )
    settled(page, "dial")
    w = slide(page, "#dial [data-name=w]", 0.9)
    assert 6 < w < 8
    agree(drawn(page), 3, w, 1, steps=5)
    settled(page, "trajectory")
    step = slide(page, "#trajectory [data-name=step]", 0.02)
    told_as_sampled(page, int(step), steps=5, w=4.0)
    x, y = middle(page.locator("#geometry circle"))
    swipe(page, (x + 15, y), (x - 60, y + 90))  # not quite on the point
    assert judged(page, 1)[0] < 0.2
    curve = page.locator("#importance svg").first
    curve.scroll_into_view_if_needed()
    box = curve.bounding_box()
    x, low = box["x"] + 52 + 0.7 * (box["width"] - 76), box["y"] + box["height"] - 40
    swipe(page, (x, low - 60), (x, low - 15))
    lift = float(page.locator("#importance [data-name=band7] output").inner_text())
    assert lift < -1
    omega = 2 ** (lift * (1 - (torch.arange(1000) - 700).abs() / 100).clamp(min=0))
    assert notes(page)[0] == percents(omega / omega.mean())
    before = page.locator("#playground circle").nth(3).get_attribute("aria-valuetext")
    x, y = middle(page.locator("#playground circle").nth(3))
    swipe(page, (x, y), (x + 50, y - 50))
    assert page.locator("#playground circle").nth(3).get_attribute("aria-valuetext") != before
    assert "playground.means=" in page.url
    assert page.problems == []
