"""Install into this Python what the chapters import and it lacks, as requirements.lock pins it.

The first cell of every chapter runs it in Colab, whose own packages (among them PyTorch for its
GPU) stay as they are. With uv where there is one, otherwise with pip.
"""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PIN = re.compile(r"^(\S+==\S+)(?: ; (.*?))? \\$", re.MULTILINE)
EXTRAS = ("cli", "data", "scale")  # of dashlib that the chapters import
SHOWN = ("anywidget", "ipywidgets", "matplotlib")  # what dashbook imports beside them


def missing(names: Iterable[str]) -> list[str]:
    """The packages that are not installed."""

    def lacks(name: str) -> bool:
        try:
            return not version(name)
        except PackageNotFoundError:
            return True

    return [name for name in names if lacks(name)]


def pins(lock: str) -> dict[str, str]:
    """``name: name==version`` of each package that the lock has for this Python and platform."""
    found = (m for m in PIN.finditer(lock) if not m[2] or Marker(m[2]).evaluate())
    return {canonicalize_name(m[1].partition("==")[0]): m[1] for m in found}


def wanted(pyproject: str) -> list[str]:
    """The names of the packages that dashlib and the chapters import."""
    project = tomllib.loads(pyproject)["project"]
    extras = project.get("optional-dependencies", {})
    lines = sum((extras.get(extra, []) for extra in EXTRAS), project["dependencies"])
    names = {canonicalize_name(Requirement(line).name) for line in lines} - {"dash-book"}
    return sorted(names.union(SHOWN))


def main() -> None:
    lacking = missing(wanted((ROOT / "pyproject.toml").read_text()))
    if not lacking:
        return
    pinned = pins((ROOT / "requirements.lock").read_text())
    uv = shutil.which("uv")
    pip = [uv, "pip", "install", "--python"] if uv else []
    command = [*pip, sys.executable, *([] if uv else ["-m", "pip", "install"])]
    packages = [pinned[name] for name in lacking]
    print(f"Installing {', '.join(packages)} ...", flush=True)
    subprocess.run([*command, *packages], check=True)


if __name__ == "__main__":
    main()
