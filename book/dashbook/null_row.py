"""The null row of a student whose null branch nobody trained, as if it had started otherwise.

Such a row gets no gradient: it only decays, and no other weight depends on it.  So another start
needs no training; the row that would have been there is put in.
"""

import torch

from dashlib.guidance import Branches
from dashlib.metrics import NoisyPairs, Summary, pair_stats, predict, summarise
from dashlib.results import Run
from dashlib.unet import UNet, UNetConfig


def restarted(run: Run, start: str) -> UNet:
    """The trained network with the null row that it would have after another start.

    ``start`` is ``zero`` or ``mean_of_classes``, else ``ValueError``.  The weight decay over the
    run, averaged, is read off the row that it had.
    """
    if start not in ("zero", "mean_of_classes"):
        raise ValueError(f"start {start!r}: 'zero' or 'mean_of_classes'")
    with torch.random.fork_rng(devices=[]):
        model = run.model()
        torch.manual_seed(run.seed)
        first = UNet(UNetConfig(**run.config["unet"])).class_embed.weight.detach()
    row = model.class_embed.weight[-1]
    decay = (row / first[-1]).median()
    row.copy_(decay * first[:-1].mean(0) if start == "mean_of_classes" else torch.zeros_like(row))
    return model


def gap_after(run: Run, start: str, noisy: NoisyPairs, teacher: Branches) -> Summary:
    """Gap metrics of :func:`restarted`, against the teacher's answers to the same pairs."""
    return summarise(pair_stats(predict(restarted(run, start), noisy), teacher))
