"""How far a long computation is: what is called, and how often anybody wants to see it."""

import sys
from collections.abc import Callable

Progress = Callable[[str, int, int], None]  # (what, done, total)


def silent(what: str, done: int, total: int) -> None:
    """Report no progress."""


def refresh_seconds() -> float:
    """How often a bar is redrawn: seldom where it goes to a log file."""
    return 0.5 if sys.stderr.isatty() else 30.0
