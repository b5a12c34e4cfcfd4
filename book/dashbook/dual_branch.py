"""Dual-branch distillation: pictures from one noise, and figures of errors, losses and pictures."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from dashbook import plots, tables
from dashbook.paper import NAMES, PAPER
from dashbook.tables import DASHES, markdown
from dashlib.data import Images
from dashlib.guidance import Denoiser
from dashlib.losses import mse
from dashlib.recipes import SCALES
from dashlib.results import Run
from dashlib.sampling import Iterate
from dashlib.schedule import Schedule

Path = Sequence[Iterate]  # of a sampler, from noise to image
METRICS = {
    "rho": "ρ: length of the gap (1 is ideal)",
    "cos": "cos: direction of the gap",
    "a_star": "a*: best rescaling of the gap",
    "gap_mse": "error of the gap",
    "cond_mse": "error of the conditional branch",
    "uncond_mse": "error of the unconditional branch",
}


def stored(run: Run, label: str) -> Tensor:
    """Stored pictures ``(N, C, H, W)`` in [-1, 1]; ``ValueError`` if not kept at a scale."""
    labels = list(SCALES[run.name.split("/")[0]].guidance)
    return run.trace["samples"][labels.index(label)] / 127.5 - 1


def rms(a: Tensor, b: Tensor) -> float:
    """Root-mean-square distance of a pixel between images in the same order."""
    return mse(a, b).mean().sqrt().item()


def apart(paths: Mapping[str, Path]) -> dict[str, list[float]]:
    """After each step, the :func:`rms` of every path's state from that of ``paths["teacher"]``."""
    ends = {name: [iterate.x_next for iterate in path] for name, path in paths.items()}
    return {name: list(map(rms, own, ends["teacher"])) for name, own in ends.items()}


def label_posterior(
    x_t: Tensor, t: Tensor, images: Images, schedule: Schedule, classes: int
) -> Tensor:
    r"""``p(y | x_t)`` for data that are these images: float64, ``(B, classes)``, rows of sum 1.

    :math:`x_t` is a mixture of equal Gaussians around :math:`\sqrt{\bar\alpha_t}\,x_i`, and so

    .. math:: p(y \mid x_t) = \sum_{i:\,y_i = y} \operatorname{softmax}_i
              \Bigl(-\frac{|x_t - \sqrt{\bar\alpha_t}\,x_i|^2}{2\,(1 - \bar\alpha_t)}\Bigr) .
    """
    x = x_t.double()
    signal, noise = (c.flatten(1) for c in schedule.coefficients(t, x))
    apart = torch.cdist(x.flatten(1) / signal, images.pixels().double().flatten(1))
    of_image = torch.softmax(-(apart * signal / noise).square() / 2, dim=1)
    return of_image @ torch.eye(classes, dtype=torch.double)[images.y]


def tower_distances(
    teacher: Denoiser, images: Images, schedule: Schedule, times: Sequence[int],
    generator: torch.Generator,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Mean squares of the teacher's gap and of ``E[T_c | x_t] - T_u`` at some timesteps.

    Label dropout asks the null branch for ``E[T_c | x_t]``, which is ``T_u`` of an exact teacher
    (tower property).  Over 100 noisy images of the set, drawn anew at every timestep.
    """
    found = []
    for at in times:
        pick = torch.randint(len(images), (100,), generator=generator)
        x0, y, t = images.pixels(pick), images.y[pick], torch.full_like(pick, at)
        x_t = schedule.add_noise(x0, torch.randn(x0.shape, generator=generator), t)
        answers = [teacher(x_t, t, torch.full_like(t, k)) for k in range(teacher.null_label + 1)]
        conds, null = torch.stack(answers[:-1]), answers[-1]
        p = label_posterior(x_t, t, images, schedule, teacher.null_label)
        average = torch.einsum("bk,kbchw->bchw", p.float(), conds)
        own = conds[y, torch.arange(len(y))]
        found.append([mse(target, null).mean().item() for target in (own, average)])
    gap, apart = np.transpose(found)
    return gap, apart


def beside_paper(
    distances: Mapping[str, Mapping[str, float]], rhos: Mapping[str, Mapping[str, float]]
) -> str:
    """A table of objectives: ranks by the paper's FID (CIFAR-10) and our distances; every rho.

    ``distances[weighting][objective]``: our Frechet distances under TAG; ``rhos`` likewise.
    """
    rows = list(next(iter(distances.values())))
    ranked = {"*paper:* rank by FID, CIFAR-10": {row: PAPER[row].fid_cifar10 for row in rows}}
    ranked |= {f"ours: rank by FD TAG, {name}": dict(fd) for name, fd in distances.items()}
    theirs = {row: PAPER[row].rho_cifar10 for row in rows}
    lengths = {"*paper:* ρ": theirs, **{f"ours: ρ, {name}": rho for name, rho in rhos.items()}}
    lines = []
    for row in rows:
        ranks = [1 + sum(v < of[row] for v in of.values()) for of in ranked.values()]
        values = [rho[row] for rho in lengths.values()]
        shown = [DASHES if value is None else f"{value:.2f}" for value in values]
        lines.append([NAMES[row], *map(str, ranks), *shown])
    return markdown(["objective", *ranked, *lengths], lines)


def per_timestep(rows: Mapping[str, Sequence[Run]], metric: str) -> Figure:
    """A gap metric by timestep, mean and range of a row's seeds; ``mse``: on a log scale."""
    figure, ((ax,),) = plots.axes(size=(6.4, 3.4))
    for row, runs in rows.items():
        seeds, style = tables.per_timestep(runs, metric), {"color": plots.color(row), "ms": 4}
        plots.draw_seeds(ax, plots.middles(seeds.shape[1]), seeds, label=NAMES[row], **style)
    scale = "log" if metric.endswith("mse") else "linear"
    ax.set(xlabel="timestep t", title=METRICS[metric], yscale=scale)
    plots.name_ends(ax, 10)
    return figure


def branch_plane(
    points: Mapping[tuple[str, str], tuple[Sequence[float], Sequence[float]]], filled: str
) -> Figure:
    """``points[row, weighting] = (e_c^2, e_u^2)`` of seeds, one weighting filled; grey: equal."""
    figure, ((ax,),) = plots.axes(size=(5.6, 4.4))
    for (row, weighting), (cond, uncond) in points.items():
        shade, full = plots.color(row), weighting == filled
        face, name = (shade, NAMES[row]) if full else ("white", None)
        ax.plot(cond, uncond, "o", ms=8, color=shade, markerfacecolor=face, label=name)
    ax.axline((0.01, 0.01), (0.1, 0.1), color="#999999", lw=1)
    ax.set(xscale="log", yscale="log", xlabel="conditional error", ylabel="unconditional error")
    ax.set_title("Composite errs in both branches, cond-only in one")
    plots.name_ends(ax)
    return figure
