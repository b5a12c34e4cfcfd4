"""Explorers as widgets: Python sets them, and the kernel's networks draw for them."""

import json

import jupytext
import pytest
import torch
from book_pages import watched

pytest.importorskip("anywidget")

from dashbook import live
from dashbook.live import USUAL, Explorer, Sampler, state_of
from dashlib import results
from dashlib.guidance import TAG, Guided, Interval
from dashlib.sampling import ddim, starting_noise
from dashlib.schedule import Schedule
from dashlib.unet import UNet, UNetConfig
from execute import NOTEBOOKS

COLOUR = UNetConfig(image_channels=3, image_size=8, ch=8, mults=(1, 2), blocks=1, groups=4)
PAGE = """<div id="here" class="dash-live"></div><script type="module">
import widget from "/esm.js";
const state = await kernelState();
const calls = {};
const model = {
  get: (name) => state[name],
  set(name, value) { state[name] = value; kernelSet(name, value); this.tell(name); },
  tell(name) {
    for (const at of [`change:${name}`, "change"]) (calls[at] ?? []).forEach((call) => call());
  },
  on: (at, call) => (calls[at] ??= []).push(call),
  off() {},
  save_changes() {},
  send: (message) => kernelSend(message),
};
globalThis.arrive = (message) => calls["msg:custom"].forEach((call) => call(message));
globalThis.follow = (name, value) => { state[name] = value; model.tell(name); };
widget.render({ model, el: document.querySelector("#here") });
document.addEventListener("keydown", (event) => {  // JupyterLab takes the keys of a notebook
  if (!event.target.matches("[data-lm-suppress-shortcuts]")) event.preventDefault();
}, true);
</script>"""
IDLE = "document.querySelector('#here .dash-live-body').ariaBusy === 'false'"
PIXELS = """[...document.querySelectorAll('canvas')].map(canvas => [...canvas.getContext('2d')
    .getImageData(0, 0, canvas.width, canvas.height).data])"""


@pytest.fixture
def digits_dial():
    rows = {"teacher": "teacher-tirt", "dash": "dash-transfer-s0"}
    models = {key: results.load(f"digits/{run}").model() for key, run in rows.items()}
    return Sampler("dial", models, steps=10)


def expected(model, w, label, seed, steps):
    """The last predicted images, by dashlib's own guided predictor."""
    x_T, y = starting_noise(4, model.cfg, seed), torch.full((4,), label)
    return list(ddim(Guided(model, y, w), x_T, Schedule(), steps=steps))[-1].x0


@torch.no_grad()
@pytest.mark.parametrize(
    ("schedule", "scale"),
    [("constant", 4.0), ("tag", TAG(1, 4, 5)), ("interval", Interval(4, 200, 800))],
)
def test_the_kernel_draws_what_the_message_asks_for(digits_dial, schedule, scale):
    sent = []
    digits_dial.send = sent.append
    asked = USUAL["dial"] | {"steps": 10, "schedule": schedule}
    args = {"name": "dash", "y": [3] * 4, "seed": 2, "settings": asked}
    digits_dial._answer(7, "sample", args)
    assert all(message["id"] == 7 for message in sent)
    assert [m["value"]["done"] for m in sent[:-1]] == [0.2, 0.4, 0.6, 0.8, 1]
    end = sent[-1]["answer"]
    json.dumps(end)
    assert len(end["gaps"]) == 10
    want = expected(digits_dial.models["dash"], scale, 3, 2, 10)
    torch.testing.assert_close(torch.tensor(end["x0"]).view_as(want), want, atol=1e-3, rtol=0)


def test_a_run_that_is_cancelled_stops_and_an_error_is_told(digits_dial):
    sent = []
    digits_dial.send = sent.append
    digits_dial._receive(None, {"cancel": 7}, [])
    args = {"name": "dash", "y": [3], "seed": 2, "settings": USUAL["dial"]}
    digits_dial._answer(7, "sample", args)
    assert sent == [{"id": 7, "cancelled": True}]
    digits_dial._answer(8, "sample", args | {"name": "other"})
    assert sent[1:] == [{"id": 8, "error": "KeyError: 'other'"}]


def test_networks_of_any_name_have_colours_of_their_own():
    given = live.named({"DASH, v": "a", "teacher": "b", "mine": "c", "dash": "d", "yours": "e"})
    assert len({of["color"] for of in given.values()}) == 5
    assert given["dash"] == live.named({"dash": "d"})["dash"], "the book's stay what they are"


def test_a_setting_that_an_explorer_lacks_is_an_error():
    with pytest.raises(ValueError, match="importance has no gama: it has preset, gamma"):
        Explorer("importance", gama=2)
    assert state_of("importance", gamma=2)["usual"]["gamma"] == 2


def test_python_reads_and_sets_the_state_that_the_page_shares(digits_dial):
    assert (digits_dial.w, digits_dial.first, digits_dial.second) == (4, "dash", "none")
    digits_dial.w = 1.5
    assert digits_dial.get_state()["w"] == 1.5
    assert set(USUAL["dial"]) <= set(digits_dial.keys), "every trait is synchronised"


CELLS = [
    pytest.param(cell.source, id=twin.stem)
    for twin in sorted(NOTEBOOKS.glob("*.py"))
    for cell in jupytext.read(twin).cells
    if "skip-execution" in cell.metadata.get("tags", [])
]


@pytest.mark.parametrize("source", CELLS)
def test_what_jupyterlab_runs_in_a_chapter_is_an_explorer(source):
    *lines, last = source.splitlines()
    names = {"results": results, "torch": torch}
    exec("\n".join(lines), names)
    made = eval(last, names)
    assert isinstance(made, Explorer)
    json.dumps({name: getattr(made, name) for name in made.usual})
    if isinstance(made, Sampler):
        (at, _) = next(made.iterates(made.first, [3], 1, made.usual))
        assert at.x0.isfinite().all()


@torch.no_grad()
def test_a_trajectory_tells_every_state_at_its_end():
    models = {"first": UNet(COLOUR).eval(), "second": UNet(COLOUR).eval()}
    trajectory = Sampler("trajectory", models, steps=4)
    assert (trajectory.first, trajectory.second) == ("first", "second")
    args = {"name": "second", "y": [1, 2], "seed": 3, "settings": trajectory.usual}
    *reports, end = trajectory.trace(**args)
    assert [report["done"] for report in reports] == [0.25, 0.5, 0.75, 1]
    guided = Guided(models["second"], torch.tensor([1, 2]), 4)
    for found, want in zip(
        end["path"], ddim(guided, starting_noise(2, COLOUR, 3), Schedule(), steps=4), strict=True
    ):
        assert found["t"] == want.t
        for key, value in (("xt", want.x_t), ("x0", want.x0)):
            torch.testing.assert_close(torch.tensor(found[key]), value.flatten(), atol=1e-3, rtol=0)


@pytest.fixture
def shown(chromium):
    """A function that renders a component in a page whose kernel is this process."""
    contexts = []

    def shown(dial):
        contexts.append(chromium.new_context())
        page = watched(contexts[-1], "http://here/")
        page.route("http://here/", lambda route: route.fulfill(content_type="text/html", body=PAGE))
        script = {"content_type": "text/javascript", "body": dial._esm}
        page.route("http://here/esm.js", lambda route: route.fulfill(**script))
        shared = {k: v for k, v in dial.get_state().items() if k[0] != "_" and k != "layout"}
        dial.send = lambda message: page.evaluate("m => { arrive(m); }", message)
        page.expose_function("kernelState", lambda: shared)
        page.expose_function("kernelSet", lambda name, value: setattr(dial, name, value))
        page.inbox = []
        page.expose_function("kernelSend", lambda message: page.inbox.append(message))
        page.goto("http://here/")
        return page

    yield shown
    for context in contexts:
        context.close()


def answer(dial, message):
    """Answer a message as a kernel does, in this thread, where the page may be spoken to."""
    if "cancel" in message:
        dial._receive(None, message, [])
    else:
        dial._answer(**message)


def served(page, dial):
    """Answer as a kernel does, one message after the other, until nothing is asked for."""
    for _ in range(200):
        while page.inbox:
            answer(dial, page.inbox.pop(0))
        if page.evaluate(IDLE):
            return page.evaluate(PIXELS)
        page.wait_for_timeout(50)
    pytest.fail("still busy")


@pytest.mark.browser
@torch.no_grad()
def test_the_dial_shows_what_the_kernel_draws_and_tells_python_where_it_stands(shown, digits_dial):
    page = shown(digits_dial)
    served(page, digits_dial)
    slider = page.locator("[data-name=w] input")
    slider.focus()
    page.keyboard.press("Home")
    pixels = served(page, digits_dial)
    assert digits_dial.w == 0
    page.evaluate("follow('w', 1.5)")
    moved = served(page, digits_dial)
    for row, (model, found) in enumerate(zip(digits_dial.models.values(), moved, strict=True)):
        want = expected(model, 1.5, 3, 1, 10).clamp(-1, 1)
        grey = (127.5 * (1 - want)).permute(1, 2, 0, 3).reshape(8, 32)
        assert (torch.tensor(found).view(8, 32, 4)[..., 0] - grey).abs().max() < 0.7, row
    assert pixels != moved
    assert page.problems == []


@pytest.mark.browser
@torch.no_grad()
def test_colour_networks_are_shown_in_colour(shown):
    dial = Sampler("dial", {"teacher": UNet(COLOUR).eval()}, steps=5, w=1.0)
    page = shown(dial)
    (found,) = served(page, dial)
    want = 127.5 * (1 + expected(dial.models["teacher"], 1.0, 3, 1, 5).clamp(-1, 1))
    want = want.permute(2, 0, 3, 1).reshape(8, 32, 3)
    assert (torch.tensor(found).view(8, 32, 4)[..., :3] - want).abs().max() < 0.7
    assert page.problems == []


@pytest.mark.browser
@torch.no_grad()
def test_a_trait_draws_a_stored_student_of_cifar10(shown):
    """Of 32 x 32 pixels, three channels and v: its pictures at two scales are dashlib's."""
    student = results.load("cifar10/dash_v-high_noise-s0").model()
    dial = Sampler("dial", {"DASH, v": student}, steps=5, w=1.0, label=7)
    page = shown(dial)
    for w in (1.0, 2.5):
        page.evaluate("w => follow('w', w)", w)
        (found,) = served(page, dial)
        want = 127.5 * (1 + expected(student, w, 7, 1, 5).clamp(-1, 1))
        want = want.permute(2, 0, 3, 1).reshape(32, 128, 3)
        assert (torch.tensor(found).view(32, 128, 4)[..., :3] - want).abs().max() < 0.7
    assert page.problems == []
