"""Reference statistics small enough to be stored with the results: mean and covariance alone.

``results/reference/FEATURES-DATASET.safetensors`` holds the mean (float64) and the upper triangle
of the covariance (float16, which moves CIFAR-10's FD by 0.0004 %) of the training images' features,
enough for a Frechet distance without computing 50,000 images' features first; the JSON beside it
says of what they are, and what held-out images score against them.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dashlib import results
from dashlib.checkpoints import CheckpointError, pack, read_tensors, write_atomically
from dashlib.scale.reference import Extractor, Real, Reference, key_of, pixels
from dashlib.scale.scores import Moments, frechet_distance

FLOORS = (2_000, 10_000)  # held-out images


def stem(features: str, dataset: str) -> Path:
    """Where the statistics of a network's features of a data set lie, without the suffix."""
    return results.root() / "reference" / f"{features}-{dataset}"


def contents(images: Real) -> str:
    """SHA-256 of the images as a set: the same in whatever order they come."""
    each = (pixels(images, range(i, i + 1)).cpu().numpy() for i in range(len(images)))
    digests = sorted(hashlib.sha256(image.tobytes()).digest() for image in each)
    return hashlib.sha256(b"".join(digests)).hexdigest()


def triangle(matrix: Tensor) -> Tensor:
    """Upper triangle ``(D (D + 1) / 2,)`` of a symmetric matrix, by rows, float16."""
    rows, columns = torch.triu_indices(*matrix.shape)
    return matrix.cpu()[rows, columns].half()


def symmetric(upper: Tensor, dim: int) -> Tensor:
    """The matrix ``(dim, dim)`` with that :func:`triangle`, float64."""
    rows, columns = torch.triu_indices(dim, dim)
    matrix = torch.zeros(dim, dim, dtype=torch.float64)
    matrix[rows, columns] = matrix[columns, rows] = upper.double()
    return matrix


def floors(train: Reference, held_out: Reference) -> dict[str, float]:
    """Frechet distance of (at most) so many held-out images, drawn with seed 0, to the training."""
    order = torch.randperm(len(held_out.pool), generator=torch.Generator().manual_seed(0))
    some = {len(order[:n]): held_out.pool[order[:n]] for n in FLOORS}
    return {str(n): frechet_distance(Moments.of(x), train.moments) for n, x in some.items()}


def publish(
    path: Path,
    images: Real,
    extractor: Extractor,
    train: Reference,
    held_out: Reference,
    **more: Any,
) -> dict[str, Any]:
    """Write the statistics of ``train``, whose images are these; returns what the JSON says."""
    mean, covariance = train.moments.gaussian
    content = pack({"mean": mean, "covariance": triangle(covariance)})
    about = more | {
        "score": extractor.name("fid"),
        "dataset": train.key["dataset"],
        "split": train.key["split"],
        "n": len(images),
        "contents": contents(images),
        "weights": extractor.sha,
        "library": extractor.library,
        "floor": floors(train, held_out),
        "sha256": hashlib.sha256(content).hexdigest(),
        "commit": results.commit(),
        "hardware": results.hardware(),
        "versions": results.versions(),
    }
    write_atomically(path.with_suffix(".safetensors"), content)
    write_atomically(path.with_suffix(".json"), (json.dumps(about, indent=1) + "\n").encode())
    return about


def published(path: Path, name: str, images: Real, extractor: Extractor) -> Reference | None:
    """The stored statistics as a reference without features; None if they are not of these images.

    ``CheckpointError`` for a file that is damaged.
    """
    if not path.with_suffix(".json").exists():
        return None
    about = json.loads(path.with_suffix(".json").read_text())
    if (about["n"], about["weights"]) != (len(images), extractor.sha):
        return None
    if about["contents"] != contents(images):
        return None
    file = path.with_suffix(".safetensors")
    tensors = read_tensors(file)
    if hashlib.sha256(file.read_bytes()).hexdigest() != about["sha256"]:
        raise CheckpointError(f"{file} is damaged: restore it with `git checkout {file}`")
    mean = tensors["mean"]
    scatter = symmetric(tensors["covariance"], len(mean)) * (about["n"] - 1)
    moments = Moments(about["n"], mean, scatter)
    return Reference(key_of(name, about["split"], images, extractor), moments, mean[None, :0])
