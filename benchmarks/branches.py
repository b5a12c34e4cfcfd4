"""Both branches in one forward pass over 2B images, or in two passes over B."""

import torch
from timing import hardware, report

from dashlib.guidance import Branches, branches
from dashlib.unet import STUDENT_DIGITS, TEACHER_DIGITS, UNet, UNetConfig


def measure(name: str, cfg: UNetConfig, n: int) -> None:
    """Compare on random images."""
    model = UNet(cfg).eval().requires_grad_(False)
    x = torch.randn(n, cfg.image_channels, cfg.image_size, cfg.image_size)
    t, y = torch.randint(1000, (n,)), torch.randint(cfg.num_classes, (n,))
    null = torch.full_like(y, cfg.null_label)
    functions = {
        "two passes": lambda: Branches(model(x, t, y), model(x, t, null)),
        "one pass": lambda: branches(model, x, t, y),
    }
    report(f"{name}, batch {n}", functions)


def main() -> None:
    """Digits networks at several batch sizes."""
    hardware()
    for n in (1, 10, 128):
        measure("digits teacher", TEACHER_DIGITS, n)
        measure("digits student", STUDENT_DIGITS, n)


if __name__ == "__main__":
    main()
