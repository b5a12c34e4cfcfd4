"""This process's place among those that share the work, by Accelerate, and its precision.

Under ``torchrun``, ``accelerate launch`` or ``mpirun`` each process takes a share of numbered
images.  ``fp32`` is IEEE float32, ``tf32`` lets a GPU round the factors of products and
convolutions to TensorFloat-32, ``bf16`` and ``fp16`` autocast the forward pass.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import gather_object, parse_flag_from_env
from accelerate.utils.environment import get_cpu_distributed_information
from torch import Tensor
from tqdm import tqdm

from dashlib.checks import check_choice
from dashlib.progress import refresh_seconds

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
_PLAIN = {  # settings of launchers and shells, and what each must be
    **dict.fromkeys(("ACCELERATE_MIXED_PRECISION", "ACCELERATE_DYNAMO_BACKEND"), "no"),
    **dict.fromkeys(("ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_FSDP"), "false"),
    **{"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "1", "NVIDIA_TF32_OVERRIDE": "0"},
}
PRECISIONS = ("fp32", "tf32", *AUTOCAST)


def check_arithmetic(device: str, precision: str) -> None:
    """``ValueError`` for a device or a precision that this machine cannot compute with."""
    check_choice("device", device, ("cpu", "cuda"))
    check_choice("precision", precision, PRECISIONS)
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("torch sees no CUDA device: use --device cpu, or a CUDA build of torch")
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


def make_accelerator(precision: Precision = "fp32", device: str = "auto") -> Accelerator:
    """This process's place among those that were started, on ``cpu``, ``cuda`` or the better.

    ``ValueError`` for what it cannot have, or a launcher's settings that would change results.
    """
    several = parse_flag_from_env("ACCELERATE_USE_CPU") and "MASTER_ADDR" in os.environ
    if several and get_cpu_distributed_information().world_size == 1:
        raise ValueError("`accelerate launch --cpu` started one process: torchrun starts several")
    for name, plain in _PLAIN.items():
        if os.environ.get(name, plain).lower() not in (plain, precision):
            raise ValueError(f"{name}={os.environ[name]} would change results unrecorded: unset it")
    cpus = device == "cpu" or parse_flag_from_env("ACCELERATE_USE_CPU")
    gpus = 0 if cpus else torch.cuda.device_count()
    check_arithmetic("cuda" if device == "cuda" or gpus else "cpu", precision)
    if precision == "fp16" and not gpus:
        raise ValueError("precision fp16 needs a CUDA GPU: use bf16 or fp32 on the CPU")
    if gpus and (local := int(os.environ.get("LOCAL_RANK", 0))) >= gpus:
        raise ValueError(f"process {local} has no GPU: this machine has {gpus}; start as many")
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:  # forget an accelerator made before
        AcceleratorState._reset_state(reset_partial_state=True)
    mixed = precision if precision in AUTOCAST else "no"
    return Accelerator(mixed_precision=mixed, cpu=device == "cpu")


def share(n: int, place: Accelerator) -> range:
    """This process's numbers in [0, n), in order of rank; ``ValueError`` if one gets none."""
    if n < place.num_processes:
        raise ValueError(f"{n} images for {place.num_processes} processes: start fewer processes")
    with place.split_between_processes(list(range(n))) as own:
        return range(own[0], own[-1] + 1)


def batches(n: int, size: int, what: str, place: Accelerator) -> Iterator[range]:
    """This process's share of [0, n) by batches; ``what`` names the first process's bar."""
    own, hidden = share(n, place), not place.is_main_process
    starts = range(0, len(own), size)
    for start in tqdm(starts, what, mininterval=refresh_seconds(), leave=False, disable=hidden):
        yield own[start : start + size]


def gather_rows(own: Tensor) -> Tensor:
    """The rows of all processes (each has as many as it has) in order of rank, on the CPU."""
    return torch.cat(gather_object([own.cpu()]))
