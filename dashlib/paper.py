"""The paper's own numbers, to stand beside ours in separate, labelled columns.

Source: the DASH release's README (arXiv 2606.00798): 50-step DDIM, 50,000 samples, TAG guidance
called "w = 4.0", mean over sampling seeds 42, 123, 456.  Nothing here was measured by us.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class PaperRow:
    """One row of the paper's CIFAR-10 / CIFAR-100 table; ``rho`` is None where it gives none."""

    model: str
    parameters: str
    fid_cifar10: float
    fid_cifar100: float
    rho_cifar10: float | None
    rho_cifar100: float | None


PAPER: dict[str, PaperRow] = {
    "teacher": PaperRow("Teacher", "35.8M", 5.47, 6.80, 1.00, 1.00),
    "scratch": PaperRow("Scratch", "6.1M", 20.47, 26.14, None, None),
    "cond_only": PaperRow("Cond-only", "6.1M", 22.31, 27.83, 0.09, 0.08),
    "composite": PaperRow("Composite", "6.1M", 13.84, 20.84, 0.68, 0.65),
    "dash": PaperRow("DASH", "6.1M", 8.87, 10.47, 0.91, 0.89),
}
