"""The batch files of downsampled ImageNet at 64x64, read without executing what is in them.

They are pickles of ``{"data": uint8 (N, 12288), "labels": N numbers from 1 to 1000, "mean"}``, a
row the red, green and blue plane of an image.  Unpickling can execute anything: here only numbers,
text, lists, dictionaries and plain numpy arrays come out of a pickle, and no function named in it
is called.  Each file is read once and kept as ``.npy``: 1,281,167 training images take 15.7 GB of
disk, 50,000 for validation 0.6 GB.

Source: Chrabaszcz, Loshchilov & Hutter 2017 (arXiv 1707.08819).
"""

import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dashlib.checkpoints import replacing

Split = Literal["train", "val"]

SHAPE = (3, 64, 64)
CLASSES = 1000
FILES: dict[Split, tuple[str, ...]] = {
    "train": tuple(f"train_data_batch_{i}" for i in range(1, 11)),
    "val": ("val_data",),
}
ARCHIVES: dict[Split, tuple[str, ...]] = {
    "train": ("Imagenet64_train_part1", "Imagenet64_train_part2"),
    "val": ("Imagenet64_val",),
}
PAGE = "https://image-net.org/download-images.php"


class _Array:
    """Stands for a numpy array in a pickle: made of a shape, a type and bytes, nothing else."""

    value: np.ndarray

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, fortran, content = state
        self.fill(content, kind, shape, "F" if fortran else "C")

    def fill(self, content: Any, kind: "_Type", shape: Any, order: Any) -> "_Array":
        """Take the values; text is bytes as Python 2 wrote them."""
        raw = content.encode("latin1") if isinstance(content, str) else content
        self.value = np.frombuffer(raw, kind.name).reshape(shape, order=order)
        return self


class _Type:
    """Stands for a numpy data type in a pickle: one of a few plain numbers."""

    def __init__(self, name: str, *_: object) -> None:
        if name not in ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4", "f8"):
            raise pickle.UnpicklingError(f"an array of {name!r}")
        self.name = name

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] == ">":
            raise pickle.UnpicklingError("an array of big-endian numbers")


class _PlainUnpickler(pickle.Unpickler):
    """Reads numbers, text, lists, dictionaries and numpy arrays; refuses all other names."""

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a name in the pickle (a new one: a pickle may alter what it gets)."""
        stand_ins: dict[tuple[str, str], Callable[..., Any]] = {
            ("numpy", "ndarray"): lambda *_: None,
            ("numpy", "dtype"): _Type,
            ("numpy.core.multiarray", "_reconstruct"): lambda *_: _Array(),
            ("numpy.core.numeric", "_frombuffer"): lambda *state: _Array().fill(*state),
            ("numpy.core.multiarray", "scalar"): lambda *state: _scalar(*state),
            ("_codecs", "encode"): lambda text, _: text.encode("latin1"),
        }
        key = (module.replace("numpy._core", "numpy.core"), name)
        if key not in stand_ins:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which might execute code")
        return stand_ins[key]


def _scalar(kind: _Type, content: Any) -> int | float:
    number: int | float = _Array().fill(content, kind, (), "C").value.item()
    return number


def _plain(value: Any) -> np.ndarray:
    return value.value if isinstance(value, _Array) else np.asarray(value)


def read_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The images, uint8 ``(N, 3, 64, 64)``, and labels, int64 ``(N,)`` in [0, 1000), of a file.

    Code in it is never executed.  Raises ``ValueError`` for a file that has any, or is not a batch.
    """
    try:
        with path.open("rb") as file:
            content = _PlainUnpickler(file, encoding="latin1").load()
        pixels, labels = _plain(content["data"]), _plain(content["labels"])
        _check(pixels, labels)
    except OSError:
        raise
    except Exception as error:  # a damaged pickle raises anything
        raise ValueError(
            f"{path} is not a batch of ImageNet 64x64, uint8 (N, 12288) with N labels from 1 to "
            f"{CLASSES} ({type(error).__name__}: {error}): replace it by the file from {PAGE}"
        ) from error
    return pixels.reshape(-1, *SHAPE), labels.astype(np.int64) - 1


def _check(pixels: np.ndarray, labels: np.ndarray) -> None:
    """``ValueError`` unless the shapes, types and labels are those of a batch file."""
    if labels.dtype.kind not in "iu" or labels.ndim != 1 or not len(labels):
        raise ValueError(f"labels are {labels.dtype} {labels.shape}")
    if pixels.dtype != np.uint8 or pixels.shape != (len(labels), math.prod(SHAPE)):
        raise ValueError(f"data is {pixels.dtype} {pixels.shape}, with {len(labels)} labels")
    if labels.min() < 1 or labels.max() > CLASSES:
        raise ValueError(f"labels run from {labels.min()} to {labels.max()}")


def load_npy(path: Path, *, mapped: bool) -> np.ndarray:
    """The array of a ``.npy`` file, or a map of it; ``ValueError`` if that is damaged."""
    try:
        array: np.ndarray = np.load(path, mmap_mode="r" if mapped else None)
    except (ValueError, EOFError) as error:
        raise ValueError(
            f"{path} is damaged ({error}): delete it, and it is made again from the batch file"
        ) from error
    return array


def _save(path: Path, array: np.ndarray) -> None:
    """Write an array to ``path`` in one step, without a copy of it in memory."""
    with replacing(path) as file:
        np.save(file, array)


def converted(name: str, split: Split, root: Path, cache: Path) -> tuple[Path, Path]:
    """The ``.npy`` files of the images and labels of a batch file, made if they are not there.

    Raises ``FileNotFoundError`` saying where the batch file is to be had, ``ValueError`` if it is
    damaged or would execute code.
    """
    images, labels = cache / f"{name}.npy", cache / f"{name}.labels.npy"
    if images.is_file() and labels.is_file():  # the labels are written last
        return images, labels
    folders = (root, *(root / archive for archive in ARCHIVES[split]))
    source = next((f / name for f in folders if (f / name).is_file()), None)
    if source is None:
        archives = " and ".join(f"{archive}.zip" for archive in ARCHIVES[split])
        raise FileNotFoundError(
            f"ImageNet 64x64 ({split}) is not whole under {root}: {name} is missing. Log in at "
            f"{PAGE}, download {archives} (downsampled image data, 64x64) and unpack them into "
            f"{root}, so that {root / FILES[split][0]} is a file"
        )
    for path, array in zip((images, labels), read_batch(source), strict=True):
        _save(path, array)
    return images, labels
