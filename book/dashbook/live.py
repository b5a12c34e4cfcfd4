"""Live explorers: their script and state, and the widgets that show them in JupyterLab and Colab.

A page opened from a disk may not import modules.  So the modules of book/explorers, and those of
book/live that they need, are joined to one script, for pages and for widgets alike.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from threading import Thread
from typing import Any

import anywidget
import torch
from torch import Tensor
from traitlets import Any as Trait

from dashbook.paper import COLORS, NAMES
from dashlib import results
from dashlib.guidance import TAG, Constant, Interval, branches
from dashlib.sampling import Iterate, ddim, starting_noise
from dashlib.schedule import Schedule
from dashlib.unet import UNet

BOOK = Path(__file__).parents[1]
MODULES = {path.stem: path for of in ("live", "explorers") for path in BOOK.glob(f"{of}/*.js")}
IMPORT = re.compile(r'^import \{([^}]*)\} from "[./\w]*/(\w+)\.js";\n', re.MULTILINE)
JUDGED = ("cond_only", "cond_only_dropout", "composite", "multi_w", "gap_match", "dash")
TRAINED = ("scratch", *JUDGED[:3], *JUDGED[4:], "dash_sampled")  # in the page
SCALES: dict[str, Any] = {"constant": (Constant, "w"), "interval": (Interval, "w", "low", "high")}
SCALES["tag"] = (TAG, "w_min", "w_max", "beta")
OTHERS = ("#B8336A", "#1F6E6E", "#6A3D9A", "#B15928")  # colors of networks not of the book
REPORTS = 5  # how often a run tells the page


def in_order(entry: str = "mount") -> dict[str, str]:
    """The texts of the modules that one needs, itself last, without imports and exports."""
    texts: dict[str, str] = {}

    def visit(name: str) -> None:
        text = MODULES[name].read_text()
        for found in IMPORT.finditer(text):
            if found[2] not in texts:
                visit(found[2])
        texts[name] = re.sub(r"^export ", "", IMPORT.sub("", text), flags=re.MULTILINE)

    visit(entry)
    return texts


def named(keys: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Describe every network to an explorer, ``keys`` from its row to the file of its weights."""
    names = NAMES | {"teacher_uniform": "Teacher, uniform weights"}
    colors = dict(zip(keys, OTHERS, strict=False)) | COLORS | {"teacher_uniform": "#8A8A8A"}
    return {
        key: {"name": names.get(key, key), "color": colors.get(key, "#333333"), "file": file}
        for key, file in keys.items()
    }


def learned() -> dict[str, list[float]]:
    """Give what two stored runs learned about every timestep: TIRT's lambda, and EDM2's u."""
    traces = {"lambda": "teacher-tirt", "u": "dash-uncertainty-s0"}
    last = {name: results.load(f"digits/{run}").trace[name][-1] for name, run in traces.items()}
    return {name: [round(value, 3) for value in of.tolist()] for name, of in last.items()}


BANDS = {f"band{i}": 0 for i in range(11)}  # at t = 0, 100, ..., 1000: powers of two
TURNED = {"w": 4, "label": 3, "seed": 1, "steps": 50, "clamp": "recompute"}
SCHEDULES = {"schedule": "constant", "w_min": 1, "w_max": 4, "beta": 5, "low": 200, "high": 800}
USUAL: dict[str, dict[str, Any]] = {  # what every explorer opens with, and its reset goes back to
    "dial": {**TURNED, **SCHEDULES, "first": "cond_only", "second": "composite", "third": "dash"},
    "importance": {"preset": "tirt", "gamma": 5, "lambda": 1, "objective": "dash"}
    | {"steps": 200, "seed": 1, **BANDS},
    "trajectory": TURNED | {"step": 25, "first": "teacher", "second": "dash"},
    "playground": {"objective": "cond_only", "w": 2, "t": 160, "label": "0"}
    | {"steps": 300, "seed": 1, "means": ""},
    "geometry": {"e_c": 0.6, "e_u": 0.8, "w": 1},
}
GIVEN: dict[str, Callable[[], dict[str, Any]]] = {  # what else some of them show
    "importance": lambda: {"learned": learned(), "objectives": {k: NAMES[k] for k in TRAINED}},
    "playground": lambda: {"objectives": named(dict.fromkeys(TRAINED, ""))},
    "geometry": lambda: {"objectives": named(dict.fromkeys(JUDGED, ""))},
}


def state_of(explorer: str, **changed: Any) -> dict[str, Any]:
    """The state of an explorer with some settings changed; ``ValueError`` for an unknown one."""
    usual = USUAL[explorer]
    if unknown := changed.keys() - usual:
        raise ValueError(f"{explorer} has no {', '.join(unknown)}: it has {', '.join(usual)}")
    usual = usual | changed
    return {**GIVEN.get(explorer, dict)(), **usual, "explorer": explorer, "usual": usual}


class Explorer(anywidget.AnyWidget):
    """A live explorer, by its name in ``USUAL``; what it shows follows its traits, its settings."""

    _esm = "\n".join([*in_order().values(), "export default { render };"])
    _css = BOOK / "_static/live.css"

    def __init__(self, explorer: str, more: Mapping[str, Any] = {}, **changed: Any) -> None:
        super().__init__()
        state = state_of(explorer, **changed) | dict(more)
        self.add_traits(**{name: Trait(value).tag(sync=True) for name, value in state.items()})
        self.add_class("dash-live")


class Sampler(Explorer):
    """An explorer of samples, ``dial`` or ``trajectory``, drawn by networks of this kernel.

    ``models`` are noise predictors of one image shape by name, on any device; ``dial`` shows the
    one called ``teacher`` always, and of the others as many as it has places for.
    """

    def __init__(self, explorer: str, models: Mapping[str, UNet], **changed: Any) -> None:
        self.models, self._cancelled = dict(models), set[int]()
        names = [key for key in models if explorer == "trajectory" or key != "teacher"]
        places = [place for place in ("first", "second", "third") if place in USUAL[explorer]]
        start = dict(zip(places, [*names, *["none"] * len(places)], strict=False))
        more = {"networks": named({key: key for key in models}), "computes": True}
        super().__init__(explorer, more, **(start | changed))
        self.on_msg(self._receive)

    def _receive(self, _: Any, message: dict[str, Any], __: Any) -> None:
        if "cancel" in message:
            self._cancelled.add(message["cancel"])
        else:  # in a thread, so that the kernel hears of a cancelled run
            Thread(target=self._answer, kwargs=message, daemon=True).start()

    def _answer(self, id: int, task: str, args: Mapping[str, Any]) -> None:
        """Send what a worker of the page would: reports, then an answer or an error."""
        end: dict[str, Any] = {}
        try:
            for report in {"sample": self.sample, "trace": self.trace}[task](**args):
                end = {"cancelled": True} if id in self._cancelled else {"answer": report}
                if "cancelled" in end:
                    break
                self.send({"id": id, "value": report})
        except Exception as error:
            end = {"error": f"{type(error).__name__}: {error}"}
        self.send({"id": id, **end})

    def sample(self, **args: Any) -> Iterator[dict[str, Any]]:
        """Some predicted images on the way, and the norm of the gap at each step."""
        gaps, steps = [], args["settings"]["steps"]
        for at, gap in self.iterates(**args):
            gaps.append([at.t, gap])
            if (at.index + 1) % max(steps // REPORTS, 1) and at.index + 1 < steps:
                continue
            shown = {"x0": _listed(at.x0), "channels": at.x0.shape[1]}
            yield {**shown, "gaps": gaps, "t": at.t, "done": (at.index + 1) / steps}

    def trace(self, **args: Any) -> Iterator[dict[str, Any]]:
        """Say how far the run is; at its end every state, and the images predicted from it."""
        path: list[dict[str, Any]] = []
        for at, _ in self.iterates(**args):
            path.append({"t": at.t, "xt": _listed(at.x_t), "x0": _listed(at.x0)})
            yield {"done": len(path) / args["settings"]["steps"]}
        yield {"path": path, "channels": at.x0.shape[1], "done": 1}

    @torch.no_grad()
    def iterates(
        self, name: str, y: list[int], seed: int, settings: Mapping[str, Any]
    ) -> Iterator[tuple[Iterate, float]]:
        """A guided run of a network, with the mean norm of the gap at each step."""
        kind, *names = SCALES[settings.get("schedule", "constant")]
        scale = kind(*(settings[key] for key in names))
        model, norm = self.models[name], 0.0
        device = next(model.parameters()).device
        labels = torch.tensor(y, device=device)

        def predict(x_t: Tensor, t: Tensor) -> Tensor:
            nonlocal norm
            both = branches(model, x_t, t, labels)
            norm = both.gap.flatten(1).norm(dim=1).mean().item()
            return both.guided(scale(t))

        x_T = starting_noise(len(y), model.cfg, seed).to(device)
        options = {key: settings[key] for key in ("steps", "clamp")}
        for at in ddim(predict, x_T, Schedule(), **options):
            yield at, norm


def _listed(x: Tensor) -> list[float]:
    return [round(value, 3) for value in x.flatten().tolist()]
