"""A training step with the forward pass in bfloat16 (autocast) and in float32."""

from collections.abc import Callable
from itertools import repeat

import torch
from timing import hardware, report

from dashlib.data import Images, Stream
from dashlib.losses import make_objective
from dashlib.schedule import Schedule
from dashlib.training import TrainConfig, Trainer
from dashlib.unet import STUDENT_CIFAR10, STUDENT_DIGITS, TEACHER_DIGITS, UNet, UNetConfig
from dashlib.weighting import make_weighting


def step_of(cfg: UNetConfig, n: int, *, bf16: bool) -> Callable[[], object]:
    """One training step from scratch on random images."""
    x = torch.rand(n, cfg.image_channels, cfg.image_size, cfg.image_size) * 2 - 1
    stream = Stream(Images(x, torch.arange(n) % 10), Schedule(), cfg.null_label, n)
    weighting = make_weighting("uniform", Schedule())
    config = TrainConfig(steps=10_000, bf16=bf16)
    trainer = Trainer(UNet(cfg), make_objective("scratch"), weighting, config)
    steps = trainer.run(repeat(next(stream)))
    return lambda: next(steps)


def main() -> None:
    """Digits networks at their batch of 128; the CIFAR-10 student at 8."""
    hardware()
    for name, cfg, n, repeats in (
        ("digits student", STUDENT_DIGITS, 128, 7),
        ("digits teacher", TEACHER_DIGITS, 128, 5),
        ("CIFAR-10 student", STUDENT_CIFAR10, 8, 3),
    ):
        functions = {
            "float32": step_of(cfg, n, bf16=False),
            "bfloat16": step_of(cfg, n, bf16=True),
        }
        report(f"{name}, step of {n}", functions, repeats)


if __name__ == "__main__":
    main()
