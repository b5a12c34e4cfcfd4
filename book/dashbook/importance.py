r"""Learned importance: how it moved, where it lies, and the losses and gradients it learned from.

Adam moves a parameter at a speed that depends on the gradient's mean over its root mean square.
So a *drift*, what lambda moved in a phase of training for each unit of learning rate spent in it,
can be predicted from the losses alone.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from dashlib.data import Images
from dashlib.guidance import Denoiser
from dashlib.losses import mse
from dashlib.results import Run
from dashlib.schedule import Schedule
from dashlib.weighting import make_weighting


def smooth(values: Sequence[float] | Tensor | np.ndarray, width: int = 20) -> np.ndarray:
    """Means over so many neighbours: ``(T / width,)``.  ``ValueError`` unless width divides T."""
    return np.asarray(values).reshape(-1, width).mean(1)


def path(run: Run) -> tuple[Tensor, Tensor]:
    """The importance of every timestep at the start ``(T,)``, and at all snapshots, ``(S, T)``.

    ``ValueError`` if the run learned none.
    """
    weighting = make_weighting(run.config["weighting"], Schedule()).requires_grad_(False)
    if not weighting.symbol:
        raise ValueError(f"{run.name}: {run.config['weighting']} learns no importance")
    start, snapshots = weighting.importance(), []
    (learned,) = weighting.parameters()
    for snapshot in run.trace[weighting.symbol]:
        learned.copy_(snapshot)
        snapshots.append(weighting.importance())
    return start, torch.stack(snapshots)


def shares(weights: Tensor) -> list[float]:
    """Shares of the weight of 1,000 timesteps on t <= 300, t >= 500 and t >= 700."""
    parts = weights[:301], weights[500:], weights[700:]
    return [(part.sum() / weights.sum()).item() for part in parts]


@torch.no_grad()
def losses(model: Denoiser, images: Images, schedule: Schedule, *, each: int = 8) -> Tensor:
    """Squared errors on the noise, conditional branch, of so many images a timestep.

    ``(T, each)``, float64; always the same draws.
    """
    generator = torch.Generator().manual_seed(0)
    t = torch.arange(schedule.T).repeat_interleave(each)
    index = torch.randint(len(images), t.shape, generator=generator)
    eps = torch.randn(len(t), *images.x.shape[1:], generator=generator)
    parts = []
    for i in torch.arange(len(t)).split(500):
        x_t = schedule.add_noise(images.pixels(index[i]), eps[i], t[i])
        parts.append(mse(model(x_t, t[i], images.y[index[i]]), eps[i]))
    return torch.cat(parts).reshape(schedule.T, each).double()


def gradients_along(
    true: Tensor, samples: Tensor, weights: Tensor, batch: tuple[Tensor, Tensor]
) -> Tensor:
    """The part along ``true``, ``(T,)``, of the gradients of TIRT on some batches: 1 is right.

    ``batch`` draws timesteps and columns of ``samples``, the losses ``(T, each)``; both are
    ``(count, size)``.  Returns ``(2, count)``: weights normalised over all timesteps, and by the
    batch.  Left out: the factor ``base sigmoid'(lambda)``, which Adam cancels.
    """
    t, which = batch
    size, drawn, of, toward = t.shape[1], samples[t, which], weights[t], true[t]
    total, own = (of * drawn).sum(1) / size, of.sum(1) / size
    over_all = (toward * drawn).mean(1) * len(true) - total * true.sum()
    by_batch = (toward * (drawn - (total / own)[:, None])).mean(1) * len(true) / own
    return torch.stack([over_all, by_batch]) / true.square().sum()


def drift(run: Run) -> Tensor:
    """Movement of lambda in the second half of training over the learning rates spent there."""
    history, cfg = run.trace["lambda"], run.config["train"]
    phase = torch.arange(cfg["steps"]) / cfg["steps"] * torch.pi
    rate = cfg["lr_min"] + (cfg["lr"] - cfg["lr_min"]) * (1 + phase.cos()) / 2
    moved: Tensor = history[-1] - history[len(history) // 2]
    return moved / rate[cfg["steps"] // 2 :].sum()
