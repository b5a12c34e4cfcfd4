"""TIRT under the microscope: figures of learned weightings, and another start of the null row."""

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
import torch
from matplotlib.figure import Figure

from dashbook import plots
from dashlib.guidance import Branches
from dashlib.metrics import NoisyPairs, Summary, pair_stats, predict, summarise
from dashlib.results import Run
from dashlib.unet import NullInit, UNet, UNetConfig, reset_null_row


def drifts(
    measured: Mapping[str, np.ndarray], predicted: Mapping[str, np.ndarray],
    match: Mapping[str, float],
) -> Figure:  # fmt: skip
    """A panel a name: drifts in ranges of timesteps and their correlation, ``match``."""
    titles = {name: f"{name}: r = {match[name]:.2f}" for name in measured}
    both = {"measured": measured, "predicted": predicted}
    curves = {title: {k: of[name] for k, of in both.items()} for name, title in titles.items()}
    width = 1000 // min(map(len, measured.values()))
    title = "λ drifts as Adam's formula predicts"
    return plots.panels(curves, width, "timestep t", title=title, size=(7.6, 3.4))


def landmarks(drift: np.ndarray) -> tuple[str, str, str]:
    """A drift in words: its first value, from which t it is positive, its range for 400 to 900."""
    width = 1000 // len(drift)
    middle = drift[400 // width : 900 // width]
    positive = (drift > 0).argmax() * width
    return f"{drift[0]:.2f}", f"{positive}", f"{middle.min():.2f} – {middle.max():.2f}"


def anchors(panels: Mapping[str, Mapping[str, Mapping[float, Sequence[float]]]]) -> Figure:
    """``panels[title][name][weight of the anchor]``: a dot a seed."""
    figure, grid = plots.axes(1, len(panels), (7.6, 3.4), "DASH by the weight of its anchor")
    shades = iter(plots.CYCLE)
    for ax, (title, named) in zip(grid[0], panels.items(), strict=True):
        top = 1.1 * max(max(seeds) for of in named.values() for seeds in of.values())
        for i, (name, by_weight) in enumerate(named.items()):
            at = [x + 0.1 * i for x, seeds in enumerate(by_weight.values()) for _ in seeds]
            ax.plot(at, [*chain(*by_weight.values())], "o", color=next(shades), label=name)
        ax.set_xticks(range(len(by_weight)), [f"{weight:g}" for weight in by_weight])
        ax.set(xlabel="weight of the anchor", ylim=(0, top), title=title)
        plots.name_ends(ax, 10)
    return figure


def restarted(run: Run, start: NullInit) -> UNet:
    """The trained network as if its null row, which nobody trained, had started otherwise.

    Such a row gets no gradient, only decay, which is read off it, and no other weight depends on
    it: the row of another start (:func:`dashlib.unet.reset_null_row`) is put in, untrained.
    """
    with torch.random.fork_rng(devices=[]):
        model = run.model()
        torch.manual_seed(run.seed)
        first = UNet(UNetConfig(**run.config["unet"])).requires_grad_(False)
    row, began = (of.class_embed.weight[-1] for of in (model, first))
    decay = (row / began).median()
    reset_null_row(first, start)  # began with it
    row.copy_(decay * began)
    return model


def gap_after(run: Run, start: NullInit, noisy: NoisyPairs, teacher: Branches) -> Summary:
    """Gap metrics of :func:`restarted`, against the teacher's answers to the same pairs."""
    return summarise(pair_stats(predict(restarted(run, start), noisy), teacher))
