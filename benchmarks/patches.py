"""The digits networks on 2x2 patches (a 4x4 grid) and on pixels (8x8)."""

from collections.abc import Callable
from dataclasses import replace

import torch
from timing import hardware, report

from dashlib.unet import STUDENT_DIGITS, TEACHER_DIGITS, UNet, UNetConfig


def pass_of(cfg: UNetConfig, n: int, *, train: bool) -> Callable[[], None]:
    """One forward pass (and backward, to train) as a function without arguments."""
    model = UNet(cfg).train(train).requires_grad_(train)
    x, t, y = torch.randn(n, 1, 8, 8), torch.randint(1000, (n,)), torch.randint(10, (n,))

    def run() -> None:
        loss = model(x, t, y).square().mean()
        if train:
            loss.backward()

    return run


def main() -> None:
    """Attention stays on the 4x4 grid in both."""
    hardware()
    for name, cfg in (("teacher", TEACHER_DIGITS), ("student", STUDENT_DIGITS)):
        for train in (False, True):
            functions = {
                "pixels": pass_of(replace(cfg, patch_size=1), 128, train=train),
                "2x2 patches": pass_of(cfg, 128, train=train),
            }
            what = "forward and backward" if train else "forward"
            report(f"digits {name}, {what}, batch 128", functions, repeats=7)


if __name__ == "__main__":
    main()
