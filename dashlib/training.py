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
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from dashlib.checkpoints import read_pickled, write_atomically
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

    def __post_init__(self) -> None:
        counts = min(self.steps, self.read_every) >= 1
        if not (counts and self.lr > 0 and self.clip > 0 and 0 <= self.ema < 1):
            raise ValueError(
                f"{self}: steps >= 1, read_every >= 1, lr > 0, clip > 0 and 0 <= ema < 1"
            )


class Source(Iterator[Batch], Protocol):
    """Where batches come from: a ``data.Stream``, or what can be saved and resumed like one."""

    @property
    def generator(self) -> Any:
        """What has ``get_state() -> Tensor`` and ``set_state(Tensor)``."""


@dataclass(frozen=True)
class StepRecord:
    """What one step did.  ``terms`` are unscaled batch means, before the timestep weighting."""

    step: int  # 1 after the first step
    loss: float
    terms: dict[str, float]
    grad_norm: float
    lr: float


@dataclass(frozen=True)
class Unread:
    """A :class:`StepRecord` whose numbers are still on the accelerator."""

    step: int
    loss: Tensor
    terms: dict[str, Tensor]
    grad_norm: Tensor
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
        means: list[Tensor] = list(self.model.parameters())
        values: list[Tensor] = list(model.parameters())
        torch._foreach_lerp_(means, values, 1 - d)


class Trainer:
    """A model in training: ``for record in trainer.run(stream): ...`` makes ``trainer.ema``.

    The model and weighting must be on the device of the stream's images.
    """

    average: ClassVar[type[EMA]] = EMA

    def __init__(
        self, model: UNet, objective: Objective, weighting: Weighting, cfg: TrainConfig
    ) -> None:
        self.model, self.objective, self.weighting, self.cfg = model, objective, weighting, cfg
        self.averaged = self.average(model, cfg.ema)
        self.step = 0
        objective.to(next(model.parameters()).device)
        self.trained = [*model.parameters(), *objective.parameters()]
        learned = [p for p in weighting.parameters() if p.requires_grad]
        groups = [
            {"params": self.trained, "weight_decay": cfg.weight_decay},
            {"params": learned, "weight_decay": 0.0},
        ]
        self.optimizer = self._make_optimizer([g for g in groups if g["params"]])

    def _make_optimizer(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(groups, lr=self.cfg.lr, fused=True)

    @property
    def ema(self) -> UNet:
        """The averaged model, in evaluation mode: what is sampled from and stored."""
        return self.averaged.model

    def run(self, batches: Iterator[Batch]) -> Iterator[StepRecord]:
        """Train up to ``cfg.steps``, yielding a record for each step.

        Raises ``FloatingPointError`` before a loss or gradient that is not finite touches the
        weights.  With ``read_every`` above 1 records come in groups of that many, and the error as
        late: the weights are lost, and training goes on from the last checkpoint.
        """
        self.model.train()
        while self.step < self.cfg.steps:
            count = min(self.cfg.read_every, self.cfg.steps - self.step)
            group = [self._one_step(next(batches)) for _ in range(count)]
            yield from [self._read(unread) for unread in group]

    def _one_step(self, batch: Batch) -> Unread:
        lr = self._learning_rate()
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        unread = Unread(self.step + 1, *self.gradients(batch), lr)
        if self.cfg.read_every == 1:
            self._read(unread)
        self.apply()
        self.step += 1
        return unread

    def gradients(self, batch: Batch) -> tuple[Tensor, Terms, Tensor]:
        """First half of a step: the clipped gradients; loss, terms and norm, not read back."""
        self.optimizer.zero_grad(set_to_none=True)
        loss, means = self._backward(batch)
        return loss, means, self._clip()

    def apply(self) -> None:
        """Second half of a step: move the weights and their average."""
        self.optimizer.step()
        self.averaged.update(self.model)

    def _backward(self, batch: Batch) -> tuple[Tensor, Terms]:
        """Compute the gradients of a batch; its loss and the mean of each term."""
        with torch.autocast(batch.x_t.device.type, torch.bfloat16, enabled=self.cfg.bf16):
            terms = self.objective.terms(self.model, batch)
            loss = self.weighting.reduce(self.objective.total(terms).float(), batch.t)
        loss.backward()
        return loss.detach(), {name: term.detach().mean() for name, term in terms.items()}

    def _clip(self) -> Tensor:
        """Clip the gradients; their norm before."""
        return nn.utils.clip_grad_norm_(self.trained, self.cfg.clip)

    def _sound(self, loss: float, norm: float) -> bool:
        """Whether training can go on after a step with this loss and gradient norm."""
        return math.isfinite(loss) and math.isfinite(norm)

    def _read(self, unread: Unread) -> StepRecord:
        """The record of a step; ``FloatingPointError`` if its loss or gradient is not finite."""
        terms = {name: term.item() for name, term in unread.terms.items()}
        loss, norm = unread.loss.item(), unread.grad_norm.item()
        if not self._sound(loss, norm):
            exact = self.cfg.read_every == 1
            left = f"are those of step {self.step}" if exact else "are lost: resume a checkpoint"
            raise FloatingPointError(
                f"step {unread.step}: loss {loss}, gradient norm {norm}, terms {terms}. "
                f"The weights {left}. Lower the learning rate (now {self.cfg.lr:g}), or check "
                "the images for NaN"
            )
        return StepRecord(unread.step, loss, terms, norm, unread.lr)

    def _learning_rate(self) -> float:
        low, phase = self.cfg.lr_min, math.cos(math.pi * self.step / self.cfg.steps)
        return low + (self.cfg.lr - low) * (1 + phase) / 2

    def _settings(self, stream: Source) -> dict[str, Any]:
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

    def _random_states(self) -> dict[str, Any]:
        """The states of the global generators."""
        return {"torch": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}

    def _set_random_states(self, states: dict[str, Any], step: int) -> None:
        """Set the global generators to what they were after ``step``."""
        torch.set_rng_state(states["torch"])
        torch.cuda.set_rng_state_all(states["cuda"])

    def state(self, stream: Source) -> dict[str, Any]:
        """Everything that :meth:`restore` needs, as plain data and tensors."""
        return {
            "settings": self._settings(stream),
            "step": self.step,
            "updates": self.averaged.updates,
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "weighting": self.weighting.state_dict(),
            "objective": self.objective.learned.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "stream_rng": stream.generator.get_state(),
            "random": self._random_states(),
        }

    def save(self, path: Path, stream: Source) -> None:
        """Write everything that :meth:`resume` needs, atomically."""
        buffer = io.BytesIO()
        torch.save(self.state(stream), buffer)
        write_atomically(path, buffer.getvalue())

    def restore(self, state: dict[str, Any], stream: Source, source: str) -> None:
        """Continue from a :meth:`state`; ``ValueError``, naming source, where settings differ."""
        for what, mine in self._settings(stream).items():
            if (saved := state["settings"].get(what)) != mine:
                raise ValueError(f"{source} was made with other {what}: {saved}, here {mine}")
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        self.weighting.load_state_dict(state["weighting"])
        self.objective.learned.load_state_dict(state["objective"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.averaged.updates = state["step"], state["updates"]
        stream.generator.set_state(state["stream_rng"])
        self._set_random_states(state["random"], state["step"])

    def resume(self, path: Path, stream: Source) -> None:
        """:meth:`restore` a file of :meth:`save`; ``CheckpointError`` if there is none."""
        self.restore(read_pickled(path), stream, str(path))
