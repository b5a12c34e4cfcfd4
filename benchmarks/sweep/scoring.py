"""The scoring stage: gaps, errors by frequency, samples and their scores, until time is over."""

import json
import os
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.sweep.captured import fast
from benchmarks.sweep.judge import Judge
from benchmarks.sweep.plan import SAMPLERS, Plan, until, wait_for
from benchmarks.sweep.students import teacher_weights, wait_for_images
from dashlib import results
from dashlib.checkpoints import load_into, pack, read_tensors, write_atomically
from dashlib.data import as_floats, to_bytes
from dashlib.guidance import Branches, Guided
from dashlib.metrics import NoisyPairs, compare, image_errors, noisy_pairs, predict, spreads
from dashlib.sampling import balanced_labels, sample, starting_noise
from dashlib.schedule import Schedule
from dashlib.unet import UNet, UNetConfig

BINS = 20  # of timesteps
FEW = 2_000  # samples
FIRST_SAMPLE = 970  # errors in the image are counted up to here, where sampling starts


class Half:
    """A network for sampling: in fp16 on a GPU, whose ten bits round finer than bf16's seven."""

    def __init__(self, model: UNet, device: torch.device | str) -> None:
        self.model = fast(model.eval().requires_grad_(False), device)
        self.kind = torch.device(device).type

    @property
    def cfg(self) -> UNetConfig:
        """The architecture."""
        return self.model.cfg

    @property
    def null_label(self) -> int:
        """Label of the unconditional branch."""
        return self.model.null_label

    @torch.no_grad()
    def __call__(self, x_t: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """Predicted noise."""
        if self.kind == "cuda":
            x_t = x_t.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.kind, torch.float16, enabled=self.kind == "cuda"):
            return self.model(x_t, t.contiguous(), y)


def draw(model: Half, label: str, sampler: str, n: int, plan: Plan) -> Tensor:
    """Samples as bytes from the noise and the labels that every model gets."""
    start, eta = SAMPLERS[sampler]
    noise, labels = starting_noise(n, model.cfg), balanced_labels(n).to(plan.device)
    generator = torch.Generator(plan.device).manual_seed(0)
    parts = []
    for x, y in zip(noise.split(plan.chunk), labels.split(plan.chunk), strict=True):
        guided = Guided(model, y, plan.schedule_of(label))
        how = {"steps": plan.steps, "start": start, "eta": eta, "generator": generator}
        parts.append(to_bytes(sample(guided, x.to(plan.device), Schedule(), **how)))
    return torch.cat(parts)


def errors_by_timestep(student: Branches, teacher: Branches, noisy: NoisyPairs) -> dict[int, Any]:
    """Root mean squares in the predicted image by range of timesteps, of both branches and the gap.

    Pairs above t = 970 are left out: no sample visits them.
    """
    width = 1000 // BINS
    found: dict[int, Any] = {}
    parts = {"cond": student.cond - teacher.cond, "uncond": student.uncond - teacher.uncond}
    parts |= {"gap": student.gap - teacher.gap}
    of = {name: image_errors(error, noisy.t, Schedule()) for name, error in parts.items()}
    for start in range(0, 1000, width):
        inside = (noisy.t >= start) & (noisy.t < min(start + width, FIRST_SAMPLE + 1))
        found[start] = {
            name: {k: v[inside].mean().sqrt().item() for k, v in stats.items()}
            for name, stats in of.items()
        }
    return found


class Scoring:
    """Models under the same compiled networks, and what is known of the teacher."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        kinds = dict.fromkeys(plan.recipe(row).unet for row in (*plan.rows, *plan.given))
        self.nets = {cfg: Half(UNet(cfg), plan.device) for cfg in (plan.learner.unet, *kinds)}
        for net in self.nets.values():
            self._warm(net)
        print("compiled", flush=True)
        self.judges = ThreadPoolExecutor(max(1, (os.cpu_count() or 1) // 4))
        self.pending: deque[tuple[str, Future[dict[str, Any]]]] = deque()
        self.report: dict[str, Any] = {"models": {}}
        self.pictures: dict[str, Tensor] = {}

    def _warm(self, net: Half) -> None:
        """Compile for the batches that come."""
        noise, y = starting_noise(self.plan.chunk, net.cfg), balanced_labels(self.plan.chunk)
        t = torch.full(y.shape, 5, device=self.plan.device)
        guided = Guided(net, y.to(self.plan.device), self.plan.schedule_of("2"))
        guided(noise.to(self.plan.device), t)

    def learn_reality(self) -> None:
        """The features of real images, the floor of the scores, and the spread of the data."""
        parts = self.plan.dataset()
        self.judge = Judge.of(parts.train, parts.test, self.plan.device, half=True)
        n = (150, 300) if self.plan.dry else (2_000, 10_000)
        self.report["floor"] = [self.judge.floor(k) for k in n]
        self.report["probe_accuracy"] = self.judge.floor(len(parts.test))["accuracy"]
        self.report["data_spreads"] = spreads(as_floats(parts.test.x))
        self.test = parts.test
        self.save()
        print("floor", self.report["floor"][0], flush=True)

    def ask_teacher(self, deadline: float) -> None:
        """The teacher's answers on noisy held-out images."""
        weights = teacher_weights(self.plan.taught, deadline)
        load_into(self._net("teacher").model, weights, "the teacher")
        self.noisy = noisy_pairs(self.test, Schedule(), pairs=self.plan.pairs)
        self.answers = self._answers("teacher")
        self.report["teacher_gap_ms"] = float(self.answers.gap.square().mean())

    def _net(self, row: str) -> Half:
        spec = self.plan.learner if row == "teacher" else self.plan.recipe(row)
        return self.nets[spec.unet]

    def _answers(self, row: str) -> Branches:
        return predict(self._net(row), self.noisy, batch_size=self.plan.chunk)

    def load(self, row: str) -> Half:
        """The network of a row with its weights in it."""
        net = self._net(row)
        if row != "teacher":
            made = self.plan.weights if row in self.plan.given else self.plan.work / "students"
            path = made / f"{row}.safetensors"
            load_into(net.model, read_tensors(path), str(path))
        return net

    def gap(self, row: str) -> None:
        """Gap metrics, and errors in the image, of a student."""
        self.load(row)
        mine = self._answers(row)
        entry = self.report["models"].setdefault(row, {})
        entry["gap"] = asdict(compare(mine, self.answers, self.noisy, Schedule(), bins=BINS))
        entry["image_errors"] = errors_by_timestep(mine, self.answers, self.noisy)
        print(row, entry["gap"]["overall"], flush=True)

    def score(self, row: str, label: str, sampler: str, n: int) -> None:
        """Draw n samples; their scores are computed while the next are drawn."""
        clock = time.perf_counter()
        images = draw(self.load(row), label, sampler, n, self.plan)
        self.pictures[f"{row}|{label}|{sampler}"] = images[: self.plan.pictures].cpu()
        found = {"spreads": spreads(as_floats(images)), "guidance": label, "sampler": sampler}
        features = self.judge.features(images)
        found |= {"seconds": round(time.perf_counter() - clock, 2), **results.provenance()}
        self.pending.append((row, self.judges.submit(self._judged, features, found)))

    def _judged(self, features: Tensor, found: dict[str, Any]) -> dict[str, Any]:
        clock = time.perf_counter()
        scores = self.judge.compare(features, balanced_labels(len(features)))
        seconds = round(found["seconds"] + time.perf_counter() - clock, 2)
        return scores | found | {"seconds": seconds}

    def collect(self, *, wait: bool = False) -> None:
        """Take over the scores that are computed, or wait for all; the first error is raised."""
        while self.pending and (wait or self.pending[0][1].done()):
            row, made = self.pending.popleft()
            found = made.result()
            self.report["models"].setdefault(row, {}).setdefault("scores", []).append(found)
            what = (found["guidance"], found["sampler"], found["n"])
            print(row, *what, round(found["fd"], 2), round(found["accuracy"], 3), flush=True)
        self.save()

    def save(self) -> None:
        """Write what is known so far."""
        write_atomically(self.plan.work / "report.json", json.dumps(self.report).encode())
        if self.pictures:
            write_atomically(self.plan.work / "pictures.safetensors", pack(self.pictures))


def tasks(plan: Plan) -> Iterator[tuple[str, str, str, int]]:
    """(model, guidance, sampler, samples), most wanted first; many samples for given models only.

    Without given models the students of the sweep get them.
    """
    known = {row: known_scores(noted(plan, row)) for row in ("teacher", *plan.given)}
    for label, sampler, n in plan.wanted():
        students = (*plan.rows, *plan.given) if n <= FEW else plan.given or plan.rows
        for row in ("teacher", *students):
            if (label, sampler, n) not in known.get(row, ()):
                yield row, label, sampler, n


def noted(plan: Plan, row: str) -> dict[str, Any]:
    """The note beside weights: the stages that made them and, if known, gap and scores."""
    folder = plan.taught if row == "teacher" else plan.weights
    return dict(json.loads((folder / f"{row}.json").read_text()))


def known_scores(note: dict[str, Any]) -> set[tuple[str, str, int]]:
    """The (guidance, sampler, samples) that a note has scores of."""
    return {(s["guidance"], s["sampler"], s["n"]) for s in note.get("scores", ())}


def evaluate(plan: Plan) -> None:
    """Score everything that time allows; what was scored is kept."""
    deadline = until(plan.work, 1)
    scoring = Scoring(plan)
    wait_for_images(plan, deadline)
    teacher_weights(plan.taught, deadline)  # what comes last
    scoring.learn_reality()
    scoring.ask_teacher(deadline)
    wait_for((plan.work / "trained").exists, "the students", until(plan.work, plan.train) + 120)
    for row in (*plan.rows, *(row for row in plan.given if "gap" not in noted(plan, row))):
        scoring.gap(row)
    scoring.save()
    seconds = {True: 0.006, False: 0.0025}  # a sample: of the teacher, of a student
    for row, label, sampler, n in tasks(plan):
        teacher = row == "teacher"
        if time.time() + n * seconds[teacher] > until(plan.work, 1):
            continue
        clock = time.time()
        scoring.score(row, label, sampler, n)
        seconds[teacher] = (time.time() - clock) / n
        scoring.collect()
    scoring.collect(wait=True)
    Path(plan.work / "scored").touch()
