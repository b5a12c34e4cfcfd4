"""Files from the network: mirrors tried in turn, downloads resumed, contents verified by MD5.

Only public files with a published sum are fetched, so it does not matter who serves them: a mirror
that is down, slow, or serves something else costs time, never a wrong file.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from time import monotonic
from typing import Any
from urllib import request
from urllib.error import HTTPError, URLError

from tqdm import tqdm

from dashlib.progress import refresh_seconds

MIRRORS = "DASH_MIRRORS"  # environment variable: base addresses, separated by spaces or commas
BLOCK = 1 << 16  # bytes; a mirror must send at least that many within the timeout

Progress = Callable[[str, int, int], None]


class DownloadError(OSError):
    """A file that no mirror gave, or that cannot be written here; the message says what to do."""


class ByteBar:
    """A progress reporter for one file: bytes as a bar, whose total may be unknown (0)."""

    def __init__(self) -> None:
        self.bar: tqdm | None = None

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` bytes of the file ``what`` are here."""
        if self.bar is None:
            self.bar = tqdm(
                desc=what, unit="B", unit_scale=True, mininterval=refresh_seconds(), leave=False
            )
        self.bar.total = total or None
        self.bar.update(done - self.bar.n)

    def close(self) -> None:
        """Remove the bar, if there is one."""
        if self.bar is not None:
            self.bar.close()


def md5_of(path: Path) -> str:
    """The MD5 sum of a file, 32 hexadecimal digits (it names a file; it is no protection)."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def addresses(filename: str, known: Sequence[str], mirrors: Sequence[str] = ()) -> list[str]:
    """Where to look for a file, in order and each once.

    First the base addresses ``mirrors``, then those of the environment variable
    ``DASH_MIRRORS`` (``<base>/<filename>`` each), then the ``known`` full addresses.
    """
    bases = [*mirrors, *os.environ.get(MIRRORS, "").replace(",", " ").split()]
    return list(dict.fromkeys([*(f"{b.rstrip('/')}/{filename}" for b in bases), *known]))


def fetch(
    urls: Sequence[str],
    path: str | Path,
    *,
    md5: str,
    timeout: float = 30.0,
    progress: Progress | None = None,
) -> Path:
    """Get the file with this MD5 sum from the first of the mirrors that has it; returns its path.

    A file that is there already with that sum is left alone.  Bytes go to ``path.part``, which a
    later mirror, or call, continues if the server can (HTTP 206), and which becomes ``path`` in
    one step once its sum is right.  A mirror is given up that sends less than :data:`BLOCK`
    bytes in ``timeout`` seconds.  ``progress(name, done, total)`` replaces the bar.  Meant for
    one process: let one fetch, the others wait.

    Raises ``DownloadError`` (an ``OSError``) that lists each mirror with its failure and says
    where to put the file by hand, or that the disk cannot be written to; ``ValueError`` without
    any address.
    """
    path = Path(path).expanduser()
    if not urls:
        raise ValueError(f"no address to fetch {path.name} from: give at least one")
    if _has(path, md5):
        return path
    bar, failures = ByteBar(), []
    try:
        for url in urls:
            try:
                _obtain(url, _partial(path), md5, timeout, progress or bar)
            except DownloadError:
                raise
            except (OSError, HTTPException, ValueError) as error:
                failures.append(f"  {url}: {_reason(error)}")
            else:
                with _local(path):
                    os.replace(_partial(path), path)
                return path
    finally:
        bar.close()
    raise DownloadError(_advice(path, md5, failures))


def _partial(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _has(path: Path, md5: str) -> bool:
    return path.is_file() and md5_of(path) == md5


def _advice(path: Path, md5: str, failures: Sequence[str]) -> str:
    """Which mirror failed how, and what is left to do."""
    tried = "\n".join(failures)
    return (
        f"{path.name} could not be downloaded:\n{tried}\n"
        f"Try again (what has arrived is kept), or set {MIRRORS} to the base address of another "
        f"mirror, or put the file there by hand: {path} (MD5 {md5})"
    )


def _reason(error: Exception) -> str:
    """A failure in a few words."""
    cause = error.reason if isinstance(error, URLError) else error
    if isinstance(error, HTTPError):
        return f"HTTP {error.code} {error.reason}"
    return " ".join(str(cause).split()) or type(cause).__name__


@contextmanager
def _local(path: Path) -> Iterator[None]:
    """Tell faults of the disk here, which no other mirror mends, from those of a server."""
    try:
        yield
    except OSError as error:
        raise DownloadError(
            f"{path} cannot be written ({error.strerror or error}): free some space there, or "
            "choose another folder"
        ) from error


def _obtain(url: str, part: Path, md5: str, timeout: float, progress: Progress) -> None:
    """Complete ``part`` from one mirror; ``ValueError`` if that gives another file.

    A partial file may have come from a mirror with another file: if its continuation has a wrong
    sum, the same mirror is asked once more, for everything.
    """
    if _has(part, md5):
        return
    while True:
        resumed = _receive(url, part, timeout, progress)
        if (found := md5_of(part)) == md5:
            return
        part.unlink()
        if not resumed:
            raise ValueError(f"another file, with MD5 {found}")


def _receive(url: str, part: Path, timeout: float, progress: Progress) -> bool:
    """Download to ``part``, continuing it if the server can; returns whether it did."""
    offset = part.stat().st_size if part.is_file() else 0
    with _local(part):
        part.parent.mkdir(parents=True, exist_ok=True)
    with _answer(url, offset, timeout) as response:
        resumed = offset > 0 and response.status == 206
        start = offset if resumed else 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else 0
        with _local(part):
            file = part.open("ab" if resumed else "wb", buffering=0)
        with file:
            for block in _blocks(response, timeout):
                with _local(part):
                    while block:  # a disk that is nearly full takes less than it is given
                        block = block[file.write(block) :]
                progress(part.stem, file.tell(), total)
            with _local(part):
                os.fsync(file.fileno())
    if total and (size := part.stat().st_size) != total:
        raise OSError(f"the connection ended after {size:,} of {total:,} bytes")
    return resumed


def _answer(url: str, offset: int, timeout: float) -> Any:
    """The server's response: the bytes from ``offset`` on (status 206) or all of them."""
    headers = {"User-Agent": "dashlib"}
    wanted = headers | {"Range": f"bytes={offset}-"} if offset else headers
    try:
        response = request.urlopen(request.Request(url, headers=wanted), timeout=timeout)
    except HTTPError as error:
        if not (offset and error.code == 416):  # 416: it has no bytes there
            raise
        return request.urlopen(request.Request(url, headers=headers), timeout=timeout)
    got = response.headers.get("Content-Range", "")
    if offset and response.status == 206 and not got.startswith(f"bytes {offset}-"):
        response.close()
        raise OSError(f"asked for the bytes from {offset} on, it sent {got!r}")
    return response


def _blocks(response: Any, timeout: float) -> Iterator[bytes]:
    """What arrives, as it arrives; ``TimeoutError`` if that is too slow."""
    fresh, since = 0, monotonic()
    while block := response.read1(BLOCK):
        yield block
        fresh += len(block)
        if fresh >= BLOCK:
            fresh, since = 0, monotonic()
        elif monotonic() - since > timeout:
            raise TimeoutError(f"too slow: {fresh:,} bytes in {timeout:g} seconds")
