"""Inception features against pytorch-fid's own route over PNG files, with random weights."""

import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dashlib.checkpoints import CheckpointError
from dashlib.cli.sample import evaluate_command
from dashlib.data import to_bytes
from dashlib.metrics import frechet
from dashlib.scale import features
from dashlib.scale.distributed import make_accelerator
from dashlib.scale.features import extract, inception, locate

fid_inception = pytest.importorskip("pytorch_fid.inception")
CPU = torch.device("cpu")


def cached():
    """Return where torch hub, and so pytorch-fid, keeps the Inception weights."""
    return Path(torch.hub.get_dir()) / "checkpoints" / features.INCEPTION


@pytest.fixture(scope="module")
def random_weights(random_inception):
    return random_inception


@pytest.fixture(scope="module")
def trusted(random_weights):
    """The network, its weights' hash taken for the right one."""
    with pytest.MonkeyPatch.context() as patch:
        sha = hashlib.sha256(random_weights.read_bytes()).hexdigest()
        patch.setattr(features, "INCEPTION_SHA", sha)
        return inception(random_weights, CPU)


@pytest.fixture(scope="module")
def theirs(random_weights):
    """pytorch-fid's own network, with the same weights."""
    with pytest.MonkeyPatch.context() as patch:
        weights = torch.load(random_weights, weights_only=True)
        patch.setattr(fid_inception, "load_state_dict_from_url", lambda *_, **__: weights)
        return fid_inception.InceptionV3().eval()


@pytest.fixture
def empty_hub(tmp_path, monkeypatch):
    monkeypatch.delenv("DASH_INCEPTION", raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub"


def pngs(folder, images):
    folder.mkdir()
    for i, image in enumerate(images):
        array = image.permute(1, 2, 0).numpy()
        grey = array.shape[2] == 1
        Image.fromarray(array[:, :, 0] if grey else array).save(folder / f"{i}.png")
    return sorted(folder.iterdir(), key=lambda path: int(path.stem))


@pytest.mark.parametrize("channels", [3, 1])
def test_features_equal_those_of_png_files(trusted, theirs, tmp_path, channels):
    from pytorch_fid import fid_score

    files = pngs(tmp_path / "png", images := to_bytes(torch.randn(3, channels, 32, 32)))
    wanted = fid_score.get_activations(files, theirs, batch_size=2, num_workers=0)
    found = torch.cat([trusted(part) for part in images.split(2)])
    assert np.abs(found.numpy() - wanted).max() < 1e-6
    assert found.std(0).mean() > 1e-3  # not the same feature for every image


def test_statistics_equal_those_of_png_files_and_the_distance_its_closed_form(
    trusted, theirs, tmp_path
):
    """Two sets of images in memory, and the same two as folders of PNG through pytorch-fid."""
    from pytorch_fid import fid_score

    memory, centred, means = [], [], []
    for name, spread in (("a", 1.0), ("b", 0.3)):
        files = pngs(tmp_path / name, images := to_bytes(spread * torch.randn(4, 3, 32, 32)))
        place = make_accelerator(device="cpu")
        moments, pool, logits = extract(images.split(3), 4, trusted, place)
        found = pool.double()
        assert len(logits) == 0  # not asked for
        means.append(found.mean(0))
        centred.append((found - means[-1]) / 3**0.5)
        memory.append(moments)
        mean, cov = fid_score.calculate_activation_statistics(
            files, theirs, batch_size=3, num_workers=0
        )
        for ours, other in zip(moments, (mean, cov), strict=True):
            assert np.abs(ours.numpy() - other).max() < 1e-6
    distance = frechet(*memory)
    a, b = centred  # few images: tr (C_a C_b)^(1/2) is the nuclear norm of a small matrix
    spread = a.square().sum() + b.square().sum() - 2 * torch.linalg.matrix_norm(a @ b.T, "nuc")
    want = (means[0] - means[1]).square().sum() + spread
    assert distance == pytest.approx(want.item(), rel=1e-5)
    assert distance > 1  # of different images


def test_logits_have_no_bias(trusted, random_weights):
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    logits = trusted.head(pool := trusted(images))
    assert logits.shape == (2, 1008)
    torch.testing.assert_close(
        logits, pool @ torch.load(random_weights, weights_only=True)["fc.weight"].T
    )


def test_features_are_of_bytes_only(trusted):
    with pytest.raises(ValueError, match="float32"):
        trusted(torch.zeros(1, 3, 32, 32))


def test_wrong_hash_is_refused(random_weights):
    with pytest.raises(CheckpointError, match=r"SHA-256 .* weights 6726825d.*--unverified"):
        inception(random_weights, CPU)


def test_only_verified_weights_give_an_fid(random_weights, trusted, monkeypatch):
    loose = inception(random_weights, CPU, unverified=True)
    assert loose.sha == hashlib.sha256(random_weights.read_bytes()).hexdigest()
    names = [loose.name(metric) for metric in ("fid", "is", "kid", "precision")]
    assert names[0] == "Frechet distance (unverified Inception weights)"
    assert not [n for n in names if "FID" in n or "KID" in n or n.startswith("Inception")]
    monkeypatch.setattr(features, "INCEPTION_SHA", loose.sha)
    strict = inception(random_weights, CPU)
    assert [strict.name(m) for m in ("fid", "is", "kid", "recall")] == [
        "FID",
        "Inception Score",
        "KID",
        "recall",
    ]


@pytest.mark.parametrize("content", [b"not weights", None])
def test_other_files_are_named(tmp_path, content):
    path = tmp_path / "other.pth"
    torch.save({"fc.weight": torch.zeros(2, 2)}, path)
    if content:
        path.write_bytes(content)
    with pytest.raises(
        CheckpointError, match=r"other\.pth (is missing or damaged|cannot be read as plain tensors)"
    ):
        inception(path, CPU, unverified=True)


def test_weights_are_looked_for_in_order(empty_hub, tmp_path, monkeypatch):
    places = [tmp_path / "option.pth", cached(), tmp_path / "variable.pth"]
    places[1].parent.mkdir(parents=True)
    for place in places:
        place.touch()
    assert locate() == places[1]
    assert locate(places[0]) == places[0]
    monkeypatch.setenv("DASH_INCEPTION", str(places[2]))
    for options, place in (([], places[2]), (["--inception", str(places[0])], places[0])):
        context = evaluate_command.make_context("evaluate", ["any", *options])
        assert context.params["weights"] == place


def test_missing_weights_are_never_fetched_unasked(empty_hub, monkeypatch):
    def fail(*_, **__):
        raise AssertionError("downloaded")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(FileNotFoundError) as caught:
        locate()
    for part in (str(cached()), fid_inception.FID_WEIGHTS_URL, "--download"):
        assert part in str(caught.value)
    with pytest.raises(FileNotFoundError, match=r"no Inception weights at here\.pth"):
        locate(Path("here.pth"), download=True)  # a named file is not fetched, either


def test_a_hub_that_cannot_be_written_names_other_places(tmp_path, monkeypatch):
    (tmp_path / "home").write_text("a file where torch hub wants its folder")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "home"))
    with pytest.raises(FileNotFoundError, match=r"TORCH_HOME moves it.*--inception FILE"):
        locate(download=True)


def test_download_checks_the_hash_and_explains_failure(empty_hub, monkeypatch):
    asked = {}

    def fetch(url, destination, hash_prefix):
        asked.update(url=url, hash_prefix=hash_prefix)
        Path(destination).touch()

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    assert locate(download=True) == cached()
    assert asked == {"url": fid_inception.FID_WEIGHTS_URL, "hash_prefix": features.INCEPTION_SHA}

    def offline(*_, **__):
        raise OSError("no network")

    cached().unlink()
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(FileNotFoundError, match=r"download failed: no network.*Put https://"):
        locate(download=True)


def test_torch_fidelitys_own_resizing_moves_features_little(trusted, random_weights):
    """It resizes as TensorFlow did in 2015, which is the same where there is nothing to resize."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3 as Theirs

    how = {"feature_extractor_weights_path": str(random_weights)}
    net = Theirs("theirs", ["2048", "logits_unbiased"], **how)
    grey = to_bytes(torch.randn(2, 1, 299, 299))
    ours = trusted(grey), trusted.head(trusted(grey))
    for found, want in zip(ours, net(grey.expand(-1, 3, -1, -1)), strict=True):
        assert (found - want).abs().max() < 0.02 * want.abs().max()


def test_missing_packages_are_named_with_the_remedy(random_weights, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(ImportError, match=r"torch_fidelity .*pip install 'dash-book\[fid\]'"):
        inception(random_weights, CPU, unverified=True)
