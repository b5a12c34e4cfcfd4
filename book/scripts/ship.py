"""Drop weights that the repository has no room for; metrics and pictures stay."""

import sys

from dashlib import results
from dashlib.checkpoints import CheckpointError
from dashlib.recipes import SHIPPED


def ship(scale: str = "digits") -> list[str]:
    """The names of the runs whose weights were dropped."""
    runs = [run for run in map(results.load, results.names(scale)) if "weights" in run.files]
    dropped = [run for run in runs if run.name not in SHIPPED]
    for run in dropped:
        results.store(run, **{part: run.tensors(part) for part in run.files if part != "weights"})
    return [run.name for run in dropped]


if __name__ == "__main__":
    try:
        print(*(f"{name}: weights dropped" for name in ship()), sep="\n")
    except (OSError, CheckpointError) as error:
        sys.exit(f"error: {error}")
