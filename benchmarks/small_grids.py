"""The digits networks with their small grids convolved by torch, and as one matrix product."""

from collections.abc import Callable

import torch
from timing import hardware, report

from dashlib.blocks import Conv3x3
from dashlib.unet import STUDENT_DIGITS, TEACHER_DIGITS, UNet, UNetConfig


def convolved(model: UNet) -> UNet:
    """The same network with torch's convolution on every grid."""
    for module in model.modules():
        if isinstance(module, Conv3x3):
            module.few = 0
    return model


def pass_of(model: UNet, n: int, *, train: bool) -> Callable[[], None]:
    """One forward pass (and backward, to train) as a function without arguments."""
    model = model.train(train).requires_grad_(train)
    x, t, y = torch.randn(n, 1, 8, 8), torch.randint(1000, (n,)), torch.randint(10, (n,))

    def run() -> None:
        loss = model(x, t, y).square().mean()
        if train:
            loss.backward()

    return run


def compare(name: str, cfg: UNetConfig, n: int, *, train: bool) -> None:
    """Print the ratio for one network."""
    functions = {
        "convolution": pass_of(convolved(UNet(cfg)), n, train=train),
        "matrix product": pass_of(UNet(cfg), n, train=train),
    }
    what = "forward and backward" if train else "forward"
    report(f"digits {name}, {what}, batch {n}", functions)


def main() -> None:
    """Training batches, and the batch of 1,000 samples with both branches."""
    hardware()
    compare("teacher", TEACHER_DIGITS, 128, train=True)
    compare("student", STUDENT_DIGITS, 256, train=True)
    compare("student", STUDENT_DIGITS, 2000, train=False)


if __name__ == "__main__":
    main()
