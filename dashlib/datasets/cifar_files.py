"""CIFAR as people have it: Hugging Face's parquet files, or a folder of images for each class.

The images are PNG, WebP or JPEG, 32x32, RGB; labels are CIFAR's own, whatever the folders' order.
"""

import random
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np

from dashlib.extras import what_to_install

_COLUMN = {"cifar10": "label", "cifar100": "fine_label"}  # of the parquet files
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
_IMAGE = re.compile(r"(?:[^/]+/)?(train|test)/([^/.][^/]*)/[^/.][^/]*\.(?i:png|jpe?g)")

Parts = list[tuple[np.ndarray, Any]]  # pixels and labels to train on, and to test with
_Reads = Callable[[], bytes]
_Images = list[tuple[str, _Reads, int]]  # where each is, what reads its file, its label


def read_encoded(name: str, root: Path) -> Parts:
    """Both parts, ``(N, 32, 32, 3)``, or nothing if there are no files.

    Looks in ``root/NAME``, ``root``, ``root/data`` and ``root/plain_text`` for ``PART-*.parquet``,
    then ``PART/CLASS/*.png`` (``.jpg``, ``.jpeg``), then for a zip of these, ``root/NAME.zip`` or
    the only one; PART: train, test.  ``FileNotFoundError``: which file is wrong, what to do.
    """
    for place, pattern, *parts in _layouts(name, root):
        if all(parts):
            return [(np.stack([decoded(*i[:2]) for i in p]), [i[2] for i in p]) for p in parts]
        if any(parts):
            missing = pattern.format("test" if parts[0] else "train")
            raise FileNotFoundError(f"{place} has no {missing}: put them beside the other part")
    return []


def _layouts(name: str, root: Path) -> Iterator[tuple[Path, str, _Images, _Images]]:
    """List where images may be, the pattern of their files, and what is there of each part."""
    homes = (root / name, root, root / "data", root / "plain_text")
    for home in homes:
        yield home, "{}-*.parquet", _rows(name, home, "train"), _rows(name, home, "test")
    for home in homes:
        paths = [*home.glob("train/*/*"), *home.glob("test/*/*")]
        files = {path.relative_to(home).as_posix(): path.read_bytes for path in paths}
        yield home, "{}/CLASS/*.png", *_labelled(name, home, files)
    zips = [root / f"{name}.zip"]
    if zips[0].is_file() or len(zips := [*root.glob("*.zip")]) == 1:
        try:
            packed = ZipFile(zips[0])
        except (BadZipFile, OSError) as error:
            raise FileNotFoundError(f"{zips[0]} is damaged ({error}): replace it") from error
        files = {inside: partial(packed.read, inside) for inside in packed.namelist()}
        yield zips[0], "{}/CLASS/*.png", *_labelled(name, zips[0], files)


def _rows(name: str, home: Path, part: str) -> _Images:
    files, place = sorted(home.glob(f"{part}-*.parquet")), home / f"{part}-*.parquet"
    if not files:
        return []
    if {int(n) for f in files for n in re.findall(r"-of-(\d+)", f.name)} - {len(files)}:
        raise FileNotFoundError(f"{place} are fewer or more than their names say: add the missing")
    with what_to_install():
        from pyarrow import parquet
    try:
        table = parquet.read_table([*map(str, files)], columns=["img", _COLUMN[name]]).flatten()
        contents, labels = table["img.bytes"], table[_COLUMN[name]].to_pylist()
    except Exception as error:  # a damaged file raises anything
        fault = f"damaged or of another set ({' '.join(str(error).split())})"
        needs = f"{name} has the columns img (bytes and path) and {_COLUMN[name]}"
        raise FileNotFoundError(f"{place}: {fault}; {needs}: download it again") from error
    numbers = range(len(CLASS_NAMES[name]))
    if wrong := [f"row {i}: {label}" for i, label in enumerate(labels) if label not in numbers]:
        need = f"is no label of {name}, 0 to {numbers[-1]}: put its files there"
        raise FileNotFoundError(f"{place}, {wrong[0]} {need}")
    places = (f"{place}, row {i}" for i in range(len(labels)))
    return list(zip(places, (content.as_py for content in contents), labels, strict=True))


def _labelled(name: str, home: Path, files: Mapping[str, _Reads]) -> tuple[_Images, _Images]:
    """The images among the files, in one random order: the first of them are of all classes."""
    found: dict[str, _Images] = {"train": [], "test": []}
    for match in filter(None, map(_IMAGE.fullmatch, sorted(files))):
        file, part, folder = match.group(0, 1, 2)
        if folder not in CLASS_NAMES[name]:
            known = f"{name} (these are {', '.join(CLASS_NAMES[name][:3])}, ...)"
            how = "rename or remove the folder"
            raise FileNotFoundError(f"{home / file}: {folder!r} is no class of {known}: {how}")
        found[part].append((str(home / file), files[file], CLASS_NAMES[name].index(folder)))
    for images in found.values():
        random.Random(0).shuffle(images)
    return found["train"], found["test"]


def decoded(place: str, content: _Reads, shape: tuple[int, ...] = (32, 32, 3)) -> np.ndarray:
    """The pixels of an image, uint8; ``FileNotFoundError`` if damaged or of another shape."""
    with what_to_install():
        from PIL import Image

    try:
        with Image.open(BytesIO(content()), formats=("PNG", "WEBP", "JPEG")) as picture:
            pixels = np.array(picture)
    except Exception as error:  # damaged bytes raise anything
        raise FileNotFoundError(f"{place} is damaged ({error}): replace it") from error
    if shape and pixels.shape != shape:
        kind = "RGB" if len(shape) == 3 else "grey"
        raise FileNotFoundError(f"{place} is {pixels.shape}, not {shape}, {kind}: replace it")
    return pixels
