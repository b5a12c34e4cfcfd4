r"""What the unconditional term gains: imitation alone, with the anchor, with L_un as well.

Three students of one seed, trained on the same batches, and one measure, of which lower is better:
:math:`a` for imitation alone (row ``cond_only``), :math:`b` with the anchor (``dash_no_un``) and
:math:`c` for DASH.  The share of L_un is :math:`(b - c) / (a - c)`, where there is a total gain.
"""

from collections.abc import Callable, Mapping, Sequence
from math import nan
from typing import NamedTuple

from dashbook.tables import markdown
from dashlib.results import Run

ROWS = ("cond_only", "dash_no_un", "dash")
HEADER = ("lower is better", "imitation", "+ anchor", "+ L_un", "by L_un", "total", "share")


class Gain(NamedTuple):
    """A measure after each of the three steps; lower is better."""

    imitation: float
    anchored: float
    full: float

    @property
    def step(self) -> float:
        """What L_un gained, negative for a loss."""
        return self.anchored - self.full

    @property
    def total(self) -> float:
        """What the anchor and L_un gained together."""
        return self.imitation - self.full

    @property
    def share(self) -> float:
        """The part of L_un in the total gain; nan if there is none."""
        return self.step / self.total if self.total > 0 else nan


def gain(measure: Callable[[Run], float], rows: Mapping[str, Sequence[Run]]) -> Gain:
    """A measure of the first seeds of the three ``ROWS``."""
    return Gain(*(measure(rows[row][0]) for row in ROWS))


def table(found: Mapping[str, Gain]) -> str:
    """The gains as Markdown, one measure a line."""
    lines = []
    for name, gain in found.items():
        share = f"{gain.share:.0%}" if gain.total > 0 else "no gain"
        changes = (f"{gain.step:+.2g}", f"{gain.total:+.2g}")
        lines.append([name, *(f"{value:.3g}" for value in gain), *changes, share])
    return markdown(HEADER, lines)
