"""Training objectives behind one interface: per-sample loss terms, by name.

S is the student and T its teacher, and ``e_c = S_cond - T_cond``, ``e_u = S_uncond - T_uncond``
are the student's branch errors.  Norms are means over the C*H*W elements of an image.  Only
multi_w, dash and dash_sampled, and gap_match with further terms, leave no drift of (e_c, e_u) free.

Sources: DASH (arXiv 2606.00798); Meng et al. 2023 (guidance distillation).
"""

from dataclasses import dataclass, fields
from typing import Any, cast

import torch
from torch import Tensor, nn

from dashlib.checks import check_choice
from dashlib.data import Batch
from dashlib.guidance import Branches, Denoiser, ScaledDenoiser, branches

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
    """A loss: named per-sample terms, combined with ``coefficients``."""

    @property
    def coefficients(self) -> dict[str, float]:
        """Factor of each term in the total: the option of its name (1 if there is none)."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @property
    def learned(self) -> nn.Module:
        """Return what is trained beside the network: nothing here."""
        return nn.Module()

    def to(self, device: torch.device) -> None:
        """Move what the objective holds to the network's device, in place."""
        self.learned.to(device)

    def terms(self, model: Denoiser, batch: Batch) -> Terms:
        """Unscaled per-sample terms, each of shape ``(B,)``."""
        raise NotImplementedError

    def total(self, terms: Terms) -> Tensor:
        """Per-sample loss ``sum_k coefficient_k * term_k``, shape ``(B,)``."""
        factors = self.coefficients
        return torch.stack([factors.get(k, 1.0) * v for k, v in terms.items()]).sum(0)


@dataclass(frozen=True)
class Scratch(Objective):
    """Ordinary diffusion training with label dropout: ``|S(x_t, t, y~) - eps|^2``."""

    def terms(self, model: Denoiser, batch: Batch) -> Terms:
        """``denoising``."""
        return {"denoising": mse(model(batch.x_t, batch.t, batch.y_dropped), batch.eps)}


@dataclass(frozen=True)
class CondOnly(Objective):
    """Match one branch, ``|S_cond - T_cond|^2``; the null branch is never trained."""

    def terms(self, model: Denoiser, batch: Batch) -> Terms:
        """``imitation``."""
        return {"imitation": mse(model(batch.x_t, batch.t, batch.y), teacher_of(batch).cond)}


@dataclass(frozen=True)
class CondOnlyDropout(Objective):
    """``|S(x_t, t, y~) - T_cond|^2``; best for a null label: ``E[T_cond | x_t]``, so T_uncond."""

    def terms(self, model: Denoiser, batch: Batch) -> Terms:
        """``imitation``."""
        student = model(batch.x_t, batch.t, batch.y_dropped)
        return {"imitation": mse(student, teacher_of(batch).cond)}


@dataclass(frozen=True)
class Composite(Objective):
    """Match the guided output at one fixed scale: ``|S_w - T_w|^2``."""

    w: float = 4.0

    def terms(self, model: Denoiser, batch: Batch) -> Terms:
        """``composite``."""
        student, teacher = branches(model, batch.x_t, batch.t, batch.y), teacher_of(batch)
        return {"composite": mse(student.guided(self.w), teacher.guided(self.w))}


@dataclass(frozen=True)
class _RandomScale(Objective):
    """Base of objectives that draw a guidance scale for each image."""

    low: float = 1.0
    high: float = 4.0

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ValueError(f"w ~ U[{self.low}, {self.high}]: low must not exceed high")

    def draw(self, batch: Batch) -> Tensor:
        """``w ~ U[low, high]``, shape ``(B,)``, from the global generator of the batch's device."""
        return self.low + (self.high - self.low) * torch.rand(len(batch.t), device=batch.t.device)


@dataclass(frozen=True)
class MultiW(_RandomScale):
    """Match the guided output at random scales: ``|S_w - T_w|^2``, ``w ~ U[low, high]``."""

    def terms(self, model: Denoiser, batch: Batch) -> Terms:
        """``composite``."""
        teacher, w = teacher_of(batch), self.draw(batch)
        student = branches(model, batch.x_t, batch.t, batch.y)
        return {"composite": mse(student.guided(w), teacher.guided(w))}


@dataclass(frozen=True)
class SingleHeadMatch(_RandomScale):
    """Distil guidance, with w as an input: ``|S(x_t, t, y, w) - T_w|^2``, ``w ~ U[low, high]``."""

    def terms(self, model: Denoiser, batch: Batch) -> Terms:
        """``guided``."""
        teacher, w = teacher_of(batch), self.draw(batch)
        student = cast(ScaledDenoiser, model)(batch.x_t, batch.t, batch.y, w)
        return {"guided": mse(student, teacher.guided(w))}


@dataclass(frozen=True)
class GapMatch(Objective):
    """``gap |e_c - e_u|^2 + imitation |e_c|^2 + unconditional |e_u|^2``: any quadratic form.

    By default a common drift is free.  Terms with factor 0 are not computed.
    """

    gap: float = 1.0
    imitation: float = 0.0
    unconditional: float = 0.0

    def terms(self, model: Denoiser, batch: Batch) -> Terms:
        """``gap``, ``imitation`` and ``unconditional``."""
        student, teacher = branches(model, batch.x_t, batch.t, batch.y), teacher_of(batch)
        seen = {"gap": "gap", "imitation": "cond", "unconditional": "uncond"}
        kept = {term: part for term, part in seen.items() if getattr(self, term)}
        return {k: mse(getattr(student, of), getattr(teacher, of)) for k, of in kept.items()}


@dataclass(frozen=True)
class Dash(Objective):
    """``|S_cond - T_cond|^2 + |S_uncond - T_uncond|^2 + anchor |S_cond - eps|^2``, scaled."""

    imitation: float = 1.0
    unconditional: float = 1.0
    anchor: float = 0.1

    def terms(self, model: Denoiser, batch: Batch) -> Terms:
        """``imitation``, ``unconditional``, ``anchor``."""
        student, teacher = branches(model, batch.x_t, batch.t, batch.y), teacher_of(batch)
        return {
            "imitation": mse(student.cond, teacher.cond),
            "unconditional": mse(student.uncond, teacher.uncond),
            "anchor": mse(student.cond, batch.eps),
        }


@dataclass(frozen=True)
class DashSampled(Objective):
    """One branch an image, the null one by a coin: on average ``p |e_u|^2 + (1 - p) |e_c|^2``.

    ``mix``: the null branch's target is T_w at w = mix, from T_uncond (0) to T_cond (1), which is
    label dropout.  Half the passes of DASH.  Coins are of the batch's device's global generator.
    """

    p: float = 0.5
    mix: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.p <= 1 and 0 <= self.mix <= 1):
            raise ValueError(f"p={self.p}, mix={self.mix}: a probability and a share, in [0, 1]")

    def terms(self, model: Denoiser, batch: Batch) -> Terms:
        """``sampled``."""
        teacher = teacher_of(batch)
        null = torch.rand(len(batch.t), device=batch.t.device) < self.p
        student = model(batch.x_t, batch.t, torch.where(null, model.null_label, batch.y))
        target = torch.where(null[:, None, None, None], teacher.guided(self.mix), teacher.cond)
        return {"sampled": mse(student, target)}


OBJECTIVES: dict[str, type[Objective]] = {  # fitnets joins them in dashlib.baselines
    "scratch": Scratch,
    "cond_only": CondOnly,
    "cond_only_dropout": CondOnlyDropout,
    "composite": Composite,
    "multi_w": MultiW,
    "gap_match": GapMatch,
    "single_head": SingleHeadMatch,
    "dash": Dash,
    "dash_sampled": DashSampled,
}


def make_objective(name: str, **options: Any) -> Objective:
    """An objective by name, ``make_objective("composite", w=2)``; ``ValueError`` if unknown.

    ``fitnets`` needs networks: ``make_objective("fitnets", teacher=UNet, student=UNetConfig)``.
    """
    check_choice("unknown objective", name, OBJECTIVES)
    try:
        return OBJECTIVES[name](**options)
    except TypeError as error:
        known = [f.name for f in fields(OBJECTIVES[name]) if f.init]
        raise ValueError(f"objective {name!r} takes {known or 'no options'}: {error}") from error
