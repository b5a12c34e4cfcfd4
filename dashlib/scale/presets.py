"""Presets: the experiments of the paper by name, each number with its source.

The paper's README and the authors' released configurations disagree, so CIFAR-10 and CIFAR-100
come as ``paper_v2`` and as ``released``; ``digits`` is the scale that this book runs on any CPU.
Sources: ``[R]`` the authors' README (v2), ``[C]`` their released configurations and code, ``[D]``
derived from those, ``[ours]`` our choice, where no source says.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from dashlib import unet
from dashlib.checks import check_choice
from dashlib.execution import TrainConfig
from dashlib.guidance import TAG, GuidanceSchedule
from dashlib.recipes import DIGITS, Recipe
from dashlib.sampling import Clamp, Spacing


@dataclass(frozen=True)
class Sampling:
    """Settings of sampling from a preset's models: DDIM, eta = 0."""

    steps: int = 50
    spacing: Spacing = "linspace"
    clamp: Clamp = "recompute"
    guidance: GuidanceSchedule = field(default_factory=TAG)


@dataclass(frozen=True)
class Preset:
    """A teacher, its student and their sampler; ``notes``: each setting's source, by its name."""

    name: str
    teacher: Recipe
    student: Recipe
    notes: dict[str, str]
    sampling: Sampling = field(default_factory=Sampling)

    @property
    def dataset(self) -> str:
        """The images of both."""
        return self.teacher.dataset


_SHARED_NOTES = {
    "precision": "[ours] bf16 forward on a GPU that computes in it, all else fp32",
    "objective": "[R] teacher from scratch, student by DASH",
}
_CIFAR_NOTES = _SHARED_NOTES | {
    "unet": "[C] names and shapes of the released checkpoints",
    "teacher.batch_size, lr, lr_min, ema, weight_decay, clip": "[R], and the same in [C]",
    "student.batch_size, lr_min, clip": "[ours] the teacher's: only values that differ are listed",
    "teacher.label_dropout": "[C] probability 0.1",
    "flip": "[ours] not stated; usual on CIFAR",
    "sampling.steps, guidance": "[R] 50-step DDIM, TAG(1, 4, 5); the release always guides by TAG",
}
_PAPER_NOTES = {
    "teacher.steps": "[R] 391K = 500 epochs of 782 steps [D]",
    "student.lr, ema, steps": "[R] 1e-4, 0.9990, 234K (~300 epochs)",
    "student.weight_decay": "[ours] the teacher's 0.01; the README gives none for the student",
    "weighting": "[R] TIRT normalised by the mean over all timesteps; transferred to the student",
    "student.label_dropout": "[R] none for DASH; 0.1 is what scratch and cond_only_dropout use",
    "dropout_per": "[ours] one coin a sample; the release tosses one a batch",
    "split": "[D] all 50,000 images: 782 steps of 64 an epoch",
    "sampling.spacing, clamp": "[ours] from T - 1, noise recomputed: the text does not say",
}
_RELEASED_NOTES = {
    "teacher.steps": "[D] 500 epochs of 704 steps (the README's 391K would be 555 of them)",
    "student.lr, ema, weight_decay": "[C] 2e-4, 0.9995, 0.001",
    "student.steps": "[D] 270 epochs [C] of 704 steps",
    "weighting": "[C] TIRT normalised by the mean over the batch; transferred to the student",
    "student.label_dropout": "[C] 0.1, bypassed by a flag: DASH takes both branches anyway",
    "dropout_per": "[C] one coin a batch",
    "split": "[C] 90/10: 704 steps of 64 an epoch; which images is not stated [ours]: seed 0",
    "sampling.spacing, clamp": "[C] 0, 20, ..., 980; image clamped, noise not recomputed",
}
_IMAGENET_NOTES = _SHARED_NOTES | {
    "unet": "[ours] 116,451,203 and 22,336,579 parameters; [R] gives only 116.5M, 22.3M, 5.2x",
    "batch_size": "[R] 2048 over all processes",
    "lr": "[R] cosine from 2e-4; for teacher and student alike [ours]",
    "steps": "[D] 81,324 = 130 epochs [R] x 1,281,167 images / 2048; for both [ours]",
    "weighting": "[R] TIRT and its transfer, as on CIFAR",
    "lr_min, ema, weight_decay, clip, label_dropout, dropout_per": "[ours] as on CIFAR, paper_v2",
    "flip, split, sampling": "[ours] as there: flips, all training images; 50 steps, TAG(1, 4, 5)",
}
_BOOK_NOTES = _SHARED_NOTES | {
    "unet, train, batch_size": "[ours] dashlib.recipes: what the stored runs were made with",
    "weighting": "[R] TIRT teacher, DASH student under TIRT Transfer",
    "label_dropout, dropout_per, flip, split": "[ours] 0.1, a coin a sample; no flips; all images",
    "sampling": "[ours] 50 steps from T - 1, noise recomputed; TAG is the paper's [R]",
}

_TEACHING = TrainConfig(steps=391_000, lr=2e-4, ema=0.9999)
_LEARNING = TrainConfig(steps=234_000, lr=1e-4, ema=0.9990)


def _paper(dataset: str, teacher: unet.UNetConfig, student: unet.UNetConfig) -> Preset:
    name = f"{dataset}/paper_v2"
    both: Any = {"batch_size": 64, "flip": True}
    teaching = Recipe(f"{name}/teacher", teacher, _TEACHING, weighting="tirt", **both)
    learning = Recipe(f"{name}/student", student, _LEARNING, "dash", "transfer", **both)
    return Preset(name, teaching, learning, _CIFAR_NOTES | _PAPER_NOTES)


def _released(paper: Preset) -> Preset:
    name, epoch = f"{paper.dataset}/released", 704  # steps
    teaching = replace(_TEACHING, steps=500 * epoch)
    learning = replace(_LEARNING, steps=270 * epoch, lr=2e-4, ema=0.9995, weight_decay=0.001)
    both: Any = {"dropout_per": "batch", "split": 0.9}
    teacher = replace(paper.teacher, train=teaching, weighting="tirt_batch", **both)
    student = replace(paper.student, train=learning, normalize="batch", **both)
    sampling = Sampling(spacing="leading", clamp="clamp")
    return Preset(name, teacher, student, _CIFAR_NOTES | _RELEASED_NOTES, sampling)


def _imagenet64() -> Preset:
    paper = _paper("imagenet64", unet.TEACHER_IMAGENET64, unet.STUDENT_IMAGENET64)
    batch, steps = 2048, round(130 * 1_281_167 / 2048)
    teaching, learning = (replace(of, steps=steps, lr=2e-4) for of in (_TEACHING, _LEARNING))
    teacher = replace(paper.teacher, train=teaching, batch_size=batch)
    student = replace(paper.student, train=learning, batch_size=batch)
    return Preset(paper.name, teacher, student, _IMAGENET_NOTES)


_CIFAR10 = _paper("cifar10", unet.TEACHER_CIFAR10, unet.STUDENT_CIFAR10)
_CIFAR100 = _paper("cifar100", unet.TEACHER_CIFAR100, unet.STUDENT_CIFAR100)
_CIFAR = (_CIFAR10, _released(_CIFAR10), _CIFAR100, _released(_CIFAR100))
_BOOK = Preset("digits", DIGITS.learner, DIGITS.of("dash", "transfer"), _BOOK_NOTES)
PRESETS = {made.name: made for made in (*_CIFAR, _imagenet64(), _BOOK)}


def preset(name: str) -> Preset:
    """A preset by name; ``ValueError`` that lists the names for an unknown one."""
    check_choice("unknown preset", name, PRESETS)
    return PRESETS[name]
