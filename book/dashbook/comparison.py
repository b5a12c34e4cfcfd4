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
from functools import cached_property
from math import inf, isfinite, sqrt

import numpy as np
from scipy import stats

from dashbook.tables import DASHES, Measure, markdown
from dashlib.results import Run

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean over n values, give or take ``half``."""

    mean: float
    half: float
    n: int

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
    return Interval(float(np.mean(values)), half, n)


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


def unpaired(
    runs: Sequence[Run], base: Sequence[Run], value: Measure, level: float = LEVEL
) -> Interval:
    """The interval of the same difference for two unrelated groups of n runs: 2n - 2 degrees.

    ``ValueError`` for groups of different sizes.
    """
    if len(runs) != len(base):
        raise ValueError(f"{len(runs)} and {len(base)} runs: groups of one size")
    ours, theirs = ([value(run) for run in row] for row in (runs, base))
    n, variance = len(ours), np.var(ours, ddof=1) + np.var(theirs, ddof=1)
    half = quantile(2 * n - 1, level) * sqrt(variance / n)
    return Interval(float(np.mean(ours) - np.mean(theirs)), half, n)


@dataclass(frozen=True)
class Comparison:
    """Two named rows of the same seeds on measures of which lower is better.

    Raises ``ValueError`` for rows of different seeds.
    """

    names: tuple[str, str]  # how the rows are called in the table
    ours: Sequence[Run]
    theirs: Sequence[Run]
    measures: Mapping[str, Measure]

    @cached_property
    def lower(self) -> dict[str, str]:
        """Of every measure, the row that is lower beyond what its seeds can explain, or a dash."""
        words = {-1: self.names[0], 0: DASHES, 1: self.names[1]}
        signs = {
            name: paired(self.ours, self.theirs, of).sign for name, of in self.measures.items()
        }
        return {name: words[sign] for name, sign in signs.items()}

    def table(self) -> str:
        """A Markdown table: both means, the difference ± its deviation over seeds, who is lower."""
        rows = []
        for name, lower in self.lower.items():
            of = self.measures[name]
            ours, theirs = (np.array([of(run) for run in row]) for row in (self.ours, self.theirs))
            means = [f"{row.mean():.3g}" for row in (ours, theirs)]
            d = ours - theirs
            rows.append([name, *means, f"{d.mean():+.2g} ± {d.std(ddof=1):.1g}", lower])
        return markdown(["lower is better", *self.names, "difference", "clear"], rows)
