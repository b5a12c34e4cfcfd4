"""Stored runs: every number in the book is read from one of these.

A run is a folder ``results/<scale>/<name>/`` with ``run.json`` (a :class:`Run`) and the files that
it lists, with their SHA-256 and one of all else that it holds.  It is written last, atomically: a
run made again and killed leaves the former one valid.
"""

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, get_args, get_type_hints

import torch
from torch import Tensor

from dashlib import checkpoints
from dashlib.blocks import UNetConfig
from dashlib.checkpoints import load_into, read_tensors, sha256, write_atomically
from dashlib.classifier import Classifier
from dashlib.schedule import Schedule
from dashlib.unet import UNet
from dashlib.weighting import WEIGHTINGS, Weighting, make_weighting


class MissingRun(FileNotFoundError):
    """A run that is not stored; the message names the command that makes it."""


def root() -> Path:
    """Return the folder of the runs: ``$DASH_RESULTS``, or ``results/`` beside the package."""
    return Path(os.environ.get("DASH_RESULTS", Path(__file__).parent.parent / "results"))


def hardware() -> str:
    """The processor (or GPU) and how many threads torch uses."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    found = (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return f"{next(found, platform.processor())}, {torch.get_num_threads()} thread(s)"


def commit() -> str:
    """The commit of dashlib, ``+`` if edited since; without history ``$DASH_COMMIT`` or unknown."""

    def git(*args: str) -> str:
        here = Path(__file__).parent
        return subprocess.check_output(["git", *args], cwd=here, stderr=subprocess.PIPE, text=True)

    try:
        edited = git("status", "--porcelain", "--", ".") != ""
        return git("rev-parse", "--short=12", "HEAD").strip() + "+" * edited
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("DASH_COMMIT", "unknown")


def versions() -> dict[str, str]:
    """The versions of Python and torch."""
    return {"python": platform.python_version(), "torch": torch.__version__}


def provenance() -> dict[str, Any]:
    """Describe the making of a stored number: ``commit``, ``hardware``, ``versions``."""
    return {"commit": commit(), "hardware": hardware(), "versions": versions()}


@dataclass(frozen=True)
class Run:
    """One stored run.  ``files`` maps a part (``weights``, ``trace``) to its name and SHA-256."""

    name: str
    config: dict[str, Any]
    seed: int
    seconds: dict[str, float]  # of wall clock, by phase
    cpu_seconds: float  # of one core: what the run costs on an idle machine
    samples: int
    metrics: dict[str, Any]
    commit: str = field(default_factory=commit)
    hardware: str = field(default_factory=hardware)
    versions: dict[str, str] = field(default_factory=lambda: versions())
    files: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Return the folder of the run; ``ValueError`` for a name that leaves the results."""
        folder = root() / self.name
        if root().resolve() not in folder.resolve().parents:
            raise ValueError(f"run {self.name!r}: a name such as digits/dash-transfer-s0")
        return folder

    def tensors(self, part: str) -> dict[str, Tensor]:
        """The tensors of a part, after checking its SHA-256; ``CheckpointError`` if damaged."""
        entry = self.files[part]
        path = self.folder / Path(entry["name"]).name
        with checkpoints.reading(path):
            if sha256(path.read_bytes()) != entry["sha256"]:
                raise ValueError("it is not the file whose SHA-256 is in run.json")
            return read_tensors(path)

    @cached_property
    def trace(self) -> dict[str, Tensor]:
        """Curves and pictures kept with the run: losses, importance over training, samples."""
        return self.tensors("trace")

    def model(self) -> UNet:
        """The averaged network, frozen; ``MissingRun`` if not shipped, ``ValueError`` if none."""
        if "weights" not in self.files:
            scale = self.name.split("/")[0]
            made = f"dashlib make {self.name}" if scale == "digits" else f"benchmarks.sweep {scale}"
            how = f"make them with `python -m {made}`"
            raise MissingRun(f"the weights of {self.name} are not shipped: {how}")
        if self.name.endswith("/classifier"):
            raise ValueError(f"{self.name} is a classifier, no diffusion model: see `dashlib list`")
        with checkpoints.reading(self.folder / "run.json"):
            model = UNet(UNetConfig(**self.config["unet"]))
            load_into(model, self.tensors("weights"), self.name)
        return model.eval().requires_grad_(False)

    def classifier(self) -> Classifier:
        """The classifier of digits, for the run that stores it."""
        model = Classifier()
        load_into(model, self.tensors("weights"), self.name)
        return model.eval().requires_grad_(False)

    def weighting(self) -> Weighting:
        """The weighting that the run learned, frozen; ``ValueError`` if the run learned none."""
        name = self.config.get("weighting")
        weighting = make_weighting(name if name in WEIGHTINGS else "uniform", Schedule())
        if "trace" not in self.files or weighting.symbol not in self.trace:
            raise ValueError(f"{self.name} was trained without learned importance (TIRT)")
        for learned in weighting.parameters():
            learned.data.copy_(self.trace[weighting.symbol][-1].float())
        return weighting.freeze()

    def importance(self) -> Tensor:
        """The weight of every timestep that the run learned, ``(T,)``, mean 1."""
        return self.weighting().importance()


def store(run: Run, **parts: Mapping[str, Tensor]) -> Run:
    """Write a run and its parts; returns it with ``files`` filled in.  Former files go last."""
    files = {}
    for part, tensors in parts.items():
        content = checkpoints.pack(tensors)
        files[part] = {"name": f"{part}-{sha256(content)[:8]}.safetensors"}
        files[part]["sha256"] = sha256(content)
        write_atomically(run.folder / files[part]["name"], content)
    held = json.loads(json.dumps({**asdict(run), "files": files}))  # as load() returns it
    run, held["sha256"] = Run(**held), sha256(json.dumps(held, indent=1).encode())
    write_atomically(run.folder / "run.json", f"{json.dumps(held, indent=1)}\n".encode())
    kept = [run.folder / entry["name"] for entry in files.values()]
    for old in {*run.folder.glob("*.safetensors")}.difference(kept):
        old.unlink()
    return run


def _fits(value: Any, kind: Any) -> bool:
    """Tell if a value out of JSON is of this type, at any depth."""
    if of := get_args(kind):
        return isinstance(value, dict) and all(_fits(v, of[1]) for v in value.values())
    return kind is Any or isinstance(value, (int, float) if kind is float else kind)


def load(name: str) -> Run:
    """A stored run by name, e.g. ``digits/dash-transfer-s0``; ``MissingRun`` if there is none."""
    path = root() / name / "run.json"
    if not path.exists():
        raise MissingRun(f"no stored run {name!r}: make it with `python -m dashlib make {name}`")
    with checkpoints.reading(path):
        rest, _, end = path.read_text().rpartition(',\n "sha256": ')  # as store() wrote it
        digest, here = sha256(f"{rest}\n}}".encode()), root().resolve() / name / "run.json"
        if (end, path.resolve()) != (f'"{digest}"\n}}\n', here):
            raise ValueError("it was edited, or is a link")
        content, kinds = json.loads(f"{rest}\n}}"), get_type_hints(Run)
        fits = kinds.keys() == content.keys() and all(_fits(content[k], kinds[k]) for k in kinds)
        fits = fits and all(k.isidentifier() and len(e) == 2 for k, e in content["files"].items())
        if not fits or content["name"] != name:
            raise ValueError("its name, its fields or the names of its files are not this run's")
        return Run(**content)


def names(scale: str = "digits") -> list[str]:
    """Names of all stored runs of a scale, sorted."""
    return sorted(f"{scale}/{p.parent.name}" for p in (root() / scale).glob("*/run.json"))


def select(objective: str, weighting: str, scale: str = "digits") -> list[Run]:
    """The stored seeds of one row of the table, in order; ``MissingRun`` if there are none."""
    prefix = f"{objective}-{weighting}-s"
    found = sorted(path.parent.name for path in (root() / scale).glob(f"{prefix}*/run.json"))
    if not found:
        missing = f"{scale}/{prefix}"
        raise MissingRun(f"no stored run {missing}*: make it: `python -m dashlib make {missing}0`")
    return [load(f"{scale}/{name}") for name in found]
