r"""Calculate what a run costs on n GPUs, from a measured speed and named assumptions.

A *workload* makes ``steps`` optimizer steps of a global ``batch`` B.  A *speed* was measured on one
GPU: R_0 images/s, b_0 images a step, F_0 FLOPs an image.  A workload of F FLOPs an image is taken
to run at the same FLOP/s, :math:`R = R_0 F_0 / F`.  With :math:`b = \lceil B/n \rceil` images a
GPU, a step of P parameters takes

.. math:: t = \max\Bigl(\frac bR,\; f\,\frac{b_0}{R_0}\Bigr), \qquad
          t_n = \frac tp + 2\,\frac{n-1}{n} \cdot \frac{4 P}{\text{link}} \quad (n > 1),

where f sets the least time of a step, as a share of the measured one, p is what several GPUs keep
of their speed, and the last term is a ring all-reduce of float32 gradients (Patarasuk & Yuan 2009),
not hidden.  More than b_0 images a GPU go through in pieces.

Units: seconds, hours, GB = 1e9 bytes; FLOPs, a multiply-add as 2, of products and convolutions.
"""

import json
from dataclasses import asdict, dataclass, replace
from functools import cache
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from dashlib import results
from dashlib.guidance import branches
from dashlib.scale.presets import Preset
from dashlib.unet import UNet, UNetConfig, count_parameters

BYTES = 4  # of a gradient: float32, also under bf16 autocast
BENCH = "python -m benchmarks.bench --pair cifar10 --device cuda"
TIMED = {  # what else makes a report of that kind as this module and the chapter read it
    "efficiency": "--batch 64 --precision tf32 --precision bf16",
    "throughput": "--throughput --train-steps 200 --no-compile --batch 128 --precision bf16",
}
NO_KERNEL = (  # views, and what only the checks of inputs on the CPU call
    *(torch.ops.aten.min, torch.ops.aten.max),
    *(torch.ops.aten._local_scalar_dense, torch.ops.aten._unsafe_view),
)
IMAGES = {"cifar10": 50_000, "cifar100": 50_000, "imagenet64": 1_281_167, "digits": 1_500}

# The paper's efficiency table (teacher, student), from the authors' README: a T4, batch 64, 50-step
# guided samples.  Nothing here was measured by us; their unit of memory is "MB".
PAPER_T4 = {
    "parameters": (35.75e6, 6.08e6),
    "gflops_sample": (1247.8, 216.3),
    "latency_ms": (14_217.0, 3_926.0),
    "peak_mib": (821.0, 480.0),
}
# Hours that the authors' configurations give for teacher and student on a P100.
PAPER_P100_HOURS = (24.0, 16.0)


@dataclass(frozen=True)
class Workload:
    """Work of one training run."""

    name: str
    steps: int  # of the optimizer
    batch: int  # global: images a step, over all GPUs
    images: int  # of the training set
    parameters: int  # that are trained, so that their gradients are exchanged
    flops_image: float  # forward and backward of one image, a teacher's answers included

    @property
    def seen(self) -> int:
        """Images that are trained on, repetitions included."""
        return self.steps * self.batch

    @property
    def epochs(self) -> float:
        """Passes over the training set."""
        return self.seen / self.images


@dataclass(frozen=True)
class Speed:
    """A training speed measured on one GPU."""

    images_per_s: float
    flops_image: float  # of the workload it was measured with
    batch: int  # images a step
    precision: str
    hardware: str


@dataclass(frozen=True)
class Assumptions:
    """Unmeasured assumptions.  Raises ``ValueError`` for shares outside [0, 1] and bad links."""

    floor: float = 0.0  # f: no step is quicker than this share of the measured one
    parallel: float = 0.9  # p: speed kept by several GPUs that wait for the slowest
    node: int = 8  # GPUs in a machine
    node_gb_s: float = 300.0  # GB/s out of a GPU inside a machine (NVLink)
    network_gb_s: float = 50.0  # GB/s out of a machine: one port of 400 Gbit/s

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value < 0 or (value == 0 and name != "floor"):
                raise ValueError(f"{name}={value}: a number above 0")
            if value > 1 and name in ("floor", "parallel"):
                raise ValueError(f"{name}={value}: a share, from 0 to 1")

    def link(self, gpus: int) -> float:
        """Bytes/s of the slowest link of a ring through this many GPUs."""
        return 1e9 * (self.node_gb_s if gpus <= self.node else self.network_gb_s)


@dataclass(frozen=True)
class Cost:
    """Cost of a workload on some number of GPUs."""

    gpus: int
    batch: int  # images a GPU and step
    step_s: float  # one optimizer step
    exchange_s: float  # of which the gradients' all-reduce
    hours: float  # on the wall clock
    efficiency: float  # images/s, as a share of n times the measured speed

    @property
    def gpu_hours(self) -> float:
        """Hours that are paid for."""
        return self.gpus * self.hours


def flops(module: nn.Module, *inputs: Tensor) -> int:
    """FLOPs of one forward pass in the convention above."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        module(*inputs)
    return counter.get_total_flops()


@cache
def forward_flops(cfg: UNetConfig) -> int:
    """FLOPs of one forward pass of one image; a guided sample of n steps takes 2 n of these.

    Counted from shapes alone, with every convolution done as one.
    """
    with torch.device("meta"):
        image = torch.zeros(1, cfg.image_channels, cfg.image_size, cfg.image_size)
        zero = torch.zeros(1, dtype=torch.long)
        return flops(UNet(cfg).eval(), image, zero, zero)


@cache
def parameters(cfg: UNetConfig) -> int:
    """Parameters of a network, counted in the network itself."""
    with torch.device("meta"):
        return count_parameters(UNet(cfg))


def workloads(preset: Preset) -> tuple[Workload, Workload]:
    """The training of a preset's teacher and the distillation of its student.

    A backward pass costs two forward ones.  DASH asks both branches, of the teacher forward only.
    """
    roles = {"teacher": preset.teacher, "student": preset.student}
    teacher, student = (forward_flops(role.unet) for role in roles.values())
    flops_image = 3 * teacher, 2 * teacher + 6 * student
    images = round(IMAGES[preset.dataset] * preset.teacher.split)
    made = []
    for (name, role), work in zip(roles.items(), flops_image, strict=True):
        size, title = parameters(role.unet), f"{preset.name} {name}"
        made.append(Workload(title, role.train.steps, role.batch_size, images, size, work))
    return made[0], made[1]


def cost(work: Workload, speed: Speed, gpus: int = 1, assume: Assumptions | None = None) -> Cost:
    """The cost of a workload on ``gpus`` GPUs like the measured one (equations above).

    ``hours = steps * batch / (images/s of a GPU * GPUs * efficiency) / 3600``.  Raises
    ``ValueError`` for no GPU, or more GPUs than there are images in a step.
    """
    if not 1 <= gpus <= work.batch:
        need = f"from 1 to its global batch of {work.batch}, as each GPU needs an image a step"
        raise ValueError(f"gpus={gpus} for {work.name}: {need}")
    assume = assume or Assumptions()
    rate = speed.images_per_s * speed.flops_image / work.flops_image
    batch = ceil(work.batch / gpus)
    compute = max(batch / rate, assume.floor * speed.batch / speed.images_per_s)
    sent = 2 * (gpus - 1) / gpus * BYTES * work.parameters  # by each GPU
    exchange = sent / assume.link(gpus)
    step = compute if gpus == 1 else compute / assume.parallel + exchange
    kept = work.batch / step / (rate * gpus)
    return Cost(gpus, batch, step, exchange, work.steps * step / 3600, kept)


class _Launches(TorchDispatchMode):
    """Counts the operators that would give a GPU something to do."""

    count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operator; views and the checks of inputs, made on the CPU only, do not count."""
        free = func.is_view or func.overloadpacket in NO_KERNEL
        self.count += not free
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def operators(cfg: UNetConfig, *, bf16: bool = False) -> int:
    """Operators that one forward pass of both branches calls; each launches a kernel or more.

    Counted on the CPU, in a narrower network: which operators are called does not depend on the
    width.  Under CUDA's bf16 autocast it is some more: norms are cast to float32.
    """
    if cfg.groups >= 4 and cfg.groups % 2 == 0:
        cfg = replace(cfg, ch=cfg.groups)
    model, labels = UNet(cfg).eval().requires_grad_(False), torch.zeros(1, dtype=torch.long)
    image = torch.zeros(1, cfg.image_channels, cfg.image_size, cfg.image_size)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16), _Launches() as launches:
        branches(model, image, labels, labels)
    return launches.count


def stored(name: str) -> dict[str, Any]:
    """A report of ``benchmarks.bench`` in ``results/bench``; ``MissingRun`` if it is not there.

    A name begins with one of :data:`TIMED`.
    """
    path = results.root() / "bench" / f"{name}.json"
    if not path.exists():
        options = TIMED[name.split("-")[0]]
        raise results.MissingRun(f"no {path}: `{BENCH} {options} --out {path}` measures it")
    return json.loads(path.read_text())


def measured(report: dict[str, Any], role: str, flops_image: float) -> Speed:
    """The speed of ``teacher`` or ``dash`` in a throughput report; ``ValueError`` if not there.

    ``flops_image`` is that of the workload which was timed.
    """
    rows = [row for row in report["rows"] if row["model"] == role and "images_per_s" in row]
    if len(rows) != 1:
        raise ValueError(f"{len(rows)} rows of {role!r} in the report: need exactly one")
    rate, batch, precision = (rows[0][key] for key in ("images_per_s", "batch", "precision"))
    return Speed(rate, flops_image, batch, precision, report["hardware"])
