"""The commands ``sample`` and ``evaluate``, alone or under ``torchrun`` / ``accelerate launch``."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import click
import torch
from tqdm import tqdm

from dashlib import reference
from dashlib.checkpoints import write_atomically
from dashlib.crosscheck import CrossCheck
from dashlib.efficiency import PRECISIONS, Precision
from dashlib.evaluation import (
    METRICS,
    Settings,
    Store,
    Task,
    check,
    describe,
    describe_mean,
    summary,
    sweep,
)
from dashlib.experiments import silent
from dashlib.generation import Named, Sampler, encoded, find, gather, generate, write_folder
from dashlib.guidance import TAG, Constant, GuidanceSchedule, Interval
from dashlib.inception import InceptionError, locate
from dashlib.progress import Bars, refresh_seconds
from dashlib.sampling import CLAMPS, SPACINGS, Clamp, Spacing
from dashlib.shards import Shards, shards

DEFAULT_W = 1.5
ALIAS = "(Under torchrun: --samples, for it takes --n for its own.)"
SAMPLER_OPTIONS = (
    click.option("--steps", default=50, show_default=True, help="DDIM steps."),
    click.option(
        "--spacing",
        type=click.Choice(SPACINGS),
        default="linspace",
        show_default=True,
        help="Of the timesteps; leading is the DASH release's.",
    ),
    click.option(
        "--clamp",
        type=click.Choice(CLAMPS),
        default="recompute",
        show_default=True,
        help="Of the predicted image; clamp keeps eps as it is, as the DASH release does.",
    ),
    click.option(
        "--precision",
        type=click.Choice(PRECISIONS),
        default="fp32",
        show_default=True,
        help="Of the sampled network; features are always fp32.",
    ),
    click.option("--batch", default=500, show_default=True, help="Images at a time, a process."),
    click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        show_default=True,
        help="auto: CUDA if there is one.",
    ),
    click.option("--interval", type=(int, int), help="LOW HIGH: guide only at LOW <= t < HIGH."),
)


def _with_sampler_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(SAMPLER_OPTIONS):
        command = option(command)
    return command


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Show what is the user's to mend as one message, without a traceback."""
    try:
        yield
    except (ValueError, OSError, InceptionError) as error:
        raise click.ClickException(str(error)) from error
    except torch.cuda.OutOfMemoryError as error:
        raise click.ClickException(
            f"the GPU's memory is full ({error}): use a smaller --batch"
        ) from error


def _say(place: Shards) -> Callable[[str], None]:
    """Print in the first process only, above progress bars."""
    return (lambda text: tqdm.write(text)) if place.first else (lambda text: None)


def _schedule(kind: str, w: float | None, interval: tuple[int, int] | None) -> GuidanceSchedule:
    """The guidance that the options ask for; ``ValueError`` if they contradict each other."""
    if (kind == "interval") != (interval is not None):
        raise ValueError("--schedule interval and --interval LOW HIGH go together: give both")
    if kind == "tag":
        return TAG() if w is None else TAG(w_max=w)
    w = DEFAULT_W if w is None else w
    return Constant(w) if interval is None else _interval(w, interval)


def _interval(w: float, interval: tuple[int, int]) -> Interval:
    low, high = interval
    if not 0 <= low < high:
        raise ValueError(f"--interval {low} {high}: two timesteps, 0 <= LOW < HIGH")
    return Interval(w, low, high)


@click.command()
@click.argument("model")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="FILE.png: a grid; FILE.npz: uint8 images (NHWC) and labels; else a folder of PNG.",
)
@click.option("--n", "--samples", "n", default=100, show_default=True, help=f"Images. {ALIAS}")
@click.option("--w", type=float, help="Guidance scale (1: none); of tag, the largest.  [1.5; 4]")
@click.option(
    "--schedule",
    type=click.Choice(["constant", "tag", "interval"]),
    default="constant",
    show_default=True,
    help="How the guidance scale depends on the timestep.",
)
@click.option("--seed", default=0, show_default=True, help="Of the starting noise.")
@_with_sampler_options
def sample(model: str, out: Path, n: int, seed: int, **options: Any) -> None:
    """Sample images from MODEL: a stored run, the stem of a checkpoint, or an authors' .pth."""
    asked = [options.pop(key) for key in ("schedule", "w", "interval")]
    batch, device = options.pop("batch"), options.pop("device")
    with _plain_errors(), shards(device) as place:
        if min(n, batch) < 1:
            raise ValueError(f"--n {n} --batch {batch}: at least 1")
        guidance, how, network = _schedule(*asked), Sampler(**options), find(model).model
        numbers = place.slice(n)
        made = generate(
            network, guidance, numbers, seed=seed, device=place.device, sampler=how, batch=batch
        )
        total, shown = -(-len(numbers) // batch), refresh_seconds()
        bar = tqdm(made, "sampling", total, mininterval=shown, disable=not place.first)
        if out.suffix in (".png", ".npz"):
            images, labels = gather(iter(bar), place, network)
            if place.first:
                write_atomically(out, encoded(images.cpu(), labels.cpu(), out.suffix))
        else:
            write_folder(iter(bar), out, numbers.start)
        place.all(True)  # the others have written their files
        _say(place)(f"wrote {n} images to {out}")


@dataclass(frozen=True)
class Request:
    """The options of ``evaluate``, as click names them."""

    models: tuple[str, ...]
    dataset: str
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
    steps: int
    spacing: Spacing
    clamp: Clamp
    precision: Precision

    def sampler(self) -> Sampler:
        """How images are sampled."""
        return Sampler(self.steps, self.spacing, self.clamp, self.precision)

    def guidance(self) -> list[GuidanceSchedule]:
        """The schedules of the sweep: each w, within the interval if there is one, then TAG."""
        ws = self.ws or (() if self.tag else (DEFAULT_W,))
        kind = "constant" if self.interval is None else "interval"
        return [*(_schedule(kind, w, self.interval) for w in ws), *([TAG()] if self.tag else [])]

    def inception_weights(self, place: Shards) -> Path:
        """The file of the Inception weights, which the first process downloads if asked."""
        if self.download and place.first:
            locate(self.weights, download=True)
        place.all(True)
        return locate(self.weights)

    def prepare(self, place: Shards) -> tuple[list[Named], Settings, CrossCheck | None]:
        """Everything needed, the cheapest refusal first."""
        if min(self.n, self.batch) < 1:
            raise ValueError(f"--n {self.n} --batch {self.batch}: at least 1")
        path = self.inception_weights(place) if self.features == "inception" else None
        if self.cross_check and path is None:
            raise ValueError("--cross-check compares Inception features: leave --features out")
        models = [find(name) for name in self.models]
        if path is None:
            extractor = reference.classifier(self.dataset, place.device)
        else:
            extractor = reference.inception(path, place.device, unverified=self.unverified)
        images, classes = reference.real_images(self.dataset, self.root, place)
        channels, size = reference.pixels(images, range(1)).shape[1:3]
        check(models, channels, size, classes)
        extra = CrossCheck(images, path) if self.cross_check and path else None
        real = reference.reference(
            self.dataset,
            "train",
            images,
            extractor,
            place,
            root=self.root,
            batch=self.batch,
            say=_say(place),
        )
        settings = Settings(self.n, self.metrics, extractor, real, self.sampler(), self.batch)
        return models, settings, extra


def _metrics(_: click.Context, __: click.Parameter, value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


@click.command()
@click.argument("models", nargs=-1, required=True)
@click.option(
    "--data",
    "dataset",
    type=click.Choice(reference.DATASETS),
    required=True,
    help="Its training images are the reference set.",
)
@click.option(
    "--root",
    default=Path("data"),
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Of the data; reference statistics are kept there, too.",
)
@click.option("--n", "--samples", "n", default=50_000, show_default=True, help=f"Samples. {ALIAS}")
@click.option("--w", "ws", type=float, multiple=True, help="Guidance scale, repeatable.  [1.5]")
@click.option("--tag", is_flag=True, help="Also with TAG(1, 4, 5), which the paper calls w = 4.")
@click.option("--seeds", multiple=True, default=(42, 123, 456), show_default=True, type=int)
@click.option(
    "--metrics",
    default="fid,is",
    show_default=True,
    callback=_metrics,
    help=f"Some of {','.join(METRICS)} (pr: precision and recall).",
)
@click.option(
    "--features",
    type=click.Choice(["inception", "classifier"]),
    default="inception",
    show_default=True,
    help="Of which network; classifier: the book's own, for digits and fashion_mnist.",
)
@click.option(
    "--inception",
    "weights",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File of the Inception weights.  [$DASH_INCEPTION, or torch hub's cache]",
)
@click.option("--download", is_flag=True, help="Fetch the Inception weights if they are missing.")
@click.option("--unverified", is_flag=True, help="Allow other weights; scores are then named so.")
@click.option("--cross-check", is_flag=True, help="Score by torch-fidelity as well.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="JSON to write after every score; scores in it with the same settings are kept.",
)
@_with_sampler_options
def evaluate(**options: Any) -> None:
    """Score MODELS over guidance scales and sampling seeds: FID, IS, KID, precision and recall.

    A model is a stored run, the stem of a checkpoint, or an authors' .pth file.
    """
    request = Request(**options)
    with _plain_errors(), shards(request.device) as place:
        store, say = Store(request.out), _say(place)
        models, settings, extra = request.prepare(place)
        tasks = [Task(*cell) for cell in product(models, request.guidance(), request.seeds)]
        progress = Bars() if place.first else silent
        records = []
        for record in sweep(tasks, settings, place, store, extra=extra, progress=progress):
            records.append(record)
            say(describe(record))
        for row in summary(records):
            say(describe_mean(row))
