"""Write requirements.lock, the versions that the book is tested with, and show what changed.

python book/scripts/lock.py             keep the pins that pyproject.toml still allows
python book/scripts/lock.py --upgrade   move every pin to the newest release

One set for Linux, macOS and Windows and every Python that pyproject.toml allows, with the hash of
every file, and with no address of an index: each machine's configuration names that.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements.lock"
HEADER = "# Written by `make lock` from pyproject.toml: do not edit.\n"
PIN = re.compile(r"^([\w.-]+)==([^\s;\\]+)", re.MULTILINE)


def pins(text: str) -> set[tuple[str, str]]:
    """The pinned packages, ``(name, version)``; one that platforms disagree on is there twice."""
    return set(PIN.findall(text))


def changes(old: str, new: str) -> list[str]:
    """The differences of two locks, a line for each package that appeared, moved or went."""
    before, after = pins(old) - pins(new), pins(new) - pins(old)
    lines = []
    for name in sorted({name for name, _ in before | after}):
        was, now = (
            ", ".join(sorted(version for other, version in side if other == name)) or "-"
            for side in (before, after)
        )
        lines.append(f"  {name:28} {was} -> {now}")
    return lines


def resolve(options: list[str]) -> str:
    """Let uv compile pyproject.toml and the pins that are there."""
    uv = [sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", "--all-extras"]
    form = ["--universal", "--python-version", "3.11", "--generate-hashes"]
    bare = ["--no-header", "--no-annotate", "--no-emit-index-url", "--quiet"]
    command = [*uv, *form, *bare, "--output-file", LOCK.name, *options]
    subprocess.run(command, cwd=ROOT, check=True)
    return LOCK.read_text()


def main(options: list[str]) -> None:
    old = LOCK.read_text() if LOCK.exists() else ""
    new = HEADER + resolve(options)
    LOCK.write_text(new)
    moved = changes(old, new)
    print("\n".join(moved) or "requirements.lock: no version changed")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: uv could not resolve pyproject.toml (exit status {error.returncode})")
