"""The ledger of claims: what the paper says, what we measured, and the status that follows.

``results/claims.toml`` holds every claim of the paper that the book touches, in our words.
:data:`MEASURED` says which numbers agree with it, and which are asked of :mod:`.measurements`: at a
small scale of the book (:data:`SMALL`), or exactly as the paper states it (:data:`AS_STATED`).
"""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite, isnan
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dashbook import cifar10, plots
from dashbook import measurements as by
from dashbook.cost import parameters
from dashbook.measurements import Estimate, NotMeasured
from dashbook.paper import FURTHER, NAMES, PAPER
from dashbook.tables import DASHES, Measure, frechet, gap, markdown
from dashlib import results
from dashlib.results import Run
from dashlib.scale.presets import preset

Rule = Callable[[Estimate], bool | None]
Question = partial[Estimate]

NOT_TESTED = "not tested here"
SMALL = {  # at our scale: holds, fails, cannot be told
    True: "agrees at small scale",
    False: "disagrees at small scale",
    None: "undecided at small scale",
}
AS_STATED = {True: "reproduced", False: "not reproduced", None: "not reproduced"}  # counted
STATUSES = (*dict.fromkeys(AS_STATED.values()), *SMALL.values(), NOT_TESTED)
SOURCES = {"abstract", "README", "configurations", "reading notes", "derived from the README"}
SOURCES |= {"this book"}
HEADER = ("claim, *and when a number agrees*", "*paper:*", "on", "ours", "status")


def between(low: float, high: float) -> Rule:
    """The rule that a number lies between two bounds (:meth:`Estimate.lies`)."""
    return partial(Estimate.lies, low=low, high=high)


def near(value: float, percent: float) -> Rule:
    """The rule that a number is another one, give or take so many per cent."""
    return between(value - percent * value / 100, value + percent * value / 100)


def above(low: float) -> Rule:
    """The rule that a number is larger than another one."""
    return partial(Estimate.lies, low=low)


def settled(word: str) -> Rule:
    """The rule that a comparison of paired seeds has this verdict; undecided cannot be told."""
    return lambda found: None if found.word == "undecided" else found.word == word


def asked(
    measure: Callable[..., Estimate], *rows: str, scale: str = "digits", **arguments: Any
) -> tuple[Question, ...]:
    """Questions to rows of a scale, one each."""
    return tuple(partial(measure, scale=scale, row=row, **arguments) for row in rows)


TAG, RHO, GAP_MSE = frechet("TAG"), gap("rho"), gap("gap_mse")
_long = partial(asked, by.level, value=RHO)
_worse = partial(asked, by.beside, over="dash", value=TAG)
_off = partial(asked, by.beside, over="dash", value=GAP_MSE)
WORSE = settled("worse")


def _scored(value: Callable[[Run, str], float], w: str) -> Measure:
    return lambda run: value(run, w) if cifar10.score(run, w) else None


_cifar = partial(asked, scale="cifar10")
_beside = partial(_cifar, by.beside, value=_scored(cifar10.fd, "TAG"))


def _counted(role: str, count: Callable[..., float]) -> tuple[Question, ...]:
    return (partial(by.counted, role=role, count=count),)


# The paper's lengths of the gap fall into three groups: one collapsed (.09), some shortened (.61
# to .81), one kept (.89 to .91).  A measured rho is judged by the group that it falls into.  The
# bounds lie half-way between the groups, 0.35 and 0.85; kept ends at 1/0.85.
COLLAPSED, SHORTENED, KEPT = (-np.inf, 0.35), (0.35, 0.85), (0.85, 1.18)
RIVALS = tuple(row for row in PAPER | FURTHER if row not in ("teacher", "dash"))
MATCHED = ("gap_match", "gap_match_cond")
PARTS = ("dash_no_un", "dash_no_an", "dash-uniform")  # DASH without one of its parts
MEASURED: dict[str, tuple[Rule, tuple[Question, ...]]] = {  # what agrees, and what is asked
    "parameters-teacher": (near(35.75e6, 0.1), _counted("teacher", parameters)),
    "parameters-student": (near(6.08e6, 0.1), _counted("student", parameters)),
    "compression": (between(5.85, 5.95), _counted("ratio", parameters)),
    "gflops-teacher": (near(1247.8, 1), _counted("teacher", by.gflops)),
    "gflops-student": (near(216.3, 1), _counted("student", by.gflops)),
    "gflops-ratio": (near(5.77, 1), _counted("ratio", by.gflops)),
    "latency": (near(3.62, 10), (partial(by.bench_ratio, key="latency_ms", hardware="T4"),)),
    "memory": (near(1.71, 10), (partial(by.bench_ratio, key="peak_mib", hardware="T4"),)),
    "rho-dash": (between(*KEPT), _long("dash")),
    "rho-cond-only": (between(*COLLAPSED), _long("cond_only")),
    "rho-composite": (between(*SHORTENED), _long("composite")),
    "rho-multi-w": (between(*SHORTENED), _long("multi_w")),
    "rho-fitnets": (between(*SHORTENED), _long("fitnets")),
    "rho-gap-match": (between(*SHORTENED), _long(*MATCHED)),
    "rho-pruned": (between(*SHORTENED), _long("pruned")),
    "rho-no-un": (between(*SHORTENED), _long("dash_no_un")),
    "gap-mse": (WORSE, _off(*MATCHED, rivals=MATCHED)),
    **{f"fd-{row.replace('_', '-')}": (WORSE, _worse(row, rivals=RIVALS)) for row in RIVALS},
    "fd-gap-match": (WORSE, _worse(*MATCHED, rivals=(*RIVALS, MATCHED[1]))),
    "fd-all": (WORSE, asked(by.nearest, "dash", rivals=RIVALS, value=TAG)),
    "fd-teacher": (WORSE, _worse("dash", over="teacher")),
    "fd-cond-only-scratch": (WORSE, _worse("cond_only", over="scratch")),
    "recovered": (above(0.5), asked(by.recovered, "dash")),
    "share-un-samples": (above(0.6), asked(by.unconditional_share, "dash", value=TAG)),
    "share-un-gap": (above(0.6), asked(by.unconditional_share, "dash", value=GAP_MSE)),
    "fd-no-un": (WORSE, _worse(PARTS[0], rivals=PARTS)),
    "anchor": (WORSE, _worse(PARTS[1], rivals=PARTS)),
    "tirt-samples": (WORSE, _worse(PARTS[2], rivals=PARTS)),
    "tirt-gap": (WORSE, _off(PARTS[2], rivals=PARTS)),
    "cost": (WORSE, ()),
    "v-colour": (settled("better"), ()),
    "v-data": (between(-np.inf, 0.15), ()),
}
SOUND, TRANSFER = "dash-uniform-from_uniform", "dash-transfer-from_uniform"
TABLE = {row: f"{row}-uniform-from_uniform" for row in ("multi_w", "single_head", "gap_match_cond")}
CHEAP = ("cond_only_dropout", "dash_sampled")  # one pass of the student a step
LONGER = [f"{row}-uniform-from_uniform-x2" for row in CHEAP]
_sound = partial(_worse, over=SOUND, rivals=(*TABLE.values(), "dash_gap_3-uniform-from_uniform"))
FROM_UNIFORM: dict[str, tuple[Question, ...]] = {  # asked of digits whose teacher is sound
    "rho-dash": _long(SOUND, TRANSFER),
    "rho-multi-w": _long(TABLE["multi_w"]),
    "rho-gap-match": _long(TABLE["gap_match_cond"]),
    "gap-mse": _off(TABLE["gap_match_cond"], over=SOUND),
    "fd-multi-w": _sound(TABLE["multi_w"]),
    "fd-single-head": _sound(TABLE["single_head"]),
    "fd-gap-match": _sound(TABLE["gap_match_cond"]),
    "fd-teacher": _worse(SOUND, over="teacher-uniform"),
    "tirt-samples": _worse(SOUND, over=TRANSFER),
    "tirt-gap": _off(SOUND, over=TRANSFER),
    "cost": _worse(*LONGER, over=SOUND, rivals=(*LONGER, "dash_mixed_0.5-uniform-from_uniform-x2")),
}
EPS, V = "dash-high_noise", "dash_v-high_noise"
IN_EPS, IN_V = ([f"{row}{net}-high_noise" for row in CHEAP] for net in ("", "_v"))
AT_CIFAR10: dict[str, tuple[Question, ...]] = {  # beside what is asked of digits
    "rho-dash": _cifar(by.level, EPS, V, value=RHO),
    "rho-multi-w": _cifar(by.level, "multi_w-high_noise", value=RHO),
    "rho-gap-match": _cifar(by.level, "gap_match_cond-high_noise", value=RHO),
    "gap-mse": _beside("gap_match_cond-high_noise", over=EPS, value=GAP_MSE),
    "fd-multi-w": _beside("multi_w-high_noise", over=EPS),
    "fd-gap-match": _beside("gap_match_cond-high_noise", over=EPS),
    "fd-teacher": _beside(V, over="teacher"),
    "tirt-samples": _beside("dash_v-uniform", over="dash_v-transfer"),
    "tirt-gap": _beside("dash_v-uniform", over="dash_v-transfer", value=GAP_MSE),
    "cost": _beside(*IN_V, over=V, rivals=IN_V) + _beside(*IN_EPS, over=EPS, rivals=IN_EPS),
    "v-colour": tuple(
        _beside(v, over=eps, value=_scored(cifar10.off_colour, "1.5"))[0]
        for v, eps in zip((V, *IN_V), (EPS, *IN_EPS), strict=True)
    ),
    "v-data": _cifar(by.level, V, *IN_V, value=_scored(cifar10.off_colour, "1.5")),
}


@dataclass(frozen=True)
class Claim:
    """One claim of the paper, in our words."""

    id: str
    theme: str
    claim: str
    dataset: str
    stated: tuple[str, ...]  # of SOURCES
    value: str = ""  # as the paper has it
    settle: str = ""  # what would settle it: a key of :func:`read`'s; "": nothing is left
    words: str = ""  # the rule, in words
    note: str = ""
    holds: Rule | None = None  # None: not measured in this book
    questions: tuple[Question, ...] = ()


@dataclass(frozen=True)
class Judgement:
    """Status of a claim by the stored numbers, or why nothing could be measured."""

    claim: Claim
    status: str
    question: Question | None = None
    estimate: Estimate | None = None
    reason: str = ""

    def argument(self, name: str) -> Any:
        """An argument of the measure, such as the row that it asks; "" if it has none."""
        return self.question.keywords.get(name, "") if self.question else ""

    @property
    def scale(self) -> str:
        """The scale of the book that was measured, or ``as stated``."""
        return self.argument("scale") or "as stated"

    @property
    def ours(self) -> str:
        """Show what was measured, or why nothing was."""
        return shown(self.estimate, self.scale) if self.estimate else self.reason


def path() -> Path:
    """Return the file that holds the words of the ledger."""
    return results.root() / "claims.toml"


def read() -> dict[str, Any]:
    """The file: lists of ``claim`` and ``setting``, and by name what would ``settle`` a claim."""
    return tomllib.loads(path().read_text())


def _claim(entry: Mapping[str, Any], settle: Mapping[str, Any]) -> Claim:
    holds, questions = MEASURED.get(entry["id"], (None, ()))
    questions += FROM_UNIFORM.get(entry["id"], ()) + AT_CIFAR10.get(entry["id"], ())
    changes = {"stated": tuple(entry["stated"]), "holds": holds, "questions": questions}
    claim = Claim(**{**entry, **changes})
    if unknown := set(claim.stated) - SOURCES:
        known = ", ".join(sorted(SOURCES, key=str.lower))
        raise ValueError(f"stated {', '.join(unknown)}: of {known}")
    if claim.settle not in ("", *settle):
        raise ValueError(f"settle {claim.settle!r}: one of {', '.join(settle)}")
    if holds and not claim.words:
        raise ValueError("a measured claim needs its rule in words")
    return claim


def load() -> list[Claim]:
    """The claims; ``ValueError`` names the one that is not well formed, and what is wrong."""
    found, claims = read(), []
    for entry in found["claim"]:
        try:
            claims.append(_claim(entry, found["settle"]))
        except (KeyError, TypeError, ValueError) as error:
            name = entry.get("id", "without id")
            raise ValueError(f"{path()}, claim {name!r}: {error}") from error
    ids = [claim.id for claim in claims]
    if wrong := {name for name in ids if ids.count(name) > 1} | MEASURED.keys() - set(ids):
        raise ValueError(f"{path()}: not exactly one claim is called {', '.join(sorted(wrong))}")
    return claims


def settings() -> list[tuple[str, str, str, str]]:
    """Settings that two sources give differently: name, README, configurations, remark.

    Typed, or read at ``path`` in both presets; ``ValueError`` if they agree.
    """
    presets, rows = [preset(f"cifar10/{name}") for name in ("paper_v2", "released")], []
    for entry in read()["setting"]:
        sides = [entry.get(key) for key in ("readme", "configurations")]
        if "path" in entry:
            sides = [attrgetter(entry["path"])(one) for one in presets]
        if None in sides or sides[0] == sides[1]:
            raise ValueError(f"{path()}, setting {entry.get('name')!r}: two sides that differ")
        readme, configurations = (f"{v:,}" if isinstance(v, int) else str(v) for v in sides)
        rows.append((entry["name"], readme, configurations, entry.get("note", "")))
    return rows


def judge(claim: Claim, question: Question | None) -> Judgement:
    """Judge a claim by what is stored."""
    if question is None or claim.holds is None:
        return Judgement(claim, NOT_TESTED, reason="not measured in this book")
    try:
        estimate = question()
    except NotMeasured as wanting:
        return Judgement(claim, NOT_TESTED, question, reason=str(wanting))
    outcomes = SMALL if "scale" in question.keywords else AS_STATED
    return Judgement(claim, outcomes[claim.holds(estimate)], question, estimate)


def judgements() -> list[Judgement]:
    """Every claim with everything that is asked for it, and what follows from the stored runs."""
    return [judge(claim, one) for claim in load() for one in claim.questions or (None,)]


def number(value: float, digits: int = 3) -> str:
    """A number with so many digits that count, more for a large one; nan is "not defined"."""
    if isnan(value):
        return "not defined"
    if abs(value) >= 100:
        return f"{value:,.0f}" if abs(value) >= 1e5 or digits < 3 else f"{value:,.1f}"
    return f"{value:#.{digits}g}".rstrip(".")


def titled(row: str, scale: str = "digits") -> str:
    """A row with its weighting, in words."""
    if scale == "cifar10" and row in cifar10.STUDENTS:
        return cifar10.STUDENTS[row]
    name, _, weighting = row.partition("-")
    of, sound, more = weighting.partition("-from_uniform")
    further = ", sound teacher" * bool(sound) + ", twice the steps" * (more == "-x2")
    return f"{NAMES.get(name, name)} {of}".rstrip() + further


def shown(found: Estimate, scale: str = "digits") -> str:
    """A measured number with its interval, and what it was made from (mean ± spread of seeds).

    Of a comparison the ratio: ``4.66 times [1.94, 11.2] (Cond-only: 44.3 ± 15; ...; n = 3)``.
    """
    if not found.parts:
        return number(found.value)
    parts = []
    for part in found.parts:
        spread = "" if isnan(part.spread) else f" ± {number(part.spread, 2)}"
        parts.append(f"{titled(part.row, scale)}: {number(part.mean)}{spread}")
    interval = found.interval()
    ends = [found.value, interval.low, interval.high]
    mean, low, high = map(number, np.exp(ends) if found.word else ends)
    between = f" [{low}, {high}]" if isfinite(interval.half) else ""
    times = " times" * bool(found.word)
    return f"{mean}{times}{between} ({'; '.join(parts)}; n = {len(found.values)})"


def lines(found: Sequence[Judgement]) -> list[str]:
    """A line for each judgement."""
    return [
        f"{one.claim.id:21} {one.scale:10} {one.argument('row'):14} {one.status:24} {one.ours}"
        for one in found
    ]


def table(theme: str, found: Sequence[Judgement]) -> str:
    """The claims of a theme beside what we measured, in Markdown: a line for each judgement.

    A rule or remark is not repeated.  ``ValueError`` for a theme without claims.
    """
    rows, said = [], {""}
    for one in (one for one in found if one.claim.theme == theme):
        claim, about = one.claim, ["", ""]
        if claim.id not in said:
            fresh = [f"*{text}*" for text in (claim.words, claim.note) if text not in said]
            source = f"({claim.dataset}; {', '.join(claim.stated)})"
            about = [" ".join([claim.claim, *fresh]), f"{claim.value or DASHES} {source}"]
            said |= {claim.id, claim.words, claim.note}
        rows.append([*about, one.scale, one.ours, one.status])
    if not rows:
        known = ", ".join(dict.fromkeys(one.claim.theme for one in found))
        raise ValueError(f"no claim has the theme {theme!r}: one of {known}")
    return markdown(HEADER, rows, left=len(HEADER))


SHADES = ("0.78", "0.87", "0.95")  # of the groups of gaps, from the shortest


def gap_lengths(
    published: Mapping[str, tuple[float, float]], groups: Mapping[str, tuple[float, float]],
    measured: Mapping[str, Sequence[float]],
) -> Figure:  # fmt: skip
    """Lengths of gaps by row: the paper's as bars, ours as points, its three groups shaded."""
    figure, ((ax,),) = plots.axes(size=(7.4, 4.2))
    for (name, ends), shade in zip(groups.items(), SHADES, strict=True):
        ax.axvspan(*ends, color=shade, lw=0, zorder=0)
        ax.text(ends[0] * 1.04, len(published) - 0.15, name, fontsize=9, va="top")
    for y, (row, ends) in enumerate(published.items()):
        ax.plot(ends, [y + 0.2] * 2, "k|-", lw=3, ms=9)
        ax.plot(measured[row], [y - 0.15] * len(measured[row]), "o", ms=7, color=plots.color(row))
    ax.set(xscale="log", xlim=(0.06, 6), ylim=(-0.6, len(published) - 0.1))
    ax.set_xlabel("ρ: length of the gap, teacher's = 1")
    ax.set_title("Where one output is watched, ρ is too large in our runs")
    ax.set_yticks(range(len(published)), [NAMES[row] for row in published])
    return figure


def ratio_forest(found: Mapping[str, Estimate], level: float) -> Figure:
    """Each row's distance over DASH's with its interval, in the colour of its verdict."""
    rows = {}
    for row, one in found.items():
        ends = one.interval(level)
        rows[NAMES[row]] = np.exp([ends.low, ends.high]), [np.exp(one.value)], WORSE(one)
    what = {"xscale": "log", "xlim": (0.3, 150), "xlabel": "FD / FD of DASH"}
    return plots.forest(rows, 1, **what)
