"""The commands ``sweep`` (make every run of a scale) and ``ship`` (fit them in a repository)."""

from pathlib import Path

import click
import torch

from dashlib import results
from dashlib.recipes import SHIPPED
from dashlib.runs.sweep.plan import Plan, shortened
from dashlib.runs.sweep.stages import run


@click.command(name="sweep")
@click.argument("scale", type=click.Choice(["fashion_mnist"]))
@click.option(
    "--work",
    type=click.Path(path_type=Path),
    default="campaign",
    show_default=True,
    help="Folder of unfinished training and single scores.",
)
@click.option(
    "--data",
    "root",
    type=click.Path(path_type=Path),
    default="data",
    show_default=True,
    help="Folder of the images.",
)
@click.option(
    "--minutes", default=9.0, show_default=True, help="When to stop; call again to go on."
)
@click.option("--processes", default=4, show_default=True, help="Workers that share the device.")
@click.option(
    "--device",
    default="cuda" if torch.cuda.is_available() else "cpu",
    show_default=True,
    help="That trains and samples.",
)
@click.option("--only", default="", help="Only students whose name contains this text.")
@click.option("--steps", type=int, help="Steps of every training, instead of the spec's.")
@click.option("--dry", is_flag=True, help="A few steps and samples, to see it through.")
def sweep_runs(
    scale: str, work: Path, root: Path, minutes: float, processes: int, device: str, only: str,
    steps: int | None, dry: bool,
) -> None:  # fmt: skip
    """Make every run of SCALE on one accelerator, in stages; stores them in results/."""
    plan = Plan(scale, work, root, device, processes, only=only, steps=steps)
    finished = run(shortened(plan) if dry else plan, minutes * 60)
    click.echo("finished" if finished else "not finished: the same command goes on")


@click.command()
@click.argument("scale", type=click.Choice(["digits", "fashion_mnist"]))
def ship(scale: str) -> None:
    """Drop the weights of SCALE that the repository has no room for; metrics and pictures stay."""
    for name in results.names(scale):
        run = results.load(name)
        if "weights" in run.files and name not in SHIPPED:
            results.store(run, **{k: run.tensors(k) for k in run.files if k != "weights"})
            click.echo(f"{name}: weights dropped")
