"""Statistics of real images' features: beside the data, and, small enough, with the results.

``ROOT/reference`` keeps mean, covariance and up to 10,000 features of a data set's images, and
they are made again if anything changed.  ``results/reference/FEATURES-DATASET.safetensors`` holds
the mean (float64) and the upper triangle of the covariance (float16, which moves CIFAR-10's FD by
0.0004 %), enough for a Frechet distance without computing 50,000 images' features first; the JSON
beside it says of what they are, and what held-out images score against them.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from dashlib import datasets, results
from dashlib.checkpoints import CheckpointError, pack, read_tensors, write_atomically
from dashlib.data import Images, to_bytes
from dashlib.datasets.imagenet64 import CLASSES, ImageNet64
from dashlib.metrics import frechet, gaussian
from dashlib.scale.distributed import bar, share
from dashlib.scale.features import Extractor
from dashlib.scale.scores import Extraction

REFERENCE_SETS = (*datasets.DATASETS, "imagenet64")
FLOORS = (2_000, 10_000)  # held-out images


@dataclass(frozen=True)
class RealImages:
    """A part (``train`` or ``test``) of a data set, held as bytes where that loses nothing."""

    name: str
    part: str
    images: Images | ImageNet64
    classes: int

    def __len__(self) -> int:
        return len(self.images)

    @property
    def form(self) -> tuple[int, int, int]:
        """Channels, size and classes."""
        return (*self.pixels(range(1)).shape[1:3], self.classes)

    def pixels(self, numbers: range) -> Tensor:
        """Consecutive images as uint8 ``(B, C, H, W)``."""
        if isinstance(self.images, ImageNet64):
            return self.images[numbers][0]
        return to_bytes(self.images.x[numbers.start : numbers.stop])

    def contents(self) -> str:
        """SHA-256 of the images as a set: the same in whatever order they come."""
        each = (self.pixels(range(i, i + 1)).cpu().numpy().tobytes() for i in range(len(self)))
        return _digest(b"".join(sorted(hashlib.sha256(image).digest() for image in each)))


def real_images(
    name: str, root: Path, place: Accelerator, *, part: str = "train", download: bool = False
) -> RealImages:
    """The images of a data set; the first process unpacks them, or downloads them if asked.

    Errors are those of :func:`dashlib.datasets.load` and
    :class:`dashlib.datasets.imagenet64.ImageNet64`.
    """
    with place.main_process_first():
        if name == "imagenet64":
            return RealImages(name, part, ImageNet64(root), CLASSES)
        held: Literal["float32", "uint8"] = "float32" if name == "digits" else "uint8"
        wanted = download and place.is_main_process
        found = datasets.load(name, root, download=wanted, dtype=held)
        return RealImages(name, part, getattr(found, part), found.num_classes)


@dataclass(frozen=True)
class Reference:
    """Real images' features: of what (``key``), mean and covariance, and up to 10,000 of them."""

    key: dict[str, Any]
    gaussian: tuple[Tensor, Tensor]
    pool: Tensor


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


def key_of(real: RealImages, extractor: Extractor) -> dict[str, Any]:
    """All that a reference depends on; ``pixels`` is the SHA-256 of 64 images, spread evenly."""
    spread = torch.linspace(0, len(real) - 1, min(64, len(real))).long().tolist()
    some = torch.cat([real.pixels(range(i, i + 1)) for i in spread]).cpu().contiguous()
    return {
        "dataset": real.name,
        "split": real.part,
        "n": len(real),
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
    real: RealImages, extractor: Extractor, place: Accelerator, root: Path, *,
    batch: int = 500, whole: bool = True,
) -> Reference:  # fmt: skip
    """The reference of real images: read if every process has it, else made and kept.

    The published one, without features, serves unless ``whole``.
    """
    if not whole and (stored := published(real, extractor)):
        return stored
    key = key_of(real, extractor)
    mark = _digest(json.dumps(key).encode())[:8]
    path = root / "reference" / f"{real.name}-{real.part}-{len(real)}x{key['size']}px-{mark}"
    stored = _cached(path, key)
    if all(gather_object([stored is not None])) and stored:
        return stored
    what = f"features of {real.name}/{real.part}, {len(real):,} images"
    place.print(f"{what}: made once, then kept in {root}")
    own, found = share(len(real), place), Extraction(len(real), extractor, place)
    starts = range(0, len(own), batch)
    for i in bar(starts, "features", len(starts), place):
        found.add(real.pixels(own[i : i + batch]))
    made = Reference(key, *found.united()[:2])
    if place.is_main_process:
        try:
            _write(path, made, {"key": key}, torch.float64)
        except OSError as error:
            place.print(f"they could not be kept ({error}) and will be made again next time")
    return made


def publish(
    path: Path, real: RealImages, extractor: Extractor, train: Reference, held_out: Reference,
    **more: Any,
) -> dict[str, Any]:  # fmt: skip
    """Write the statistics of ``train``, whose images are these; returns what the JSON says.

    ``floor``: the Frechet distance of (at most) so many held-out images, drawn with seed 0.
    """
    order = torch.randperm(len(held_out.pool), generator=torch.Generator().manual_seed(0))
    some = {len(order[:n]): held_out.pool[order[:n]] for n in FLOORS}
    about = more | {
        "score": extractor.name("fid"),
        "dataset": real.name,
        "split": real.part,
        "n": len(real),
        "contents": real.contents(),
        "weights": extractor.sha,
        "library": extractor.library,
        "floor": {str(n): frechet(gaussian(x), train.gaussian) for n, x in some.items()},
        "commit": results.commit(),
        "hardware": results.hardware(),
        "versions": results.versions(),
    }
    _write(path, replace(train, pool=train.pool[:0]), about, torch.float16)
    return about


def published(real: RealImages, extractor: Extractor) -> Reference | None:
    """The statistics stored with the results, without features, if any are of these images.

    ``CheckpointError`` for a file that is damaged.
    """
    for path in (results.root() / "reference").glob(f"*-{real.name}.json"):
        about = json.loads(path.read_text())
        same = (about["n"], about["weights"]) == (len(real), extractor.sha)
        if same and about["contents"] == real.contents():
            return _read(path, about, key_of(real, extractor))
    return None
