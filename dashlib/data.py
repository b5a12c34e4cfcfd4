"""Small labelled image sets as tensors in [-1, 1], and streams of noisy training batches.

A set is held whole on a device, and what is drawn from it.  :mod:`dashlib.datasets` reads them.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
from torch import Generator, Tensor

from dashlib.checks import check_choice, check_finite, check_positive
from dashlib.guidance import Branches, Denoiser, branches
from dashlib.schedule import Schedule

Per = Literal["sample", "batch"]
_LEVELS = torch.arange(256).float() / 127.5 - 1  # divided on the CPU: the same bits anywhere


def as_floats(x: Tensor) -> Tensor:
    """Pixels 0 to 255 (uint8) as ``x / 127.5 - 1`` in [-1, 1], on their device; floats as are."""
    if x.dtype != torch.uint8:
        return x
    return _LEVELS.to(x.device, non_blocking=True)[x.int()]


def to_bytes(x: Tensor) -> Tensor:
    """Images in [-1, 1] as uint8, rounded to the nearest; ``ValueError`` for NaN or infinity."""
    if x.dtype == torch.uint8:
        return x
    check_finite("images", x)
    return ((x.clamp(-1, 1) + 1) * 127.5).round().byte()


@dataclass(frozen=True)
class Images:
    """Images, float in [-1, 1] or, in a quarter of the memory, uint8; and their labels."""

    x: Tensor  # (N, C, H, W)
    y: Tensor  # int64, (N,)

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y):
            raise ValueError(f"{len(self.x)} images with {len(self.y)} labels: one label an image")

    def __len__(self) -> int:
        return len(self.y)

    def to(self, device: torch.device | str) -> "Images":
        """The same images on a device."""
        return replace(self, x=self.x.to(device), y=self.y.to(device))

    def pixels(self, index: Tensor | slice = slice(None)) -> Tensor:
        """The images at ``index``, float in [-1, 1], on their device, however they are held."""
        return as_floats(self.x[index])


@dataclass(frozen=True)
class Dataset:
    """A training and a held-out part, disjoint."""

    name: str
    num_classes: int
    train: Images
    test: Images

    def to(self, device: torch.device | str) -> "Dataset":
        """The same set, both parts on a device: streams and pairs are then drawn there, too."""
        return replace(self, train=self.train.to(device), test=self.test.to(device))


@dataclass(frozen=True)
class Batch:
    """Noisy images for one training step, and what is known about them."""

    x_t: Tensor  # (B, C, H, W)
    t: Tensor  # (B,)
    y: Tensor  # (B,)
    y_dropped: Tensor  # y with some labels replaced by the null label, (B,)
    eps: Tensor  # (B, C, H, W)
    teacher: Branches | None = None  # the teacher's two branches


def drop_labels(
    y: Tensor, null_label: int, p: float, *, per: Per = "sample", generator: Generator | None = None
) -> Tensor:
    """Replace labels by the null label with probability p, one coin a sample (or one a batch)."""
    if not 0 <= p <= 1:
        raise ValueError(f"label dropout {p}: a probability in [0, 1]")
    check_choice("label dropout per", per, get_args(Per))
    coins = torch.rand(len(y) if per == "sample" else 1, generator=generator, device=y.device)
    return torch.where(coins < p, null_label, y)


@dataclass
class Stream:
    """An endless, resumable stream of batches: images with replacement, uniform t, Gaussian eps."""

    images: Images
    schedule: Schedule
    null_label: int
    batch_size: int = 128
    label_dropout: float = 0.1
    dropout_per: Per = "sample"
    seed: int = 0
    flip: bool = False  # random left-right flips

    def __post_init__(self) -> None:
        check_positive(batch_size=self.batch_size)
        self.generator = Generator(self.images.x.device).manual_seed(self.seed)

    @property
    def images_sha(self) -> str:
        """SHA-256 of images and labels in their order: what a training that goes on must share."""
        parts = (part.cpu().contiguous().numpy().tobytes() for part in vars(self.images).values())
        return hashlib.sha256(b"".join(parts)).hexdigest()

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        x, shape = self.images.x, (self.batch_size,)
        index = torch.randint(len(x), shape, generator=self.generator, device=x.device)
        return self.noisy(self.images.pixels(index), self.images.y[index], self.generator)

    def noisy(self, x0: Tensor, y: Tensor, generator: Generator) -> Batch:
        """A batch of these images in [-1, 1] and labels: t, eps, dropout and flips are drawn."""
        own: Any = {"generator": generator, "device": y.device}
        t = torch.randint(self.schedule.T, y.shape, **own)
        eps = torch.randn(x0.shape, **own)
        how = (self.null_label, self.label_dropout)
        dropped = drop_labels(y, *how, per=self.dropout_per, generator=generator)
        if self.flip:  # last: the other draws are the same without it
            x0 = torch.where(torch.rand(len(y), 1, 1, 1, **own) < 0.5, x0.flip(-1), x0)
        return Batch(self.schedule.add_noise(x0, eps, t), t, y, dropped, eps)


def with_teacher(batches: Iterator[Batch], teacher: Denoiser) -> Iterator[Batch]:
    """The same batches with the teacher's two branches attached (no gradients)."""
    for batch in batches:
        with torch.no_grad():  # not around the yield: the caller may want gradients
            answers = branches(teacher, batch.x_t, batch.t, batch.y)
        yield replace(batch, teacher=answers)
