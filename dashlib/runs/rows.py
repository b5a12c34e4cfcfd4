"""The stored run of a table row by a short name: ``digits/fitnets`` and a seed."""

from dashlib.runs import experiments


def run_names(row: str) -> dict[int, str]:
    """The stored digits runs of a row by seed; empty for a row that is not one of the book's.

    ``digits/fitnets`` is the row under TIRT Transfer, ``digits/dash-uniform`` names its weighting.
    """
    names = (f"{row}-transfer", row)  # the first that has runs
    found = (
        {s.seed: s.name for s in experiments.SPECS.values() if s.name == f"{n}-s{s.seed}"}
        for n in names
    )
    return next((runs for runs in found if runs), {})


def run_name(row: str, seed: int = 0) -> str:
    """The stored run of a row and training seed: ``digits/fitnets``, 1 -> its name.

    A whole name, ``digits/fitnets-transfer-s1``, or that of a teacher or of the classifier, stands
    for itself.  ``ValueError`` for a row that is not one of the book's, or a seed that it has not.
    """
    if row in experiments.SPECS or row == experiments.CLASSIFIER:
        return row
    runs = run_names(row)
    if not runs:
        known = dict.fromkeys(
            n.rpartition("-transfer-s")[0] for n in experiments.SPECS if "-transfer-s" in n
        )
        raise ValueError(f"unknown row {row!r}: one of {', '.join(known)}, or a run's whole name")
    if seed not in runs:
        raise ValueError(f"{row} has no seed {seed}: one of {', '.join(map(str, sorted(runs)))}")
    return runs[seed]
