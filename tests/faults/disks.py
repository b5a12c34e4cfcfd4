"""Disks that are full, broken or closed: in the middle of a command, which is then given again."""

import errno
import os
import random
import resource
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.forks import MODEL, TRAIN, Job, command, ended, forked, kind_of, left

FAULTS = (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO, errno.EDQUOT)


def failing(fault: int, last: int) -> Callable[[], None]:
    """Return what makes the ``last``-th flush to disk fail in the process that calls it."""

    def install() -> None:
        calls, flush = iter(range(1, 1000)), os.fsync

        def fsync(file: int) -> None:
            if next(calls) == last:
                raise OSError(fault, os.strerror(fault))
            flush(file)

        os.fsync = fsync

    return install


def limited(size: int) -> Callable[[], None]:
    """Return what lets no file grow beyond a size (bytes) in the process that calls it."""

    def install() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write then fails: "File too large"
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    return install


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A block in which a folder is a disk of its own, in memory; ``PermissionError`` if not us."""
    mount = ["mount", "-t", "tmpfs", "-o", options, "faults", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        raise PermissionError("no file system may be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def closed(folder: Path) -> Iterator[None]:
    """A block in which nobody may write to a folder; for root it is on a read-only disk."""
    if os.geteuid() == 0:
        with mounted(folder, "ro,size=1m"):
            yield
    else:
        folder.chmod(0o555)
        yield
        folder.chmod(0o755)


def refusal(folder: Path, code: int | None) -> str:
    """Tell how a command ended that could not write; what did not end well is printed."""
    said = (folder / "said.txt").read_text()
    clear = code == 1 and "Error: " in said and "Traceback" not in said
    kind = "hangs" if code is None else "refused" if clear else "bare" if code else "accepted"
    if kind != "refused":
        print(f"{kind}: exit {code}, {said[-400:]}")
    return kind


def broken(job: Job, folder: Path, rng: random.Random) -> int | None:
    """A write to disk fails, once."""
    return ended(forked(job, folder, failing(rng.choice(FAULTS), rng.randrange(1, 10))), 600)


def narrow(job: Job, folder: Path, rng: random.Random) -> int | None:
    """No file may grow beyond a random number of bytes, less than a checkpoint's."""
    return ended(forked(job, folder, limited(rng.randrange(20_000, 10_000_000))), 600)


def shut(job: Job, folder: Path, rng: random.Random) -> int | None:
    """The command's folder cannot be written to."""
    with closed(folder / "run"):
        return ended(forked(job, folder), 600)


@contextmanager
def gives_way(job: Job, folder: Path, rng: random.Random, found: Counter[str]) -> Iterator[None]:
    """The command fails on a disk with one of four faults; in the block it is whole again."""
    (folder / "run").mkdir()
    way = rng.choice([broken, narrow, shut, None])
    if way:
        found[refusal(folder, way(job, folder, rng))] += 1
        yield
        return
    size = rng.randrange(64, 30_000)  # KiB: less than two checkpoints
    with mounted(folder / "run", f"size={size}k"):
        found[refusal(folder, ended(forked(job, folder), 600))] += 1
        grown = ["mount", "-o", "remount,size=1g", str(folder / "run")]
        subprocess.run(grown, check=True)
        yield


def disks(count: int, seed: int = 0) -> Counter[str]:
    """Let the disk of a training fail; then the same command must end as if left alone."""
    found, rng = Counter[str](), random.Random(seed)
    job = Job(command(*TRAIN), MODEL)
    with tempfile.TemporaryDirectory() as place:
        (alone := Path(place, "alone")).mkdir()
        assert ended(forked(job, alone), 600) == 0
        whole = left(job, alone) or []
        for number in range(count):
            (folder := Path(place, str(number))).mkdir()
            try:
                with gives_way(job, folder, rng, found):
                    found[kind_of(job, folder, ended(forked(job, folder), 600), whole)] += 1
            except PermissionError as error:
                found[f"left out: {error}"] += 1
            shutil.rmtree(folder)
    return +found
