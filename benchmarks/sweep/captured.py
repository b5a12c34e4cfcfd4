"""Training several students side by side, every step of all of them one CUDA graph.

At the paper's size a step's kernels, launched one by one, leave a GPU three quarters idle.  Here a
*round* (the teacher's two branches on each of the round's batches, and every student's step) is
captured once, over batches that keep their place in memory, and replayed.  Nothing is read back
within a round; its learning rates are tensors that are set before it.
"""

import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dashlib.checkpoints import write_atomically
from dashlib.data import Batch, Stream, with_teacher
from dashlib.training import Trainer
from dashlib.unet import UNet

SOUND = 50  # rounds between two looks at the losses


def fast(model: UNet, device: torch.device | str) -> UNet:
    """The network on its device, compiled with channels innermost where that is a GPU."""
    model = model.to(device)
    if torch.device(device).type == "cuda":
        torch._dynamo.config.recompile_limit = 64  # a network, batch size and mode each
        model = model.to(memory_format=torch.channels_last)
        model.compile(dynamic=False)
    return model


def keep_compiled(path: Path) -> None:
    """Write what torch.compile made or used in this process, for :func:`use_compiled`."""
    if found := torch.compiler.save_cache_artifacts():
        write_atomically(path, found[0])


def use_compiled(paths: Iterable[Path]) -> None:
    """Take over what other processes compiled; a file that cannot be used is named and left."""
    for path in paths:
        try:
            used = torch.compiler.load_cache_artifacts(path.read_bytes())
        except Exception as error:
            print(f"{path} is not used: {type(error).__name__} {error}", flush=True)
        else:
            print(f"{path} {'is used' if used else 'has nothing for this torch'}", flush=True)


class Rounds(NamedTuple):
    """The state of a co-training."""

    done: int
    seconds: float  # since the start
    losses: dict[str, float]  # means a step since the last look


class CoTraining:
    """Students that share every batch and the teacher's answers.

    ``shares``: how many of a round's batches each student takes, from the first.  Without a GPU a
    round runs as it is, without a graph.
    """

    def __init__(
        self, trainers: Mapping[str, Trainer], shares: Mapping[str, int], stream: Stream,
        teacher: UNet | None = None,
    ) -> None:  # fmt: skip
        self.trainers, self.shares, self.stream = dict(trainers), dict(shares), stream
        self.teacher = None if teacher is None else teacher.eval().requires_grad_(False)
        device = stream.images.x.device
        self.on_gpu = device.type == "cuda"
        layout = torch.channels_last if self.on_gpu else torch.contiguous_format
        drawn = [next(stream) for _ in range(max(shares.values()))]
        self.static = [replace(b, x_t=b.x_t.contiguous(memory_format=layout)) for b in drawn]
        self.sums = {name: torch.zeros((), device=device) for name in trainers}  # of losses
        self.capture = self.on_gpu
        self.graph: torch.cuda.CUDAGraph | None = None
        for trainer in self.trainers.values():
            trainer.model.train()

    def feed(self) -> None:
        """Draw the next round's batches into their place."""
        for kept, new in zip(self.static, self.stream, strict=False):
            for name, place in vars(kept).items():
                if isinstance(place, Tensor):
                    place.copy_(getattr(new, name))

    def compute(self, *, update: bool = True) -> None:
        """One round on the batches that lie there; ``update=False`` only compiles."""
        for i, batch in enumerate(self.static):
            whole = self._answered(batch)
            for name, trainer in self.trainers.items():
                if i < self.shares[name]:
                    loss, _, _ = trainer.gradients(whole)
                    if update:
                        trainer.apply()
                        self.sums[name].add_(loss)

    def _answered(self, batch: Batch) -> Batch:
        """The batch with the answers of the teacher, if there is one; in bfloat16 on a GPU."""
        if self.teacher is None:
            return batch
        with torch.autocast("cuda", torch.bfloat16, enabled=self.on_gpu):
            return next(with_teacher(iter([batch]), self.teacher))

    def round(self, progress: float) -> None:
        """Draw batches and make a round; ``progress`` in [0, 1] sets the learning rate."""
        self.feed()
        if self.capture and self.graph is None:
            try:
                self.graph = self._captured()
            except RuntimeError as error:
                warnings.warn(f"the round runs uncaptured, slower: {error}", stacklevel=2)
                self.capture = False
        for name, trainer in self.trainers.items():
            trainer.prepare(trainer.cfg.rate(progress), self.shares[name])
        (self.graph.replay if self.graph else self.compute)()

    def _captured(self) -> Any:
        """The graph of a round, after three on a side stream, which move nothing: rates are 0."""
        for trainer in self.trainers.values():
            trainer.prepare(0.0, 0)
            trainer.averaged.rate.zero_()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.compute()
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.compute()
        torch._foreach_zero_([*self.sums.values()])
        return graph

    def run(self, progress: Callable[[int], float]) -> Iterator[Rounds]:
        """Train by the clock, yielding every 50 rounds and at the end.

        ``progress(rounds)`` is asked before each round for the part of the training that is over,
        from 0 to 1: the learning rate always ends where it should.  Raises ``FloatingPointError``,
        naming the students, once a loss is not finite.
        """
        started, done, looked = time.perf_counter(), 0, 0
        while True:
            part = progress(done)
            if (part >= 1 or done - looked == SOUND) and done > looked:
                losses, looked = self._losses(done - looked), done
                yield Rounds(done, time.perf_counter() - started, losses)
            if part >= 1:
                return
            self.round(part)
            done += 1

    def _losses(self, rounds: int) -> dict[str, float]:
        """Mean losses since the last look; this waits for the device."""
        found = {k: v.item() / (rounds * self.shares[k]) for k, v in self.sums.items()}
        torch._foreach_zero_([*self.sums.values()])
        if lost := [name for name, loss in found.items() if not math.isfinite(loss)]:
            how = "lower its learning rate, or start from other weights"
            raise FloatingPointError(f"the loss of {', '.join(lost)} is not finite: {how}")
        return found
