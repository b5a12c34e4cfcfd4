"""What every training objective is: named per-sample loss terms and their coefficients."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dashlib.data import Batch
from dashlib.guidance import Branches, Denoiser

Terms = dict[str, Tensor]


def mse(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared difference of each sample, ``(B, C, H, W)`` x 2 -> ``(B,)``."""
    return (a - b).square().flatten(1).mean(1)


def teacher_of(batch: Batch) -> Branches:
    """The teacher's branches; ``ValueError`` if the batch carries none."""
    if batch.teacher is None:
        raise ValueError("this objective needs a teacher: wrap the stream in data.with_teacher()")
    return batch.teacher


@dataclass(frozen=True)
class Objective:
    """A loss: named per-sample terms, combined with the coefficients in ``coefficients``."""

    needs_teacher = True

    @property
    def coefficients(self) -> dict[str, float]:
        """Factor of each term in the total (1 unless said otherwise)."""
        return {}

    @property
    def learned(self) -> nn.Module:
        """What is trained beside the network: nothing, unless said otherwise."""
        return nn.Module()

    def parameters(self) -> list[nn.Parameter]:
        """The parameters of ``learned``, for the optimizer."""
        return list(self.learned.parameters())

    def to(self, device: torch.device) -> None:
        """Move what the objective holds to the network's device, in place."""
        self.learned.to(device)

    def terms(self, model: Denoiser, batch: Batch) -> Terms:
        """Unscaled per-sample terms, each of shape ``(B,)``."""
        raise NotImplementedError

    def total(self, terms: Terms) -> Tensor:
        """Per-sample loss ``sum_k coefficient_k * term_k``, shape ``(B,)``."""
        scaled = [self.coefficients.get(k, 1.0) * v for k, v in terms.items()]
        return torch.stack(scaled).sum(0)
