"""The image sets by name, ``load("digits")``, and ImageNet at 64x64 (:mod:`.imagenet64`)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from dashlib.data import Dataset, Images, fingerprint
from dashlib.datasets.digits import load_digits
from dashlib.datasets.torchvision_sets import TORCHVISION, torchvision_set

Pixels = Literal["float32", "uint8"]
DATASETS = ("digits", *TORCHVISION)
CIFAR_PRINTS = {  # fingerprints of the original images and labels
    ("cifar10", "train"): "6c3d94351344c6460973c9795f4a4fcc19984b1b894a9b39889a02e380f4d4d3",
    ("cifar10", "test"): "7742db831caeba84ea1d4663e0d07ca1879cbb76e501e036935be5fd5506749b",
}


def load(
    name: str,
    root: str | Path = "data",
    *,
    download: bool = False,
    mirrors: Sequence[str] = (),
    dtype: Pixels = "float32",
) -> Dataset:
    """A dataset by name.

    ``root`` is where torchvision's files are (or go, with ``download=True``).  CIFAR's ``.tar.gz``
    in ``root`` will do, too, and so will parquet files, or a folder or zip of images
    (:mod:`.cifar_files`); Fashion-MNIST is also read from its four ``.gz`` files in ``root`` or of
    Debian's ``dataset-fashion-mnist``.  ``mirrors``: base addresses to download from first, as
    are those of the environment variable ``DASH_MIRRORS``.  ``dtype="uint8"`` holds the images as
    bytes (:class:`Images`).
    Raises ``ValueError`` for an unknown name or dtype, or for digits as bytes (they have 17 levels,
    not 256), ``FileNotFoundError`` saying what to do for files that are missing or damaged.
    """
    if name not in DATASETS:
        raise ValueError(f"unknown dataset {name!r}: one of {', '.join(DATASETS)}")
    if dtype not in get_args(Pixels):
        raise ValueError(f"dtype {dtype!r}: one of {', '.join(get_args(Pixels))}")
    if name != "digits":
        return torchvision_set(name, Path(root), download=download, mirrors=mirrors, dtype=dtype)
    if dtype == "uint8":
        raise ValueError("dtype 'uint8': digits has 17 grey levels, not 256; use 'float32'")
    return load_digits()


def which(name: str, part: Literal["train", "test"], images: Images) -> str:
    """Whether these are the original images of that part, in any order, as a phrase.

    Says "original pixels" (and labels), "not the original: N images (...)", or "unknown: ..." where
    no fingerprint is kept.  A fingerprint cannot tell a subset of the original from other images.
    """
    if (name, part) not in CIFAR_PRINTS:
        return f"unknown: no fingerprint of {name}, {part}, is kept"
    if fingerprint(images) == CIFAR_PRINTS[name, part]:
        return "original pixels"
    return f"not the original: {len(images):,} images (a subset, recompressed or relabelled)"
