"""Commands that ``make``, ``reproduce``, ``verify``, ``list``, ``ship`` and ``convert`` runs."""

import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import torch

from dashlib import checkpoints, results
from dashlib.cli.bars import Bars
from dashlib.cli.sample import PATH, POSITIVE, option, plain_errors
from dashlib.recipes import DIGITS, PARTS, SHIPPED
from dashlib.runs import pool
from dashlib.runs.making import make, run_name
from dashlib.runs.verification import expected, verify_all

ONLY = click.option("--only", default="", help="Only runs whose name contains this text.")
PROCESSES = option("--processes", default=2, type=POSITIVE, help="Side by side.")
SCALE = click.argument("scale", type=click.Choice(["digits"]))
WHICH, PART = click.Choice(["all", *PARTS]), "The headline table, its other rows, or the studies."


@click.command("make")
@click.argument("name")
@option("--seed", default=0, help="Training seed, for the name of a row.")
def make_command(name: str, seed: int) -> None:
    """Make one stored run from scratch: NAME is a row (digits/fitnets) or a run (...-transfer-s1).

    A row is trained under TIRT Transfer, or as its name says (digits/dash-uniform).
    """
    torch.set_num_threads(1)
    with plain_errors(), closing(Bars()) as bars:
        (run,) = make([run_name(name, seed)], bars)
    click.echo(f"stored {run.folder} ({sum(run.seconds.values()):.0f} s)")


def _matching(names: Iterable[str], only: str) -> list[str]:
    """The names that contain the text; an error where none does."""
    if found := [name for name in names if only in name]:
        return found
    raise click.ClickException(f"no run's name contains {only!r}: see `dashlib list`")


@click.command("reproduce")
@SCALE
@option("--part", type=WHICH, default="all", help=PART)
@PROCESSES
@ONLY
def reproduce_command(scale: str, part: str, processes: int, only: str) -> None:
    """Retrain the stored runs of SCALE, rewrite results/ and note the time taken there.

    The parts come one after another, each noted by itself: core is the headline table (two
    teachers, five rows under two weightings; the fifth, cond-only + dropout, with one seed), rows
    are its other two seeds and the table's other rows, studies are those of the weightings, of the
    anchor's weight and of how the class table starts.
    """
    parts = {name: [*runs] for name, runs in PARTS.items() if part in ("all", name)}
    if "core" in parts:
        parts["core"].insert(0, DIGITS.classifier)
    chosen = _matching((run for runs in parts.values() for run in runs), only)
    for name, runs in parts.items():
        if names := [run for run in runs if run in chosen]:
            noted = {"scale": scale, "part": name, "only": only, "runs": len(names)}
            _reproduce(names, noted | {"processes": processes})


def _reproduce(names: list[str], noted: dict[str, Any]) -> None:
    """Retrain one part and note what it took."""
    began, cpu, minutes = time.perf_counter(), 0.0, 0.0
    made = pool.reproduce(names, workers=noted["processes"], progress=Bars)
    for done, run in enumerate(made, start=1):
        cpu, minutes = cpu + run.cpu_seconds / 60, (time.perf_counter() - began) / 60
        click.echo(f"[{noted['part']} {done}/{len(names)}] {minutes:5.1f} min  {run.name}")
    pool.note_sweep(noted | {"minutes": round(minutes, 1), "cpu_minutes": round(cpu, 1)})
    click.echo(f"{len(names)} runs of {noted['scale']} ({noted['part']}) in {minutes:.1f} minutes")


@click.command("verify")
@option("--thorough", is_flag=True, help="Compute the gap metrics again, too (minutes).")
@ONLY
@PROCESSES
def verify_command(thorough: bool, only: str, processes: int) -> None:
    """Check every stored run against its weights; fails if one is missing, damaged or differs."""
    torch.set_num_threads(1)
    wanted, failed = _matching(expected(), only), False
    checked = verify_all(wanted, thorough=thorough, workers=processes)
    with closing(Bars()) as bars:
        for done, (name, faults) in enumerate(checked, start=1):
            bars("verifying stored runs", done, len(wanted))
            for fault in faults:
                failed = True
                click.echo(f"{name}: {fault}", err=True)
    if failed:
        raise click.ClickException("stored runs do not verify")
    click.echo(f"{len(wanted)} stored runs verify against their weights")


@click.command("list")
def list_command() -> None:
    """List the stored runs with seed, seconds, commit and headline metrics."""
    for name in results.names():
        run = results.load(name)
        gap = run.metrics.get("gap", {}).get("overall")
        rho = f"rho {gap['rho']:.2f} cos {gap['cos']:.2f}" if gap else ""
        seconds = sum(run.seconds.values())
        click.echo(f"{name:42} seed {run.seed} {seconds:6.0f} s  {run.commit:14} {rho}")


@click.command("ship")
@SCALE
def ship_command(scale: str) -> None:
    """Drop the weights of SCALE that the repository has no room for; metrics and pictures stay."""
    for run in map(results.load, results.names(scale)):
        if "weights" in run.files and run.name not in SHIPPED:
            results.store(run, **{k: run.tensors(k) for k in run.files if k != "weights"})
            click.echo(f"{run.name}: weights dropped")


@click.command("convert")
@click.argument("checkpoint", type=PATH)
@click.argument("out", type=PATH)
def convert_command(checkpoint: Path, out: Path) -> None:
    """Convert the authors' CHECKPOINT (.pth) to OUT.safetensors and OUT.json."""
    with plain_errors():
        model, lam = checkpoints.load_official(checkpoint)
        checkpoints.save_model(out, model, lam)
    kept = "with TIRT lambda" if lam is not None else "without TIRT lambda"
    click.echo(f"wrote {out}.safetensors and {out}.json ({kept})")
