"""Commands that ``make``, ``reproduce``, ``verify``, ``list`` and ``convert`` runs."""

import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import click
import torch

from dashlib import checkpoints, results
from dashlib.cli.sample import PATH, SEED
from dashlib.recipes import DIGITS, PARTS
from dashlib.runs import pool
from dashlib.runs.making import make, run_name
from dashlib.runs.pool import Bars
from dashlib.runs.verification import expected, verify_all
from dashlib.scale.official import load_official

ONLY = click.option("--only", default="", help="Only runs whose name contains this text.")
PROCESSES = click.option("--processes", default=2, type=click.IntRange(1, 64), help="At a time.")
DEVICES = click.Choice(["cpu", "cuda"])
WHICH, PART = click.Choice(["all", *PARTS]), "The headline table, its other rows, studies, rivals."


@click.command("make")
@click.argument("name")
@click.option("--seed", type=SEED, default=0, help="Training seed, for the name of a row.")
@click.option("--device", type=DEVICES, default="cpu", help="Device of training; the CPU scores.")
def make_command(name: str, seed: int, device: str) -> None:
    """Make one stored run from scratch: NAME is a row (digits/fitnets) or a run (...-transfer-s1).

    A row is trained under TIRT Transfer, or as its name says (digits/dash-uniform).
    """
    torch.set_num_threads(1)
    with closing(Bars()) as bars:
        (run,) = make([run_name(name, seed)], bars, device)
    click.echo(f"stored {run.folder} ({sum(run.seconds.values()):.0f} s)")


def _matching(names: Iterable[str], only: str) -> list[str]:
    if found := [name for name in names if only in name]:
        return found
    raise click.ClickException(f"no run's name contains {only!r}: see `dashlib list`")


@click.command("reproduce")
@click.argument("scale", type=click.Choice(["digits"]))
@click.option("--part", type=WHICH, default="all", help=PART)
@PROCESSES
@ONLY
def reproduce_command(scale: str, part: str, processes: int, only: str) -> None:
    """Retrain the stored runs of SCALE, rewrite results/ and note the time taken there.

    Part by part, each noted by itself: core is the headline table (two teachers, five rows), rows
    are the table's other rows, studies those of weightings, fair the rivals at equal cost.
    """
    parts = {name: [*runs] for name, runs in PARTS.items() if part in ("all", name)}
    if "core" in parts:
        parts["core"].insert(0, DIGITS.classifier)
    _matching((run for runs in parts.values() for run in runs), only)
    for name, runs in parts.items():
        names, began, cpu, minutes = [r for r in runs if only in r], time.perf_counter(), 0.0, 0.0
        made = pool.reproduce(names, workers=processes, progress=Bars)
        for done, run in enumerate(made, start=1):
            cpu, minutes = cpu + run.cpu_seconds / 60, (time.perf_counter() - began) / 60
            click.echo(f"[{name} {done}/{len(names)}] {minutes:5.1f} min  {run.name}")
        if names:
            noted = {"scale": scale, "part": name, "only": only, "runs": len(names)}
            noted |= {"processes": processes, "minutes": round(minutes, 1)}
            pool.note_sweep(noted | {"cpu_minutes": round(cpu, 1)})
            click.echo(f"{len(names)} runs of {scale} ({name}) in {minutes:.1f} minutes")


@click.command("verify")
@click.option("--thorough", is_flag=True, help="Compute the gap metrics again, too (minutes).")
@ONLY
@PROCESSES
def verify_command(thorough: bool, only: str, processes: int) -> None:
    """Check every stored run against its weights; fails if one is missing, damaged or differs."""
    torch.set_num_threads(1)
    wanted, faults = _matching(expected(), only), list[str]()
    checked = verify_all(wanted, thorough=thorough, workers=processes)
    with closing(Bars()) as bars:
        for done, (name, found) in enumerate(checked, start=1):
            bars("verifying stored runs", done, len(wanted))
            faults += [f"{name}: {fault}" for fault in found]
    if faults:
        raise click.ClickException("\n".join(["stored runs do not verify", *faults]))
    click.echo(f"{len(wanted)} stored runs verify against their weights")


@click.command("list")
def list_command() -> None:
    """List the stored runs with seed, seconds, commit and headline metrics."""
    faults = list[str]()
    for name in results.names():
        try:
            run = results.load(name)
        except checkpoints.CheckpointError as error:
            faults.append(str(error))  # and go on with the healthy ones
            continue
        gap = run.metrics.get("gap", {}).get("overall")
        rho = f"rho {gap['rho']:.2f} cos {gap['cos']:.2f}" if gap else ""
        seconds = sum(run.seconds.values())
        click.echo(f"{run.name:42} seed {run.seed} {seconds:6.0f} s  {run.commit:14} {rho}")
    if faults:
        raise click.ClickException("\n".join(faults))


@click.command("convert")
@click.argument("checkpoint", type=PATH)
@click.argument("out", type=PATH)
def convert_command(checkpoint: Path, out: Path) -> None:
    """Convert the authors' CHECKPOINT (.pth) to OUT.safetensors and OUT.json."""
    out = out.with_suffix("") if out.suffix in (".safetensors", ".json") else out
    model, lam = load_official(checkpoint)
    checkpoints.save_model(out, model, lam)
    kept = "with TIRT lambda" if lam is not None else "without TIRT lambda"
    click.echo(f"wrote {out}.safetensors and {out}.json ({kept})")
