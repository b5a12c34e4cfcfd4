"""The command ``repair``: score every stored digits student under repaired guidance."""

import time

import click
import torch

from dashbook import repair_report
from dashlib import results
from dashlib.checkpoints import CheckpointError
from dashlib.cli.bars import Bars


@click.command()
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Students sampled side by side.",
)
def repair(processes: int) -> None:
    """Sample the stored digits students with rescaled gaps; writes results/repair/digits.json.

    About a minute a student on one core.  Students whose weights have not changed since are kept,
    so the command can be stopped and started again.
    """
    torch.set_num_threads(1)
    clock = time.perf_counter()
    try:
        for name, done, total in repair_report.update(processes=processes, progress=Bars):
            spent = (time.perf_counter() - clock) / 60
            click.echo(f"[{done}/{total}] {spent:5.1f} min  {name}")
        entries = repair_report.stored()
    except (ValueError, results.MissingRun, CheckpointError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{len(entries)} students in {repair_report.path()}")
