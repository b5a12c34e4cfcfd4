"""Print what is missing from the environment that runs this, a line each; nothing: it is whole.

Every file that a package's RECORD lists must be there with its size (compiled files apart, which
Python makes again), and so must every package that dashlib asks for, in all its extras. Standard
library only, and `packaging`, which is one of them: the environment may lack anything else.
"""

import csv
import os
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from sysconfig import get_paths


def broken_files(site: Path) -> Iterator[str]:
    """The files listed in a site-packages folder that are not there, or not whole."""
    for folder in sorted(site.glob("*.dist-info")):
        if not (folder / "METADATA").exists() or not (folder / "RECORD").exists():
            yield f"{folder.name} has no METADATA or no RECORD"
            continue
        with (folder / "RECORD").open(newline="", encoding="utf-8") as rows:
            for name, _, size in csv.reader(rows):
                if name.endswith(".pyc"):
                    continue
                try:
                    found = os.stat(os.path.join(site, name)).st_size
                except OSError:
                    yield f"{name} of {folder.name} is missing"
                else:
                    if size and found != int(size):
                        yield f"{name} of {folder.name} has {found} of {size} bytes"


def missing_packages(
    name: str = "dash-book", extras: frozenset[str] = frozenset({"all"})
) -> set[str]:
    """The packages that are asked for, by name or by another package, and not there."""
    from packaging.requirements import Requirement

    missing, seen, open_ = set[str](), set[tuple[str, frozenset[str]]](), [(name, extras)]
    while open_:
        name, extras = open_.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            requires = distribution(name).requires or []
        except PackageNotFoundError:
            missing.add(name)
            continue
        for line in requires:
            wanted = Requirement(line)
            if wanted.marker is None or any(
                wanted.marker.evaluate({"extra": extra}) for extra in {"", *extras}
            ):
                open_.append((wanted.name, frozenset(wanted.extras)))
    return missing


if __name__ == "__main__":
    for fault in broken_files(Path(get_paths()["purelib"])):
        print(fault)
    for package in sorted(missing_packages()):
        print(f"{package} is not installed")
