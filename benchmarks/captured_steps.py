"""Steps and forward passes of CIFAR-10's networks: plain, ours in eager mode, captured.

``python -m benchmarks.captured_steps --device cuda`` (an idle H100: three minutes, two of them to
compile) writes medians, in seconds, and the largest kernels of the teacher's training step;
``--dry`` sees it through on a CPU.  Stored: ``results/bench/captured-cifar10-h100.json``.
"""

import argparse
import itertools
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from benchmarks.sweep.captured import CoTraining, fast
from benchmarks.sweep.plan import Plan
from benchmarks.sweep.scoring import Half
from benchmarks.sweep.students import noise_images, stream_of
from dashlib import results
from dashlib.data import with_teacher
from dashlib.losses import Scratch, make_objective, mse
from dashlib.recipes import CIFAR10
from dashlib.scale.distributed import numerics
from dashlib.schedule import Schedule
from dashlib.training import Trainer
from dashlib.unet import UNet
from dashlib.weighting import Uniform

Call = Callable[[], object]


def seconds(call: Call, times: int, device: str) -> list[float]:
    """Seconds of each of several calls in a row, after three that are not counted."""
    for _ in range(3):
        call()
    if device == "cpu":
        marks = [time.perf_counter()]
        for _ in range(times):
            call()
            marks.append(time.perf_counter())
        return [b - a for a, b in itertools.pairwise(marks)]
    events = [torch.cuda.Event(enable_timing=True) for _ in range(times + 1)]
    torch.cuda.synchronize()
    events[0].record()
    for event in events[1:]:
        call()
        event.record()
    torch.cuda.synchronize()
    return [a.elapsed_time(b) / 1e3 for a, b in itertools.pairwise(events)]


class Timing:
    """Make and compile what is timed."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.device, self.n = plan, plan.device, 2 if plan.dry else 200
        spec = plan.recipe("dash-uniform-s0")
        self.stream = stream_of(noise_images(plan), spec)
        self.plain_teacher = UNet(plan.teacher).to(self.device).eval().requires_grad_(False)
        self.plain_student = UNet(spec.unet).to(self.device)
        self.teacher = fast(UNet(plan.teacher).eval().requires_grad_(False), self.device)
        self.student = Trainer(
            UNet(spec.unet).to(self.device), make_objective("dash"), Uniform(Schedule()), spec.train
        )
        fast(self.student.model, self.device)
        self.distillation = CoTraining(
            {"dash": self.student}, {"dash": 1}, self.stream, self.teacher
        )
        self.distillation.compute(update=False)
        batch = 8 if plan.dry else 256
        learner = Trainer(
            UNet(plan.teacher).to(self.device), Scratch(), Uniform(Schedule()),
            CIFAR10.learner.train,
        )  # fmt: skip
        fast(learner.model, self.device)
        stream = replace(self.stream, batch_size=batch)
        self.training = CoTraining({"teacher": learner}, {"teacher": 1}, stream)
        self.training.compute(update=False)
        nets = {"teacher": plan.teacher, "student": spec.unet}
        self.half = {name: Half(UNet(cfg), self.device) for name, cfg in nets.items()}
        self.inputs = self._inputs(8 if plan.dry else 64)
        for net in self.half.values():
            net(*self.inputs)

    def _inputs(self, n: int) -> tuple[Tensor, Tensor, Tensor]:
        x = torch.randn(n, 3, 32, 32, device=self.device)
        if self.device == "cuda":
            x = x.contiguous(memory_format=torch.channels_last)
        labels = torch.zeros(n, dtype=torch.long, device=self.device)
        return x, labels + 500, labels

    def plain_step(self) -> Call:
        """DASH as one would write it: a forward pass a branch, fp32, the loss read every step."""
        teacher, student = self.plain_teacher, self.plain_student
        optimizer = torch.optim.AdamW(student.parameters(), lr=1e-3)

        def step() -> float:
            b = next(self.stream)
            null = torch.full_like(b.y, 10)
            with torch.no_grad():
                tc, tu = teacher(b.x_t, b.t, b.y), teacher(b.x_t, b.t, null)
            sc, su = student(b.x_t, b.t, b.y), student(b.x_t, b.t, null)
            loss = (mse(sc, tc) + mse(su, tu) + 0.1 * mse(sc, b.eps)).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
            optimizer.step()
            return loss.item()

        return step

    def eager_step(self) -> Call:
        """Ours without a graph or a compiler: the Trainer in bf16, the loss not read."""
        cfg = CIFAR10.student.train
        trainer = Trainer(self.plain_student, make_objective("dash"), Uniform(Schedule()), cfg)

        def step() -> None:
            with torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda"):
                batch = next(with_teacher(self.stream, self.plain_teacher))
            trainer.gradients(batch)
            trainer.apply()

        return step

    def forward(self, name: str) -> Call:
        """A forward pass in fp16, replayed from a graph on a GPU."""
        net = self.half[name]
        if self.device == "cpu":
            return lambda: net(*self.inputs)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            net(*self.inputs)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            net(*self.inputs)
        return graph.replay

    def eager_forward(self, name: str) -> Call:
        """The same network in fp32, one kernel after the other."""
        net = self.plain_teacher if name == "teacher" else self.plain_student.eval()

        def call() -> Tensor:
            with torch.no_grad():
                return net(*self.inputs)

        return call

    def kernels(self) -> list[dict[str, Any]]:
        """List the kernels on which a step of the teacher's training spends the GPU's time."""
        activities = [torch.profiler.ProfilerActivity.CUDA]
        with torch.profiler.profile(activities=activities) as profile:
            for _ in range(3):
                self.training.round(0.5)
            torch.cuda.synchronize()
        found = sorted(profile.key_averages(), key=lambda k: -k.self_device_time_total)
        total = sum(k.self_device_time_total for k in found)
        return [
            {"kernel": k.key[:80], "share": round(k.self_device_time_total / total, 4)}
            for k in found[:25]
        ]

    def all(self) -> dict[str, Any]:
        """Medians and numbers of calls, in seconds."""
        few, n, device = min(self.n, 20), self.n, self.device
        with numerics(device, "fp32"):
            plain = seconds(self.plain_step(), few, device)
            latencies = {
                f"forward, fp32, eager: {name}": seconds(self.eager_forward(name), few, device)
                for name in self.half
            }
        timed = {
            "distillation: plain loop": plain,
            "distillation: Trainer, bf16": seconds(self.eager_step(), 2 * few, device),
            "distillation: captured": seconds(lambda: self.distillation.round(0.5), n, device),
            "teacher's training: captured": seconds(lambda: self.training.round(0.5), n, device),
            **{
                f"forward, fp16, captured: {k}": seconds(self.forward(k), n, device)
                for k in self.half
            },
            **latencies,
        }
        return {name: {"median": median(v), "calls": len(v)} for name, v in timed.items()}


def main() -> None:
    """Time everything and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=Path("captured-steps.json"))
    parser.add_argument("--dry", action="store_true", help="narrow networks and few steps")
    options = parser.parse_args()
    nowhere = Path()
    plan = Plan(nowhere, nowhere, nowhere, device=options.device, dry=options.dry)
    with numerics(options.device, "tf32" if options.device == "cuda" else "fp32"):
        timing = Timing(plan)
        report: dict[str, Any] = {
            "batch": {
                "distillation": timing.stream.batch_size,
                "forward": len(timing.inputs[0]),
                "teacher's training": timing.training.stream.batch_size,
            },
            "seconds": timing.all(),
            "commit": results.commit(),
            "hardware": results.hardware(),
            "versions": results.versions(),
        }
        if options.device == "cuda":
            report["kernels"] = timing.kernels()
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report["seconds"], indent=1))


if __name__ == "__main__":
    main()
