r"""The forward process: how an image x0 becomes noise in T steps.

Notation: :math:`q(x_t | x_0) = N(\sqrt{\bar\alpha_t} x_0, (1 - \bar\alpha_t) I)`, so that
``x_t = sqrt(alpha_bar_t) x0 + sqrt(1 - alpha_bar_t) eps`` with ``eps ~ N(0, I)``.
Timesteps run from 0 (almost clean) to T - 1 (almost pure noise).

Sources: Ho et al. 2020 (DDPM); Nichol & Dhariwal 2021 (the cosine schedule).
"""

import math

import torch
from torch import Tensor

from dashlib.checks import check_positive, check_range


def cosine_alpha_bar(T: int, s: float = 0.008) -> Tensor:
    r"""Signal level of the cosine schedule, shape ``(T,)``, float64, decreasing in (0, 1).

    ``alpha_bar_t = prod_{i<=t} (1 - beta_i)`` with ``beta_i = 1 - f(i+1)/f(i)``,
    ``f(i) = cos^2(((i/T + s)/(1 + s)) pi/2)``, each beta clipped to [1e-4, 0.9999].
    """
    check_positive(T=T)
    i = torch.arange(T + 1, dtype=torch.float64)
    f = torch.cos((i / T + s) / (1 + s) * math.pi / 2) ** 2
    betas = (1 - f[1:] / f[:-1]).clamp(1e-4, 0.9999)
    return torch.cumprod(1 - betas, dim=0)


def check_timesteps(t: Tensor, T: int) -> None:
    """Raise ``ValueError`` unless every t is an integer in [0, T) (read on the CPU only)."""
    if t.is_floating_point():
        raise ValueError(f"timesteps must be integers, got dtype {t.dtype}: call t.long() first")
    check_range("timestep", t, T - 1, f"the schedule has timesteps 0..{T - 1}")


class Schedule:
    """A discrete variance-preserving schedule given by its ``alpha_bar``, shape ``(T,)``.

    Images ``x0``, noisy images ``x_t`` and noise ``eps`` have shape ``(B, C, H, W)``; timesteps
    ``t`` have shape ``(B,)``, integers in [0, T).  Methods raise ``ValueError`` on a t outside it.
    """

    def __init__(self, alpha_bar: Tensor | None = None, *, T: int = 1000) -> None:
        self._alpha_bar = cosine_alpha_bar(T) if alpha_bar is None else alpha_bar.double()
        self.T = len(self._alpha_bar)
        self._on: dict[torch.device, Tensor] = {}

    def alpha_bar(self, t: Tensor) -> Tensor:
        """Signal level at t, float64, same shape as t (float32 on devices without float64)."""
        check_timesteps(t, self.T)
        if t.device not in self._on:
            table = self._alpha_bar.float() if t.device.type == "mps" else self._alpha_bar
            self._on[t.device] = table.to(t.device)
        return self._on[t.device][t]

    def snr(self, t: Tensor | None = None) -> Tensor:
        """Signal-to-noise ratio ``alpha_bar / (1 - alpha_bar)`` at t (all T of them by default)."""
        a = self.alpha_bar(torch.arange(self.T) if t is None else t)
        return a / (1 - a)

    def coefficients(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """``sqrt(alpha_bar_t)`` and ``sqrt(1 - alpha_bar_t)``, shaped to multiply ``like``."""
        if not like.is_floating_point():
            raise ValueError(f"images of {like.dtype}: scale them to [-1, 1], in floating point")
        a = self.alpha_bar(t).reshape(-1, *[1] * (like.ndim - 1))
        return a.sqrt().to(like.dtype), (1 - a).sqrt().to(like.dtype)

    def add_noise(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """``x_t = sqrt(alpha_bar_t) x0 + sqrt(1 - alpha_bar_t) eps``."""
        signal, noise = self.coefficients(t, x0)
        return signal * x0 + noise * eps

    def predict_x0(self, x_t: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """The image that the noise ``eps`` implies: ``(x_t - sqrt(1 - a) eps) / sqrt(a)``."""
        signal, noise = self.coefficients(t, x_t)
        return (x_t - noise * eps) / signal

    def predict_eps(self, x_t: Tensor, x0: Tensor, t: Tensor) -> Tensor:
        """The noise that the image ``x0`` implies: ``(x_t - sqrt(a) x0) / sqrt(1 - a)``."""
        signal, noise = self.coefficients(t, x_t)
        return (x_t - signal * x0) / noise
