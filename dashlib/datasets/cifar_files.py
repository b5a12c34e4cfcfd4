"""CIFAR as people have it: Hugging Face's parquet files, or a folder of images for each class.

The images are PNG, WebP or JPEG, 32x32, RGB.  Labels follow CIFAR's own order of its classes,
whatever the order of the folders.
"""

import os
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import NamedTuple
from zipfile import ZipFile

import numpy as np

PARTS = ("train", "test")
SHAPE = (32, 32, 3)
COLUMN = {"cifar10": "label", "cifar100": "fine_label"}  # of the parquet files
_NAMES = {
    "cifar10": "airplane automobile bird cat deer dog frog horse ship truck",
    "cifar100": """
        apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus
        butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch
        crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo
        keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain
        mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain
        plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
        skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone
        television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
    """,
}
CLASSES = {name: tuple(names.split()) for name, names in _NAMES.items()}
# In a zip the two parts may lie in one more folder; what begins with a dot is no image.
IMAGE = re.compile(r"(?:[^/]+/)?(train|test)/([^/.][^/]*)/[^/.][^/]*\.(?i:png|jpe?g)")


class Coded(NamedTuple):
    """An image as it is stored: where (for messages), the bytes of its file, its label."""

    place: str
    content: bytes
    label: int


def read(name: str, root: Path) -> list[tuple[np.ndarray, np.ndarray]] | None:
    """Both parts, uint8 ``(N, 32, 32, 3)`` and labels, int64 ``(N,)``; None if there are no files.

    Looks in ``root/NAME``, ``root``, ``root/data`` and ``root/plain_text`` for ``train-*.parquet``
    and ``test-*.parquet``, then in ``root/NAME`` and ``root`` for ``train/CLASS/*.png`` (``.jpg``,
    ``.jpeg``) and ``test/CLASS/*``, then for a zip of these: ``root/NAME.zip``, or the only one.
    Raises ``FileNotFoundError`` saying which file is missing or wrong, and what to do.
    """
    for layout in (_parquet, _folder, _zip):
        if parts := layout(name, root):
            return [(_decoded(part), np.array([c.label for c in part], np.int64)) for part in parts]
    return None


def _parquet(name: str, root: Path) -> list[list[Coded]] | None:
    """The rows of parquet files."""
    for home in (root / name, root, root / "data", root / "plain_text"):
        files = {part: sorted(home.glob(f"{part}-*.parquet")) for part in PARTS}
        if _has_both(files, home, "PART-*.parquet"):
            for paths in files.values():
                _check_numbers(paths)
            return [[row for path in files[p] for row in _rows(name, path)] for p in PARTS]
    return None


def _has_both(parts: Mapping[str, Sequence[object]], home: Path, pattern: str) -> bool:
    """Whether there is anything; ``FileNotFoundError`` if there is one part without the other."""
    if len(missing := [part for part in PARTS if not parts[part]]) == 1:
        wanted = pattern.replace("PART", missing[0])
        raise FileNotFoundError(f"{home} lacks {wanted}: put it beside the other part")
    return not missing


def _check_numbers(paths: Sequence[Path]) -> None:
    """``FileNotFoundError`` unless there are as many files as their names say (``-of-00002``)."""
    for path in paths:
        total = re.search(r"-of-(\d+)", path.name)
        if total and int(total[1]) != len(paths):
            raise FileNotFoundError(
                f"{path} is one of {int(total[1])} files by its name, {len(paths)} are there: "
                "add those that are missing, or remove those of another set"
            )


def _rows(name: str, path: Path) -> list[Coded]:
    """The rows of one parquet file."""
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise FileNotFoundError(
            f"{path} needs pyarrow to be read: `pip install pyarrow`"
        ) from error
    columns = ["img.bytes", COLUMN[name]]
    try:
        with parquet.ParquetFile(path) as file:
            there = ", ".join(file.schema_arrow.names)
            table = file.read(columns=columns).flatten()
    except Exception as error:  # a damaged file raises anything
        raise FileNotFoundError(f"{path} is damaged ({error}): download it again") from error
    if not {*columns} <= {*table.column_names}:
        raise FileNotFoundError(
            f"{path} has the columns {there}; {name} needs img (bytes and path) and "
            f"{COLUMN[name]}: put the files of {name} there"
        )
    contents, labels = (table[column].to_pylist() for column in columns)
    count = len(CLASSES[name])
    for i, label in enumerate(labels):
        if label not in range(count):
            raise FileNotFoundError(
                f"{path}, row {i}: {COLUMN[name]} is {label}, not a number from 0 to {count - 1}: "
                f"put the files of {name} there"
            )
    pairs = zip(contents, labels, strict=True)
    return [Coded(f"{path}, row {i}", *pair) for i, pair in enumerate(pairs)]


def _folder(name: str, root: Path) -> list[list[Coded]] | None:
    """The images in folders named after the parts and their classes."""
    for home in (root / name, root):
        paths = [path for part in PARTS for path in home.glob(f"{part}/*/*")]
        files = {path.relative_to(home).as_posix(): path for path in paths}
        if found := _labelled(name, home, files):
            return [[Coded(str(files[n]), files[n].read_bytes(), y) for n, y in p] for p in found]
    return None


def _zip(name: str, root: Path) -> list[list[Coded]] | None:
    """The images in a zip of such folders."""
    named, others = root / f"{name}.zip", [*root.glob("*.zip")]
    if not named.is_file() and len(others) != 1:
        return None
    path = named if named.is_file() else others[0]
    try:
        with ZipFile(path) as file:
            files = {n: file.read(n) for n in file.namelist() if IMAGE.fullmatch(n)}
    except Exception as error:  # a damaged file raises anything
        raise FileNotFoundError(f"{path} is damaged ({error}): replace it") from error
    found = _labelled(name, path, files)
    return found and [[Coded(f"{path}, {n}", files[n], y) for n, y in p] for p in found]


def _labelled(name: str, home: Path, files: Iterable[str]) -> list[list[tuple[str, int]]] | None:
    """The names of both parts' images with their labels; None if there is no image.

    Each part is in one fixed random order: the first images are of all classes.
    """
    parts: dict[str, list[tuple[str, int]]] = {part: [] for part in PARTS}
    for file in sorted(files):
        if match := IMAGE.fullmatch(file):
            part, folder = match.groups()
            if folder not in CLASSES[name]:
                raise FileNotFoundError(
                    f"{home} holds {file}, but {folder!r} is no class of {name} (they are "
                    f"{', '.join(CLASSES[name][:3])}, ...): rename or remove that folder"
                )
            parts[part].append((file, CLASSES[name].index(folder)))
    if not _has_both(parts, home, "PART/CLASS/*.png"):
        return None
    for images in parts.values():
        random.Random(0).shuffle(images)
    return [*parts.values()]


def _decoded(images: Sequence[Coded]) -> np.ndarray:
    """The pixels, uint8 ``(N, 32, 32, 3)``, decoded by several threads."""
    pixels = np.empty((len(images), *SHAPE), np.uint8)
    with ThreadPool(min(8, os.cpu_count() or 1)) as pool:
        for target, content in zip(pixels, pool.imap(_decode, images, 256), strict=True):
            target[:] = np.frombuffer(content, np.uint8).reshape(SHAPE)
    return pixels


def _decode(image: Coded) -> bytes:
    """The 3,072 bytes of an image."""
    from PIL import Image

    try:
        with Image.open(BytesIO(image.content), formats=("PNG", "WEBP", "JPEG")) as picture:
            found = (*picture.size, picture.mode)
            if found == (32, 32, "RGB"):
                return picture.tobytes()
    except Exception as error:  # damaged bytes raise anything
        raise FileNotFoundError(f"{image.place} is damaged ({error}): replace it") from error
    raise FileNotFoundError(
        f"{image.place} is {found[0]}x{found[1]}, {found[2]}; CIFAR's images are 32x32, RGB: "
        "put the original there"
    )
