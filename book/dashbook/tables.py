"""Tables of stored runs as Markdown: ours and the paper's in separate, labelled columns."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dashbook.paper import FURTHER, IMAGENET64, PAPER
from dashbook.plots import NAMES
from dashlib import results
from dashlib.recipes import DIGITS, HEADLINE
from dashlib.results import Run

DASHES = "–"  # where a number does not exist
NOT_RUN = "not run here"  # where it would be ours
DIGITS_ROWS = (  # the paper's order, then the rows that its table lacks
    *("scratch", "cond_only", "composite", "multi_w", "fitnets", "gap_match", "pruned"),
    *("single_head", "dash", "dash_no_un", "cond_only_dropout", "dash_no_an", "gap_match_cond"),
)
PAPER_SETS = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet64": "ImageNet-64"}
WEIGHTED = {  # DASH under every weighting, and with every weight of its anchor
    "uniform": ("dash", "uniform"),
    "Min-SNR for ε": ("dash", "min_snr"),
    "TIRT, frozen: TIRT Transfer": ("dash", "transfer"),
    "TIRT, relearned": ("dash", "tirt"),
    "TIRT normalised by the batch, frozen": ("dash", "transfer_tirt_batch"),
    "TIRT on the ε base, frozen": ("dash", "transfer_tirt_eps"),
    "TIRT on the ε base, relearned": ("dash", "tirt_eps"),
    "uncertainty (EDM2), frozen": ("dash", "transfer_uncertainty"),
    "uncertainty (EDM2), relearned": ("dash", "uncertainty"),
    "TIRT Transfer, anchor 0.03": ("dash_an_0.03", "transfer"),
    "TIRT Transfer, anchor 0.3": ("dash_an_0.3", "transfer"),
    "TIRT Transfer, anchor 1": ("dash_an_1", "transfer"),
}


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """A Markdown table; the first columns, so many, are aligned left, the others right."""
    rule = [":--" if i < left else "--:" for i in range(len(header))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *rows))


def numbers(
    corner: str,
    rows: Mapping[str, Mapping[str, float]],
    columns: Mapping[str, tuple[str, int]],
) -> str:
    """A Markdown table of named rows: ``columns[title] = (key, digits)`` picks from each row.

    ``corner`` is the title of the column of names.
    """
    lines = [
        [name, *(f"{row[key]:.{digits}f}" for key, digits in columns.values())]
        for name, row in rows.items()
    ]
    return markdown([corner, *columns], lines)


def spread(runs: Sequence[Run], value: Callable[[Run], float], digits: int = 2) -> str:
    """Mean over training seeds, with +- the sample standard deviation if there are several."""
    values = [value(run) for run in runs]
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {np.std(values, ddof=1):.{digits}f}"


def measured(runs: Sequence[Run], path: Sequence[str], digits: int = 2) -> str:
    """:func:`spread` of the metric at a path of keys, over those runs that have it; or a dash.

    ``measured(runs, ("guidance", "4", "frechet"))``.
    """

    def value(run: Run) -> Any:
        return results.metric(run, path)

    having = [run for run in runs if value(run) is not None]
    return spread(having, value, digits) if having else DASHES


def _measured(runs: Sequence[Run]) -> list[str]:
    """Our columns for the seeds of one row."""
    gaps = (("rho", 2), ("cos", 2), ("gap_mse", 4))
    return [
        f"{runs[0].metrics['parameters']:,}",
        *(measured(runs, ("gap", "overall", key), n) for key, n in gaps),
        *(measured(runs, ("guidance", w, "frechet"), 1) for w in ("1.5", "4", "TAG")),
    ]


def _published(key: str) -> list[str]:
    """The paper's columns."""
    row = (PAPER | FURTHER).get(key)
    if row is None:
        return [DASHES] * 3
    rho = DASHES if row.rho_cifar10 is None else f"{row.rho_cifar10:.2f} / {row.rho_cifar100:.2f}"
    return [row.parameters, rho, f"{row.fid_cifar10:.2f} / {row.fid_cifar100:.2f}"]


PAPERS = ["*paper:* size", "*paper:* ρ C10/C100", "*paper:* FID C10/C100"]
OURS = ["parameters", "ρ", "cos", "gap MSE", "FD w=1.5", "FD w=4", "FD TAG"]


def _digits(rows: Sequence[str], weighting: str) -> dict[str, list[Run]]:
    """The stored seeds of the teacher and of digits rows."""
    teacher = {"teacher": [results.load("digits/teacher-tirt")]}
    return teacher | {key: results.select(key, weighting) for key in rows}


def headline(weighting: str = "transfer", rows: Sequence[str] = HEADLINE) -> str:
    """The table of digits rows under one weighting, beside the paper's CIFAR rows."""
    groups = _digits(rows, weighting).items()
    lines = [[NAMES[key], *_measured(runs), *_published(key)] for key, runs in groups]
    return markdown(["model", *OURS, *PAPERS], lines)


def weighted() -> str:
    """DASH on digits under every timestep weighting, and with other weights of its anchor (0.1)."""
    groups = {name: results.select(*row) for name, row in WEIGHTED.items()}
    lines = [[k, str(len(runs)), *_measured(runs)[1:]] for k, runs in groups.items()]
    return markdown(["DASH, weighted by", "seeds", *OURS[1:]], lines)


def best_scale(runs: Sequence[Run]) -> str:
    """The guidance scale (or TAG) at which the runs' mean Frechet distance is lowest."""
    labels = list(runs[0].metrics["guidance"])
    return min(labels, key=lambda w: np.mean([r.metrics["guidance"][w]["frechet"] for r in runs]))


def gaps(rows: Sequence[str] = DIGITS_ROWS) -> str:
    """Every gap metric and branch error (mean squared, per element) of the digits rows."""
    keys = {"rho": 2, "cos": 2, "a_star": 2, "gap_mse": 4, "cond_mse": 4, "uncond_mse": 4}
    lines = [
        [NAMES[k], *(measured(runs, ("gap", "overall", key), n) for key, n in keys.items())]
        for k, runs in _digits(rows, "transfer").items()
        if k != "teacher"
    ]
    return markdown(["model", "ρ", "cos", "a*", "gap MSE", "cond MSE", "uncond MSE"], lines)


def guidance(metric: str, rows: Sequence[str] = DIGITS_ROWS, digits: int = 1) -> str:
    """``frechet`` or ``accuracy`` of the digits rows at every guidance scale.

    The last two columns: at the scale that is best for the teacher (by Frechet distance), and at
    the row's own best, which is named.
    """
    groups = _digits(rows, "transfer")
    theirs = best_scale(groups["teacher"])

    def cells(runs: Sequence[Run]) -> list[str]:
        own = best_scale(runs)
        value = {w: measured(runs, ("guidance", w, metric), digits) for w in DIGITS.guidance}
        return [*value.values(), value[theirs], f"{value[own]} ({own})"]

    header = ["model", *DIGITS.guidance, f"teacher's best ({theirs})", "own best"]
    return markdown(header, [[NAMES[k], *cells(runs)] for k, runs in groups.items()])


def paper_scale(
    own: Mapping[str, Mapping[str, Mapping[str, str]]], guidance: str = "TAG(1,4,5)"
) -> str:
    """The paper's FIDs on the sets of ``PAPER_SETS``, and beside them those of our own runs.

    ``own[set][guidance][model]`` is a score as it is printed; one that is missing was not run.
    """
    rows = []
    for key, row in (PAPER | FURTHER).items():
        fids = (row.fid_cifar10, row.fid_cifar100, IMAGENET64.get(key))
        theirs = [DASHES if fid is None else f"{fid:.2f}" for fid in fids]
        ours = [own[name].get(guidance, {}).get(key, NOT_RUN) for name in PAPER_SETS]
        rows.append([row.model, *theirs, *ours])
    papers = [f"*paper:* {title}" for title in PAPER_SETS.values()]
    return markdown(["FID, 50K samples, TAG", *papers, *PAPER_SETS.values()], rows)


def beside_paper(
    distances: Mapping[str, Mapping[str, float]], rhos: Mapping[str, Mapping[str, float]]
) -> str:
    """Objectives ranked by the paper's FID (CIFAR-10) and by our distances, and every rho.

    ``distances[weighting][objective]``: our Frechet distances under TAG; ``rhos`` likewise.
    """
    rows = list(next(iter(distances.values())))
    ranked = {"*paper:* rank by FID, CIFAR-10": {row: PAPER[row].fid_cifar10 for row in rows}}
    ranked |= {f"ours: rank by FD TAG, {name}": dict(fd) for name, fd in distances.items()}
    theirs = {row: PAPER[row].rho_cifar10 for row in rows}
    lengths = {"*paper:* ρ": theirs, **{f"ours: ρ, {name}": rho for name, rho in rhos.items()}}

    def cells(row: str) -> list[str]:
        ranks = [1 + sum(v < of[row] for v in of.values()) for of in ranked.values()]
        values = [rho[row] for rho in lengths.values()]
        shown = [DASHES if value is None else f"{value:.2f}" for value in values]
        return [NAMES[row], *map(str, ranks), *shown]

    return markdown(["objective", *ranked, *lengths], [cells(row) for row in rows])
