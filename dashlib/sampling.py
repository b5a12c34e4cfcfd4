r"""DDIM sampling, as a generator of iterates.

From :math:`x_t` and the predicted noise, the predicted image :math:`\hat x_0`, then with
:math:`s` the next timestep of the list (``alpha_bar = 1`` after the last, the image):

.. math:: x_s=\sqrt{\bar\alpha_s}\,\hat x_0 + \sqrt{1-\bar\alpha_s-\sigma^2}\,\varepsilon+\sigma z,
.. math:: \sigma^2 = \eta^2 \tfrac{1-\bar\alpha_s}{1-\bar\alpha_t}
                     \left(1 - \tfrac{\bar\alpha_t}{\bar\alpha_s}\right)

Source: Song et al. 2021.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Generator, Tensor

from dashlib.blocks import UNetConfig
from dashlib.checks import check_choice
from dashlib.schedule import Schedule

EpsModel = Callable[[Tensor, Tensor], Tensor]
Spacing = Literal["leading", "linspace"]
Clamp = Literal["none", "clamp", "recompute"]  # x0 beyond [-1, 1]: leave, cut, make eps agree
SPACINGS, CLAMPS = get_args(Spacing), get_args(Clamp)


def timesteps(
    T: int, steps: int, spacing: Spacing = "linspace", start: int | None = None
) -> Tensor:
    """The timesteps visited, descending, shape ``(steps,)``.

    ``linspace``: from ``start`` (T - 1 if left out) to 0, both included.  ``leading``: multiples of
    ``T // steps`` from 0, so that sampling begins below T - 1 (the DASH release's spacing).
    """
    if not 1 <= steps <= T or (spacing == "leading" and T % steps):
        raise ValueError(f"steps={steps}: from 1 to {T}, and for leading a divisor of {T}")
    check_choice("spacing", spacing, SPACINGS)
    last = T - 1 if start is None else start
    if not 0 <= last < T or (start is not None and spacing == "leading"):
        raise ValueError(f"start={start}: from 0 to {T - 1}, and only with spacing 'linspace'")
    if spacing == "leading":
        return (torch.arange(steps) * (T // steps)).flip(0)
    return torch.linspace(last, 0, steps, dtype=torch.float64).round().long()


@dataclass(frozen=True)
class Iterate:
    """One DDIM step, the list's ``index``-th, from ``x_t`` at ``t`` to ``x_next``."""

    index: int
    t: int
    x_t: Tensor
    x0: Tensor  # predicted, after clamping
    eps: Tensor  # used with it
    x_next: Tensor


def _moved(
    x0: Tensor, eps: Tensor, now: float, after: float, eta: float, generator: Generator | None
) -> Tensor:
    """``x_s`` from image and noise at t, where alpha_bar is ``now`` at t and ``after`` at s."""
    sigma = eta * ((1 - after) / (1 - now) * (1 - now / after)) ** 0.5
    x_s = after**0.5 * x0 + max(1 - after - sigma**2, 0.0) ** 0.5 * eps
    if sigma == 0:
        return x_s
    return x_s + sigma * torch.randn(x0.shape, generator=generator, device=x0.device)


def ddim(
    eps_model: EpsModel, x_T: Tensor, schedule: Schedule, *, steps: int = 50, eta: float = 0.0,
    spacing: Spacing = "linspace", clamp: Clamp = "recompute", start: int | None = None,
    generator: Generator | None = None,
) -> Iterator[Iterate]:  # fmt: skip
    """Yield every iterate of a DDIM run that starts from the noise ``x_T``, ``(B, C, H, W)``.

    ``eps_model(x_t, t)``: see :class:`dashlib.guidance.Guided`.  ``eta`` in [0, 1]: 0 is
    deterministic, 1 has DDPM's variance, drawn from ``generator``; ``ValueError`` out of range.
    """
    check_choice("clamp", clamp, CLAMPS)
    if not 0 <= eta <= 1:
        raise ValueError(f"eta={eta}: a number from 0 (deterministic) to 1 (DDPM's variance)")
    sequence = timesteps(schedule.T, steps, spacing, start).to(x_T.device)
    levels = [*schedule.alpha_bar(sequence).tolist(), 1.0]

    def iterates() -> Iterator[Iterate]:
        x_t = x_T
        visited = zip(sequence, levels[:-1], levels[1:], strict=True)
        for index, (t, now, after) in enumerate(visited):
            batch_t = t.expand(len(x_t))
            eps = eps_model(x_t, batch_t)
            x0 = schedule.predict_x0(x_t, eps, batch_t)
            if clamp != "none":
                x0 = x0.clamp(-1, 1)
            if clamp == "recompute":
                eps = schedule.predict_eps(x_t, x0, batch_t)
            x_next = _moved(x0, eps, now, after, eta, generator)
            yield Iterate(index, int(t), x_t, x0, eps, x_next)
            x_t = x_next

    return iterates()  # whose options are right before its first step


@torch.no_grad()
def sample(eps_model: EpsModel, x_T: Tensor, schedule: Schedule, **options: Any) -> Tensor:
    """The images at the end of :func:`ddim`, shape ``(B, C, H, W)``; takes the same options."""
    x = x_T
    for iterate in ddim(eps_model, x_T, schedule, **options):
        x = iterate.x_next
    return x


def starting_noise(n: int, unet: UNetConfig, seed: int = 1234) -> Tensor:
    """The x_T that every model is sampled from: ``(n, C, H, W)``, the same for the same seed."""
    shape = (n, unet.image_channels, unet.image_size, unet.image_size)
    return torch.randn(shape, generator=Generator().manual_seed(seed))


def balanced_labels(n: int, classes: int = 10) -> Tensor:
    """Labels 0, 1, ..., classes - 1, 0, 1, ...: ``(n,)``."""
    return torch.arange(n) % classes
