r"""What is computed from the features of samples and of real images, all in float64.

With ``N`` feature vectors :math:`x_i` of dimension ``D`` from a network that was trained to
classify, and its class probabilities :math:`p(y|x_i)`:

* Frechet distance (FID with Inception features): between the two Gaussians with the features' means
  and covariances.  Biased upwards, the more the smaller ``N``.  Heusel et al. 2017.
* Inception Score: :math:`\exp E_x KL(p(y|x) \| p(y))`.  Salimans et al. 2016.
* Kernel distance (KID): unbiased squared maximum mean discrepancy.  Binkowski et al. 2018.
* Improved precision and recall: the share of samples inside the manifold of the real images, and
  the reverse.  Kynkaanniemi et al. 2019.

Which network the features come from decides what a score may be called: see ``reference``.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from dashlib.metrics import frechet

SPLITS = 10  # of the samples, for the Inception Score
SUBSETS, SUBSET_SIZE = 100, 1000  # of KID
NEIGHBOURS = 3  # k of precision and recall


@dataclass(frozen=True)
class Moments:
    r"""Count, mean ``(D,)`` and scatter ``(D, D)``: :math:`\sum_i (x_i - m)(x_i - m)^T`, float64.

    Moments of two sets add up to those of their union: with :math:`d = m_b - m_a`

    .. math:: m = m_a + \tfrac{n_b}{n} d, \quad
              S = S_a + S_b + \tfrac{n_a n_b}{n} d d^T, \quad n = n_a + n_b,

    which has none of the cancellation of sums of squares.  Source: Chan, Golub & LeVeque 1979.
    """

    n: int
    mean: Tensor
    scatter: Tensor

    @classmethod
    def zero(cls, dim: int, device: torch.device | str = "cpu") -> "Moments":
        """Of no features at all."""
        mean = torch.zeros(dim, dtype=torch.float64, device=device)
        return cls(0, mean, mean.new_zeros(dim, dim))

    @classmethod
    def of(cls, features: Tensor) -> "Moments":
        """Of features ``(N, D)``; N may be 0."""
        if len(features) == 0:
            return cls.zero(features.shape[1], features.device)
        features = features.double()
        mean = features.mean(0)
        centred = features - mean
        return cls(len(features), mean, centred.T @ centred)

    def to(self, device: torch.device | str) -> "Moments":
        """The same on a device."""
        return Moments(self.n, self.mean.to(device), self.scatter.to(device))

    def __add__(self, other: "Moments") -> "Moments":
        n = self.n + other.n
        if n == 0:
            return self
        d = other.mean - self.mean
        scatter = self.scatter + other.scatter + self.n * other.n / n * torch.outer(d, d)
        return Moments(n, self.mean + other.n / n * d, scatter)

    @property
    def gaussian(self) -> tuple[Tensor, Tensor]:
        """Mean and unbiased covariance; ``ValueError`` for fewer than 2 features."""
        if self.n < 2:
            raise ValueError(f"{self.n} feature vectors: a covariance needs at least 2")
        return self.mean, self.scatter / (self.n - 1)


def merged(parts: Iterable[Moments]) -> Moments:
    """The moments of the union of disjoint parts, in any split; at least one part."""
    return reduce(Moments.__add__, parts)


def frechet_distance(a: Moments, b: Moments) -> float:
    """:func:`dashlib.metrics.frechet` of the Gaussians of two sets of features."""
    return frechet(a.gaussian, b.gaussian)


def inception_score(logits: Tensor, splits: int = SPLITS) -> tuple[float, float]:
    r"""Mean and (population) standard deviation over splits of :math:`\exp E KL(p(y|x) \| p(y))`.

    ``logits``: ``(N, K)``, cut in order into ``splits`` equal parts, each with its own
    :math:`p(y)`.  Between 1 and K.  Raises ``ValueError`` for fewer samples than splits.
    Source: Salimans et al. 2016 (10 parts of 5,000).
    """
    if len(logits) < splits:
        raise ValueError(f"{len(logits)} samples cannot be cut into {splits} splits")
    log_p = logits.double().log_softmax(1)
    scores = torch.stack([_exp_mean_kl(part) for part in log_p.tensor_split(splits)])
    return scores.mean().item(), scores.std(correction=0).item()


def _exp_mean_kl(log_p: Tensor) -> Tensor:
    p = log_p.exp()
    return (p * (log_p - p.mean(0).log())).nan_to_num(0.0).sum(1).mean().exp()


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    """The cubic kernel ``(x . y / D + 1)^3``, ``(len(a), len(b))``."""
    return (a @ b.T / a.shape[1] + 1) ** 3


def squared_mmd(x: Tensor, y: Tensor) -> float:
    r"""Unbiased squared maximum mean discrepancy of features ``(m, D)`` and ``(n, D)``.

    .. math:: \frac{1}{m(m-1)} \sum_{i \ne j} k(x_i, x_j) + \frac{1}{n(n-1)} \sum_{i \ne j}
              k(y_i, y_j) - \frac{2}{mn} \sum_{i,j} k(x_i, y_j), \quad k(a, b) = (a.b/D + 1)^3

    May be negative.  ``ValueError`` for fewer than 2 of either.
    """
    m, n = len(x), len(y)
    if min(m, n) < 2:
        raise ValueError(f"{m} and {n} feature vectors: a kernel distance needs 2 of each")
    x, y = x.double(), y.double()
    within_x, within_y = _kernel(x, x), _kernel(y, y)
    xx = (within_x.sum() - within_x.trace()) / (m * (m - 1))
    yy = (within_y.sum() - within_y.trace()) / (n * (n - 1))
    return (xx + yy - 2 * _kernel(x, y).mean()).item()


def kernel_distance(
    x: Tensor, y: Tensor, *, subsets: int = SUBSETS, size: int = SUBSET_SIZE, seed: int = 0
) -> tuple[float, float]:
    """KID: mean and (population) standard deviation of :func:`squared_mmd` over random subsets.

    Each subset has ``size`` vectors of either set (all, if a set is smaller), without replacement.
    Source: Binkowski et al. 2018; subsets as in its authors' code.
    """
    generator = torch.Generator().manual_seed(seed)

    def subset(features: Tensor) -> Tensor:
        order = torch.randperm(len(features), generator=generator)
        return features[order[:size].to(features.device)]

    values = [squared_mmd(subset(x), subset(y)) for _ in range(subsets)]
    result = torch.tensor(values, dtype=torch.float64)
    return result.mean().item(), result.std(correction=0).item()


def radii(features: Tensor, k: int = NEIGHBOURS, batch: int = 1000) -> Tensor:
    """Distance of each of ``(N, D)`` vectors to its k-th nearest other one, ``(N,)``, float64.

    Raises ``ValueError`` unless N > k.
    """
    if len(features) <= k:
        raise ValueError(f"{len(features)} feature vectors: {k} neighbours need more than {k}")
    features = features.double()
    rows = [torch.cdist(part, features) for part in features.split(batch)]
    # the vector itself, at distance 0, is its own nearest: hence k + 1
    return torch.cat([row.kthvalue(k + 1, dim=1).values for row in rows])


def coverage(points: Tensor, centres: Tensor, radius: Tensor, batch: int = 1000) -> float:
    """Share of points ``(M, D)`` within any ball around ``centres (N, D)`` of ``radius (N,)``."""
    centres = centres.double()
    inside = [
        (torch.cdist(part.double(), centres) <= radius).any(1) for part in points.split(batch)
    ]
    return torch.cat(inside).double().mean().item()


def precision_recall(fake: Tensor, real: Tensor, k: int = NEIGHBOURS) -> tuple[float, float]:
    """Improved precision and recall of features, in [0, 1].

    The manifold of a set is the union of balls around its vectors, each reaching to the vector's
    k-th nearest neighbour in the set.  Precision: share of ``fake`` on the manifold of ``real``;
    recall: the reverse.  Both depend on how many there are.  Source: Kynkaanniemi et al. 2019.
    """
    precision = coverage(fake, real, radii(real, k))
    return precision, coverage(real, fake, radii(fake, k))
