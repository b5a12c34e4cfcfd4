"""Sphinx directives of the status page: what the build itself knows, which no tracked file holds.

`{versions}` lists the packages, `{notebook-times}` the seconds that each chapter took when it was
last executed in this checkout, `{run-times}` what the stored runs of `results/` cost, and
`{live-times}` the explorers that compute in the page, as `python -m benchmarks.live` measured them;
`{faults}`, of the page on promises, what `make faults` found.
"""

import hashlib
import json
import os
import platform
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from docutils import nodes
from packaging.requirements import Requirement
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = next(p for p in Path(__file__).resolve().parents if (p / "pyproject.toml").exists())
TIMINGS = ROOT / "book" / "_build" / "timings.json"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> nodes.table:
    """Build a docutils table of plain text; every column but the first is set to the right."""
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=1) for _ in head]
    parts = (nodes.thead(), [head]), (nodes.tbody(), rows)
    for part, lines in parts:
        for line in lines:
            cells = [nodes.entry("", nodes.paragraph(text=text)) for text in line]
            for cell in cells[1:]:
                cell["classes"].append("text-right")
            part += nodes.row("", *cells)
        group += part
    return nodes.table("", group)


def commit() -> str:
    """The commit that the book was built from, with `+` where tracked files were edited since."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        edited = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short=12", "HEAD") + ("+" if edited else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown (not built in a git checkout)"


def packages() -> dict[str, str]:
    """The installed versions of all that pyproject.toml asks for, and of Sphinx."""
    found = {"dash-book": version("dash-book"), "sphinx": version("sphinx")}
    for line in requires("dash-book") or []:
        name = Requirement(line).name
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return dict(sorted(found.items()))


def seconds(noted: dict[str, Any], twin: Path) -> str:
    """Tell how long a chapter took, if it was timed with the text that it has now."""
    entry = noted.get(twin.stem)
    if not entry:
        return "not timed here"
    if entry["text"] != hashlib.sha256(twin.read_bytes()).hexdigest()[:16]:
        return "edited since it was timed"
    return f"{entry['seconds']:.0f}"


def stored_runs() -> list[tuple[str, str, str, str, str]]:
    """Models in `results/`, by scale and machine: how many, their minutes by the clock and of CPU.

    A dash where no CPU time was noted.
    """
    groups = defaultdict(list)
    for path in sorted((ROOT / "results").glob("*/*/run.json")):
        run = json.loads(path.read_text())
        spent = (sum(run["seconds"].values()) / 60, run["cpu_seconds"] / 60)
        groups[path.parts[-3], run["hardware"]].append(spent)
    rows = []
    for (scale, hardware), minutes in sorted(groups.items()):
        clock, cpu = (sum(column) for column in zip(*minutes, strict=True))
        shown = (f"{clock:.0f}", f"{cpu:.0f}" if cpu else "–")
        rows.append((scale, hardware, str(len(minutes)), *shown))
    return rows


class Versions(SphinxDirective):
    """Tell where, from which commit and with which packages the book was built."""

    def run(self) -> list[nodes.Node]:
        """Build the table."""
        self.env.note_reread()
        rows = {
            "commit": commit(),
            "Python": platform.python_version(),
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        }
        return [table(("", "version"), (rows | packages()).items())]


class NotebookTimes(SphinxDirective):
    """The seconds that every chapter took."""

    def run(self) -> list[nodes.Node]:
        """Build the table."""
        self.env.note_reread()
        noted = json.loads(TIMINGS.read_text()) if TIMINGS.exists() else {}
        twins = sorted((ROOT / "notebooks").glob("*.py"))
        return [table(("notebook", "seconds"), [(t.stem, seconds(noted, t)) for t in twins])]


class RunTimes(SphinxDirective):
    """The time that the stored runs took."""

    def run(self) -> list[nodes.Node]:
        """Build the table."""
        self.env.note_reread()
        return [table(("results", "made on", "runs", "minutes", "CPU minutes"), stored_runs())]


def live_times() -> list[tuple[str, str]]:
    """Show the time that live explorers took in a browser, as measured and stored."""
    noted = json.loads((ROOT / "results/bench/live.json").read_text())
    where = f"{noted['browser']}, {noted['hardware'].split(',')[0]}"
    rows = [(what, f"{seconds:.2f}") for what, seconds in noted["seconds"].items()]
    return [*rows, ("measured in", where)]


class LiveTimes(SphinxDirective):
    """The seconds of the explorers that compute in the page."""

    def run(self) -> list[nodes.Node]:
        """Build the table."""
        self.env.note_reread()
        return [table(("live explorers", "seconds"), live_times())]


FAULTS = {  # the parts of tests/faults
    "kills": "kills",
    "disks": "disks",
    "writers": "writers",
    "files": "files",
    "api": "calls",
    "options": "options",
}
ENDS = ("cases", "survived", "refused", "passed on", "bare", "hangs", "accepted")


def faults() -> list[tuple[str, ...]]:
    """Show what became of faults of each kind, as `make faults` stored it."""
    noted = json.loads((ROOT / "results/faults.json").read_text())["figures"]
    known = {name: noted[part] for part, name in FAULTS.items() if part in noted}
    return [(name, *(f"{of.get(end, 0):,}" for end in ENDS)) for name, of in known.items()]


class Faults(SphinxDirective):
    """The figures of `make faults`."""

    def run(self) -> list[nodes.Node]:
        """Build the table."""
        self.env.note_reread()
        return [table(("fault", *ENDS), faults())]


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directives to Sphinx."""
    app.add_directive("versions", Versions)
    app.add_directive("notebook-times", NotebookTimes)
    app.add_directive("run-times", RunTimes)
    app.add_directive("live-times", LiveTimes)
    app.add_directive("faults", Faults)
    return {"version": "1", "parallel_read_safe": True}
