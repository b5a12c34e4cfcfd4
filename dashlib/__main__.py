"""Command line: ``python -m dashlib --help``."""

import time
from pathlib import Path
from typing import Any

import click
import torch
from tqdm import tqdm

from dashlib import __version__, bench, checkpoints, experiments, results, verification, workers
from dashlib.campaign.cli import campaign, ship
from dashlib.claims_cli import claims
from dashlib.efficiency import PAIRS, PRECISIONS, Settings, best_device
from dashlib.evaluation_cli import evaluate
from dashlib.progress import Bars, refresh_seconds
from dashlib.repair_cli import repair
from dashlib.rows import run_name
from dashlib.sampling_cli import sample
from dashlib.shards import lone_process, name_place_for_torch
from dashlib.specs import PARTS
from dashlib.train_cli import distill, train


@click.group()
@click.version_option(__version__)
def main() -> None:
    """Train, verify, list and convert the models of the DASH book."""
    name_place_for_torch()
    if message := lone_process():
        click.echo(f"warning: {message}", err=True)


@main.command(name="make")
@click.argument("name")
@click.option("--seed", default=0, show_default=True, help="Training seed, for the name of a row.")
def make_run(name: str, seed: int) -> None:
    """Make one stored run from scratch: NAME is a row (digits/fitnets) or a run (...-transfer-s1).

    A row is trained under TIRT Transfer, or as its name says (digits/dash-uniform).
    """
    torch.set_num_threads(1)
    try:
        run = experiments.execute(run_name(name, seed), Bars())
    except (ValueError, FileNotFoundError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"stored {run.folder} ({sum(run.seconds.values()):.0f} s)")


@main.command()
@click.argument("scale", type=click.Choice(["digits"]))
@click.option(
    "--part",
    "wanted",
    type=click.Choice(["all", *PARTS]),
    default="all",
    show_default=True,
    help="The headline table, its other rows, or the studies.",
)
@click.option("--processes", default=2, show_default=True, help="Runs trained side by side.")
@click.option("--only", default="", help="Only runs whose name contains this text.")
def reproduce(scale: str, wanted: str, processes: int, only: str) -> None:
    """Retrain the stored runs of SCALE, rewrite results/ and note the time taken there.

    The parts come one after another, each noted by itself: core is the headline table (two
    teachers, five rows under two weightings; the fifth, cond-only + dropout, with one seed), rows
    are its other two seeds and the table's other rows, studies are those of the weightings, of the
    anchor's weight and of how the class table starts.
    """
    torch.set_num_threads(1)
    parts = PARTS if wanted == "all" else {wanted: PARTS[wanted]}
    chosen = {part: [n for n in specs if only in n] for part, specs in parts.items()}
    if "core" in chosen and only in experiments.CLASSIFIER:
        chosen["core"].insert(0, experiments.CLASSIFIER)
    if not any(chosen.values()):
        raise click.ClickException(f"no run's name contains {only!r}: see `dashlib list`")
    for part, names in chosen.items():
        if names:
            _reproduce(scale, part, names, processes, only)


def _reproduce(scale: str, part: str, names: list[str], processes: int, only: str) -> None:
    """Retrain one part and note what it took."""
    clock, cpu = time.perf_counter(), 0.0
    runs = workers.reproduce(names, processes=processes, progress=Bars)
    for done, run in enumerate(runs, start=1):
        cpu += run.cpu_seconds / 60
        spent = (time.perf_counter() - clock) / 60
        click.echo(f"[{part} {done}/{len(names)}] {spent:5.1f} min  {run.name}")
    minutes = round((time.perf_counter() - clock) / 60, 1)
    noted = {"scale": scale, "part": part, "only": only, "runs": len(names)}
    took = {"minutes": minutes, "cpu_minutes": round(cpu, 1)}
    results.note_campaign({**noted, "processes": processes, **took})
    click.echo(f"{len(names)} runs of {scale} ({part}) in {minutes} minutes")


@main.command()
@click.option("--thorough", is_flag=True, help="Compute the gap metrics again, too (minutes).")
@click.option("--only", default="", help="Only runs whose name contains this text.")
@click.option(
    "--processes", default=2, type=click.IntRange(1), show_default=True,
    help="Runs verified side by side.",
)  # fmt: skip
def verify(thorough: bool, only: str, processes: int) -> None:
    """Check every stored run against its weights; fails if one is missing, damaged or differs."""
    torch.set_num_threads(1)
    wanted = [name for name in verification.expected() if only in name]
    if not wanted:
        raise click.ClickException(f"no run's name contains {only!r}: see `dashlib list`")
    failed = False
    checked = verification.verify_all(wanted, thorough=thorough, processes=processes)
    bar = {"desc": "verifying stored runs", "mininterval": refresh_seconds()}
    for name, faults in tqdm(checked, total=len(wanted), **bar):
        for fault in faults:
            failed = True
            click.echo(f"{name}: {fault}", err=True)
    if failed:
        raise click.ClickException("stored runs do not verify")
    click.echo(f"{len(wanted)} stored runs verify against their weights")


@main.command(name="list")
def list_runs() -> None:
    """List the stored runs with seed, seconds, commit and headline metrics."""
    for name in results.names():
        run = results.load(name)
        gap = run.metrics.get("gap", {}).get("overall", {})
        rho = f"rho {gap['rho']:.2f} cos {gap['cos']:.2f}" if gap else ""
        seconds = sum(run.seconds.values())
        click.echo(f"{name:42} seed {run.seed} {seconds:6.0f} s  {run.commit:14} {rho}")


@main.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
def convert(checkpoint: Path, out: Path) -> None:
    """Convert the authors' CHECKPOINT (.pth) to OUT.safetensors and OUT.json."""
    try:
        official = checkpoints.convert(checkpoint, out)
    except checkpoints.CheckpointError as error:
        raise click.ClickException(str(error)) from error
    kept = "with TIRT lambda" if official.lam is not None else "without TIRT lambda"
    click.echo(f"wrote {out}.safetensors and {out}.json ({kept})")


@main.command(name="bench")
@click.option(
    "--pair",
    "pairs",
    multiple=True,
    default=["cifar10"],
    show_default=True,
    help=f"One of {', '.join(PAIRS)}, repeatable.",
)
@click.option(
    "--batch",
    "batches",
    multiple=True,
    default=[64],
    show_default=True,
    help="Images, repeatable.",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    default=["fp32"],
    show_default=True,
    help=f"One of {', '.join(PRECISIONS)}, repeatable.",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="auto: CUDA if there is one.",
)
@click.option("--compile/--no-compile", "compiled", default=None, help="Unset: for training, both.")
@click.option("--channels-last", is_flag=True, help="Store weights with the channels innermost.")
@click.option("--steps", default=50, show_default=True, help="DDIM steps of a sample.")
@click.option(
    "--repeats",
    default=5,
    show_default=True,
    help="Timed sampling runs, of which the median counts.",
)
@click.option("--throughput", is_flag=True, help="Measure training instead of sampling.")
@click.option("--train-steps", default=20, show_default=True, help="Timed training steps.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="JSON to write.")
def measure(
    pairs: tuple[str, ...],
    batches: tuple[int, ...],
    precisions: tuple[str, ...],
    device: str,
    compiled: bool | None,
    throughput: bool,
    out: Path | None,
    **options: Any,
) -> None:
    """Measure what teacher and student cost on this machine: FLOPs, latency, memory, training."""
    both = [False, True] if throughput else [False]
    try:
        base = Settings(device=best_device() if device == "auto" else device, **options)
        grid = bench.grid(base, batches, precisions, both if compiled is None else [compiled])
        bench.run(pairs, grid, throughput=throughput, out=out, say=click.echo)
    except ValueError as error:
        raise click.ClickException(str(error)) from error


for command in (campaign, ship, train, distill, sample, evaluate, repair, claims):
    main.add_command(command)


if __name__ == "__main__":
    main()
