r"""Where a student's gap is right and where the training looked: maps over timestep and class.

A *map* has a row for each of ``bins`` equal ranges of timesteps and a column for each class.  Two
*profiles* over the ranges, say the teacher's gap energy :math:`E|gap_T|^2` and the importance that
a weighting spends, are compared as shares p, q of their sums, by their overlap

.. math:: o(p, q) = \sum_b \min(p_b, q_b) \in [0, 1],

which is 1 for equal shares; one minus it is the share that would have to move.
"""

import torch
from torch import Tensor

from dashlib.metrics import NoisyPairs, Stats, summarise_by

Map = dict[str, Tensor]


def check_bins(bins: int, T: int) -> None:
    """``ValueError`` unless T timesteps can be cut into so many equal ranges."""
    if bins < 1 or T % bins:
        raise ValueError(f"bins={bins} must divide the {T} timesteps")


def gap_maps(stats: Stats, noisy: NoisyPairs, *, T: int, classes: int, bins: int = 10) -> Map:
    """Every summary of :func:`dashlib.metrics.summarise` as a map, ``(bins, classes)``, float64.

    ``stats`` are those of :func:`dashlib.metrics.pair_stats` for the pairs ``noisy``; a cell
    without pairs has ``n = 0`` and is nan otherwise.  ``ValueError`` unless ``bins`` divides T, or
    for a label outside [0, ``classes``).
    """
    check_bins(bins, T)
    if not 0 <= int(noisy.y.min()) <= int(noisy.y.max()) < classes:
        raise ValueError(
            f"labels {int(noisy.y.min())}..{int(noisy.y.max())}: not {classes} classes"
        )
    cells = summarise_by(stats, noisy.t // (T // bins) * classes + noisy.y)
    maps = {
        key: torch.full((bins * classes,), torch.nan).double() for key in next(iter(cells.values()))
    }
    maps["n"].zero_()
    for cell, summary in cells.items():
        for key, value in summary.items():
            maps[key][cell] = value
    return {key: values.reshape(bins, classes) for key, values in maps.items()}


def shares(values: Tensor) -> tuple[float, float]:
    """Shares of the variance of a map, ``(bins, classes)``, between its timesteps and its classes.

    The rest, up to one, belongs to neither.
    """
    total = values.var(correction=0)
    timesteps, classes = (values.mean(axis).var(correction=0) / total for axis in (1, 0))
    return timesteps.item(), classes.item()


def profile(values: Tensor, bins: int) -> Tensor:
    """Shares of the sum of ``values``, ``(T,)``, in equal ranges of timesteps: ``(bins,)``, sum 1.

    ``ValueError`` unless ``bins`` divides T and the values are at least 0, not all of them 0.
    """
    check_bins(bins, len(values))
    if (values < 0).any() or not values.sum() > 0:
        raise ValueError("a profile needs values of at least 0, and one above")
    return values.double().reshape(bins, -1).sum(1) / values.double().sum()


def overlap(p: Tensor, q: Tensor) -> float:
    """``sum min(p, q)`` of two profiles: 1 if they are equal, 0 if they share no range.

    ``ValueError`` for different numbers of ranges.
    """
    if p.shape != q.shape:
        raise ValueError(f"profiles of {len(p)} and {len(q)} ranges cannot be compared")
    return torch.minimum(p, q).sum().item()
