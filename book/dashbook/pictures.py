"""Pictures from one and the same starting noise, stored or on their way, and how far apart."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from dashlib.losses import mse
from dashlib.recipes import SCALES
from dashlib.results import Run
from dashlib.sampling import Iterate

Path = Sequence[Iterate]  # of a sampler, from noise to image


def stored(run: Run, label: str) -> Tensor:
    """A run's stored pictures at one guidance scale, ``(N, C, H, W)``, pixels in [-1, 1].

    ``ValueError`` for a scale at which its pictures are not kept.
    """
    labels = list(SCALES[run.name.split("/")[0]].guidance)
    return run.trace["samples"][labels.index(label)] / 127.5 - 1


def rms(a: Tensor, b: Tensor) -> float:
    """Root-mean-square distance of a pixel between images in the same order."""
    return mse(a, b).mean().sqrt().item()


def distance(run: Run, teacher: Run, label: str) -> float:
    """:func:`rms` between two runs' stored pictures from the same noise at one guidance scale."""
    return rms(stored(run, label), stored(teacher, label))


def apart(paths: Mapping[str, Path]) -> dict[str, list[float]]:
    """After each step, the :func:`rms` of every path's state from that of ``paths["teacher"]``."""
    ends = {name: [iterate.x_next for iterate in path] for name, path in paths.items()}
    return {name: list(map(rms, own, ends["teacher"])) for name, own in ends.items()}
