"""The command ``statistics``: a data set's reference statistics, small enough to be stored."""

import json
import time
from pathlib import Path

import click

from dashlib import datasets
from dashlib.cli.sample import plain_errors, printer
from dashlib.scale import reference
from dashlib.scale.distributed import shards
from dashlib.scale.lite0 import NAME
from dashlib.scale.statistics import publish, stem


@click.command("statistics")
@click.argument("dataset", type=click.Choice(datasets.DATASETS))
@click.option(
    "--root",
    default=Path("data"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder of the images; what is computed is kept there, too.",
)
@click.option("--download", is_flag=True, help="Fetch the images if they are missing.")
@click.option("--batch", default=500, show_default=True, help="Images at a time.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda or auto.")
def make_statistics(dataset: str, root: Path, download: bool, batch: int, device: str) -> None:
    """Store mean and covariance of DATASET's EfficientNet-Lite0 features in results/reference.

    And what held-out images score against them.  `evaluate --features lite0` then needs no
    features of the training images for a Frechet distance.
    """
    clock = time.perf_counter()
    with plain_errors(), shards(device) as place:
        say, extractor = printer(place), reference.lite0(place.device)
        images, _ = reference.real_images(dataset, root, place, download=download)
        held: datasets.Pixels = "float32" if dataset == "digits" else "uint8"
        parts = {"train": images, "test": datasets.load(dataset, root, dtype=held).test}
        train, test = (
            reference.reference(
                dataset, split, part, extractor, place, root=root, batch=batch, say=say
            )
            for split, part in parts.items()
        )
        if place.first:
            more = {"features": NAME, "seconds": round(time.perf_counter() - clock, 1)}
            path = stem("lite0", dataset)
            say(json.dumps(publish(path, images, extractor, train, test, **more), indent=1))
