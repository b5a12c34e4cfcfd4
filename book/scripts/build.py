"""Build the book.

python book/scripts/build.py             execute every notebook, then build from what was executed,
                                         into book/_build/html
python book/scripts/build.py --execute   the first of the two only
python book/scripts/build.py --stored    build from the outputs stored in notebooks/*.ipynb, as the
                                         tests read them, into book/_build/stored: `make book` and
                                         `make test` may run side by side

Both are strict: a warning is an error, and so is a page above 1.5 MB. Executed notebooks live in
book/_build and never touch a tracked file; one is executed again only if its text, our code, the
results or a package that it runs on has changed.
"""

import asyncio
import hashlib
import platform
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from importlib.metadata import version
from pathlib import Path
from urllib.parse import unquote

from execute import (
    ROOT,
    ConflictError,
    chapters,
    check_no_newer_edits,
    run_all,
    single_threaded,
    write,
)

BOOK = ROOT / "book"
BUILD = BOOK / "_build"
EXECUTED = BUILD / "executed"
STAGE = BUILD / "stage"
WORK = BUILD / "work"
HTML = BUILD / "html"
STORED = BUILD / "stored"
CODE = ("dashlib", "book/dashbook")
MAX_PAGE = 1_400_000  # bytes, and 0.1 MB of fonts: a page is read on phones, too
PACKAGES = (
    "ipykernel",
    "ipywidgets",
    "matplotlib",
    "numpy",
    "pillow",
    "scikit-learn",
    "torch",
    "torchvision",
)


def files(folder: Path, pattern: str) -> list[Path]:
    """List the files below a folder, sorted, without hidden ones."""
    return sorted(p for p in folder.rglob(pattern) if p.is_file() and not p.name.startswith("."))


def environment_hash() -> str:
    """Hash what every notebook runs on: our packages, results, executor, Python, key packages."""
    digest = hashlib.sha256(platform.python_version().encode())
    for package in PACKAGES:
        digest.update(f"{package} {version(package)}\n".encode())
    digest.update(Path(__file__).with_name("execute.py").read_bytes())
    code = [path for folder in CODE for path in files(ROOT / folder, "*.py")]
    for path in code + files(ROOT / "results", "*"):
        digest.update(f"{path.relative_to(ROOT)}\n".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def executed_name(twin: Path, environment: str) -> Path:
    """Return where a twin's executed notebook is kept, under a hash of all that it depends on."""
    digest = hashlib.sha256(environment.encode() + twin.read_bytes()).hexdigest()[:16]
    return EXECUTED / f"{twin.stem}.{digest}.ipynb"


def execute_changed() -> dict[str, Path]:
    """Execute the notebooks that changed since the last build; return all, by file name."""
    single_threaded()
    environment = environment_hash()
    twins = chapters()
    for twin in twins:
        check_no_newer_edits(twin)
    kept = {twin: executed_name(twin, environment) for twin in twins}
    changed = [twin for twin in twins if not kept[twin].exists()]
    print(f"Executing {len(changed)} of {len(twins)} notebooks (the others are unchanged) ...")
    EXECUTED.mkdir(parents=True, exist_ok=True)
    asyncio.run(run_all(changed, lambda twin, notebook: write(notebook, kept[twin])))
    for stale in set(EXECUTED.iterdir()) - set(kept.values()):
        stale.unlink()
    return {f"{twin.stem}.ipynb": path for twin, path in kept.items()}


def stage(notebooks: dict[str, Path]) -> None:
    """Copy the book's sources, with executed notebooks in place of the stored ones, to STAGE."""
    shutil.rmtree(STAGE, ignore_errors=True)
    shutil.copytree(BOOK, STAGE, ignore=shutil.ignore_patterns("_build", "scripts", "notebooks"))
    (STAGE / "notebooks").mkdir()
    for name, path in notebooks.items():
        shutil.copy2(path, STAGE / "notebooks" / name)


def jupyter_book(source: Path, output: Path) -> None:
    """Run `jupyter-book build`, strictly; its html lands in output/_build/html."""
    cli = "from jupyter_book.cli.main import main; main()"
    strict = ["-W", "-n", "--keep-going", "-q"]
    paths = [str(source), "--path-output", str(output)]
    command = [sys.executable, "-c", cli, "build", *paths, *strict]
    if subprocess.run(command, stdout=subprocess.DEVNULL).returncode:
        # Sphinx warns only of pages that it reads: the next build must read them all again.
        shutil.rmtree(output / "_build/.doctrees", ignore_errors=True)
        raise RuntimeError("the book did not build without warnings (see above)")


def build_executed() -> Path:
    stage(execute_changed())
    print("Building the book from the executed notebooks ...", flush=True)
    jupyter_book(STAGE, WORK)
    shutil.rmtree(HTML, ignore_errors=True)
    shutil.copytree(WORK / "_build/html", HTML)
    # A later `jupyter-book build book/` must not take these pages for its own: let it start afresh.
    shutil.rmtree(BUILD / ".doctrees", ignore_errors=True)
    return HTML


def build_stored() -> Path:
    shutil.rmtree(STORED, ignore_errors=True)
    print("Building the book from the stored outputs ...", flush=True)
    jupyter_book(BOOK, STORED)
    return STORED / "_build/html"


class Assets(HTMLParser):
    """The addresses of what a page shows, ``images``, and of its scripts and styles, ``code``."""

    def __init__(self) -> None:
        super().__init__()
        self.images: set[str] = set()
        self.code: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "img" and (source := given.get("src")):
            self.images.add(source)
        elif tag == "script" and (source := given.get("src")):
            self.code.add(source)
        elif tag == "link" and "stylesheet" in (given.get("rel") or ""):
            self.code.add(given.get("href") or "")


def weight(page: Path) -> tuple[int, int, int]:
    """Return the bytes of a page's html, of the images it shows, of its scripts and styles.

    An explorer shows one of its pictures; the others, and fonts, are not counted.
    """
    reader = Assets()
    reader.feed(page.read_text())

    def size(sources: set[str]) -> int:
        local = {s.split("?")[0] for s in sources if not s.startswith(("data:", "http"))}
        return sum((page.parent / unquote(s)).stat().st_size for s in local)

    return page.stat().st_size, size(reader.images), size(reader.code)


def report_weights(html: Path) -> None:
    """Print the weight of every page, the heaviest first; raise RuntimeError above MAX_PAGE."""
    pages = [p for p in files(html, "*.html") if "_static" not in p.relative_to(html).parts]
    weights = {str(page.relative_to(html)): weight(page) for page in pages}
    print("\nkB, of html + its images + scripts and styles, which pages share (fonts: 0.1 MB)")
    for name, parts in sorted(weights.items(), key=lambda item: -sum(item[1])):
        shown = " + ".join(f"{part / 1000:5.0f}" for part in parts)
        print(f"  {sum(parts) / 1000:5.0f} = {shown}  {name}")
    heavy = [name for name, parts in weights.items() if sum(parts) > MAX_PAGE]
    if heavy:
        raise RuntimeError(
            f"above {MAX_PAGE / 1e6:.1f} MB: {', '.join(heavy)}. Draw fewer or smaller pictures in "
            "these pages"
        )


if __name__ == "__main__":
    try:
        if "--execute" in sys.argv[1:]:
            execute_changed()
            sys.exit()
        html = build_stored() if "--stored" in sys.argv[1:] else build_executed()
        report_weights(html)
    except (ConflictError, FileNotFoundError, RuntimeError) as error:
        sys.exit(f"\nerror: {error}")
    print(f"\nThe book: {html / 'index.html'}")
