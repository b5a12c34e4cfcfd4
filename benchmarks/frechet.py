"""The Frechet distance by eigenvalues (dashlib) and by scipy's matrix square root."""

import numpy as np
import scipy.linalg
import torch
from timing import hardware, report

from dashlib.metrics import frechet, gaussian

Gaussian = tuple[torch.Tensor, torch.Tensor]


def by_sqrtm(a: Gaussian, b: Gaussian) -> float:
    """``tr (C_a C_b)^(1/2)`` from the Schur decomposition of the product."""
    (mean_a, cov_a), (mean_b, cov_b) = a, b
    root = scipy.linalg.sqrtm((cov_a @ cov_b).numpy())
    squares = (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace()
    return float(squares - 2 * np.trace(root).real)


def main() -> None:
    """Full-rank covariances of D features, and how far the two answers are apart."""
    hardware()
    for d, repeats in ((64, 15), (512, 3)):
        torch.manual_seed(0)
        a, b = (gaussian(torch.randn(4 * d, d) * torch.linspace(1, 2, d)) for _ in range(2))
        apart = abs(frechet(a, b) / by_sqrtm(a, b) - 1)
        functions = {
            "sqrtm": lambda a=a, b=b: by_sqrtm(a, b),
            "eigenvalues": lambda a=a, b=b: frechet(a, b),
        }
        report(f"D={d} (answers agree to {apart:.0e})", functions, repeats)


if __name__ == "__main__":
    main()
