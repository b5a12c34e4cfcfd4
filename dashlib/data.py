"""Small labelled image sets as tensors in [-1, 1], and streams of noisy training batches.

``digits`` (scikit-learn, 1,797 images of 8x8) needs no network and has a fixed split.  The
torchvision sets come through the same interface and are downloaded only when asked (``datasets``
has to do with their files).  What is drawn from images lives on the images' device.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from dashlib import datasets
from dashlib.guidance import Branches, Denoiser, branches
from dashlib.schedule import Schedule


@dataclass(frozen=True)
class Images:
    """Images ``x``, float ``(N, C, H, W)`` in [-1, 1], and labels ``y``, int64 ``(N,)``."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def to(self, device: torch.device | str) -> "Images":
        """The same images on a device (60,000 grey ones of 32x32 take 246 MB)."""
        return replace(self, x=self.x.to(device), y=self.y.to(device))


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


def digits() -> Dataset:
    """scikit-learn's 8x8 digits: 1,500 to train on, 297 held out, a fixed stratified split."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    parts = train_test_split(
        bunch.images, bunch.target, train_size=1500, random_state=0, stratify=bunch.target
    )
    x_train, x_test = (torch.from_numpy(p).float()[:, None] / 8 - 1 for p in parts[:2])
    y_train, y_test = (torch.from_numpy(p).long() for p in parts[2:])
    return Dataset("digits", 10, Images(x_train, y_train), Images(x_test, y_test))


def _torchvision(name: str, root: Path, *, download: bool) -> Dataset:
    """A torchvision set, read whole; 28x28 images are padded to 32x32."""
    train, test = datasets.read(name, root, download=download)
    parts = [_as_images(part.pixels, part.labels) for part in (train, test)]
    return Dataset(name, train.classes, *parts)


def _as_images(pixels: np.ndarray, targets: object) -> Images:
    """uint8 ``(N, H, W)`` or ``(N, H, W, C)`` to ``Images``."""
    x = torch.from_numpy(pixels)
    x = x[:, None] if x.ndim == 3 else x.permute(0, 3, 1, 2)
    if x.shape[-1] == 28:
        x = torch.nn.functional.pad(x, (2, 2, 2, 2))
    return Images(x.float() / 127.5 - 1, torch.as_tensor(targets).long())


DATASETS = ("digits", *datasets.TORCHVISION)


def load(name: str, root: str | Path = "data", *, download: bool = False) -> Dataset:
    """A dataset by name.

    ``root`` is where torchvision's files are (or go, with ``download=True``).  Fashion-MNIST is
    also read from its four ``.gz`` files in ``root`` or of Debian's ``dataset-fashion-mnist``.
    Raises ``ValueError`` for an unknown name, ``FileNotFoundError`` saying what to do for files
    that are missing or damaged.
    """
    if name not in DATASETS:
        raise ValueError(f"unknown dataset {name!r}: one of {', '.join(DATASETS)}")
    return digits() if name == "digits" else _torchvision(name, Path(root), download=download)


@dataclass(frozen=True)
class Batch:
    """Noisy images for one training step, and what is known about them.

    ``x_t``, ``eps``: ``(B, C, H, W)``; ``t``, ``y``, ``y_dropped``: ``(B,)``.  ``y_dropped`` is y
    with some labels replaced by the null label; ``teacher`` holds the teacher's two branches.
    """

    x_t: Tensor
    t: Tensor
    y: Tensor
    y_dropped: Tensor
    eps: Tensor
    teacher: Branches | None = None


def drop_labels(
    y: Tensor,
    null_label: int,
    p: float,
    *,
    per: Literal["sample", "batch"] = "sample",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Replace labels by the null label with probability p, one coin a sample (or one a batch)."""
    if not 0 <= p <= 1:
        raise ValueError(f"label dropout {p}: a probability in [0, 1]")
    if per not in ("sample", "batch"):
        raise ValueError(f"label dropout per {per!r}: 'sample' or 'batch'")
    coins = torch.rand(len(y) if per == "sample" else 1, generator=generator, device=y.device)
    return torch.where(coins < p, null_label, y)


@dataclass
class Stream:
    """An endless stream of noisy batches drawn with its own generator (so it can be resumed).

    Each batch: images with replacement, one uniform t and one Gaussian eps an image.
    """

    images: Images
    schedule: Schedule
    null_label: int
    batch_size: int = 128
    label_dropout: float = 0.1
    dropout_per: Literal["sample", "batch"] = "sample"
    seed: int = 0
    flip: bool = False  # random left-right flips

    def __post_init__(self) -> None:
        self.generator = torch.Generator(self.images.x.device).manual_seed(self.seed)

    def _random(self, draw: Callable[..., Tensor], *args: object) -> Tensor:
        return draw(*args, generator=self.generator, device=self.images.x.device)

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        n = self.batch_size
        index = self._random(torch.randint, len(self.images), (n,))
        x0, y = self.images.x[index], self.images.y[index]
        if self.flip:
            x0 = torch.where(
                (self._random(torch.rand, n) < 0.5)[:, None, None, None], x0.flip(-1), x0
            )
        t = self._random(torch.randint, self.schedule.T, (n,))
        eps = self._random(torch.randn, x0.shape)
        dropped = drop_labels(
            y, self.null_label, self.label_dropout, per=self.dropout_per, generator=self.generator
        )
        return Batch(self.schedule.add_noise(x0, eps, t), t, y, dropped, eps)


def with_teacher(batches: Iterator[Batch], teacher: Denoiser) -> Iterator[Batch]:
    """The same batches with the teacher's two branches attached (no gradients).

    The result does not depend on the student: a list of it can serve several students.
    """
    for batch in batches:
        with torch.no_grad():  # not around the yield: the caller may want gradients
            answers = branches(teacher, batch.x_t, batch.t, batch.y)
        yield replace(batch, teacher=answers)
