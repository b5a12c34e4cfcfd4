"""Training as a generator of step records; the caller owns progress bars, plots and snapshots.

One loop serves the teacher and every student, whose objective reads the teacher from the batch.
How a step is computed, by one process or many, is an :class:`~dashlib.execution.Execution`.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import tee
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from dashlib.data import Batch
from dashlib.execution import Execution, TrainConfig
from dashlib.losses import Objective, Terms
from dashlib.unet import UNet
from dashlib.weighting import Weighting


class Source(Iterator[Batch], Protocol):
    """A source of batches: a ``data.Stream``, or what can be saved and resumed like one."""

    @property
    def generator(self) -> Any:
        """The generator: it has ``get_state() -> Tensor`` and ``set_state(Tensor)``."""


@dataclass(frozen=True)
class StepRecord:
    """Record of one step."""

    step: int  # 1 after the first step
    loss: float
    terms: dict[str, float]  # unscaled batch means, before the timestep weighting
    grad_norm: float
    lr: float


class EMA:
    """Exponential moving average of a model's weights: ``shadow += rate (weights - shadow)``.

    The decay, 1 - rate, warms up, ``min(decay, (1 + n)/(10 + n))``: short runs forget their start.
    """

    def __init__(self, model: UNet, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.means: list[Tensor] = list(self.model.parameters())
        self.decay, self.updates = decay, 0
        self.rate = torch.zeros((), device=next(model.parameters()).device)  # for captured steps

    def prepare(self, updates: int = 1) -> None:
        """Count updates, and set their rate."""
        self.updates += updates
        self.rate.fill_(1 - min(self.decay, (1 + self.updates) / (10 + self.updates)))

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the model's weights at the prepared rate."""
        steps = torch._foreach_sub(list(model.parameters()), self.means)
        torch._foreach_mul_(steps, self.rate)
        torch._foreach_add_(self.means, steps)


class Trainer:
    """A model in training, by :meth:`run`; what changes from step to step is on its device."""

    def __init__(
        self, model: UNet, objective: Objective, weighting: Weighting, cfg: TrainConfig,
        execution: Execution | None = None,
    ) -> None:  # fmt: skip
        self.execution = execution or Execution()
        self.model, self.objective, self.cfg = self.execution.place(model), objective, cfg
        device = next(model.parameters()).device
        self.weighting = weighting.to(device)
        objective.to(device)
        self.averaged = EMA(model, cfg.ema)
        self.ema = self.averaged.model  # in evaluation mode: what is sampled from and stored
        self.step = 0
        self.trained = [*model.parameters(), *objective.learned.parameters()]
        learned = [p for p in self.weighting.parameters() if p.requires_grad]
        decays = (self.trained, cfg.weight_decay), (learned, 0.0)
        exact = torch.float64 if device.type == "cpu" else torch.float32
        optimizer = torch.optim.AdamW(
            [{"params": group, "weight_decay": decay} for group, decay in decays if group],
            lr=torch.zeros((), dtype=exact, device=device),
            fused=True,
            capturable=device.type == "cuda",
        )
        self.optimizer = self.execution.attach(model, objective, self.weighting, optimizer, cfg)
        self.draws = torch.get_rng_state()  # see side_by_side

    def run(self, batches: Iterator[Batch]) -> Iterator[StepRecord]:
        """Train up to ``cfg.steps``, yielding a record for each step.

        Raises ``FloatingPointError`` before a loss or gradient that is not finite touches the
        weights; with ``read_every`` above 1 records, and the error, come in groups of that many.
        """
        self.model.train()
        unread: list[tuple[int, float, Tensor, Terms, Tensor]] = []  # still on the device
        while self.step < self.cfg.steps:
            lr = self.cfg.rate(self.step / self.cfg.steps)
            unread.append((self.step + 1, lr, *self.gradients(next(batches))))
            due = len(unread) == self.cfg.read_every or self.step + 1 == self.cfg.steps
            records = [self._read(*step) for step in unread] if due else []
            self.prepare(lr)
            self.apply()
            unread = [] if due else unread
            yield from records

    def gradients(self, batch: Batch) -> tuple[Tensor, Terms, Tensor]:
        """First half of a step: the clipped gradients; loss, terms and norm, not read back."""
        self.optimizer.zero_grad(set_to_none=True)
        loss, means = self.execution.backward(batch)
        return loss, means, self.execution.clip(self.trained)

    def prepare(self, lr: float, steps: int = 1) -> None:
        """Count steps, and set the numbers that they are made with."""
        for group in self.optimizer.param_groups:
            group["lr"].fill_(lr)
        self.averaged.prepare(steps)
        self.step += steps

    def apply(self) -> None:
        """Second half of a step: move the weights and their average."""
        self.optimizer.step()
        self.averaged.update(self.model)

    def _read(self, step: int, lr: float, loss: Tensor, terms: Terms, norm: Tensor) -> StepRecord:
        """The record of a step; ``FloatingPointError`` if its loss or gradient is not finite."""
        plain = {name: term.item() for name, term in terms.items()}
        record = StepRecord(step, loss.item(), plain, norm.item(), lr)
        if not self.execution.sound(record.loss, record.grad_norm):
            exact = self.cfg.read_every == 1
            left = f"are those of step {self.step}" if exact else "are lost: resume a checkpoint"
            raise FloatingPointError(
                f"step {step}: loss {record.loss}, gradient norm {record.grad_norm}, {plain}. The "
                f"weights {left}. Lower the rate (now {self.cfg.lr:g}), or check the images for NaN"
            )
        return record

    def _settings(self, stream: Source) -> dict[str, Any]:
        """Return what must agree for a saved run to be continued."""
        named = f"{type(self.weighting).__name__}{sorted(self.weighting.state_dict())}"
        options = {k: v for k, v in vars(self.weighting).items() if isinstance(v, (str, float))}
        drawn = ("batch_size", "label_dropout", "dropout_per", "flip", "seed", "images_sha")
        return {
            "training": {k: v for k, v in asdict(self.cfg).items() if k != "read_every"},
            "network": asdict(self.model.cfg),
            "objective": repr(self.objective),
            "weighting": f"{named} {options}",
            "stream": {k: getattr(stream, k) for k in drawn},
            **self.execution.settings(),
        }

    def _parts(self) -> dict[str, Any]:
        parts = {"model": self.model, "ema": self.ema, "weighting": self.weighting}
        return {**parts, "objective": self.objective.learned, "optimizer": self.optimizer}

    def state(self, stream: Source) -> dict[str, Any]:
        """Everything that :meth:`restore` needs, as plain data and tensors."""
        return {
            "settings": self._settings(stream),
            "step": self.step,
            "updates": self.averaged.updates,
            **{name: part.state_dict() for name, part in self._parts().items()},
            "stream_rng": stream.generator.get_state(),
            "random": self.execution.random_states(),
        }

    def restore(self, state: dict[str, Any], stream: Source, source: str) -> None:
        """Continue from a :meth:`state`; ``ValueError``, naming source, where settings differ."""
        for what, mine in self._settings(stream).items():
            if (saved := state["settings"].get(what)) != mine:
                if isinstance(mine, dict) and isinstance(saved, dict):  # then what differs in it
                    mine = {k: v for k, v in mine.items() if saved.get(k) != v}
                    saved = {k: saved.get(k) for k in mine}
                fault = f"{source} was made with other {what}: {saved}, here {mine}"
                raise ValueError(f"{fault}: give the same, or begin anew in another folder")
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.step, self.averaged.updates = state["step"], state["updates"]
        stream.generator.set_state(state["stream_rng"])
        self.execution.set_random_states(state["random"], state["step"])


def side_by_side(
    trainers: Mapping[str, Trainer], batches: Iterator[Batch]
) -> Iterator[dict[str, StepRecord]]:
    """Train several on the same batches, a step each in turn; the CPU's draws are as if alone."""
    copies = zip(trainers.items(), tee(batches, len(trainers)), strict=True)
    runs = {name: trainer.run(own) for (name, trainer), own in copies}
    draws = {name: trainer.draws for name, trainer in trainers.items()}
    while True:
        records = {}
        for name, run in runs.items():
            torch.set_rng_state(draws[name])
            if (record := next(run, None)) is None:
                return
            records[name], draws[name] = record, torch.get_rng_state()
        yield records
