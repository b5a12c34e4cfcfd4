"""``distill``: one function over a generator of step records, for networks of any kind."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from dashlib import losses
from dashlib.data import Batch
from dashlib.distillation.network import Conditioned, ConditionedBatch, Network, noisy_batches
from dashlib.distillation.probe import probe
from dashlib.distillation.report import Report, assess
from dashlib.execution import Execution, TrainConfig
from dashlib.guidance import Branches, branches
from dashlib.training import StepRecord, Trainer
from dashlib.weighting import Weighting, make_weighting


@dataclass(frozen=True)
class Distilled:
    """A trained student, as it was given, and what it kept of the teacher's guidance."""

    student: nn.Module
    report: Report


class _WithConditions(Execution):
    """The usual step; the objective sees the network together with its batch's conditions."""

    def attach(self, model: Any, *others: Any) -> Optimizer:
        return super().attach(cast(Any, Conditioned(model)), *others)

    def backward(self, batch: Batch) -> tuple[Tensor, losses.Terms]:
        self.model = replace(cast(Any, self.model), cond=cast(ConditionedBatch, batch).cond)
        return super().backward(batch)


def _answered(
    batches: Iterator[ConditionedBatch], teacher: Network, objective: losses.Objective, bf16: bool
) -> Iterator[ConditionedBatch]:
    """The same batches with the teacher's answers; where one is enough the other is nan."""
    for batch in batches:
        given, inputs = Conditioned(teacher, batch.cond), (batch.x_t, batch.t, batch.y)
        with torch.no_grad(), torch.autocast(batch.x_t.device.type, torch.bfloat16, enabled=bf16):
            if isinstance(objective, losses.CondOnly | losses.CondOnlyDropout):
                cond = given(*inputs)
                answers = Branches(cond, torch.full_like(cond, torch.nan))
            else:
                answers = branches(given, *inputs)
        yield replace(batch, teacher=answers)


def distilling(
    teacher: Network,
    student: nn.Module,
    data: Any,
    cfg: TrainConfig,
    *,
    objective: str | losses.Objective = "cond_only_dropout",
    weighting: str | Weighting = "high_noise",
    batch_size: int = 128,
    label_dropout: float = 0.1,
    seed: int = 0,
    pairs: int = 1024,
    allow: Collection[str] = (),
) -> Iterator[StepRecord]:
    """Probe, then train the student in place, yielding a record for each step.

    ``student`` is a module that is called as the teacher's is, or a :class:`Network`; it ends with
    averaged weights.  ``data`` is a pair ``(images, conditions)``, or yields such batches again and
    again; latents are images.  All is computed on the student's device, with ``cfg.bf16`` in
    bfloat16.  Losses and weightings are on the noise, whatever is predicted.

    The defaults are what led after equal passes of the student: label dropout on the teacher's
    conditional answer had the lowest FD on digits (4.9 under TAG; dash_sampled 5.7, dash 7.5) and
    CIFAR-10 (w = 1.5: 31.1 ± 0.3; 32.0 ± 0.3; 45.9 ± 2.0), and asks the teacher for one branch.
    ``dash_sampled`` keeps the better gap (digits: cos .79, not .67).  Weights that count high noise
    halved the FD of an eps student on CIFAR-10.

    Raises ``Refusal`` (see :func:`~dashlib.distillation.probe.probe` for ``pairs``, ``allow``),
    ``ValueError`` for an unknown name, ``FloatingPointError`` if a loss is not finite.
    """
    network = student if isinstance(student, Network) else teacher.around(student)
    rule = losses.make_objective(objective) if isinstance(objective, str) else objective
    if isinstance(rule, losses.SingleHeadMatch):
        raise ValueError("single_head needs a network with w as an input: use dashlib.unet.UNet")
    if isinstance(weighting, str):
        weighting = make_weighting(weighting, teacher.schedule)
    probe(teacher.eval(), network, data, pairs=pairs, seed=seed, allow=allow)
    generator = Generator(next(network.parameters()).device).manual_seed(seed)
    batches = noisy_batches(data, teacher.schedule, batch_size, generator, label_dropout)
    trainer = Trainer(cast(Any, network), rule, weighting, cfg, _WithConditions())

    def records() -> Iterator[StepRecord]:
        try:
            yield from trainer.run(_answered(batches, teacher, rule, cfg.bf16))
        finally:  # also of a training that its caller ends early
            network.load_state_dict(trainer.ema.state_dict())
            network.eval()

    return records()


def distill(
    teacher: Network,
    student: nn.Module,
    data: Any,
    cfg: TrainConfig,
    *,
    held_out: Any = None,
    pairs: int = 1024,
    device: torch.device | str | None = None,
    **options: Any,
) -> Distilled:
    """Train a student to answer, guided, as its teacher does, and report what it kept.

    Arguments and options are those of :func:`distilling`.  The report is on ``pairs`` of an image
    and its noise of ``held_out``, which is like ``data`` and by default that.
    """
    network = student if isinstance(student, Network) else teacher.around(student)
    network.to(device or next(network.parameters()).device)
    teacher.to(next(network.parameters()).device)
    for _ in distilling(teacher, network, data, cfg, pairs=pairs, **options):
        pass
    shown = data if held_out is None else held_out
    return Distilled(student, assess(network, teacher, shown, pairs=pairs))
