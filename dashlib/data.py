"""Small labelled image sets as tensors in [-1, 1], and streams of noisy training batches.

``digits`` (scikit-learn, 1,797 images of 8x8) needs no network and has a fixed split.  The
torchvision sets come through the same interface and are downloaded only when asked.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from dashlib.guidance import Branches, Denoiser, branches
from dashlib.schedule import Schedule


@dataclass(frozen=True)
class Images:
    """Images ``x``, shape ``(N, C, H, W)`` in [-1, 1], and labels ``y``, shape ``(N,)``."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Dataset:
    """A training and a held-out part, disjoint."""

    name: str
    num_classes: int
    train: Images
    test: Images


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
    from torchvision import datasets

    kind = {
        "fashion_mnist": datasets.FashionMNIST,
        "cifar10": datasets.CIFAR10,
        "cifar100": datasets.CIFAR100,
    }[name]
    try:
        parts = [kind(str(root), train=train, download=download) for train in (True, False)]
    except (RuntimeError, OSError, ValueError, AssertionError) as error:  # absent or damaged
        raise FileNotFoundError(
            f"{name} is not (whole) under {root}: pass download=True with a network, or put "
            f"torchvision's files for {kind.__name__} there by hand ({error})"
        ) from error
    images = [_as_images(np.asarray(part.data), part.targets) for part in parts]
    return Dataset(name, len(parts[0].classes), *images)


def _as_images(pixels: np.ndarray, targets: object) -> Images:
    """uint8 ``(N, H, W)`` or ``(N, H, W, C)`` to ``Images``."""
    x = torch.from_numpy(pixels)
    x = x[:, None] if x.ndim == 3 else x.permute(0, 3, 1, 2)
    if x.shape[-1] == 28:
        x = torch.nn.functional.pad(x, (2, 2, 2, 2))
    return Images(x.float() / 127.5 - 1, torch.as_tensor(targets).long())


DATASETS = ("digits", "fashion_mnist", "cifar10", "cifar100")


def load(name: str, root: str | Path = "data", *, download: bool = False) -> Dataset:
    """A dataset by name.

    ``root`` is where torchvision's files are (or go, with ``download=True``).  Raises
    ``ValueError`` for an unknown name, ``FileNotFoundError`` saying what to do for missing files.
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
