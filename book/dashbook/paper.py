"""The paper's own numbers, to stand beside ours in separate, labelled columns; names of rows.

Source: the DASH release's README (arXiv 2606.00798): 50-step DDIM, 50,000 samples, TAG guidance
called "w = 4.0", mean over sampling seeds 42, 123, 456.  Nothing here was measured by us.
"""

from dataclasses import dataclass

# The name and the colour of every row of our tables, the paper's and ours, through the whole book.
# The headline rows have Okabe & Ito's colours.  The others stay apart also under colour blindness,
# and all stand out from white paper by 3 : 1 (WCAG 2).
ROWS = {
    "teacher": ("Teacher", "#000000"),
    "dash": ("DASH", "#0072B2"),
    "cond_only": ("Cond-only", "#D55E00"),
    "cond_only_dropout": ("Cond-only + dropout", "#009E73"),
    "composite": ("Composite, w = 4", "#CC79A7"),
    "scratch": ("Scratch", "#8A8A8A"),
    "multi_w": ("Multi-w composite", "#A1942F"),
    "fitnets": ("FitNets", "#4596E7"),
    "gap_match": ("Gap match", "#5A3A00"),
    "gap_match_cond": ("Gap match + cond-only", "#A86B32"),
    "pruned": ("Magnitude pruning", "#14206E"),
    "single_head": ("Single head", "#6A1B6A"),
    "dash_sampled": ("One branch an image", "#5E2533"),
    "dash_no_un": ("DASH without L_un", "#6C63F0"),
    "dash_no_an": ("DASH without L_an", "#12A856"),
}
NAMES = {row: name for row, (name, _) in ROWS.items()}
COLORS = {row: color for row, (_, color) in ROWS.items()}


@dataclass(frozen=True)
class PaperRow:
    """One row of the paper's CIFAR-10 / CIFAR-100 table; ``rho`` is None where it gives none."""

    model: str
    parameters: str
    fid_cifar10: float
    fid_cifar100: float
    rho_cifar10: float | None
    rho_cifar100: float | None

    @property
    def fids(self) -> str:
        """Both FIDs as the table has them: ``8.87 / 10.47``."""
        return f"{self.fid_cifar10:.2f} / {self.fid_cifar100:.2f}"

    @property
    def rhos(self) -> str:
        """Both lengths of the gap; empty where the table gives none."""
        return f"{self.rho_cifar10:.2f} / {self.rho_cifar100:.2f}" if self.rho_cifar10 else ""


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
