"""Guidance given back to CIFAR-10 students that lost it, with the paper's networks.

As :mod:`benchmarks.reguide` does it on digits, with its ways: a student of 6.1M parameters that
predicts v learns, from its start, an objective that trains no usable null branch.  Then it goes
each way back, in 5 or 20 % of its own steps, at rates in digits' proportion to its own.  All
trainings of a seed see one stream of batches, so the teacher answers each batch once: the seconds
of the first that asks have its time in them, those of the others do not.

``python -m benchmarks.reguide_cifar10 --data ROOT --teacher FOLDER`` goes on where it was.  Its
defaults are for a GPU; what was stored says with what it was made.
"""

import argparse
import copy
import hashlib
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.passes import passes
from benchmarks.reguide import ROWS, WAYS, described, none_costs, spent, two_branches
from benchmarks.sweep.captured import fast
from benchmarks.sweep.judge import Judge
from benchmarks.sweep.plan import fingerprint
from dashbook.atlas import FIT_SEED, Repaired, fit
from dashlib import datasets, results
from dashlib.checkpoints import load_into, pack, read_tensors, write_atomically
from dashlib.data import Dataset, Images, as_floats, to_bytes
from dashlib.distillation import Network, assess, distilling
from dashlib.execution import TrainConfig
from dashlib.guidance import GuidanceSchedule, Guided
from dashlib.losses import Objective, make_objective
from dashlib.metrics import noisy_pairs, predict, spreads
from dashlib.recipes import CIFAR10, DIGITS
from dashlib.runs.making import Clock, half
from dashlib.sampling import balanced_labels, sample, starting_noise
from dashlib.schedule import Schedule
from dashlib.unet import UNet

SCALES = ("1.5", "4")
SAMPLER = {"start": 970, "eta": 0.5}
SIZES = ("steps", "batch", "samples", "ddim", "pairs", "reference")
OWN = DIGITS.student.train.lr  # what the rates of WAYS are in proportion to


class Remembered(nn.Module):
    """A frozen network that answers what it was asked before from memory."""

    def __init__(self, module: UNet) -> None:
        super().__init__()
        self.module = module.eval().requires_grad_(False)
        self.kept = dict[bytes, Tensor]()

    @torch.no_grad()
    def forward(self, *inputs: Tensor) -> Tensor:
        """The network's answer, known by four numbers of each noisy image, its t and label."""
        some = (of.flatten(1)[:, :4] if of.ndim > 1 else of for of in inputs)
        asked = b"".join(of.cpu().contiguous().numpy().tobytes() for of in some)
        key = hashlib.sha256(asked).digest()
        if key not in self.kept:
            self.kept[key] = self.module(*inputs)
        return self.kept[key]


@dataclass(frozen=True)
class Study:
    """What is trained, how long, and how it is scored."""

    data: Path
    teacher: Path  # a folder with its weights, in parts
    work: Path
    steps: int = 2400  # of a student from its start
    batch: int = 128
    samples: int = 2000
    ddim: int = 50
    pairs: int = 10_000  # of an image and its noise: for the gap and the two numbers
    reference: int = 50_000  # training images that samples are compared with
    device: str = "cuda"

    @cached_property
    def images(self) -> Dataset:
        """CIFAR-10 as bytes."""
        return datasets.load_dataset("cifar10", self.data, dtype="uint8")

    @cached_property
    def pairs_of_images(self) -> tuple[Tensor, Tensor]:
        """Training images in [-1, 1], each also mirrored, and their labels."""
        x, y = self.images.train.pixels(), self.images.train.y
        return torch.cat([x, x.flip(-1)]), y.repeat(2)

    @cached_property
    def network(self) -> Network:
        """The teacher."""
        model, parts = UNet(CIFAR10.learner.unet), sorted(self.teacher.glob("teacher-*"))
        tensors = {name: v for part in parts for name, v in read_tensors(part).items()}
        load_into(model, tensors, f"teacher-* in {self.teacher}")
        model = model.to(self.device).to(memory_format=torch.channels_last)
        model.compile(dynamic=False)
        return Network(Remembered(model), null=model.null_label)

    @cached_property
    def judge(self) -> Judge:
        """What scores samples."""
        real = self.images.train
        some = Images(real.x[: self.reference], real.y[: self.reference])
        return Judge.of(some, self.images.test, self.device)

    def bf16(self) -> AbstractContextManager[Any]:
        """Compute in bfloat16."""
        return torch.autocast(self.device, torch.bfloat16)

    def train(
        self, model: UNet, rule: Objective, cfg: TrainConfig, seed: int, part: Any = None
    ) -> tuple[UNet, dict[str, Any]]:
        """The student, trained in place and rounded as stored ones are; seconds and late loss."""
        how: dict[str, Any] = {"objective": rule, "weighting": "high_noise", "train": part}
        how |= {"batch_size": self.batch, "pairs": self.batch, "seed": seed}
        model = fast(model.to(memory_format=torch.channels_last), self.device)
        torch.manual_seed(seed)
        with self.bf16():  # its probe, too
            steps = distilling(self.network, model, self.pairs_of_images, cfg, **how)
        clock, losses = Clock(), list[float]()
        for record in steps:
            losses.append(record.loss)
            if record.step % 20 == 0:
                print(record.step, f"{record.loss:.5f}", flush=True)
        return half(model), spent(clock) | {"loss": fmean(losses[-20:])}

    def student(self, row: str, seed: int) -> tuple[UNet, dict[str, Any]]:
        """A row's student and what its training was; trained if it is not in ``work``."""
        of = CIFAR10.of(row, "high_noise", seed, prediction="v")
        cfg = replace(of.train, steps=self.steps, ema=0.99 if self.steps < 1000 else 0.999)
        file = self.work / f"{row}-s{seed}-{self.steps}x{self.batch}.safetensors"
        torch.manual_seed(seed)
        model, note = UNet(of.unet), file.with_suffix(".json")
        if not note.exists():
            trained, record = self.train(
                model, make_objective(of.objective, **of.options), cfg, seed
            )
            weights = {k: v.half().contiguous() for k, v in trained.state_dict().items()}
            write_atomically(file, pack(weights))
            record |= results.provenance() | {"train": asdict(cfg), "unet": asdict(of.unet)}
            write_atomically(note, json.dumps(record, indent=1).encode())
        load_into(model, read_tensors(file), str(file))
        return model.eval(), json.loads(note.read_text())

    @torch.inference_mode()
    def scores(self, model: UNet, schedules: dict[str, GuidanceSchedule]) -> dict[str, Any]:
        """Scores of samples under each schedule, from one noise."""
        found: dict[str, Any] = {}
        model = fast(model.eval().to(memory_format=torch.channels_last), self.device)
        labels = balanced_labels(self.samples)
        for label, w in schedules.items():
            draw = torch.Generator(self.device).manual_seed(0)
            how = SAMPLER | {"steps": self.ddim, "generator": draw}
            parts = []
            noise = starting_noise(self.samples, model.cfg).to(self.device).split(100)
            for x, y in zip(noise, labels.to(self.device).split(100), strict=True):
                with self.bf16():
                    images = sample(Guided(model, y, w), x, Schedule(), **how)
                parts.append(to_bytes(images.float().clamp(-1, 1)).cpu())
            images = torch.cat(parts)
            found[label] = self.judge.score(images, labels) | {
                "spreads": spreads(as_floats(images))
            }
        return found

    def gap(self, model: UNet) -> dict[str, Any]:
        """Gap metrics on held-out images."""
        held = self.images.test.pixels(), self.images.test.y
        student = self.network.around(model.to(self.device))
        with self.bf16():
            return assess(student, self.network, held, pairs=self.pairs).overall

    def none(self, model: UNet) -> dict[str, Any]:
        """The student as it is."""
        return none_costs() | {"guidance": self.scores(model, guidance()), "gap": self.gap(model)}

    def repaired(self, model: UNet) -> dict[str, Any]:
        """The student under ``w a* + c*``, fitted to the teacher on held-out images."""
        clock, asked = Clock(), {"student": 2 * self.pairs, "teacher": 2 * self.pairs}
        noisy = noisy_pairs(
            self.images.test.to(self.device), Schedule(), pairs=self.pairs, seed=FIT_SEED
        )
        teacher: Any = self.network.module.module
        with self.bf16():
            answers = [
                predict(net, noisy, batch_size=self.batch)
                for net in (model.to(self.device), teacher)
            ]
        found = fit(*answers, noisy.t)
        time = spent(clock)
        schedules = {w: Repaired(of, **found) for w, of in guidance().items()}
        return {"guidance": self.scores(model, schedules), "forwards": asked, "fit": found, **time}

    def given_back(self, model: UNet, name: str, steps: int, seed: int) -> dict[str, Any]:
        """The student after a training."""
        way = WAYS[name]
        own = CIFAR10.student.train
        cfg = replace(own, steps=steps, lr=way.lr / OWN * own.lr, ema=0.9 if steps < 100 else 0.99)
        pupil = copy.deepcopy(model).requires_grad_(True)
        after, record = self.train(pupil, way.rule, cfg, seed, way.train)
        asked = dict(zip(("student", "teacher"), passes(way.rule), strict=True))
        images = steps * self.batch
        forwards = {of: round(images * count) for of, count in asked.items()}
        scored = {"guidance": self.scores(after, guidance()), "gap": self.gap(after)}
        return {"forwards": forwards, "lr": cfg.lr, "steps": steps, **record, **scored}

    def ways(self, model: UNet, seed: int) -> dict[str, Callable[[], dict[str, Any]]]:
        """Measure each way from one student, cheapest first."""
        shares = {f"{share} %": self.steps * share // 100 for share in (5, 20)}
        trainings = [
            (f"{name}, {label}", (name, steps))
            for name, way in WAYS.items()
            for label, steps in list(shares.items())[-len(way.steps) :]
        ]
        return {
            "none": lambda: self.none(model),
            "repair": lambda: self.repaired(model),
            **{k: partial(self.given_back, model, *how, seed) for k, how in trainings},
        }

    def about(self) -> dict[str, Any]:
        """List what all was made with."""
        kept = {k: getattr(self, k) for k in SIZES}
        made = kept | {"sampler": SAMPLER, "precision": "bfloat16", "ways": described()}
        made |= {"images": fingerprint(self.images.train), "floor": self.judge.floor(self.samples)}
        return json.loads(json.dumps(made))  # as it is read again


def guidance() -> dict[str, GuidanceSchedule]:
    """The guidance that is scored."""
    return {w: CIFAR10.guidance[w] for w in SCALES}


def update(study: Study, out: Path, rows: list[str], seeds: list[int]) -> None:
    """Measure what is missing, storing each way of each student as it is done."""
    students = {(row, seed): study.student(row, seed) for seed, row in product(seeds, rows)}
    report, about = json.loads(out.read_text()) if out.exists() else {}, study.about()
    kept = report.get("entries", {}) if report.get("config") == about else {}
    for (row, seed), (found, how) in students.items():
        made = {"row": row, "seed": seed, "training": how, "ways": {}} | results.provenance()
        entry = kept.setdefault(f"{row}-s{seed}", made)
        for name, measure in study.ways(two_branches(found), seed).items():
            if name not in entry["ways"]:
                one = entry["ways"][name] = measure()
                fds = {w: round(of["fd"], 1) for w, of in one["guidance"].items()}
                print(row, seed, name, fds, f"{one['seconds']} s", flush=True)
                content = json.dumps({"config": about, "entries": kept}, indent=1)
                write_atomically(out, (content + "\n").encode())


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="where CIFAR-10's images lie")
    parser.add_argument("--teacher", type=Path, required=True, help="folder of teacher-*")
    parser.add_argument("--work", type=Path, default=Path("runs/reguide-cifar10"))
    parser.add_argument("--out", type=Path, default=results.root() / "bench/reguide-cifar10.json")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    for name in SIZES:
        parser.add_argument(f"--{name}", type=int, default=getattr(Study, name))
    parser.add_argument("--device", default=Study.device)
    args = vars(parser.parse_args())
    out, rows, seeds = (args.pop(name) for name in ("out", "rows", "seeds"))
    args["work"].mkdir(parents=True, exist_ok=True)
    update(Study(**args), out, rows, seeds)


if __name__ == "__main__":
    main()
