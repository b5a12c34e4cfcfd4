"""Mirrors, resumed downloads and verified contents, against a real server on this machine."""

import hashlib
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dashlib.datasets import download
from dashlib.datasets.download import ByteBar, DownloadError, addresses, fetch

CONTENT = bytes(range(256)) * 1200  # 307,200 bytes: five blocks
MD5 = hashlib.md5(CONTENT).hexdigest()


@dataclass
class Site:
    """What one server does, and the (path, Range header) of each request it got."""

    files: dict[str, bytes]
    ranges: bool = True
    stop_after: int | None = None  # bytes after which the connection breaks
    pause: float = 0.0  # seconds before the body
    trickle: bool = False  # a few bytes at a time, never silent for long
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    def body(self, handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("Range")
        self.asked.append((handler.path, wanted))
        content = self.files.get(handler.path)
        if content is None:
            return handler.send_error(404)
        start = int(wanted[6:-1]) if wanted and self.ranges else 0
        if start >= len(content):
            return handler.send_error(416)
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        handler.send_header("Content-Length", str(len(content) - start))
        handler.end_headers()
        self.send(handler.wfile.write, content[start:])

    def send(self, write: Callable[[bytes], object], content: bytes) -> None:
        time.sleep(self.pause)
        if self.trickle:
            for i in range(200):
                write(content[i : i + 1])
                time.sleep(0.02)
        write(content[: self.stop_after])


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        with suppress(BrokenPipeError, ConnectionResetError):  # the client may give up
            self.server.site.body(self)

    def log_message(self, *args):
        pass


@pytest.fixture
def serve():
    """Starts servers; each call gives a base address and the site behind it."""
    servers = []

    def start(files=None, **behaviour):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        server.site = Site({"/f.bin": CONTENT} if files is None else files, **behaviour)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}", server.site

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def get(bases, path, **options):
    return fetch([f"{base}/f.bin" for base in bases], path, md5=MD5, timeout=5, **options)


def left(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_file_is_fetched_whole_with_its_progress(tmp_path, serve):
    base, site = serve()
    seen = []
    path = get([base], tmp_path / "new" / "f.bin", progress=lambda *x: seen.append(x))
    assert path == tmp_path / "new" / "f.bin"
    assert path.read_bytes() == CONTENT
    assert left(path.parent) == ["f.bin"]
    assert site.asked == [("/f.bin", None)]
    assert {(what, total) for what, _, total in seen} == {("f.bin", len(CONTENT))}
    done = [d for _, d, _ in seen]
    assert len(done) >= 5
    assert done == sorted(done)
    assert done[-1] == len(CONTENT)


def test_the_default_progress_is_a_bar_in_bytes(tmp_path, serve, capsys, monkeypatch):
    monkeypatch.setattr(download, "refresh_seconds", lambda: 0.0)
    get([serve()[0]], tmp_path / "f.bin")
    assert re.search(r"f\.bin: +\d+%.*\d+k/307k.*B/s", capsys.readouterr().err)


def test_a_bar_without_a_total_counts(capsys, monkeypatch):
    monkeypatch.setattr(download, "refresh_seconds", lambda: 0.0)
    bar = ByteBar()
    bar("f.bin", 2_000_000, 0)
    bar.close()
    assert re.search(r"f\.bin: \S*2\.00MB", capsys.readouterr().err)


def test_a_file_that_is_there_is_not_fetched(tmp_path, serve):
    base, site = serve()
    (tmp_path / "f.bin").write_bytes(CONTENT)
    assert get([base], tmp_path / "f.bin") == tmp_path / "f.bin"
    assert not site.asked


def test_a_damaged_file_is_replaced(tmp_path, serve):
    (tmp_path / "f.bin").write_bytes(b"damaged")
    assert get([serve()[0]], tmp_path / "f.bin").read_bytes() == CONTENT


def test_a_damaged_file_stays_if_there_is_no_other(tmp_path, serve):
    (tmp_path / "f.bin").write_bytes(b"damaged")
    with pytest.raises(DownloadError):
        get([serve({})[0]], tmp_path / "f.bin")
    assert (tmp_path / "f.bin").read_bytes() == b"damaged"


def test_a_partial_file_is_continued(tmp_path, serve):
    base, site = serve()
    (tmp_path / "f.bin.part").write_bytes(CONTENT[:100_000])
    seen = []
    path = get([base], tmp_path / "f.bin", progress=lambda *x: seen.append(x))
    assert path.read_bytes() == CONTENT
    assert site.asked == [("/f.bin", "bytes=100000-")]
    assert seen[0][1] > 100_000
    assert seen[-1] == ("f.bin", len(CONTENT), len(CONTENT))
    assert left(tmp_path) == ["f.bin"]


def test_a_server_without_ranges_starts_again(tmp_path, serve):
    base, site = serve(ranges=False)
    (tmp_path / "f.bin.part").write_bytes(CONTENT[:100_000])
    assert get([base], tmp_path / "f.bin").read_bytes() == CONTENT
    assert site.asked == [("/f.bin", "bytes=100000-")]


def test_a_broken_connection_is_continued_at_the_next_mirror(tmp_path, serve):
    (breaks, _), (whole, site) = serve(stop_after=150_000), serve()
    assert get([breaks, whole], tmp_path / "f.bin").read_bytes() == CONTENT
    assert site.asked == [("/f.bin", "bytes=150000-")]


def test_what_arrived_is_kept_for_the_next_call(tmp_path, serve):
    breaks, _ = serve(stop_after=150_000)
    with pytest.raises(DownloadError, match="ended after 150,000 of 307,200 bytes"):
        get([breaks], tmp_path / "f.bin")
    assert (tmp_path / "f.bin.part").read_bytes() == CONTENT[:150_000]
    whole, site = serve()
    assert get([whole], tmp_path / "f.bin").read_bytes() == CONTENT
    assert site.asked == [("/f.bin", "bytes=150000-")]


def test_a_complete_partial_file_needs_no_network(tmp_path):
    (tmp_path / "f.bin.part").write_bytes(CONTENT)
    assert get(["http://127.0.0.1:1"], tmp_path / "f.bin").read_bytes() == CONTENT
    assert left(tmp_path) == ["f.bin"]


@pytest.mark.parametrize("former", [b"x" * 1000, b"x" * len(CONTENT), b"x" * 400_000])
def test_a_partial_file_of_something_else_is_discarded(tmp_path, serve, former):
    base, site = serve()
    (tmp_path / "f.bin.part").write_bytes(former)
    assert get([base], tmp_path / "f.bin").read_bytes() == CONTENT
    assert site.asked == [("/f.bin", f"bytes={len(former)}-"), ("/f.bin", None)]


def test_another_part_than_asked_for_is_refused(tmp_path, serve, monkeypatch):
    base, _ = serve()
    (tmp_path / "f.bin.part").write_bytes(CONTENT[:100])
    monkeypatch.setattr(
        Handler, "send_header", lambda s, k, v: BaseHTTPRequestHandler.send_header(s, k, "bytes 7-")
    )
    with pytest.raises(DownloadError, match="bytes from 100 on, it sent 'bytes 7-'"):
        get([base], tmp_path / "f.bin")


def test_wrong_content_is_discarded_and_the_next_mirror_tried(tmp_path, serve):
    (page, first), (base, second) = serve({"/f.bin": b"<html>moved</html>"}), serve()
    assert get([page, base], tmp_path / "f.bin").read_bytes() == CONTENT
    assert first.asked == second.asked == [("/f.bin", None)]
    assert left(tmp_path) == ["f.bin"]


def test_a_mirror_that_is_down_is_passed_over(tmp_path, serve):
    assert get(["http://127.0.0.1:1", serve()[0]], tmp_path / "f.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("behaviour", [{"pause": 3.0}, {"trickle": True}])
def test_a_slow_mirror_is_given_up(tmp_path, serve, behaviour):
    slow, fast = serve(**behaviour)[0], serve()[0]
    start = time.monotonic()
    urls = [f"{base}/f.bin" for base in (slow, fast)]
    path = fetch(urls, tmp_path / "f.bin", md5=MD5, timeout=0.3)
    assert path.read_bytes() == CONTENT
    assert time.monotonic() - start < 2


def test_the_error_lists_every_mirror_with_its_failure_and_what_to_do(tmp_path, serve):
    wrong = hashlib.md5(b"wrong").hexdigest()
    bases = [
        serve({})[0],
        serve({"/f.bin": b"wrong"})[0],
        serve(pause=2.0)[0],
        "http://127.0.0.1:1",
        "no-scheme",
        serve(stop_after=1000)[0],
    ]
    urls = [f"{base}/f.bin" for base in bases]
    with pytest.raises(DownloadError) as caught:
        fetch(urls, tmp_path / "f.bin", md5=MD5, timeout=0.3)
    lines = str(caught.value).splitlines()
    assert lines[0] == "f.bin could not be downloaded:"
    reasons = [
        "HTTP 404 Not Found",
        f"another file, with MD5 {wrong}",
        "timed out",
        "Connection refused",
        "unknown url type",
        "the connection ended after 1,000 of 307,200 bytes",
    ]
    for line, url, reason in zip(lines[1:7], urls, reasons, strict=True):
        assert line.startswith(f"  {url}: ")
        assert reason in line
    assert f"put the file there by hand: {tmp_path / 'f.bin'} (MD5 {MD5})" in lines[7]
    assert "DASH_MIRRORS" in lines[7]


def test_a_disk_that_cannot_be_written_to_is_no_fault_of_the_mirrors(tmp_path, serve):
    (tmp_path / "folder").write_text("a file where a folder should be")
    (base, _), (other, site) = serve(), serve()
    with pytest.raises(DownloadError) as caught:
        get([base, other], tmp_path / "folder" / "f.bin")
    assert re.fullmatch(r".*f\.bin\.part cannot be written .*another folder", str(caught.value))
    assert not site.asked


def test_a_full_disk_is_no_fault_of_the_mirrors(tmp_path, serve):
    (tmp_path / "f.bin.part").symlink_to("/dev/full")
    (base, _), (other, site) = serve(), serve()
    with pytest.raises(DownloadError) as caught:
        get([base, other], tmp_path / "f.bin")
    assert re.fullmatch(
        r".*cannot be written .*No space left.*free some space.*", str(caught.value)
    )
    assert not site.asked


def test_an_address_is_needed(tmp_path):
    with pytest.raises(ValueError, match=r"no address to fetch f\.bin from"):
        get([], tmp_path / "f.bin")


def test_given_mirrors_come_first_then_those_of_the_environment(monkeypatch):
    known = ["https://upstream/f.bin", "https://b/f.bin"]
    monkeypatch.delenv("DASH_MIRRORS", raising=False)
    assert addresses("f.bin", known) == known
    monkeypatch.setenv("DASH_MIRRORS", "https://b/, https://c/data\nhttps://d")
    assert addresses("f.bin", known, ["https://a"]) == [
        "https://a/f.bin",
        "https://b/f.bin",
        "https://c/data/f.bin",
        "https://d/f.bin",
        "https://upstream/f.bin",
    ]
