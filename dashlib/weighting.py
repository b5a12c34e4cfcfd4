r"""Per-timestep importance: how much each timestep counts in the loss.

A weighting maps timesteps ``t`` to weights, both ``(B,)``, whose mean over all T timesteps is 1,
and reduces per-sample losses to one number, ``mean(weight_t * loss)``.

Sources: DASH (arXiv 2606.00798); Hang et al. 2023 (Min-SNR); Karras et al. 2024 (EDM2).
"""

import copy
from collections.abc import Callable
from functools import partial
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from dashlib.checks import check_choice, check_finite, check_positive
from dashlib.schedule import Schedule, check_timesteps


class Weighting(nn.Module):
    """Uniform weighting, and the base of the others."""

    symbol: ClassVar[str] = ""  # of its one parameter, a number for each timestep, if it learns
    base: Tensor  # fixed factors of the weights, (T,)

    def __init__(self, schedule: Schedule) -> None:
        super().__init__()
        self.T = schedule.T
        self.register_buffer("base", torch.ones(schedule.T), persistent=False)

    def omega(self) -> Tensor:
        """Weight of every timestep before normalisation, shape ``(T,)``."""
        return self.base

    def importance(self) -> Tensor:
        """Weight of every timestep, shape ``(T,)``: :meth:`omega` divided by its mean."""
        omega = self.omega()
        return omega / omega.mean()

    def forward(self, t: Tensor) -> Tensor:
        """Weights of the timesteps t, shape ``(B,)``."""
        check_timesteps(t, self.T)
        return self.importance().to(t.device)[t]

    def reduce(self, loss: Tensor, t: Tensor) -> Tensor:
        """``mean(weight_t * loss)`` for per-sample losses of shape ``(B,)``."""
        return (self(t) * loss).mean()

    def freeze(self) -> Self:
        """A copy that no longer learns: what TIRT Transfer hands to the student."""
        return copy.deepcopy(self).requires_grad_(False)


class Uniform(Weighting):
    """Every timestep counts the same."""


class MinSNR(Weighting):
    """Min-SNR for a loss on eps: ``min(gamma / SNR_t, 1)``, divided by its mean over T."""

    def __init__(self, schedule: Schedule, gamma: float = 5.0) -> None:
        super().__init__(schedule)
        check_positive(gamma=gamma)
        self.gamma = float(gamma)
        self.base = (gamma / schedule.snr()).clamp(max=1).float()


class HighNoise(Weighting):
    """A bounded emphasis on high noise: ``min(1/sqrt(alpha_bar_t), bound)``, divided by its mean.

    There errors of eps, in the image times ``sqrt((1 - alpha_bar_t)/alpha_bar_t)``, set its colour.
    """

    def __init__(self, schedule: Schedule, bound: float = 20.0) -> None:
        super().__init__(schedule)
        check_positive(bound=bound)
        self.bound = float(bound)
        self.base = schedule.alpha_bar(torch.arange(self.T)).rsqrt().clamp(max=bound).float()


class TIRT(Weighting):
    """Learned importance ``omega_t = base_t * sigmoid(lambda_t)``, divided by its mean.

    ``lambda`` (one a timestep, from 0) is learned jointly with the network.  ``base``: as
    ``"published"`` min(SNR, gamma), the Min-SNR weight of a loss on x0; that of one on ``"eps"``,
    min(gamma/SNR, 1).  ``normalize``: over ``"timesteps"`` (as in text) or the ``"batch"`` (code).

    The gradient of a batch loss is ``dL/dlambda_t ~ base_t sigmoid'(lambda_t) (loss_t - L)`` with
    L the weighted mean loss: descent *lowers* the weight of timesteps that are harder than average.
    """

    symbol = "lambda"

    def __init__(
        self, schedule: Schedule, *, base: Literal["published", "eps"] = "published",
        normalize: Literal["timesteps", "batch"] = "timesteps", gamma: float = 5.0,
    ) -> None:  # fmt: skip
        super().__init__(schedule)
        check_choice("base", base, ("published", "eps"))
        check_choice("normalize", normalize, ("timesteps", "batch"))
        check_positive(gamma=gamma)
        snr = schedule.snr()
        omega = snr.clamp(max=gamma) if base == "published" else (gamma / snr).clamp(max=1)
        self.base, self.base_name = omega.float(), base
        self.normalize, self.gamma = normalize, float(gamma)
        self.lam = nn.Parameter(torch.zeros(schedule.T))

    def omega(self) -> Tensor:
        """``base_t sigmoid(lambda_t)``, shape ``(T,)``."""
        return self.base * torch.sigmoid(self.lam)

    def forward(self, t: Tensor) -> Tensor:
        """Weights of the timesteps t, shape ``(B,)``; under ``"batch"`` their own mean is 1."""
        weights = super().forward(t)
        return weights / weights.mean() if self.normalize == "batch" else weights


class Uncertainty(Weighting):
    """EDM2's uncertainty: ``mean(loss / exp(u_t) + u_t)``, the regularised relative of TIRT.

    At the optimum ``exp(u_t)`` is the expected loss at t, so every timestep contributes equally.
    """

    symbol = "u"

    def __init__(self, schedule: Schedule) -> None:
        super().__init__(schedule)
        self.u = nn.Parameter(torch.zeros(schedule.T))

    def omega(self) -> Tensor:
        """``exp(-u_t)``, shape ``(T,)``: what :meth:`reduce` multiplies the losses by."""
        return torch.exp(-self.u)

    def reduce(self, loss: Tensor, t: Tensor) -> Tensor:
        """``mean(loss / exp(u_t) + u_t)``; once frozen, ``mean(importance_t * loss)``."""
        check_timesteps(t, self.T)
        if not self.u.requires_grad:
            return super().reduce(loss, t)
        return (loss * torch.exp(-self.u[t]) + self.u[t]).mean()


WEIGHTINGS: dict[str, Callable[[Schedule], Weighting]] = {
    "uniform": Uniform,
    "min_snr": MinSNR,
    "high_noise": HighNoise,
    "tirt": TIRT,
    "tirt_batch": partial(TIRT, normalize="batch"),
    "tirt_eps": partial(TIRT, base="eps"),
    "uncertainty": Uncertainty,
}


def make_weighting(name: str, schedule: Schedule) -> Weighting:
    """A weighting by name; ``ValueError`` that lists the names for an unknown one."""
    check_choice("unknown weighting", name, WEIGHTINGS)
    return WEIGHTINGS[name](schedule)


def transfer(lam: Tensor, schedule: Schedule) -> TIRT:
    """TIRT Transfer: TIRT with the teacher's learned ``lambda``, shape ``(T,)``, frozen."""
    if lam.shape != (schedule.T,):
        raise ValueError(f"lambda of shape {tuple(lam.shape)}: the schedule has {schedule.T} steps")
    check_finite("lambda", lam)
    weighting = TIRT(schedule)
    weighting.lam.data.copy_(lam)
    return weighting.freeze()
