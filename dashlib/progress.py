"""Report how far a long computation is: a callback, and how often it is called."""

import sys
from collections.abc import Callable

Progress = Callable[[str, int, int], None]  # (what, done, total)


def silent(what: str, done: int, total: int) -> None:
    """Report no progress."""


def refresh_seconds() -> float:
    """Return how often a bar is redrawn: seldom where it goes to a log file."""
    return 0.5 if sys.stderr.isatty() else 30.0
