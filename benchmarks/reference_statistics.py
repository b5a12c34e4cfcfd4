"""Reference statistics of a data set, small enough to be stored with the results.

``python -m benchmarks.reference_statistics cifar10`` makes those of EfficientNet-Lite0's features
of the training images: with them, ``evaluate --features lite0`` needs no features of real images
for a Frechet distance.
"""

import json
import time
from pathlib import Path
from typing import Any

import click
import torch

from dashlib import datasets, results
from dashlib.cli.sample import PATH, POSITIVE, started
from dashlib.metrics import frechet, gaussian
from dashlib.scale import features
from dashlib.scale.features import Extracted, Extractor
from dashlib.scale.reference import RealImages, real_images, reference, write_statistics

FLOORS = (2_000, 10_000)  # held-out images


def publish(
    stem: Path, real: RealImages, extractor: Extractor, train: Extracted, held_out: Extracted,
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
    }
    about |= results.provenance()
    write_statistics(stem, train._replace(pool=train.pool[:0]), about, torch.float16)
    return about


@click.command("statistics", context_settings={"show_default": True})
@click.argument("dataset", type=click.Choice(datasets.DATASETS))
@click.option("--root", default=Path("data"), type=PATH, help="Of the images and statistics.")
@click.option("--download", is_flag=True, help="Fetch the images if they are missing.")
@click.option("--batch", type=POSITIVE, default=500, help="Images at a time.")
@click.option("--device", default="auto", help="cpu, cuda or auto.")
def main(dataset: str, root: Path, download: bool, batch: int, device: str) -> None:
    """Store mean and covariance of DATASET's EfficientNet-Lite0 features in results/reference.

    And what held-out images score against them.
    """
    clock = time.perf_counter()
    with started(device) as place:
        extractor = features.lite0(place.device)
        parts = [
            real_images(dataset, root, place, part=part, download=download)
            for part in ("train", "test")
        ]
        train, held_out = (reference(p, extractor, place, root, batch=batch) for p in parts)
        if place.is_main_process:
            more = {"features": features.LITE0, "seconds": round(time.perf_counter() - clock, 1)}
            stem = results.root() / "reference" / f"lite0-{dataset}"
            place.print(json.dumps(publish(stem, parts[0], extractor, train, held_out, **more)))


if __name__ == "__main__":
    main()
