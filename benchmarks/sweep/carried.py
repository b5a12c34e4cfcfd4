"""What travels from one sweep to the next in files that a lent GPU gives back and takes."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.sweep.plan import wait_for, whole
from dashlib.checkpoints import CheckpointError, pack, read_tensors, write_atomically
from dashlib.training import Trainer

FILE = 15 * 2**20  # most bytes of a file of tensors: one of 16 MiB comes back


def write_parts(stem: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors as ``STEM-00001-of-0000N.safetensors``, none larger than a file may be."""
    parts = list(split(tensors, FILE))
    before = set(stem.parent.glob(f"{stem.name}-*-of-*.safetensors"))
    for i, part in enumerate(parts, 1):
        path = stem.with_name(f"{stem.name}-{i:05}-of-{len(parts):05}.safetensors")
        write_atomically(path, pack(part))
        before.discard(path)
    for old in before:  # of a larger network, or a smaller one
        old.unlink()


def read_parts(stem: Path, deadline: float) -> dict[str, Tensor]:
    """The tensors of all parts, once they are there; ``TimeoutError`` at the deadline."""
    wait_for(lambda: whole(stem.parent, stem.name), f"{stem.name}-* in {stem.parent}", deadline)
    parts = sorted(stem.parent.glob(f"{stem.name}-*-of-*.safetensors"))
    return {name: v for part in parts for name, v in read_tensors(part).items()}


def split(tensors: dict[str, Tensor], limit: int) -> Iterator[dict[str, Tensor]]:
    """The tensors in their order, in parts of at most ``limit`` bytes, or of one tensor."""
    part, size = dict[str, Tensor](), 0
    for name, tensor in tensors.items():
        if part and size + tensor.nbytes > limit:
            yield part
            part, size = {}, 0
        part[name] = tensor
        size += tensor.nbytes
    yield part


def of_optimizer(stem: Path) -> Path:
    """The stem of the optimizer's files of the weights ``STEM.safetensors``, or of their parts."""
    return stem.with_name(f"{stem.name}.optimizer")


def optimizer_state(trainer: Trainer) -> dict[str, Tensor]:
    """Adam's moments and steps, ``NUMBER.KEY`` by parameter.

    Moments are in bfloat16, which has float32's range: fp16's ends at 6e-8, above most squares.
    """
    found = trainer.optimizer.state_dict()["state"]
    return {
        f"{i}.{key}": value.float() if key == "step" else value.bfloat16()
        for i, of in found.items()
        for key, value in of.items()
    }


def restore_optimizer(trainer: Trainer, tensors: dict[str, Tensor], source: str) -> None:
    """Go on with an :func:`optimizer_state`; ``CheckpointError``, naming source, if of another."""
    optimizer = trainer.optimizer
    state: dict[int, dict[str, Tensor]] = {}
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    for i, parameter in enumerate(trained):
        state[i] = {"step": torch.zeros(())}
        state[i] |= {k: torch.zeros_like(parameter) for k in ("exp_avg", "exp_avg_sq")}
    wanted = {f"{i}.{k}": v for i, of in state.items() for k, v in of.items()}
    if {k: v.shape for k, v in wanted.items()} != {k: v.shape for k, v in tensors.items()}:
        raise CheckpointError(
            f"{source} is the optimizer's state of another network or objective: "
            "remove it to begin with a new one"
        )
    for name, place in wanted.items():
        place.copy_(tensors[name])
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})


def updates(trainer: Trainer) -> int:
    """Count Adam's updates, with those of the sweeps before whose state it went on with."""
    steps = [int(of["step"]) for of in trainer.optimizer.state.values()]
    return max(steps, default=0)
