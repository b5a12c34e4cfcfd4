"""The files of torchvision's sets: found, verified, unpacked, or an error that says what to do."""

import gzip
import hashlib
import socket
import struct
from http.client import HTTPException
from urllib.error import URLError

import pytest
import torch
import torchvision

from dashlib import data, datasets

UPSTREAM_TIME = {"train": 1504176606, "t10k": 1504176627}  # in the gzip headers of upstream's files


@pytest.fixture(autouse=True)
def _no_debian_package(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "DEBIAN", tmp_path / "no-package")


def idx_files():
    """The four files, unpacked, of a set with 12 + 3 grey images of 28x28."""
    files = {}
    for part, n in (("train", 12), ("t10k", 3)):
        pixels, labels = bytes(i % 256 for i in range(n * 784)), bytes(i % 10 for i in range(n))
        files[f"{part}-images-idx3-ubyte"] = struct.pack(">IIII", 2051, n, 28, 28) + pixels
        files[f"{part}-labels-idx1-ubyte"] = struct.pack(">II", 2049, n) + labels
    return files


def unpack(root):
    """Put the files where torchvision unpacks them to."""
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name, content in idx_files().items():
        (raw / name).write_bytes(content)
    return raw


@pytest.fixture
def archives(monkeypatch):
    """Puts the small set's ``.gz`` files into a folder, and makes theirs the right MD5 sums."""
    sums = {name: hashlib.md5(content).hexdigest() for name, content in idx_files().items()}
    monkeypatch.setattr(datasets, "FASHION", sums)

    def put(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in idx_files().items():
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))

    return put


def is_the_small_set(fashion):
    return (len(fashion.train), len(fashion.test)) == (12, 3)


def test_fashion_mnist_is_padded_to_32(tmp_path):
    unpack(tmp_path)
    fashion = data.load("fashion_mnist", tmp_path)
    assert (fashion.name, fashion.num_classes) == ("fashion_mnist", 10)
    assert fashion.train.x.shape == (12, 1, 32, 32)
    assert fashion.test.x.shape == (3, 1, 32, 32)
    assert fashion.train.x.dtype == torch.float32
    assert (fashion.train.x.min().item(), fashion.train.x.max().item()) == (-1, 1)
    assert fashion.train.y.tolist() == [*range(10), 0, 1]
    assert fashion.train.y.dtype == torch.int64
    want = (torch.arange(28 * 28) % 256).float() / 127.5 - 1
    torch.testing.assert_close(fashion.train.x[0, 0, 2:-2, 2:-2].flatten(), want)
    for edge in (slice(2), slice(-2, None)):
        assert fashion.train.x[..., edge].eq(-1).all()
        assert fashion.train.x[..., edge, :].eq(-1).all()


@pytest.mark.parametrize("place", ["", "fashion-mnist", "no-package"])
def test_archives_are_unpacked_for_torchvision(tmp_path, archives, place):
    archives(tmp_path / place)
    assert is_the_small_set(data.load("fashion_mnist", tmp_path))
    raw = tmp_path / "FashionMNIST" / "raw"
    assert {p.name: p.read_bytes() for p in raw.iterdir()} == idx_files()


def test_unpacked_files_are_taken_as_they_are(tmp_path, archives):
    archives(tmp_path)
    raw = unpack(tmp_path)
    former = {p: p.stat().st_mtime_ns for p in raw.iterdir()}
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"damaged, but not needed")
    assert is_the_small_set(data.load("fashion_mnist", tmp_path))
    assert {p: p.stat().st_mtime_ns for p in raw.iterdir()} == former


def test_a_missing_unpacked_file_is_unpacked_again(tmp_path, archives):
    archives(tmp_path)
    (unpack(tmp_path) / "t10k-labels-idx1-ubyte").unlink()
    assert is_the_small_set(data.load("fashion_mnist", tmp_path))


def test_a_root_that_cannot_be_written_to_will_do(tmp_path, archives):
    archives(tmp_path)
    (tmp_path / "FashionMNIST").write_text("a file where the folder should go, even for root")
    for _ in range(2):
        assert is_the_small_set(data.load("fashion_mnist", tmp_path))
    assert not list(tmp_path.glob("FashionMNIST/*"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda packed: packed[:100],
        lambda packed: packed[:40] + bytes(9) + packed[49:],
        lambda packed: b"",
        lambda packed: b"<html>not found</html>",
        lambda packed: gzip.compress(b"of another set"),
    ],
)
def test_a_damaged_archive_says_what_to_do(tmp_path, archives, damage):
    archives(tmp_path)
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(FileNotFoundError) as caught:
        data.load("fashion_mnist", tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{path} is damaged (")
    assert f"should have MD5 {datasets.FASHION['t10k-images-idx3-ubyte']}. " in message
    assert "amazonaws.com/t10k-images-idx3-ubyte.gz, or delete it" in message
    assert "download=True" in message
    assert "`apt-get install --reinstall dataset-fashion-mnist`" in message
    assert not (tmp_path / "FashionMNIST").exists()


@pytest.mark.parametrize("name", ["fashion_mnist", "cifar10", "cifar100"])
def test_missing_files_say_what_to_do(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=rf"{name} is not .*{tmp_path}.*download=True"):
        data.load(name, tmp_path)


def test_missing_fashion_mnist_names_the_package_the_files_and_the_mirrors(tmp_path, archives):
    archives(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte.gz").unlink()  # three of four will not do
    with pytest.raises(FileNotFoundError) as caught:
        data.load("fashion_mnist", tmp_path)
    message = str(caught.value)
    assert "`apt-get install dataset-fashion-mnist`" in message
    assert f"into {tmp_path}." in message
    for word in (*(f"{n}.gz" for n in idx_files()), *torchvision.datasets.FashionMNIST.mirrors):
        assert word in message


@pytest.mark.parametrize("size", [0, 3, 10, 1000])
def test_a_truncated_file_says_what_to_do(tmp_path, size):
    images = unpack(tmp_path) / "t10k-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:size])
    with pytest.raises(FileNotFoundError, match=r"fashion_mnist is not \(whole\).*delete it first"):
        data.load("fashion_mnist", tmp_path)


@pytest.mark.parametrize(
    "error", [URLError("no network"), TimeoutError("no network"), HTTPException("no network")]
)
@pytest.mark.parametrize("name", ["fashion_mnist", "cifar10"])
def test_a_download_that_fails_says_what_to_do(tmp_path, monkeypatch, name, error):
    patience = []

    def urlopen(*args, **kwargs):
        patience.append(socket.getdefaulttimeout())
        raise error

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    before = socket.getdefaulttimeout()
    with pytest.raises(FileNotFoundError, match=rf"{name} is not .*no network.*[Bb]y hand"):
        data.load(name, tmp_path, download=True)
    assert set(patience) == {datasets.PATIENCE}
    assert socket.getdefaulttimeout() == before


def test_torchvision_downloads_when_asked_only(tmp_path, monkeypatch):
    asked = []

    def download(self):
        asked.append(self.root)
        if len(asked) == 1:
            unpack(tmp_path)

    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "download", download)
    with pytest.raises(FileNotFoundError):
        data.load("fashion_mnist", tmp_path)
    assert not asked
    assert is_the_small_set(data.load("fashion_mnist", tmp_path, download=True))
    assert set(asked) == {str(tmp_path)}


def test_debians_files_are_those_that_torchvision_lists(monkeypatch):
    """With the header that upstream's files have, they have the MD5 sums of upstream's files."""
    monkeypatch.undo()
    if not datasets.DEBIAN.exists():
        pytest.skip("apt-get install dataset-fashion-mnist")
    listed = dict(torchvision.datasets.FashionMNIST.resources)
    for name, md5 in datasets.FASHION.items():
        packed = (datasets.DEBIAN / f"{name}.gz").read_bytes()
        time = struct.pack("<I", UPSTREAM_TIME[name.split("-")[0]])
        header = b"\x1f\x8b\x08\x08" + time + b"\x00\x03" + name.encode() + b"\x00"
        assert hashlib.md5(header + packed[10:]).hexdigest() == listed[f"{name}.gz"]
        assert hashlib.md5(gzip.decompress(packed)).hexdigest() == md5


def test_the_whole_of_fashion_mnist_if_it_is_installed(tmp_path, monkeypatch):
    monkeypatch.undo()
    if not datasets.DEBIAN.exists():
        pytest.skip("apt-get install dataset-fashion-mnist")
    fashion = data.load("fashion_mnist", tmp_path)
    assert fashion.train.x.shape == (60_000, 1, 32, 32)
    assert fashion.train.y.bincount().tolist() == [6000] * 10
    assert fashion.test.y.bincount().tolist() == [1000] * 10
    assert fashion.test.y[:10].tolist() == [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]
