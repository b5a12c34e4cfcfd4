"""Training as a generator of step records; the caller owns progress bars, plots and snapshots.

One loop serves the teacher (objective ``scratch``, a learned weighting) and every student (an
objective that reads the teacher from the batch, a frozen weighting).
"""

import copy
import io
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dashlib.checkpoints import read_pickled, write_atomically
from dashlib.data import Batch, Stream
from dashlib.losses import Objective
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

    def __post_init__(self) -> None:
        fine = self.steps >= 1 and self.lr > 0 and self.clip > 0 and 0 <= self.ema < 1
        if not fine:
            raise ValueError(f"{self}: steps >= 1, lr > 0, clip > 0 and 0 <= ema < 1")


@dataclass(frozen=True)
class StepRecord:
    """What one step did.  ``terms`` are unscaled batch means, before the timestep weighting."""

    step: int  # 1 after the first step
    loss: float
    terms: dict[str, float]
    grad_norm: float
    lr: float


class EMA:
    """Exponential moving average of a model's weights: ``shadow = d shadow + (1 - d) weights``.

    The decay warms up, ``d_n = min(decay, (1 + n)/(10 + n))``, so that short runs do not average
    in their random start.
    """

    def __init__(self, model: UNet, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay, self.updates = decay, 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the model's weights."""
        self.updates += 1
        d = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for mean, value in zip(self.model.parameters(), model.parameters(), strict=True):
            mean.lerp_(value, 1 - d)


class Trainer:
    """A model in training: ``for record in trainer.run(stream): ...`` makes ``trainer.ema``.

    The model and weighting must be on the device of the stream's images.
    """

    def __init__(
        self, model: UNet, objective: Objective, weighting: Weighting, cfg: TrainConfig
    ) -> None:
        self.model, self.objective, self.weighting, self.cfg = model, objective, weighting, cfg
        self.averaged = EMA(model, cfg.ema)
        self.step = 0
        learned = [p for p in weighting.parameters() if p.requires_grad]
        groups = [
            {"params": list(model.parameters()), "weight_decay": cfg.weight_decay},
            {"params": learned, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW([g for g in groups if g["params"]], lr=cfg.lr)

    @property
    def ema(self) -> UNet:
        """The averaged model, in evaluation mode: what is sampled from and stored."""
        return self.averaged.model

    def run(self, batches: Iterator[Batch]) -> Iterator[StepRecord]:
        """Train up to ``cfg.steps``, yielding a record after each step.

        Raises ``FloatingPointError`` before a loss or gradient that is not finite touches the
        weights, so the model stays as the last good step left it.
        """
        self.model.train()
        while self.step < self.cfg.steps:
            yield self._one_step(next(batches))

    def _one_step(self, batch: Batch) -> StepRecord:
        lr = self._learning_rate()
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        with torch.autocast(batch.x_t.device.type, torch.bfloat16, enabled=self.cfg.bf16):
            terms = self.objective.terms(self.model, batch)
            loss = self.weighting.reduce(self.objective.total(terms).float(), batch.t)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.cfg.clip)
        means = {name: term.mean().item() for name, term in terms.items()}
        self._check_finite(loss, norm, means)
        self.optimizer.step()
        self.averaged.update(self.model)
        self.step += 1
        return StepRecord(self.step, loss.item(), means, norm.item(), lr)

    def _learning_rate(self) -> float:
        cfg = self.cfg
        phase = math.cos(math.pi * self.step / cfg.steps)
        return cfg.lr_min + (cfg.lr - cfg.lr_min) * (1 + phase) / 2

    def _check_finite(self, loss: Tensor, norm: Tensor, terms: dict[str, float]) -> None:
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            raise FloatingPointError(
                f"step {self.step + 1}: loss {loss.item()}, gradient norm {norm.item()}, terms "
                f"{terms}. The weights are those of step {self.step}. Lower the learning rate "
                f"(now {self.cfg.lr:g}), or check the images for NaN"
            )

    def _settings(self, stream: Stream) -> dict[str, Any]:
        """What must agree for a saved run to be continued."""
        named = f"{type(self.weighting).__name__}{sorted(self.weighting.state_dict())}"
        options = {k: v for k, v in vars(self.weighting).items() if isinstance(v, (str, float))}
        drawn = ("batch_size", "label_dropout", "dropout_per", "flip")
        return {
            "training": asdict(self.cfg),
            "network": asdict(self.model.cfg),
            "objective": repr(self.objective),
            "weighting": f"{named} {options}",
            "stream": {k: getattr(stream, k) for k in drawn},
        }

    def save(self, path: Path, stream: Stream) -> None:
        """Write everything that :meth:`resume` needs, atomically."""
        state = {
            "settings": self._settings(stream),
            "step": self.step,
            "updates": self.averaged.updates,
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "weighting": self.weighting.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "stream_rng": stream.generator.get_state(),
            "torch_rng": torch.get_rng_state(),
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_atomically(path, buffer.getvalue())

    def resume(self, path: Path, stream: Stream) -> None:
        """Continue a saved run exactly.

        ``ValueError`` if its settings or architecture differ, ``CheckpointError`` for no such file.
        """
        state: dict[str, Any] = read_pickled(path)
        for what, mine in self._settings(stream).items():
            if (saved := state["settings"][what]) != mine:
                raise ValueError(f"{path} was made with other {what}: {saved}, here {mine}")
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        self.weighting.load_state_dict(state["weighting"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.averaged.updates = state["step"], state["updates"]
        stream.generator.set_state(state["stream_rng"])
        torch.set_rng_state(state["torch_rng"])
