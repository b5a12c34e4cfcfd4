"""Samples of any model by number: image i is the same, however many processes share the work.

Image ``i`` of a sampling seed has label ``i mod classes`` and starts from noise of its own: a
counter-based generator (Philox: Salmon et al. 2011) whose key is ``(seed, i)``.
"""

import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid

from dashlib import checkpoints, guidance, results
from dashlib.data import to_bytes
from dashlib.guidance import GuidanceSchedule
from dashlib.sampling import CLAMPS, SPACINGS, Clamp, Spacing, sample
from dashlib.scale.distributed import Shards
from dashlib.scale.precision import AUTOCAST, PRECISIONS, Precision, numerics
from dashlib.schedule import Schedule
from dashlib.unet import UNet


@dataclass(frozen=True)
class Named:
    """A network with the name it was asked for by, and the SHA-256 of its weights."""

    name: str
    model: UNet
    sha: str


def find(name: str) -> Named:
    """A model by name: a stored run, a training's folder or checkpoint, an authors' ``.pth``.

    Raises ``FileNotFoundError`` if it is none of them, ``CheckpointError`` if it is damaged.
    """
    model = _find(name).eval().requires_grad_(False)
    assert isinstance(model, UNet)
    digest = hashlib.sha256(checkpoints.pack(model.state_dict())).hexdigest()
    return Named(name, model, digest)


def _find(name: str) -> UNet:
    path = Path(name)
    if path.suffix == ".pth" and path.is_file():
        return checkpoints.load_official(path)[0]
    stem = path.with_suffix("") if path.suffix in (".safetensors", ".json") else path
    for candidate in (stem, path / "model"):
        if Path(f"{candidate}.json").is_file():
            return checkpoints.load(candidate)[0]
    if (results.root() / name / "run.json").is_file():
        return results.load(name).model()
    raise FileNotFoundError(
        f"no model {name!r}: neither a run stored in {results.root()} (`python -m dashlib list`), "
        f"nor a checkpoint {stem}.json with {stem}.safetensors, nor a folder of `train --out`, "
        "nor an authors' .pth file"
    )


@dataclass(frozen=True)
class Sampler:
    """How samples are made, beside guidance and seed.  ``ValueError`` for an unknown option."""

    steps: int = 50  # of DDIM, eta = 0
    spacing: Spacing = "linspace"
    clamp: Clamp = "recompute"
    precision: Precision = "fp32"

    def __post_init__(self) -> None:
        known = (
            ("spacing", self.spacing, SPACINGS),
            ("clamp", self.clamp, CLAMPS),
            ("precision", self.precision, PRECISIONS),
        )
        for what, value, values in known:
            if value not in values:
                raise ValueError(f"{what} {value!r}: one of {', '.join(values)}")
        if not 1 <= self.steps <= 1000:
            raise ValueError(f"steps={self.steps}: a number from 1 to the schedule's 1000")


def noise(seed: int, numbers: range, shape: tuple[int, ...]) -> Tensor:
    """The x_T of these images, ``(len(numbers), *shape)``, float32 on the CPU."""
    draws = [
        np.random.Generator(np.random.Philox(key=[seed, i])).standard_normal(shape, np.float32)
        for i in numbers
    ]
    return torch.from_numpy(np.stack(draws)) if draws else torch.empty(0, *shape)


def _eps_model(
    model: UNet, y: Tensor, w: GuidanceSchedule, precision: Precision
) -> Callable[[Tensor, Tensor], Tensor]:
    """The guided noise predictor of either kind of network, autocast as asked."""
    guided = guidance.guided(model, y, w)
    if precision not in AUTOCAST:
        return guided

    def autocast(x_t: Tensor, t: Tensor) -> Tensor:
        with torch.autocast(x_t.device.type, AUTOCAST[precision]):
            return guided(x_t, t)

    return autocast


def generate(
    model: UNet,
    w: GuidanceSchedule,
    numbers: range,
    *,
    seed: int,
    device: torch.device,
    sampler: Sampler | None = None,
    batch: int = 500,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield images as uint8 ``(B, C, H, W)`` with their labels ``(B,)``, a batch at a time."""
    cfg, how = model.cfg, sampler or Sampler()
    shape = (cfg.image_channels, cfg.image_size, cfg.image_size)
    model = model.to(device)
    for start in range(0, len(numbers), batch):
        part = numbers[start : start + batch]
        y = torch.tensor(part, device=device) % cfg.num_classes
        x_T = noise(seed, part, shape).to(device)
        with torch.inference_mode(), numerics(device.type, how.precision):
            images = sample(
                _eps_model(model, y, w, how.precision),
                x_T,
                Schedule(),
                steps=how.steps,
                spacing=how.spacing,
                clamp=how.clamp,
            )
        yield to_bytes(images), y


def gather(batches: Iterator[tuple[Tensor, Tensor]], shards: Shards, model: UNet) -> list[Tensor]:
    """All processes' images and labels, in order, in every process."""
    cfg = model.cfg
    empty = torch.empty(0, cfg.image_channels, cfg.image_size, cfg.image_size, dtype=torch.uint8)
    images, labels = [empty], [torch.empty(0, dtype=torch.int64)]
    for x, y in batches:
        images.append(x.cpu())
        labels.append(y.cpu())
    return [shards.gather(torch.cat(parts)) for parts in (images, labels)]


def png(image: Tensor) -> bytes:
    """A uint8 image ``(1 or 3, H, W)`` as PNG."""
    content = io.BytesIO()
    array = image.permute(1, 2, 0).cpu().numpy()
    Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).save(content, "PNG")
    return content.getvalue()


def encoded(images: Tensor, labels: Tensor, suffix: str) -> bytes:
    """All images in one file: a grid (``.png``), or arrays ``arr_0`` (NHWC), ``arr_1`` (labels).

    The latter is the ``.npz`` that guided-diffusion's evaluator reads.
    """
    if suffix == ".png":
        return png(make_grid(images, nrow=round(len(images) ** 0.5), padding=1))
    content = io.BytesIO()
    np.savez(content, images.permute(0, 2, 3, 1).numpy(), labels.numpy())
    return content.getvalue()


def write_folder(batches: Iterator[tuple[Tensor, Tensor]], folder: Path, first: int) -> None:
    """Write ``000000.png``, ``000001.png``, ..., starting from the number ``first``."""
    pictures = (image for images, _ in batches for image in images)
    for number, image in enumerate(pictures, start=first):
        checkpoints.write_atomically(folder / f"{number:06d}.png", png(image))
