"""CIFAR as people have it: Hugging Face's parquet files, or a folder of images for each class.

The images are PNG, WebP or JPEG, 32x32, RGB.  Labels follow CIFAR's own order of its classes,
whatever the order of the folders.
"""

import os
import random
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from io import BytesIO
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile, ZipFile

import numpy as np

_PARTS = ("train", "test")
_SHAPE = (32, 32, 3)
COLUMN = {"cifar10": "label", "cifar100": "fine_label"}  # of the parquet files
_WORDS = {
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
CLASS_NAMES = {name: tuple(names.split()) for name, names in _WORDS.items()}
# A zip may hold the parts in one more folder; what begins with a dot is no image.
IMAGE = re.compile(r"(?:[^/]+/)?(train|test)/([^/.][^/]*)/[^/.][^/]*\.(?i:png|jpe?g)")


Content = Callable[[], bytes]


class Coded(NamedTuple):
    """An image as it is stored: where, what reads the bytes of its PNG, WebP or JPEG, its label."""

    place: str
    content: Content
    label: int


def read(name: str, root: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Both parts, uint8 ``(N, 32, 32, 3)`` and int64 ``(N,)``, or nothing if there are no files.

    Looks in ``root/NAME``, ``root``, ``root/data`` and ``root/plain_text`` for ``train-*.parquet``
    and ``test-*.parquet``, then in ``root/NAME`` and ``root`` for ``train/CLASS/*.png`` (``.jpg``,
    ``.jpeg``) and ``test/CLASS/*``, then for a zip of these: ``root/NAME.zip``, or the only one.
    Raises ``FileNotFoundError`` saying which file is missing or wrong, and what to do.
    """
    parts = _parquet(name, root) or _folders(name, root)
    return [(_pixels(part), np.array([i.label for i in part], np.int64)) for part in parts]


def _both(parts: Mapping[str, list[Coded]], home: Path, pattern: str) -> list[list[Coded]]:
    """Both parts, or nothing; ``FileNotFoundError`` if there is one without the other."""
    if len(missing := [part for part in _PARTS if not parts[part]]) == 1:
        wanted = pattern.format(*missing)
        raise FileNotFoundError(f"{home} has no images {wanted}: put them beside the other part")
    return [] if missing else [parts[part] for part in _PARTS]


def _parquet(name: str, root: Path) -> list[list[Coded]]:
    """The rows of parquet files, in the order of their names."""
    for home in (root / name, root, root / "data", root / "plain_text"):
        files = {part: sorted(home.glob(f"{part}-*.parquet")) for part in _PARTS}
        rows = {part: [r for f in files[part] for r in _rows(name, f)] for part in _PARTS}
        if parts := _both(rows, home, "{}-*.parquet"):
            return parts
    return []


def _rows(name: str, path: Path) -> list[Coded]:
    """The rows of one parquet file, beside which there are as many as its name says."""
    total, there = re.search(r"-of-(\d+)", path.name), path.name.partition("-")[0] + "-*.parquet"
    if total and int(total[1]) != (count := len([*path.parent.glob(there)])):
        raise FileNotFoundError(
            f"{path} is one of {int(total[1])} files by its name, but {count} are there: add the "
            "missing ones, or remove those of another set"
        )
    table, numbers = _table(name, path), range(len(CLASS_NAMES[name]))
    labels = table[COLUMN[name]].to_pylist()
    if wrong := [i for i, y in enumerate(labels) if y not in numbers]:
        raise FileNotFoundError(
            f"{path}, row {wrong[0]}: {COLUMN[name]} is {labels[wrong[0]]}, not a number from 0 "
            f"to {numbers[-1]}: put the files of {name} there"
        )
    rows = zip(table["img.bytes"], labels, strict=True)
    return [Coded(f"{path}, row {i}", bytes_.as_py, y) for i, (bytes_, y) in enumerate(rows)]


def _table(name: str, path: Path) -> Any:
    """The columns of a parquet file that are needed."""
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise FileNotFoundError(f"{path} is read by pyarrow: `pip install pyarrow`") from error
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
    return table


def _folders(name: str, root: Path) -> list[list[Coded]]:
    """The images in folders named after parts and classes, or in a zip of these."""
    for home in (root / name, root):
        paths = [path for part in _PARTS for path in home.glob(f"{part}/*/*")]
        files = {path.relative_to(home).as_posix(): path.read_bytes for path in paths}
        if parts := _labelled(name, home, files):
            return parts
    zips = [root / f"{name}.zip"]
    if not zips[0].is_file() and len(zips := [*root.glob("*.zip")]) != 1:
        return []
    try:
        packed = ZipFile(zips[0])
    except (BadZipFile, OSError) as error:
        raise FileNotFoundError(f"{zips[0]} is damaged ({error}): replace it") from error
    return _labelled(name, zips[0], {n: partial(packed.read, n) for n in packed.namelist()})


def _labelled(name: str, home: Path, files: Mapping[str, Content]) -> list[list[Coded]]:
    """The images among the files, in one random order: the first of them are of all classes."""
    found: dict[str, list[Coded]] = {part: [] for part in _PARTS}
    for match in filter(None, map(IMAGE.fullmatch, sorted(files))):
        file, part, folder = match.group(0, 1, 2)
        if folder not in CLASS_NAMES[name]:
            raise FileNotFoundError(
                f"{home / file}: {folder!r} is no class of {name} (these are "
                f"{', '.join(CLASS_NAMES[name][:3])}, ...): rename or remove the folder"
            )
        label = CLASS_NAMES[name].index(folder)
        found[part].append(Coded(str(home / file), files[file], label))
    for images in found.values():
        random.Random(0).shuffle(images)
    return _both(found, home, "{}/CLASS/*.png")


def _pixels(images: Sequence[Coded]) -> np.ndarray:
    """uint8 ``(N, 32, 32, 3)``, decoded by several threads."""
    pixels = np.empty((len(images), *_SHAPE), np.uint8)
    with ThreadPool(min(8, os.cpu_count() or 1)) as pool:
        for target, row in zip(pixels, pool.imap(_decoded, images, 256), strict=True):
            target[:] = np.frombuffer(row, np.uint8).reshape(_SHAPE)
    return pixels


def _decoded(image: Coded) -> bytes:
    """The 3,072 bytes of an image."""
    from PIL import Image

    try:
        with Image.open(BytesIO(image.content()), formats=("PNG", "WEBP", "JPEG")) as picture:
            width, height, mode = *picture.size, picture.mode
            if (width, height, mode) == (32, 32, "RGB"):
                return picture.tobytes()
    except Exception as error:  # damaged bytes raise anything
        raise FileNotFoundError(f"{image.place} is damaged ({error}): replace it") from error
    raise FileNotFoundError(
        f"{image.place} is {width}x{height}, {mode}; CIFAR's images are 32x32, RGB: replace it"
    )
