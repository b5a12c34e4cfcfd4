"""What a machine is offered: the larger scale where torch sees a GPU, digits elsewhere."""

import torch

from dashlib.recipes import DIGITS, FASHION, Scale


def offered() -> tuple[Scale, torch.device]:
    """The scale that a live demonstration uses on this machine, and the device it runs on.

    Clothes at 32x32 on a GPU, 8x8 digits on a CPU: either takes seconds where it is offered.
    """
    gpu = torch.cuda.is_available()
    return (FASHION, torch.device("cuda")) if gpu else (DIGITS, torch.device("cpu"))
