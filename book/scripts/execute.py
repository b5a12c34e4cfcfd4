"""Run the text twins of the notebooks and store their outputs in notebooks/*.ipynb.

python book/scripts/execute.py          every chapter
python book/scripts/execute.py 02 04    the chapters whose names begin with 02 or 04

The same text on the same machine gives the same bytes: ids of cells and widgets are derived from
content and order, and neither timings nor interpreter versions are stored.
"""

import asyncio
import hashlib
import json
import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
TIMINGS = ROOT / "book" / "_build" / "timings.json"  # for the status page; never tracked
PARALLEL = 2  # kernels at a time, each on one thread
CELL_TIMEOUT = 600  # seconds
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
KEPT_CELL_METADATA = ("mystnb", "tags")
LANGUAGE = {"name": "python", "pygments_lexer": "ipython3"}  # without the kernel's version


class ConflictError(Exception):
    """A notebook holds newer edits than its text twin."""


def chapters(prefixes: Iterable[str] = ()) -> list[Path]:
    """Return the text twins whose names begin with one of `prefixes`; all without prefixes."""
    every = sorted(NOTEBOOKS.glob("*.py"))
    wanted = tuple(prefixes)
    chosen = [p for p in every if not wanted or p.name.startswith(wanted)]
    if not chosen:
        names = ", ".join(p.stem for p in every) or "none"
        raise FileNotFoundError(f"no chapter matches {' '.join(wanted)} (there are: {names})")
    return chosen


def read_twin(twin: Path) -> NotebookNode:
    """Read a text twin as a notebook without outputs, with cell ids that depend on content."""
    notebook = jupytext.read(twin)
    seen: Counter[str] = Counter()
    for cell in notebook.cells:
        digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:12]
        cell.id = f"{digest}-{seen[digest]}"
        seen[digest] += 1
    kept = {k: notebook.metadata[k] for k in ("jupytext", "kernelspec") if k in notebook.metadata}
    notebook.metadata = NotebookNode(kept, language_info=LANGUAGE)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def first_difference(notebook: Path, twin: Path) -> str | None:
    """Name the first cell in which a notebook and its text twin differ, or return None."""

    def cells(source: NotebookNode) -> list[Any]:
        metadata = [[c.metadata.get(k) for k in KEPT_CELL_METADATA] for c in source.cells]
        return [(c.cell_type, c.source, m) for c, m in zip(source.cells, metadata, strict=True)]

    as_text = jupytext.writes(nbformat.read(notebook, as_version=4), fmt="py:percent")
    left, right = cells(jupytext.reads(as_text, fmt="py:percent")), cells(jupytext.read(twin))
    for number, (a, b) in enumerate(zip(left, right, strict=False), start=1):
        if a != b:
            return f"cell {number}"
    if len(left) != len(right):
        return f"cell {min(len(left), len(right)) + 1}"
    return None


def check_no_newer_edits(twin: Path) -> None:
    """Raise ConflictError if the notebook was edited after its text twin: a run would lose that."""
    notebook = twin.with_suffix(".ipynb")
    if not notebook.exists() or notebook.stat().st_mtime <= twin.stat().st_mtime:
        return
    where = first_difference(notebook, twin)
    if where:
        raise ConflictError(
            f"{notebook.name} is newer than {twin.name} and they differ, first in {where}.\n"
            "Nothing was changed. To keep the notebook's cells:\n"
            f"  .venv/bin/python -m jupytext --to py:percent notebooks/{notebook.name}\n"
            "or to keep the text's cells:\n"
            f"  touch notebooks/{twin.name}"
        )


def progress(name: str, total: int, every: float = 10.0) -> Callable[..., None]:
    """Return an nbclient hook that prints `name  3/17 cells` at most once in `every` seconds."""
    done, printed = 0, time.monotonic()

    def executed(**_: Any) -> None:
        nonlocal done, printed
        done += 1
        if time.monotonic() - printed > every:
            printed = time.monotonic()
            print(f"  {name}  {done}/{total} cells", flush=True)

    return executed


async def run(twin: Path) -> NotebookNode:
    """Execute a text twin in a fresh kernel, in its folder; return it with its outputs."""
    notebook = read_twin(twin)
    total = sum(c.cell_type == "code" and bool(c.source.strip()) for c in notebook.cells)
    start = time.monotonic()
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],  # no remarks on the transport
        resources={"metadata": {"path": str(twin.parent)}},
        on_cell_executed=progress(twin.stem, total),
    )
    try:
        await client.async_execute()
    except CellExecutionError as error:
        raise RuntimeError(f"{twin.name} failed:\n{error}") from error
    seconds = time.monotonic() - start
    print(f"  {twin.stem}  {total}/{total} cells in {seconds:.0f} s", flush=True)
    if twin.parent == NOTEBOOKS:
        note_seconds(twin, seconds)
    return stable(notebook)


def text_hash(twin: Path) -> str:
    """Return a hash of a twin's text, which ties a timing to what was timed."""
    return hashlib.sha256(twin.read_bytes()).hexdigest()[:16]


def note_seconds(twin: Path, seconds: float) -> None:
    """Note, outside every tracked file, how long a chapter took with the text that it has now."""
    noted = json.loads(TIMINGS.read_text()) if TIMINGS.exists() else {}
    noted[twin.stem] = {"seconds": round(seconds, 1), "text": text_hash(twin)}
    TIMINGS.parent.mkdir(parents=True, exist_ok=True)
    part = TIMINGS.with_suffix(".part")
    part.write_text(json.dumps(noted, indent=1, sort_keys=True))
    part.replace(TIMINGS)


def stable(notebook: NotebookNode) -> NotebookNode:
    """Number the widget models in order of creation; drop what the kernel says of itself."""
    notebook.metadata.language_info = LANGUAGE
    state = notebook.metadata.get("widgets", {}).get(WIDGET_STATE, {}).get("state", {})
    number = {old: f"{i:032x}" for i, old in enumerate(state)}
    text = re.sub(
        "(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])",
        lambda match: number.get(match[0], match[0]),
        json.dumps(notebook),
    )
    return nbformat.from_dict(json.loads(text))


def write(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook atomically: a reader sees the old file or the new one, never half of one."""
    text = nbformat.writes(notebook) + "\n"
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".tmp", delete=False) as file:
        file.write(text)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


def work(twin: Path) -> int:
    """Guess how long a chapter takes, by the size of its stored outputs; 0 without any."""
    notebook = twin.with_suffix(".ipynb")
    return notebook.stat().st_size if notebook.exists() else 0


async def run_all(twins: Iterable[Path], done: Callable[[Path, NotebookNode], None]) -> None:
    """Run the twins, PARALLEL at a time; hand each result to `done`, raise failures at the end.

    The longest come first, so that no kernel is left working alone.
    """
    turn = asyncio.Semaphore(PARALLEL)

    async def one(twin: Path) -> None:
        async with turn:
            done(twin, await run(twin))

    jobs: list[Awaitable[None]] = [one(twin) for twin in sorted(twins, key=work, reverse=True)]
    failures = [e for e in await asyncio.gather(*jobs, return_exceptions=True) if e is not None]
    if failures:
        raise RuntimeError("\n\n".join(str(e) or repr(e) for e in failures))


def single_threaded() -> None:
    """Give each kernel one thread: parallel kernels stay fast, the last digits reproducible."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def main(prefixes: list[str]) -> None:
    single_threaded()
    twins = chapters(prefixes)
    for twin in twins:
        check_no_newer_edits(twin)
    print(f"Executing {len(twins)} notebooks, {PARALLEL} at a time ...", flush=True)
    asyncio.run(run_all(twins, lambda twin, nb: write(nb, twin.with_suffix(".ipynb"))))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (ConflictError, FileNotFoundError, RuntimeError) as error:
        sys.exit(f"\nerror: {error}")
