"""Progress bars for the command line (a module of its own, so that worker processes find it)."""

from tqdm import tqdm

from dashlib.progress import refresh_seconds


class Bars(tqdm):
    """A progress reporter that shows one bar a process, begun anew for each stage of a run."""

    def __init__(self) -> None:
        super().__init__(mininterval=refresh_seconds(), leave=False, delay=0.01)  # none at once

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` steps of ``what`` are done."""
        if what != self.desc:
            self.set_description_str(what, refresh=False)
            self.reset(total)
        self.update(done - self.n)
