"""The command ``evaluate``, alone or under ``torchrun`` / ``accelerate launch``."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import click
from accelerate import Accelerator

from dashlib.cli import sample
from dashlib.cli.sample import ALIAS, FILE, PATH, SHARED, option
from dashlib.scale import evaluation, features, reference
from dashlib.scale.presets import preset
from dashlib.scale.sampling import Samples, label
from dashlib.scale.scores import METRICS


def _metrics(_: click.Context, __: click.Parameter, value: str) -> tuple[str, ...]:
    wanted = tuple(part.strip() for part in value.split(",") if part.strip())
    if not wanted or not {*wanted} <= METRICS.keys():
        raise click.BadParameter(f"{value!r}: some of {','.join(METRICS)}")
    return wanted


WEIGHTS = "File of the Inception weights.  [$DASH_INCEPTION, or torch hub's cache]"
SCORES = f"Some of {','.join(METRICS)} (pr: precision and recall)."
NETWORK = """Whose features: lite0 is EfficientNet-Lite0, whose weights come with the extra `lite`,
classifier the book's own, for digits."""
DOWNLOAD = """Fetch the Inception weights and the images if they are missing.  [$DASH_MIRRORS: base
addresses tried first for the images]"""
NETWORKS = click.Choice(["inception", "lite0", "classifier"])
SETS, MANY = click.Choice(reference.REFERENCE_SETS), click.IntRange(min=2)
PAPERS = (42, 123, 456)  # sampling seeds
_OPTIONS = (
    click.argument("models", nargs=-1, required=True),
    option("--data", type=SETS, help="Its training images are the reference set.  [preset's]"),
    option("--root", default=Path("data"), type=PATH, help="Of the data and its statistics."),
    option("--n", "--samples", "n", type=MANY, default=50_000, help=f"Samples. {ALIAS}"),
    option("--w", "ws", type=float, multiple=True, help="Guidance scale.  [preset's, or 1.5]"),
    option("--tag", is_flag=True, help="Also with TAG(1, 4, 5), which the paper calls w = 4."),
    option("--seeds", multiple=True, default=PAPERS, type=int, help="Of the noise, repeatable."),
    option("--metrics", default="fid,is", callback=_metrics, help=SCORES),
    option("--features", "kind", type=NETWORKS, default="inception", help=NETWORK),
    option("--inception", "weights", type=FILE, envvar="DASH_INCEPTION", help=WEIGHTS),
    option("--download", is_flag=True, help=DOWNLOAD),
    option("--unverified", is_flag=True, help="Allow other weights; scores are then named so."),
    option("--out", type=FILE, help="JSON of the scores; those in it are not computed again."),
)


def _extractor(
    kind: str, dataset: str, place: Accelerator, weights: Path | None, unverified: bool,
    download: bool,
) -> features.Extractor:  # fmt: skip
    if kind == "lite0":
        return features.lite0(place.device)
    if kind == "classifier":
        return features.classifier(dataset, place.device)
    with place.main_process_first():
        path = features.locate(weights, download=download and place.is_main_process)
    return features.inception(path, place.device, unverified=unverified)


@click.command("evaluate")
@sample.with_options(*_OPTIONS, *SHARED)
def evaluate_command(
    models: tuple[str, ...], data: str | None, root: Path, n: int, ws: tuple[float, ...], tag: bool,
    seeds: tuple[int, ...], metrics: tuple[str, ...], kind: str, download: bool, out: Path | None,
    name: str | None, interval: tuple[int, int] | None, batch: int, device: str,
    weights: Path | None, unverified: bool, **how: Any,
) -> None:  # fmt: skip
    """Score MODELS over guidance scales and sampling seeds: FID, IS, KID, precision and recall.

    A model is a stored run, the stem of a checkpoint, or an authors' .pth file.
    """
    with sample.started(device) as place:
        if not data and not name:
            raise ValueError("no real images to compare with: give --data, or --preset for it")
        dataset = data or preset(name or "").dataset
        scales, how = sample.guidances(name, ws, tag, interval), sample.sampling_of(name, **how)
        store, found = evaluation.Store(out), sample.found_models(models, name)
        extractor = _extractor(kind, dataset, place, weights, unverified, download)
        real = reference.real_images(dataset, root, place, download=download)
        for named in found:
            named.check((*real[[0]].shape[1:3], real.classes))
        whole = not {*metrics} <= {"fid", "is"}  # for which moments are enough
        known = reference.reference(real, extractor, place, root, batch=batch, whole=whole)
        judge = evaluation.Judge(extractor, real.key(extractor.sha), known, metrics)
        grid = {"models": models, "guidance": [label(w) for w in scales], "seeds": seeds, "n": n}
        about = {**grid, "metrics": metrics, "sampling": how, **judge.about()}
        place.print(json.dumps(about, indent=1))
        cells = [Samples(*cell, n, **how) for cell in product(found, scales, seeds)]
        records = []
        for record in evaluation.evaluate(cells, judge, place, store, batch):
            records.append(record)
            place.print(evaluation.describe(*evaluation.summary([record])))
        for row in evaluation.summary(records) if len(seeds) > 1 else ():
            place.print(evaluation.describe(row))
