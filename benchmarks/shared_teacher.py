"""The teacher's answers computed once for all students of a seed, or again for each of them."""

from collections.abc import Iterator
from itertools import islice

from timing import hardware, report

from dashlib.data import Batch, Stream, with_teacher
from dashlib.datasets import load_dataset
from dashlib.losses import make_objective
from dashlib.schedule import Schedule
from dashlib.training import TrainConfig, Trainer
from dashlib.unet import STUDENT_DIGITS, TEACHER_DIGITS, UNet
from dashlib.weighting import make_weighting

STEPS = 5
STUDENTS = ("cond_only", "cond_only_dropout", "composite", "dash")


def train(objective: str, batches: Iterator[Batch]) -> None:
    """A student's first steps."""
    config, weighting = TrainConfig(steps=STEPS), make_weighting("uniform", Schedule())
    trainer = Trainer(UNet(STUDENT_DIGITS), make_objective(objective), weighting, config)
    for _ in trainer.run(batches):
        pass


def annotated(teacher: UNet) -> list[Batch]:
    """The batches of seed 0 with the teacher's answers."""
    stream = Stream(load_dataset("digits").train, Schedule(), teacher.null_label)
    return list(islice(with_teacher(stream, teacher), STEPS))


def each(teacher: UNet) -> None:
    """Ask the teacher again for every student."""
    for objective in STUDENTS:
        train(objective, iter(annotated(teacher)))


def shared(teacher: UNet) -> None:
    """Ask the teacher once."""
    batches = annotated(teacher)
    for objective in STUDENTS:
        train(objective, iter(batches))


def main() -> None:
    """Four students of one seed."""
    hardware()
    teacher = UNet(TEACHER_DIGITS).eval().requires_grad_(False)
    title = f"{len(STUDENTS)} digits students, {STEPS} steps of 128"
    functions = {"again for each": lambda: each(teacher), "shared": lambda: shared(teacher)}
    report(title, functions, repeats=3)


if __name__ == "__main__":
    main()
