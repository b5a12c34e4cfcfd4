"""The commands ``sample`` and ``evaluate``, alone or by launchers; options precede presets."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EACCES, EDQUOT, ENOSPC, EPERM, EROFS
from itertools import product
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from accelerate import Accelerator
from click import Choice, IntRange, Option

from dashlib import datasets, results
from dashlib.checkpoints import CheckpointError, replacing, write_atomically
from dashlib.guidance import TAG, Constant, GuidanceSchedule, Interval
from dashlib.sampling import CLAMPS, SPACINGS
from dashlib.scale import evaluation, features, reference
from dashlib.scale.checkpointing import TrainingStopped
from dashlib.scale.distributed import PRECISIONS, gather_rows, make_accelerator, share
from dashlib.scale.evaluation import METRICS
from dashlib.scale.presets import PRESETS, Sampling, preset
from dashlib.scale.sampling import Given, Samples, find, label, numbered_images

PATH, FILE = click.Path(path_type=Path), click.Path(dir_okay=False, path_type=Path)
POSITIVE, SEED, STEPS = IntRange(1, 10**7), IntRange(0, 2**31 - 1), IntRange(1, 1000)
PRESET, SETS = Choice([*PRESETS]), Choice(reference.REFERENCE_SETS)
KINDS = Choice(["constant", "tag", "interval"])
NETWORKS = Choice(["inception", "lite0", "classifier"])
NUMBER = ["--n", "--samples", "n"]
ALIAS = "(Under torchrun: --samples, for it takes --n for its own.)"
OUT = "FILE.png: a grid; FILE.npz: NHWC and labels; else a folder of PNG.  OUT.json says how."
SPACING = "Spacing of timesteps; leading is the DASH release's.  [preset's, or linspace]"
NETWORK = "lite0: EfficientNet-Lite0, of the extra `lite`; classifier: the book's own, for digits."
WEIGHTS = "File of the Inception weights.  [$DASH_INCEPTION, or torch hub's cache]"
SCORES = f"Some of {','.join(METRICS)} (pr: precision and recall)."
SHARED = [
    Option(["--preset", "name"], type=PRESET, help="Gives steps, spacing, clamp and guidance."),
    Option(["--steps"], type=STEPS, help="DDIM steps.  [preset's, or 50]"),
    Option(["--spacing"], type=Choice(SPACINGS), help=SPACING),
    Option(["--clamp"], type=Choice(CLAMPS), help="Of predicted images.  [preset's, or recompute]"),
    Option(["--precision"], type=Choice(PRECISIONS), default="fp32", help="Features: fp32 always."),
    Option(["--batch"], type=POSITIVE, default=500, help="Images at a time, each process."),
    Option(["--device"], type=Choice(["auto", "cpu", "cuda"]), default="auto", help="To use."),
    Option(["--interval"], type=(int, int), help="LOW HIGH: guide only at LOW <= t < HIGH."),
]


@contextmanager
def plain_errors() -> Iterator[None]:
    """Show what the user can mend as one message: exit code 2 for options, 1 for all else."""
    try:
        yield
    except BrokenPipeError:  # of `dashlib list | head`: click ends quietly
        raise
    except (OSError, CheckpointError, ImportError, TrainingStopped) as error:
        place = getattr(error, "errno", None) in (EACCES, EROFS, EPERM, ENOSPC, EDQUOT)
        remedy = ": free space there, or give a place to write to (--out, --cache, --root)" * place
        raise click.ClickException(f"{error}{remedy}") from error
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise click.ClickException(f"out of memory: use a smaller --batch ({error})") from error


class Commands(click.Group):
    """A group of commands with plain errors."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that is asked for."""
        with plain_errors():
            return super().invoke(ctx)


@contextmanager
def started(device: str) -> Iterator[Accelerator]:
    """This process's place among those of the command, with plain errors."""
    with plain_errors():
        place = make_accelerator("fp32", device)
        yield place
        place.end_training()


def sampling_of(name: str | None, **given: Any) -> dict[str, Any]:
    """The preset's steps, spacing and clamp (or the usual ones), but for those ``given``."""
    usual = preset(name).sampling if name else Sampling()
    return {k: getattr(usual, k) if v is None else v for k, v in given.items()}


def guidances(
    name: str | None, ws: tuple[float, ...], tag: bool, interval: tuple[int, int] | None
) -> list[GuidanceSchedule]:
    """Each w, within the interval if there is one, then TAG; else the preset's, or w = 1.5."""
    if name and not (ws or tag or interval):
        return [preset(name).sampling.guidance]
    low, high = interval or (0, 1)
    if not 0 <= low < high:
        raise ValueError(f"--interval {low} {high}: two timesteps, 0 <= LOW < HIGH")
    ws = ws or (() if tag else (1.5,))
    scales = [Interval(w, low, high) if interval else Constant(w) for w in ws]
    return [*scales, *([TAG()] if tag else [])]


def _write(out: Path, made: Iterator[tuple[torch.Tensor, ...]], n: int, place: Accelerator) -> None:
    """A grid (``.png``), what guided-diffusion's evaluator reads (``.npz``), or files by number."""
    from torchvision.transforms.functional import to_pil_image  # 7 seconds, for pictures only
    from torchvision.utils import save_image

    if out.suffix.lower() not in (".png", ".npz"):
        pictures = (image for images, _ in made for image in images)
        for number, image in enumerate(pictures, start=share(n, place).start):
            with replacing(out / f"{number:06d}.png") as file:
                to_pil_image(image).save(file, "PNG")
        return
    images, labels = (gather_rows(torch.cat(parts)) for parts in zip(*made, strict=True))
    if not place.is_main_process:
        return
    with replacing(out) as file:
        if out.suffix.lower() == ".npz":
            np.savez(file, images.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy(), labels.numpy())
        else:
            save_image(images / 255, file, "PNG", nrow=round(n**0.5), padding=1)


@click.command("sample", params=[*SHARED])
@click.argument("model")
@click.option("--out", required=True, type=PATH, help=OUT)
@click.option(*NUMBER, type=POSITIVE, default=100, help=f"Images. {ALIAS}")
@click.option("--w", type=float, help="Guidance scale (1: none).  [preset's; 1.5; of tag 4]")
@click.option("--schedule", "kind", type=KINDS, help="Guidance schedule.  [preset's, or constant]")
@click.option("--seed", type=SEED, default=0, help="Seed of the starting noise.")
@click.option("--class", "only", type=IntRange(0), help="The class of all images.  [all in turn]")
def sample_command(
    model: str, out: Path, n: int, w: float | None, kind: str | None, seed: int, name: str | None,
    only: int | None, interval: tuple[int, int] | None, batch: int, device: str, **how: Any,
) -> None:  # fmt: skip
    """Sample images from MODEL: a stored run, the stem of a checkpoint, or an authors' .pth."""
    with started(device) as place:
        if (kind == "interval") != (interval is not None):
            raise ValueError("--schedule interval and --interval LOW HIGH go together: give both")
        ws = () if w is None else (w,)
        guidance = guidances(None if kind else name, ws, kind == "tag", interval)[-1]
        if kind == "tag" and w is not None:
            guidance = TAG(w_max=w)
        wanted = Samples(find(model), guidance, seed, n, only=only, **sampling_of(name, **how))
        if name:
            wanted.model.check(preset(name).teacher.unet.images)
        about = wanted.about() | {"preset": name} | results.provenance()
        place.print(text := json.dumps(about, indent=1))
        if out.suffix[1:2].isalpha() and out.suffix.lower() not in (".png", ".npz"):
            raise ValueError(f"--out {out}: {OUT}")
        if out.is_dir() and any(out.iterdir()):
            raise ValueError(f"{out} holds files of another call: give another --out or empty it")
        place.wait_for_everyone()
        _write(out, numbered_images(wanted, place, batch), n, place)
        place.wait_for_everyone()
        if place.is_main_process:
            write_atomically(Path(f"{out}.json"), f"{text}\n".encode())
        place.print(f"wrote {n} images to {out}")


def _metrics(_: click.Context, __: click.Parameter, value: str) -> tuple[str, ...]:
    wanted = tuple(part.strip() for part in value.split(",") if part.strip())
    if not wanted or not {*wanted} <= METRICS.keys():
        raise click.BadParameter(f"{value!r}: some of {','.join(METRICS)}")
    return wanted


def _extractor(
    kind: str, dataset: str, place: Accelerator, weights: Path | None, download: bool, any_sha: bool
) -> features.Extractor:
    if kind == "lite0":
        return features.lite0(place.device)
    if kind == "classifier":
        return features.classifier(dataset, place.device)
    with place.main_process_first():
        path = features.locate(weights, download=download and place.is_main_process)
    return features.inception(path, place.device, unverified=any_sha)


@click.command("evaluate", params=[*SHARED])
@click.argument("models", nargs=-1, required=True)
@click.option("--data", type=SETS, help="Its training images are the reference set.  [preset's]")
@click.option("--root", default=Path("data"), type=PATH, help="Folder of the data.")
@click.option(*NUMBER, type=click.IntRange(2, 10**7), default=50_000, help=f"Samples. {ALIAS}")
@click.option("--w", "ws", type=float, multiple=True, help="Guidance scale.  [preset's, or 1.5]")
@click.option("--tag", is_flag=True, help="Also with TAG(1, 4, 5), which the paper calls w = 4.")
@click.option("--seeds", multiple=True, default=(42, 123, 456), type=SEED, help="Seeds of noise.")
@click.option("--metrics", default="fid,is", callback=_metrics, help=SCORES)
@click.option("--features", "kind", type=NETWORKS, default="inception", help=NETWORK)
@click.option("--inception", "weights", type=FILE, envvar="DASH_INCEPTION", help=WEIGHTS)
@click.option("--download", is_flag=True, help="Fetch missing weights and images.  [$DASH_MIRRORS]")
@click.option("--unverified", is_flag=True, help="Allow other weights; scores are then named so.")
@click.option("--out", type=FILE, help="JSON of the scores; those in it are not computed again.")
def evaluate_command(
    models: tuple[str, ...], data: str | None, root: Path, n: int, ws: tuple[float, ...], tag: bool,
    seeds: tuple[int, ...], metrics: tuple[str, ...], kind: str, download: bool, out: Path | None,
    name: str | None, interval: tuple[int, int] | None, batch: int, device: str,
    weights: Path | None, unverified: bool, **how: Any,
) -> None:  # fmt: skip
    """Score MODELS over guidance scales and sampling seeds: FID, IS, KID, precision and recall.

    A model is a stored run, the stem of a checkpoint, an authors' .pth file, or images that were
    made before: a .npz as guided-diffusion's evaluator reads it, or a folder of PNG or JPEG.
    """
    with started(device) as place:
        if not data and not name:
            raise ValueError("no real images to compare with: give --data, or --preset for it")
        dataset = data or preset(name or "").dataset
        scales, how = [*dict.fromkeys(guidances(name, ws, tag, interval))], sampling_of(name, **how)
        store = evaluation.Store(out)
        real = reference.real_images(dataset, root, place, download=download)
        wanted = [preset(name).teacher.unet.images] if name else []
        shape = (*real[[0]].shape[1:],)
        given = {model: datasets.read_images(Path(model), n, shape) for model in models}
        networks = [find(model) for model, images in given.items() if images is None]
        for named, images in product(networks, [*wanted, (*shape[:2], real.classes)]):
            named.check(images)
        extractor = _extractor(kind, dataset, place, weights, download, unverified)
        whole = not {*metrics} <= {"fid", "is"}  # for which moments are enough
        known = reference.reference(real, extractor, place, root, batch=batch, whole=whole)
        judge = evaluation.Judge(extractor, real.key(extractor.sha), known, metrics)
        grid = {"models": models, "guidance": [label(w) for w in scales], "seeds": seeds, "n": n}
        about = {**grid, "metrics": metrics, "sampling": how, **judge.about()}
        place.print(json.dumps(about, indent=1))
        made = (Given(model, x) for model, x in given.items() if x is not None)
        cells = (Samples(*c, n, **how) for c in product(networks, scales, [*dict.fromkeys(seeds)]))
        for line in evaluation.evaluate([*made, *cells], judge, place, store, batch):
            place.print(line)
