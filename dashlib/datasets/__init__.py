"""Image sets by name, ``load_dataset("digits")``, and ImageNet at 64x64 (:mod:`.imagenet64`)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from dashlib.checkpoints import reading
from dashlib.checks import check_choice
from dashlib.data import Dataset, Images, as_floats
from dashlib.datasets.cifar_files import decoded
from dashlib.datasets.originals import TORCHVISION, archives, read_original
from dashlib.extras import what_to_install

Pixels = Literal["float32", "uint8"]
DATASETS = ("digits", *TORCHVISION)


def load_dataset(
    name: str, root: str | Path = "data", *, download: bool = False, mirrors: Sequence[str] = (),
    dtype: Pixels = "float32",
) -> Dataset:  # fmt: skip
    """A dataset by name; Fashion-MNIST's 28x28 images are padded to 32x32.

    ``root`` has the files (or gets them, with ``download=True``): torchvision's, packed or not, or
    :mod:`.cifar_files`'.  ``mirrors``: base addresses to try first, as in ``$DASH_MIRRORS``.
    ``dtype="uint8"`` holds images, but not digits (``ValueError``), as bytes.
    ``FileNotFoundError`` says what to do for files that are missing or damaged.
    """
    check_choice("unknown dataset", name, DATASETS)
    check_choice("dtype", dtype, get_args(Pixels))
    if name == "digits" and dtype == "uint8":
        raise ValueError("dtype 'uint8': digits has 17 grey levels, not 256; use 'float32'")
    if name == "digits":
        return _digits()
    root = Path(root).expanduser()
    root = root.parent if root.name in ("cifar-10-batches-py", "cifar-100-python") else root
    try:
        parts = read_original(name, root, mirrors if download else None)
    except FileNotFoundError:  # which says what to do
        raise
    except OSError as error:
        raise FileNotFoundError(_advice(name, root, error)) from error
    train, test = (as_images(pixels, labels, dtype) for pixels, labels in parts)
    return Dataset(name, 100 if name == "cifar100" else 10, train, test)


def _digits() -> Dataset:
    """scikit-learn's 8x8 digits: 1,500 to train on, 297 held out, a fixed stratified split."""
    with what_to_install():
        from sklearn import datasets, model_selection

    bunch = datasets.load_digits()
    split = model_selection.train_test_split(
        bunch.images, bunch.target, train_size=1500, random_state=0, stratify=bunch.target
    )
    x, x_test, y, y_test = map(torch.from_numpy, split)
    parts = (Images(a.float()[:, None] / 8 - 1, b.long()) for a, b in ((x, y), (x_test, y_test)))
    return Dataset("digits", 10, *parts)


def _advice(name: str, root: Path, error: OSError) -> str:
    files = [f"{f} (MD5 {md5}) from {' or '.join(at)}" for f, (md5, at) in archives(name).items()]
    other = "train-*.parquet and test-*.parquet, or train/CLASS/*.png and test/CLASS/*.png"
    if name == "fashion_mnist":
        other = "on Debian and Ubuntu, `apt-get install dataset-fashion-mnist`"
    fetched = f"With a network: datasets.load_dataset('{name}', '{root}', download=True)"
    by_hand = f"By hand: put {', '.join(files)} into {root}; or {other}"
    return f"{name} is not (whole) under {root}: {error}. {fetched}. {by_hand}"


def as_images(pixels: Any, labels: Any, dtype: Pixels = "float32") -> Images:
    """uint8 ``(N, H, W)`` or ``(N, H, W, C)``, and labels ``(N,)``, as :class:`Images`."""
    x = torch.from_numpy(pixels)
    x = x[:, None] if x.ndim == 3 else x.permute(0, 3, 1, 2)
    return Images(x if dtype == "uint8" else as_floats(x), torch.as_tensor(labels).long())


def read_images(path: Path, n: int, shape: tuple[int, int, int]) -> Tensor | None:
    """The first n of a ``.npz`` (its ``arr_0``, NHWC) or of a folder of PNG or JPEG; else None.

    uint8 ``(n, C, H, W)``, grey also of three channels; ``ValueError``: fewer, other or damaged.
    """
    files = sorted(f for f in path.glob("*") if f.suffix.lower() in (".png", ".jpg", ".jpeg"))
    if path.suffix.lower() != ".npz" and not files:
        return None
    layout: tuple[int, ...] = shape[1:] if shape[0] == 1 else (*shape[1:], shape[0])
    with reading(path):
        read = [decoded(str(file), file.read_bytes, layout) for file in files[:n]]
        pixels = np.stack(read) if files else np.load(path)["arr_0"]
        x = as_images(pixels, range(len(pixels)), "uint8").x
    x = x[:n, :1] if shape[0] == 1 and (x == x[:, :1]).all() else x[:n]
    if len(x) < n or x.shape[1:] != shape or x.dtype != torch.uint8:
        held = f"{path} holds {len(x)} images {tuple(x.shape[1:])} of {x.dtype}"
        raise ValueError(f"{held}, not {n} {shape} of uint8: give others, or --data, or --n")
    return x.contiguous()
