"""Features of real images: kept beside the data, made again if anything changed."""

import numpy as np
import pytest
import small_cifar
import torch

from dashlib import data
from dashlib.datasets import originals
from dashlib.scale import features, reference
from dashlib.scale.distributed import make_accelerator
from dashlib.scale.features import Extractor
from dashlib.scale.reference import RealImages


class Counting:
    """A feature network that counts the images it sees."""

    def __init__(self):
        self.seen = 0

    def __call__(self, images):
        self.seen += len(images)
        return images.flatten(1).float()[:, :6]

    @property
    def extractor(self):
        return Extractor(self, None, "0" * 64, "counting")


def test_reference_is_kept_and_made_again_if_anything_changed(digits, tmp_path):
    network = Counting()

    def made(images=digits.train, how=network.extractor, name="digits"):
        before = network.seen
        real = RealImages(name, "train", images, 10)
        found = reference.reference(real, how, make_accelerator(device="cpu"), tmp_path)
        return found, network.seen - before

    first, count = made()
    assert count == len(digits.train)
    again, count = made()
    assert count == 0
    torch.testing.assert_close(again.gaussian, first.gaussian)
    torch.testing.assert_close(again.pool, first.pool)
    (file,) = (tmp_path / "reference").glob("*.safetensors")
    whole = file.read_bytes()
    for damaged in (whole[:-100], whole[:-4] + b"\x7f\x7f\x7f\x7f", b"nothing"):
        file.write_bytes(damaged)
        assert made()[1] == len(digits.train)
        assert file.read_bytes() == whole
    assert made(data.Images(-digits.train.x, digits.train.y))[1] > 0  # other pixels
    assert made(how=Extractor(network, None, "1" * 64, "counting"))[1] > 0  # other weights
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
    extractor = network.extractor
    place = make_accelerator(device="cpu")
    real = reference.real_images(name, tmp_path, place)
    first, again = (reference.reference(real, extractor, place, tmp_path) for _ in range(2))
    assert (*real[[0]].shape[1:3], real.classes, network.seen) == (3, 32, classes, 20)
    want = torch.cov(real.images.x.flatten(1)[:, :6].double().T)
    for kept in (first, again):
        torch.testing.assert_close(kept.gaussian[1], want)
    (file,) = (tmp_path / "reference").glob("*.safetensors")
    assert file.name.startswith(f"{name}-train-20x32px-")


def test_features_that_are_kept_are_spread_over_the_classes():
    chosen = features.kept(50_000)
    assert int(chosen.sum()) == features.POOL_SIZE
    share = torch.bincount(chosen.nonzero()[:, 0] % 10) / features.POOL_SIZE
    assert (share - 0.1).abs().max() < 0.02
    assert features.kept(7).all()


def test_a_folder_that_cannot_be_written_to_is_no_error(digits, tmp_path, capsys):
    (tmp_path / "reference").touch()  # a file where the folder should be
    extractor = Counting().extractor
    real = RealImages("digits", "test", digits.test, 10)
    found = reference.reference(real, extractor, make_accelerator(device="cpu"), tmp_path)
    assert len(found.pool) == len(digits.test)
    assert "could not be kept" in capsys.readouterr().out


def test_bytes_and_floats_are_the_same_reference(digits):
    held = data.Images(reference.to_bytes(digits.train.x), digits.train.y)
    sets = [RealImages("digits", "train", images, 10) for images in (digits.train, held)]
    one, other = (real.key("0" * 64) for real in sets)
    assert one == other


def test_imagenet64_is_read_in_slices(monkeypatch, tmp_path):
    from dashlib.datasets.imagenet64 import ImageNet64

    images = np.random.default_rng(0).integers(0, 256, (12, 3, 64, 64), np.uint8)
    files = ImageNet64.__new__(ImageNet64)
    files.labels = np.arange(12)
    monkeypatch.setattr(ImageNet64, "_pixels", lambda _: images)
    real = RealImages("imagenet64", "train", files, 1000)
    assert real[range(4, 7)].tolist() == images[4:7].tolist()
    extractor = Counting().extractor
    place = make_accelerator(device="cpu")
    found = reference.reference(real, extractor, place, tmp_path, batch=5)
    first = torch.from_numpy(images).flatten(1)[:, :6].double()
    torch.testing.assert_close(found.gaussian[0], first.mean(0))
    key = real.key(extractor.sha)
    assert (key["n"], key["size"], key["channels"]) == (12, 64, 3)
