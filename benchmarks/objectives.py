"""What a training step costs under every objective of the table, beside cond_only's.

The teacher's answers are ready (``shared_teacher.py`` measures them), except the features that
FitNets asks of the teacher at every step.  ``--out FILE`` stores the measurement as JSON.
"""

import json
import sys
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

from timing import hardware, interleaved

from dashlib import results
from dashlib.checkpoints import write_atomically
from dashlib.data import Stream, with_teacher
from dashlib.datasets import load_dataset
from dashlib.recipes import DIGITS, HEADLINE, TABLE
from dashlib.runs.building import build
from dashlib.schedule import Schedule

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

    return {row: step(row) for row in (*HEADLINE, *TABLE)}


def main() -> None:
    """Print milliseconds a step and their ratio to cond_only's, and store them if asked."""
    hardware()
    seconds = interleaved(steps(), REPEATS)
    for row, value in seconds.items():
        print(f"{row:18} {1000 * value:6.1f} ms a step, {value / seconds['cond_only']:.2f} x")
    if "--out" in sys.argv:
        noted = {"commit": results.commit(), "hardware": results.hardware()}
        settings = {"batch": DIGITS.student.batch_size, "repeats": REPEATS, **results.versions()}
        content = {**noted, **settings, "seconds_a_step": seconds}
        path = Path(sys.argv[sys.argv.index("--out") + 1])
        write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
