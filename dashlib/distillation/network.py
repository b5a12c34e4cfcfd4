"""A guided denoiser of any kind, as objectives and metrics see it: a predictor of noise.

With ``x_t = signal x0 + noise eps`` a network predicts ``eps``, ``x0``, ``flow = eps - x0`` or,
where signal^2 + noise^2 = 1, ``v = signal eps - noise x0``; each is read as ``a out + b x_t``.

Sources: Salimans & Ho 2022 (v); Liu et al. 2023, Esser et al. 2024 (rectified flow, its shift).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Generator, Tensor, nn
from torch.utils._pytree import tree_map

from dashlib.checks import check_choice
from dashlib.data import Batch, Images, Stream
from dashlib.schedule import Schedule

Condition = Any  # of a batch: a tensor, or any nesting of dicts, lists and tuples of them
PREDICTIONS = ("eps", "v", "x0", "flow")


class RectifiedFlow(Schedule):
    """``x_t = (1 - s) x0 + s eps`` in T steps up to s = 1; the network is given ``1000 s``.

    ``shift`` moves the steps towards noise: ``s = shift u / (1 + (shift - 1) u)``, u = 1/T ... 1.
    ``alpha_bar`` is that of the same signal-to-noise ratio, so that every weighting applies.
    """

    def __init__(self, *, T: int = 1000, shift: float = 1.0) -> None:
        u = torch.arange(1, T + 1, dtype=torch.float64) / T
        self.s = shift * u / (1 + (shift - 1) * u)
        signal = (1 - self.s).square()
        super().__init__(signal / (signal + self.s.square()))

    def coefficients(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """``1 - s`` and ``s`` at t, shaped to multiply ``like``."""
        s = self.s.to(t.device)[t].reshape(-1, *[1] * (like.ndim - 1)).to(like.dtype)
        return 1 - s, s


class Network(nn.Module):
    """A module, how it is called, and what its answer means; it gives the noise in ``x_t``.

    ``null`` is the condition of the unconditional branch: a number or a tensor for one image, or
    a function from a batch of conditions to as many null ones.  ``guide_channels`` are the channels
    of the answer that guidance acts on (None: all), as many as ``x_t`` has.  A module is called as
    ``module(x_t, t, cond)`` or, if its ``w_conditioned`` is True, with w; else override predict.
    """

    def __init__(
        self, module: nn.Module, *, null: int | Tensor | Callable[[Condition], Condition],
        prediction: str = "eps", schedule: Schedule | None = None,
        guide_channels: slice | list[int] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        check_choice("prediction", prediction, PREDICTIONS)
        self.module, self.null, self.prediction = module, null, prediction
        self.schedule = schedule or Schedule()
        self.guide_channels = slice(None) if guide_channels is None else guide_channels
        self.w_conditioned = getattr(module, "w_conditioned", False)

    def around(self, module: nn.Module) -> Self:
        """Another module, called and read as this one is."""
        how: Any = {"prediction": self.prediction, "schedule": self.schedule}
        return type(self)(module, null=self.null, guide_channels=self.guide_channels, **how)

    def predict(self, x_t: Tensor, t: Tensor, cond: Condition, w: Tensor | None = None) -> Tensor:
        """The module's own answer; t as it counts it, ``(B,)``; if it takes w, by default at 1."""
        scale = torch.ones(t.shape, device=t.device) if w is None else w
        return self.module(x_t, t, cond, *[scale] * self.w_conditioned)

    def nulls(self, cond: Condition) -> Condition:
        """The null condition of every image of a batch, shaped like ``cond``."""
        if callable(self.null):
            return self.null(cond)
        return tree_map(lambda c: torch.as_tensor(self.null).to(c).expand_as(c), cond)

    def forward(self, x_t: Tensor, t: Tensor, cond: Condition, *w: Tensor) -> Tensor:
        """The noise ``eps`` in ``x_t``, ``(B, C, H, W)``, at step t of the schedule, ``(B,)``."""
        return self.as_noise(self.guided(x_t, t, cond, *w), x_t, t, self.prediction)

    def guided(self, x_t: Tensor, t: Tensor, cond: Condition, *w: Tensor) -> Tensor:
        """Return what guidance acts on of the module's answer, in the precision of ``x_t``."""
        flows = isinstance(self.schedule, RectifiedFlow)
        time = 1000 * self.schedule.coefficients(t, x_t)[1].flatten() if flows else t
        return self.predict(x_t, time, cond, *w)[:, self.guide_channels].to(x_t.dtype)

    def as_noise(self, out: Tensor, x_t: Tensor, t: Tensor, prediction: str) -> Tensor:
        """The noise that an answer stands for, read as this kind of prediction: a out + b x_t."""
        signal, noise = self.schedule.coefficients(t, x_t)
        read: dict[str, tuple[Any, Any]] = {
            "eps": (1, 0),
            "v": (signal, noise),
            "x0": (-signal / noise, 1 / noise),
            "flow": (signal / (signal + noise), 1 / (signal + noise)),
        }
        a, b = read[prediction]
        return a * out + b * x_t


@dataclass(frozen=True)
class Conditioned:
    """A network and one batch's conditions, as a ``Denoiser``: label 0 its own, label 1 null."""

    network: Network
    cond: Condition = None
    null_label: ClassVar[int] = 1

    def __call__(self, x_t: Tensor, t: Tensor, y: Tensor, *w: Tensor) -> Tensor:
        """Predicted noise of the batch, or of whole repetitions of it."""
        if self.network.w_conditioned and not w:  # the line through its answers at w = 1 and 2
            at = (torch.full(t.shape, scale, device=t.device) for scale in (1.0, 2.0))
            one, two = (self(x_t, t, torch.zeros_like(y), scale) for scale in at)
            return one + y.reshape(-1, *[1] * (one.ndim - 1)) * (one - two)  # the null one: w = 0

        def chosen(own: Tensor, null: Tensor) -> Tensor:
            repeats = (len(y) // len(own), *[1] * (own.ndim - 1))
            drop = (y == self.null_label).reshape(-1, *repeats[1:])
            return torch.where(drop, null.repeat(repeats), own.repeat(repeats))

        return self.network(x_t, t, tree_map(chosen, self.cond, self.network.nulls(self.cond)), *w)


@dataclass(frozen=True)
class ConditionedBatch(Batch):
    """A batch whose labels say only whether the condition is dropped (1) or not (0)."""

    cond: Condition = None


def image_batches(data: Any, size: int, generator: Generator) -> Iterator[tuple[Tensor, Condition]]:
    """Endless batches of images and conditions, on the generator's device.

    ``data`` is a pair ``(images, conditions)``, drawn from with replacement, or yields batches of
    such pairs again and again (a ``DataLoader``); ``ValueError`` if it yields none.
    """
    device = generator.device
    if isinstance(data, tuple):
        while True:
            index = torch.randint(len(data[0]), (size,), generator=generator, device=device)
            yield tree_map(lambda v, i=index: v[i.to(v.device)].to(device), data)
    while True:
        x0 = None
        for x0, cond in data:
            yield tree_map(lambda v: v.to(device), (x0, cond))
        if x0 is None:
            raise ValueError("data yields no batches (any more): give a DataLoader or a pair")


def noisy_batches(
    data: Any, schedule: Schedule, size: int, generator: Generator, label_dropout: float = 0.0
) -> Iterator[ConditionedBatch]:
    """Endless noisy batches: uniform t, Gaussian eps, some conditions to be dropped."""
    for x0, cond in image_batches(data, size, generator):
        own = Images(x0, torch.zeros(len(x0), dtype=torch.long, device=x0.device))
        stream = Stream(own, schedule, Conditioned.null_label, size, label_dropout)
        yield ConditionedBatch(**vars(stream.noisy(own.x, own.y, generator)), cond=cond)
