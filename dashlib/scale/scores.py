r"""Features of many images, over batches and processes, and the scores computed from them.

Beside the Frechet distance of :func:`dashlib.metrics.frechet`, by torch-fidelity and in float64:

* Inception Score: :math:`\exp E_x KL(p(y|x) \| p(y))` with class probabilities :math:`p(y|x)`, over
  ten parts of the samples, in order.  Salimans et al. 2016.
* Kernel distance (KID): unbiased squared maximum mean discrepancy with the kernel
  :math:`(a.b/D + 1)^3` of D-dimensional features, over 100 random subsets of 1,000 (or as many as
  the smaller set has); may be negative.  Binkowski et al. 2018.
* Improved precision and recall: the share of samples on the manifold of the real images, and the
  reverse.  A set's manifold is the union of balls around its features, each reaching to the 3rd
  nearest of the others; it depends on how many there are.  Kynkaanniemi et al. 2019.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor

from dashlib.extras import what_to_install
from dashlib.metrics import frechet
from dashlib.scale.distributed import gather_rows, share
from dashlib.scale.features import Extractor

POOL_SIZE = 10_000  # features kept whole of any set of images, for KID, precision and recall
SPLITS = 10  # of the samples, for the Inception Score
SUBSET_SIZE = 1000  # of the 100 subsets of KID
NEIGHBOURS = 3  # k of precision and recall
METRICS = {  # the scores of each, and what torch-fidelity calls them
    "fid": {"fid": "fid"},
    "is": {"is": "inception_score_mean", "is, std over splits": "inception_score_std"},
    "kid": {
        "kid": "kernel_inception_distance_mean",
        "kid, std over subsets": "kernel_inception_distance_std",
    },
    "pr": {"precision": "precision", "recall": "recall"},
}


class Extracted(NamedTuple):
    """Of many images: mean ``(D,)`` and covariance ``(D, D)`` in float64, features and logits."""

    gaussian: tuple[Tensor, Tensor]
    pool: Tensor
    logits: Tensor


def kept(n: int) -> Tensor:
    """Which of n images' features are kept, ``(n,)``: :data:`POOL_SIZE`, always the same ones."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(0)) < POOL_SIZE


def extract(
    parts: Iterable[Tensor], n: int, extractor: Extractor, place: Accelerator, *,
    logits: bool = False,
) -> Extracted:  # fmt: skip
    """Of n images (2 or more); ``parts``: this process's share, uint8 ``(B, C, H, W)``.

    Features, and logits if asked, are in the images' order.
    """
    keep, pools, answers = kept(n)[share(n, place).start :], list[Tensor](), list[Tensor]()
    total = outer = torch.zeros((), dtype=torch.float64)
    for images in parts:
        found = extractor(images)
        x = found.double()
        total, outer = total + x.sum(0), outer + x.T @ x
        chosen, keep = keep.tensor_split([len(x)])
        pools.append(found.float().cpu()[chosen])
        answers.append((extractor.head(found) if logits else found[:0]).float().cpu())
    total, outer = (place.reduce(s.to(place.device)).cpu() for s in (total, outer))
    mean = total / n
    covariance = (outer - n * mean.outer(mean)) / (n - 1)
    return Extracted((mean, covariance), *(gather_rows(torch.cat(s)) for s in (pools, answers)))


@what_to_install()
def compute(made: Extracted, real: Extracted, metrics: Collection[str]) -> dict[str, float]:
    """Scores of made images against real ones, with their spread over parts.

    ``ValueError`` for fewer features of either than KID (2), precision and recall (4) need.
    """
    fewest, found = min(len(made.pool), len(real.pool)), dict[str, float]()
    pools = made.pool.double(), real.pool.double()
    if "fid" in metrics:
        found["fid"] = frechet(made.gaussian, real.gaussian)
    if "is" in metrics:
        from torch_fidelity.metric_isc import isc_features_to_metric

        splits = min(SPLITS, len(made.logits))
        found |= isc_features_to_metric(made.logits, splits, shuffle=False)
    if "kid" in metrics:
        from torch_fidelity.metric_kid import kid_features_to_metric

        if fewest < 2:
            raise ValueError(f"{fewest} feature vector(s): a kernel distance needs 2 of each")
        size = min(SUBSET_SIZE, fewest)
        found |= kid_features_to_metric(*pools, kid_subset_size=size, verbose=False)
    if "pr" in metrics:
        from torch_fidelity.metric_prc import prc_features_to_metric

        if fewest <= NEIGHBOURS:
            raise ValueError(f"{fewest} feature vectors: {NEIGHBOURS} neighbours need more")
        how = {"prc_neighborhood": NEIGHBOURS, "prc_batch_size": 1000, "save_cpu_ram": True}
        found |= prc_features_to_metric(*pools, **how, verbose=False)
    return {name: found[theirs] for m in metrics for name, theirs in METRICS[m].items()}
