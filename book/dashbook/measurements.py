r"""What the ledger of claims measures: functions of rows of stored runs, with standard errors.

A *part* is one quantity of one row: its mean m over n training seeds, with the standard error

.. math:: e = s / \sqrt n \quad (n \ge 3), \qquad
          e = m \cdot \max_r \frac{s_r}{m_r} \Big/ \sqrt n \quad (n < 3),

where s is the sample standard deviation; fewer than three seeds borrow the largest relative one of
the rows r of their scale that have three (or of another scale's).  An estimate f of several parts
has :math:`e_f^2 = \sum_i (e_i\, \partial f / \partial m_i)^2`, as if seeds were not paired.

A row is one of :data:`dashlib.recipes.ROWS`, under TIRT Transfer or with its weighting
(``dash-uniform``), or the TIRT ``teacher``.  What is not stored raises :class:`NotMeasured`.

At CIFAR-10's scale rows are compared by paired differences, and below three seeds undecided
(:func:`beside`); its one ``teacher`` counts as given, the same beside every seed.
"""

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from math import inf, isnan, log, nan, sqrt
from operator import sub

import numpy as np

from dashbook import cost
from dashbook.comparison import logged, verdicts
from dashbook.tables import Measure, metric
from dashlib import results
from dashlib.recipes import SCALES, SEEDS
from dashlib.results import Run
from dashlib.scale.presets import preset
from dashlib.unet import UNetConfig

ENOUGH = 3  # seeds that show their own spread
ERRORS = 2.0  # standard errors on either side of a measured number
Path = tuple[str, ...]  # of keys in a run's metrics
RHO: Path = ("gap", "overall", "rho")
GAP_MSE: Path = ("gap", "overall", "gap_mse")


class NotMeasured(LookupError):
    """A measurement that nothing stored allows; the message says what is wanting."""


@dataclass(frozen=True)
class Part:
    """One quantity of one row: a value for each training seed."""

    row: str
    values: tuple[float, ...]
    seeds: tuple[int, ...]
    borrowed: float = nan  # relative standard deviation, used below ENOUGH seeds

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return float(np.mean(self.values))

    @property
    def own(self) -> float:
        """Sample standard deviation over the seeds; nan below ENOUGH of them."""
        return float(np.std(self.values, ddof=1)) if len(self.values) >= ENOUGH else nan

    @property
    def error(self) -> float:
        """Standard error of the mean; nan if the spread is neither shown nor borrowed."""
        spread = abs(self.mean) * self.borrowed if isnan(self.own) else self.own
        return spread / sqrt(len(self.values))


@dataclass(frozen=True)
class Estimate:
    """A measured number.  ``error``: its standard error, 0 if it was counted, inf if unknown."""

    value: float  # nan: not defined for these parts, such as a share of no gain
    error: float = 0.0
    parts: tuple[Part, ...] = ()
    word: str = ""  # the verdict of a comparison of paired seeds

    def lies(self, errors: float = ERRORS, *, low: float = -inf, high: float = inf) -> bool | None:
        """Whether the number, give or take so many standard errors, lies between two bounds.

        None if that cannot be told: the interval reaches over a bound, or the number is undefined.
        """
        if isnan(self.value):
            return None
        least, most = (self.value + sign * errors * self.error for sign in (-1, 1))
        if low < least and most < high:
            return True
        return False if most <= low or least >= high else None


def _runs(row: str, scale: str) -> list[Run]:
    name, _, weighting = row.partition("-")
    try:
        if row == "teacher" and scale == "cifar10":
            return [replace(results.load("cifar10/teacher-uniform"), seed=seed) for seed in SEEDS]
        if row == "teacher":
            return [results.load(f"{scale}/teacher-tirt")]
        return results.select(name, weighting or "transfer", scale)
    except results.MissingRun as missing:
        raise NotMeasured(f"no run of {row} is stored for {scale}") from missing


def _values(runs: Sequence[Run], path: Path) -> dict[int, float]:
    """The metric by seed, where it is stored."""
    found = {run.seed: metric(*path)(run) for run in runs}
    return {seed: value for seed, value in found.items() if value is not None}


def _relative_spreads(path: Path, scale: str) -> list[float]:
    """Standard deviation over mean of every row of a scale that has enough seeds."""
    rows: dict[str, list[Run]] = {}
    for name in results.names(scale):
        row, _, seed = name.partition("-transfer-s")
        if seed.isdigit():
            rows.setdefault(row, []).append(results.load(name))
    every = [list(_values(runs, path).values()) for runs in rows.values()]
    enough = [values for values in every if len(values) >= ENOUGH]
    return [float(np.std(values, ddof=1) / abs(np.mean(values))) for values in enough]


def borrowed(path: Path, scale: str) -> float:
    """Largest relative spread of rows with three seeds: this scale's, else any's, else nan."""
    for scales in ([scale], SCALES):
        if found := [spread for one in scales for spread in _relative_spreads(path, one)]:
            return max(found)
    return nan


def part(row: str, path: Path, scale: str, seeds: Collection[int] | None = None) -> Part:
    """One quantity of a row, of all seeds or of these; ``NotMeasured`` if no stored run has it."""
    values = _values(_runs(row, scale), path)
    values = {seed: v for seed, v in values.items() if seeds is None or seed in seeds}
    if not values:
        what = f"FD at w = {path[1]}" if path[0] == "guidance" else path[-1]
        raise NotMeasured(f"{what} of {row} is not stored for {scale}")
    spread = nan if len(values) >= ENOUGH else borrowed(path, scale)
    return Part(row, tuple(values.values()), tuple(values), spread)


def combine(function: Callable[..., float], *parts: Part) -> Estimate:
    """A function of the parts' means, with its standard error (equation above)."""
    means = [part.mean for part in parts]
    value, squares = function(*means), 0.0
    for i, one in enumerate(parts):
        step = 1e-5 * (abs(one.mean) or 1.0)
        up, down = ([*means[:i], one.mean + d, *means[i + 1 :]] for d in (step, -step))
        squares += ((function(*up) - function(*down)) / (2 * step) * one.error) ** 2
    return Estimate(value, inf if isnan(squares) else sqrt(squares), parts)


def fd(w: str) -> Path:
    """The Frechet distance at guidance scale w."""
    return ("guidance", w, "frechet")


def gap_ratio(*, scale: str, row: str) -> Estimate:
    """Length of a row's gap, rho = E|gap_S| / E|gap_T|."""
    return combine(lambda rho: rho, part(row, RHO, scale))


def level(*, scale: str, row: str, value: Measure) -> Estimate:
    """A value of a row; no spread is borrowed, so that fewer than ``ENOUGH`` seeds don't decide."""
    runs = _runs(row, scale)
    found = Part(row, tuple(map(value, runs)), tuple(run.seed for run in runs))
    return combine(lambda mean: mean, found)


def excess(*, scale: str, row: str, over: str, path: Path) -> Estimate:
    """By how much a row's metric is above another's."""
    return combine(sub, part(row, path, scale), part(over, path, scale))


def beside(
    *, scale: str, row: str, over: str, value: Measure, rivals: Sequence[str] = ()
) -> Estimate:
    """Logarithm of the ratio of a row's value to another's, paired over the seeds of both.

    Two errors are half of the t-interval, infinite for one seed.  The verdict is corrected for the
    comparisons with ``rivals`` and undecided below ``ENOUGH`` seeds; closer than 5 % is equal.
    """
    runs = {name: {run.seed: run for run in _runs(name, scale)} for name in {row, over, *rivals}}
    seeds = sorted(set.intersection(*map(set, runs.values())))
    if not seeds:
        raise NotMeasured(f"no seed of {row} and {over} is stored for {scale}")
    of = {name: [found[seed] for seed in seeds] for name, found in runs.items()}
    own = {row: seeds, over: seeds[:1] if over == "teacher" else seeds}
    parts = tuple(Part(k, tuple(map(value, of[k]))[: len(v)], tuple(v)) for k, v in own.items())
    base = of.pop(over)
    found = verdicts(of, base, logged(value), margin=log(1.05))[row]
    few, half = len(seeds) < ENOUGH, found.interval.half
    error, word = (inf, "undecided") if few else (half / ERRORS, found.word)
    return Estimate(found.interval.mean, error, parts, word)


def frechet_lead(*, scale: str, row: str, rivals: Sequence[str], w: str = "TAG") -> Estimate:
    """By how much the Frechet distance of the *nearest* rival is above a row's."""
    each = [excess(scale=scale, row=rival, over=row, path=fd(w)) for rival in rivals]
    return min(each, key=lambda estimate: estimate.value)


def recovered(*, scale: str, row: str, w: str = "TAG") -> Estimate:
    """Share of the distance from scratch to the teacher, in Frechet distance, that a row covers."""
    parts = (part(name, fd(w), scale) for name in ("scratch", row, "teacher"))
    return combine(lambda s, d, t: (s - d) / (s - t), *parts)


def unconditional_share(*, scale: str, row: str, path: Path) -> Estimate:
    """Share of L_un in what DASH gains over imitation alone (cond_only, + anchor, + L_un: row).

    In a metric of which lower is better, over common seeds; nan where there is no total gain.
    """
    steps = ("cond_only", "dash_no_un", row)
    common = set.intersection(*(set(part(step, path, scale).seeds) for step in steps))
    parts = (part(step, path, scale, common) for step in steps)
    return combine(lambda a, b, c: (b - c) / (a - c) if a > c else nan, *parts)


def counted(*, role: str, count: Callable[[UNetConfig], float]) -> Estimate:
    """A count in the paper's CIFAR-10 ``teacher`` or ``student``, or the ``ratio`` of both."""
    pair = preset("cifar10/paper_v2")
    found = {"teacher": count(pair.teacher.unet), "student": count(pair.student.unet)}
    return Estimate((found | {"ratio": found["teacher"] / found["student"]})[role])


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
                return Estimate(ratio[key])
            what = ratio["of"].partition(", ")[2]
            elsewhere.append(f"{ratio[key]:.2f} on {report['hardware']} ({what})")
    raise NotMeasured(f"no {hardware} here; " + ("; ".join(elsewhere) or "nor any other GPU"))
