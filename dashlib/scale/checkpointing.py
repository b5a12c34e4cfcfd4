"""Let training survive: whole checkpoints, polite stops, and errors that say what to do.

A checkpoint, ``step-000001000-SHA.pt``, is written atomically; its name tells a damaged one.
"""

import errno
import hashlib
import io
import os
import platform
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Self

import torch
from accelerate.utils.memory import should_reduce_batch_size
from filelock import FileLock, Timeout

from dashlib.checkpoints import CheckpointError, read_pickled, write_atomically

SIGNALS = [getattr(signal, n) for n in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signal, n)]
INTERRUPTED = 75  # exit code after a signal: sysexits' EX_TEMPFAIL, "try again later"


class TrainingStopped(RuntimeError):
    """Training cannot go on; says why, where the last good checkpoint is, and what to do."""


@dataclass(frozen=True)
class Checkpoints:
    """The newest ``keep`` checkpoints of a run, in a folder of their own."""

    folder: Path
    keep: int = 3  # 1 or more

    def all(self) -> list[Path]:
        """Every checkpoint, newest first, whole or not."""
        return sorted(self.folder.glob("step-*.pt"), reverse=True)

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Write a checkpoint, delete old ones; failing or killed, it leaves all former ones."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getvalue()
        named = f"step-{step:09d}-"
        path = self.folder / f"{named}{hashlib.sha256(content).hexdigest()[:16]}.pt"
        write_atomically(path, content)
        others = [old for old in self.all() if not old.name.startswith(named)]
        kept = {path, *others[: self.keep - 1]}  # nothing else of this step or half-written
        for old in {*self.all(), *self.folder.glob(".step-*")} - kept:
            old.unlink(missing_ok=True)
        return path

    def newest(self, warn: Callable[[str], object] = warnings.warn) -> Path | None:
        """The newest whole one, or None; warns of damaged ones, ``CheckpointError`` if all are."""
        found = self.all()
        for path in found:
            if (fault := damage(path)) is None:
                return path
            warn(f"{path} is damaged ({fault}): going back to the checkpoint before it")
        if found:
            fault = f"all {len(found)} checkpoints in {self.folder} are damaged"
            raise CheckpointError(f"{fault}: restore one, or delete the folder to start anew")
        return None


def damage(path: Path) -> str | None:
    """Say what is wrong with a checkpoint; None if it is whole."""
    named = path.stem.rpartition("-")[2]
    try:
        with path.open("rb") as file:
            sha = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return str(error)
    whole = named and sha.startswith(named)
    return None if whole else f"it has SHA-256 {sha[:16]}, its name says {named}"


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The state in a checkpoint; ``CheckpointError`` if it is not whole."""
    if fault := damage(path):
        raise CheckpointError(f"{path} is not a whole checkpoint ({fault}): resume an older one")
    return read_pickled(path)


class Stop:
    """Notes a signal that asks to end (``SIGTERM``, Ctrl-C, ``SIGUSR1``) instead of dying of it.

    A second Ctrl-C interrupts at once.  Outside of the main thread no signal is noted.
    """

    received: signal.Signals | None = None

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received == number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)

    def __enter__(self) -> Self:
        here = threading.current_thread() is threading.main_thread()
        self._former = {s: signal.signal(s, self._note) for s in SIGNALS if here}
        return self

    def __exit__(self, *error: object) -> None:
        for number, former in self._former.items():
            signal.signal(number, former)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """A block in which no other call works in the folder; ``TrainingStopped`` names who does."""
    holder = folder / ".holder"
    try:
        with FileLock(folder / ".lock", timeout=0):
            for old in folder.glob(".*.dashlib"):  # of a call that was killed while it wrote
                old.unlink()
            holder.write_text(f"process {os.getpid()} on {platform.node()}")
            yield
    except Timeout as error:
        who = holder.read_text() if holder.exists() else "another process"
        fault = f"another call works in {folder}, {who}: wait for it, or give another --out"
        raise TrainingStopped(fault) from error


@contextmanager
def explained(so_far: Callable[[], str]) -> Iterator[None]:
    """Turn what ends training into a :class:`TrainingStopped`; ``so_far()``: how far it came."""
    try:
        yield
    except (FloatingPointError, OSError, RuntimeError, MemoryError) as error:
        if isinstance(error, FloatingPointError):
            message = f"{error}, {so_far()}"
        elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            how = "Free space (or lower --keep), then give the same command again"
            message = f"disk full writing {error.filename}, {so_far()} {how}"
        elif isinstance(error, MemoryError) or should_reduce_batch_size(error):
            reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            how = "more --accumulate or processes, --precision bf16, or a smaller --batch"
            message = f"out of memory, {so_far()} Use {how} ({reason})"
        elif type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            how = "install a C++ compiler (g++, or what CXX names), or leave --compile out"
            message = f"torch.compile failed: {how} ({str(error).splitlines()[0]})"
        else:
            raise
        raise TrainingStopped(message) from error
