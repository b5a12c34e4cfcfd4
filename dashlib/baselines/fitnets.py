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


def make_regressors(teacher: UNetConfig, student: UNetConfig) -> nn.ModuleList:
    """A 1x1 convolution for each level and the middle; ``ValueError`` if the grids differ."""
    if teacher.grids != student.grids:
        found = f"the student's levels have grids {student.grids}, the teacher's {teacher.grids}"
        raise ValueError(f"{found}: FitNets compares levels of the same grids")
    widths = [[cfg.ch * m for m in (*cfg.mults, cfg.mults[-1])] for cfg in (student, teacher)]
    with torch.random.fork_rng(devices=[]):
        return nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in zip(*widths, strict=True))


def relative(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared difference of each sample over the mean square of b: ``(B,)``."""
    return mse(a, b) / b.square().flatten(1).mean(1)


@dataclass(frozen=True)
class FitNets(Objective):
    """``|S_cond - T_cond|^2 + features * sum_l |r_l(s_l) - tau_l|^2 / |tau_l|^2``.

    The layers l are the levels on the way down and the middle.  Holds the teacher, frozen, in
    evaluation mode, and the trained regressors.  ``ValueError`` for levels whose grids differ.
    """

    teacher: UNet = field(repr=False)
    student: UNetConfig = field(repr=False)
    features: float = 1.0
    regressors: nn.ModuleList = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.teacher.eval().requires_grad_(False)
        regressors = make_regressors(self.teacher.cfg, self.student)
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
        student, s = cast(UNet, model).features(*where)
        with torch.no_grad():
            _, tau = self.teacher.features(*where)
        triples = zip(self.regressors, s, tau, strict=True)
        losses = [relative(r(a).float(), b.float()) for r, a, b in triples]
        return {"imitation": mse(student, answers.cond), "features": torch.stack(losses).sum(0)}
