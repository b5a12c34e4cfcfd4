"""An audit hook that notes every file opened for writing outside of one folder."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager

_FOLDER: list[str] = []  # where writing is right, while somebody watches
_OUTSIDE: list[str] = []
CHANGES = {"os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.truncate", "shutil.rmtree"}


def _note(event: str, arguments: tuple) -> None:
    """Called for every audit event of this process, for ever: hooks cannot be taken off."""
    if not _FOLDER or (event != "open" and event not in CHANGES):
        return
    path, mode = arguments[0], arguments[1] if event == "open" else "w"
    writes = isinstance(mode, str) and set(mode) & set("wax+")
    if not writes or not isinstance(path, (str, bytes, os.PathLike)):
        return
    path = os.path.realpath(os.fsdecode(path))
    foreign = "pycache" in path or "torchinductor" in path  # Python's and PyTorch's own
    if not path.startswith((_FOLDER[0], "/dev/")) and not foreign:
        _OUTSIDE.append(path)


sys.addaudithook(_note)


@contextmanager
def watched() -> Iterator[list[str]]:
    """A block in a new folder; the list has the paths outside that it wrote to, or removed."""
    _OUTSIDE.clear()
    with tempfile.TemporaryDirectory() as place, chdir(place):
        _FOLDER.append(os.path.realpath(place))
        try:
            yield _OUTSIDE
        finally:
            _FOLDER.clear()
