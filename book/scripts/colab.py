"""Write the cell that makes dashlib importable in Colab into every chapter, as its first code cell.

python book/scripts/colab.py          every chapter
python book/scripts/colab.py 02 04_   the chapters whose names begin with 02 or 04_ (not 04b)

The repository's address is kept in one place, `repository.url` of book/_config.yml; without one,
the cell asks for an uploaded archive instead (of the repository: a wheel would lack the results,
which the chapters read). The cell is not shown in the book and does nothing where dashlib is
installed. What Colab lacks of the packages is installed in the version that requirements.lock pins
(pinned.py); what it has stays.
"""

import re
import sys
from collections.abc import Iterable
from pathlib import Path

import yaml

from execute import ROOT, chapters

CONFIG = ROOT / "book" / "_config.yml"
HEADER = '# %% tags=["remove-cell"]\n'
FIRST_LINE = (
    "# In Colab: fetch dashlib and its results. Where dashlib is installed, nothing happens."
)
CELL = (
    FIRST_LINE
    + """
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = "{repository}"
if importlib.util.find_spec("dashlib") is None:
    if Path("dash-book.zip").exists():
        shutil.unpack_archive("dash-book.zip")
    elif REPOSITORY and not Path("dash-book").exists():
        subprocess.run(["git", "clone", "-q", "--depth=1", REPOSITORY, "dash-book"])
    if not Path("dash-book/dashlib").is_dir():
        raise ModuleNotFoundError(
            "dashlib is missing and could not be fetched. In a clone: `make setup`, `make lab`. "
            "In Colab: make an archive, `git archive --prefix=dash-book/ -o dash-book.zip HEAD`, "
            "upload the dash-book.zip to the folder of this notebook, and run this cell again."
        )
    sys.path[:0] = [str(Path(p).resolve()) for p in ("dash-book", "dash-book/book")]
    subprocess.run([sys.executable, "dash-book/book/scripts/pinned.py"], check=True)
"""
)
CODE_CELL = re.compile(r"^# %%(?! \[markdown\]).*\n", re.MULTILINE)
GITHUB = re.compile(r"https://github\.com/[\w.-]+/[\w.-]+")


def repository(config: Path = CONFIG) -> str:
    """Return the repository's address, or "" if none is configured.

    Raises ValueError for an address that Colab's launch buttons could not use.
    """
    url = yaml.safe_load(config.read_text()).get("repository", {}).get("url") or ""
    if url and not GITHUB.fullmatch(url):
        raise ValueError(f"repository.url is {url!r}; Colab needs https://github.com/OWNER/NAME")
    return url


def cell(address: str) -> str:
    """Return the source of the cell."""
    return CELL.format(repository=address)


def first_code_cell(text: str) -> re.Match[str]:
    """Find the first code cell of a py:percent text."""
    match = CODE_CELL.search(text)
    if match is None:
        raise ValueError("the chapter has no code cell")
    return match


def with_cell(text: str, source: str) -> str:
    """Return a chapter's text with the cell as its first code cell, in place of an older one."""
    start = first_code_cell(text)
    rest = text[start.start() :]
    if rest.startswith(HEADER + FIRST_LINE):
        following = re.compile(r"^# %%", re.MULTILINE).search(rest, len(HEADER))
        rest = rest[following.start() :] if following else ""
    return f"{text[: start.start()]}{HEADER}{source}\n{rest}"


def main(prefixes: Iterable[str] = ()) -> None:
    source = cell(repository())
    for twin in chapters(prefixes):
        text = twin.read_text()
        if (new := with_cell(text, source)) != text:
            twin.write_text(new)
            print(f"rewrote {twin.name}: run `make notebooks`")


if __name__ == "__main__":
    main(sys.argv[1:])
