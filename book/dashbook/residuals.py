r"""Where students lie in the plane of branch errors: second moments of (e_c, e_u).

.. math:: M = E\,[e e^T], \qquad e = (e_c, e_u)

Every element of every image is one point of the plane; the mean is over all of them.  The mean loss
of an objective with form Q (:mod:`.geometry`) is ``tr(Q M)``; with ``Q = composite(w)`` that is
the guided error at w.  The errors' common part m and difference d share out the whole, ``|e_c|^2 +
|e_u|^2 = 2 |m|^2 + |d|^2 / 2``: these are ``along((1, 1))`` and ``along((1, -1))``.

Units: mean squares an element, in those of eps, whose elements have variance 1.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dashbook.geometry import Form, Symmetric, angle
from dashlib.guidance import Branches


def errors(student: Branches, teacher: Branches) -> Branches:
    """The pair ``(e_c, e_u)``, each ``(B, C, H, W)``; its ``gap`` is the error of the gap."""
    return Branches(student.cond - teacher.cond, student.uncond - teacher.uncond)


@dataclass(frozen=True)
class Moments(Symmetric):
    """Second moments of errors an element: ``cc = E e_c^2``, ``cu = E e_c e_u``, ``uu = E e_u^2``.

    ``ValueError`` unless they can be moments (no direction with a negative mean square).
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.eigenvalues[0] < -1e-9 * self.eigenvalues[1] or self.cc + self.uu < 0:
            raise ValueError(f"{self}: a mean square would be negative in some direction")

    @property
    def best_w(self) -> float:
        """The scale with the smallest guided error; ``nan`` if all errors are alike.

        ``w = (uu - cu) / (cc - 2 cu + uu)``; for one residual ``e_u / (e_u - e_c)``, error 0.
        """
        gap = self.cc - 2 * self.cu + self.uu
        return (self.uu - self.cu) / gap if gap > 0 else math.nan

    def ellipse(self, points: int = 121) -> np.ndarray:
        """The ellipse whose half axes are root mean squares along the axes, ``(points, 2)``."""
        turn, (low, high) = np.linspace(0, 2 * math.pi, points)[:, None], self.eigenvalues
        minor, major = self.axes
        return (
            np.cos(turn) * math.sqrt(high) * major + np.sin(turn) * math.sqrt(max(low, 0)) * minor
        )


def moments(of: Branches) -> Moments:
    """Second moments of :func:`errors`, in the mean over all elements of all images."""
    e_c, e_u = of.cond.double(), of.uncond.double()
    return Moments(*((a * b).mean().item() for a, b in ((e_c, e_c), (e_c, e_u), (e_u, e_u))))


def stored_moments(summary: Mapping[str, float]) -> Moments:
    """The same from a stored gap report, ``run.metrics["gap"]["overall"]`` or one of its bins.

    It holds ``cond_mse``, ``uncond_mse`` and ``gap_mse = E |e_c - e_u|^2``, and ``2 e_c e_u = e_c^2
    + e_u^2 - (e_c - e_u)^2``.  ``ValueError`` for a summary without one of them.
    """
    missing = [k for k in ("cond_mse", "uncond_mse", "gap_mse") if k not in summary]
    if missing:
        raise ValueError(
            f"no {', '.join(missing)} in {sorted(summary)}: not a gap report's summary"
        )
    cc, uu = summary["cond_mse"], summary["uncond_mse"]
    return Moments(cc, (cc + uu - summary["gap_mse"]) / 2, uu)


def mean_moments(summaries: Sequence[Mapping[str, float]]) -> Moments:
    """Moments in the mean over gap reports that count alike, e.g. of a row's training seeds."""
    if not summaries:
        raise ValueError("no summaries to average")
    every = [stored_moments(summary) for summary in summaries]
    cc, cu, uu = (sum(getattr(m, k) for m in every) / len(every) for k in ("cc", "cu", "uu"))
    return Moments(cc, cu, uu)


def placement(m: Moments, base: Moments, form: Form) -> dict[str, float]:
    """Where errors m lie, beside those of a yardstick and in the axes of an objective's form.

    ``main``: degrees of the long axis (:func:`.geometry.angle`); ``ratio``: root mean square
    along it over that across; ``own``: degrees of the form's softest direction, nan for a form that
    is nearly round; ``soft``, ``stiff``: mean squares along and across that direction over the
    yardstick's; ``excess``: degrees in which m exceeds the yardstick most, nan if nowhere; ``w``:
    the scale with the smallest guided error.
    """
    (low, high), more, (soft, stiff) = m.eigenvalues, m - base, form.axes
    return {
        "main": angle(m.axes[1]),
        "ratio": math.sqrt(high / low),
        "own": angle(soft) if form.condition > 1.2 else math.nan,
        "soft": m.along(soft) / base.along(soft),
        "stiff": m.along(stiff) / base.along(stiff),
        "excess": angle(more.axes[1]) if more.eigenvalues[1] > 0 else math.nan,
        "w": m.best_w,
    }
