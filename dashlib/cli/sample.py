"""The command ``sample``, and the options that it shares with ``evaluate``.

A preset names how its models are sampled from (steps, timesteps, clamp, guidance, of
:class:`dashlib.scale.presets.Sampling`); what the command line says itself comes first.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import torch
from tqdm import tqdm

from dashlib import results
from dashlib.checkpoints import write_atomically
from dashlib.guidance import TAG, Constant, GuidanceSchedule, Interval
from dashlib.progress import refresh_seconds
from dashlib.sampling import CLAMPS, SPACINGS
from dashlib.scale.distributed import Shards, shards
from dashlib.scale.evaluation import check, label
from dashlib.scale.inception import InceptionError
from dashlib.scale.precision import PRECISIONS
from dashlib.scale.presets import PRESETS, Sampling, preset
from dashlib.scale.sampling import Named, Sampler, encoded, find, gather, generate, write_folder

DEFAULT_W = 1.5
USUAL = Sampling()  # without a preset; its guidance is then w = 1.5
ALIAS = "(Under torchrun: --samples, for it takes --n for its own.)"
SAMPLER_OPTIONS = (
    click.option(
        "--preset",
        type=click.Choice(list(PRESETS)),
        help="Sample as this preset does: steps, timesteps, clamp and guidance.",
    ),
    click.option("--steps", type=int, help=f"DDIM steps.  [preset's, or {USUAL.steps}]"),
    click.option(
        "--spacing",
        type=click.Choice(SPACINGS),
        help=f"Of the timesteps; leading is the DASH release's.  [preset's, or {USUAL.spacing}]",
    ),
    click.option(
        "--clamp",
        type=click.Choice(CLAMPS),
        help="Of the predicted image; clamp keeps eps as it is, as the DASH release does.  "
        f"[preset's, or {USUAL.clamp}]",
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


def with_sampler_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add what says how images are made."""
    for option in reversed(SAMPLER_OPTIONS):
        command = option(command)
    return command


@contextmanager
def plain_errors() -> Iterator[None]:
    """Show what is the user's to mend as one message, without a traceback."""
    try:
        yield
    except (ValueError, OSError, InceptionError, ImportError) as error:
        raise click.ClickException(str(error)) from error
    except torch.cuda.OutOfMemoryError as error:
        raise click.ClickException(
            f"the GPU's memory is full ({error}): use a smaller --batch"
        ) from error


def printer(place: Shards) -> Callable[[str], None]:
    """Prints in the first process only, above progress bars."""
    return (lambda text: tqdm.write(text)) if place.first else (lambda text: None)


def sampler_of(name: str | None, precision: Any, **given: Any) -> Sampler:
    """The preset's steps, spacing and clamp (or the usual ones), but for those ``given``."""
    usual = preset(name).sampling if name else USUAL
    known = ("steps", "spacing", "clamp")
    chosen = {k: getattr(usual, k) if given[k] is None else given[k] for k in known}
    return Sampler(**chosen, precision=precision)


def schedule(kind: str, w: float | None, interval: tuple[int, int] | None) -> GuidanceSchedule:
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


def check_preset(models: list[Named], name: str | None) -> None:
    """``ValueError`` for the first model that makes other images than the preset's."""
    if name:
        cfg = preset(name).teacher.unet
        check(models, cfg.image_channels, cfg.image_size, cfg.num_classes)


def _guidance(
    name: str | None, kind: str | None, w: float | None, interval: tuple[int, int] | None
) -> GuidanceSchedule:
    """The preset's guidance, unless an option says anything about it."""
    if name and kind is None and w is None and interval is None:
        return preset(name).sampling.guidance
    return schedule(kind or "constant", w, interval)


@click.command()
@click.argument("model")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="FILE.png: a grid; FILE.npz: uint8 images (NHWC) and labels; else a folder of PNG. How "
    "they were made is written beside it, as OUT.json.",
)
@click.option("--n", "--samples", "n", default=100, show_default=True, help=f"Images. {ALIAS}")
@click.option(
    "--w", type=float, help="Guidance scale (1: none); of tag, the largest.  [preset's; 1.5; 4]"
)
@click.option(
    "--schedule",
    "kind",
    type=click.Choice(["constant", "tag", "interval"]),
    help="How the guidance scale depends on the timestep.  [preset's, or constant]",
)
@click.option("--seed", default=0, show_default=True, help="Of the starting noise.")
@with_sampler_options
def sample(model: str, out: Path, n: int, seed: int, **options: Any) -> None:
    """Sample images from MODEL: a stored run, the stem of a checkpoint, or an authors' .pth."""
    name = options.pop("preset")
    asked = [options.pop(key) for key in ("kind", "w", "interval")]
    batch, device = options.pop("batch"), options.pop("device")
    with plain_errors(), shards(device) as place:
        if min(n, batch) < 1:
            raise ValueError(f"--n {n} --batch {batch}: at least 1")
        guidance, how, found = _guidance(name, *asked), sampler_of(name, **options), find(model)
        check_preset([found], name)
        about = _about(found, guidance, how) | {"seed": seed, "n": n, "preset": name}
        printer(place)(json.dumps(about, indent=1))
        numbers = place.slice(n)
        made = generate(
            found.model, guidance, numbers, seed=seed, device=place.device, sampler=how, batch=batch
        )
        total, shown = -(-len(numbers) // batch), refresh_seconds()
        bar = tqdm(made, "sampling", total, mininterval=shown, disable=not place.first)
        _write(iter(bar), out, place, found, numbers.start)
        place.all(True)  # the others have written their files
        if place.first:
            write_atomically(Path(f"{out}.json"), (json.dumps(about, indent=1) + "\n").encode())
        printer(place)(f"wrote {n} images to {out}")


def _about(model: Named, guidance: GuidanceSchedule, how: Sampler) -> dict[str, Any]:
    """What the images depend on, but for their seed and number."""
    return {
        "model": model.name,
        "weights": model.sha,
        "guidance": label(guidance),
        "sampling": asdict(how),
        "torch": torch.__version__,
        "commit": results.commit(),
        "hardware": results.hardware(),
    }


def _write(batches: Iterator[Any], out: Path, place: Shards, model: Named, first: int) -> None:
    """Write a grid or arrays (the first process), or a folder (each process its own images)."""
    if out.suffix not in (".png", ".npz"):
        write_folder(batches, out, first)
        return
    images, labels = gather(batches, place, model.model)
    if place.first:
        write_atomically(out, encoded(images.cpu(), labels.cpu(), out.suffix))
