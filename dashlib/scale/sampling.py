"""Samples of any model by number: image i is the same, however many processes share the work.

Image ``i`` of a sampling seed has label ``i mod classes`` and starts from noise of its own: a
counter-based generator (Philox: Salmon et al. 2011) whose key is ``(seed, i)``.
"""

import hashlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from torchvision.transforms.functional import to_pil_image
from torchvision.utils import make_grid

from dashlib import checkpoints, results
from dashlib.data import to_bytes
from dashlib.guidance import TAG, Constant, GuidanceSchedule, Guided, Interval
from dashlib.sampling import Clamp, Spacing, sample
from dashlib.scale.distributed import bar, share
from dashlib.scale.precision import AUTOCAST, Precision, numerics
from dashlib.schedule import Schedule
from dashlib.unet import UNet


@dataclass(frozen=True)
class Named:
    """A network with the name it was asked for by, the SHA-256 of its weights, its TIRT lambda."""

    name: str
    model: UNet
    sha: str
    lam: Tensor | None = None  # (T,)


def find(name: str) -> Named:
    """A model by name: a stored run, a training's folder or checkpoint, an authors' ``.pth``.

    Raises ``FileNotFoundError`` if it is none of them, ``CheckpointError`` if it is damaged.
    """
    model, lam = _find(name)
    digest = hashlib.sha256(checkpoints.pack(model.state_dict())).hexdigest()
    return Named(name, model.eval().requires_grad_(False), digest, lam)


def _find(name: str) -> tuple[UNet, Tensor | None]:
    path = Path(name)
    if path.suffix in (".pth", ".pt") and path.is_file():
        return checkpoints.load_official(path)
    stem = path.with_suffix("") if path.suffix in (".safetensors", ".json") else path
    for candidate in (stem, path / "model"):
        if Path(f"{candidate}.json").is_file():
            return checkpoints.load(candidate)
    if (results.root() / name / "run.json").is_file():
        return results.load(name).model(), None
    raise FileNotFoundError(
        f"no model {name!r}: neither a run stored in {results.root()} (`python -m dashlib list`), "
        f"nor a checkpoint {stem}.json with {stem}.safetensors, nor a folder of `train --out`, "
        "nor an authors' .pth file"
    )


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
class Cell:
    """What is sampled: a model under one guidance, from the noise of one seed."""

    model: Named
    w: GuidanceSchedule
    seed: int

    def about(self) -> dict[str, Any]:
        """The same, ready for JSON."""
        model = {"model": self.model.name, "weights": self.model.sha}
        return model | {"guidance": label(self.w), "seed": self.seed}


@dataclass(frozen=True)
class Sampler:
    """How samples are made, beside guidance and seed."""

    steps: int = 50  # of DDIM, eta = 0
    spacing: Spacing = "linspace"
    clamp: Clamp = "recompute"
    precision: Precision = "fp32"


def noise(seed: int, numbers: range, shape: tuple[int, ...]) -> Tensor:
    """The x_T of these images, ``(len(numbers), *shape)``, float32 on the CPU."""
    generators = (np.random.Generator(np.random.Philox(key=[seed, i])) for i in numbers)
    draws = [own.standard_normal(shape, np.float32) for own in generators]
    return torch.from_numpy(np.stack(draws))


def numbered_images(
    cell: Cell, n: int, sampler: Sampler, place: Accelerator, batch: int = 500
) -> Iterator[tuple[Tensor, Tensor]]:
    """This process's share of n images: uint8 ``(B, C, H, W)``, labels ``(B,)``, by batches."""
    how, own = asdict(sampler), share(n, place)
    precision, device = how.pop("precision"), place.device
    lower = AUTOCAST.get(precision)
    model = cell.model.model.to(device)
    cfg = model.cfg
    starts, what = range(0, len(own), batch), f"{cell.model.name} {label(cell.w)} seed {cell.seed}"
    for start in bar(starts, what, len(starts), place):
        part = own[start : start + batch]
        y = torch.tensor(part, device=device) % cfg.num_classes
        shape = (cfg.image_channels, cfg.image_size, cfg.image_size)
        x_T = noise(cell.seed, part, shape).to(device)
        cast = torch.autocast(device.type, lower, enabled=lower is not None)
        with torch.inference_mode(), numerics(device.type, precision), cast:
            images = sample(Guided(model, y, cell.w), x_T, Schedule(), **how)
        yield to_bytes(images), y


def _png(image: Tensor) -> bytes:
    content = io.BytesIO()
    to_pil_image(image).save(content, "PNG")
    return content.getvalue()


def write_images(images: Tensor, labels: Tensor, out: Path) -> None:
    """All images in one file: a grid (``.png``), or arrays ``arr_0`` (NHWC), ``arr_1`` (labels).

    The latter is the ``.npz`` that guided-diffusion's evaluator reads.
    """
    if out.suffix == ".png":
        grid = make_grid(images, nrow=round(len(images) ** 0.5), padding=1)
        return checkpoints.write_atomically(out, _png(grid))
    content = io.BytesIO()
    np.savez(content, images.permute(0, 2, 3, 1).numpy(), labels.numpy())
    return checkpoints.write_atomically(out, content.getvalue())


def write_folder(batches: Iterable[tuple[Tensor, Tensor]], folder: Path, first: int) -> None:
    """Write ``000000.png``, ``000001.png``, ..., starting from the number ``first``."""
    pictures = (image for images, _ in batches for image in images.cpu())
    for number, image in enumerate(pictures, start=first):
        checkpoints.write_atomically(folder / f"{number:06d}.png", _png(image))
