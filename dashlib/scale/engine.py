r"""Training by one process or many (Hugging Face Accelerate), with the same result.

Every process draws the same global batch from the same seeded generator and computes its parts of
it: W processes with A pieces a step (gradient accumulation) make n = W A parts.  All weightings are
affine in the per-sample losses l given all timesteps t, :math:`L(l) = a \cdot l + c`, so the part
with losses :math:`l_j` (zero elsewhere) contributes

.. math:: L_j = L(l_j) - (1 - 1/n)\,L(0), \qquad \sum_j L_j = L(l).

What differs between processes is drawn from the global generators, seeded by rank: the network's
dropout, and the scales of objectives that draw w.

Sources: Li et al. 2020 (PyTorch DDP); Micikevicius et al. 2018 (loss scaling for fp16).
"""

import math
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object, set_seed
from torch import Tensor, nn
from torch.optim import Optimizer

from dashlib.checkpoints import pack, sha256
from dashlib.data import Batch, with_teacher
from dashlib.execution import Execution, TrainConfig
from dashlib.losses import Objective, Terms
from dashlib.scale.distributed import Precision
from dashlib.unet import UNet
from dashlib.weighting import Weighting

OVERFLOWS = 50  # fp16 steps in a row whose gradient overflows before training is given up


@dataclass(frozen=True)
class Numerics:
    """Compute the same step in other ways, but for rounding and inductor's own dropout masks."""

    precision: Precision = "fp32"  # bf16 and fp16 autocast the forward passes
    compile: bool = False  # torch.compile the networks
    backend: str = "inductor"  # of torch.compile
    channels_last: bool = False  # weights and images with the channels innermost
    accumulate: int = 1  # pieces, 1 or more, that each process computes its share of a batch in


@dataclass(frozen=True)
class Share:
    """Samples ``index``, ``index + count``, ... of a global batch."""

    index: int
    count: int

    def of(self, batch: Batch) -> Batch:
        """The part of a batch without a teacher; ``ValueError`` unless all parts are alike."""
        if len(batch.t) % self.count:
            fault = f"a batch of {len(batch.t)} images cannot be divided evenly into {self.count}"
            raise ValueError(f"{fault} parts (processes x pieces): choose a multiple for --batch")
        own, whole = slice(self.index, None, self.count), vars(batch)
        part: Any = {name: x[own] for name, x in whole.items() if isinstance(x, Tensor)}
        return replace(batch, **part)

    def loss(self, weighting: Weighting, losses: Tensor, t: Tensor) -> Tensor:
        """``L(l_j) - (1 - 1/n) L(0)``: losses ``(B/n,)`` of a part, t ``(B,)`` of the batch."""
        zeros = losses.new_zeros(len(t))
        own = torch.arange(self.index, len(t), self.count, device=t.device)
        padded = zeros.index_put((own,), losses)
        return weighting.reduce(padded, t) - (1 - 1 / self.count) * weighting.reduce(zeros, t)


class _SharedLoss(nn.Module):
    """A part's share of the loss, and all that learns: the module whose gradients are averaged."""

    def __init__(self, network: UNet, objective: Objective, weighting: Weighting) -> None:
        super().__init__()
        self.network, self.weighting, self.learned = network, weighting, objective.learned
        self.objective = objective

    def forward(self, batch: Batch, t: Tensor, share: Share) -> tuple[Tensor, Terms]:
        """The share, and the mean of each term over the part."""
        terms = self.objective.terms(self.network, batch)
        losses = self.objective.total(terms).float()
        means = {name: term.detach().float().mean() for name, term in terms.items()}
        return share.loss(self.weighting, losses, t), means


class Parallel(Execution):
    """Steps by all processes, alike in each; ``teacher``: asked for this process's part only."""

    def __init__(
        self, accelerator: Accelerator, numerics: Numerics = Numerics(), teacher: UNet | None = None
    ) -> None:
        self.accelerator, self.numerics = accelerator, numerics
        self.teacher, self.teacher_sha, self.overflows = None, "", 0  # in a row
        if teacher is not None:
            self.teacher_sha = sha256(pack(teacher.state_dict()))
            self.teacher = self.place(teacher.eval().requires_grad_(False))
            self._compile(self.teacher)

    def place(self, model: UNet) -> UNet:
        """The network on this process's device, channels innermost if asked."""
        layout = torch.channels_last if self.numerics.channels_last else torch.preserve_format
        return model.to(device=self.accelerator.device).to(memory_format=layout)

    def _compile(self, model: UNet) -> None:
        if self.numerics.compile:
            model.compile(backend=self.numerics.backend, dynamic=False)

    def attach(
        self, model: UNet, objective: Objective, weighting: Weighting, optimizer: Optimizer,
        cfg: TrainConfig,
    ) -> Optimizer:  # fmt: skip
        """Join what learns with the other processes."""
        super().attach(model, objective, weighting, optimizer, cfg)
        self._compile(model)
        self.net = self.accelerator.prepare_model(_SharedLoss(model, objective, weighting))
        return self.accelerator.prepare_optimizer(optimizer)

    def _part(self, share: Share, batch: Batch) -> Batch:
        own = share.of(batch)
        if self.teacher is None:
            return own
        with self.accelerator.autocast():
            return next(with_teacher(iter([own]), self.teacher))

    def backward(self, batch: Batch) -> tuple[Tensor, Terms]:
        """Gradients of the global batch's loss, averaged over processes; the loss and its terms."""
        place, pieces, sums = self.accelerator, self.numerics.accumulate, list[Tensor]()
        parts = place.num_processes * pieces
        for piece in range(pieces):
            share = Share(place.process_index + place.num_processes * piece, parts)
            own = self._part(share, batch)
            with nullcontext() if piece == pieces - 1 else place.no_sync(self.net):
                loss, terms = self.net(own, batch.t, share)
                place.backward(loss * place.num_processes)  # undoes the averaging
            sums.append(torch.stack([loss.detach(), *(m / parts for m in terms.values())]))
        loss, *means = place.reduce(torch.stack(sums).sum(0), reduction="sum").unbind()
        return loss, dict(zip(terms, means, strict=True))

    def clip(self, trained: Sequence[Tensor]) -> Tensor:
        """Clip the gradients; their norm before."""
        return self.accelerator.clip_grad_norm_(trained, self.cfg.clip)

    def sound(self, loss: float, norm: float) -> bool:
        """Under fp16 a gradient may overflow: that step is skipped and the loss scale halved."""
        if self.numerics.precision != "fp16" or not math.isfinite(loss):
            return super().sound(loss, norm)
        self.overflows = 0 if math.isfinite(norm) else self.overflows + 1
        return self.overflows < OVERFLOWS

    def settings(self) -> dict[str, Any]:
        """The teacher must agree."""
        return {"teacher (SHA-256)": self.teacher_sha}

    def random_states(self) -> dict[str, Any]:
        """The global generators of every process (all must call), and the loss scale of fp16."""
        scaler = self.accelerator.scaler
        scale = None if scaler is None else scaler.state_dict()
        return {"processes": gather_object([super().random_states()]), "scaler": scale}

    def set_random_states(self, states: dict[str, Any], step: int) -> None:
        """Go on with the generators; with another number of processes they are seeded anew."""
        place, processes = self.accelerator, states["processes"]
        if len(processes) == place.num_processes:
            super().set_random_states(processes[place.process_index], step)
        else:
            set_seed(step, device_specific=True)
            what = f"saved by {len(processes)} process(es), resumed by {place.num_processes}"
            warnings.warn(f"{what}: dropout masks are drawn anew, batches go on", stacklevel=2)
        if place.scaler is not None and states["scaler"]:
            place.scaler.load_state_dict(states["scaler"])
