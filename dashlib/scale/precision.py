"""The precision of a forward pass: which there are, and what a GPU's float32 arithmetic may round.

``fp32`` is IEEE float32, ``tf32`` lets a GPU round the factors of products and convolutions to
TensorFloat-32, ``bf16`` and ``fp16`` autocast the forward pass.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from dashlib.checks import check_choice

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
PRECISIONS = ("fp32", "tf32", *AUTOCAST)


def check_arithmetic(device: str, precision: str) -> None:
    """``ValueError`` for a device or a precision that this machine cannot compute with."""
    check_choice("device", device, ("cpu", "cuda"))
    check_choice("precision", precision, PRECISIONS)
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "torch sees no CUDA device: use --device cpu, or run this on a machine with an "
            "NVIDIA GPU and a CUDA build of torch"
        )
    if precision == "tf32" and device == "cpu":
        raise ValueError("precision tf32 needs --device cuda: use fp32 or bf16 on the CPU")


@contextmanager
def numerics(device: str, precision: Precision = "fp32") -> Iterator[None]:
    """Float32 arithmetic as the precision says, cuDNN choosing by timing; undone at the end."""
    check_arithmetic(device, precision)
    cudnn, tf32 = torch.backends.cudnn, precision == "tf32"
    before = torch.get_float32_matmul_precision(), cudnn.allow_tf32, cudnn.benchmark
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    cudnn.allow_tf32, cudnn.benchmark = tf32, True
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        cudnn.allow_tf32, cudnn.benchmark = before[1:]


def cuda_peak() -> float:
    """Most MiB of tensors on the GPU since ``torch.cuda.reset_peak_memory_stats``."""
    return torch.cuda.max_memory_allocated() / 2**20
