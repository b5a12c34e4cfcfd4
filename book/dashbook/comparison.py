r"""Say what a few training seeds allow: t-intervals, of means and of paired differences.

Of n independent values with mean m and sample standard deviation s, the interval

.. math:: m \pm t_{n-1} \, s / \sqrt n

holds the expectation with probability ``level`` if the values are normal.  Students of one seed see
the same batches and start from the same weights, so rows are compared by differences within a seed.

Several rows are compared with one by p-values of the t-test that the difference is 0, and of the
two one-sided ones that it is not within a margin, each corrected for the number of rows by Holm:
sorted, :math:`p_{(i)}` of m becomes :math:`\max_{j \le i} (m + 1 - j)\, p_{(j)}`.

Sources: Student 1908; Holm 1979; Schuirmann 1987 (two one-sided tests).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite, log, sqrt

import numpy as np
from scipy import stats

from dashbook.tables import DASHES, Measure, markdown
from dashlib.results import Run

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean, give or take ``half``."""

    mean: float
    half: float

    @property
    def low(self) -> float:
        """The lower end."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """The upper end."""
        return self.mean + self.half

    @property
    def sign(self) -> int:
        """1 or -1 if the whole interval lies above or below zero, 0 if it holds zero."""
        return int(self.low > 0) - int(self.high < 0)

    def text(self, digits: int = 2) -> str:
        """``+1.20 [0.50, 1.90]``."""
        low, high = (f"{end:z.{digits}f}" for end in (self.low, self.high))
        return f"{self.mean:+z.{digits}f} [{low}, {high}]"


def quantile(n: int, level: float = LEVEL) -> float:
    """Student's t for n values: the half width in standard errors; infinite for one value.

    ``ValueError`` for no values, or a level outside of (0, 1).
    """
    if n < 1 or not 0 < level < 1:
        raise ValueError(f"n={n}, level={level}: at least one value, and 0 < level < 1")
    return float(stats.t.ppf((1 + level) / 2, n - 1)) if n > 1 else inf


def t_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """The t-interval of some values; one value has an infinite one.

    ``ValueError`` for no values, for one that is not finite, or for a level outside of (0, 1).
    """
    if not all(isfinite(value) for value in values):
        raise ValueError(f"values {list(values)}: all must be finite")
    n, t = len(values), quantile(len(values), level)
    half = t * float(np.std(values, ddof=1)) / sqrt(n) if n > 1 else inf
    return Interval(float(np.mean(values)), half)


def paired(
    runs: Sequence[Run], base: Sequence[Run], value: Measure, level: float = LEVEL
) -> Interval:
    """The t-interval of ``value(run) - value(its twin)``, twins being the runs of one seed.

    ``ValueError`` if the seeds of the two rows are not the same, each once.
    """
    ours, theirs = ({run.seed: run for run in row} for row in (runs, base))
    if ours.keys() != theirs.keys() or {len(runs), len(base)} != {len(ours)}:
        seeds = [[run.seed for run in row] for row in (runs, base)]
        raise ValueError(f"seeds {seeds[0]} and {seeds[1]}: a pair needs the same seeds, each once")
    return t_interval([value(ours[seed]) - value(theirs[seed]) for seed in ours], level)


def holm(values: Sequence[float]) -> list[float]:
    """p-values corrected for their number, in their order."""
    p, m = np.asarray(values, dtype=float), len(values)
    order = p.argsort()
    stepped = np.maximum.accumulate(p[order] * (m - np.arange(m))).clip(max=1)
    return stepped[order.argsort()].tolist()


def _beyond(distance: float, found: Interval, n: int, level: float) -> float:
    """One-sided p-value of a t-test: of a mean of n values so far beyond a bound."""
    if n < 2:
        return 1.0
    error = found.half / quantile(n, level)
    return float(stats.t.sf(distance / error, n - 1)) if error else float(distance <= 0)


@dataclass(frozen=True)
class Verdict:
    """A row beside a base; the p-values are corrected, the interval is not."""

    interval: Interval
    different: float  # p-value that there is no difference
    apart: float  # p-value that it is as large as the margin
    word: str  # better, worse, equal or undecided


def verdicts(
    rows: Mapping[str, Sequence[Run]], base: Sequence[Run], value: Measure, *, margin: float,
    level: float = LEVEL,
) -> dict[str, Verdict]:  # fmt: skip
    """Each row beside the base, by paired differences of what is better if lower.

    ``equal``: closer than the margin, even if different; else ``better`` or ``worse`` if different;
    else ``undecided``, as rows of one seed are.  The margin of a :func:`logged` one is relative.
    """
    found, n = [paired(runs, base, value, level) for runs in rows.values()], len(base)
    different = holm([min(1.0, 2 * _beyond(abs(one.mean), one, n, level)) for one in found])
    apart = holm([_beyond(margin - abs(one.mean), one, n, level) for one in found])
    verdict = {}
    for name, one, p, q in zip(rows, found, different, apart, strict=True):
        decided = "worse" if one.mean > 0 else "better"
        word = "equal" if q < 1 - level else decided if p < 1 - level else "undecided"
        verdict[name] = Verdict(one, p, q, word)
    return verdict


def logged(measure: Measure) -> Measure:
    """The logarithm of a measure: a difference is then a ratio's."""
    return lambda run: log(measure(run))


def compared(
    names: tuple[str, str], ours: Sequence[Run], theirs: Sequence[Run],
    measures: Mapping[str, Measure],
) -> tuple[dict[str, str], str]:  # fmt: skip
    """Of measures, the row that is lower by the paired t-test (or a dash), and a Markdown table.

    p-values are corrected by Holm for the number of measures.  The table: both means, the
    difference ± its deviation over seeds, who is lower.  ``ValueError`` for rows of other seeds.
    """
    words, lower, lines = {-1: names[0], 0: DASHES, 1: names[1]}, {}, []
    found = [verdicts({"": ours}, theirs, of, margin=0)[""] for of in measures.values()]
    corrected = holm([one.different for one in found])
    for (name, of), one, p in zip(measures.items(), found, corrected, strict=True):
        lower[name] = words[one.interval.sign if p < 1 - LEVEL else 0]
        mine, other = (np.array([of(run) for run in row]) for row in (ours, theirs))
        means, d = [f"{row.mean():.3g}" for row in (mine, other)], mine - other
        lines.append([name, *means, f"{d.mean():+.2g} ± {d.std(ddof=1):.1g}", lower[name]])
    return lower, markdown(["lower is better", *names, "difference", "clear"], lines)
