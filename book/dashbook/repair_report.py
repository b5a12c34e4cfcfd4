"""The stored report of repairs: every digits student under repaired and other guidance schedules.

``python -m dashbook repair`` makes ``results/repair/digits.json``.  The coefficients of a repair
(:mod:`dashbook.repair`) are fitted on noisy *held-out* images, never on samples; samples are scored
against the *training* images, as everywhere.  An entry holds the digests of all weights that it
depends on and is measured again only when one of them, or the settings, have changed.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from dashbook.repair import Fit, Repaired, fit
from dashlib import datasets, results
from dashlib.checkpoints import write_atomically
from dashlib.guidance import Branches, GuidanceSchedule, Interval
from dashlib.metrics import NoisyPairs, noisy_pairs, predict
from dashlib.progress import Progress, silent
from dashlib.recipes import DIGITS, HEADLINE, ROWS, SEEDS, TABLE
from dashlib.runs.experiments import GUIDANCE, SAMPLES, Clock, generate, score
from dashlib.runs.workers import start_worker
from dashlib.schedule import Schedule

Entry = dict[str, Any]

COMMAND = "python -m dashbook repair"
BINS, PAIRS, FIT_SEED = 20, 10_000, 0
SCALES = ("1.5", "4", "TAG")  # guidance that is repaired
INTERVALS = {
    f"w = {w}, {low} to {high}": Interval(w, low, high)
    for low, high in ((0, 500), (200, 800))
    for w in (2, 4)
}
KINDS = {  # of repair: what is fitted, over all timesteps at once or over each of BINS ranges
    "a": "a*",
    "a_t": "a*(t)",
    "ac": "a*, c*",
    "ac_t": "a*(t), c*(t)",
}


def config() -> Entry:
    """What every entry of the report was made with; a change makes all of them stale."""
    return {
        "bins": BINS,
        "pairs": PAIRS,
        "fit_seed": FIT_SEED,
        "fitted_on": "held-out images of the digits split",
        "scored_against": "training images of the digits split",
        "samples": SAMPLES,
        "steps": 50,
        "repaired": {label: repr(GUIDANCE[label]) for label in SCALES},
        "intervals": {label: repr(w) for label, w in INTERVALS.items()},
    }


def path() -> Path:
    """Where the report lies."""
    return results.root() / "repair" / "digits.json"


def students() -> list[str]:
    """The students to repair: all seeds of the headline rows, one of every other stored row.

    A network that takes w as an input has no gap to repair and is left out.
    """
    stored = set(results.names(DIGITS.name))
    rows = [row for row in TABLE if not ROWS[row].unet.get("w_conditioned")]
    others = [f"{DIGITS.name}/{row}-transfer-s{SEEDS[0]}" for row in rows]
    named = [f"{DIGITS.name}/{row}-transfer-s{seed}" for seed in SEEDS for row in HEADLINE]
    return [*named, *(name for name in others if name in stored)]


def made_with(name: str) -> dict[str, str]:
    """SHA-256 of the weights that an entry depends on: student, teacher, classifier."""
    run = results.load(name)
    parts = {"student": run, "teacher": results.load(run.config["teacher"])}
    parts["classifier"] = results.load(DIGITS.classifier)
    return {part: of.files["weights"]["sha256"] for part, of in parts.items()}


@lru_cache(maxsize=1)
def _answers(teacher: str, digest: str) -> tuple[NoisyPairs, Branches]:
    """Noisy held-out images and what the teacher whose weights have this digest says of them."""
    noisy = noisy_pairs(datasets.load("digits").test, Schedule(), pairs=PAIRS, seed=FIT_SEED)
    return noisy, predict(results.load(teacher).model(), noisy)


def schedules(one: Fit, binned: Fit) -> dict[str, dict[str, GuidanceSchedule]]:
    """Every guidance schedule to score, by kind and label.

    ``one`` is a fit over all timesteps, ``binned`` one over each range of them.
    """
    fits = {"a": one.gap, "a_t": binned.gap, "ac": one, "ac_t": binned}
    repaired: dict[str, dict[str, GuidanceSchedule]] = {
        kind: {label: Repaired(GUIDANCE[label], fitted) for label in SCALES}
        for kind, fitted in fits.items()
    }
    return {**repaired, "interval": dict(INTERVALS)}


def measure(name: str, progress: Progress = silent) -> Entry:
    """Fit the repairs of one student and score its samples under every schedule."""
    run, clock = results.load(name), Clock()
    model, digests = run.model(), made_with(name)
    noisy, teacher = _answers(run.config["teacher"], digests["teacher"])
    answers = predict(model, noisy)
    fits = [fit(answers, teacher, noisy.t, bins=bins) for bins in (1, BINS)]
    wanted, done = schedules(*fits), 0
    scores: dict[str, dict[str, Any]] = {kind: {} for kind in wanted}
    for kind, labelled in wanted.items():
        for label, schedule in labelled.items():
            scores[kind][label] = score(generate(model, schedule, SAMPLES))
            done += 1
            progress(name, done, sum(map(len, wanted.values())))
    clock.lap("repair")
    return {
        "seed": run.seed,
        "made_with": digests,
        "fit": dict(zip(("one", "binned"), map(asdict, fits), strict=True)),
        "guidance": scores,
        "seconds": clock.seconds["repair"],
        "cpu_seconds": clock.cpu(),
        "commit": results.commit(),
        "hardware": results.hardware(),
        "versions": results.versions(),
    }


def _measured_with(name: str, progress: Callable[[], Progress]) -> tuple[str, Entry]:
    return name, measure(name, progress())


def measured(
    names: Sequence[str], *, processes: int = 1, progress: Callable[[], Progress] = lambda: silent
) -> Iterator[tuple[str, Entry]]:
    """Yield each student's name and entry; in this process, or on several of one thread each.

    ``progress()`` is called in each process to make its reporter (so it must be picklable).
    """
    if processes == 1:
        yield from (_measured_with(name, progress) for name in names)
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=start_worker) as pool:
        for future in as_completed([pool.submit(_measured_with, n, progress) for n in names]):
            yield future.result()


def read() -> dict[str, Entry]:
    """The entries that are still right: same settings, same weights.  None without a report.

    ``ValueError`` for a file that is not a report.
    """
    if not path().exists():
        return {}
    try:
        report = json.loads(path().read_text())
        entries, settings = report["entries"], report["config"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path()} is not a report of repairs ({error!r}): delete it and run `{COMMAND}`"
        ) from error
    if settings != config():
        return {}
    known = {name: entry for name, entry in entries.items() if name in students()}
    return {name: entry for name, entry in known.items() if entry["made_with"] == made_with(name)}


def write(entries: dict[str, Entry]) -> None:
    """Write the report in one step, students in their order."""
    ordered = {name: entries[name] for name in students() if name in entries}
    text = json.dumps({"config": config(), "entries": ordered}, indent=1) + "\n"
    write_atomically(path(), text.encode())


def update(
    *, processes: int = 1, progress: Callable[[], Progress] = lambda: silent
) -> Iterator[tuple[str, int, int]]:
    """Measure what is missing, storing each student as it is done: yields (name, done, total)."""
    entries = read()
    missing = [name for name in students() if name not in entries]
    write(entries)
    for done, (name, entry) in enumerate(
        measured(missing, processes=processes, progress=progress), start=1
    ):
        entries[name] = entry
        write(entries)
        yield name, done, len(missing)


def stored() -> dict[str, Entry]:
    """The entries of all students; ``MissingRun`` if one is missing or made with other weights."""
    entries = read()
    missing = [name for name in students() if name not in entries]
    if missing:
        raise results.MissingRun(
            f"no repairs of {', '.join(missing)} with their present weights and settings in "
            f"{path()}: make them with `{COMMAND}`"
        )
    return entries


def runs(entries: Iterable[str]) -> dict[str, list[results.Run]]:
    """The stored runs of a report's entries by row of the table, both in the report's order."""
    found: dict[str, list[results.Run]] = {}
    for name in entries:
        row = name.removeprefix(f"{DIGITS.name}/").partition("-transfer-s")[0]
        found.setdefault(row, []).append(results.load(name))
    return found


def coefficients(
    entries: Mapping[str, Entry], seeds: Sequence[results.Run], which: str
) -> np.ndarray:
    """Fitted a and c of these runs, ``(seeds, 2, ranges)``; which fit: ``one`` or ``binned``."""
    return np.array([[entries[run.name]["fit"][which][k] for k in "ac"] for run in seeds])


def scored(run: results.Run, entry: Entry) -> dict[tuple[str, str], Any]:
    """Scores of a student under every setting, by kind and label; plain guidance is ``none``."""
    labelled = {"none": run.metrics["guidance"], **entry["guidance"]}
    return {(kind, label): score for kind, of in labelled.items() for label, score in of.items()}
