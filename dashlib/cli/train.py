"""The commands ``train`` and ``distill``, alone or under ``torchrun`` / ``accelerate launch``.

An option bears the name of a field: of ``Job``, ``Recipe``, ``TrainConfig`` or ``Numerics``.
"""

import math
import sys
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import click
import torch
from click import Choice, Option

from dashlib.cli.sample import POSITIVE, SEED
from dashlib.execution import TrainConfig
from dashlib.losses import OBJECTIVES
from dashlib.recipes import Recipe
from dashlib.runs.pool import Bars
from dashlib.runs.session import Job, Session
from dashlib.scale.checkpointing import INTERRUPTED
from dashlib.scale.engine import Numerics
from dashlib.scale.presets import PRESETS, preset
from dashlib.weighting import WEIGHTINGS

FOLDER, COIN = click.Path(file_okay=False, path_type=Path), Choice(["sample", "batch"])
DEVICE, NUMBERS = Choice(["auto", "cpu", "cuda"]), Choice(["auto", "fp32", "bf16", "fp16"])
RESUME = "Go on from the newest whole checkpoint in OUT, never, or from this one."
OPTION = "Setting of the objective, repeatable: --option w=2 (composite), --option anchor=0 (dash)."
GIVEN = "Weighting of timesteps; transfer is the teacher's learned lambda, frozen."
OPTIONS = [
    click.Argument(["preset"], type=Choice([*PRESETS])),
    Option(["--out"], type=FOLDER, required=True, help="Folder of the run."),
    Option(["--data"], type=FOLDER, default="data", help="Folder of the images."),
    Option(["--cache"], type=FOLDER, help="Folder of ImageNet's pixels, if not DATA."),
    Option(["--download"], is_flag=True, help="Fetch missing images, first at $DASH_MIRRORS."),
    Option(["--workers"], type=click.IntRange(0, 256), default=4, help="Readers of ImageNet."),
    Option(["--steps"], type=POSITIVE, help="Steps in all; the cosine ends there  [preset's]"),
    Option(["--batch", "batch_size"], type=POSITIVE, help="Images of a step, in all  [preset's]"),
    Option(["--lr"], type=float, help="Learning rate at the start  [preset's]"),
    Option(["--ema"], type=click.FloatRange(0, 1), help="Decay of the weights' mean  [preset's]"),
    Option(["--label-dropout"], type=click.FloatRange(0, 1), help="Null labels  [preset's]"),
    Option(["--dropout-per"], type=COIN, help="One coin for each image, or for all  [preset's]"),
    Option(["--seed"], type=SEED, default=0, help="Seed of weights, batches and dropout."),
    Option(["--precision"], type=NUMBERS, default="auto", help="auto: bf16 if the GPU has it"),
    Option(["--compile/--no-compile", "compile"], help="Use torch.compile."),
    Option(["--channels-last"], is_flag=True, help="Store weights with channels innermost."),
    Option(["--accumulate"], type=POSITIVE, default=1, help="Pieces of a batch: saves memory."),
    Option(["--device"], type=DEVICE, default="auto", help="auto: a GPU if there is one."),
    Option(["--resume"], default="auto", metavar="auto|never|PATH", help=RESUME),
    Option(["--save-every"], type=POSITIVE, default=1000, help="Steps between checkpoints."),
    Option(["--keep"], type=POSITIVE, default=3, help="Checkpoints kept."),
    Option(["--log-every", "read_every"], type=POSITIVE, help="Steps a log line [GPU 10, CPU 1]"),
    Option(["--stop-after"], type=POSITIVE, help="Steps of this call; then save and end."),
]


def _of(kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
    return {field.name: given[field.name] for field in fields(kind) if field.name in given}


def job_of(role: str, options: Mapping[str, Any]) -> Job:
    """The preset's ``teacher`` or ``student``, but for what the options change."""
    on_gpu = options["device"] != "cpu" and torch.cuda.is_available()
    given: dict[str, Any] = {"read_every": 10 if on_gpu else 1}
    given |= {name: value for name, value in options.items() if value is not None}
    if given["precision"] == "auto":
        computes = on_gpu and torch.cuda.is_bf16_supported(including_emulation=False)
        given["precision"] = "bf16" if computes else "fp32"
    recipe: Recipe = getattr(preset(given["preset"]), role)
    train = replace(recipe.train, bf16=False, **_of(TrainConfig, given))  # the engine autocasts
    recipe = replace(recipe, train=train, **_of(Recipe, given))
    if recipe.objective == "single_head":
        recipe = replace(recipe, unet=replace(recipe.unet, w_conditioned=True))
    return Job(recipe=recipe, numerics=Numerics(**_of(Numerics, given)), **_of(Job, given))


def _run(role: str, options: Mapping[str, Any]) -> None:
    with closing(Bars()) as bars:
        session = Session(job_of(role, options), click.echo, bars)
        ended = session.run()
    session.say(session.report())
    sys.exit(0 if ended in ("finished", "stopped") else INTERRUPTED)


@click.command("train", params=[*OPTIONS])
@click.option("--weighting", type=Choice([*WEIGHTINGS]), help="Weight of a timestep  [preset's]")
def train_command(**options: Any) -> None:
    """Train the teacher of PRESET from scratch, or go on with it."""
    _run("teacher", options)


def _number(text: str) -> tuple[str, float]:
    key, _, value = text.partition("=")
    with suppress(ValueError):
        if math.isfinite(number := float(value)):
            return key, number
    raise click.BadParameter(f"--option {text}: KEY=NUMBER, as in --option w=4")


@click.command("distill", params=[*OPTIONS])
@click.option("--teacher", required=True, help="Folder or stem of ours, or the authors' .pth.")
@click.option("--objective", type=Choice([*OBJECTIVES]), default="dash", help="Loss to learn by.")
@click.option("--option", "options", type=_number, multiple=True, metavar="KEY=NUMBER", help=OPTION)
@click.option("--weighting", type=Choice(["transfer", *WEIGHTINGS]), default="transfer", help=GIVEN)
def distill_command(**options: Any) -> None:
    """Distil the student of PRESET from a teacher, or go on with it."""
    if len(dict(options["options"])) < len(options["options"]):
        raise ValueError("an --option is given twice: once for each KEY")
    _run("student", options | {"options": dict(options["options"])})
