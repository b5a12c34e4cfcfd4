"""Feature networks under their right names, features of many images, and those of real images.

Only Inception features with verified weights give an FID, a KID or an Inception Score.  The same
formulas on other features are called what they are, so no number can pass for another's.  The
features of a data set's images are kept beside the data, and made again if anything changed.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from dashlib import datasets, results
from dashlib.checkpoints import CheckpointError, pack, read_tensors, write_atomically
from dashlib.data import Images, to_bytes
from dashlib.datasets.imagenet64 import CLASSES, ImageNet64
from dashlib.scale.distributed import Shards
from dashlib.scale.inception import Features, Inception
from dashlib.scale.lite0 import LITE0_SHA, Lite0
from dashlib.scale.precision import numerics
from dashlib.scale.scores import Moments

FULL_NAMES = {"fid": "Frechet distance", "is": "class score", "kid": "kernel distance"}
LITE0_NAMES = FULL_NAMES | {"fid": "FD"}
INCEPTION_NAMES = {"fid": "FID", "is": "Inception Score", "kid": "KID"}
DATASETS = (*datasets.DATASETS, "imagenet64")
Real = Images | ImageNet64
KEPT = 10_000  # features kept whole of any set of images, for KID, precision and recall


@dataclass(frozen=True)
class Extractor:
    """A feature network: uint8 images -> :class:`~dashlib.scale.inception.Features`."""

    network: Callable[[Tensor], Features]
    sha: str  # SHA-256 of its weights
    library: str
    qualifier: str = ""  # added to every score's name; empty for verified Inception weights
    names: Mapping[str, str] = field(default_factory=lambda: FULL_NAMES)  # of qualified scores

    def name(self, metric: str) -> str:
        """What a score on these features is called; ``metric``: fid, is, kid, precision, recall."""
        if not self.qualifier:
            return INCEPTION_NAMES.get(metric, metric)
        return f"{self.names.get(metric, metric)} ({self.qualifier})"

    def __call__(self, images: Tensor) -> Features:
        """Features in IEEE float32, whatever the caller samples in."""
        with torch.inference_mode(), numerics(images.device.type):
            return self.network(images)


def inception(path: Path, device: torch.device, *, unverified: bool = False) -> Extractor:
    """The Inception network with these weights; ``InceptionError`` if they are not the right ones.

    ``unverified`` goes on with other weights: their scores are then named so.
    """
    net = Inception(path, unverified=unverified)
    qualifier = "" if net.verified else "unverified Inception weights"
    return Extractor(net.to(device), net.sha, f"pytorch-fid {version('pytorch-fid')}", qualifier)


def lite0(device: torch.device) -> Extractor:
    """EfficientNet-Lite0 (see :mod:`dashlib.scale.lite0`); ``ImportError`` without its packages."""
    net = Lite0.load(device)

    def features(images: Tensor) -> Features:
        pool = net(images)
        return Features(pool, net.net._fc(pool))  # type: ignore[operator]

    library = f"efficientnet-lite-pytorch {version('efficientnet-lite-pytorch')}"
    return Extractor(features, LITE0_SHA, library, "EfficientNet-Lite0", LITE0_NAMES)


def classifier(dataset: str, device: torch.device) -> Extractor:
    """The book's own classifier of a data set; ``MissingRun`` if none is stored."""
    run = results.load(f"{dataset}/classifier")
    model = run.classifier().to(device)

    def features(images: Tensor) -> Features:
        pool = model.features(images.float() / 127.5 - 1)
        return Features(pool, model.head(pool))

    sha = run.files["weights"]["sha256"]
    return Extractor(features, sha, f"dashlib {version('dashlib')}", "classifier features")


@dataclass(frozen=True)
class Collected:
    """Of many images: the features' moments, and the features and logits that were kept."""

    moments: Moments
    pool: Tensor
    logits: Tensor


def collect(
    batches: Iterable[tuple[Tensor, Tensor]],
    extractor: Extractor,
    shards: Shards,
    *,
    logits: bool = False,
) -> Collected:
    """Features of all processes' batches of (uint8 images, whether to keep each one's features).

    Kept features and ``logits`` come in the images' order, float32 on the CPU.
    """
    own, pools, answers = None, [], []
    for images, keep in batches:
        found = extractor(images.to(shards.device))
        part = Moments.of(found.pool)
        own = part if own is None else own + part
        pools.append(found.pool[keep.to(found.pool.device)].float().cpu())
        if logits:
            answers.append(found.logits.float().cpu())
    assert own is not None, "Shards.slice gives every process an image"
    pool = shards.gather(torch.cat(pools)).cpu()
    return Collected(
        shards.moments(own), pool, shards.gather(torch.cat(answers)).cpu() if logits else pool[:0]
    )


def kept(count: int) -> Tensor:
    """Which of ``count`` images' features are kept: at most :data:`KEPT`, always the same ones."""
    chosen = torch.zeros(count, dtype=torch.bool)
    chosen[torch.randperm(count, generator=torch.Generator().manual_seed(0))[:KEPT]] = True
    return chosen


def pixels(images: Real, numbers: range) -> Tensor:
    """Consecutive real images as uint8 ``(B, C, H, W)``."""
    if isinstance(images, ImageNet64):
        return images[numbers][0]
    return to_bytes(images.x[numbers.start : numbers.stop])


def real_images(
    name: str, root: Path, shards: Shards, *, download: bool = False
) -> tuple[Real, int]:
    """The training images of a data set, held as bytes where that loses nothing, and its classes.

    The first process unpacks files that need it, or downloads them if asked.  Errors are those of
    :func:`dashlib.datasets.load` and :class:`dashlib.datasets.imagenet64.ImageNet64`.
    """

    def load(download: bool = False) -> tuple[Real, int]:
        if name == "imagenet64":
            return ImageNet64(root), CLASSES
        held: datasets.Pixels = "float32" if name == "digits" else "uint8"
        parts = datasets.load(name, root, download=download, dtype=held)
        return parts.train, parts.num_classes

    found = load(download) if shards.first else None
    shards.all(True)
    return found or load()


def _fingerprint(images: Real, samples: int = 64) -> str:
    """SHA-256 of some of the images' pixels, spread evenly: other data, another fingerprint."""
    chosen = torch.linspace(0, len(images) - 1, min(samples, len(images))).long().tolist()
    some = torch.cat([pixels(images, range(i, i + 1)) for i in chosen]).cpu()
    return hashlib.sha256(some.contiguous().numpy().tobytes()).hexdigest()


@dataclass(frozen=True)
class Reference:
    """Real images' features: what they are of (``key``), moments, and up to 10,000 features."""

    key: dict[str, Any]
    moments: Moments
    pool: Tensor

    def __str__(self) -> str:
        return f"{self.key['dataset']}/{self.key['split']}, {self.key['n']:,} images"


def key_of(name: str, split: str, images: Real, extractor: Extractor) -> dict[str, Any]:
    """All that a reference depends on."""
    channels, size = pixels(images, range(1)).shape[1:3]
    return {
        "dataset": name,
        "split": split,
        "n": len(images),
        "size": size,
        "channels": channels,
        "pixels": _fingerprint(images),
        "features": extractor.sha,
    }


def path_of(key: dict[str, Any], root: Path) -> Path:
    """The file of a reference, beside the data in ``root``."""
    stem = "{dataset}-{split}-{n}x{size}px".format_map(key)
    return root / "reference" / f"{stem}-{key['features'][:8]}.safetensors"


def read(key: dict[str, Any], root: Path) -> Reference | None:
    """The stored reference, or None if there is none, it is damaged, or of something else."""
    path = path_of(key, root)
    try:
        tensors = read_tensors(path)
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})["dash"])
    except (CheckpointError, SafetensorError, OSError, KeyError, ValueError):
        return None
    if about != {"key": key, "sha256": _digest(tensors)}:
        return None
    return Reference(key, Moments(key["n"], tensors["mean"], tensors["scatter"]), tensors["pool"])


def _digest(tensors: dict[str, Tensor]) -> str:
    return hashlib.sha256(pack(tensors)).hexdigest()


def write(reference: Reference, root: Path) -> Path:
    """Store a reference atomically; returns its file."""
    moments = reference.moments
    tensors = {
        "mean": moments.mean.cpu(),
        "scatter": moments.scatter.cpu(),
        "pool": reference.pool,
    }
    about = {"key": reference.key, "sha256": _digest(tensors)}
    path = path_of(reference.key, root)
    write_atomically(path, save(tensors, metadata={"dash": json.dumps(about)}))
    return path


def _slices(images: Real, numbers: range, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """This process's images, and whether the features of each are kept."""
    chosen = kept(len(images))
    for start in range(numbers.start, numbers.stop, batch):
        stop = min(start + batch, numbers.stop)
        yield pixels(images, range(start, stop)), chosen[start:stop]


def reference(
    name: str,
    split: str,
    images: Real,
    extractor: Extractor,
    shards: Shards,
    *,
    root: Path,
    batch: int = 500,
    say: Callable[[str], None] = lambda _: None,
) -> Reference:
    """The reference of a set of images: read if every process has it, else made and stored."""
    key = key_of(name, split, images, extractor)
    stored = read(key, root)
    if shards.all(stored is not None):
        assert stored is not None
        return stored
    say(f"features of {name}/{split}, {len(images):,} images: made once, then kept in {root}")
    found = collect(_slices(images, shards.slice(len(images)), batch), extractor, shards)
    made = Reference(key, found.moments, found.pool)
    if shards.first:
        try:
            write(made, root)
        except OSError as error:
            say(f"they could not be kept ({error}) and will be made again next time")
    return made
