"""The fair comparison of digits: a table of the stored runs of that part, and its verdicts.

Rows are compared with DASH, and with label dropout at twice the steps, by paired differences over
the seeds that both have, Holm-corrected over the rows: the logarithm of Frechet distances under two
samplers and of errors, and the distance of rho and cos from 1.  ``python -m benchmarks.fair``.
"""

import argparse
from collections.abc import Mapping, Sequence
from math import log

from benchmarks.passes import passes
from dashbook.comparison import logged, verdicts
from dashbook.tables import DASHES, Measure, frechet, gap, markdown, metric, off, spread
from dashlib import results
from dashlib.recipes import PARTS
from dashlib.results import Run
from dashlib.runs.building import objective

BASES = ("dash-uniform", "cond_only_dropout-uniform-x2")
LEVELS = ("1", "1.5", "4", "TAG")
MARGINS = {"FD": log(1.05), "error": log(1.05), "gap": 0.02}  # 5 %; 0.02 of rho and cos
FDS = {f"FD {w}": frechet(w) for w in LEVELS}
AGAIN = {f"FD* {w}": metric("resampled", w, "frechet") for w in LEVELS}
GAPS = {"rho": gap("rho"), "cos": gap("cos"), "gap MSE": gap("gap_mse")}
GAPS |= {"cond MSE": gap("cond_mse"), "uncond MSE": gap("uncond_mse")}


def stored() -> dict[str, list[Run]]:
    """The stored runs of the part by row, in the order of their recipes."""
    have, rows = set(results.names()), dict[str, list[Run]]()
    for name in PARTS["fair"]:
        if name in have:
            row = name.removeprefix("digits/").rpartition("-s")[0].replace("-from_uniform", "")
            rows.setdefault(row, []).append(results.load(name))
    return rows


def cost(run: Run) -> list[str]:
    """Passes of student and teacher an image, in units of 1,200 steps; CPU seconds, with scores."""
    recipe = PARTS["fair"][run.name]
    longer = recipe.train.steps / 1200
    asked = [f"{longer * count:.3g}" for count in passes(objective(recipe, None))]
    return [*asked, f"{run.cpu_seconds:.0f}"]


def numbers(rows: Mapping[str, Sequence[Run]]) -> str:
    """Every row's cost and scores, mean and spread over its seeds."""
    digits = {"gap MSE": 4, "cond MSE": 4, "uncond MSE": 4, "rho": 3, "cos": 3}
    columns = GAPS | FDS | AGAIN
    lines = [
        [row, str(len(runs)), *cost(runs[0])]
        + [spread(runs, of, digits.get(name, 1)) for name, of in columns.items()]
        for row, runs in rows.items()
    ]
    return markdown(["row", "seeds", "student", "teacher", "CPU s", *columns], lines)


def measures() -> dict[str, tuple[Measure, float]]:
    """Name what is compared, lower being better, and the margin within which it is equal."""
    distances = {name: (logged(of), MARGINS["FD"]) for name, of in (FDS | AGAIN).items()}
    ideal = {name: (off(name), MARGINS["gap"]) for name in ("rho", "cos")}
    errors = {k: (logged(of), MARGINS["error"]) for k, of in GAPS.items() if "MSE" in k}
    return ideal | errors | distances


def compared(rows: Mapping[str, Sequence[Run]], base: str) -> str:
    """Every row beside a base: the difference (of logarithms in per cent), and the verdict.

    Over the seeds that the base and the row with most of them have; rows with fewer are left out.
    """
    asked = {run.seed for run in rows[base]}
    have = {row: asked & {run.seed for run in runs} for row, runs in rows.items()}
    seeds = max((have[row] for row in rows if row != base), key=len, default=asked)
    whole = [row for row in rows if have[row] >= seeds]
    chosen = {row: [run for run in rows[row] if run.seed in seeds] for row in whole}
    of_base, lines = chosen.pop(base), {row: [row] for row in chosen}
    for name, (of, margin) in measures().items():
        able = {row: runs for row, runs in chosen.items() if has(runs, name)}
        found = verdicts(able, of_base, of, margin=margin)
        scale = 1 if name in ("rho", "cos") else 100
        for row, line in lines.items():
            one = found.get(row)
            line.append(f"{scale * one.interval.mean:+.3g} {one.word}" if one else DASHES)
    return markdown([f"beside {base}, n = {len(of_base)}", *measures()], list(lines.values()))


def has(runs: Sequence[Run], name: str) -> bool:
    """Tell if the runs have a measure: a single head has no gap."""
    return "gap" in runs[0].metrics or name.startswith("FD")


def main() -> None:
    """Print the numbers, and the verdicts beside both bases."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    rows = stored()
    print(numbers(rows))
    for base in BASES:
        if base in rows:
            print(f"\n{compared(rows, base)}")


if __name__ == "__main__":
    main()
