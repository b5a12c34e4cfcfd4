"""The command ``statistics``: a data set's reference statistics, small enough to be stored."""

import json
import time
from pathlib import Path

import click

from dashlib import datasets, results
from dashlib.cli.sample import PATH, POSITIVE, option, started
from dashlib.scale import features
from dashlib.scale.reference import publish, real_images, reference


@click.command("statistics")
@click.argument("dataset", type=click.Choice(datasets.DATASETS))
@option("--root", default=Path("data"), type=PATH, help="Of the images, and what is computed.")
@option("--download", is_flag=True, help="Fetch the images if they are missing.")
@option("--batch", type=POSITIVE, default=500, help="Images at a time.")
@option("--device", default="auto", help="cpu, cuda or auto.")
def statistics_command(dataset: str, root: Path, download: bool, batch: int, device: str) -> None:
    """Store mean and covariance of DATASET's EfficientNet-Lite0 features in results/reference.

    And what held-out images score against them.  `evaluate --features lite0` then needs no
    features of the training images for a Frechet distance.
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
            path = results.root() / "reference" / f"lite0-{dataset}"
            about = publish(path, parts[0], extractor, train, held_out, **more)
            place.print(json.dumps(about, indent=1))
