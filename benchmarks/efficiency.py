"""Measure what a network costs to sample from: parameters, FLOPs, latency and peak memory.

Everything is measured on this machine (``bench`` makes the tables).  Conventions:

- FLOPs: a multiply-add is 2 FLOPs; convolutions, linear layers and the two matrix products of
  attention are counted; norms, activations, biases, additions and resampling are not.
- A *sample* is one image made by DDIM with guidance: of both branches at every step.
- Precision: ``fp32`` is IEEE float32, ``tf32`` lets a GPU round the factors of products and
  convolutions to TensorFloat-32, ``bf16`` and ``fp16`` autocast the forward pass.
- Memory: on CUDA the peak of tensors allocated (weights included); on the CPU by how much the
  resident memory of a fresh process grows at its peak.  1 MiB is 2^20 bytes.
"""

import gc
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dashbook.cost import forward_flops
from dashlib.guidance import Guided
from dashlib.runs.pool import processes
from dashlib.sampling import sample
from dashlib.scale.distributed import AUTOCAST, Precision, check_arithmetic, numerics
from dashlib.schedule import Schedule
from dashlib.unet import (
    STUDENT_CIFAR10,
    STUDENT_CIFAR100,
    STUDENT_DIGITS,
    STUDENT_IMAGENET64,
    TEACHER_CIFAR10,
    TEACHER_CIFAR100,
    TEACHER_DIGITS,
    TEACHER_IMAGENET64,
    UNet,
    UNetConfig,
    count_parameters,
)

Row = dict[str, Any]

PAIRS: dict[str, tuple[UNetConfig, UNetConfig]] = {  # name: teacher, student
    "digits": (TEACHER_DIGITS, STUDENT_DIGITS),
    "cifar10": (TEACHER_CIFAR10, STUDENT_CIFAR10),
    "cifar100": (TEACHER_CIFAR100, STUDENT_CIFAR100),
    "imagenet64": (TEACHER_IMAGENET64, STUDENT_IMAGENET64),
}
GUIDANCE = 4.0  # any scale but 0 and 1, which need only one branch
WARM_UP = 3  # steps of DDIM before the clock starts


@dataclass(frozen=True)
class Settings:
    """Say how a pair is measured.  Raises ``ValueError`` for what this machine cannot do."""

    device: str = "cpu"
    batch: int = 64  # images a sampling run, or a training step
    precision: Precision = "fp32"
    compile: bool = False  # torch.compile
    channels_last: bool = False  # weights stored with the channels innermost
    steps: int = 50  # DDIM steps a sample
    repeats: int = 5  # timed sampling runs; the median counts
    train_steps: int = 20  # timed training steps; the mean counts

    def __post_init__(self) -> None:
        check_arithmetic(self.device, self.precision)
        if min(self.batch, self.steps, self.repeats, self.train_steps) < 1:
            raise ValueError(f"{self}: batch, steps, repeats and train_steps are 1 or more")


def pair(name: str) -> tuple[UNetConfig, UNetConfig]:
    """Teacher and student of a preset pair; ``ValueError`` that lists the names if unknown."""
    if name not in PAIRS:
        raise ValueError(f"unknown pair {name!r}: one of {', '.join(PAIRS)}")
    return PAIRS[name]


def best_device() -> str:
    """``cuda`` if torch sees a GPU, else ``cpu``."""
    return "cuda" if torch.cuda.is_available() else "cpu"


class Autocast:
    """A denoiser whose forward pass is autocast as the settings' precision says."""

    def __init__(self, model: UNet, settings: Settings) -> None:
        self.model, self.null_label = model, model.null_label
        self.device, self.dtype = settings.device, AUTOCAST.get(settings.precision)

    def __call__(self, x_t: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """Predicted noise."""
        if self.dtype is None:
            return self.model(x_t, t, y)
        with torch.autocast(self.device, self.dtype):
            return self.model(x_t, t, y)


def wait(device: str) -> None:
    """Until the device has done what it was asked to do."""
    if device == "cuda":
        torch.cuda.synchronize()


@contextmanager
def arithmetic(settings: Settings) -> Iterator[None]:
    """Float32 arithmetic as the settings say, without the compiler's memory of former shapes."""
    if settings.compile:
        torch.compiler.reset()
    with numerics(settings.device, settings.precision):
        yield


def network(cfg: UNetConfig, settings: Settings) -> UNet:
    """A network with random weights, which cost what trained ones cost."""
    torch.manual_seed(0)
    model = UNet(cfg).to(settings.device)
    if settings.channels_last:
        model = model.to(memory_format=torch.channels_last)
    if settings.compile:
        model.compile(dynamic=False)
    return model


def _sampler(cfg: UNetConfig, settings: Settings) -> Callable[[int], Tensor]:
    """A function that samples one batch with the given number of guided DDIM steps."""
    denoiser = Autocast(network(cfg, settings).eval().requires_grad_(False), settings)
    shape = (settings.batch, cfg.image_channels, cfg.image_size, cfg.image_size)
    noise = torch.randn(shape, device=settings.device)
    y = torch.arange(settings.batch, device=settings.device) % cfg.num_classes
    guided, schedule = Guided(denoiser, y, GUIDANCE), Schedule()
    return lambda steps: sample(guided, noise, schedule, steps=steps)


def _seconds(run: Callable[[], object], device: str) -> float:
    """Wall-clock seconds of one call, the device's work included."""
    wait(device)
    clock = time.perf_counter()
    run()
    wait(device)
    return time.perf_counter() - clock


def _timed_sampling(cfg: UNetConfig, settings: Settings) -> Row:
    """Latency, and on CUDA the peak memory, of sampling one batch."""
    with arithmetic(settings):
        run, device = _sampler(cfg, settings), settings.device
        warmup = _seconds(lambda: run(min(WARM_UP, settings.steps)), device)
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        times = [_seconds(lambda: run(settings.steps), device) for _ in range(settings.repeats)]
        peak = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else None
    latency = 1000 * statistics.median(times)
    return {
        "latency_ms": latency,
        "ms_per_image": latency / settings.batch,
        "all_latencies_ms": [1000 * seconds for seconds in times],
        "warmup_s": warmup,
        "peak_mib": peak,
    }


def _status(key: str) -> int:
    """A field of this process's /proc status, in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key + ":")).split()[1])


def _resident_growth(cfg: UNetConfig, settings: Settings, threads: int) -> float | None:
    """MiB by which this (fresh) process grows to sample two steps; None where it cannot tell."""
    torch.set_num_threads(threads)
    _sampler(TEACHER_DIGITS, Settings(batch=1))(1)  # loads the libraries' code
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
        before = _status("VmRSS")
        _sampler(cfg, settings)(min(2, settings.steps))
        return (_status("VmHWM") - before) / 1024
    except OSError:
        return None


def _cpu_peak(cfg: UNetConfig, settings: Settings) -> float | None:
    """Peak memory on the CPU; None with ``compile``, whose compiler would be counted."""
    if settings.compile:
        return None
    threads = torch.get_num_threads()
    with processes(1) as pool:
        try:
            return pool.submit(_resident_growth, cfg, settings, threads).result()
        except BrokenProcessPool:  # it was killed, or could not be started from here
            return None


def freeing(measure: Callable[[], Row], device: str) -> Row:
    """The row, or ``{"error": "out of memory"}``; either way the memory is given back."""
    try:
        row = measure()
    except (MemoryError, RuntimeError) as error:
        wanting = ("out of memory", "can't allocate memory", "not enough memory")
        if not isinstance(error, MemoryError) and not any(w in str(error) for w in wanting):
            raise
        row = {"error": "out of memory"}
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
    return row


def sampling_cost(cfg: UNetConfig, settings: Settings) -> Row:
    """Parameters, GFLOPs (a forward pass and a sample of one image), ms and peak MiB of a batch."""

    def measure() -> Row:
        row = _timed_sampling(cfg, settings)
        return row if settings.device == "cuda" else row | {"peak_mib": _cpu_peak(cfg, settings)}

    gflops = forward_flops(cfg) / 1e9
    return {
        "parameters": count_parameters(UNet(cfg)),
        "gflops_forward": gflops,
        "gflops_sample": 2 * settings.steps * gflops,
        **freeing(measure, settings.device),
    }
