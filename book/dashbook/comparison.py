r"""What a few training seeds allow to say: t-intervals, of means and of paired differences.

Of n independent values with mean m and sample standard deviation s, the interval

.. math:: m \pm t_{n-1} \, s / \sqrt n

holds the expectation with probability ``level`` if the values are normal; :math:`t_{n-1}` is the
quantile of Student's distribution with n - 1 degrees of freedom.  Students of one seed see the same
batches and start from the same weights, so two rows are compared by the differences within each
seed: whatever moves both rows alike cancels.

Source: Student, *The probable error of a mean*, 1908.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite, sqrt

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
        low, high = (f"{end:.{digits}f}" for end in (self.low, self.high))
        return f"{self.mean:+.{digits}f} [{low}, {high}]"


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


def compared(
    names: tuple[str, str],
    ours: Sequence[Run],
    theirs: Sequence[Run],
    measures: Mapping[str, Measure],
) -> tuple[dict[str, str], str]:
    """Of measures, the row that is lower beyond what its seeds can explain (or a dash); a table.

    The Markdown table: both means, the difference ± its deviation over seeds, and who is lower.
    ``ValueError`` for rows of different seeds.
    """
    words, lower, lines = {-1: names[0], 0: DASHES, 1: names[1]}, {}, []
    for name, of in measures.items():
        lower[name] = words[paired(ours, theirs, of).sign]
        values = [np.array([of(run) for run in row]) for row in (ours, theirs)]
        d = values[0] - values[1]
        means = [f"{row.mean():.3g}" for row in values]
        lines.append([name, *means, f"{d.mean():+.2g} ± {d.std(ddof=1):.1g}", lower[name]])
    return lower, markdown(["lower is better", *names, "difference", "clear"], lines)
