r"""The plane of branch errors (e_c, e_u): what each objective sees of it, and where students lie.

With ``e_c = S_cond - T_cond`` and ``e_u = S_uncond - T_uncond`` for the same noisy image, an
objective on outputs is, for every element of the image, a quadratic form

.. math:: e^T Q e = Q_{cc} e_c^2 + 2 Q_{cu} e_c e_u + Q_{uu} e_u^2 \qquad (Q: half its Hessian)

======================= ================================= ======================================
``cond_only``           ``diag(1, 0)``                    null (0, 1)
``composite``           ``v v^T``, ``v = (w, 1 - w)``     null (w - 1, w)
``multi_w``             ``E_w v v^T``                     determinant Var(w): none
``gap_match``           ``mu [[1, -1], [-1, 1]]``         null (1, 1); its terms add to diagonals
``dash``, no anchor     identity                          none
``dash_sampled``        ``diag(1 - p, p)``                none; p: share of the null branch
``cond_only_dropout``   ``diag(1 - p, p)``                none; p: of a dropped label, as scratch
======================= ================================= ======================================

Where the minimum is not at e = 0, Q is the curvature: the anchor draws e_c to ``eps - T_cond``,
dropout e_u to ``gap_T``, scratch both to the noise.  ``fitnets`` counts as ``cond_only``.

A student is the second moments ``M = E e e^T`` of its errors over all elements of all images, in
units of eps, whose elements have variance 1.  The mean loss is ``tr(Q M)``; with ``Q =
composite(w)`` that is the guided error at w.  Common drift is ``M.along((1, 1))``.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from dashbook import plots
from dashbook.tables import DASHES, markdown
from dashlib import losses
from dashlib.baselines.fitnets import FitNets
from dashlib.guidance import Branches, GuidanceSchedule
from dashlib.results import Run

NEGLIGIBLE = 1e-12  # an eigenvalue smaller than this part of the other is zero
TURN = np.linspace(0, 2 * math.pi, 121)[:, None]
DASHED: dict[str, Any] = {"color": "black", "ls": "--", "lw": 1}


def unit(direction: Any) -> np.ndarray:
    """The direction ``(e_c, e_u)`` with length 1 and e_u >= 0 (e_c > 0 where e_u is 0).

    An axis: its sign has no meaning.  ``ValueError`` unless two finite numbers, not both 0.
    """
    v = np.asarray(direction, dtype=float)
    if v.shape != (2,) or not np.isfinite(v).all() or not v.any():
        raise ValueError(f"direction {direction}: two finite numbers (e_c, e_u), not both 0")
    v = v / np.hypot(*v)
    v[abs(v) < NEGLIGIBLE] = 0.0
    return v if v[1] > 0 or (v[1] == 0 and v[0] > 0) else 0.0 - v


def angle(direction: Any) -> float:
    """Degrees from the e_c axis, in [0, 180): 0 conditional, 45 common drift, 90 unconditional."""
    e_c, e_u = unit(direction)
    return math.degrees(math.atan2(e_u, e_c))


@dataclass(frozen=True)
class Symmetric:
    """A symmetric 2x2 matrix ``[[cc, cu], [cu, uu]]`` over (e_c, e_u)."""

    cc: float
    cu: float
    uu: float

    @property
    def matrix(self) -> np.ndarray:
        """Shape ``(2, 2)``."""
        return np.array([[self.cc, self.cu], [self.cu, self.uu]])

    @property
    def eigenvalues(self) -> tuple[float, float]:
        """Ascending.  One that rounding alone keeps from 0 is 0."""
        middle, half = (self.cc + self.uu) / 2, math.hypot((self.cc - self.uu) / 2, self.cu)
        values = np.array([middle - half, middle + half])
        low, high = np.where(abs(values) < NEGLIGIBLE * abs(values).max(), 0.0, values).tolist()
        return low, high

    @property
    def axes(self) -> tuple[np.ndarray, np.ndarray]:
        """Unit eigenvectors in the order of the eigenvalues."""
        low, high = np.linalg.eigh(self.matrix).eigenvectors.T
        return unit(low), unit(high)

    @property
    def condition(self) -> float:
        """Largest over smallest eigenvalue: 1 for a circle, infinite for a blind direction."""
        low, high = self.eigenvalues
        return high / low if low > 0 else math.inf

    def along(self, direction: Any) -> float:
        """``n^T A n`` for the unit vector n of a direction ``(e_c, e_u)``."""
        n = unit(direction)
        return float(n @ self.matrix @ n)

    def __sub__(self, other: "Symmetric") -> "Symmetric":
        return Symmetric(self.cc - other.cc, self.cu - other.cu, self.uu - other.uu)


@dataclass(frozen=True)
class Form(Symmetric):
    """An objective: what it charges for the branch errors of an element, ``e^T Q e >= 0``.

    ``ValueError`` for a form that is negative somewhere, or zero everywhere.
    """

    def __post_init__(self) -> None:
        low, high = self.eigenvalues
        if not (low >= 0 and high > 0):
            raise ValueError(f"{self}: eigenvalues {low:g}, {high:g}; none below 0, one above")

    @property
    def null(self) -> np.ndarray | None:
        """The direction that costs nothing, or ``None`` if there is none."""
        return self.axes[0] if self.eigenvalues[0] == 0 else None


@dataclass(frozen=True)
class Moments(Symmetric):
    """Second moments of errors an element: ``cc = E e_c^2``, ``cu = E e_c e_u``, ``uu = E e_u^2``.

    ``ValueError`` unless they can be moments (no direction with a negative mean square).
    """

    def __post_init__(self) -> None:
        low, high = self.eigenvalues
        if not low >= -1e-9 * abs(high):
            raise ValueError(f"{self}: a mean square would be negative in some direction")

    @property
    def best_w(self) -> float:
        """The scale with the smallest guided error; ``nan`` if all errors are alike.

        ``w = (uu - cu) / (cc - 2 cu + uu)``; for one residual ``e_u / (e_u - e_c)``, error 0.
        """
        gap = self.cc - 2 * self.cu + self.uu
        return (self.uu - self.cu) / gap if gap > 0 else math.nan

    def ellipse(self) -> np.ndarray:
        """The ellipse whose half axes are root mean squares along the axes, ``(121, 2)``."""
        short, long = np.sqrt(np.maximum(self.eigenvalues, 0))
        minor, major = self.axes
        return np.cos(TURN) * long * major + np.sin(TURN) * short * minor


def averaged(w: float, w_squared: float) -> Form:
    """``E |w e_c + (1 - w) e_u|^2`` over random scales, given their moments E w and E w^2.

    Determinant ``Var(w)``, trace ``E w^2 + E (1 - w)^2``.
    """
    return Form(w_squared, w - w_squared, 1 - 2 * w + w_squared)


def composite(w: float) -> Form:
    """``|w e_c + (1 - w) e_u|^2``, the squared guided error at one scale; null (w - 1, w)."""
    return Form(w * w, w * (1 - w), (1 - w) ** 2)


def multi_w(low: float, high: float) -> Form:
    """The same in the mean over ``w ~ U[low, high]``: ``Var(w) = (high - low)^2 / 12``."""
    mean = (low + high) / 2
    return averaged(mean, mean**2 + (high - low) ** 2 / 12)


def scheduled(schedule: GuidanceSchedule, t: Tensor, weights: Tensor | None = None) -> Form:
    """The same in the mean over timesteps t, ``(N,)``, at the scales ``w(t)`` of a schedule.

    ``weights``, ``(N,)``: how much each timestep counts (alike by default).  Of errors that do not
    depend on t: at any one the objective is :func:`composite` at w(t), blind to one direction.
    """
    w = schedule(t).double().numpy()
    return averaged(*(np.average(v, weights=weights).item() for v in (w, w * w)))


def form_of(objective: losses.Objective, *, label_dropout: float = 0.1) -> Form:
    """The form Q of a training objective, half the Hessian of its mean loss an element.

    ``label_dropout``: of ``cond_only_dropout`` and ``scratch``.  ``ValueError`` for an objective
    without branches (``single_head``) and one that sees no error.
    """
    match objective:
        case losses.CondOnly() | FitNets():
            return Form(1, 0, 0)
        case losses.CondOnlyDropout() | losses.Scratch():
            return Form(1 - label_dropout, 0, label_dropout)
        case losses.Composite():
            return composite(objective.w)
        case losses.MultiW():
            return multi_w(objective.low, objective.high)
        case losses.DashSampled():
            return Form(1 - objective.p, 0, objective.p)
        case losses.GapMatch(mu, cc, uu):
            return Form(mu + cc, -mu, mu + uu)
        case losses.Dash():
            return Form(objective.imitation + objective.anchor, 0, objective.unconditional)
    raise ValueError(f"{objective}: not a function of two branch errors, so it has no form")


def centred(objective: losses.Objective) -> bool:
    """Say if the loss is the form itself, least where the student equals the teacher.

    Not so where the target is another than the teacher's answer for the same branch: the noise
    (``scratch``, the anchor of ``dash``) or, for a null label, the other branch, in part or alone.
    """
    other = any(getattr(objective, name, 0) for name in ("anchor", "mix"))
    return not (other or isinstance(objective, (losses.Scratch, losses.CondOnlyDropout)))


def guided_error(e_c: Any, e_u: Any, w: Any) -> Any:
    """``S_w - T_w = w e_c + (1 - w) e_u``, of numbers, arrays or tensors."""
    return w * e_c + (1 - w) * e_u


def errors(student: Branches, teacher: Branches) -> Branches:
    """The pair ``(e_c, e_u)``, each ``(B, C, H, W)``; its ``gap`` is the error of the gap."""
    return Branches(student.cond - teacher.cond, student.uncond - teacher.uncond)


def moments(of: Branches) -> Moments:
    """Second moments of :func:`errors`, in the mean over all elements of all images."""
    e_c, e_u = of.cond.double(), of.uncond.double()
    return Moments(*((a * b).mean().item() for a, b in ((e_c, e_c), (e_c, e_u), (e_u, e_u))))


def stored_moments(*summaries: Mapping[str, float]) -> Moments:
    """The same from stored gap reports, e.g. those of a row's training seeds, which count alike.

    ``run.metrics["gap"]["overall"]`` or one of its bins holds ``cond_mse``, ``uncond_mse`` and
    ``gap_mse = E |e_c - e_u|^2``, and ``2 e_c e_u = e_c^2 + e_u^2 - (e_c - e_u)^2``.
    ``KeyError`` for a summary without one of them, ``ValueError`` for none.
    """
    keys = ("cond_mse", "uncond_mse", "gap_mse")
    cc, uu, gap = (fmean(summary[key] for summary in summaries) for key in keys)
    return Moments(cc, (cc + uu - gap) / 2, uu)


def overall(runs: Sequence[Run]) -> Moments:
    """Second moments of the branch errors over all timesteps, in the mean over runs."""
    return stored_moments(*(run.metrics["gap"]["overall"] for run in runs))


def placement(m: Moments, base: Moments, form: Form) -> dict[str, float]:
    """Place errors m beside those of a yardstick and in the axes of an objective's form.

    ``main``: degrees of the long axis (:func:`angle`); ``ratio``: root mean square along it over
    that across; ``own``: degrees of the form's softest direction, nan for a form that is nearly
    round; ``soft``, ``stiff``: mean squares along and across that direction over the yardstick's;
    ``excess``: degrees in which m exceeds the yardstick most, nan if nowhere; ``w``: the scale with
    the smallest guided error.
    """
    more, (soft, stiff) = m - base, form.axes
    return {
        "main": angle(m.axes[1]),
        "ratio": math.sqrt(m.condition),
        "own": angle(soft) if form.condition > 1.2 else math.nan,
        "soft": m.along(soft) / base.along(soft),
        "stiff": m.along(stiff) / base.along(stiff),
        "excess": angle(more.axes[1]) if more.eigenvalues[1] > 0 else math.nan,
        "w": m.best_w,
    }


def conditioning(form: Form) -> list[str]:
    """The condition number and the direction of the lower eigenvalue, as a table has them."""
    kappa = f"{form.condition:.4g}" if form.null is None else "∞"
    e_c, e_u = form.axes[0]
    return [kappa, f"({e_c:.3f}, {e_u:.3f})" if form.condition > 1 else "none"]


def objectives(trained: Mapping[str, losses.Objective]) -> str:
    """The form of each row's objective, its eigenvalues, and whether it is least at the teacher."""
    lines = []
    for row, objective in trained.items():
        form = form_of(objective)
        cells = [f"{v:.4g}" for v in (form.cc, form.cu, form.uu, *form.eigenvalues)]
        least = "teacher" if centred(objective) else "elsewhere"
        lines.append([plots.NAMES[row], *cells, *conditioning(form), least])
    header = ["$Q_{cc}$", "$Q_{cu}$", "$Q_{uu}$", "low", "high", "κ", "softest", "minimum"]
    return markdown(["objective", *header], lines)


def students(runs: Mapping[str, Sequence[Run]], placed: Mapping[str, Mapping[str, float]]) -> str:
    """Tabulate each row's errors by size and place (its :func:`placement`; nan: a dash)."""
    shown = {"main": "{:.0f}°", "ratio": "{:.1f}", "own": "{:.0f}°", "soft": "{:.2f}"}
    shown |= {"stiff": "{:.2f}", "excess": "{:.0f}°", "w": "{:.1f}"}
    lines = []
    for row, seeds in runs.items():
        m, at = overall(seeds), placed[row]
        sizes = [f"{math.sqrt(v):.3f}" for v in (m.cc, m.uu)]
        cells = [DASHES if math.isnan(at[k]) else text.format(at[k]) for k, text in shown.items()]
        lines.append([plots.NAMES[row], str(len(seeds)), *sizes, *cells])
    header = ["student", "seeds", "r.m.s. $e_c$", "r.m.s. $e_u$", "main axis", "long : short"]
    header += ["soft", "along ÷ DASH", "across ÷ DASH", "excess", "best w"]
    return markdown(header, lines)


def _square(ax: Axes, half: float) -> None:
    ax.set(xlim=(-half, half), ylim=(-half, half), aspect="equal", xlabel="$e_c$", ylabel="$e_u$")


def descent(left: Mapping[str, np.ndarray], dashed: str = "") -> Figure:
    """``left[row]``: shares of a squared error left, before every step; one row may be dashed."""
    figure, ((ax,),) = plots.axes()
    for row, shares in left.items():
        style = {"ls": "--" if row == dashed else "-", "color": plots.color(row)}
        ax.plot(np.maximum(shares, 1e-6), label=plots.NAMES[row], **style)
    ax.set(xlabel="step", ylabel="share of the squared error left", yscale="log")
    ax.set_title("A weak direction is slow, a null direction stays")
    ax.set(ylim=(2e-4, 1.5), xlim=(-5, max(map(len, left.values())) - 1))
    plots.name_ends(ax, 9)
    return figure


def clouds(errors: Mapping[str, Branches], nulls: Mapping[str, np.ndarray | None]) -> Figure:
    """A panel a row: every tenth pixel's errors, their ellipse at two r.m.s., its null."""
    title = "Composite's errors lie along its null direction (dashed)"
    figure, grid = plots.axes(1, len(errors), (8.4, 3.8), title)
    for ax, (row, cloud) in zip(grid[0], errors.items(), strict=True):
        pixels = (of.flatten()[::10] for of in (cloud.cond, cloud.uncond))
        ax.plot(*pixels, ".", ms=1.5, color="#aaaaaa")
        ax.plot(*(2 * moments(cloud).ellipse()).T, color=plots.color(row))
        if (null := nulls[row]) is not None:
            ax.axline((0, 0), tuple(null), **DASHED)
        _square(ax, 2.5)
        ax.set(ylabel="", title=plots.NAMES[row])
    grid[0, 0].set_ylabel("$e_u$")
    return figure


def ellipses(rows: Mapping[str, Moments], null: np.ndarray, limit: float) -> Figure:
    """Ellipses of a few students; dashed: a null direction."""
    figure, ((ax,),) = plots.axes(size=(6.0, 4.4))
    ax.axline((0, 0), tuple(null), **DASHED)
    for row, m in rows.items():
        ax.plot(*m.ellipse().T, color=plots.color(row), label=plots.NAMES[row])
    _square(ax, limit)
    plots.name_ends(ax, 10)
    return figure
