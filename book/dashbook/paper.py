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


# The headline rows.
PAPER: dict[str, PaperRow] = {
    "teacher": PaperRow("Teacher", "35.8M", 5.47, 6.80, 1.00, 1.00),
    "scratch": PaperRow("Scratch", "6.1M", 20.47, 26.14, None, None),
    "cond_only": PaperRow("Cond-only", "6.1M", 22.31, 27.83, 0.09, 0.08),
    "composite": PaperRow("Composite", "6.1M", 13.84, 20.84, 0.68, 0.65),
    "dash": PaperRow("DASH", "6.1M", 8.87, 10.47, 0.91, 0.89),
}
# Further rows of the same table.
FURTHER: dict[str, PaperRow] = {
    "multi_w": PaperRow("Multi-w composite", "6.1M", 13.67, 19.13, 0.75, 0.71),
    "fitnets": PaperRow("FitNets", "6.1M", 12.84, 19.47, 0.63, 0.61),
    "gap_match": PaperRow("Gap match", "6.1M", 11.42, 18.46, 0.81, 0.78),
    "pruned": PaperRow("Magnitude pruning", "8.95M", 18.04, 24.48, 0.71, 0.66),
    "single_head": PaperRow("Single-head (no CFG)", "8.99M", 16.78, 23.50, None, None),
}

# FID on ImageNet-64, which the same README gives for three of the models.
IMAGENET64 = {"teacher": 6.34, "composite": 18.43, "dash": 9.10}

# "L_un gives 67 % / 62 % of the total gain" on CIFAR-10 / CIFAR-100 (the authors' release).
UNCONDITIONAL_SHARE = (0.67, 0.62)
