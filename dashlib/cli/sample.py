"""The command ``sample``, and what it shares with ``evaluate``.

A preset names how its models are sampled from (steps, timesteps, clamp, guidance); what the
command line says itself comes first.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, reduce
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from torchvision.transforms.functional import to_pil_image
from torchvision.utils import make_grid

from dashlib import results
from dashlib.checkpoints import replacing, write_atomically
from dashlib.guidance import TAG, Constant, GuidanceSchedule, Interval
from dashlib.sampling import CLAMPS, SPACINGS
from dashlib.scale import sampling
from dashlib.scale.checkpointing import TrainingStopped
from dashlib.scale.distributed import gather_rows, make_accelerator, share
from dashlib.scale.precision import PRECISIONS
from dashlib.scale.presets import PRESETS, Sampling, preset
from dashlib.scale.sampling import Named, Samples

DEFAULT_W = 1.5
ALIAS = "(Under torchrun: --samples, for it takes --n for its own.)"
PATH, FILE = click.Path(path_type=Path), click.Path(dir_okay=False, path_type=Path)
POSITIVE = click.IntRange(min=1)
option = partial(click.option, show_default=True)
SPACING = "Of the timesteps; leading is the DASH release's.  [preset's, or linspace]"
CLAMP = """Of the predicted image; clamp keeps eps as it is, as the DASH release does.
[preset's, or recompute]"""
PRECISION = "Of the sampled network; features are always fp32."
STYLE = "Sample as this preset does: steps, timesteps, clamp and guidance."
SHARED = (
    option("--preset", "name", type=click.Choice(list(PRESETS)), help=STYLE),
    option("--steps", type=click.IntRange(1, 1000), help="DDIM steps.  [preset's, or 50]"),
    option("--spacing", type=click.Choice(SPACINGS), help=SPACING),
    option("--clamp", type=click.Choice(CLAMPS), help=CLAMP),
    option("--precision", type=click.Choice(PRECISIONS), default="fp32", help=PRECISION),
    option("--batch", type=POSITIVE, default=500, help="Images at a time, a process."),
    option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", help="To use."),
    option("--interval", type=(int, int), help="LOW HIGH: guide only at LOW <= t < HIGH."),
)
KINDS = click.Choice(["constant", "tag", "interval"])
OUT = """FILE.png: a grid; FILE.npz: uint8 images (NHWC) and labels; else a folder of PNG.  How they
were made is written beside it, as OUT.json."""
_OPTIONS = (
    click.argument("model"),
    option("--out", required=True, type=PATH, help=OUT),
    option("--n", "--samples", "n", type=POSITIVE, default=100, help=f"Images. {ALIAS}"),
    option("--w", type=float, help="Guidance scale (1: none); largest of tag.  [preset's; 1.5; 4]"),
    option("--schedule", "kind", type=KINDS, help="Of guidance.  [preset's, or constant]"),
    option("--seed", default=0, help="Of the starting noise."),
)


def with_options(*options: Callable[..., Any]) -> Callable[..., Any]:
    """Add arguments and options to a command, in this order."""
    return lambda command: reduce(lambda made, add: add(made), reversed(options), command)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Show what is the user's to mend as one message, without a traceback."""
    try:
        yield
    except (ValueError, OSError, ImportError, TrainingStopped) as error:
        raise click.ClickException(str(error)) from error
    except torch.cuda.OutOfMemoryError as error:
        message = f"the GPU's memory is full ({error}): use a smaller --batch"
        raise click.ClickException(message) from error


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
    ws = ws or (() if tag else (DEFAULT_W,))
    scales = [Interval(w, low, high) if interval else Constant(w) for w in ws]
    return [*scales, *([TAG()] if tag else [])]


def _guidance(
    name: str | None, kind: str | None, w: float | None, interval: tuple[int, int] | None
) -> GuidanceSchedule:
    """The guidance that the options ask for; ``ValueError`` if they contradict each other."""
    if (kind == "interval") != (interval is not None):
        raise ValueError("--schedule interval and --interval LOW HIGH go together: give both")
    if kind == "tag":
        return TAG() if w is None else TAG(w_max=w)
    return guidances(None if kind else name, () if w is None else (w,), False, interval)[0]


def found_models(names: tuple[str, ...], preset_name: str | None) -> list[Named]:
    """The models by name; ``ValueError`` for one that makes other images than the preset's."""
    found = [sampling.find(name) for name in names]
    for named in found if preset_name else ():
        cfg = preset(preset_name or "").teacher.unet
        named.check((cfg.image_channels, cfg.image_size, cfg.num_classes))
    return found


def _write_all(out: Path, images: Tensor, labels: Tensor) -> None:
    """A grid of images (``.png``), or what guided-diffusion's evaluator reads (``.npz``)."""
    with replacing(out) as file:
        if out.suffix == ".npz":
            np.savez(file, images.permute(0, 2, 3, 1).numpy(), labels.numpy())
        else:
            grid = make_grid(images, nrow=round(len(images) ** 0.5), padding=1)
            to_pil_image(grid).save(file, "PNG")


@click.command("sample")
@with_options(*_OPTIONS, *SHARED)
def sample_command(
    model: str, out: Path, n: int, w: float | None, kind: str | None, seed: int, name: str | None,
    interval: tuple[int, int] | None, batch: int, device: str, **how: Any,
) -> None:  # fmt: skip
    """Sample images from MODEL: a stored run, the stem of a checkpoint, or an authors' .pth."""
    with started(device) as place:
        guidance, how = _guidance(name, kind, w, interval), sampling_of(name, **how)
        wanted = Samples(found_models((model,), name)[0], guidance, seed, n, **how)
        about = wanted.about() | {"preset": name, "torch": torch.__version__}
        place.print(text := json.dumps(about | results.provenance(), indent=1))
        made = sampling.numbered_images(wanted, place, batch)
        if out.suffix in (".png", ".npz"):
            images, labels = (gather_rows(torch.cat(parts)) for parts in zip(*made, strict=True))
            if place.is_main_process:
                _write_all(out, images, labels)
        else:
            pictures = (image for images, _ in made for image in images)
            for number, image in enumerate(pictures, start=share(n, place).start):
                with replacing(out / f"{number:06d}.png") as file:
                    to_pil_image(image).save(file, "PNG")
        place.wait_for_everyone()
        if place.is_main_process:
            write_atomically(Path(f"{out}.json"), f"{text}\n".encode())
        place.print(f"wrote {n} images to {out}")
