"""The commands ``train`` and ``distill``, alone or under ``torchrun`` / ``accelerate launch``."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import torch

from dashlib.checkpoints import CheckpointError
from dashlib.cli.bars import Bars
from dashlib.losses import OBJECTIVES
from dashlib.recipes import Recipe
from dashlib.runs.session import Job, Outcome, Session
from dashlib.scale.checkpointing import TrainingStopped
from dashlib.scale.engine import Numerics, best_precision
from dashlib.scale.presets import PRESETS, preset
from dashlib.weighting import WEIGHTINGS

FOLDER = click.Path(file_okay=False, path_type=Path)
KNOWN = f"PRESET is one of {', '.join(PRESETS)}."
READ_EVERY = 10  # steps between reads of the loss on a GPU, unless asked otherwise


def _option(*names: str, help: str, **how: Any) -> Callable[..., Any]:
    return click.option(*names, help=help, show_default="default" in how, **how)


OPTIONS = (
    click.argument("name", metavar="PRESET"),
    _option("--out", type=FOLDER, required=True, help="Folder of the run."),
    _option("--data", type=FOLDER, default="data", help="Folder of the images."),
    click.option(
        "--download", is_flag=True,
        help="Fetch the images if they are not there.  [$DASH_MIRRORS: base addresses tried first]",
    ),
    _option("--workers", default=4, help="Processes that read ImageNet; other sets are held."),
    _option("--steps", type=int, help="Of the whole training and its cosine  [preset's]"),
    _option(
        "--batch", "batch_size", type=int,
        help="Images a step, over all processes; lr stays  [preset's]",
    ),
    _option("--lr", type=float, help="Learning rate at the start  [preset's]"),
    _option("--ema", type=float, help="Decay of the averaged weights  [preset's]"),
    _option("--label-dropout", type=float, help="Probability of the null label  [preset's]"),
    _option(
        "--dropout-per", type=click.Choice(["sample", "batch"]),
        help="One coin for each image, or one for all  [preset's]",
    ),
    _option("--seed", default=0, help="Of weights, batches and dropout."),
    _option(
        "--precision", type=click.Choice(["auto", "fp32", "bf16", "fp16"]), default="auto",
        help="Of the forward passes; auto: bf16 on a GPU that computes in it, else fp32.",
    ),
    click.option("--compile/--no-compile", "compiled", default=False, help="torch.compile."),
    click.option("--channels-last", is_flag=True, help="Store weights with channels innermost."),
    _option(
        "--accumulate", default=1,
        help="Pieces that a process makes its share of a batch in: less memory, same result.",
    ),
    _option(
        "--device", type=click.Choice(["auto", "cpu"]), default="auto",
        help="auto: a GPU if there is one.",
    ),
    _option(
        "--resume", default="auto", metavar="auto|never|PATH",
        help="Go on from the newest whole checkpoint in OUT, never, or from this one.",
    ),
    _option("--save-every", default=1000, help="Steps a checkpoint."),
    _option("--keep", default=3, help="Checkpoints kept."),
    _option("--log-every", type=int, help="Steps between reads of the loss  [GPU 10, CPU 1]"),
    _option(
        "--stop-after", type=int,
        help="Save and end after so many steps of this call; the same command goes on.",
    ),
)  # fmt: skip


def _with_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def numerics_of(options: dict[str, Any]) -> Numerics:
    """How the options ask a step to be computed."""
    asked = options["precision"]
    return Numerics(
        precision=best_precision(options["device"]) if asked == "auto" else asked,
        compile=options["compiled"],
        channels_last=options["channels_last"],
        accumulate=options["accumulate"],
    )


def changed(recipe: Recipe, options: dict[str, Any]) -> Recipe:
    """The preset's recipe with what the command line changes; the engine autocasts."""
    given = {key: value for key, value in options.items() if value is not None}
    on_gpu = options["device"] == "auto" and torch.cuda.is_available()
    every = options["log_every"] or (READ_EVERY if on_gpu else 1)
    settings = {key: given[key] for key in ("steps", "lr", "ema") if key in given}
    train = replace(recipe.train, **settings, bf16=False, read_every=every)
    names = ("batch_size", "label_dropout", "dropout_per", "seed", "teacher", "options")
    more = {key: given[key] for key in (*names, "objective", "weighting") if key in given}
    recipe = replace(recipe, train=train, **more)
    if recipe.objective == "single_head":
        return replace(recipe, unet=replace(recipe.unet, w_conditioned=True))
    return recipe


def _run(name: str, role: str, options: dict[str, Any]) -> None:
    """Run a job, turning errors into messages; exits with 75 after a signal."""
    kept = ("out", "data", "download", "workers", "device", "resume", "save_every", "keep")
    bars = Bars()
    try:
        if "extra" in options:
            options |= {"options": _numbers(options["extra"])}
        recipe = changed(getattr(preset(name), role), options)
        same = {key: options[key] for key in (*kept, "stop_after")}
        job = Job(name, recipe, numerics=numerics_of(options), **same)
        session = Session(job, click.echo, bars)
        outcome = session.run()
    except (ValueError, OSError, ImportError, CheckpointError, TrainingStopped) as error:
        raise click.ClickException(str(error)) from error
    finally:
        if bars.bar:
            bars.bar.close()
    session.say(_message(job, outcome))
    sys.exit(outcome.exit_code)


def _message(job: Job, outcome: Outcome) -> str:
    if outcome.why == "finished":
        return f"finished: {outcome.step} steps, model in {job.out / 'model'}.safetensors"
    return (
        f"{outcome.why}: saved step {outcome.step} of {job.recipe.train.steps} in "
        f"{outcome.checkpoint}; the same command goes on"
    )


def _numbers(texts: tuple[str, ...]) -> dict[str, float]:
    """Options of an objective, ``KEY=VALUE`` each; ``ValueError`` for anything else."""
    numbers = {}
    for text in texts:
        key, _, value = text.partition("=")
        try:
            numbers[key] = float(value)
        except ValueError as error:
            raise ValueError(f"--option {text}: KEY=NUMBER, for example --option w=4") from error
    return numbers


@click.command("train", epilog=KNOWN)
@_with_options
@_option("--weighting", type=click.Choice(WEIGHTINGS), help="Of timesteps  [preset's]")
def train_command(name: str, **options: Any) -> None:
    """Train the teacher of PRESET from scratch, or go on with it."""
    _run(name, "teacher", options)


@click.command("distill", epilog=KNOWN)
@_with_options
@_option(
    "--teacher", required=True,
    help="Ours (folder of its run, or stem of its .safetensors and .json) or the authors' .pth.",
)  # fmt: skip
@_option(
    "--objective", type=click.Choice(list(OBJECTIVES)), default="dash",
    help="What the student is trained for.",
)  # fmt: skip
@_option(
    "--option", "extra", multiple=True, metavar="KEY=NUMBER",
    help="Of the objective, repeatable: --option w=2 (composite), --option anchor=0 (dash).",
)  # fmt: skip
@_option(
    "--weighting", type=click.Choice(["transfer", *WEIGHTINGS]), default="transfer",
    help="Of timesteps; transfer is the teacher's learned lambda, frozen.",
)  # fmt: skip
def distill_command(name: str, **options: Any) -> None:
    """Distil the student of PRESET from a teacher, or go on with it."""
    _run(name, "student", options)
