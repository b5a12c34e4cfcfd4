"""Work in a process that gives freed memory back, and in one that keeps it (the Makefile's way)."""

import os
import re
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import patch

from timing import digits_pass, hardware, report

from dashlib.runs.pool import start_worker
from dashlib.unet import STUDENT_DIGITS, TEACHER_DIGITS, UNet

MAKEFILE = Path(__file__).resolve().parents[1] / "Makefile"
KEEPING = dict(re.findall(r"^export (MALLOC_\w+) \?= (\d+)", MAKEFILE.read_text(), re.MULTILINE))
WORK = {
    "teacher, forward and backward, batch 128": (TEACHER_DIGITS, 128, True),
    "student, forward and backward, batch 256": (STUDENT_DIGITS, 256, True),
    "student, forward, batch 2000": (STUDENT_DIGITS, 2000, False),
}
PASSES: dict[str, Callable[[], None]] = {}  # of a process


def prepare() -> None:
    """Start a process: one thread, its networks."""
    start_worker()
    for what, (cfg, n, train) in WORK.items():
        PASSES[what] = digits_pass(UNet(cfg), n, train=train)


def work(what: str) -> None:
    """Do one thing in this process."""
    PASSES[what]()


def process(environment: dict[str, str]) -> ProcessPoolExecutor:
    """A process with only these settings of the allocator."""
    others = {k: v for k, v in os.environ.items() if k not in KEEPING}
    with patch.dict(os.environ, others | environment, clear=True):
        pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=prepare)
        pool.submit(os.getpid).result()
    return pool


def main() -> None:
    """The two processes work in turn."""
    hardware()
    with process({}) as giving, process(KEEPING) as keeping:
        for what in WORK:
            functions = {
                "gives back": lambda what=what: giving.submit(work, what).result(),
                "keeps": lambda what=what: keeping.submit(work, what).result(),
            }
            report(f"digits {what}", functions)


if __name__ == "__main__":
    main()
