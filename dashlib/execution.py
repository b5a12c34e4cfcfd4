"""The settings of a training, and how its steps are computed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from dashlib.checks import check_positive
from dashlib.data import Batch
from dashlib.losses import Objective, Terms
from dashlib.unet import UNet
from dashlib.weighting import Weighting


@dataclass(frozen=True)
class TrainConfig:
    """Optimisation settings (AdamW)."""

    steps: int
    lr: float = 2e-4  # at the start
    lr_min: float = 1e-6  # at the end of the cosine decay, which takes `steps` steps
    weight_decay: float = 0.01  # of the network; learned importance has none
    clip: float = 1.0  # largest gradient norm
    ema: float = 0.9999  # decay of the averaged weights, once warm
    bf16: bool = False  # autocast the forward pass to bfloat16
    read_every: int = 1  # steps between reads of the loss; reading stalls an accelerator
    warm: float = 0.0  # part of the training in which the rate rises linearly to the cosine

    def __post_init__(self) -> None:
        check_positive(steps=self.steps, read_every=self.read_every, lr=self.lr, clip=self.clip)
        rates = (self.lr_min, self.weight_decay, self.warm, self.ema)
        if not (all(rate >= 0 for rate in rates) and self.ema < 1):
            raise ValueError(f"{self}: 0 <= ema < 1; lr_min, weight_decay and warm from 0")

    def rate(self, progress: float) -> float:
        """The learning rate after a part of the training, in [0, 1]."""
        p = min(max(progress, 0.0), 1.0)
        rise = min(1.0, p / self.warm) if self.warm else 1.0
        return rise * (self.lr_min + (self.lr - self.lr_min) * (1 + math.cos(math.pi * p)) / 2)


class Execution:
    """Compute a trainer's steps: here by this process alone, each batch in one piece."""

    def place(self, model: UNet) -> UNet:
        """The network where, and as, it is computed with."""
        return model

    def attach(
        self, model: UNet, objective: Objective, weighting: Weighting, optimizer: Optimizer,
        cfg: TrainConfig,
    ) -> Optimizer:  # fmt: skip
        """Get ready to compute the steps of one training; the optimizer to make them with."""
        self.model, self.objective, self.weighting, self.cfg = model, objective, weighting, cfg
        return optimizer

    def backward(self, batch: Batch) -> tuple[Tensor, Terms]:
        """Compute the gradients of a batch; its loss and the mean of each term."""
        with torch.autocast(batch.x_t.device.type, torch.bfloat16, enabled=self.cfg.bf16):
            terms = self.objective.terms(self.model, batch)
            loss = self.weighting.reduce(self.objective.total(terms).float(), batch.t)
        loss.backward()
        return loss.detach(), {name: term.detach().mean() for name, term in terms.items()}

    def clip(self, trained: Sequence[Tensor]) -> Tensor:
        """Clip the gradients; their norm before."""
        return nn.utils.clip_grad_norm_(trained, self.cfg.clip)

    def sound(self, loss: float, norm: float) -> bool:
        """Say if training can go on after a step with this loss and gradient norm."""
        return math.isfinite(loss) and math.isfinite(norm)

    def settings(self) -> dict[str, Any]:
        """Return what must agree, beside the trainer's settings, to continue a saved run."""
        return {}

    def random_states(self) -> dict[str, Any]:
        """The states of the global generators."""
        return {"torch": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}

    def set_random_states(self, states: dict[str, Any], step: int) -> None:
        """Set the global generators to what they were after ``step``."""
        torch.set_rng_state(states["torch"])
        torch.cuda.set_rng_state_all(states["cuda"])
