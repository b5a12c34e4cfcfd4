"""ImageNet at 64x64 (downsampled ImageNet): its files, a dataset, and a stream of noisy batches.

The batch files are pickles of ``{"data": uint8 (N, 12288), "labels": N numbers from 1 to 1000}``, a
row the red, green and blue plane of an image.  They are read once, without executing their code,
and kept as one file of pixels (15.7 GB).  Classes are those of the files, less one.
Source: Chrabaszcz, Loshchilov & Hutter 2017 (arXiv 1707.08819).
"""

import hashlib
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dashlib.checkpoints import replacing
from dashlib.data import Batch, Stream, as_floats

CLASSES = 1000
FILES = [f"train_data_batch_{i}" for i in range(1, 11)]
ARCHIVES = ("Imagenet64_train_part1", "Imagenet64_train_part2")
PAGE = "https://image-net.org/download-images.php"
_NAMES = {"numpy.ndarray", "numpy._core.numeric._frombuffer", "_codecs.encode"}  # make arrays
_NAMES |= {"numpy._core.multiarray._reconstruct", "numpy._core.multiarray.scalar"}
_NUMBERS = {k: np.dtype(k) for k in ("u1", "i1", *(a + b for a in "uif" for b in "248"))}


class _PlainUnpickler(pickle.Unpickler):
    """Reads numbers, text, lists, dictionaries and arrays of numbers; refuses all other names."""

    def find_class(self, module: str, name: str) -> Any:
        """The function of that name, if it only makes an array."""
        module = module.replace("numpy.core", "numpy._core")  # as numpy 1 calls it
        if (module, name) == ("numpy", "dtype"):  # numpy's own objects: no pickle can alter them
            return lambda kind, *_: _NUMBERS[kind]
        if f"{module}.{name}" not in _NAMES:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which might execute code")
        return super().find_class(module, name)


def read_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pixels, uint8 ``(N, 12288)``, and labels in [0, 1000) of a file; else ``ValueError``."""
    with path.open("rb") as file:
        try:
            packed = path.suffix == ".npz"  # as the same images are given away, too
            content = np.load(file) if packed else _PlainUnpickler(file, encoding="latin1").load()
            pixels, labels = np.ascontiguousarray(content["data"]), np.asarray(content["labels"])
            if pixels.dtype != np.uint8 or pixels.shape != (labels.size, 12288):
                raise ValueError(f"data is {pixels.dtype} {pixels.shape}, {labels.size} labels")
            if labels.dtype.kind not in "iu" or labels.min() < 1 or labels.max() > CLASSES:
                raise ValueError(f"labels are {labels.dtype}, {labels.min()} to {labels.max()}")
        except Exception as error:  # a damaged pickle raises anything
            what = f"uint8 (N, 12288) with N labels from 1 to {CLASSES}"
            fault = f"{path} is not a batch of ImageNet 64x64, {what} ({type(error).__name__}: "
            raise ValueError(f"{fault}{error}): replace it by that from {PAGE}") from error
    return pixels, labels.astype(np.int64) - 1


def _convert(root: Path, pixels: Path, labels: Path) -> np.ndarray:
    """Write the bytes of all images to one file, then all labels, which it returns."""
    places = [next(chain(root.rglob(f), root.rglob(f"{f}.npz")), None) for f in FILES]
    if None in places:
        raise FileNotFoundError(
            f"ImageNet 64x64 is not whole under {root}: {FILES[places.index(None)]} is missing. "
            f"Log in at {PAGE}, download {'.zip and '.join(ARCHIVES)}.zip (downsampled image data, "
            f"64x64) and unpack them into {root}, so that {root / FILES[0]} is a file"
        )
    found = np.empty(0, np.int64)
    with replacing(pixels) as file:
        for path in filter(None, places):
            images, numbers = read_batch(path)
            file.write(images.data)
            found = np.append(found, numbers)
    with replacing(labels) as file:
        np.save(file, found)
    return found


class ImageNet64(Dataset[tuple[Tensor, Tensor]]):
    """The 1,281,167 training images: ``self[i]`` is uint8 ``(3, 64, 64)`` and its label.

    ``self[[i, j, ...]]`` is a batch, ``(B, 3, 64, 64)`` and int64 ``(B,)``.  ``root`` holds the
    batch files, in any folders; ``cache`` (or ``root``) gets what is made of them, by one process.
    ``FileNotFoundError``: where they are to be had; ``ValueError``: damaged, or would execute code.
    """

    def __init__(self, root: str | Path, cache: Path | None = None) -> None:
        root = Path(root).expanduser()
        self.path = (cache or root) / "imagenet64.pixels"
        labels = self.path.with_name("imagenet64.labels.npy")
        try:
            self.labels = np.load(labels)
            if {*np.unique(self.labels)} - {*range(CLASSES)} or self.labels.dtype != np.int64:
                raise ValueError("no labels")
            self._pixels()
        except (OSError, ValueError, EOFError):  # not there, or damaged
            self.labels = _convert(root, self.path, labels)

    def _pixels(self) -> np.ndarray:
        """A map of the file; made when it is needed, as one sent to a worker would be a copy."""
        return np.memmap(self.path, np.uint8, "r").reshape(len(self), 3, 64, 64)  # no more, no less

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int | Sequence[int]) -> tuple[Tensor, Tensor]:
        pixels = np.asarray(self._pixels().take(index, axis=0))
        return torch.from_numpy(pixels), torch.as_tensor(self.labels.take(index))


def _seeded(device: torch.device | str, *numbers: int) -> torch.Generator:
    seed = np.random.SeedSequence(numbers).generate_state(1)
    return torch.Generator(device).manual_seed(int(seed[0]))


def batches_of(n: int, batch_size: int, *, seed: int, first: int = 0) -> Iterator[list[int]]:
    """Yield the images of each batch out of ``n``, for ever; ``(seed, e)`` permutes epoch e."""
    epoch, skipped = divmod(first, n // batch_size)
    for e in count(epoch):
        order = torch.randperm(n, generator=_seeded("cpu", seed, 0, e))
        for batch in order.split(batch_size)[skipped : n // batch_size]:
            yield batch.tolist()
        skipped = 0


@dataclass
class LoadedStream(Stream):
    """A :class:`~dashlib.data.Stream` whose images come through a data loader, in epochs.

    Flips, t, eps and label dropout are drawn on the ``device``, seeded by the seed and the step, so
    that the stream's state is its step.  ``ValueError`` for fewer images than make up a batch.
    """

    images: ImageNet64  # type: ignore[assignment]
    null_label: int = CLASSES
    device: torch.device | str = "cpu"
    workers: int = 0  # processes that read files

    @property
    def images_sha(self) -> str:
        """SHA-256 of the labels and of 64 images, spread evenly."""
        some = self.images[torch.linspace(0, len(self.images) - 1, 64).long().tolist()][0]
        return hashlib.sha256(self.images.labels.tobytes() + some.numpy().tobytes()).hexdigest()

    def __post_init__(self) -> None:
        if not 1 <= self.batch_size <= len(self.images):
            raise ValueError(f"{len(self.images)} images make up no batch of {self.batch_size}")
        self.generator: Any = self  # what a trainer saves and sets the state of
        self._start(0)

    def _start(self, step: int) -> None:
        self.step = step
        loader = DataLoader(
            self.images,
            batch_size=None,  # a batch at a time is asked for, and read, as one
            sampler=batches_of(len(self.images), self.batch_size, seed=self.seed, first=step),
            num_workers=self.workers,
            pin_memory=torch.device(self.device).type == "cuda",
            generator=torch.Generator(),  # leaves torch's own alone
        )
        self._loaded = chain(loader)  # workers start with the first batch

    def __next__(self) -> Batch:
        x, y = (part.to(self.device, non_blocking=True) for part in next(self._loaded))
        self.step += 1
        return self.noisy(as_floats(x), y, _seeded(self.device, self.seed, 1, self.step - 1))

    def get_state(self) -> Tensor:
        """The step; a trainer's settings say which stream it is of."""
        return torch.tensor(self.step)

    def set_state(self, state: Tensor) -> None:
        """Go on from a :meth:`get_state`."""
        self._start(int(state))
