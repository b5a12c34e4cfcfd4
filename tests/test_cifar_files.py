"""CIFAR from parquet files, folders and zips; the fingerprint that tells the original."""

import hashlib
import io
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow
import pytest
import small_cifar
import torch
from PIL import Image
from pyarrow import parquet
from torchvision.datasets import CIFAR10

from benchmarks.sweep import plan
from dashlib import datasets
from dashlib.data import Images
from dashlib.datasets import as_images, cifar_files, originals

ROOT = Path(__file__).resolve().parents[1]
COUNTS = {"train": 12, "test": 5}
LAYOUTS = ("parquet", "folder", "zip")


def encoded(pixels, kind="PNG", **options):
    """The file of an image."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def webp(pixels):
    """A lossless WebP, as CIFAR's pixels are kept in."""
    return encoded(pixels, "WEBP", lossless=True)


def made(name, part):
    """Random images of a part, and labels of many classes, the last one among them."""
    n, classes = COUNTS[part], len(cifar_files.CLASS_NAMES[name])
    pixels = np.random.default_rng(n).integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    return pixels, [(classes - 1 + 7 * i) % classes for i in range(n)]


def expected(name, part):
    return as_images(*made(name, part), "uint8")


def write_rows(path, contents, labels, column="label", **others):
    """A parquet file as Hugging Face writes them."""
    struct = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    rows = [{"bytes": content, "path": f"{i}.png"} for i, content in enumerate(contents)]
    columns = {"img": pyarrow.array(rows, struct), column: labels, **others}
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.table(columns), path)


def put_parquet(name, folder, parts=("train", "test"), encode=webp):
    for part in parts:
        pixels, labels = made(name, part)
        coarse = {} if name == "cifar10" else {"coarse_label": [0] * len(labels)}
        path = folder / f"{part}-00000-of-00001.parquet"
        column = {"cifar10": "label", "cifar100": "fine_label"}[name]
        write_rows(path, [encode(p) for p in pixels], labels, column, **coarse)


def files_of(name):
    """The files of a folder of images, by their paths in it."""
    files = {}
    for part in COUNTS:
        for i, (pixels, label) in enumerate(zip(*made(name, part), strict=True)):
            suffix = (".png", ".PNG", ".jpg", ".jpeg")[i % 4]  # a suffix is only a name
            folder = cifar_files.CLASS_NAMES[name][label]
            files[f"{part}/{folder}/{i:04}{suffix}"] = encoded(pixels)
    return files


def put_folder(name, folder):
    for path, content in files_of(name).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


def put_zip(name, path, inside=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for member, content in reversed(files_of(name).items()):
            file.writestr(inside + member, content)
        file.writestr("__MACOSX/" + inside + "train/bird/._0000.png", b"resource fork")
        file.writestr("README.txt", "no image")


def put(layout, name, root):
    """The small set in a layout; returns the path that its messages name."""
    if layout == "zip":
        put_zip(name, root / f"{name}.zip")
        return root / f"{name}.zip"
    {"parquet": put_parquet, "folder": put_folder}[layout](name, root)
    return root


def fault(root, name="cifar10", **options):
    """The one line that loading fails with."""
    with pytest.raises(FileNotFoundError) as caught:
        datasets.load_dataset(name, root, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def is_the_small_set(found, name="cifar10"):
    """Tell if both parts are there, in whatever order."""
    return all(
        plan.fingerprint(getattr(found, part)) == plan.fingerprint(expected(name, part))
        for part in COUNTS
    )


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_set_is_read_from_each_layout(tmp_path, layout, name):
    put(layout, name, tmp_path)
    floats, held = (datasets.load_dataset(name, tmp_path, dtype=d) for d in ("float32", "uint8"))
    assert is_the_small_set(floats, name)
    assert is_the_small_set(held, name)
    assert (held.name, held.num_classes) == (name, len(cifar_files.CLASS_NAMES[name]))
    for part, n in COUNTS.items():
        one, other = getattr(held, part), getattr(floats, part)
        assert (one.x.shape, one.x.dtype, one.y.dtype) == ((n, 3, 32, 32), torch.uint8, torch.int64)
        assert other.x.dtype == torch.float32
        assert torch.equal(one.pixels(), other.x)
        assert torch.equal(one.y, other.y)


@pytest.mark.parametrize("encode", [webp, encoded])
def test_rows_of_parquet_keep_their_order_whatever_their_format(tmp_path, encode):
    put_parquet("cifar10", tmp_path, encode=encode)
    found = datasets.load_dataset("cifar10", tmp_path, dtype="uint8")
    for part in COUNTS:
        assert torch.equal(getattr(found, part).x, expected("cifar10", part).x)
        assert torch.equal(getattr(found, part).y, expected("cifar10", part).y)


def test_several_parquet_files_are_read_in_the_order_of_their_names(tmp_path):
    put_parquet("cifar10", tmp_path, ["test"])
    pixels, labels = made("cifar10", "train")
    for i in (2, 0, 1):
        part = slice(4 * i, 4 * i + 4)
        contents = [webp(p) for p in pixels[part]]
        write_rows(tmp_path / f"train-{i:05}-of-00003.parquet", contents, labels[part])
    found = datasets.load_dataset("cifar10", tmp_path, dtype="uint8").train
    assert torch.equal(found.x, expected("cifar10", "train").x)
    (tmp_path / "train-00001-of-00003.parquet").unlink()
    message = fault(tmp_path)
    assert message.startswith(
        f"{tmp_path / 'train-*.parquet'} are fewer or more than their names say"
    )


@pytest.mark.parametrize("place", ["cifar10", "", "data", "plain_text"])
def test_parquet_files_are_found_where_people_have_them(tmp_path, place):
    put_parquet("cifar10", tmp_path / place)
    assert is_the_small_set(datasets.load_dataset("cifar10", tmp_path))


@pytest.mark.parametrize("place", ["cifar10", ""])
def test_folders_are_found_where_people_have_them(tmp_path, place):
    put_folder("cifar10", tmp_path / place)
    assert is_the_small_set(datasets.load_dataset("cifar10", tmp_path))


@pytest.mark.parametrize(
    ("file", "inside"), [("cifar10.zip", ""), ("images.zip", ""), ("archive.zip", "cifar10/")]
)
def test_zips_are_found_by_name_or_alone(tmp_path, file, inside):
    put_zip("cifar10", tmp_path / file, inside)
    assert is_the_small_set(datasets.load_dataset("cifar10", tmp_path))


def test_of_several_zips_the_one_of_that_name_is_read(tmp_path):
    put_zip("cifar10", tmp_path / "images.zip")
    put_zip("cifar100", tmp_path / "cifar100.zip")
    assert "cifar10 is not (whole) under" in fault(tmp_path)
    assert is_the_small_set(datasets.load_dataset("cifar100", tmp_path), "cifar100")


def test_a_zip_of_something_else_is_no_layout(tmp_path):
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as file:
        file.writestr("train/readme.txt", "no image")
    assert "cifar10 is not (whole) under" in fault(tmp_path)


def test_the_order_in_which_folders_are_made_does_not_matter(tmp_path):
    files = files_of("cifar10")
    for root, order in ((tmp_path / "a", files), (tmp_path / "b", reversed(files))):
        for path in order:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(files[path])
    a, b = (datasets.load_dataset("cifar10", tmp_path / r, dtype="uint8") for r in "ab")
    for part in COUNTS:
        assert torch.equal(getattr(a, part).x, getattr(b, part).x)
        assert torch.equal(getattr(a, part).y, getattr(b, part).y)


def test_the_first_images_of_a_folder_are_not_all_of_one_class(tmp_path):
    content = encoded(made("cifar10", "test")[0][0])
    for part in COUNTS:
        for folder in ("airplane", "truck"):
            (tmp_path / part / folder).mkdir(parents=True)
            for i in range(20):
                (tmp_path / part / folder / f"{i}.png").write_bytes(content)
    found = datasets.load_dataset("cifar10", tmp_path)
    assert found.train.y[:10].unique().tolist() == [0, 9]


def test_hidden_files_and_other_files_are_no_images(tmp_path):
    put_folder("cifar10", tmp_path)
    for folder in ("bird", ".ipynb_checkpoints"):
        (tmp_path / "train" / folder).mkdir(exist_ok=True)
    others = ("bird/.DS_Store", "bird/._1.png", "bird/notes.txt", ".ipynb_checkpoints/1.png")
    for other in (*others, "labels.txt", "1.png"):
        (tmp_path / "train" / other).write_bytes(b"no image")
    assert is_the_small_set(datasets.load_dataset("cifar10", tmp_path))


def test_the_classes_are_cifars_own():
    assert (
        len(cifar_files.CLASS_NAMES["cifar100"])
        == len(set(cifar_files.CLASS_NAMES["cifar100"]))
        == 100
    )
    for name, classes in cifar_files.CLASS_NAMES.items():
        assert list(classes) == sorted(classes), name
    assert cifar_files.CLASS_NAMES["cifar10"][3] == "cat"
    picked = [cifar_files.CLASS_NAMES["cifar100"][i] for i in (0, 11, 20, 47, 58, 69, 90, 99)]
    assert " ".join(picked) == "apple boy chair maple_tree pickup_truck rocket train worm"


# -- which of several --------------------------------------------------------------------------


@pytest.fixture
def original(monkeypatch):
    """Makes a small ``.tar.gz`` the one that torchvision expects."""
    for attribute, value in small_cifar.expected("cifar10").items():
        monkeypatch.setattr(CIFAR10, attribute, value)
    monkeypatch.setitem(originals.CIFAR_MIRRORS, "cifar10", ())
    monkeypatch.delenv("DASH_MIRRORS", raising=False)
    return SimpleNamespace(file=CIFAR10.filename, content=small_cifar.archive("cifar10"), n=20)


def test_torchvisions_files_come_first_then_parquet_then_folders(tmp_path, original):
    put_zip("cifar10", tmp_path / "cifar10.zip")
    (tmp_path / "train/bird").mkdir(parents=True)
    (tmp_path / "test/bird").mkdir(parents=True)
    for path in ("train/bird/1.png", "test/bird/1.png"):
        (tmp_path / path).write_bytes(encoded(np.zeros((32, 32, 3), np.uint8)))
    assert len(datasets.load_dataset("cifar10", tmp_path).train) == 1
    put_parquet("cifar10", tmp_path)
    assert len(datasets.load_dataset("cifar10", tmp_path).train) == COUNTS["train"]
    (tmp_path / original.file).write_bytes(original.content)
    assert len(datasets.load_dataset("cifar10", tmp_path).train) == original.n
    small_cifar.unpack(tmp_path / original.file, tmp_path)
    (tmp_path / original.file).unlink()
    assert len(datasets.load_dataset("cifar10", tmp_path).train) == original.n


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_is_downloaded_where_a_layout_is_read(tmp_path, layout, original):
    put(layout, "cifar10", tmp_path)  # no server is there to ask
    assert is_the_small_set(datasets.load_dataset("cifar10", tmp_path, download=True))


def test_files_that_cannot_be_read_are_an_error_even_if_a_download_is_allowed(tmp_path, original):
    put_parquet("cifar10", tmp_path, ["train"])
    assert "has no test-*.parquet" in fault(tmp_path, download=True)


# -- messages ----------------------------------------------------------------------------------


def test_without_any_file_all_layouts_are_named(tmp_path):
    message = fault(tmp_path)
    assert "train-*.parquet and test-*.parquet, or train/CLASS/*.png" in message
    assert "cifar-10-python.tar.gz" in message


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_part_without_the_other_says_which_is_missing(tmp_path, part):
    other = {"train": "test", "test": "train"}[part]
    put_parquet("cifar10", tmp_path / "p", [part])
    (tmp_path / "f" / part / "bird").mkdir(parents=True)
    (tmp_path / "f" / part / "bird/1.png").write_bytes(b"")
    assert f"{tmp_path / 'p'} has no {other}-*.parquet: put them" in fault(tmp_path / "p")
    assert f"{tmp_path / 'f'} has no {other}/CLASS/*.png: put" in fault(tmp_path / "f")


def test_parquet_without_rows_is_a_missing_part(tmp_path):
    put_parquet("cifar10", tmp_path, ["train"])
    write_rows(tmp_path / "test-0.parquet", [], pyarrow.array([], pyarrow.int64()))
    assert "has no test-*.parquet" in fault(tmp_path)


def test_without_pyarrow_the_message_says_what_to_install(tmp_path, monkeypatch):
    put_parquet("cifar10", tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        ModuleNotFoundError, match=r"pyarrow is not .*`pip install 'dash-book\[parquet\]"
    ):
        datasets.load_dataset("cifar10", tmp_path)


def test_the_columns_of_another_set_are_named(tmp_path):
    put_parquet("cifar10", tmp_path / "ten")
    put_parquet("cifar100", tmp_path / "hundred")
    message = fault(tmp_path / "ten", "cifar100")
    assert message.startswith(
        f"{tmp_path / 'ten' / 'train-*.parquet'}: damaged or of another set ("
    )
    assert message.endswith(
        "has the columns img (bytes and path) and fine_label: download it again"
    )
    assert " label: int64" in message  # the columns that are there
    assert "fine_label: int64 coarse_label: int64" in fault(tmp_path / "hundred")
    for path in (tmp_path / "ten").iterdir():
        parquet.write_table(pyarrow.table({"img": [b"bytes"], "label": [0]}), path)
    assert "has the columns img (bytes and path)" in fault(tmp_path / "ten")


@pytest.mark.parametrize(
    "content", [b"", b"version https://git-lfs.github.com/spec/v1", b"PAR1" * 9]
)
def test_a_damaged_parquet_file_is_named(tmp_path, content):
    put_parquet("cifar10", tmp_path)
    path = tmp_path / "test-00000-of-00001.parquet"
    path.write_bytes(content)
    pattern = re.escape(f"{tmp_path / 'test-*.parquet'}: damaged or of another set (")
    assert re.fullmatch(rf"{pattern}.+: download it again", fault(tmp_path))


@pytest.mark.parametrize("label", [-1, 10, None, 2.5, "cat"])
def test_a_wrong_label_is_named_with_its_row(tmp_path, label):
    put_parquet("cifar10", tmp_path)
    contents, path = [webp(made("cifar10", "test")[0][0])] * 3, tmp_path / "test-0.parquet"
    (tmp_path / "test-00000-of-00001.parquet").unlink()
    labels = pyarrow.array([label, label, label] if isinstance(label, str) else [3, label, 4])
    write_rows(path, contents, labels)
    row = 0 if isinstance(label, str) else 1
    assert fault(tmp_path) == (
        f"{tmp_path / 'test-*.parquet'}, row {row}: {label} is no label of cifar10, 0 to 9: "
        "put its files there"
    )


PIXELS = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is damaged (cannot identify"),
        (encoded(PIXELS)[:500], "is damaged ("),
        (webp(PIXELS)[:500], "is damaged ("),
        (encoded(PIXELS, "BMP"), "is damaged (cannot identify"),
        (encoded(np.zeros((28, 32, 3), np.uint8)), "is (28, 32, 3), not (32, 32, 3), RGB"),
        (encoded(PIXELS[..., 0]), "is (32, 32), not (32, 32, 3), RGB"),
        (encoded(np.dstack([PIXELS, PIXELS[..., :1]])), "is (32, 32, 4), not (32, 32, 3)"),
    ],
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_image_that_is_wrong_is_named(tmp_path, layout, content, words):
    home = put(layout, "cifar10", tmp_path)
    if layout == "parquet":
        path = tmp_path / "test-00000-of-00001.parquet"
        write_rows(path, [webp(PIXELS), content], [0, 1])
        place = f"{tmp_path / 'test-*.parquet'}, row 1"
    elif layout == "folder":
        place = tmp_path / "test/bird/bad.png"
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(content)
    else:
        place = home / "test/bird/bad.png"
        with zipfile.ZipFile(home, "a") as file:
            file.writestr("test/bird/bad.png", content)
    message = fault(tmp_path)
    assert message.startswith(f"{place} {words}")
    assert message.endswith(": replace it")


def test_an_image_without_bytes_is_named(tmp_path):
    put_parquet("cifar10", tmp_path)
    write_rows(tmp_path / "test-00000-of-00001.parquet", [webp(PIXELS), None], [0, 1])
    assert "row 1 is damaged (" in fault(tmp_path)


@pytest.mark.parametrize("layout", ["folder", "zip"])
def test_an_unknown_class_is_named(tmp_path, layout):
    home = put(layout, "cifar10", tmp_path)
    if layout == "folder":
        (tmp_path / "train/plane").mkdir()
        (tmp_path / "train/plane/1.png").write_bytes(b"")
    else:
        with zipfile.ZipFile(home, "a") as file:
            file.writestr("train/plane/1.png", b"")
    assert fault(tmp_path) == (
        f"{home / 'train/plane/1.png'}: 'plane' is no class of cifar10 (these are airplane, "
        "automobile, bird, ...): rename or remove the folder"
    )


def test_a_damaged_zip_is_named(tmp_path):
    path = tmp_path / "cifar10.zip"
    path.write_bytes(b"<html>moved</html>")
    assert fault(tmp_path) == f"{path} is damaged (File is not a zip file): replace it"


def test_a_damaged_member_of_a_zip_is_named(tmp_path):
    put_zip("cifar10", tmp_path / "cifar10.zip")
    content = bytearray((tmp_path / "cifar10.zip").read_bytes())
    content[200:260] = bytes(60)
    (tmp_path / "cifar10.zip").write_bytes(content)
    assert re.search(
        r"cifar10.zip/t\w+/\w+/\d+\.\w+ is damaged \(.*\): replace it", fault(tmp_path)
    )


def test_neither_pyarrow_nor_pillow_is_imported_before_it_is_needed():
    script = "import sys, dashlib.datasets; print({'pyarrow', 'PIL'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "set()\n", done.stderr


# -- fingerprints ------------------------------------------------------------------------------


def test_the_fingerprint_is_the_one_that_is_documented():
    pixels, labels = made("cifar10", "test")
    digests = [
        hashlib.sha256(p.tobytes() + y.to_bytes(8, "little")).digest()
        for p, y in zip(pixels, labels, strict=True)
    ]
    want = hashlib.sha256(b"".join(sorted(digests))).hexdigest()
    assert plan.fingerprint(as_images(pixels, labels, "uint8")) == want
    assert plan.fingerprint(as_images(pixels, labels)) == want


def test_the_fingerprint_depends_on_pixels_and_labels_but_not_on_their_order():
    images = expected("cifar10", "train")
    order, print_ = torch.randperm(len(images)), plan.fingerprint(images)
    assert plan.fingerprint(Images(images.x[order], images.y[order])) == print_
    assert plan.fingerprint(Images(images.x, images.y[order])) != print_
    assert plan.fingerprint(Images(images.x[1:], images.y[1:])) != print_
    x, y = images.x.clone(), images.y.clone()
    x[3, 1, 4, 1] ^= 1
    y[3] = (y[3] + 1) % 10
    others = [plan.fingerprint(replace(images, **change)) for change in ({"x": x}, {"y": y})]
    assert len({print_, *others}) == 3


def test_the_fingerprint_refuses_what_are_no_bytes():
    with pytest.raises(ValueError, match="256 levels"):
        plan.fingerprint(Images(torch.full((1, 3, 32, 32), 0.123), torch.zeros(1).long()))


def test_which_set_it_is_is_said_as_far_as_it_is_known(monkeypatch):
    images = expected("cifar10", "train")
    assert plan.which("cifar10", "train", images) == (
        "not the original: 12 images (a subset, recompressed or relabelled)"
    )
    monkeypatch.setitem(plan.CIFAR_PRINTS, ("cifar10", "train"), plan.fingerprint(images))
    assert plan.which("cifar10", "train", images) == "original pixels"
    assert plan.which("cifar10", "test", images).startswith("not the original")
    assert plan.which("cifar100", "test", images).startswith("unknown: no fingerprint")
