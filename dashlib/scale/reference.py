"""Statistics of real images' features: beside the data, and, small enough, with the results.

``ROOT/reference`` keeps mean, covariance and up to 10,000 features of a data set's images, and
they are made again if anything changed.  ``results/reference/FEATURES-DATASET.safetensors`` holds
the mean (float64) and the upper triangle of the covariance (float16, which moves CIFAR-10's FD by
0.0004 %), enough for a Frechet distance without computing 50,000 images' features first; the JSON
beside it says of what they are, and what held-out images score against them.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from dashlib import datasets, results
from dashlib.checkpoints import CheckpointError, pack, read_tensors, write_atomically
from dashlib.data import Images, to_bytes
from dashlib.datasets.imagenet64 import ImageNet64
from dashlib.datasets.imagenet_files import CLASSES
from dashlib.metrics import frechet, gaussian
from dashlib.scale.distributed import bar, share
from dashlib.scale.features import Extractor
from dashlib.scale.scores import Extraction

REFERENCE_SETS = (*datasets.DATASETS, "imagenet64")
FLOORS = (2_000, 10_000)  # held-out images
Real = Images | ImageNet64


@dataclass(frozen=True)
class Reference:
    """Real images' features: of what (``key``), mean and covariance, and up to 10,000 of them."""

    key: dict[str, Any]
    gaussian: tuple[Tensor, Tensor]
    pool: Tensor


def pixels(images: Real, numbers: range) -> Tensor:
    """Consecutive real images as uint8 ``(B, C, H, W)``."""
    if isinstance(images, ImageNet64):
        return images[numbers][0]
    return to_bytes(images.x[numbers.start : numbers.stop])


def real_images(
    name: str, root: Path, place: Accelerator, *, part: str = "train", download: bool = False
) -> tuple[Real, int]:
    """The images of a data set, held as bytes where that loses nothing, and its classes.

    The first process unpacks files that need it, or downloads them if asked.  Errors are those of
    :func:`dashlib.datasets.load` and :class:`dashlib.datasets.imagenet64.ImageNet64`.
    """
    with place.main_process_first():
        if name == "imagenet64":
            return ImageNet64(root), CLASSES
        held: Literal["float32", "uint8"] = "float32" if name == "digits" else "uint8"
        wanted = download and place.is_main_process
        found = datasets.load(name, root, download=wanted, dtype=held)
        return getattr(found, part), found.num_classes


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write(path: Path, real: Reference, about: dict[str, Any], dtype: torch.dtype) -> None:
    """Store a reference, and beside it what it is of, with the file's SHA-256, as JSON."""
    mean, covariance = (moment.cpu() for moment in real.gaussian)
    rows, columns = torch.triu_indices(*covariance.shape)
    tensors = {"mean": mean, "covariance": covariance[rows, columns].to(dtype), "pool": real.pool}
    content = pack({name: x for name, x in tensors.items() if len(x)})
    about["sha256"] = _digest(content)
    write_atomically(path.with_suffix(".safetensors"), content)
    write_atomically(path.with_suffix(".json"), (json.dumps(about, indent=1) + "\n").encode())


def _read(path: Path, about: dict[str, Any], key: dict[str, Any]) -> Reference:
    """What :func:`_write` wrote; ``CheckpointError`` if it is damaged."""
    file = path.with_suffix(".safetensors")
    held = read_tensors(file)
    if _digest(file.read_bytes()) != about["sha256"]:
        raise CheckpointError(f"{file} is damaged: restore it with `git checkout {file}`")
    mean = held["mean"]
    rows, columns = torch.triu_indices(len(mean), len(mean))
    covariance = torch.zeros(len(mean), len(mean), dtype=torch.float64)
    covariance[rows, columns] = covariance[columns, rows] = held["covariance"].double()
    return Reference(key, (mean, covariance), held.get("pool", mean[None, :0]))


def key_of(name: str, split: str, images: Real, extractor: Extractor) -> dict[str, Any]:
    """All that a reference depends on; ``pixels`` is the SHA-256 of 64 images, spread evenly."""
    n = len(images)
    spread = torch.linspace(0, n - 1, min(64, n)).long().tolist()
    some = torch.cat([pixels(images, range(i, i + 1)) for i in spread]).cpu().contiguous()
    return {
        "dataset": name,
        "split": split,
        "n": n,
        "size": some.shape[2],
        "channels": some.shape[1],
        "pixels": _digest(some.numpy().tobytes()),
        "features": extractor.sha,
    }


def _cached(path: Path, key: dict[str, Any]) -> Reference | None:
    """The kept reference, or None if there is none, it is damaged, or of something else."""
    try:
        about = json.loads(path.with_suffix(".json").read_text())
        return _read(path, about, key) if about["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def reference(
    name: str, split: str, images: Real, extractor: Extractor, place: Accelerator,
    *, root: Path, batch: int = 500,
) -> Reference:  # fmt: skip
    """The reference of a set of images: read if every process has it, else made and kept."""
    key, n = key_of(name, split, images, extractor), len(images)
    mark = _digest(json.dumps(key).encode())[:8]
    path = root / "reference" / f"{name}-{split}-{n}x{key['size']}px-{mark}"
    stored = _cached(path, key)
    if all(gather_object([stored is not None])) and stored:
        return stored
    place.print(f"features of {name}/{split}, {n:,} images: made once, then kept in {root}")
    own, found = share(n, place), Extraction(n, extractor, place)
    starts = range(0, len(own), batch)
    for i in bar(starts, "features", len(starts), place):
        found.add(pixels(images, own[i : i + batch]))
    made = Reference(key, *found.united()[:2])
    if place.is_main_process:
        try:
            _write(path, made, {"key": key}, torch.float64)
        except OSError as error:
            place.print(f"they could not be kept ({error}) and will be made again next time")
    return made


def train_reference(
    name: str, images: Real, extractor: Extractor, place: Accelerator, *, whole: bool, **how: Any
) -> Reference:
    """The reference of training images: the published one, unless features are needed, too."""
    found = None if whole else published(name, images, extractor)
    return found or reference(name, "train", images, extractor, place, **how)


def contents(images: Real) -> str:
    """SHA-256 of the images as a set: the same in whatever order they come."""
    each = (pixels(images, range(i, i + 1)).cpu().numpy() for i in range(len(images)))
    return _digest(b"".join(sorted(hashlib.sha256(image.tobytes()).digest() for image in each)))


def publish(
    path: Path, images: Real, extractor: Extractor, train: Reference, held_out: Reference,
    **more: Any,
) -> dict[str, Any]:  # fmt: skip
    """Write the statistics of ``train``, whose images are these; returns what the JSON says.

    ``floor``: the Frechet distance of (at most) so many held-out images, drawn with seed 0.
    """
    order = torch.randperm(len(held_out.pool), generator=torch.Generator().manual_seed(0))
    some = {len(order[:n]): held_out.pool[order[:n]] for n in FLOORS}
    about = more | {
        "score": extractor.name("fid"),
        "dataset": train.key["dataset"],
        "split": train.key["split"],
        "n": len(images),
        "contents": contents(images),
        "weights": extractor.sha,
        "library": extractor.library,
        "floor": {str(n): frechet(gaussian(x), train.gaussian) for n, x in some.items()},
        "commit": results.commit(),
        "hardware": results.hardware(),
        "versions": results.versions(),
    }
    _write(path, Reference(train.key, train.gaussian, train.pool[:0]), about, torch.float16)
    return about


def published(name: str, images: Real, extractor: Extractor) -> Reference | None:
    """The statistics stored with the results as a reference without features, if any are of these.

    ``CheckpointError`` for a file that is damaged.
    """
    for path in (results.root() / "reference").glob(f"*-{name}.json"):
        about = json.loads(path.read_text())
        same = (about["n"], about["weights"]) == (len(images), extractor.sha)
        if same and about["contents"] == contents(images):
            return _read(path, about, key_of(name, about["split"], images, extractor))
    return None
