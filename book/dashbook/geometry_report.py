"""Objectives and stored students in the plane of branch errors, as Markdown tables."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from dashbook.geometry import Form, centred, form_of
from dashbook.plots import NAMES
from dashbook.residuals import Moments, mean_moments
from dashbook.tables import DASHES, markdown
from dashlib import results
from dashlib.losses import Objective
from dashlib.results import Run

PLACED = {  # what placement() says: heading, digits, unit
    "main": ("main axis", 0, "°"),
    "ratio": ("long : short", 1, ""),
    "own": ("soft", 0, "°"),
    "soft": ("along ÷ DASH", 2, ""),
    "stiff": ("across ÷ DASH", 2, ""),
    "excess": ("excess", 0, "°"),
    "w": ("best w", 1, ""),
}


def _condition(form: Form) -> list[str]:
    """The condition number and the direction of the lower eigenvalue."""
    kappa = f"{form.condition:.4g}" if form.null is None else "∞"
    soft = f"({form.soft[0]:.3f}, {form.soft[1]:.3f})" if form.condition > 1 else "none"
    return [kappa, soft]


def objectives(trained: Mapping[str, Objective]) -> str:
    """The form of each row's objective, its eigenvalues, and whether it is least at the teacher."""
    lines = []
    for row, objective in trained.items():
        form = form_of(objective)
        cells = [f"{v:.4g}" for v in (form.cc, form.cu, form.uu, *form.eigenvalues)]
        least = "teacher" if centred(objective) else "elsewhere"
        lines.append([NAMES[row], *cells, *_condition(form), least])
    header = ["$Q_{cc}$", "$Q_{cu}$", "$Q_{uu}$", "low", "high", "κ", "softest", "minimum"]
    return markdown(["objective", *header], lines)


def averages(forms: Mapping[str, Form]) -> str:
    """Forms of guided errors in the mean over scales: trace, variance of the scale, condition."""
    lines = []
    for name, form in forms.items():
        variance = abs(np.linalg.det(form.matrix))
        lines.append([name, f"{form.cc + form.uu:.3f}", f"{variance:.4f}", *_condition(form)])
    return markdown(["scales", "trace", "Var(w)", "κ", "softest"], lines)


def stored_rows(rows: Iterable[str], scale: str) -> dict[str, list[Run]]:
    """The runs of those rows that are stored at a scale, under TIRT Transfer."""
    names = results.names(scale)
    known = [row for row in rows if f"{scale}/{row}-transfer-s0" in names]
    return {row: results.select(row, "transfer", scale) for row in known}


def overall(runs: Sequence[Run]) -> Moments:
    """Second moments of the branch errors over all timesteps, in the mean over runs."""
    return mean_moments([run.metrics["gap"]["overall"] for run in runs])


def students(runs: Mapping[str, Sequence[Run]], placed: Mapping[str, Mapping[str, float]]) -> str:
    """How large the errors of each row are, and where they lie.

    ``placed[row]`` is its :func:`dashbook.residuals.placement`; what is nan there is a dash.
    """
    lines = []
    for row, seeds in runs.items():
        m = overall(seeds)
        cells = [
            DASHES if math.isnan(placed[row][key]) else f"{placed[row][key]:.{digits}f}{unit}"
            for key, (_, digits, unit) in PLACED.items()
        ]
        sizes = [f"{math.sqrt(v):.3f}" for v in (m.cc, m.uu)]
        lines.append([NAMES[row], str(len(seeds)), *sizes, *cells])
    header = ["student", "seeds", "r.m.s. $e_c$", "r.m.s. $e_u$"]
    return markdown([*header, *(heading for heading, _, _ in PLACED.values())], lines)
