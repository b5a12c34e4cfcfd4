"""Weigh a colour cast in a loss."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dashlib.data import Batch
from dashlib.guidance import Denoiser, branches
from dashlib.losses import Dash, Terms, mse, teacher_of
from dashlib.schedule import Schedule

SCHEDULE = Schedule()


def colour_error(error: Tensor, t: Tensor) -> Tensor:
    r"""Of an error of eps, that of the predicted image's mean colours, bounded; ``(B,)``.

    :math:`\min(1/\mathrm{SNR}_t, 100)` times the squared mean over pixels, averaged over channels.
    """
    scale = (1 / SCHEDULE.snr(t)).clamp(max=100).to(error.dtype)
    return scale * error.mean((2, 3)).square().mean(1)


@dataclass(frozen=True)
class ColourDash(Dash):
    """DASH with ``colour`` times the :func:`colour_error` of both branches."""

    colour: float = 1.0

    def terms(self, model: Denoiser, batch: Batch) -> Terms:
        """Those of DASH, and ``colour``."""
        student, teacher = branches(model, batch.x_t, batch.t, batch.y), teacher_of(batch)
        errors = student.cond - teacher.cond, student.uncond - teacher.uncond
        return {
            "imitation": mse(student.cond, teacher.cond),
            "unconditional": mse(student.uncond, teacher.uncond),
            "anchor": mse(student.cond, batch.eps),
            "colour": torch.stack([colour_error(error, batch.t) for error in errors]).sum(0),
        }
