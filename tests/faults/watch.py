"""Cases that are drawn, and an audit hook for files opened for writing outside of one folder."""

import os
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import chdir
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis.configuration import set_hypothesis_home_dir
from hypothesis.strategies import SearchStrategy

LETTERS = "".join(map(chr, range(128))) + "\u00e9\u202e\u2603\udcff"  # the last: no UTF-8

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


def tried(outcome: Callable[[Any], str], cases: SearchStrategy, count: int) -> Counter[str]:
    """Tell what became of so many cases, always the same; the simplest wrong one is printed."""
    found = Counter[str]()
    how = {"derandomize": True, "deadline": None, "suppress_health_check": [*HealthCheck]}

    @settings(max_examples=count, database=None, **how)
    @given(cases)
    def none_is_wrong(case: Any) -> None:
        kind = "bare"
        _OUTSIDE.clear()
        try:
            kind = outcome(case)
        finally:
            found[kind] += 1
            found["written outside"] += len(_OUTSIDE)
        assert kind != "accepted"
        assert not _OUTSIDE

    with tempfile.TemporaryDirectory() as place, chdir(place):
        set_hypothesis_home_dir(place)
        _FOLDER.append(os.path.realpath(place))
        try:
            none_is_wrong()
        except Exception:
            traceback.print_exc()
        _FOLDER.clear()
    return +found
