r"""Repairing a student's guidance without training: its gap is rescaled at sampling.

For the branches S of a student and T of its teacher on the same noisy images, with the gaps
g and the error :math:`e_u = S_u - T_u` of the unconditional branch, least squares gives

.. math:: a = \frac{E[g_S \cdot g_T]}{E|g_S|^2}, \qquad c = -\frac{E[g_S \cdot e_u]}{E|g_S|^2},

over all timesteps or over each range of them, a(t) and c(t).

* ``eps_u + w(t) a(t) gap``: the *gap repair*; ``a g_S`` is the multiple closest to ``g_T``.
* ``eps_u + (w(t) a(t) + c(t)) gap``: the *output repair*; for every w, ``v = w a + c`` brings the
  student's output ``S_u + v g_S`` closest to the teacher's ``T_u + w g_T``.

With ``e_u = 0`` they agree (c = 0).  With ``e_c = 0``, c = 1 - a: the scale is ``1 + (w - 1) a``.
Both only rename the dial: a repaired student is the same student under another guidance schedule.
One factor a at the scale w IS guidance at the scale w a.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from dashbook.atlas import check_bins
from dashlib.guidance import Branches, GuidanceSchedule


@dataclass(frozen=True)
class Fit:
    """Coefficients for equal ranges of timesteps, first the least noisy one; both as long.

    ``ValueError`` for lengths that differ, none at all, or a number that is not finite.
    """

    a: tuple[float, ...]
    c: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.a or len(self.a) != len(self.c):
            raise ValueError(
                f"{len(self.a)} factors and {len(self.c)} offsets: as many, at least 1"
            )
        if not torch.tensor([*self.a, *self.c]).isfinite().all():
            raise ValueError(f"a={self.a}, c={self.c}: a repair needs finite numbers")

    @property
    def gap(self) -> "Fit":
        """The gap repair: the same factors, no offsets."""
        return Fit(self.a, (0.0,) * len(self.c))


def fit(student: Branches, teacher: Branches, t: Tensor, *, bins: int = 1, T: int = 1000) -> Fit:
    """Least-squares a and c in ``bins`` equal ranges of the timesteps t, shape ``(B,)``.

    ``ValueError`` unless ``bins`` divides T, and for a range where the student has no gap.
    """
    check_bins(bins, T)
    gap, target, e_u = (
        v.double().flatten(1) for v in (student.gap, teacher.gap, student.uncond - teacher.uncond)
    )
    where = t.cpu() // (T // bins)
    square, along, off = (
        torch.zeros(bins).double().index_add(0, where, (gap * v).sum(1).cpu())
        for v in (gap, target, e_u)
    )
    if empty := (square == 0).nonzero().flatten().tolist():
        raise ValueError(f"the student has no gap in timestep ranges {empty} of {bins}: use fewer")
    return Fit(tuple((along / square).tolist()), tuple((-off / square).tolist()))


@dataclass(frozen=True)
class Repaired:
    """``w(t) a(t) + c(t)``: any guidance schedule, corrected by a :class:`Fit`.

    ``ValueError`` unless the fit's ranges divide the T timesteps.
    """

    schedule: GuidanceSchedule
    fit: Fit
    T: int = 1000

    def __post_init__(self) -> None:
        check_bins(len(self.fit.a), self.T)

    def __call__(self, t: Tensor) -> Tensor:
        """Guidance scale at t."""
        where = t // (self.T // len(self.fit.a))
        a, c = (torch.tensor(v, device=t.device)[where] for v in (self.fit.a, self.fit.c))
        return self.schedule(t) * a + c


def closed(before: float, after: float, goal: float, *, least: float = 0.2) -> float:
    """Share of a gain that is closed: ``(before - after) / (before - goal)``, of distances.

    1: as good as the goal; above: better; below 0: the repair harms.  nan where the gain is less
    than ``least`` of the distance ``before``, since a share of next to nothing says nothing.
    """
    gain = before - goal
    return (before - after) / gain if gain >= least * before else float("nan")
