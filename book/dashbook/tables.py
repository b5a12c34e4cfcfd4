"""Stored runs as numbers and as Markdown: ours and the paper's in separate, labelled columns."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import itemgetter
from typing import Any

import numpy as np

from dashbook.paper import FURTHER, NAMES, PAPER
from dashlib import metrics, results
from dashlib.data import as_floats
from dashlib.recipes import DIGITS, HEADLINE
from dashlib.results import Run

Measure = Callable[[Any], Any]  # of a run: a number, or None where the run has none

DASHES = "–"  # where a number does not exist
DIGITS_ROWS = (  # the paper's order, then the rows that its table lacks
    *("scratch", "cond_only", "composite", "multi_w", "fitnets", "gap_match", "pruned"),
    *("single_head", "dash", "dash_no_un", "cond_only_dropout", "dash_no_an", "gap_match_cond"),
)


def metric(*path: str) -> Measure:
    """The metric of a run at a path of keys, or None."""
    return lambda run: reduce(
        lambda found, key: found.get(key) if isinstance(found, dict) else None, path, run.metrics
    )


def gap(key: str) -> Measure:
    """A gap metric of a run over all pairs, such as ``rho``."""
    return metric("gap", "overall", key)


def off(key: str) -> Measure:
    """Return the distance of a gap metric from one, the ideal of ``rho`` and ``cos``."""
    return lambda run: abs(gap(key)(run) - 1)


def frechet(label: str) -> Measure:
    """The Frechet distance of a run at one guidance scale, by its label."""
    return metric("guidance", label, "frechet")


def brightness(label: str, kept: bool = False) -> Measure:
    """How the brightness of 1,000 samples, drawn again, spreads; or of the 100 ``kept`` of them."""
    at, path = [*DIGITS.guidance].index(label), results.root() / "bench/brightness-digits.json"
    if kept:
        return lambda run: metrics.spreads(as_floats(run.trace["samples"][at]))["luminance"]
    return lambda run: (  # read when asked; a reader's own results may have no such file
        (json.loads(path.read_text())["entries"] if path.exists() else {}).get(run.name, {})
    ).get(label)


def per_timestep(runs: Sequence[Run], key: str) -> np.ndarray:
    """A gap metric of every run in every range of timesteps, from t = 0: ``(runs, ranges)``."""
    reports = [run.metrics["gap"]["per_timestep"] for run in runs]
    return np.array([[of[start][key] for start in sorted(of, key=int)] for of in reports])


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """A Markdown table; the first columns, so many, are aligned left, the others right."""
    rule = [":--" if i < left else "--:" for i in range(len(header))]
    lines = ("| " + " | ".join(cells) + " |" for cells in (header, rule, *rows))
    return re.sub("<(?=[A-Za-z/!?])", "&lt;", "\n".join(lines))  # no cell brings its own HTML


def spread(runs: Sequence[Any], value: Measure, digits: int = 2) -> str:
    """Mean over the runs that have it, ± their standard deviation if several; else a dash."""
    values = [found for run in runs if (found := value(run)) is not None]
    if not values:
        return DASHES
    mean = f"{np.mean(values):z.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {np.std(values, ddof=1):.{digits}f}"


def spreads(
    corner: str, rows: Mapping[str, Sequence[Any]], columns: Mapping[str, tuple[Measure, int]]
) -> str:
    """A table of named rows of runs under a ``corner``; ``columns[title] = (measure, digits)``."""
    lines = [[name, *(spread(runs, *of) for of in columns.values())] for name, runs in rows.items()]
    return markdown([corner, *columns], lines)


def numbers(
    corner: str, rows: Mapping[str, Mapping[str, float]], columns: Mapping[str, tuple[str, int]]
) -> str:
    """:func:`spreads` of rows that are mappings: ``columns[title] = (key, digits)``."""
    picked = {title: (itemgetter(key), digits) for title, (key, digits) in columns.items()}
    return spreads(corner, {name: [row] for name, row in rows.items()}, picked)


PAPERS = ["*paper:* size", "*paper:* ρ C10/C100", "*paper:* FID C10/C100"]
OURS = {"ρ": (gap("rho"), 2), "cos": (gap("cos"), 2), "gap MSE": (gap("gap_mse"), 4)}
OURS |= {f"FD {w}": (frechet(w.removeprefix("w=")), 1) for w in ("w=1.5", "w=4", "TAG")}
OURS |= {"brightness": (brightness("1.5"), 3)}


def _digits(rows: Sequence[str], weighting: str = "transfer") -> dict[str, list[Run]]:
    """The stored seeds of digits rows, after their teacher."""
    found = {key: results.select(key, weighting) for key in rows}
    return {"teacher": [results.load(found[rows[0]][0].config["teacher"])]} | found


def headline(weighting: str = "transfer", rows: Sequence[str] = HEADLINE) -> str:
    """The table of digits rows under one weighting, beside the paper's CIFAR rows."""
    lines = []
    for key, runs in _digits(rows, weighting).items():
        row, size = (PAPER | FURTHER).get(key), f"{runs[0].metrics['parameters']:,}"
        paper = [row.parameters, row.rhos or DASHES, row.fids] if row else [DASHES] * 3
        lines.append([NAMES[key], size, *(spread(runs, *of) for of in OURS.values()), *paper])
    return markdown(["model", "parameters", *OURS, *PAPERS], lines)


def gaps() -> str:
    """Every gap metric and branch error (mean squared, per element) of the digits rows."""
    keys = {"ρ": "rho", "cos": "cos", "a*": "a_star"}
    keys |= {"gap MSE": "gap_mse", "cond MSE": "cond_mse", "uncond MSE": "uncond_mse"}
    columns = {title: (gap(key), 4 if "MSE" in title else 2) for title, key in keys.items()}
    named = {NAMES[key]: runs for key, runs in _digits(DIGITS_ROWS).items() if key != "teacher"}
    return spreads("model", named, columns)


def best_scale(runs: Sequence[Run]) -> str:
    """The guidance scale (or TAG) at which the runs' mean Frechet distance is lowest."""
    return min(runs[0].metrics["guidance"], key=lambda w: np.mean([frechet(w)(r) for r in runs]))


def guidance(key: str, digits: int = 1) -> str:
    """``frechet`` or ``accuracy`` of the digits rows at every guidance scale.

    Last: at the scale of the teacher's best Frechet distance, and at the row's own, which is named.
    """
    groups, lines = _digits(DIGITS_ROWS), []
    theirs = best_scale(groups["teacher"])
    for name, runs in groups.items():
        at = {w: spread(runs, metric("guidance", w, key), digits) for w in DIGITS.guidance}
        own = best_scale(runs)
        lines.append([NAMES[name], *at.values(), at[theirs], f"{at[own]} ({own})"])
    return markdown(["model", *DIGITS.guidance, f"teacher's best ({theirs})", "own best"], lines)
