r"""Measure what the ledger claims: functions of rows of stored runs, over training seeds.

An *estimate* has a value for every training seed that all of its rows have, made from that seed's
runs, which saw the same batches and started from the same weights; its interval is the t-interval
of :mod:`.comparison`.  Two rows are compared by the logarithm of a ratio, with a verdict corrected
for all rows compared.  Fewer seeds than three decide nothing.  A teacher, of which there is one,
counts as given beside every seed.

A row is one of :data:`dashlib.recipes.ROWS`, of digits under TIRT Transfer or with its weighting
(``dash-uniform``); ``dash-uniform-from_uniform`` learned from the teacher with uniform weights.
What is not stored raises :class:`NotMeasured`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf, isfinite, log, nan

import numpy as np

from dashbook import cost
from dashbook.comparison import LEVEL, Interval, logged, t_interval, verdicts
from dashbook.tables import Measure, frechet
from dashlib import results
from dashlib.results import Run
from dashlib.scale.presets import preset
from dashlib.unet import UNetConfig

ENOUGH = 3  # seeds that decide
EQUAL = log(1.05)  # closer than 5 % is equal
TEACHERS = {"digits": "digits/teacher-tirt", "cifar10": "cifar10/teacher-uniform"}


class NotMeasured(LookupError):
    """A measurement that nothing stored allows; the message says what is wanting."""


@dataclass(frozen=True)
class Part:
    """One quantity of one row: a value for each training seed."""

    row: str
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return float(np.mean(self.values))

    @property
    def spread(self) -> float:
        """Sample standard deviation over the seeds; nan for one."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else nan


@dataclass(frozen=True)
class Estimate:
    """A measured number: a value a training seed, or of what was counted its only one."""

    values: tuple[float, ...]  # nan: not defined for a seed, such as a share of no gain
    parts: tuple[Part, ...] = ()  # none: it was counted
    word: str = ""  # the verdict of a comparison, whose values are logarithms of ratios

    @property
    def value(self) -> float:
        """The mean over the seeds."""
        return float(np.mean(self.values))

    def interval(self, level: float = LEVEL) -> Interval:
        """Of the mean: a point if it was counted, infinite if not every seed has a value."""
        if not self.parts:
            return Interval(self.value, 0.0)
        if not all(map(isfinite, self.values)):
            return Interval(nan, inf)
        return t_interval(self.values, level)

    def lies(self, *, low: float = -inf, high: float = inf) -> bool | None:
        """Tell if the interval lies between two bounds.

        None if that cannot be told: it reaches over one, is not defined, or has too few seeds.
        """
        found = self.interval()
        if not isfinite(found.half) or (self.parts and len(self.values) < ENOUGH):
            return None
        if low < found.low and found.high < high:
            return True
        return False if found.high <= low or found.low >= high else None


def _stored(row: str, scale: str, value: Measure) -> dict[int, Run]:
    """The runs of a row by seed, of which a value is stored."""
    name, _, weighting = row.partition("-")
    try:
        found = results.select(name, weighting or "transfer", scale)
    except results.MissingRun as missing:
        raise NotMeasured(f"no run of {row} is stored for {scale}") from missing
    return {run.seed: run for run in found if value(run) is not None}


def _paired(scale: str, value: Measure, *rows: str) -> dict[str, list[Run]]:
    """The runs of rows, of the seeds that all have; a teacher's one beside every seed."""
    of = {row: _stored(row, scale, value) for row in rows if not row.startswith("teacher")}
    seeds = sorted(set.intersection(*map(set, of.values())))
    if not seeds:
        raise NotMeasured(f"no seed of {', '.join(of)} is stored for {scale}")
    found = {row: [runs[seed] for seed in seeds] for row, runs in of.items()}
    for row in set(rows) - set(found):
        name = TEACHERS[scale] if row == "teacher" else f"{scale}/{row}"
        try:
            found[row] = [replace(results.load(name), seed=seed) for seed in seeds]
        except results.MissingRun as missing:
            raise NotMeasured(f"no run of {row} is stored for {scale}") from missing
    return {row: found[row] for row in rows}


def _part(row: str, runs: Sequence[Run], value: Measure) -> Part:
    values = tuple(value(run) for run in runs)
    return Part(row, values[:1] if row.startswith("teacher") else values)


def _of_each_seed(
    function: Callable[..., float], runs: Mapping[str, Sequence[Run]], value: Measure
) -> Estimate:
    """A function of the rows' values, seed by seed."""
    parts = tuple(_part(row, of, value) for row, of in runs.items())
    seeds = zip(*([value(run) for run in of] for of in runs.values()), strict=True)
    return Estimate(tuple(function(*of) for of in seeds), parts)


def level(*, scale: str, row: str, value: Measure) -> Estimate:
    """A value of a row."""
    return _of_each_seed(float, _paired(scale, value, row), value)


def beside(
    *, scale: str, row: str, over: str, value: Measure, rivals: Sequence[str] = (),
    level: float = LEVEL,
) -> Estimate:  # fmt: skip
    """Logarithm of the ratio of a row's value to another's, of which less is better.

    The verdict is corrected for the comparisons with ``rivals`` and undecided below ``ENOUGH``
    seeds; closer than 5 % is equal.
    """
    runs = _paired(scale, value, *dict.fromkeys((row, over, *rivals)))
    parts = tuple(_part(name, runs[name], value) for name in (row, over))
    others = {name: of for name, of in runs.items() if name != over}
    found = verdicts(others, runs[over], logged(value), margin=EQUAL, level=level)[row]
    ratios = tuple(log(value(a) / value(b)) for a, b in zip(runs[row], runs[over], strict=True))
    return Estimate(ratios, parts, "undecided" if len(ratios) < ENOUGH else found.word)


def nearest(*, scale: str, row: str, rivals: Sequence[str], value: Measure) -> Estimate:
    """The rival whose value is the lowest beside a row's; the verdict is of all of them.

    ``worse`` if every rival is, ``better`` or ``equal`` if one is, else undecided.
    """
    against = partial(beside, scale=scale, over=row, value=value, rivals=rivals)
    found = [against(row=rival) for rival in rivals]
    words = [one.word for one in found]
    others = next((word for word in ("better", "equal") if word in words), "undecided")
    word = "worse" if set(words) == {"worse"} else others
    lowest = min(found, key=lambda one: one.value)
    return Estimate(lowest.values, lowest.parts, word)


def recovered(*, scale: str, row: str, w: str = "TAG") -> Estimate:
    """Share of the distance from scratch to the teacher, in Frechet distance, that a row covers."""
    value = frechet(w)
    runs = _paired(scale, value, "scratch", row, "teacher")
    return _of_each_seed(lambda s, d, t: (s - d) / (s - t) if s > t else nan, runs, value)


def unconditional_share(*, scale: str, row: str, value: Measure) -> Estimate:
    """Share of L_un in what DASH gains over imitation alone (cond_only, + anchor, + L_un: row).

    In a metric of which lower is better; nan for a seed without a total gain.
    """
    runs = _paired(scale, value, "cond_only", "dash_no_un", row)
    return _of_each_seed(lambda a, b, c: (b - c) / (a - c) if a > c else nan, runs, value)


def counted(*, role: str, count: Callable[[UNetConfig], float]) -> Estimate:
    """A count in the paper's CIFAR-10 ``teacher`` or ``student``, or the ``ratio`` of both."""
    pair = preset("cifar10/paper_v2")
    found = {"teacher": count(pair.teacher.unet), "student": count(pair.student.unet)}
    return Estimate(((found | {"ratio": found["teacher"] / found["student"]})[role],))


def gflops(cfg: UNetConfig) -> float:
    """GFLOPs of a guided sample of 50 steps, 2 forward passes each."""
    return 100 * cost.forward_flops(cfg) / 1e9


def bench_ratio(*, key: str, hardware: str) -> Estimate:
    """Teacher / student of a cost that ``benchmarks.bench`` stored, on the hardware of that name.

    ``NotMeasured`` tells what was measured on other hardware.
    """
    elsewhere = []
    for path in sorted((results.root() / "bench").glob("efficiency-cifar10-*.json")):
        report = json.loads(path.read_text())
        for ratio in (ratio for ratio in report["ratios"] if key in ratio):
            if hardware in report["hardware"]:
                return Estimate((ratio[key],))
            what = ratio["of"].partition(", ")[2]
            elsewhere.append(f"{ratio[key]:.2f} on {report['hardware']} ({what})")
    raise NotMeasured(f"no {hardware} here; " + ("; ".join(elsewhere) or "nor any other GPU"))
