r"""Learned importance: how it moved, where it lies, what it learned from, and figures of it.

Adam's speed depends on the gradient's mean over its root mean square: a *drift*, what lambda moved
for each unit of learning rate in a phase of training, can be predicted from the losses alone.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from dashbook import plots
from dashlib.data import Images
from dashlib.guidance import Denoiser
from dashlib.losses import mse
from dashlib.results import Run
from dashlib.schedule import Schedule
from dashlib.weighting import make_weighting

NEIGHBOURS = 20  # over how many timesteps a curve is averaged


def smooth(values: Sequence[float] | Tensor | np.ndarray, width: int = NEIGHBOURS) -> np.ndarray:
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


def smoothed(values: Tensor) -> plots.Curve:
    """A curve over all timesteps, ``(T,)``, as means over neighbours."""
    means = smooth(values)
    return plots.middles(len(means)).tolist(), means.tolist()


def signs(losses: Mapping[str, Tensor], level: float, lam: Tensor) -> Figure:
    """Losses at every timestep ``(T,)``, above the lambda that the first of them belongs to.

    Dashed: its weighted mean ``level``.  Shaded: up to the last timestep where the first is above.
    """
    figure, ((above,), (below,)) = plots.axes(2, 1, size=(6.4, 5.4))
    for (name, loss), shade in zip(losses.items(), (plots.CYCLE[0], plots.CYCLE[6]), strict=True):
        above.plot(*smoothed(loss), color=shade, label=name)
    first, loss = next(iter(losses.items()))
    above.axhline(level, color="black", ls="--", lw=1, label=f"L, {first}")
    above.set(ylabel="loss on ε", yscale="log", title="λ is low where the loss is above L")
    below.plot(lam, color=plots.CYCLE[0])
    below.set(xlabel="timestep t", ylabel="learned λ")
    hard = np.flatnonzero(smooth(loss) > level)
    for ax in (above, below):
        ax.axvspan(0, (hard.max() + 1) * NEIGHBOURS, color="#eeeeee", zorder=0)
    plots.name_ends(above)
    return figure
