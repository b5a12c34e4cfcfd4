"""The ledger of claims: what the paper says, what we measured, and the status that follows.

``results/claims.toml`` holds every claim of the paper that the book touches, in our words.  A claim
names a *measure* (:mod:`dashbook.measurements`), its arguments and a *rule*
(:mod:`dashbook.rules`), and lists where it is judged: at a small scale of the book, or at
``paper``, exactly as the paper states it.  The status that follows:

- the rule holds: "agrees at small scale", or at ``paper`` "reproduced";
- it fails: "disagrees at small scale", "not reproduced";
- it cannot be told: "undecided at small scale";
- nothing stored to measure: "not tested here".

The file keeps each status beside its claim; :func:`check` says which do not follow, and
:func:`write` rewrites them and nothing else.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from inspect import signature
from operator import attrgetter
from pathlib import Path
from typing import Any

import tomlkit

from dashbook.measurements import MEASURES, Estimate, NotMeasured
from dashbook.rules import ERRORS, accepts, holds
from dashlib import results
from dashlib.checkpoints import write_atomically
from dashlib.recipes import SCALES
from dashlib.scale.presets import preset

NOT_TESTED = "not tested here"
OUTCOMES = {  # at the paper's scale, and at ours: holds, fails, cannot be told
    "paper": {True: "reproduced", False: "not reproduced", None: "not reproduced"},  # counted
    "small": {
        True: "agrees at small scale",
        False: "disagrees at small scale",
        None: "undecided at small scale",
    },
}
STATUSES = (*dict.fromkeys(s for of in OUTCOMES.values() for s in of.values()), NOT_TESTED)
SOURCES = ("abstract", "README", "configurations", "reading notes", "derived from the README")
REQUIRED = ("id", "theme", "claim", "dataset", "stated", "judged")
OPTIONAL = ("value", "note", "settle", "measure", "rule", "words", "scale", "status")


class LedgerError(ValueError):
    """A ledger that is not well formed; the message names the claim, what is wrong and the fix."""


@dataclass(frozen=True)
class Judged:
    """A claim at one scale: how it is measured there, the rule, and the status in the file."""

    scale: str  # of dashlib.recipes.SCALES, or "paper"
    status: str
    measure: str | None = None
    rule: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)  # of the measure


@dataclass(frozen=True)
class Claim:
    """One claim of the paper, in our words."""

    id: str
    theme: str
    claim: str
    dataset: str
    stated: tuple[str, ...]  # of SOURCES
    judged: tuple[Judged, ...]
    value: str = ""  # as the paper has it
    settle: str = ""  # what would settle it: a key of Ledger.settle; "": nothing is left
    words: str = ""  # the rule, in words
    note: str = ""


@dataclass(frozen=True)
class Setting:
    """A setting that two sources of the paper give differently."""

    name: str
    readme: str
    configurations: str
    note: str


@dataclass(frozen=True)
class Ledger:
    """All of ``claims.toml``."""

    claims: tuple[Claim, ...]
    settings: tuple[Setting, ...]
    settle: Mapping[str, Mapping[str, str]]  # what would settle a claim: hardware, command, words


@dataclass(frozen=True)
class Verdict:
    """What follows from the stored numbers; ``reason`` says why nothing could be measured."""

    status: str
    estimate: Estimate | None = None
    reason: str = ""


def path() -> Path:
    """Where the ledger is stored."""
    return results.root() / "claims.toml"


def judge(judged: Judged, *, errors: float = ERRORS, **changes: Any) -> Verdict:
    """The status that follows from what is stored; ``changes`` replace arguments of the measure."""
    if judged.measure is None or judged.rule is None:
        return Verdict(NOT_TESTED, reason="not measured in this book")
    known = signature(MEASURES[judged.measure]).parameters
    arguments = {**judged.arguments, **{k: v for k, v in changes.items() if k in known}}
    try:
        estimate = MEASURES[judged.measure](**arguments)
    except NotMeasured as wanting:
        return Verdict(NOT_TESTED, reason=str(wanting))
    outcomes = OUTCOMES["paper" if judged.scale == "paper" else "small"]
    return Verdict(outcomes[holds(judged.rule, estimate, errors)], estimate)


def _judged(claim: Mapping[str, Any], entry: Mapping[str, Any]) -> Judged:
    """One entry of a claim's ``judged``, which may override what the claim says."""
    every = {**claim, **entry}
    scale, status, measure = (every.get(key) for key in ("scale", "status", "measure"))
    if scale not in (*SCALES, "paper"):
        raise LedgerError(f"scale {scale!r}: one of {', '.join(SCALES)}, paper")
    if status not in STATUSES:
        raise LedgerError(f"unknown status {status!r}: one of {', '.join(STATUSES)}")
    if measure is not None and measure not in MEASURES:
        raise LedgerError(f"unknown measure {measure!r}: one of {', '.join(MEASURES)}")
    wanted = signature(MEASURES[measure]).parameters if measure else ()
    given = {k: v for k, v in every.items() if k not in (*REQUIRED, *OPTIONAL) or k == "scale"}
    arguments = {k: v for k, v in given.items() if k in wanted}
    if set(given) - set(wanted) - {"scale"} or set(wanted) - set(given):
        raise LedgerError(f"{measure} takes {', '.join(wanted)}; given were {', '.join(given)}")
    if measure is None:
        return Judged(scale, status)
    if not every.get("rule") or not every.get("words"):
        raise LedgerError("a measured claim needs its rule, and the rule in words")
    accepts(every["rule"])
    return Judged(scale, status, measure, every["rule"], arguments)


def _claim(entry: Mapping[str, Any], settle: Mapping[str, Any]) -> Claim:
    """A claim of the file, checked; ``LedgerError`` names it."""
    name = entry.get("id", "without id")
    try:
        missing = [key for key in REQUIRED if not entry.get(key)]
        if missing:
            raise LedgerError(f"missing field {', '.join(missing)}")
        unknown = set(entry["stated"]) - set(SOURCES)
        if unknown:
            raise LedgerError(f"stated {', '.join(unknown)}: of {', '.join(SOURCES)}")
        if entry.get("settle", "") not in ("", *settle):
            raise LedgerError(f"settle {entry['settle']!r}: one of {', '.join(settle)}")
        judged = tuple(_judged(entry, one) for one in entry["judged"])
    except ValueError as error:
        raise LedgerError(f"{path()}, claim {name!r}: {error}") from error
    kept = {k: entry[k] for k in (*REQUIRED[:4], "value", "settle", "words", "note") if k in entry}
    return Claim(**kept, stated=tuple(entry["stated"]), judged=judged)


def _setting(entry: Mapping[str, Any]) -> Setting:
    """A setting: typed, or read at ``path`` in both presets; ``LedgerError`` if they agree."""
    sides = [entry.get("readme"), entry.get("configurations")]
    if "path" in entry:
        names = ("cifar10/paper_v2", "cifar10/released")
        sides = [attrgetter(entry["path"])(preset(name)) for name in names]
    if None in sides or sides[0] == sides[1]:
        raise LedgerError(f"{path()}, setting {entry.get('name')!r}: two sides that differ")
    readme, configurations = (f"{v:,}" if isinstance(v, int) else str(v) for v in sides)
    return Setting(entry["name"], readme, configurations, entry.get("note", ""))


def load() -> Ledger:
    """The ledger, checked; ``LedgerError`` if it is not well formed."""
    found = tomllib.loads(path().read_text())
    settle = found["settle"]
    claims = tuple(_claim(entry, settle) for entry in found["claim"])
    twice = {claim.id for claim in claims if [c.id for c in claims].count(claim.id) > 1}
    if twice:
        raise LedgerError(f"{path()}: more than one claim is called {', '.join(sorted(twice))}")
    return Ledger(claims, tuple(map(_setting, found["setting"])), settle)


def judgements(ledger: Ledger) -> list[tuple[Claim, Judged, Verdict]]:
    """Every claim at every scale where it is judged, with what follows from the stored runs."""
    return [(claim, one, judge(one)) for claim in ledger.claims for one in claim.judged]


def check() -> list[str]:
    """What is wrong with the statuses in the file: a line each, none if all follow."""
    return [
        f"{claim.id} ({one.scale}): {one.status!r} is stated, {verdict.status!r} follows"
        for claim, one, verdict in judgements(load())
        if one.status != verdict.status
    ]


def write() -> int:
    """Rewrite the statuses in the file, and nothing else; returns how many changed."""
    ledger, document = load(), tomlkit.parse(path().read_text())
    statuses = iter(verdict.status for _, _, verdict in judgements(ledger))
    changed = 0
    for claim in document["claim"]:
        for entry in claim["judged"]:
            status = next(statuses)
            if entry["status"] != status:
                entry["status"], changed = status, changed + 1
    write_atomically(path(), tomlkit.dumps(document).encode())
    return changed
