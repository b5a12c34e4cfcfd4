"""The command ``evaluate``, alone or under ``torchrun`` / ``accelerate launch``."""

import json
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import click

from dashlib.cli.bars import Bars
from dashlib.cli.sample import (
    ALIAS,
    DEFAULT_W,
    check_preset,
    plain_errors,
    printer,
    sampler_of,
    schedule,
    with_sampler_options,
)
from dashlib.guidance import TAG, GuidanceSchedule
from dashlib.progress import silent
from dashlib.sampling import Clamp, Spacing
from dashlib.scale import reference
from dashlib.scale.crosscheck import CrossCheck
from dashlib.scale.distributed import Shards, shards
from dashlib.scale.evaluation import (
    METRICS,
    Settings,
    Store,
    Task,
    check,
    describe,
    describe_mean,
    label,
    summary,
    sweep,
)
from dashlib.scale.inception import locate
from dashlib.scale.precision import Precision
from dashlib.scale.presets import preset
from dashlib.scale.sampling import Named, Sampler, find
from dashlib.scale.statistics import published, stem


@dataclass(frozen=True)
class Request:
    """The options of ``evaluate``, as click names them."""

    models: tuple[str, ...]
    data: str | None
    root: Path
    n: int
    ws: tuple[float, ...]
    tag: bool
    seeds: tuple[int, ...]
    metrics: tuple[str, ...]
    features: str
    weights: Path | None
    download: bool
    unverified: bool
    cross_check: bool
    out: Path | None
    batch: int
    device: str
    interval: tuple[int, int] | None
    preset: str | None
    steps: int | None
    spacing: Spacing | None
    clamp: Clamp | None
    precision: Precision

    @property
    def dataset(self) -> str:
        """The set of real images; ``ValueError`` if neither --data nor --preset names it."""
        if self.data or self.preset:
            return self.data or preset(self.preset or "").dataset
        raise ValueError("no real images to compare with: give --data, or --preset that implies it")

    def sampler(self) -> Sampler:
        """How images are sampled: as the preset does, but for what the options say."""
        given = {"steps": self.steps, "spacing": self.spacing, "clamp": self.clamp}
        return sampler_of(self.preset, self.precision, **given)

    def guidance(self) -> list[GuidanceSchedule]:
        """The schedules of the sweep: each w, within the interval if there is one, then TAG.

        Without any of the three options: the preset's guidance, or w = 1.5.
        """
        if not (self.ws or self.tag or self.interval) and self.preset:
            return [preset(self.preset).sampling.guidance]
        ws = self.ws or (() if self.tag else (DEFAULT_W,))
        kind = "constant" if self.interval is None else "interval"
        return [*(schedule(kind, w, self.interval) for w in ws), *([TAG()] if self.tag else [])]

    def inception_weights(self, place: Shards) -> Path:
        """The file of the Inception weights, which the first process downloads if asked."""
        if self.download and place.first:
            locate(self.weights, download=True)
        place.all(True)
        return locate(self.weights)

    def extractor(self, path: Path | None, place: Shards) -> reference.Extractor:
        """The feature network: Inception with these weights, or the one that was asked for."""
        if path is not None:
            return reference.inception(path, place.device, unverified=self.unverified)
        if self.features == "lite0":
            return reference.lite0(place.device)
        return reference.classifier(self.dataset, place.device)

    def real(
        self, images: reference.Real, extractor: reference.Extractor, place: Shards
    ) -> reference.Reference:
        """The real images' statistics: those stored with the results if moments are enough."""
        if {*self.metrics} <= {"fid", "is"}:
            path = stem(self.features, self.dataset)
            if found := published(path, self.dataset, images, extractor):
                return found
        return reference.reference(
            self.dataset,
            "train",
            images,
            extractor,
            place,
            root=self.root,
            batch=self.batch,
            say=printer(place),
        )

    def prepare(self, place: Shards) -> tuple[list[Named], Settings, CrossCheck | None]:
        """Everything needed, the cheapest refusal first."""
        if min(self.n, self.batch) < 1:
            raise ValueError(f"--n {self.n} --batch {self.batch}: at least 1")
        dataset, sampler = self.dataset, self.sampler()
        path = self.inception_weights(place) if self.features == "inception" else None
        if self.cross_check and path is None:
            raise ValueError("--cross-check compares Inception features: leave --features out")
        models = [find(name) for name in self.models]
        check_preset(models, self.preset)
        extractor = self.extractor(path, place)
        images, classes = reference.real_images(dataset, self.root, place, download=self.download)
        channels, size = reference.pixels(images, range(1)).shape[1:3]
        check(models, channels, size, classes)
        extra = CrossCheck(images, path) if self.cross_check and path else None
        real = self.real(images, extractor, place)
        settings = Settings(self.n, self.metrics, extractor, real, sampler, self.batch)
        return models, settings, extra


def _about(request: Request, settings: Settings) -> dict[str, Any]:
    """The configuration of a sweep: its grid, and what its scores have in common."""
    grid = {
        "models": request.models,
        "guidance": [label(w) for w in request.guidance()],
        "seeds": request.seeds,
        "metrics": request.metrics,
    }
    return grid | settings.shared()


def _metrics(_: click.Context, __: click.Parameter, value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


@click.command()
@click.argument("models", nargs=-1, required=True)
@click.option(
    "--data",
    type=click.Choice(reference.DATASETS),
    help="Its training images are the reference set.  [preset's]",
)
@click.option(
    "--root",
    default=Path("data"),
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Of the data; reference statistics are kept there, too.",
)
@click.option("--n", "--samples", "n", default=50_000, show_default=True, help=f"Samples. {ALIAS}")
@click.option(
    "--w", "ws", type=float, multiple=True, help="Guidance scale, repeatable.  [preset's, or 1.5]"
)
@click.option("--tag", is_flag=True, help="Also with TAG(1, 4, 5), which the paper calls w = 4.")
@click.option(
    "--seeds",
    multiple=True,
    default=(42, 123, 456),
    show_default=True,
    type=int,
    help="Of the starting noise, repeatable.",
)
@click.option(
    "--metrics",
    default="fid,is",
    show_default=True,
    callback=_metrics,
    help=f"Some of {','.join(METRICS)} (pr: precision and recall).",
)
@click.option(
    "--features",
    type=click.Choice(["inception", "lite0", "classifier"]),
    default="inception",
    show_default=True,
    help="Of which network; lite0: EfficientNet-Lite0, whose weights come with the extra `lite`; "
    "classifier: the book's own, for digits.",
)
@click.option(
    "--inception",
    "weights",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File of the Inception weights.  [$DASH_INCEPTION, or torch hub's cache]",
)
@click.option(
    "--download",
    is_flag=True,
    help="Fetch the Inception weights and the images if they are missing.  [$DASH_MIRRORS: base "
    "addresses tried first for the images]",
)
@click.option("--unverified", is_flag=True, help="Allow other weights; scores are then named so.")
@click.option("--cross-check", is_flag=True, help="Score by torch-fidelity as well.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="JSON to write after every score; scores in it with the same settings are kept.",
)
@with_sampler_options
def evaluate(**options: Any) -> None:
    """Score MODELS over guidance scales and sampling seeds: FID, IS, KID, precision and recall.

    A model is a stored run, the stem of a checkpoint, or an authors' .pth file.
    """
    request = Request(**options)
    with plain_errors(), shards(request.device) as place:
        store, say = Store(request.out), printer(place)
        models, settings, extra = request.prepare(place)
        say(json.dumps(_about(request, settings), indent=1))
        tasks = [Task(*cell) for cell in product(models, request.guidance(), request.seeds)]
        progress = Bars() if place.first else silent
        records = []
        for record in sweep(tasks, settings, place, store, extra=extra, progress=progress):
            records.append(record)
            say(describe(record))
        for row in summary(records):
            say(describe_mean(row))
