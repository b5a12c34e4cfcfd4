r"""Features of many images, over batches and processes, and the scores computed from them.

Beside the Frechet distance of :func:`dashlib.metrics.frechet`, by torch-fidelity and in float64:

* Inception Score: :math:`\exp E_x KL(p(y|x) \| p(y))` with class probabilities :math:`p(y|x)`.
  Salimans et al. 2016.
* Kernel distance (KID): unbiased squared maximum mean discrepancy with the kernel
  :math:`(a.b/D + 1)^3` of D-dimensional features.  Binkowski et al. 2018.
* Improved precision and recall: the share of samples inside the manifold of the real images, and
  the reverse.  Kynkaanniemi et al. 2019.

Which network the features come from decides what a score may be called: see ``features``.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor

from dashlib.metrics import frechet
from dashlib.scale.distributed import gather_rows, share
from dashlib.scale.features import Extractor, needed

POOL_SIZE = 10_000  # features kept whole of any set of images, for KID, precision and recall
SPLITS = 10  # of the samples, for the Inception Score
SUBSET_SIZE = 1000  # of the 100 subsets of KID
NEIGHBOURS = 3  # k of precision and recall


class Extracted(NamedTuple):
    """Of many images: mean ``(D,)`` and covariance ``(D, D)`` in float64, features and logits."""

    gaussian: tuple[Tensor, Tensor]
    pool: Tensor
    logits: Tensor


def kept(n: int) -> Tensor:
    """Which of n images' features are kept, ``(n,)``: :data:`POOL_SIZE`, always the same ones."""
    chosen = torch.zeros(n, dtype=torch.bool)
    chosen[torch.randperm(n, generator=torch.Generator().manual_seed(0))[:POOL_SIZE]] = True
    return chosen


class Extraction:
    """Features of n images (2 or more), of which each process adds the batches of its share."""

    def __init__(self, n: int, extractor: Extractor, place: Accelerator) -> None:
        self.n, self.extractor, self.place = n, extractor, place
        self.keep = kept(n)[share(n, place).start :]
        self.sums: list[Tensor] = []  # of the features and of their outer products, float64
        self.pools, self.logits = list[Tensor](), list[Tensor]()

    def add(self, images: Tensor, *, logits: bool = False) -> None:
        """Uint8 images ``(B, C, H, W)``; their logits are kept if asked."""
        found = self.extractor(images)
        x = found.pool.double()
        sums = [x.sum(0), x.T @ x]
        self.sums = [a + b for a, b in zip(self.sums, sums, strict=True)] if self.sums else sums
        keep, self.keep = self.keep.tensor_split([len(x)])
        self.pools.append(found.pool.float().cpu()[keep])
        self.logits.append(found.logits[: len(x) * logits].float().cpu())

    def united(self) -> Extracted:
        """Of all processes' images: moments, and in the images' order what was kept, on the CPU."""
        total, outer = (self.place.reduce(s.to(self.place.device), "sum").cpu() for s in self.sums)
        mean = total / self.n
        covariance = (outer - self.n * mean.outer(mean)) / (self.n - 1)
        pool, logits = (gather_rows(torch.cat(parts)) for parts in (self.pools, self.logits))
        return Extracted((mean, covariance), pool, logits)


def inception_score(logits: Tensor) -> tuple[float, float]:
    """Mean and standard deviation over ten parts of logits ``(N, K)``, in order; in [1, K]."""
    library = needed("torch_fidelity.metric_isc", "fid")
    splits = min(SPLITS, len(logits))
    found = library.isc_features_to_metric(logits, splits, shuffle=False)
    return found["inception_score_mean"], found["inception_score_std"]


def kernel_distance(x: Tensor, y: Tensor) -> tuple[float, float]:
    """KID of features ``(M, D)``, ``(N, D)``: mean and standard deviation over random subsets.

    Each has 1,000 vectors of either set (as many as the smaller set, if it has less), without
    replacement.  May be negative.  Raises ``ValueError`` for fewer than 2 of either.
    """
    if (size := min(SUBSET_SIZE, len(x), len(y))) < 2:
        raise ValueError(f"{len(x)} and {len(y)} feature vectors: a kernel distance needs 2 each")
    library, how = needed("torch_fidelity.metric_kid", "fid"), {"kid_subset_size": size}
    found = library.kid_features_to_metric(x.double(), y.double(), **how, verbose=False)
    return found["kernel_inception_distance_mean"], found["kernel_inception_distance_std"]


def precision_recall(fake: Tensor, real: Tensor) -> tuple[float, float]:
    """Improved precision and recall of features, in [0, 1]; both depend on how many there are.

    The manifold of a set is the union of balls around its vectors, each reaching to the vector's
    3rd nearest neighbour in the set.  Precision: share of ``fake`` on the manifold of ``real``;
    recall: the reverse.  Raises ``ValueError`` for sets of 3 or fewer.
    """
    if (fewest := min(len(fake), len(real))) <= NEIGHBOURS:
        raise ValueError(f"{fewest} feature vectors: {NEIGHBOURS} neighbours need more")
    library = needed("torch_fidelity.metric_prc", "fid")
    how = {"prc_neighborhood": NEIGHBOURS, "prc_batch_size": 1000, "save_cpu_ram": True}
    found = library.prc_features_to_metric(fake.double(), real.double(), **how, verbose=False)
    return found["precision"], found["recall"]


def compute(
    found: Extracted, gaussian: tuple[Tensor, Tensor], pool: Tensor, metrics: Sequence[str]
) -> dict[str, float]:
    """Scores against real images' moments and features; some with their spread over parts."""
    values: dict[str, float] = {}
    if "fid" in metrics:
        values["fid"] = frechet(found.gaussian, gaussian)
    if "is" in metrics:
        values["is"], values["is, std over splits"] = inception_score(found.logits)
    if "kid" in metrics:
        distance = kernel_distance(found.pool, pool)
        values["kid"], values["kid, std over subsets"] = distance
    if "pr" in metrics:
        values["precision"], values["recall"] = precision_recall(found.pool, pool)
    return values
