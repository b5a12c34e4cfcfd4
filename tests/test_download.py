"""Mirrors and verified contents, against a real server on this machine."""

import hashlib
import re
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dashlib.datasets import originals
from dashlib.datasets.originals import fetch

CONTENT = bytes(range(256)) * 1200  # 307,200 bytes: five blocks
MD5 = hashlib.md5(CONTENT).hexdigest()


@dataclass
class Site:
    """Record what one server does, and the paths that it was asked for."""

    files: dict[str, bytes]
    stop_after: int | None = None  # bytes after which the connection breaks
    pause: float = 0.0  # seconds before the body
    length: bool = True  # is sent
    asked: list[str] = field(default_factory=list)

    def body(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked.append(handler.path)
        content = self.files.get(handler.path)
        if content is None:
            return handler.send_error(404)
        handler.send_response(200)
        if self.length:
            handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        time.sleep(self.pause)
        handler.wfile.write(content[: self.stop_after])


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        with suppress(BrokenPipeError, ConnectionResetError):  # the client may give up
            self.server.site.body(self)

    def log_message(self, *args):
        pass


@pytest.fixture
def serve(monkeypatch):
    """Starts servers; each call gives a base address and the site behind it."""
    monkeypatch.delenv("DASH_MIRRORS", raising=False)
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


def get(bases, path, mirrors=()):
    fetch(path, MD5, [f"{base}/f.bin" for base in bases], mirrors)
    assert path.read_bytes() == CONTENT
    assert [p.name for p in path.parent.iterdir()] == ["f.bin"]


def test_a_file_is_fetched_into_a_new_folder_with_a_bar_in_bytes(
    tmp_path, serve, capsys, monkeypatch
):
    monkeypatch.setattr(originals, "refresh_seconds", lambda: 0.0)
    get([serve()[0]], tmp_path / "new" / "f.bin")
    assert re.search(r"f\.bin: +\d+%.*\d+k/307k.*B/s", capsys.readouterr().err)


def test_a_bar_without_a_total_counts(tmp_path, serve, capsys, monkeypatch):
    monkeypatch.setattr(originals, "refresh_seconds", lambda: 0.0)
    get([serve(length=False)[0]], tmp_path / "f.bin")
    assert re.search(r"f\.bin: \d+kB \[", capsys.readouterr().err)


def test_a_file_that_is_there_is_not_fetched(tmp_path, serve):
    base, site = serve()
    (tmp_path / "f.bin").write_bytes(CONTENT)
    get([base], tmp_path / "f.bin")
    assert not site.asked


def test_a_damaged_file_is_replaced_if_there_is_another(tmp_path, serve):
    (tmp_path / "f.bin").write_bytes(b"damaged")
    with pytest.raises(OSError, match="could not be downloaded"):
        get([serve({})[0]], tmp_path / "f.bin")
    assert (tmp_path / "f.bin").read_bytes() == b"damaged"
    get([serve()[0]], tmp_path / "f.bin")


@pytest.mark.parametrize(
    "behaviour", [{"files": {}}, {"files": {"/f.bin": b"<html>moved</html>"}}, {"stop_after": 9}]
)
def test_a_mirror_with_something_else_is_passed_over(tmp_path, serve, behaviour):
    (wrong, first), (right, second) = serve(**behaviour), serve()
    get(["http://127.0.0.1:1", wrong, right], tmp_path / "f.bin")
    assert first.asked == second.asked == ["/f.bin"]


def test_a_silent_mirror_is_given_up(tmp_path, serve, monkeypatch):
    monkeypatch.setattr(originals, "_PATIENCE", 0.3)
    start = time.monotonic()
    get([serve(pause=3.0)[0], serve()[0]], tmp_path / "f.bin")
    assert time.monotonic() - start < 2


def test_the_error_lists_every_mirror_with_its_failure_and_what_to_do(tmp_path, serve, monkeypatch):
    monkeypatch.setattr(originals, "_PATIENCE", 0.3)
    wrong, half = (hashlib.md5(c).hexdigest() for c in (b"wrong", CONTENT[:1000]))
    reasons = {
        serve({})[0]: "HTTP Error 404: Not Found",
        serve({"/f.bin": b"wrong"})[0]: f"another file: 5 bytes, MD5 {wrong}",
        serve(pause=2.0)[0]: "timed out",
        "http://127.0.0.1:1": "Connection refused",
        "no-scheme": "unknown url type",
        serve(stop_after=1000)[0]: f"another file: 1,000 bytes, MD5 {half}",
    }
    with pytest.raises(OSError, match="could not be downloaded") as caught:
        get([*reasons], tmp_path / "f.bin")
    lines = str(caught.value).splitlines()
    for line, (base, reason) in zip(lines[1:7], reasons.items(), strict=True):
        assert line.startswith(f"  {base}/f.bin: ")
        assert reason in line
    assert f"put the file there by hand: {tmp_path / 'f.bin'} (MD5 {MD5})" in lines[7]
    assert "DASH_MIRRORS" in lines[7]
    assert not [*tmp_path.iterdir()]


def test_a_disk_that_cannot_be_written_to_is_told(tmp_path, serve):
    (tmp_path / "folder").write_text("a file where a folder should be")
    with pytest.raises(OSError, match=r"Not a directory|File exists"):
        get([serve()[0]], tmp_path / "folder" / "f.bin")


def test_given_mirrors_come_first_then_those_of_the_environment(tmp_path, serve, monkeypatch):
    asked = []
    monkeypatch.setattr(originals, "_receive", lambda url, *_: asked.append(url) or 1 / 0)
    monkeypatch.setattr(originals, "HTTPException", ZeroDivisionError)
    monkeypatch.setenv("DASH_MIRRORS", "https://b/, https://c/data\nhttps://d")
    with pytest.raises(OSError, match="could not be downloaded"):
        get(["https://upstream", "https://b"], tmp_path / "f.bin", ["https://a"])
    bases = ["https://a", "https://b", "https://c/data", "https://d", "https://upstream"]
    assert asked == [f"{base}/f.bin" for base in bases]
