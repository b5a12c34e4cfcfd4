"""The files of torchvision's sets: found, verified, unpacked, or an error that says what to do."""

import gzip
import hashlib
import pickle
import re
import struct
import threading
from functools import partial
from http.client import HTTPException
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import small_cifar
import torch
import torchvision

from dashlib import datasets
from dashlib.datasets import originals

UPSTREAM_TIME = {"train": 1504176606, "t10k": 1504176627}  # in the gzip headers of upstream's files


@pytest.fixture(autouse=True)
def _only_the_small_set(tmp_path, monkeypatch):
    """No Debian package, and the MD5 sums of the small set of Fashion-MNIST."""
    monkeypatch.setattr(originals, "DEBIAN", tmp_path / "no-package")
    sums = {name: hashlib.md5(content).hexdigest() for name, content in idx_files().items()}
    monkeypatch.setattr(originals, "FASHION", sums)


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


def pack(folder):
    """Put the small set's ``.gz`` files into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in idx_files().items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))


@pytest.fixture
def site(tmp_path_factory):
    """A folder served on this machine: its ``base`` address, and the paths ``asked`` for."""
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def log_request(self, *args):
            asked.append(self.path)

        def log_message(self, *args):
            pass

    folder = tmp_path_factory.mktemp("site")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield SimpleNamespace(base=f"http://127.0.0.1:{server.server_port}", folder=folder, asked=asked)
    server.shutdown()
    server.server_close()


@pytest.fixture(params=["cifar10", "cifar100"])
def cifar(request, monkeypatch):
    """A small set in CIFAR's format whose MD5 sums torchvision expects; ``put`` packs it."""
    kind, packed = originals.torchvision_class(request.param), small_cifar.archive(request.param)
    for attribute, value in small_cifar.expected(request.param).items():
        monkeypatch.setattr(kind, attribute, value)
    monkeypatch.setitem(originals.CIFAR_MIRRORS, request.param, ())
    monkeypatch.delenv("DASH_MIRRORS", raising=False)

    def put(folder):
        (folder / kind.filename).write_bytes(packed)

    files = small_cifar.files(request.param)
    return SimpleNamespace(name=request.param, kind=kind, files=files, put=put)


def is_the_small_cifar(found, cifar):
    """Tell if the images, pixel by pixel, and the labels are those of the files."""
    batches = [pickle.loads(cifar.files[name]) for name, _ in cifar.kind.train_list]
    rows = torch.from_numpy(np.concatenate([b["data"] for b in batches])).reshape(20, 3, 32, 32)
    labels = [label for b in batches for label in b.get("labels", b.get("fine_labels"))]
    return (
        torch.equal(found.train.x, rows.float() / 127.5 - 1)
        and found.train.y.tolist() == labels
        and found.num_classes == (10 if cifar.name == "cifar10" else 100)
        and found.test.x.shape == (6, 3, 32, 32)
    )


def is_the_small_set(fashion):
    return (len(fashion.train), len(fashion.test)) == (12, 3)


def test_fashion_mnist_is_padded_to_32(tmp_path):
    unpack(tmp_path)
    fashion = datasets.load_dataset("fashion_mnist", tmp_path)
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
def test_packed_files_are_read_where_they_are(tmp_path, place):
    pack(tmp_path / place)
    assert is_the_small_set(datasets.load_dataset("fashion_mnist", tmp_path))
    assert not list(tmp_path.glob("FashionMNIST/*"))


def test_unpacked_files_that_lie_in_the_folder_itself_are_read(tmp_path):
    for file in [*unpack(tmp_path).iterdir()]:
        file.replace(tmp_path / file.name)
    assert is_the_small_set(datasets.load_dataset("fashion_mnist", tmp_path))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(b"of another set")
    with pytest.raises(FileNotFoundError, match="train-labels-idx1-ubyte is damaged"):
        datasets.load_dataset("fashion_mnist", tmp_path)


def test_unpacked_files_are_taken_first_and_the_missing_ones_from_packed(tmp_path):
    pack(tmp_path)
    raw = unpack(tmp_path)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"damaged, but not needed")
    (raw / "t10k-labels-idx1-ubyte").unlink()
    assert is_the_small_set(datasets.load_dataset("fashion_mnist", tmp_path))


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
def test_a_damaged_archive_says_what_to_do(tmp_path, damage):
    pack(tmp_path)
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(FileNotFoundError) as caught:
        datasets.load_dataset("fashion_mnist", tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{path} is damaged (")
    assert (
        f"content should have MD5 {originals.FASHION['t10k-images-idx3-ubyte']}. Delete it"
        in message
    )
    assert "download=True" in message
    assert "`apt-get install --reinstall dataset-fashion-mnist`" in message


@pytest.mark.parametrize("name", ["fashion_mnist", "cifar10", "cifar100"])
def test_missing_files_say_what_to_do(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=rf"{name} is not .*{tmp_path}.*download=True"):
        datasets.load_dataset(name, tmp_path)


def test_missing_fashion_mnist_names_the_package_the_files_and_the_mirrors(tmp_path):
    pack(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte.gz").unlink()  # three of four will not do
    with pytest.raises(FileNotFoundError) as caught:
        datasets.load_dataset("fashion_mnist", tmp_path)
    message = str(caught.value)
    assert "`apt-get install dataset-fashion-mnist`" in message
    assert f"into {tmp_path};" in message
    for word in (*(f"{n}.gz" for n in idx_files()), *torchvision.datasets.FashionMNIST.mirrors):
        assert word in message


@pytest.mark.parametrize("size", [0, 3, 10, 1000])
def test_a_truncated_file_says_what_to_do(tmp_path, size):
    images = unpack(tmp_path) / "t10k-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:size])
    with pytest.raises(FileNotFoundError, match=r"t10k-images-idx3-ubyte is damaged.*Delete it"):
        datasets.load_dataset("fashion_mnist", tmp_path)


@pytest.mark.parametrize(
    "error", [URLError("no network"), TimeoutError("no network"), HTTPException("no network")]
)
@pytest.mark.parametrize("name", ["fashion_mnist", "cifar10"])
def test_a_download_that_fails_says_what_to_do(tmp_path, monkeypatch, name, error):
    patience = []

    def urlopen(*args, timeout):
        patience.append(timeout)
        raise error

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    with pytest.raises(FileNotFoundError) as caught:
        datasets.load_dataset(name, tmp_path, download=True)
    words = (
        rf"{name} is not .* under {tmp_path}.*could not be downloaded.*no network.*By hand: put "
    )
    assert re.search(words, str(caught.value), re.DOTALL)
    assert set(patience) == {originals._PATIENCE}


def test_fashion_mnist_is_downloaded_when_asked_only(tmp_path, site, monkeypatch):
    pack(site.folder)
    packed = [(p.name, hashlib.md5(p.read_bytes()).hexdigest()) for p in site.folder.iterdir()]
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "resources", packed)
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "mirrors", [f"{site.base}/"])
    with pytest.raises(FileNotFoundError):
        datasets.load_dataset("fashion_mnist", tmp_path)
    assert not site.asked
    for _ in range(2):
        assert is_the_small_set(datasets.load_dataset("fashion_mnist", tmp_path, download=True))
    assert sorted(site.asked) == sorted(f"/{name}" for name, _ in packed)


def test_debians_files_are_those_that_torchvision_lists(monkeypatch):
    """With the header that upstream's files have, they have the MD5 sums of upstream's files."""
    monkeypatch.undo()
    if not originals.DEBIAN.exists():
        pytest.skip("apt-get install dataset-fashion-mnist")
    listed = dict(torchvision.datasets.FashionMNIST.resources)
    for name, md5 in originals.FASHION.items():
        packed = (originals.DEBIAN / f"{name}.gz").read_bytes()
        time = struct.pack("<I", UPSTREAM_TIME[name.split("-")[0]])
        header = b"\x1f\x8b\x08\x08" + time + b"\x00\x03" + name.encode() + b"\x00"
        assert hashlib.md5(header + packed[10:]).hexdigest() == listed[f"{name}.gz"]
        assert hashlib.md5(gzip.decompress(packed)).hexdigest() == md5


def test_the_whole_of_fashion_mnist_if_it_is_installed(tmp_path, monkeypatch):
    monkeypatch.undo()
    if not originals.DEBIAN.exists():
        pytest.skip("apt-get install dataset-fashion-mnist")
    fashion = datasets.load_dataset("fashion_mnist", tmp_path)
    assert fashion.train.x.shape == (60_000, 1, 32, 32)
    assert fashion.train.y.bincount().tolist() == [6000] * 10
    assert fashion.test.y.bincount().tolist() == [1000] * 10
    assert fashion.test.y[:10].tolist() == [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]


def test_cifar_is_downloaded_verified_unpacked_and_loaded(tmp_path, cifar, site, monkeypatch):
    cifar.put(site.folder)
    monkeypatch.setattr(cifar.kind, "url", f"{site.base}/{cifar.kind.filename}")
    with pytest.raises(FileNotFoundError):
        datasets.load_dataset(cifar.name, tmp_path)
    assert not site.asked
    for _ in range(2):
        assert is_the_small_cifar(datasets.load_dataset(cifar.name, tmp_path, download=True), cifar)
    assert is_the_small_cifar(datasets.load_dataset(cifar.name, tmp_path), cifar)
    assert site.asked == [f"/{cifar.kind.filename}"]


@pytest.mark.parametrize("given", ["argument", "environment"])
def test_mirrors_of_the_user_are_asked_first(tmp_path, cifar, site, monkeypatch, given):
    (site.folder / "deep").mkdir()
    cifar.put(site.folder / "deep")
    monkeypatch.setattr(cifar.kind, "url", f"{site.base}/{cifar.kind.filename}")
    mirrors = [f"{site.base}/nothing", f"{site.base}/deep/"]
    if given == "environment":
        monkeypatch.setenv("DASH_MIRRORS", ",".join(mirrors))
    options = {"mirrors": mirrors} if given == "argument" else {}
    found = datasets.load_dataset(cifar.name, tmp_path, download=True, **options)
    assert is_the_small_cifar(found, cifar)
    assert site.asked == [f"/{place}/{cifar.kind.filename}" for place in ("nothing", "deep")]


def test_an_archive_of_cifar_is_taken_as_it_is(tmp_path, cifar):
    cifar.put(tmp_path)
    for download in (False, True):  # no server is there to ask
        assert is_the_small_cifar(
            datasets.load_dataset(cifar.name, tmp_path, download=download), cifar
        )
    assert [p.name for p in tmp_path.iterdir()] == [
        cifar.kind.filename
    ]  # nothing is unpacked there


def test_cifar_is_held_as_bytes_when_asked(tmp_path, cifar):
    cifar.put(tmp_path)
    floats, held = (
        datasets.load_dataset(cifar.name, tmp_path, dtype=d) for d in ("float32", "uint8")
    )
    for part in ("train", "test"):
        assert getattr(held, part).x.dtype == torch.uint8
        assert torch.equal(getattr(held, part).pixels(), getattr(floats, part).x)


def test_the_archive_is_read_where_an_unpacked_file_is_damaged(tmp_path, cifar):
    cifar.put(tmp_path)
    small_cifar.unpack(tmp_path / cifar.kind.filename, tmp_path)
    assert is_the_small_cifar(datasets.load_dataset(cifar.name, tmp_path), cifar)
    (tmp_path / cifar.kind.base_folder / cifar.kind.test_list[0][0]).write_bytes(b"damaged")
    assert is_the_small_cifar(datasets.load_dataset(cifar.name, tmp_path), cifar)


def test_the_folder_of_the_batches_stands_for_the_one_around_it(tmp_path, cifar):
    cifar.put(tmp_path)
    small_cifar.unpack(tmp_path / cifar.kind.filename, tmp_path)
    batches = tmp_path / cifar.kind.base_folder
    assert is_the_small_cifar(datasets.load_dataset(cifar.name, batches), cifar)


def test_a_damaged_archive_of_cifar_says_what_to_do(tmp_path, cifar, site):
    (tmp_path / cifar.kind.filename).write_bytes(b"<html>moved</html>")
    found = hashlib.md5(b"<html>moved</html>").hexdigest()
    with pytest.raises(FileNotFoundError) as caught:
        datasets.load_dataset(cifar.name, tmp_path)
    message = str(caught.value)
    assert (
        f"{cifar.kind.filename} is damaged (MD5 {found}, should be {cifar.kind.tgz_md5})" in message
    )
    assert (
        f"replace it by {cifar.kind.url}, or call datasets.load_dataset with download=True"
        in message
    )
    cifar.put(site.folder)
    replaced = datasets.load_dataset(cifar.name, tmp_path, download=True, mirrors=[site.base])
    assert is_the_small_cifar(replaced, cifar)


def test_missing_cifar_says_where_its_archive_goes(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        datasets.load_dataset("cifar10", tmp_path)
    message = str(caught.value)
    assert "put cifar-10-python.tar.gz (MD5 c58f30108f718f92721af3b95e74349a) from " in message
    assert f"https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz into {tmp_path}; or" in message


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_known_mirrors_have_the_name_of_the_file_and_the_slow_home_comes_last(name):
    ((file, (_, found)),) = originals.archives(name).items()
    assert len(found) >= 2
    assert all(url.startswith("https://") and url.endswith(f"/{file}") for url in found)
    assert [url for url in found if "toronto" in url] == found[-1:]
