"""Samples of any model by number: image i is the same, however many processes share the work.

Image ``i`` has label ``i mod classes`` and noise by Philox (Salmon et al. 2011), key ``(seed, i)``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from dashlib import checkpoints, results
from dashlib.data import to_bytes
from dashlib.guidance import TAG, Constant, GuidanceSchedule, Guided, Interval
from dashlib.sampling import Clamp, Spacing, sample
from dashlib.scale.checkpointing import Checkpoints, read_checkpoint
from dashlib.scale.distributed import AUTOCAST, Precision, batches, numerics
from dashlib.scale.official import load_official
from dashlib.schedule import Schedule
from dashlib.unet import UNet, UNetConfig


@dataclass(frozen=True)
class Named:
    """A network with the name it was asked for by, the SHA-256 of its weights, its TIRT lambda."""

    name: str
    model: UNet
    sha: str
    lam: Tensor | None = None  # (T,)

    def check(self, wanted: tuple[int, int, int]) -> None:
        """``ValueError`` unless its images have these channels, pixels a side and classes."""
        what = "{1}x{1} images of {0} channel(s) and {2} classes"
        have, want = what.format(*self.model.cfg.images), what.format(*wanted)
        if have != want:
            raise ValueError(f"{self.name} makes {have}, not {want}: choose other --data, --preset")


def find(name: str) -> Named:
    """A run, training or file by name; ``FileNotFoundError``, ``CheckpointError`` if damaged."""
    path, lam = Path(name), None
    stem = path.with_suffix("") if path.suffix in (".safetensors", ".json") else path
    made = [c for c in (stem, path / "model") if Path(f"{c}.json").is_file()]
    saved = path if path.match("step-*.pt") else Checkpoints(path / "checkpoints").newest()
    if made:
        model, lam = checkpoints.load_model(made[0])
    elif saved:  # of a training that has not ended
        with checkpoints.reading(saved):
            state = read_checkpoint(saved)
            settings, lam = state["settings"], state["weighting"].get("lam")
            model = UNet(UNetConfig(**settings["network"]))
            checkpoints.load_into(model, state["ema"], str(saved))
            name += f" (step {state['step']} of {settings['training']['steps']}, averaged)"
    elif path.is_file() and path.suffix != ".safetensors":
        model, lam = load_official(path)
    elif (results.root() / name / "run.json").is_file():
        run = results.load(name)
        model, learned = run.model(), run.config.get("weighting") == "tirt"
        lam = run.trace["lambda"][-1].float() if learned else None
    else:
        kinds = "a stored run (`python -m dashlib list`), a folder of `train`, a .safetensors file"
        raise FileNotFoundError(f"no model {name!r}: {kinds} with its .json, or an authors' .pth")
    digest = checkpoints.sha256(checkpoints.pack(model.state_dict()))
    return Named(name, model.eval().requires_grad_(False), digest, lam)


def label(w: GuidanceSchedule) -> str:
    """A guidance schedule in words, all its numbers included."""
    if isinstance(w, Constant):
        return f"w={w.w:g}"
    if isinstance(w, TAG):
        return f"TAG({w.w_min:g},{w.w_max:g},{w.beta:g})"
    if isinstance(w, Interval):
        return f"w={w.w:g} on {w.low}<=t<{w.high}"
    return repr(w)


class Given(NamedTuple):
    """Images that were made before, scored as they are."""

    name: str
    pixels: Tensor  # uint8 (n, C, H, W)

    def about(self) -> dict[str, Any]:
        """Say what a score of them depends on: their pixels are all that is known."""
        digest = checkpoints.sha256(self.pixels.numpy().tobytes())
        how = {"guidance": "as given", "seed": None, "sampling": None}
        return {"model": self.name, "weights": digest, "n": len(self.pixels), **how}


@dataclass(frozen=True)
class Samples:
    """So many images of a model, and everything that they depend on."""

    model: Named
    w: GuidanceSchedule
    seed: int  # of the noise they start from
    n: int
    steps: int = 50  # of DDIM, eta = 0
    spacing: Spacing = "linspace"
    clamp: Clamp = "recompute"
    precision: Precision = "fp32"
    only: int | None = None  # the class of all; None: image i is of class i mod classes

    def about(self) -> dict[str, Any]:
        """The same, ready for JSON."""
        sampling = {k: getattr(self, k) for k in ("steps", "spacing", "clamp", "precision")}
        cell = {"guidance": label(self.w), "seed": self.seed, "n": self.n, "sampling": sampling}
        cell |= {} if self.only is None else {"class": self.only}
        return {"model": self.model.name, "weights": self.model.sha} | cell


def noise(seed: int, numbers: range, shape: tuple[int, ...]) -> Tensor:
    """The x_T of these images, ``(len(numbers), *shape)``, float32 on the CPU."""
    generators = (np.random.Generator(np.random.Philox(key=[seed, i])) for i in numbers)
    draws = [own.standard_normal(shape, np.float32) for own in generators]
    return torch.from_numpy(np.stack(draws))


def numbered_images(
    wanted: Samples | Given, place: Accelerator, batch: int = 500
) -> Iterator[tuple[Tensor, Tensor]]:
    """This process's share of the images: uint8 ``(B, C, H, W)``, labels ``(B,)``, by batches."""
    if isinstance(wanted, Given):  # whose labels nobody knows
        for part in batches(len(wanted.pixels), batch, wanted.name, place):
            yield wanted.pixels[part.start : part.stop], torch.full((len(part),), -1)
        return
    model, device = wanted.model.model.to(place.device), place.device
    cfg, lower, only = model.cfg, AUTOCAST.get(wanted.precision), wanted.only
    if (only or 0) >= (classes := cfg.num_classes):
        raise ValueError(f"{wanted.model.name} has no class {only}: 0 to {classes - 1}")
    how = {"steps": wanted.steps, "spacing": wanted.spacing, "clamp": wanted.clamp}
    what = f"{wanted.model.name} {label(wanted.w)} seed {wanted.seed}"
    for part in batches(wanted.n, batch, what, place):
        y = torch.tensor([i % classes if only is None else only for i in part], device=device)
        x_T = noise(wanted.seed, part, (cfg.image_channels, cfg.image_size, cfg.image_size))
        cast = torch.autocast(device.type, lower, enabled=lower is not None)
        with torch.inference_mode(), numerics(device.type, wanted.precision), cast:
            images = sample(Guided(model, y, wanted.w), x_T.to(device), Schedule(), **how)
        yield to_bytes(images), y
