r"""Training objectives behind one interface: per-sample loss terms, by name.

With the student's branch errors :math:`e_c = S_{cond} - T_{cond}`, :math:`e_u = S_{uncond} -
T_{uncond}`, the objectives that match a teacher ask for

=================== ======================================== ==================================
``cond_only``       :math:`|e_c|^2`                          leaves :math:`e_u` free
``composite``       :math:`|w e_c + (1 - w) e_u|^2`          leaves a line free
``dash``            :math:`|e_c|^2 + |e_u|^2 + 0.1\,anchor`  leaves nothing free
=================== ======================================== ==================================

Norms are means over the C*H*W elements of an image.  Source: DASH (arXiv 2606.00798).
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from dashlib.data import Batch
from dashlib.guidance import Branches, Denoiser, branches

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

    def terms(self, model: Denoiser, batch: Batch) -> Terms:
        """Unscaled per-sample terms, each of shape ``(B,)``."""
        raise NotImplementedError

    def total(self, terms: Terms) -> Tensor:
        """Per-sample loss ``sum_k coefficient_k * term_k``, shape ``(B,)``."""
        scaled = [self.coefficients.get(k, 1.0) * v for k, v in terms.items()]
        return torch.stack(scaled).sum(0)


@dataclass(frozen=True)
class Scratch(Objective):
    """Ordinary diffusion training with label dropout: ``|S(x_t, t, y~) - eps|^2``."""

    needs_teacher = False

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
    """Match ``T_cond`` with the student's label dropped at times: ``|S(x_t, t, y~) - T_cond|^2``.

    Where the label is dropped, the best answer is the mean of T_cond over the labels that could
    have been there, ``E[T_cond | x_t] = T_uncond`` for an exact teacher (tower property).
    """

    def terms(self, model: Denoiser, batch: Batch) -> Terms:
        """``imitation``."""
        return {
            "imitation": mse(model(batch.x_t, batch.t, batch.y_dropped), teacher_of(batch).cond)
        }


@dataclass(frozen=True)
class Composite(Objective):
    """Match the guided output at one fixed scale: ``|S_w - T_w|^2``."""

    w: float = 4.0

    def terms(self, model: Denoiser, batch: Batch) -> Terms:
        """``composite``."""
        student = branches(model, batch.x_t, batch.t, batch.y)
        return {"composite": mse(student.guided(self.w), teacher_of(batch).guided(self.w))}


@dataclass(frozen=True)
class Dash(Objective):
    """``imitation + unconditional + 0.1 anchor``: each branch is matched, and the noise anchored.

    ``|S_cond - T_cond|^2 + |S_uncond - T_uncond|^2 + anchor |S_cond - eps|^2``
    """

    imitation: float = 1.0
    unconditional: float = 1.0
    anchor: float = 0.1

    @property
    def coefficients(self) -> dict[str, float]:
        """The three factors."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def terms(self, model: Denoiser, batch: Batch) -> Terms:
        """``imitation``, ``unconditional``, ``anchor``."""
        student, teacher = branches(model, batch.x_t, batch.t, batch.y), teacher_of(batch)
        return {
            "imitation": mse(student.cond, teacher.cond),
            "unconditional": mse(student.uncond, teacher.uncond),
            "anchor": mse(student.cond, batch.eps),
        }


OBJECTIVES: dict[str, type[Objective]] = {
    "scratch": Scratch,
    "cond_only": CondOnly,
    "cond_only_dropout": CondOnlyDropout,
    "composite": Composite,
    "dash": Dash,
}


def make_objective(name: str, **options: float) -> Objective:
    """An objective by name, ``make_objective("composite", w=2)``; ``ValueError`` if unknown."""
    if name not in OBJECTIVES:
        raise ValueError(f"unknown objective {name!r}: one of {', '.join(OBJECTIVES)}")
    try:
        return OBJECTIVES[name](**options)
    except TypeError as error:
        known = [f.name for f in fields(OBJECTIVES[name])]
        raise ValueError(f"objective {name!r} takes {known or 'no options'}: {error}") from error
