"""Commands: ``make``, ``reproduce``, ``verify``, ``list`` and ``ship`` stored runs; ``convert``."""

import time
from pathlib import Path

import click
import torch
from tqdm import tqdm

from dashlib import results
from dashlib.checkpoints import CheckpointError, load_official, save
from dashlib.cli.bars import Bars
from dashlib.progress import refresh_seconds
from dashlib.recipes import DIGITS, PARTS, SHIPPED
from dashlib.runs import pool
from dashlib.runs.making import make, run_name
from dashlib.runs.verification import expected, verify_all

ONLY = click.option("--only", default="", help="Only runs whose name contains this text.")
PROCESSES = click.option(
    "--processes", default=2, type=click.IntRange(1), show_default=True, help="Side by side."
)
SCALE = click.argument("scale", type=click.Choice(["digits"]))


@click.command("make")
@click.argument("name")
@click.option("--seed", default=0, show_default=True, help="Training seed, for the name of a row.")
def make_command(name: str, seed: int) -> None:
    """Make one stored run from scratch: NAME is a row (digits/fitnets) or a run (...-transfer-s1).

    A row is trained under TIRT Transfer, or as its name says (digits/dash-uniform).
    """
    torch.set_num_threads(1)
    try:
        (run,) = make([run_name(name, seed)], Bars())
    except (ValueError, FileNotFoundError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"stored {run.folder} ({sum(run.seconds.values()):.0f} s)")


@click.command("reproduce")
@SCALE
@click.option(
    "--part",
    "wanted",
    type=click.Choice(["all", *PARTS]),
    default="all",
    show_default=True,
    help="The headline table, its other rows, or the studies.",
)
@PROCESSES
@ONLY
def reproduce_command(scale: str, wanted: str, processes: int, only: str) -> None:
    """Retrain the stored runs of SCALE, rewrite results/ and note the time taken there.

    The parts come one after another, each noted by itself: core is the headline table (two
    teachers, five rows under two weightings; the fifth, cond-only + dropout, with one seed), rows
    are its other two seeds and the table's other rows, studies are those of the weightings, of the
    anchor's weight and of how the class table starts.
    """
    parts = {part: list(PARTS[part]) for part in (PARTS if wanted == "all" else [wanted])}
    if "core" in parts:
        parts["core"].insert(0, DIGITS.classifier)
    chosen = {part: [name for name in names if only in name] for part, names in parts.items()}
    if not any(chosen.values()):
        raise click.ClickException(f"no run's name contains {only!r}: see `dashlib list`")
    for part, names in chosen.items():
        if names:
            _reproduce(scale, part, names, processes, only)


def _reproduce(scale: str, part: str, names: list[str], processes: int, only: str) -> None:
    """Retrain one part and note what it took."""
    clock, cpu = time.perf_counter(), 0.0
    for done, run in enumerate(pool.reproduce(names, workers=processes, progress=Bars), start=1):
        cpu += run.cpu_seconds / 60
        spent = (time.perf_counter() - clock) / 60
        click.echo(f"[{part} {done}/{len(names)}] {spent:5.1f} min  {run.name}")
    minutes = round((time.perf_counter() - clock) / 60, 1)
    noted = {"scale": scale, "part": part, "only": only, "runs": len(names)}
    took = {"processes": processes, "minutes": minutes, "cpu_minutes": round(cpu, 1)}
    pool.note_sweep(noted | took)
    click.echo(f"{len(names)} runs of {scale} ({part}) in {minutes} minutes")


@click.command("verify")
@click.option("--thorough", is_flag=True, help="Compute the gap metrics again, too (minutes).")
@ONLY
@PROCESSES
def verify_command(thorough: bool, only: str, processes: int) -> None:
    """Check every stored run against its weights; fails if one is missing, damaged or differs."""
    torch.set_num_threads(1)
    wanted = [name for name in expected() if only in name]
    if not wanted:
        raise click.ClickException(f"no run's name contains {only!r}: see `dashlib list`")
    failed = False
    checked = verify_all(wanted, thorough=thorough, workers=processes)
    bar = {"desc": "verifying stored runs", "mininterval": refresh_seconds()}
    for name, faults in tqdm(checked, total=len(wanted), **bar):
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
        gap = run.metrics.get("gap", {}).get("overall", {})
        rho = f"rho {gap['rho']:.2f} cos {gap['cos']:.2f}" if gap else ""
        seconds = sum(run.seconds.values())
        click.echo(f"{name:42} seed {run.seed} {seconds:6.0f} s  {run.commit:14} {rho}")


@click.command("ship")
@SCALE
def ship_command(scale: str) -> None:
    """Drop the weights of SCALE that the repository has no room for; metrics and pictures stay."""
    for name in results.names(scale):
        run = results.load(name)
        if "weights" in run.files and name not in SHIPPED:
            results.store(run, **{k: run.tensors(k) for k in run.files if k != "weights"})
            click.echo(f"{name}: weights dropped")


@click.command("convert")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
def convert_command(checkpoint: Path, out: Path) -> None:
    """Convert the authors' CHECKPOINT (.pth) to OUT.safetensors and OUT.json."""
    try:
        model, lam = load_official(checkpoint)
        save(out, model, lam)
    except CheckpointError as error:
        raise click.ClickException(str(error)) from error
    kept = "with TIRT lambda" if lam is not None else "without TIRT lambda"
    click.echo(f"wrote {out}.safetensors and {out}.json ({kept})")
