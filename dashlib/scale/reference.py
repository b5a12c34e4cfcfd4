"""Statistics of real images' features: beside the data, and, small enough, with the results.

``ROOT/reference`` keeps mean, covariance and up to 10,000 features of a data set's images.  Mean
(float64) and covariance (float16, which moves CIFAR-10's FD by 0.0004 %) are enough for a Frechet
distance: ``results/reference`` has them, by ``python -m benchmarks.reference_statistics``.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from dashlib import datasets, results
from dashlib.checkpoints import CheckpointError, pack, read_tensors, sha256, write_atomically
from dashlib.data import Images, to_bytes
from dashlib.datasets.imagenet64 import CLASSES, ImageNet64
from dashlib.scale.distributed import batches
from dashlib.scale.features import Extracted, Extractor, extract

REFERENCE_SETS = (*datasets.DATASETS, "imagenet64")


@dataclass(frozen=True)
class RealImages:
    """A part (``train`` or ``test``) of a data set; ``self[numbers]``: uint8 ``(B, C, H, W)``."""

    name: str
    part: str
    images: Images | ImageNet64
    classes: int

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, numbers: Sequence[int]) -> Tensor:
        if isinstance(self.images, ImageNet64):
            return self.images[numbers][0]
        return to_bytes(self.images.x[numbers])

    def key(self, features: str) -> dict[str, Any]:
        """All that a reference depends on; ``pixels``: SHA-256 of 64 images, spread evenly."""
        some = self[torch.linspace(0, len(self) - 1, min(64, len(self))).long().tolist()].cpu()
        key = {"dataset": self.name, "split": self.part, "n": len(self), "size": some.shape[2]}
        pixels = sha256(some.contiguous().numpy().tobytes())
        return key | {"channels": some.shape[1], "pixels": pixels, "features": features}

    def contents(self) -> str:
        """SHA-256 of the images as a set: the same in whatever order they come."""
        each = (self[[i]].cpu().numpy().tobytes() for i in range(len(self)))
        return sha256(b"".join(sorted(hashlib.sha256(image).digest() for image in each)))


def real_images(
    name: str, root: Path, place: Accelerator, *, part: str = "train", download: bool = False
) -> RealImages:
    """A data set's images, unpacked, or downloaded if asked, by the first process alone."""
    with place.main_process_first():
        if name == "imagenet64":
            return RealImages(name, part, ImageNet64(root), CLASSES)
        how: Any = {"dtype": "float32" if name == "digits" else "uint8"}
        how["download"] = download and place.is_main_process
        found = datasets.load_dataset(name, root, **how)
        return RealImages(name, part, getattr(found, part), found.num_classes)


def write_statistics(
    stem: Path, known: Extracted, about: dict[str, Any], dtype: torch.dtype = torch.float64
) -> None:
    """Store moments and features, and beside them, as JSON, ``about`` and the file's SHA-256."""
    mean, covariance = (moment.cpu() for moment in known.gaussian)
    upper = torch.triu_indices(*covariance.shape).unbind()
    tensors = {"mean": mean, "covariance": covariance[upper].to(dtype), "pool": known.pool}
    content = pack({name: x for name, x in tensors.items() if len(x)})
    about = about | {"sha256": sha256(content)}
    write_atomically(stem.with_suffix(".safetensors"), content)
    write_atomically(stem.with_suffix(".json"), (json.dumps(about, indent=1) + "\n").encode())


def read_statistics(stem: Path) -> Extracted:
    """Read what :func:`write_statistics` wrote; ``CheckpointError`` if it is damaged."""
    file = stem.with_suffix(".safetensors")
    held = read_tensors(file)
    if sha256(file.read_bytes()) != json.loads(stem.with_suffix(".json").read_text())["sha256"]:
        raise CheckpointError(f"{file} is damaged: restore it with `git checkout {file}`")
    mean = held["mean"]
    rows, columns = torch.triu_indices(len(mean), len(mean))
    covariance = torch.zeros(len(mean), len(mean), dtype=torch.float64)
    covariance[rows, columns] = covariance[columns, rows] = held["covariance"].double()
    return Extracted((mean, covariance), held.get("pool", mean[None, :0]), mean[None, :0])


def published(real: RealImages, features: str) -> Extracted | None:
    """The moments stored for these images and features' SHA-256; ``CheckpointError`` if damaged."""
    for path in (results.root() / "reference").glob(f"*-{real.name}.json"):
        about = json.loads(path.read_text())
        same = (about["n"], about["weights"]) == (len(real), features)
        if same and about["contents"] == real.contents():
            return read_statistics(path)
    return None


def reference(
    real: RealImages, extractor: Extractor, place: Accelerator, root: Path, *,
    batch: int = 500, whole: bool = True,
) -> Extracted:  # fmt: skip
    """Features of real images, kept; published moments, without features, serve unless whole."""
    if not whole and (stored := published(real, extractor.sha)):
        return stored
    key, what = real.key(extractor.sha), f"{real.name}-{real.part}-{len(real)}"
    mark = sha256(json.dumps(key).encode())[:16]
    stem = root / "reference" / f"{what}x{key['size']}px-{mark}"
    try:
        stored = read_statistics(stem)
    except (OSError, ValueError, KeyError):  # not there, or damaged
        stored = None
    if all(gather_object([stored is not None])) and stored:
        return stored
    place.print(f"features of {what} images: made once, then kept in {root}")
    parts = (real[part] for part in batches(len(real), batch, "features", place))
    made = extract(parts, len(real), extractor, place)
    if place.is_main_process:
        try:
            write_statistics(stem, made, {"key": key})
        except OSError as error:
            place.print(f"they could not be kept ({error}) and will be made again next time")
    return made
