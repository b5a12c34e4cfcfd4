"""Progress bars for the command line (a module of its own, so that worker processes find it)."""

import sys

from tqdm import tqdm


def refresh_seconds() -> float:
    """How often a bar is redrawn: seldom where it goes to a log file."""
    return 0.5 if sys.stderr.isatty() else 30.0


class Bars:
    """A progress reporter that shows one bar a process, renewed for each stage of a run."""

    def __init__(self) -> None:
        self.bar: tqdm | None = None
        self.what = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` steps of ``what`` are done."""
        if self.bar is None or what != self.what:
            if self.bar is not None:
                self.bar.close()
            self.bar = tqdm(total=total, desc=what, mininterval=refresh_seconds(), leave=False)
            self.what = what
        self.bar.update(done - self.bar.n)
