"""Samples of any model by number: image i is the same, however many processes share the work.

Image ``i`` has label ``i mod classes`` and noise by Philox (Salmon et al. 2011), key ``(seed, i)``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from dashlib import checkpoints, results
from dashlib.data import to_bytes
from dashlib.guidance import TAG, Constant, GuidanceSchedule, Guided, Interval
from dashlib.sampling import Clamp, Spacing, sample
from dashlib.scale.distributed import AUTOCAST, Precision, batches, numerics
from dashlib.schedule import Schedule
from dashlib.unet import UNet


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
    if path.is_file() and path != Path(f"{stem}.json") and path.suffix != ".safetensors":
        model, lam = checkpoints.load_official(path)
    elif made:
        model, lam = checkpoints.load_model(made[0])
    elif (results.root() / name / "run.json").is_file():
        run = results.load(name)
        model, learned = run.model(), run.config.get("weighting") == "tirt"
        lam = run.trace["lambda"][-1].float() if learned else None
    else:
        raise FileNotFoundError(
            f"no model {name!r}: neither a run stored in {results.root()} (`python -m dashlib "
            f"list`), nor a checkpoint {stem}.json with {stem}.safetensors, nor a folder of "
            "`train --out`, nor an authors' .pth file"
        )
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

    def about(self) -> dict[str, Any]:
        """The same, ready for JSON."""
        sampling = {k: getattr(self, k) for k in ("steps", "spacing", "clamp", "precision")}
        cell = {"guidance": label(self.w), "seed": self.seed, "n": self.n, "sampling": sampling}
        return {"model": self.model.name, "weights": self.model.sha} | cell


def noise(seed: int, numbers: range, shape: tuple[int, ...]) -> Tensor:
    """The x_T of these images, ``(len(numbers), *shape)``, float32 on the CPU."""
    generators = (np.random.Generator(np.random.Philox(key=[seed, i])) for i in numbers)
    draws = [own.standard_normal(shape, np.float32) for own in generators]
    return torch.from_numpy(np.stack(draws))


def numbered_images(
    wanted: Samples, place: Accelerator, batch: int = 500
) -> Iterator[tuple[Tensor, Tensor]]:
    """This process's share of the images: uint8 ``(B, C, H, W)``, labels ``(B,)``, by batches."""
    model, device = wanted.model.model.to(place.device), place.device
    cfg, lower = model.cfg, AUTOCAST.get(wanted.precision)
    how = {"steps": wanted.steps, "spacing": wanted.spacing, "clamp": wanted.clamp}
    what = f"{wanted.model.name} {label(wanted.w)} seed {wanted.seed}"
    for part in batches(wanted.n, batch, what, place):
        y = torch.tensor(part, device=device) % cfg.num_classes
        x_T = noise(wanted.seed, part, (cfg.image_channels, cfg.image_size, cfg.image_size))
        cast = torch.autocast(device.type, lower, enabled=lower is not None)
        with torch.inference_mode(), numerics(device.type, wanted.precision), cast:
            images = sample(Guided(model, y, wanted.w), x_T.to(device), Schedule(), **how)
        yield to_bytes(images), y
