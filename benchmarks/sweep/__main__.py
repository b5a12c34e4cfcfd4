"""``python -m benchmarks.sweep cifar10``: make the runs of a scale on one GPU."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import torch

from benchmarks.sweep import plan, stages, stored, students
from dashlib.cli.sample import plain_errors
from dashlib.scale.distributed import check_arithmetic


def _folder(name: str, default: str, what: str) -> Callable[[Callable[..., None]], Any]:
    kind = click.Path(path_type=Path)
    return click.option(name, type=kind, default=default, show_default=True, help=what)


@click.command(name="sweep")
@click.argument("scale", type=click.Choice(["cifar10"]))
@_folder("--work", "sweep", "Folder of everything that is made.")
@_folder("--data", "data", "Folder of the images.")
@_folder("--weights", "weights", "Folder of the teacher's weights, and of students to go on.")
@click.option("--minutes", default=13.0, show_default=True, help="When to stop.")
@click.option(
    "--rows",
    default=",".join(plan.DEFAULT),
    show_default=True,
    help="Students: ROW-WEIGHTING-sSEED, with commas between.",
)
@click.option(
    "--teach",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0, plan.Plan.train, max_open=True),
    help="Part of the minutes in which the teacher trains first, on from --weights if it is there.",
)
@click.option("--rounds", default=2696, show_default=True, help="Most rounds of a seed's students.")
@click.option("--given", default="", help="Students to score as they lie in --weights, as --rows.")
@click.option(
    "--device",
    default="cuda" if torch.cuda.is_available() else "cpu",
    show_default=True,
    help="That trains and samples.",
)
@click.option("--dry", is_flag=True, help="Narrow networks, few images, on the CPU.")
@click.option("--collect", is_flag=True, help="Only store what a sweep left in --work as runs.")
def sweep_runs(
    scale: str, work: Path, data: Path, weights: Path, minutes: float, rows: str, teach: float,
    rounds: int, given: str, device: str, dry: bool, collect: bool,
) -> None:  # fmt: skip
    """Train and score students of SCALE side by side; waits for files that are on their way.

    With --teach the teacher trains first, while they compile.
    """
    if collect:
        with plain_errors():
            made = replace(plan.read(work)[0], work=work, weights=weights, device="cpu")
            click.echo("\n".join(f"stored {name}" for name in stored.collect(made)))
        return
    lists = [tuple(filter(None, names.split(","))) for names in (rows, given)]
    how: Any = {"minutes": minutes, "device": device, "rounds": rounds, "teach": teach}
    wanted = plan.Plan(work, data, weights, *lists, **how)
    if dry:
        small = {"rounds": 3, "pairs": 20, "chunk": 4, "steps": 2, "pictures": 4}
        wanted = replace(wanted, dry=True, device="cpu", **small)
    if teach and wanted.given:
        raise click.UsageError("--given students learned from the teacher as it is: no --teach")
    with plain_errors():
        for row in (*wanted.rows, *wanted.given):
            wanted.recipe(row)  # is one that there is
        for row in wanted.rows:
            students.start_of(wanted, row)  # lies there, if it has to
        check_arithmetic(wanted.device, "fp32")
    click.echo(f"{wanted.minutes:g} minutes; what each process does is in {work}/*.log")
    codes = stages.run(wanted)
    for name, code in codes.items():
        log = work / f"{stages.log_name(name)}"
        ended = f"failed, {log} says why" if code > 0 else f"stopped by signal {-code}"
        click.echo(f"{name}: {ended if code else 'done'}")
    if any(codes.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    sweep_runs()
