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
from dashlib.scale.checkpointing import TrainingStopped
from dashlib.scale.engine import Numerics, best_precision
from dashlib.scale.jobs import Job
from dashlib.scale.presets import PRESETS, Preset, Role, preset
from dashlib.scale.session import Outcome, Session
from dashlib.weighting import WEIGHTINGS

FOLDER = click.Path(file_okay=False, path_type=Path)
KNOWN = f"PRESET is one of {', '.join(PRESETS)}."
READ_EVERY = 10  # steps between reads of the loss on a GPU, unless asked otherwise
OPTIONS = (
    click.argument("name", metavar="PRESET"),
    click.option("--out", type=FOLDER, required=True, help="Folder of the run."),
    click.option(
        "--data", "root", type=FOLDER, default="data", show_default=True,
        help="Folder of the images.",
    ),
    click.option(
        "--download", is_flag=True,
        help="Fetch the images if they are not there.  [$DASH_MIRRORS: base addresses tried first]",
    ),
    click.option(
        "--workers", default=4, show_default=True,
        help="Processes that read ImageNet's files; other sets are held on the device.",
    ),
    click.option("--steps", type=int, help="Of the whole training and its cosine  [preset's]"),
    click.option(
        "--batch", type=int, help="Images a step, over all processes; lr stays  [preset's]"
    ),
    click.option("--lr", type=float, help="Learning rate at the start  [preset's]"),
    click.option("--ema", type=float, help="Decay of the averaged weights  [preset's]"),
    click.option(
        "--label-dropout", type=float, help="Probability of the null label  [preset's]"
    ),
    click.option(
        "--dropout-per", type=click.Choice(["sample", "batch"]),
        help="One coin for each image, or one for all  [preset's]",
    ),
    click.option("--seed", default=0, show_default=True, help="Of weights, batches and dropout."),
    click.option(
        "--precision", type=click.Choice(["auto", "fp32", "bf16", "fp16"]), default="auto",
        show_default=True,
        help="Of the forward passes; auto: bf16 on a GPU that computes in it, else fp32.",
    ),
    click.option("--compile/--no-compile", "compiled", default=False, help="torch.compile."),
    click.option("--channels-last", is_flag=True, help="Store weights with channels innermost."),
    click.option(
        "--accumulate", default=1, show_default=True,
        help="Pieces that a process makes its share of a batch in: less memory, same result.",
    ),
    click.option(
        "--device", type=click.Choice(["auto", "cpu"]), default="auto", show_default=True,
        help="auto: a GPU if there is one.",
    ),
    click.option(
        "--resume", default="auto", show_default=True, metavar="auto|never|PATH",
        help="Go on from the newest whole checkpoint in OUT, never, or from this one.",
    ),
    click.option("--save-every", default=1000, show_default=True, help="Steps a checkpoint."),
    click.option("--keep", default=3, show_default=True, help="Checkpoints kept."),
    click.option("--log-every", type=int, help="Steps between reads of the loss  [GPU 10, CPU 1]"),
    click.option(
        "--stop-after", type=int,
        help="Save and end after so many steps of this call; the same command goes on.",
    ),
)  # fmt: skip


def _with_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def _changed(role: Role, device: str, options: dict[str, Any]) -> Role:
    """The preset's role with what the command line changes."""
    on_gpu = device == "auto" and torch.cuda.is_available()
    given = {k: options[k] for k in ("steps", "lr", "ema") if options[k] is not None}
    every = options["log_every"] or (READ_EVERY if on_gpu else 1)
    train = replace(role.train, **given, bf16=False, read_every=every)  # the engine autocasts
    names = ("batch", "label_dropout", "dropout_per", "objective", "weighting")
    changed = {k: options[k] for k in names if options.get(k) is not None}
    role = replace(role, train=train, **changed)
    if role.objective == "single_head":
        return replace(role, unet=replace(role.unet, w_conditioned=True))
    return role


def _numerics(device: str, options: dict[str, Any]) -> Numerics:
    asked = options["precision"]
    return Numerics(
        precision=best_precision(device) if asked == "auto" else asked,
        compile=options["compiled"],
        channels_last=options["channels_last"],
        accumulate=options["accumulate"],
    )


def _job(chosen: Preset, role: Role, given: dict[str, Any], **more: Any) -> Job:
    """The job that a command line describes."""
    same = (
        "out", "download", "workers", "seed", "device", "resume", "save_every", "keep", "stop_after"
    )  # fmt: skip
    device = given["device"]
    return Job(
        chosen.name,
        _changed(role, device, given),
        chosen.dataset,
        flip=chosen.flip,
        split=chosen.split,
        data=given["root"],
        numerics=_numerics(device, given),
        **{k: given[k] for k in same},
        **more,
    )


def _run(make: Callable[[], Job]) -> None:
    """Run a job, turning errors into messages; exits with 75 after a signal."""
    bars = Bars()
    try:
        job = make()
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
        f"{outcome.why}: saved step {outcome.step} of {job.role.train.steps} in "
        f"{outcome.checkpoint}; the same command goes on"
    )


@click.command(epilog=KNOWN)
@_with_options
@click.option("--weighting", type=click.Choice(WEIGHTINGS), help="Of timesteps  [preset's]")
def train(name: str, **options: Any) -> None:
    """Train the teacher of PRESET from scratch, or go on with it."""
    _run(lambda: _job(preset(name), preset(name).teacher, options))


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


@click.command(epilog=KNOWN)
@_with_options
@click.option(
    "--teacher", type=click.Path(path_type=Path), required=True,
    help="Ours (folder of its run, or stem of its .safetensors and .json) or the authors' .pth.",
)  # fmt: skip
@click.option(
    "--objective", type=click.Choice(list(OBJECTIVES)), default="dash", show_default=True,
    help="What the student is trained for.",
)  # fmt: skip
@click.option(
    "--option", "extra", multiple=True, metavar="KEY=NUMBER",
    help="Of the objective, repeatable: --option w=2 (composite), --option anchor=0 (dash).",
)  # fmt: skip
@click.option(
    "--weighting", type=click.Choice(["transfer", *WEIGHTINGS]), default="transfer",
    show_default=True, help="Of timesteps; transfer is the teacher's learned lambda, frozen.",
)  # fmt: skip
def distill(name: str, teacher: Path, extra: tuple[str, ...], **options: Any) -> None:
    """Distil the student of PRESET from a teacher, or go on with it."""

    def make() -> Job:
        chosen = preset(name)
        return _job(
            chosen,
            chosen.student,
            options,
            teacher=teacher,
            options=_numbers(extra),
            normalize="batch" if chosen.teacher.weighting == "tirt_batch" else "timesteps",
        )

    _run(make)
