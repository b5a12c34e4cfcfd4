"""Presets: the experiments of the paper by name, each number with its source.

A preset says what a teacher and its student are, how both are trained and how they are sampled
from.  The paper's README and the authors' released configurations disagree, so CIFAR-10 and
CIFAR-100 come as ``paper_v2`` and as ``released``; ``digits`` is the scale that this book runs on
any CPU.  Sources in :attr:`Preset.notes`:

``[R]`` the authors' README (v2), ``[C]`` their released configurations and code, ``[D]`` derived
from those, ``[ours]`` our choice, where no source says.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from dashlib.guidance import TAG, GuidanceSchedule
from dashlib.recipes import DIGITS, Scale
from dashlib.sampling import Clamp, Spacing
from dashlib.training import TrainConfig
from dashlib.unet import (
    STUDENT_CIFAR10,
    STUDENT_CIFAR100,
    STUDENT_IMAGENET64,
    TEACHER_CIFAR10,
    TEACHER_CIFAR100,
    TEACHER_IMAGENET64,
    UNetConfig,
)

SOURCES = ("[R]", "[C]", "[D]", "[ours]")


@dataclass(frozen=True)
class Role:
    """A network and how it is trained: the teacher's part of a preset, or the student's."""

    unet: UNetConfig
    train: TrainConfig
    batch: int  # images a step, over all processes
    objective: str  # of dashlib.losses
    weighting: str  # of dashlib.weighting, or "transfer": the teacher's, frozen
    label_dropout: float = 0.1  # for objectives that read dropped labels; the others ignore it
    dropout_per: Literal["sample", "batch"] = "sample"


@dataclass(frozen=True)
class Sampling:
    """How a preset's models are sampled from: DDIM, eta = 0."""

    steps: int = 50
    spacing: Spacing = "linspace"
    clamp: Clamp = "recompute"
    guidance: GuidanceSchedule = field(default_factory=TAG)


@dataclass(frozen=True)
class Preset:
    """A teacher, its student, their data and their sampler.

    ``notes`` gives the source of every setting, by the setting's name.
    """

    name: str
    dataset: str  # of dashlib.data
    teacher: Role
    student: Role
    notes: dict[str, str]
    flip: bool = True  # random left-right flips
    split: float = 1.0  # part of the training images that is trained on
    sampling: Sampling = field(default_factory=Sampling)


RELEASED_SAMPLING = Sampling(spacing="leading", clamp="clamp")

_PRECISION = {
    "precision": "[ours] `--precision auto`: forward passes in bf16 on a GPU that computes in it, "
    "else in fp32; weights, averages and sums stay fp32",
}
_CIFAR_NOTES = _PRECISION | {
    "unet": "[C] names and shapes of the released checkpoints",
    "teacher.batch, lr, lr_min, ema, weight_decay, clip": "[R], and the same in [C]",
    "student.batch, lr_min, clip": "[ours] the teacher's: only the values that differ are listed",
    "objective": "[R] teacher from scratch, student by DASH",
    "teacher.label_dropout": "[C] probability 0.1",
    "flip": "[ours] not stated; usual on CIFAR",
    "sampling.steps, guidance": "[R] 50-step DDIM, TAG(1, 4, 5); the release always guides by TAG",
}
_PAPER_NOTES = {
    "teacher.steps": "[R] 391K = 500 epochs of 782 steps [D]",
    "student.lr, ema, steps": "[R] 1e-4, 0.9990, 234K (~300 epochs)",
    "student.weight_decay": "[ours] the teacher's 0.01; the README gives none for the student",
    "weighting": "[R] TIRT normalised by the mean over all timesteps; transferred to the student",
    "student.label_dropout": "[R] none for DASH, which takes both branches of every image; 0.1 is "
    "what scratch and cond_only_dropout use [R]",
    "dropout_per": "[ours] one coin a sample; the release tosses one a batch",
    "split": "[D] all 50,000 images: 782 steps of 64 an epoch",
    "sampling.spacing, clamp": "[ours] from T - 1, noise recomputed from the clamped image: the "
    "text does not say; the release's rules are in `released`",
}
_RELEASED_NOTES = {
    "teacher.steps": "[D] 500 epochs of 704 steps (the README's 391K would be 555 of them)",
    "student.lr, ema, weight_decay": "[C] 2e-4, 0.9995, 0.001",
    "student.steps": "[D] 270 epochs [C] of 704 steps",
    "weighting": "[C] TIRT normalised by the mean over the batch; transferred to the student",
    "student.label_dropout": "[C] 0.1, bypassed by a flag: DASH takes both branches anyway; used "
    "here by scratch and cond_only_dropout only",
    "dropout_per": "[C] one coin a batch",
    "split": "[C] 90/10: 704 steps of 64 an epoch; which images is not stated [ours]: seed 0",
    "sampling.spacing, clamp": "[C] 0, 20, ..., 980; image clamped, noise not recomputed",
}
_IMAGENET_NOTES = _PRECISION | {
    "unet": "[ours] 116,451,203 and 22,336,579 parameters, 5.21 to 1; [R] gives only 116.5M, "
    "22.3M, 5.2x",
    "batch": "[R] 2048 over all processes",
    "lr": "[R] cosine from 2e-4; for teacher and student alike [ours]",
    "steps": "[D] 81,324 = 130 epochs [R] x 1,281,167 images / 2048; for both [ours]",
    "lr_min, ema, weight_decay, clip": "[ours] as on CIFAR, paper_v2",
    "objective": "[R] teacher from scratch, student by DASH",
    "weighting": "[R] TIRT and its transfer, as on CIFAR",
    "label_dropout, dropout_per": "[ours] as on CIFAR, paper_v2",
    "flip, split": "[ours] flips, all training images",
    "sampling": "[ours] as on CIFAR, paper_v2: 50 steps, TAG(1, 4, 5)",
}
_BOOK_NOTES = _PRECISION | {
    "unet, train, batch": "[ours] dashlib.recipes: what the stored runs were made with",
    "objective, weighting": "[R] TIRT teacher, DASH student under TIRT Transfer",
    "label_dropout, dropout_per": "[ours] 0.1, one coin a sample",
    "flip, split": "[ours] dashlib.recipes; all training images",
    "sampling": "[ours] 50 steps from T - 1, noise recomputed; TAG is the paper's [R]",
}

_TEACHER = TrainConfig(steps=391_000, lr=2e-4, ema=0.9999)


def _paper_v2(name: str, teacher: UNetConfig, student: UNetConfig) -> Preset:
    return Preset(
        f"{name}/paper_v2",
        name,
        Role(teacher, _TEACHER, 64, "scratch", "tirt"),
        Role(
            student, TrainConfig(steps=234_000, lr=1e-4, ema=0.9990), 64, "dash", "transfer"
        ),
        _CIFAR_NOTES | _PAPER_NOTES,
    )  # fmt: skip


def _released(name: str, teacher: UNetConfig, student: UNetConfig) -> Preset:
    epoch = 704  # steps
    distilling = TrainConfig(steps=270 * epoch, lr=2e-4, ema=0.9995, weight_decay=0.001)
    teaching = replace(_TEACHER, steps=500 * epoch)
    return Preset(
        f"{name}/released",
        name,
        Role(teacher, teaching, 64, "scratch", "tirt_batch", dropout_per="batch"),
        Role(student, distilling, 64, "dash", "transfer", dropout_per="batch"),
        _CIFAR_NOTES | _RELEASED_NOTES,
        split=0.9,
        sampling=RELEASED_SAMPLING,
    )


def _imagenet64() -> Preset:
    steps = round(130 * 1_281_167 / 2048)
    return Preset(
        "imagenet64/paper_v2",
        "imagenet64",
        Role(TEACHER_IMAGENET64, replace(_TEACHER, steps=steps), 2048, "scratch", "tirt"),
        Role(
            STUDENT_IMAGENET64,
            TrainConfig(steps=steps, lr=2e-4, ema=0.9990),
            2048,
            "dash",
            "transfer",
        ),
        _IMAGENET_NOTES,
    )


def _of_the_book(scale: Scale) -> Preset:
    return Preset(
        scale.name,
        scale.name,
        Role(scale.teacher, scale.teacher_training, scale.teacher_batch, "scratch", "tirt"),
        Role(scale.student, scale.student_training, scale.student_batch, "dash", "transfer"),
        _BOOK_NOTES,
        flip=scale.flip,
    )


_CIFAR = {
    "cifar10": (TEACHER_CIFAR10, STUDENT_CIFAR10),
    "cifar100": (TEACHER_CIFAR100, STUDENT_CIFAR100),
}
PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        *(make(name, *pair) for name, pair in _CIFAR.items() for make in (_paper_v2, _released)),
        _imagenet64(),
        _of_the_book(DIGITS),
    )
}


def preset(name: str) -> Preset:
    """A preset by name; ``ValueError`` that lists the names for an unknown one."""
    if name in PRESETS:
        return PRESETS[name]
    alike = [known for known in PRESETS if known.startswith(f"{name.split('/')[0]}/")]
    hint = f"did you mean {' or '.join(alike)}?" if alike else f"one of {', '.join(PRESETS)}"
    if name == "imagenet64/released":
        hint = "no configuration for ImageNet-64 was released: use imagenet64/paper_v2"
    if name.startswith("digits/"):
        hint += (
            f"; a row of the digits table is trained by `python -m dashlib make {name} --seed 0`"
        )
    raise ValueError(f"unknown preset {name!r}: {hint}")
