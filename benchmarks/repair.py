"""Samples under repaired guidance, for the chapter *Gap atlas and repair*.

Fits the repairs of every stored digits student that :mod:`dashbook.atlas` asks for, and scores its
samples under each; what is stored with other weights or settings is made anew.
"""

import time
from collections.abc import Iterator, Sequence

import click
import torch

from dashbook import atlas
from dashbook.atlas import BINS, FIT_SEED, INTERVALS, KINDS, SCALES, Entry, Repaired, fit
from dashlib import datasets, results
from dashlib.checkpoints import CheckpointError
from dashlib.guidance import GuidanceSchedule
from dashlib.metrics import noisy_pairs, predict
from dashlib.recipes import GUIDANCE
from dashlib.runs import pool
from dashlib.runs.making import Clock
from dashlib.runs.scoring import samples_of, scores_of
from dashlib.schedule import Schedule


def measure(name: str) -> Entry:
    """Fit the repairs of one student and score its samples under every schedule."""
    run, digests, clock = results.load(name), atlas.made_with(name), Clock()
    noisy = noisy_pairs(
        datasets.load_dataset("digits").test, Schedule(), pairs=atlas.PAIRS, seed=FIT_SEED
    )
    model, teacher = run.model(), results.load(run.config["teacher"]).model()
    answers = predict(model, noisy), predict(teacher, noisy)
    one, binned = (fit(*answers, noisy.t, bins=bins) for bins in (1, BINS))
    fits = dict(zip(KINDS, ({"a": one["a"]}, {"a": binned["a"]}, one, binned), strict=True))
    schedules: dict[str, dict[str, GuidanceSchedule]] = {
        kind: {w: Repaired(GUIDANCE[w], **ac) for w in SCALES} for kind, ac in fits.items()
    }
    schedules["interval"] = {**INTERVALS}
    scores = {
        kind: {
            label: scores_of(samples_of(model, w, atlas.SAMPLES)) for label, w in labelled.items()
        }
        for kind, labelled in schedules.items()
    }
    clock.lap("repair")
    return {
        "seed": run.seed,
        "made_with": digests,
        "fit": {"one": one, "binned": binned},
        "guidance": scores,
        "seconds": clock.seconds["repair"],
        "cpu_seconds": clock.cpu(),
        **results.provenance(),
    }


def measured(names: Sequence[str], processes: int) -> Iterator[Entry]:
    """Yield each student's entry, in order; from several processes of one thread each."""
    if processes == 1:
        yield from map(measure, names)
        return
    with pool.processes(processes) as workers:
        yield from workers.map(measure, names)


def update(processes: int = 1) -> Iterator[tuple[str, int, int]]:
    """Measure what is missing, storing each student as it is done: yields (name, done, total)."""
    entries = atlas.read()
    names = [name for name in atlas.students() if name not in entries]
    atlas.write(entries)
    for done, entry in enumerate(measured(names, processes)):
        entries[names[done]] = entry
        atlas.write(entries)
        yield names[done], done + 1, len(names)


@click.command()
@click.option("--processes", type=click.IntRange(1), default=1, help="At a time (default: 1).")
def main(processes: int) -> None:
    """Sample the stored digits students with rescaled gaps; writes results/repair/digits.json.

    About a minute a student on one core.  Stopped, it goes on where it was.
    """
    torch.set_num_threads(1)
    start = time.perf_counter()
    try:
        for name, done, total in update(processes):
            minutes = (time.perf_counter() - start) / 60
            click.echo(f"[{done}/{total}] {minutes:5.1f} min  {name}")
        entries = atlas.stored()
    except (ValueError, results.MissingRun, CheckpointError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{len(entries)} students in {atlas.path()}")


if __name__ == "__main__":
    main()
