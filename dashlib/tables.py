"""Tables of stored runs as Markdown: ours and the paper's in separate, labelled columns."""

from collections.abc import Callable, Sequence

import numpy as np

from dashlib import results
from dashlib.paper import PAPER
from dashlib.plots import NAMES
from dashlib.results import Run

DASHES = "–"  # where a number does not exist


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is aligned left, the others right."""
    rule = [":--", *["--:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *rows))


def spread(runs: Sequence[Run], value: Callable[[Run], float], digits: int = 2) -> str:
    """Mean over training seeds, with +- the sample standard deviation if there are several."""
    values = [value(run) for run in runs]
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {np.std(values, ddof=1):.{digits}f}"


def _measured(runs: Sequence[Run]) -> list[str]:
    """Our columns for the seeds of one row."""

    def gap(key: str, digits: int = 2) -> str:
        if "gap" not in runs[0].metrics:
            return DASHES
        return spread(runs, lambda run: run.metrics["gap"]["overall"][key], digits)

    def frechet(scale: str) -> str:
        return spread(runs, lambda run: run.metrics["guidance"][scale]["frechet"], 1)

    parameters = f"{runs[0].metrics['parameters']:,}"
    return [
        parameters,
        gap("rho"),
        gap("cos"),
        gap("gap_mse", 4),
        *map(frechet, ("1.5", "4", "TAG")),
    ]


def _published(key: str) -> list[str]:
    """The paper's columns."""
    if key not in PAPER:
        return [DASHES] * 3
    row = PAPER[key]
    rho = DASHES if row.rho_cifar10 is None else f"{row.rho_cifar10:.2f} / {row.rho_cifar100:.2f}"
    return [row.parameters, rho, f"{row.fid_cifar10:.2f} / {row.fid_cifar100:.2f}"]


def headline(weighting: str = "transfer") -> str:
    """The table of the digits rows under one weighting, beside the paper's CIFAR rows."""
    header = [
        "model",
        "parameters",
        "ρ",
        "cos",
        "gap MSE",
        "FD w=1.5",
        "FD w=4",
        "FD TAG",
        "*paper:* size",
        "*paper:* ρ C10/C100",
        "*paper:* FID C10/C100",
    ]
    groups = {"teacher": [results.load("digits/teacher-tirt")]}
    order = ("scratch", "cond_only", "cond_only_dropout", "composite", "dash")
    groups |= {key: results.select(key, weighting) for key in order}
    rows = [[NAMES[key], *_measured(runs), *_published(key)] for key, runs in groups.items()]
    return markdown(header, rows)
