r"""FitNets: match the conditional branch and, through learned 1x1 convolutions, feature maps.

.. math:: |S_{cond} - T_{cond}|^2 + \beta \sum_l |r_l(s_l) - \tau_l|^2 / |\tau_l|^2

with s_l, tau_l the student's and the teacher's feature maps ``(B, C, H, W)`` of one layer, for the
same images, timesteps and labels, and r_l a 1x1 convolution from the student's width to the
teacher's.  The division by the teacher map's mean square makes the layers weigh alike.

Source: Romero et al. 2015 (FitNets), as a baseline of DASH (arXiv 2606.00798).
"""

from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from dashlib.data import Batch
from dashlib.guidance import Denoiser
from dashlib.losses import Objective, Terms, mse, teacher_of
from dashlib.unet import UNet, UNetConfig

Layers = tuple[tuple[str, str], ...]


def _on_meta(cfg: UNetConfig) -> UNet:
    with torch.device("meta"):
        return UNet(cfg)


def feature_shapes(cfg: UNetConfig, layers: list[str]) -> list[torch.Size]:
    """Shapes ``(C, H, W)`` of the outputs of the modules with these paths."""
    x = torch.empty(1, cfg.image_channels, cfg.image_size, cfg.image_size, device="meta")
    label = torch.zeros(1, dtype=torch.long, device="meta")
    _, seen = _on_meta(cfg).features(x, label, label, layers)
    return [seen[layer].shape[1:] for layer in layers]


def default_layers(teacher: UNetConfig, student: UNetConfig) -> Layers:
    """The outputs of each level on the way down and of the middle; ``ValueError`` if unlike."""
    mine, theirs = (_on_meta(cfg).level_outputs() for cfg in (student, teacher))
    if len(mine) != len(theirs):
        found = f"the student has {len(mine) - 1} levels and the teacher {len(theirs) - 1}"
        raise ValueError(f"{found}: name pairs, layers=((student's path, teacher's path), ...)")
    return tuple(zip(mine, theirs, strict=True))


def make_regressors(teacher: UNetConfig, student: UNetConfig, layers: Layers) -> nn.ModuleList:
    """A 1x1 convolution for each pair of layers; ``ValueError`` if the pair's grids differ."""
    mine = feature_shapes(student, [s for s, _ in layers])
    theirs = feature_shapes(teacher, [t for _, t in layers])
    for pair, s, t in zip(layers, mine, theirs, strict=True):
        if s[1:] != t[1:]:
            grids = f"the student's grid is {tuple(s[1:])} and the teacher's {tuple(t[1:])}"
            raise ValueError(f"layers {pair}: {grids}: name layers of the same resolution")
    with torch.random.fork_rng(devices=[]):
        return nn.ModuleList(nn.Conv2d(s[0], t[0], 1) for s, t in zip(mine, theirs, strict=True))


def relative(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared difference of each sample over the mean square of b: ``(B,)``."""
    return mse(a, b) / b.square().flatten(1).mean(1)


@dataclass(frozen=True)
class FitNets(Objective):
    """``|S_cond - T_cond|^2 + features * sum_l |r_l(s_l) - tau_l|^2 / |tau_l|^2``.

    ``layers``: pairs of module paths, the student's and the teacher's; by default the outputs of
    the levels on the way down and of the middle.  Holds the teacher, frozen, in evaluation mode,
    and the trained regressors.  ``ValueError`` for unknown layers, or layers whose grids differ.
    """

    teacher: UNet = field(repr=False)
    student: UNetConfig = field(repr=False)
    features: float = 1.0
    layers: Layers = ()
    regressors: nn.ModuleList = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.teacher.eval().requires_grad_(False)
        if not self.layers:
            object.__setattr__(self, "layers", default_layers(self.teacher.cfg, self.student))
        regressors = make_regressors(self.teacher.cfg, self.student, self.layers)
        object.__setattr__(self, "regressors", regressors)
        self.to(next(self.teacher.parameters()).device)

    @property
    def learned(self) -> nn.Module:
        """The regressors."""
        return self.regressors

    @property
    def coefficients(self) -> dict[str, float]:
        """The factor of ``features``."""
        return {"features": self.features}

    def to(self, device: torch.device) -> None:
        """Move the teacher and the regressors to the network's device, in place."""
        self.teacher.to(device)
        self.regressors.to(device)

    def terms(self, model: Denoiser, batch: Batch) -> Terms:
        """``imitation`` and ``features``, with one forward of each network."""
        answers, where = teacher_of(batch), (batch.x_t, batch.t, batch.y)
        mine, theirs = ([pair[i] for pair in self.layers] for i in (0, 1))
        student, s = cast(UNet, model).features(*where, mine)
        with torch.no_grad():
            _, tau = self.teacher.features(*where, theirs)
        triples = zip(self.regressors, mine, theirs, strict=True)
        losses = [relative(r(s[a]).float(), tau[b].float()) for r, a, b in triples]
        return {"imitation": mse(student, answers.cond), "features": torch.stack(losses).sum(0)}
