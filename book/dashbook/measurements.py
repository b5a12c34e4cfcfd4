r"""What the ledger of claims measures, by name: each a function from words to an :class:`Estimate`.

A *part* is one quantity of one row: its mean m over n training seeds, with the standard error

.. math:: e = s / \sqrt n \quad (n \ge 3), \qquad
          e = m \cdot \max_r \frac{s_r}{m_r} \Big/ \sqrt n \quad (n < 3),

where s is the sample standard deviation.  Fewer than three seeds do not show their spread: they
borrow the largest relative one of the rows r of their scale that have three; if there is no such
row, of another scale's.  An estimate f of several parts has, to first order,

.. math:: e_f^2 = \sum_i \Bigl(\frac{\partial f}{\partial m_i} e_i\Bigr)^2 ,

for a difference of two rows the pooled standard error.  That students of one seed saw the same
batches is not used, which makes differences look less certain than they are.

A row is named as in :data:`dashlib.recipes.ROWS`, under TIRT Transfer, or with its weighting
(``dash-uniform``); ``teacher`` is the TIRT teacher.  What is not stored raises
:class:`NotMeasured`.
"""

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache
from math import inf, isnan, nan, sqrt
from operator import sub

import numpy as np
import torch

from dashbook.flops import forward_flops
from dashlib import results
from dashlib.recipes import SCALES
from dashlib.results import Run
from dashlib.scale.presets import preset
from dashlib.unet import UNet, UNetConfig, count_parameters

STEPS = ("cond_only", "dash_no_un", "dash")  # imitation alone, + anchor, + L_un
ENOUGH = 3  # seeds that show their own spread
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

    @property
    def fewest(self) -> int:
        """Training seeds of the part that has fewest; 0 if no training was involved."""
        return min((len(part.values) for part in self.parts), default=0)


def runs_of(row: str, scale: str) -> list[Run]:
    """The stored runs of a row; ``NotMeasured`` if there are none."""
    try:
        if row == "teacher":
            return [results.load(f"{scale}/teacher-tirt")]
        name, _, weighting = row.partition("-")
        return results.select(name, weighting or "transfer", scale)
    except results.MissingRun as missing:
        raise NotMeasured(f"no run of {row} is stored for {scale}") from missing


def _values(runs: Sequence[Run], path: Path) -> dict[int, float]:
    """The metric by seed, where it is stored."""
    found = {run.seed: results.metric(run, path) for run in runs}
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
        found = [spread for one in scales for spread in _relative_spreads(path, one)]
        if found:
            return max(found)
    return nan


def part(row: str, path: Path, scale: str, seeds: Collection[int] | None = None) -> Part:
    """One quantity of a row, of all seeds or of these; ``NotMeasured`` if no stored run has it."""
    values = _values(runs_of(row, scale), path)
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


def _frechet(w: str) -> Path:
    return ("guidance", w, "frechet")


def gap_ratio(*, scale: str, row: str) -> Estimate:
    """Length of a row's gap, rho = E|gap_S| / E|gap_T|."""
    return combine(lambda rho: rho, part(row, RHO, scale))


def gap_mse_excess(*, scale: str, row: str, over: str) -> Estimate:
    """By how much a row's gap MSE is above another's."""
    return combine(sub, part(row, GAP_MSE, scale), part(over, GAP_MSE, scale))


def frechet_excess(*, scale: str, row: str, over: str, w: str) -> Estimate:
    """By how much a row's Frechet distance at guidance scale w is above another's."""
    return combine(sub, part(row, _frechet(w), scale), part(over, _frechet(w), scale))


def frechet_lead(*, scale: str, row: str, rivals: Sequence[str], w: str) -> Estimate:
    """By how much the Frechet distance of the *nearest* rival is above a row's."""
    excess = [frechet_excess(scale=scale, row=rival, over=row, w=w) for rival in rivals]
    return min(excess, key=lambda estimate: estimate.value)


def recovered(*, scale: str, row: str, w: str) -> Estimate:
    """Share of the distance from scratch to the teacher, in Frechet distance, that a row covers."""
    names = ("scratch", row, "teacher")
    scratch, ours, teacher = (part(name, _frechet(w), scale) for name in names)
    return combine(lambda s, d, t: (s - d) / (s - t), scratch, ours, teacher)


def unconditional_share(*, scale: str, of: str, w: str) -> Estimate:
    """Share of L_un in what DASH gains over imitation alone (cond_only, + anchor, + L_un).

    Of the ``gap`` error, or of the ``frechet`` distance at w, over seeds that all three rows have;
    nan where there is no total gain.
    """
    path = {"gap": GAP_MSE, "frechet": _frechet(w)}.get(of)
    if path is None:
        raise ValueError(f"of={of!r}: gap or frechet")
    common = set.intersection(*(set(part(row, path, scale).seeds) for row in STEPS))
    parts = (part(row, path, scale, common) for row in STEPS)
    return combine(lambda a, b, c: (b - c) / (a - c) if a > c else nan, *parts)


@cache
def _parameters(cfg: UNetConfig) -> float:
    with torch.device("meta"):
        return count_parameters(UNet(cfg))


def _of_role(network: str, role: str, count: Callable[[UNetConfig], float]) -> Estimate:
    """A count of a preset's teacher or student, or the ratio of both."""
    if role == "ratio":
        teacher, student = (_of_role(network, one, count) for one in ("teacher", "student"))
        return Estimate(teacher.value / student.value)
    if role not in ("teacher", "student"):
        raise ValueError(f"role={role!r}: teacher, student or ratio")
    return Estimate(count(getattr(preset(network), role).unet))


def parameters(*, network: str, role: str) -> Estimate:
    """Parameters of a preset's network, counted in the network itself."""
    return _of_role(network, role, _parameters)


def gflops(*, network: str, role: str) -> Estimate:
    """GFLOPs of a guided sample of a preset's network: 2 forward passes a step."""
    passes = 2 * preset(network).sampling.steps
    return _of_role(network, role, lambda cfg: passes * forward_flops(cfg) / 1e9)


def bench_ratio(*, network: str, key: str, hardware: str) -> Estimate:
    """Teacher / student of a cost that ``benchmarks.bench`` stored, on the hardware of that name.

    ``NotMeasured`` tells what was measured on other hardware.
    """
    elsewhere = []
    for path in sorted((results.root() / "bench").glob(f"efficiency-{network}-*.json")):
        report = json.loads(path.read_text())
        for ratio in (ratio for ratio in report["ratios"] if key in ratio):
            if hardware in report["hardware"]:
                return Estimate(ratio[key])
            what = ratio["of"].partition(", ")[2]
            elsewhere.append(f"{ratio[key]:.2f} on {report['hardware']} ({what})")
    raise NotMeasured(f"no {hardware} here; " + ("; ".join(elsewhere) or "nor any other GPU"))


MEASURES: dict[str, Callable[..., Estimate]] = {
    measure.__name__: measure
    for measure in (
        *(gap_ratio, gap_mse_excess, frechet_excess, frechet_lead, recovered),
        *(unconditional_share, parameters, gflops, bench_ratio),
    )
}
