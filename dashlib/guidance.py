r"""Classifier-free guidance: two branches of one network, and how far to extrapolate between them.

One convention throughout (``w = 1``: no guidance, the conditional model; ``w = 0``: unconditional):

.. math:: \varepsilon_w = \varepsilon_{uncond} + w\,(\varepsilon_{cond} - \varepsilon_{uncond})

and the *guidance gap* is ``gap = eps_cond - eps_uncond``.

Sources: Ho & Salimans 2022 (CFG); the DASH release (TAG); Kynkaanniemi et al. 2024 (interval).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor

from dashlib.checks import check_finite


class Denoiser(Protocol):
    """A network with labels: ``eps = model(x_t, t, y)``; ``null_label`` is its null class."""

    @property
    def null_label(self) -> int:
        """Label that asks for the unconditional branch."""

    def __call__(self, x_t: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """Predicted noise, shaped like ``x_t``."""


# A network that takes the guidance scale as an input: eps_w = model(x_t, t, y, w), w of shape (B,)
ScaledDenoiser = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
# A guidance scale for every timestep: w(t), t of shape (B,) -> float (B,)
GuidanceSchedule = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Branches:
    """Both predictions for the same noisy images, ``(B, C, H, W)``; may be indexed like them."""

    cond: Tensor
    uncond: Tensor

    @property
    def gap(self) -> Tensor:
        """``cond - uncond``: the direction in which guidance pushes."""
        return self.cond - self.uncond

    def guided(self, w: float | Tensor) -> Tensor:
        """``uncond + w * gap``; w is a number or one number an image, shape ``(B,)``."""
        if isinstance(w, Tensor) and w.ndim == 1:
            w = w.to(self.cond).reshape(-1, *[1] * (self.cond.ndim - 1))
        return self.uncond + w * self.gap

    def __getitem__(self, index: slice | Tensor) -> "Branches":
        return Branches(self.cond[index], self.uncond[index])


def branches(model: Denoiser, x_t: Tensor, t: Tensor, y: Tensor) -> Branches:
    """Both branches in ONE pass over 2B images; in two for dropout with ``shared_masks``."""
    null = torch.full_like(y, model.null_label)
    if getattr(model, "shared_masks", False) and getattr(model, "training", False):
        with torch.random.fork_rng():  # the second pass draws what the first one drew
            cond = model(x_t, t, y)
        return Branches(cond, model(x_t, t, null))
    both = model(torch.cat([x_t, x_t]), torch.cat([t, t]), torch.cat([y, null]))
    return Branches(*both.chunk(2))


@dataclass(frozen=True)
class Constant:
    """``w(t) = w``."""

    w: float

    def __call__(self, t: Tensor) -> Tensor:
        """Guidance scale at t."""
        return torch.full(t.shape, float(self.w), device=t.device)


@dataclass(frozen=True)
class TAG:
    """Timestep-adaptive guidance: ``w_min + (w_max - w_min) sigmoid(beta (1/2 - t/T))``.

    Small at high noise.  The paper's defaults ("w = 4") give w from 1.23 to 3.77, mean 2.50.
    """

    w_min: float = 1.0
    w_max: float = 4.0
    beta: float = 5.0
    T: int = 1000

    def __call__(self, t: Tensor) -> Tensor:
        """Guidance scale at t."""
        s = torch.sigmoid(self.beta * (0.5 - t.float() / self.T))
        return self.w_min + (self.w_max - self.w_min) * s


@dataclass(frozen=True)
class Interval:
    """``w`` for ``low <= t < high``, no guidance (1) outside: limited-interval guidance."""

    w: float
    low: int
    high: int

    def __call__(self, t: Tensor) -> Tensor:
        """Guidance scale at t."""
        return torch.where((t >= self.low) & (t < self.high), float(self.w), 1.0)


class Guided:
    """A guided noise predictor ``eps(x_t, t)``: a denoiser, labels ``(B,)`` and a schedule w(t).

    A constant w = 1 (or 0) needs one branch, and evaluates only that one.  A ``w_conditioned``
    network (Meng et al. 2023) is called once, with w(t).  ``ValueError`` for a w not finite.
    """

    def __init__(self, model: Denoiser, y: Tensor, w: float | GuidanceSchedule) -> None:
        self.model, self.y, self.w = model, y, w if callable(w) else Constant(w)
        scales = [self.w(torch.full_like(y, t)) for t in range(0, 1000, 37)]  # 0 to 999
        check_finite(f"guidance scale {self.w}", torch.stack(scales))

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Guided noise, shaped like ``x_t``."""
        if getattr(self.model, "w_conditioned", False):
            return cast(ScaledDenoiser, self.model)(x_t, t, self.y, self.w(t))
        if self.w == Constant(1):
            return self.model(x_t, t, self.y)
        if self.w == Constant(0):
            return self.model(x_t, t, torch.full_like(self.y, self.model.null_label))
        return branches(self.model, x_t, t, self.y).guided(self.w(t))
