"""The ledger of claims as text: lines for a terminal, tables for the book."""

from collections.abc import Sequence
from math import isnan

from dashbook.claims import Claim, Judged, Verdict
from dashbook.measurements import Estimate
from dashbook.plots import NAMES
from dashbook.tables import DASHES, markdown

Judgement = tuple[Claim, Judged, Verdict]
SHOWN_SCALE = {"digits": "digits", "cifar10": "CIFAR-10", "paper": "as stated"}
HEADER = ("claim, *and when a number agrees*", "*paper:*", "on", "ours", "status")


def number(value: float, digits: int = 3) -> str:
    """A number with so many digits that count, more for a large one; nan is "not defined"."""
    if isnan(value):
        return "not defined"
    if abs(value) >= 100:
        return f"{value:,.0f}" if abs(value) >= 1e5 or digits < 3 else f"{value:,.1f}"
    return f"{value:#.{digits}g}".rstrip(".")


def estimate(found: Estimate) -> str:
    """A measured number ± its standard error, and what it was made from (mean ± spread of seeds).

    ``34.9 ± 9.0 (Cond-only: 44.3 ± 15, n = 3; DASH: 9.35 ± 1.2, n = 3)``; a spread that was
    borrowed is not shown.
    """
    if not found.parts:
        return number(found.value)
    shown = []
    for part in found.parts:
        row, _, weighting = part.row.partition("-")
        name = f"{NAMES.get(row, row)} {weighting}".rstrip()
        spread = "" if isnan(part.own) else f" ± {number(part.own, 2)}"
        shown.append(f"{name}: {number(part.mean)}{spread}, n = {len(part.values)}")
    error = "" if isnan(found.value) else f" ± {number(found.error, 2)}"
    return f"{number(found.value)}{error} ({'; '.join(shown)})"


def measured(verdict: Verdict) -> str:
    """What was measured, or why nothing was."""
    return estimate(verdict.estimate) if verdict.estimate else verdict.reason


def lines(judgements: Sequence[Judgement]) -> list[str]:
    """A line for each judgement, and another below one that the file states differently."""
    made = []
    for claim, judged, verdict in judgements:
        row = judged.arguments.get("row", "")
        cells = f"{claim.id:21} {judged.scale:13} {row:14} {verdict.status:24}"
        made.append(f"{cells} {measured(verdict)}")
        if judged.status != verdict.status:
            made.append(f"{'':21} ^ the file says {judged.status!r}")
    return made


def table(theme: str, judgements: Sequence[Judgement]) -> str:
    """The claims of a theme beside what we measured, in Markdown: a line for each judgement.

    A rule or remark that stands in the table already is not repeated.  ``ValueError`` for a theme
    without claims.
    """
    rows, said = [], {""}
    for claim, judged, verdict in judgements:
        if claim.theme != theme:
            continue
        about = ["", ""]
        if claim.id not in said:
            fresh = [f"*{text}*" for text in (claim.words, claim.note) if text not in said]
            source = f"({claim.dataset}; {', '.join(claim.stated)})"
            about = [" ".join([claim.claim, *fresh]), f"{claim.value or DASHES} {source}"]
            said |= {claim.id, claim.words, claim.note}
        rows.append([*about, SHOWN_SCALE[judged.scale], measured(verdict), verdict.status])
    if not rows:
        known = ", ".join(dict.fromkeys(claim.theme for claim, _, _ in judgements))
        raise ValueError(f"no claim has the theme {theme!r}: one of {known}")
    return markdown(HEADER, rows, left=len(HEADER))
