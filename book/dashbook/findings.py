"""Statements about the runs of one scale, each judged by the same rule on digits and on clothes.

A statement is a function from a :class:`Side` to what was measured, in words, and whether it holds.
Rows are those of the headline under TIRT Transfer; Frechet distances are means over those seeds
that were scored.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dashbook.tables import best_constant, markdown
from dashlib import results
from dashlib.recipes import HEADLINE, Scale
from dashlib.results import Run

Judgement = tuple[str, bool]
VERDICTS = {(True, True): "both", (True, False): "digits only", (False, True): "clothes only"}


@dataclass(frozen=True)
class Side:
    """The runs of one scale, with the few numbers that the statements need."""

    rows: Mapping[str, Sequence[Run]]  # the seeds of every headline row
    uniform: Sequence[Run]  # DASH with uniform timestep weights
    teacher: Run
    scales: Sequence[str]  # of guidance

    @classmethod
    def stored(cls, scale: Scale) -> "Side":
        """The stored runs of a scale; ``MissingRun`` if one is wanting."""
        rows = {row: results.select(row, "transfer", scale.name) for row in HEADLINE}
        uniform = results.select("dash", "uniform", scale.name)
        teacher = results.load(f"{scale.name}/teacher-tirt")
        return cls(rows, uniform, teacher, list(scale.guidance))

    def gap(self, row: str, key: str) -> np.ndarray:
        """A gap metric of a row, a value for each seed."""
        return np.array([run.metrics["gap"]["overall"][key] for run in self.rows[row]])

    def fd(self, row: str, w: str) -> float:
        """Frechet distance of a row, or of the teacher, at a guidance scale."""
        runs = [self.teacher] if row == "teacher" else self.rows[row]
        found = [results.metric(run, ("guidance", w, "frechet")) for run in runs]
        return float(np.mean([value for value in found if value is not None]))

    def constant(self, row: str) -> str:
        """The constant guidance scale at which a row's Frechet distance is lowest."""
        return best_constant({w: self.fd(row, w) for w in self.scales})


def calibrated(side: Side) -> Judgement:
    """DASH's rho lies between 0.8 and 1, for every seed."""
    rho = side.gap("dash", "rho")
    return f"{rho.mean():.2f}", bool(0.8 < min(rho) <= max(rho) < 1)


def best_direction(side: Side) -> Judgement:
    """The worst seed of DASH has a better cos than the best of any other headline row."""
    ours, others = side.gap("dash", "cos"), [side.gap(row, "cos") for row in HEADLINE[:-1]]
    best, shown = max(of.max() for of in others), max(of.mean() for of in others)
    return f"{ours.mean():.2f}, next {shown:.2f}", bool(ours.min() > best)


def too_long(side: Side) -> Judgement:
    """The gaps of cond-only and composite are over 1.5 times too long, for every seed."""
    rho = [side.gap(row, "rho") for row in ("cond_only", "composite")]
    return " and ".join(f"{of.mean():.1f}" for of in rho), bool(min(map(min, rho)) > 1.5)


def own_scale(side: Side) -> Judgement:
    """Composite is over 3 times as far off at w = 1.5 as at w = 4, which it was trained for."""
    ratio = side.fd("composite", "1.5") / side.fd("composite", "4")
    return f"{ratio:.0f} times", ratio > 3


def weight_at_low_noise(side: Side) -> Judgement:
    """Over two thirds of the weight that the teacher learned lie on t <= 300."""
    omega = side.teacher.importance().importance()
    share = (omega[:301].sum() / omega.sum()).item()
    return f"{share:.0%}", share > 2 / 3


def plain_weights(side: Side) -> Judgement:
    """Every seed with uniform weights has a better cos than any under TIRT Transfer."""
    plain = [run.metrics["gap"]["overall"]["cos"] for run in side.uniform]
    ours = side.gap("dash", "cos")
    return f"{np.mean(plain):.2f}, not {ours.mean():.2f}", bool(min(plain) > max(ours))


def harder(side: Side) -> Judgement:
    """DASH's best constant guidance scale is above its teacher's."""
    theirs, ours = side.constant("teacher"), side.constant("dash")
    return f"{theirs} → {ours}", float(ours) > float(theirs)


def ahead_of(side: Side, row: str) -> Judgement:
    """DASH's Frechet distance is below a row's at every guidance scale."""
    count = sum(side.fd("dash", w) < side.fd(row, w) for w in side.scales)
    return f"at {count} of {len(side.scales)} scales", count == len(side.scales)


def first_under_tag(side: Side) -> Judgement:
    """DASH's Frechet distance under TAG is the lowest of the headline rows."""
    place = sorted(HEADLINE, key=lambda row: side.fd(row, "TAG")).index("dash") + 1
    return f"place {place}", place == 1


STATEMENTS: dict[str, Callable[[Side], Judgement]] = {
    "DASH's ρ lies between 0.8 and 1": calibrated,
    "DASH's gap points best of the five, for every seed": best_direction,
    "cond-only's and composite's gaps are over 1.5 times too long": too_long,
    "composite's FD at w = 1.5 is over 3 times that at w = 4": own_scale,
    "over two thirds of TIRT's weight lie on t ≤ 300": weight_at_low_noise,
    "uniform weights give DASH a better cos": plain_weights,
    "DASH's best constant w is above its teacher's": harder,
    "DASH's FD is below scratch's at every scale": lambda side: ahead_of(side, "scratch"),
    "DASH's FD under TAG is the lowest of the five": first_under_tag,
    "DASH's FD is below dropout's at every scale": lambda s: ahead_of(s, "cond_only_dropout"),
}


def verdicts(digits: Side, clothes: Side) -> dict[str, tuple[str, str, str]]:
    """For every statement: what was measured on digits and on clothes, and where it holds."""
    found = {}
    for text, judge in STATEMENTS.items():
        (ours, here), (theirs, there) = judge(digits), judge(clothes)
        found[text] = (ours, theirs, VERDICTS.get((here, there), "neither"))
    return found


def table(found: Mapping[str, tuple[str, str, str]]) -> str:
    """The :func:`verdicts` as Markdown, one statement a line."""
    return markdown(
        ["statement", "digits", "clothes", "holds on"], [[k, *v] for k, v in found.items()]
    )
