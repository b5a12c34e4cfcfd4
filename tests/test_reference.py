"""Features of real images: kept beside the data, made again if anything changed."""

import numpy as np
import pytest
import small_cifar
import torch

from dashlib import data
from dashlib.datasets import originals
from dashlib.scale import inception, reference
from dashlib.scale.distributed import Shards


class Counting:
    """A feature network that counts the images it sees."""

    def __init__(self):
        self.seen = 0

    def __call__(self, images):
        self.seen += len(images)
        flat = images.flatten(1).float()
        return inception.Features(flat[:, :6], flat[:, :3])


def test_reference_is_kept_and_made_again_if_anything_changed(digits, tmp_path):
    network = Counting()
    extractor = reference.Extractor(network, "0" * 64, "counting")

    def made(images=digits.train, how=extractor, name="digits"):
        before = network.seen
        found = reference.reference(name, "train", images, how, Shards(), root=tmp_path)
        return found, network.seen - before

    first, count = made()
    assert count == len(digits.train) == first.moments.n
    again, count = made()
    assert count == 0
    torch.testing.assert_close(again.moments.scatter, first.moments.scatter)
    torch.testing.assert_close(again.pool, first.pool)
    (file,) = (tmp_path / "reference").iterdir()
    whole = file.read_bytes()
    for damaged in (whole[:-100], whole[:-4] + b"\x7f\x7f\x7f\x7f", b"nothing"):
        file.write_bytes(damaged)
        assert made()[1] == len(digits.train)
        assert file.read_bytes() == whole
    assert made(data.Images(-digits.train.x, digits.train.y))[1] > 0  # other pixels
    assert made(how=reference.Extractor(network, "1" * 64, "counting"))[1] > 0  # other weights
    assert made(digits.test)[1] == len(digits.test)


@pytest.mark.parametrize(("name", "classes"), [("cifar10", 10), ("cifar100", 100)])
def test_statistics_of_cifar_are_made_from_its_archive_and_kept(
    tmp_path, monkeypatch, name, classes
):
    """Of CIFAR-100 as of CIFAR-10: the release has none of the former."""
    for attribute, value in small_cifar.expected(name).items():
        monkeypatch.setattr(originals.torchvision_class(name), attribute, value)
    (tmp_path / originals.torchvision_class(name).filename).write_bytes(small_cifar.archive(name))
    network = Counting()
    extractor = reference.Extractor(network, "0" * 64, "counting")
    images, found = reference.real_images(name, tmp_path, Shards())
    first, again = (
        reference.reference(name, "train", images, extractor, Shards(), root=tmp_path)
        for _ in range(2)
    )
    assert (found, network.seen) == (classes, 20)
    want = torch.cov(images.x.flatten(1)[:, :6].double().T)
    for kept in (first, again):
        torch.testing.assert_close(kept.moments.gaussian[1], want)
        assert str(kept) == f"{name}/train, 20 images"
    (file,) = (tmp_path / "reference").iterdir()
    assert file.name == f"{name}-train-20x32px-00000000.safetensors"


def test_features_that_are_kept_are_spread_over_the_classes():
    chosen = reference.kept(50_000)
    assert int(chosen.sum()) == reference.KEPT
    share = torch.bincount(chosen.nonzero()[:, 0] % 10) / reference.KEPT
    assert (share - 0.1).abs().max() < 0.02
    assert reference.kept(7).all()


def test_a_folder_that_cannot_be_written_to_is_no_error(digits, tmp_path):
    (tmp_path / "reference").touch()  # a file where the folder should be
    said = []
    extractor = reference.Extractor(Counting(), "0" * 64, "counting")
    found = reference.reference(
        "digits", "test", digits.test, extractor, Shards(), root=tmp_path, say=said.append
    )
    assert found.moments.n == len(digits.test)
    assert "could not be kept" in said[-1]


def test_bytes_and_floats_are_the_same_reference(digits):
    extractor = reference.Extractor(Counting(), "0" * 64, "counting")
    held = data.Images(reference.to_bytes(digits.train.x), digits.train.y)
    keys = [reference.key_of("digits", "train", x, extractor) for x in (digits.train, held)]
    assert keys[0] == keys[1]


def test_imagenet64_is_read_in_slices(monkeypatch, tmp_path):
    from dashlib.datasets.imagenet64 import ImageNet64

    images = np.random.default_rng(0).integers(0, 256, (12, 3, 64, 64), np.uint8)
    real = ImageNet64.__new__(ImageNet64)
    real.labels = np.arange(12)
    monkeypatch.setattr(ImageNet64, "_pixels", lambda _: images)
    assert reference.pixels(real, range(4, 7)).tolist() == images[4:7].tolist()
    extractor = reference.Extractor(Counting(), "0" * 64, "counting")
    found = reference.reference(
        "imagenet64", "train", real, extractor, Shards(), root=tmp_path, batch=5
    )
    first = torch.from_numpy(images).flatten(1)[:, :6].double()
    torch.testing.assert_close(found.moments.mean, first.mean(0))
    assert (found.key["n"], found.key["size"], found.key["channels"]) == (12, 64, 3)
