"""The files of torchvision's image sets: found, verified, unpacked or downloaded, and read.

torchvision reads them all.  Fashion-MNIST (Xiao, Rasul & Vollgraf 2017) also exists as a Debian
package and as four ``.gz`` files that can be put somewhere by hand: those are verified and unpacked
to where torchvision looks for them.
"""

import gzip
import hashlib
import socket
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dashlib.checkpoints import write_atomically

TORCHVISION = {"fashion_mnist": "FashionMNIST", "cifar10": "CIFAR10", "cifar100": "CIFAR100"}
# MD5 of what the .gz files contain.  torchvision lists those of upstream's packed files, whose gzip
# headers hold a name and a time: Debian's files are the same but for their headers.
FASHION = {
    "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
    "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
    "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
}
DEBIAN = Path("/usr/share/datasets/fashion-mnist")  # of the package dataset-fashion-mnist
PATIENCE = 30.0  # seconds without an answer after which a download is given up


class Part(NamedTuple):
    """The training or the test part of a set, as it is stored.

    ``pixels``: uint8, ``(N, H, W)`` or ``(N, H, W, C)``; ``labels``: int64 ``(N,)`` in
    [0, ``classes``).
    """

    pixels: np.ndarray
    labels: Tensor
    classes: int


def read(name: str, root: Path, *, download: bool = False) -> list[Part]:
    """The training and the test part of a set of :data:`TORCHVISION`, whole.

    Looks for torchvision's layout under ``root``; for Fashion-MNIST also for its four ``.gz``
    files in ``root``, ``root/fashion-mnist`` and :data:`DEBIAN`; then downloads, if allowed.
    Raises ``FileNotFoundError`` saying what to do for files that are missing or damaged.
    """
    from torchvision import datasets

    kind = getattr(datasets, TORCHVISION[name])
    root = root.expanduser()
    with TemporaryDirectory() as spare:
        place = _unpack_fashion(root, Path(spare)) if name == "fashion_mnist" else root
        try:
            with _patience(PATIENCE):
                parts = [
                    kind(str(place), train=train, download=download) for train in (True, False)
                ]
        except (RuntimeError, OSError, ValueError, AssertionError, HTTPException) as error:
            raise FileNotFoundError(_advice(name, root, error)) from error
    return [Part(np.asarray(p.data), torch.as_tensor(p.targets), len(p.classes)) for p in parts]


def _unpack_fashion(root: Path, spare: Path) -> Path:
    """Unpack Fashion-MNIST's ``.gz`` files for torchvision; returns the root to give it.

    That is ``root``, or ``spare`` where ``root`` cannot be written to.  Does nothing if unpacked
    files lie under ``root`` already, or if no folder has the four.
    """
    if all((_raw(root) / name).is_file() for name in FASHION):
        return root
    folders = (root, root / "fashion-mnist", DEBIAN)
    folder = next((f for f in folders if all(_packed(f, name).is_file() for name in FASHION)), None)
    if folder is None:
        return root
    contents = {name: _unpacked(_packed(folder, name), md5) for name, md5 in FASHION.items()}
    try:
        _write(contents, _raw(root))
    except OSError:  # a read-only folder or a full disk
        _write(contents, _raw(spare))
        return spare
    return root


def _raw(root: Path) -> Path:
    """Where torchvision looks for the unpacked files of Fashion-MNIST."""
    return root / "FashionMNIST" / "raw"


def _packed(folder: Path, name: str) -> Path:
    return folder / f"{name}.gz"


def _unpacked(path: Path, md5: str) -> bytes:
    """The content of a ``.gz`` file; ``FileNotFoundError`` unless it has this MD5."""
    try:
        content = gzip.decompress(path.read_bytes())
        if (found := hashlib.md5(content, usedforsecurity=False).hexdigest()) != md5:
            raise ValueError(f"MD5 {found}")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise FileNotFoundError(
            f"{path} is damaged ({error}): unpacked, it should have MD5 {md5}. Replace it by "
            f"{_mirrors(path.name)}, or delete it and call data.load with download=True; "
            "for Debian's package, `apt-get install --reinstall dataset-fashion-mnist`"
        ) from error
    return content


def _write(contents: dict[str, bytes], folder: Path) -> None:
    for name, content in contents.items():
        write_atomically(folder / name, content)


def _mirrors(name: str = "") -> str:
    """The addresses that torchvision downloads Fashion-MNIST (or one file of it) from."""
    from torchvision.datasets import FashionMNIST

    return " or ".join(mirror + name for mirror in FashionMNIST.mirrors)


def _advice(name: str, root: Path, error: Exception) -> str:
    """What to do about a set that could not be read."""
    fault = " ".join(str(error).split()).rstrip(".")
    message = (
        f"{name} is not (whole) under {root} ({fault}). With a network: "
        f"`python -c \"from dashlib import data; data.load('{name}', '{root}', download=True)\"`. "
    )
    if name != "fashion_mnist":
        return message + f"Or put torchvision's files for {TORCHVISION[name]} there by hand"
    files = ", ".join(f"{file}.gz" for file in FASHION)
    return message + (
        "Debian and Ubuntu: `apt-get install dataset-fashion-mnist`. By hand: put "
        f"{files} from {_mirrors()} into {root}. If {_raw(root)} exists, delete it first"
    )


@contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """Give up on a connection that stays silent this long: torchvision itself waits for ever."""
    former = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(former)
