"""``distill``: one function over a generator of step records, for networks of any kind."""

import copy
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from dashlib import losses
from dashlib.baselines.fitnets import FitNets
from dashlib.data import Batch
from dashlib.distillation.network import Conditioned, ConditionedBatch, Network, noisy_batches
from dashlib.distillation.probe import probe
from dashlib.distillation.report import Report, assess
from dashlib.execution import Execution, TrainConfig
from dashlib.guidance import Branches, branches
from dashlib.training import StepRecord, Trainer
from dashlib.unet import UNet
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


class _Features(FitNets):
    """FitNets of two of dashlib's networks, whose labels are the batch's conditions."""

    def terms(self, model: Any, batch: Batch) -> losses.Terms:
        labelled = replace(batch, y=cast(ConditionedBatch, batch).cond)
        return super().terms(model.network.module, labelled)


def _chosen(
    objective: str | losses.Objective, teacher: Network, student: Network
) -> losses.Objective:
    """An objective, also by name; ``ValueError`` if unknown, or not one for these networks."""
    whole, small = teacher.module, student.module
    if objective == "fitnets":
        if isinstance(whole, UNet) and isinstance(small, UNet):
            return _Features(copy.deepcopy(whole), small.cfg)
        other = "take cond_only_dropout, or give an objective that reads your networks' features"
        raise ValueError(f"fitnets reads the features of two dashlib.unet.UNet: {other}")
    rule = losses.make_objective(objective) if isinstance(objective, str) else objective
    if isinstance(rule, losses.SingleHeadMatch) and not student.w_conditioned:
        need = "UNetConfig(w_conditioned=True), or a module(x_t, t, cond, w) with w_conditioned"
        raise ValueError(f"single_head needs a student that takes w: {need} = True")
    return rule


def _answered(
    batches: Iterator[ConditionedBatch], teacher: Network, objective: losses.Objective, bf16: bool
) -> Iterator[ConditionedBatch]:
    """The same batches with the teacher's answers; where one is enough the other is nan."""
    one_branch = isinstance(objective, losses.CondOnly | losses.CondOnlyDropout | FitNets)
    for batch in batches:
        given, inputs = Conditioned(teacher, batch.cond), (batch.x_t, batch.t, batch.y)
        with torch.no_grad(), torch.autocast(batch.x_t.device.type, torch.bfloat16, enabled=bf16):
            cond: Any = given(*inputs) if one_branch else None
            answers = Branches(cond, cond * torch.nan) if one_branch else branches(given, *inputs)
        yield replace(batch, teacher=answers)


@contextmanager
def _only(module: nn.Module, train: Mapping[str, Any]) -> Iterator[None]:
    """Let only these parts of the parameters move whose names begin so; ``ValueError`` if none."""
    named = {name: value for name, value in module.named_parameters() if value.requires_grad}
    wrong = [start for start in train if not any(name.startswith(start) for name in named)]
    if named and wrong:
        raise ValueError(f"train: no parameter begins with {wrong}: one of {', '.join(named)}")
    with ExitStack() as undone:
        for name, value in named.items():
            mask = torch.zeros_like(value)
            for part in (part for start, part in train.items() if name.startswith(start)):
                mask[part] = 1
            undone.callback(value.register_hook(mask.mul).remove)
            undone.callback(value.requires_grad_(bool(mask.any())).requires_grad_, True)
        yield


def distilling(
    teacher: Network, student: nn.Module, data: Any, cfg: TrainConfig, *,
    objective: str | losses.Objective = "cond_only_dropout",
    weighting: str | Weighting = "high_noise", batch_size: int = 128, label_dropout: float = 0.1,
    train: Mapping[str, Any] | None = None, seed: int = 0, pairs: int = 1024,
    allow: Collection[str] = (),
) -> Iterator[StepRecord]:  # fmt: skip
    """Probe, then train the student in place, yielding a record for each step.

    ``student`` is a module that is called as the teacher's is, or a :class:`Network`; it ends with
    averaged weights.  ``data`` is a pair ``(images, conditions)``, or yields such batches again and
    again; latents are images.  All is on the student's device, with ``cfg.bf16`` in bfloat16.
    Losses and weightings are on the noise, whatever is predicted.

    The defaults led after equal passes of the student: label dropout on the teacher's conditional
    answer asks it for one branch and had the lowest FD on digits (5.0 under TAG; dash_sampled 5.5,
    dash 7.2) and CIFAR-10 (w = 1.5: 31.1 ± 0.3; 32.0 ± 0.3; 45.9 ± 2.0); ``dash_sampled`` keeps the
    better gap (digits: cos .79, not .67).  High-noise weights halved an eps student's CIFAR-10 FD.

    ``train`` lets a part of the student move, without weight decay: beginnings of parameters' names
    and what of each.  ``{"class_embed.weight": 10}`` is a null row (``DashSampled(p=1)`` trains its
    branch alone), ``{"class_embed": ..., "temb": ...}`` are two whole modules.

    Raises ``Refusal`` (see :func:`~dashlib.distillation.probe.probe` for ``pairs``, ``allow``),
    ``ValueError`` for an unknown name, ``FloatingPointError`` if a loss is not finite.
    """
    network = student if isinstance(student, Network) else teacher.around(student)
    rule = _chosen(objective, teacher, network)
    if isinstance(weighting, str):
        weighting = make_weighting(weighting, teacher.schedule)
    train, cfg = ({"": ...}, cfg) if train is None else (train, replace(cfg, weight_decay=0.0))
    with _only(network.module, train):
        probe(teacher.eval(), network, data, pairs=pairs, seed=seed, allow=allow)
    generator = Generator(next(network.parameters()).device).manual_seed(seed)
    batches = noisy_batches(data, teacher.schedule, batch_size, generator, label_dropout)
    trainer = Trainer(cast(Any, network), rule, weighting, cfg, _WithConditions())

    def records() -> Iterator[StepRecord]:
        try:
            with _only(network.module, train):
                yield from trainer.run(_answered(batches, teacher, rule, cfg.bf16))
        finally:  # also of a training that its caller ends early
            network.load_state_dict(trainer.ema.state_dict())
            network.eval()

    return records()


def distill(
    teacher: Network, student: nn.Module, data: Any, cfg: TrainConfig, *, held_out: Any = None,
    pairs: int = 1024, device: torch.device | str | None = None, **options: Any,
) -> Distilled:  # fmt: skip
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
