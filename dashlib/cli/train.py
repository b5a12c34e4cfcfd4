"""The commands ``train`` and ``distill``, alone or under ``torchrun`` / ``accelerate launch``.

An option bears the name of what it changes: a field of ``Job``, ``Recipe``, ``TrainConfig`` or
``Numerics``.
"""

import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import click
import torch

from dashlib.cli.bars import Bars
from dashlib.cli.sample import POSITIVE, option, plain_errors, with_options
from dashlib.execution import TrainConfig
from dashlib.losses import OBJECTIVES
from dashlib.recipes import Recipe
from dashlib.runs.session import Job, Session
from dashlib.scale.checkpointing import INTERRUPTED
from dashlib.scale.engine import Numerics, best_precision
from dashlib.scale.presets import PRESETS, preset
from dashlib.weighting import WEIGHTINGS

FOLDER, COIN = click.Path(file_okay=False, path_type=Path), click.Choice(["sample", "batch"])
DEVICE, NUMBERS = click.Choice(["auto", "cpu"]), click.Choice(["auto", "fp32", "bf16", "fp16"])
KNOWN = f"PRESET is one of {', '.join(PRESETS)}."
READ_EVERY = 10  # steps between reads of the loss on a GPU, unless asked otherwise
FETCH = "Fetch the images if they are not there.  [$DASH_MIRRORS: base addresses tried first]"
BATCH = "Images a step, over all processes; lr stays  [preset's]"
FORWARD = "Of the forward passes; auto: bf16 on a GPU that computes in it, else fp32."
ACCUMULATE = "Pieces that a process makes its share of a batch in: less memory, same result."
RESUME = "Go on from the newest whole checkpoint in OUT, never, or from this one."
LOG_EVERY = "Steps between reads of the loss  [GPU 10, CPU 1]"
STOP_AFTER = "Save and end after so many steps of this call; the same command goes on."
TEACHER = "Ours (folder of its run, or stem of its .safetensors and .json) or the authors' .pth."
OPTION = "Of the objective, repeatable: --option w=2 (composite), --option anchor=0 (dash)."
HANDED = click.Choice(["transfer", *WEIGHTINGS])
TRANSFER = "Of timesteps; transfer is the teacher's learned lambda, frozen."
OPTIONS = (
    click.argument("preset", metavar="PRESET"),
    option("--out", type=FOLDER, required=True, help="Folder of the run."),
    option("--data", type=FOLDER, default="data", help="Folder of the images."),
    option("--download", is_flag=True, help=FETCH),
    option("--workers", default=4, help="Processes that read ImageNet; other sets are held."),
    option("--steps", type=int, help="Of the whole training and its cosine  [preset's]"),
    option("--batch", "batch_size", type=int, help=BATCH),
    option("--lr", type=float, help="Learning rate at the start  [preset's]"),
    option("--ema", type=float, help="Decay of the averaged weights  [preset's]"),
    option("--label-dropout", type=float, help="Probability of the null label  [preset's]"),
    option("--dropout-per", type=COIN, help="One coin for each image, or for all  [preset's]"),
    option("--seed", default=0, help="Of weights, batches and dropout."),
    option("--precision", type=NUMBERS, default="auto", help=FORWARD),
    option("--compile/--no-compile", "compile", help="torch.compile."),
    option("--channels-last", is_flag=True, help="Store weights with channels innermost."),
    option("--accumulate", default=1, help=ACCUMULATE),
    option("--device", type=DEVICE, default="auto", help="auto: a GPU if there is one."),
    option("--resume", default="auto", metavar="auto|never|PATH", help=RESUME),
    option("--save-every", type=POSITIVE, default=1000, help="Steps a checkpoint."),
    option("--keep", default=3, help="Checkpoints kept."),
    option("--log-every", "read_every", type=int, help=LOG_EVERY),
    option("--stop-after", type=POSITIVE, help=STOP_AFTER),
)


def _of(kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are fields of this dataclass."""
    return {field.name: given[field.name] for field in fields(kind) if field.name in given}


def job_of(role: str, options: Mapping[str, Any]) -> Job:
    """The preset's ``teacher`` or ``student``, but for what the options change."""
    on_gpu = options["device"] == "auto" and torch.cuda.is_available()
    given: dict[str, Any] = {"read_every": READ_EVERY if on_gpu else 1}
    given |= {name: value for name, value in options.items() if value is not None}
    if given["precision"] == "auto":
        given["precision"] = best_precision(given["device"])
    recipe: Recipe = getattr(preset(given["preset"]), role)
    train = replace(recipe.train, bf16=False, **_of(TrainConfig, given))  # the engine autocasts
    recipe = replace(recipe, train=train, **_of(Recipe, given))
    if recipe.objective == "single_head":
        recipe = replace(recipe, unet=replace(recipe.unet, w_conditioned=True))
    return Job(recipe=recipe, numerics=Numerics(**_of(Numerics, given)), **_of(Job, given))


def _run(role: str, options: Mapping[str, Any]) -> None:
    """Run a job, turning errors into messages; exits with 75 after a signal."""
    with plain_errors(), closing(Bars()) as bars:
        session = Session(job_of(role, options), click.echo, bars)
        ended = session.run()
    session.say(session.report())
    sys.exit(0 if ended in ("finished", "stopped") else INTERRUPTED)


@click.command("train", epilog=KNOWN)
@with_options(*OPTIONS)
@option("--weighting", type=click.Choice([*WEIGHTINGS]), help="Of timesteps  [preset's]")
def train_command(**options: Any) -> None:
    """Train the teacher of PRESET from scratch, or go on with it."""
    _run("teacher", options)


def _number(text: str) -> tuple[str, float]:
    """An option of an objective, ``KEY=NUMBER``."""
    key, _, value = text.partition("=")
    try:
        return key, float(value)
    except ValueError as error:
        message = f"--option {text}: KEY=NUMBER, for example --option w=4"
        raise click.ClickException(message) from error


@click.command("distill", epilog=KNOWN)
@with_options(*OPTIONS)
@option("--teacher", required=True, help=TEACHER)
@option(
    "--objective", type=click.Choice([*OBJECTIVES]), default="dash", help="What it is to learn."
)
@option("--option", "options", type=_number, multiple=True, metavar="KEY=NUMBER", help=OPTION)
@option("--weighting", type=HANDED, default="transfer", help=TRANSFER)
def distill_command(**options: Any) -> None:
    """Distil the student of PRESET from a teacher, or go on with it."""
    _run("student", options | {"options": dict(options["options"])})
