"""Progress bars for the command line (a module of its own, so that worker processes find it)."""

from tqdm import tqdm

from dashlib.progress import refresh_seconds


class Bars:
    """A progress reporter that shows one bar a process, renewed for each stage of a run."""

    bar: tqdm | None = None

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` steps of ``what`` are done."""
        if self.bar is None or what != self.bar.desc:
            self.close()
            self.bar = tqdm(total=total, desc=what, mininterval=refresh_seconds(), leave=False)
        self.bar.update(done - self.bar.n)

    def close(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.close()
