"""Two rows of stored runs beside each other, seed by seed, on measures of which lower is better."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dashbook.intervals import Interval, paired
from dashbook.tables import DASHES, markdown
from dashlib.results import Run

Measure = Callable[[Run], float]


def gap(key: str) -> Measure:
    """A gap metric of a run over all pairs, such as ``rho``."""
    return lambda run: run.metrics["gap"]["overall"][key]


def off(key: str) -> Measure:
    """How far a gap metric is from one, the ideal of ``rho`` and ``cos``."""
    return lambda run: abs(run.metrics["gap"]["overall"][key] - 1)


def frechet(label: str) -> Measure:
    """The Frechet distance of a run at one guidance scale, by its label."""
    return lambda run: run.metrics["guidance"][label]["frechet"]


@dataclass(frozen=True)
class Pair:
    """One measure of two rows: a value for each seed, and the interval of their difference."""

    ours: np.ndarray
    theirs: np.ndarray
    difference: Interval  # of ours - theirs, paired by seed

    def lower(self, names: tuple[str, str]) -> str:
        """The name of the row that is lower beyond what its seeds can explain, or a dash."""
        return {-1: names[0], 0: DASHES, 1: names[1]}[self.difference.sign]

    def cells(self, names: tuple[str, str]) -> list[str]:
        """Both means, the difference with its standard deviation over seeds, and who is lower."""
        d = self.ours - self.theirs
        spread = f"{d.mean():+.2g} ± {d.std(ddof=1):.1g}"
        means = [f"{row.mean():.3g}" for row in (self.ours, self.theirs)]
        return [*means, spread, self.lower(names)]


@dataclass(frozen=True)
class Comparison:
    """The pairs of two rows, by the name of their measure."""

    names: tuple[str, str]
    pairs: dict[str, Pair]

    @property
    def lower(self) -> dict[str, str]:
        """Of every measure, the row that is clearly lower, or a dash."""
        return {name: pair.lower(self.names) for name, pair in self.pairs.items()}

    def table(self) -> str:
        """A Markdown table: a line for each measure."""
        rows = [[name, *pair.cells(self.names)] for name, pair in self.pairs.items()]
        return markdown(["lower is better", *self.names, "difference", "clear"], rows)


def compare(
    runs: Sequence[Run],
    base: Sequence[Run],
    measures: Mapping[str, Measure],
    names: tuple[str, str],
) -> Comparison:
    """Compare two rows of the same seeds; ``names`` are how the rows are called in the table.

    ``ValueError`` for rows of different seeds.
    """

    def pair(of: Measure) -> Pair:
        ours, theirs = (np.array([of(run) for run in row]) for row in (runs, base))
        return Pair(ours, theirs, paired(runs, base, of))

    return Comparison(names, {name: pair(of) for name, of in measures.items()})
