r"""The plane of branch errors (e_c, e_u): what each objective sees of it.

With ``e_c = S_cond - T_cond`` and ``e_u = S_uncond - T_uncond`` for the same noisy image, an
objective on outputs is, for every element of the image, a quadratic form

.. math:: e^T Q e = Q_{cc} e_c^2 + 2 Q_{cu} e_c e_u + Q_{uu} e_u^2 \qquad (Q: half its Hessian)

======================= ================================= ======================================
``cond_only``           ``diag(1, 0)``                    null (0, 1)
``composite``           ``v v^T``, ``v = (w, 1 - w)``     null (w - 1, w)
``multi_w``             ``E_w v v^T``                     determinant Var(w): none
``gap_match``           ``[[1, -1], [-1, 1]]``            null (1, 1)
``dash``, no anchor     identity                          none
``dash_sampled``        ``diag(1 - p, p)``                none; p: share of the null branch
``cond_only_dropout``,  ``diag(1 - p, p)``                none; p: probability of a dropped label
``scratch``
======================= ================================= ======================================

Three of the objectives have their minimum elsewhere than at e = 0, so that Q is their curvature and
not their value: the anchor adds its factor to Q_cc and draws e_c towards ``eps - T_cond``, dropout
draws e_u towards ``gap_T``, scratch draws both errors towards the noise.  ``fitnets`` sees
``cond_only`` of the outputs (its features are not outputs); ``single_head`` has no branches.

The mean loss of errors with second moments ``M = E e e^T`` is ``tr(Q M)``; ``dashbook.residuals``
measures M.  Units: those of eps, whose elements have variance 1.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dashlib.baselines.fitnets import FitNets
from dashlib.guidance import GuidanceSchedule
from dashlib.losses import (
    Composite,
    CondOnly,
    CondOnlyDropout,
    Dash,
    DashSampled,
    GapMatch,
    MultiW,
    Objective,
    Scratch,
)

Lines = list[np.ndarray]
NEGLIGIBLE = 1e-12  # an eigenvalue smaller than this part of the other is zero


def unit(direction: Any) -> np.ndarray:
    """The direction ``(e_c, e_u)`` with length 1 and e_u >= 0 (e_c > 0 where e_u is 0).

    A direction is an axis: its sign has no meaning.  ``ValueError`` unless it is two finite numbers
    that are not both 0.
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
    """A symmetric 2x2 matrix ``[[cc, cu], [cu, uu]]`` over (e_c, e_u).

    ``ValueError`` for entries that are not finite.
    """

    cc: float
    cu: float
    uu: float

    def __post_init__(self) -> None:
        if not all(math.isfinite(v) for v in (self.cc, self.cu, self.uu)):
            raise ValueError(f"{self}: entries must be finite numbers")

    @property
    def matrix(self) -> np.ndarray:
        """Shape ``(2, 2)``."""
        return np.array([[self.cc, self.cu], [self.cu, self.uu]])

    @property
    def eigenvalues(self) -> tuple[float, float]:
        """Ascending.  One that rounding alone keeps from 0 is 0."""
        middle = (self.cc + self.uu) / 2
        half = math.hypot((self.cc - self.uu) / 2, self.cu)
        far = middle + math.copysign(half, middle)
        near = (self.cc * self.uu - self.cu**2) / far if far else 0.0
        low, high = sorted((near if abs(near) > NEGLIGIBLE * abs(far) else 0.0, far))
        return low, high

    @property
    def axes(self) -> tuple[np.ndarray, np.ndarray]:
        """Unit eigenvectors in the order of the eigenvalues; if these are equal, e_u then e_c."""
        turn = math.atan2(2 * self.cu, self.cc - self.uu) / 2
        high = unit((math.cos(turn), math.sin(turn)))
        return unit((-high[1], high[0])), high

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
        super().__post_init__()
        low, high = self.eigenvalues
        if low < 0 or high <= 0:
            raise ValueError(f"{self}: eigenvalues {low:g}, {high:g}; none below 0, one above")

    @property
    def condition(self) -> float:
        """Largest over smallest eigenvalue: 1 for a circle, infinite for a blind direction."""
        soft, stiff = self.eigenvalues
        return stiff / soft if soft > 0 else math.inf

    @property
    def soft(self) -> np.ndarray:
        """The direction in which the loss rises least: unit vector ``(e_c, e_u)``."""
        return self.axes[0]

    @property
    def null(self) -> np.ndarray | None:
        """The direction that costs nothing, or ``None`` if there is none."""
        return self.soft if self.eigenvalues[0] == 0 else None

    def value(self, e_c: Any, e_u: Any) -> Any:
        """``e^T Q e`` of numbers, arrays or tensors of errors."""
        return self.cc * e_c**2 + 2 * self.cu * e_c * e_u + self.uu * e_u**2

    def mean(self, moments: Symmetric) -> float:
        """``tr(Q M)``: the mean loss of errors with these second moments."""
        return float((self.matrix * moments.matrix).sum())

    def level_set(self, level: float = 1.0, *, reach: float = 2.0, points: int = 121) -> Lines:
        """Where ``e^T Q e = level``, as lines to draw, each of shape ``(points, 2)``.

        One closed ellipse; or, with a blind direction, the two lines along it, drawn for ``reach``
        to each side.  ``ValueError`` unless level and reach are positive and points at least 2.
        """
        if not (0 < level < math.inf and 0 < reach < math.inf and points >= 2):
            raise ValueError(
                f"level={level}, reach={reach}, points={points}: level and reach must be positive, "
                "points at least 2"
            )
        (low, high), (soft, stiff) = self.eigenvalues, self.axes
        across = math.sqrt(level / high) * stiff
        if low == 0:
            line = np.linspace(-reach, reach, points)[:, None] * soft
            return [across + line, line - across]
        turn = np.linspace(0, 2 * math.pi, points)[:, None]
        return [np.cos(turn) * across + np.sin(turn) * math.sqrt(level / low) * soft]


def averaged(w: float, w_squared: float) -> Form:
    """``E |w e_c + (1 - w) e_u|^2`` over random scales, given their moments E w and E w^2.

    Determinant ``Var(w)``, trace ``E w^2 + E (1 - w)^2``.
    """
    return Form(w_squared, w - w_squared, 1 - 2 * w + w_squared)


def composite(w: float) -> Form:
    """``|w e_c + (1 - w) e_u|^2``, the squared guided error at one scale; null (w - 1, w)."""
    return Form(w * w, w * (1 - w), (1 - w) ** 2)


def multi_w(low: float, high: float) -> Form:
    """The same in the mean over ``w ~ U[low, high]``: ``Var(w) = (high - low)^2 / 12``.

    ``ValueError`` for bounds the wrong way round.
    """
    if not low <= high:
        raise ValueError(f"w ~ U[{low}, {high}]: low must not exceed high")
    mean = (low + high) / 2
    return averaged(mean, mean**2 + (high - low) ** 2 / 12)


def scheduled(schedule: GuidanceSchedule, t: Tensor, weights: Tensor | None = None) -> Form:
    """The same in the mean over timesteps t, ``(N,)``, at the scales ``w(t)`` of a schedule.

    ``weights``, ``(N,)``: how much each timestep counts (alike by default); their size has no
    meaning.  The form of errors that do not depend on t: at any one timestep the objective is
    :func:`composite` at w(t), which is blind to one direction.
    """
    w = schedule(t).double()
    p = torch.ones_like(w) if weights is None else weights.double()
    if p.shape != w.shape or not p.sum() > 0:
        raise ValueError(f"{tuple(p.shape)} weights for {tuple(w.shape)} timesteps, sum {p.sum()}")
    p = p / p.sum()
    return averaged((p * w).sum().item(), (p * w * w).sum().item())


def form_of(objective: Objective, *, label_dropout: float = 0.1) -> Form:
    """The form Q of a training objective, half the Hessian of its mean loss an element.

    ``label_dropout``: how often the label of ``cond_only_dropout`` and ``scratch`` is dropped.
    ``ValueError`` for an objective without branches (``single_head``) and one that sees no error.
    """
    match objective:
        case CondOnly() | FitNets():
            return Form(1, 0, 0)
        case CondOnlyDropout() | Scratch():
            return Form(1 - label_dropout, 0, label_dropout)
        case Composite():
            return composite(objective.w)
        case MultiW():
            return multi_w(objective.low, objective.high)
        case DashSampled():
            return Form(1 - objective.p, 0, objective.p)
        case GapMatch():
            return Form(1 + objective.imitation, -1, 1)
        case Dash():
            return Form(objective.imitation + objective.anchor, 0, objective.unconditional)
    raise ValueError(f"{objective}: not a function of two branch errors, so it has no form")


def centred(objective: Objective) -> bool:
    """Whether the loss is the form itself, least where the student equals the teacher.

    Not so where the target is another than the teacher's answer for the same branch: the noise
    (``scratch``, the anchor of ``dash``) or, for a dropped label, the other branch.
    """
    anchored = isinstance(objective, Dash) and objective.anchor != 0
    return not (anchored or isinstance(objective, (Scratch, CondOnlyDropout)))


def guided_error(e_c: Any, e_u: Any, w: Any) -> Any:
    """``S_w - T_w = w e_c + (1 - w) e_u``, of numbers, arrays or tensors."""
    return w * e_c + (1 - w) * e_u
