"""Measure a training step under every objective, in passes and in time beside cond_only's.

The teacher's answers are ready (``shared_teacher.py`` measures them), except the features that
FitNets asks of the teacher at every step.  ``--out FILE`` stores the measurement as JSON.
"""

import json
import sys
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

from passes import passes
from timing import hardware, interleaved

from dashlib import results
from dashlib.checkpoints import write_atomically
from dashlib.data import Stream, with_teacher
from dashlib.datasets import load_dataset
from dashlib.recipes import DIGITS, FAIR, HEADLINE, TABLE
from dashlib.runs.building import build, objective
from dashlib.schedule import Schedule

ROWS = dict.fromkeys((*HEADLINE, *TABLE, *(row for row, _, _ in FAIR)))
REPEATS = 30
BATCHES = 4


def steps() -> dict[str, Callable[[], object]]:
    """For each row a function that does one training step of its student."""
    teacher = results.load("digits/teacher-tirt").model()
    stream = Stream(
        load_dataset("digits").train, Schedule(), teacher.null_label, DIGITS.student.batch_size
    )
    annotated = with_teacher(stream, teacher)
    batches = [next(annotated) for _ in range(BATCHES)]

    def step(row: str) -> Callable[[], object]:
        records = build(DIGITS.of(row, "transfer"), teacher).run(cycle(batches))
        return lambda: next(records)

    return {row: step(row) for row in ROWS}


def counted(row: str) -> dict[str, float]:
    """Passes an image and step of a row's student and teacher."""
    recipe = DIGITS.rows[row]
    if recipe.objective == "fitnets":
        return {"student": 1.0, "teacher": 2.0}  # its features, too
    student, teacher = passes(objective(recipe, None))
    return {"student": round(student, 2), "teacher": round(teacher, 2)}


def main() -> None:
    """Print milliseconds a step and their ratio to cond_only's, and store them if asked."""
    hardware()
    seconds, asked = interleaved(steps(), REPEATS), {row: counted(row) for row in ROWS}
    for row, value in seconds.items():
        beside = value / seconds["cond_only"]
        print(f"{row:18} {1000 * value:6.1f} ms a step, {beside:.2f} x, passes {asked[row]}")
    if "--out" in sys.argv:
        noted = {"commit": results.commit(), "hardware": results.hardware()}
        settings = {"batch": DIGITS.student.batch_size, "repeats": REPEATS, **results.versions()}
        content = {**noted, **settings, "seconds_a_step": seconds, "passes": asked}
        path = Path(sys.argv[sys.argv.index("--out") + 1])
        write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
