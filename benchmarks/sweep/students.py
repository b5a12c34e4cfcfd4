"""The training stage: students of one start and one stream of batches, by the clock."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.sweep.plan import Plan, until, wait_for, whole
from dashlib import data, results
from dashlib.checkpoints import load_into, pack, read_tensors, write_atomically
from dashlib.recipes import Recipe
from dashlib.runs.building import drawn, objective, weighting
from dashlib.runs.making import half
from dashlib.scale.captured import CoTraining, Rounds, fast
from dashlib.training import Trainer
from dashlib.unet import UNet, count_parameters


def student(spec: Recipe, start: Path | None) -> UNet:
    """The network of a spec: from stored weights if there are some, else from its seed."""
    torch.manual_seed(spec.seed)
    model = UNet(spec.unet)
    if start is not None:
        load_into(model, read_tensors(start), str(start))
    return model


def stages_of(start: Path | None) -> list[dict[str, Any]]:
    """The stages of training that made stored weights, from the JSON file beside them."""
    if start is None:
        return []
    note = Path(f"{str(start).removesuffix('.safetensors')}.json")
    return list(json.loads(note.read_text())["stages"])


def trainers(plan: Plan, starts: dict[str, Path | None]) -> dict[str, Trainer]:
    """An untrained trainer a row, compiled on a GPU."""
    found = {}
    for row, spec in plan.recipes().items():
        model = student(spec, starts[row]).to(plan.device)
        if plan.device == "cuda":
            model = model.to(memory_format=torch.channels_last)
        found[row] = Trainer(model, objective(spec, None), weighting(spec), spec.train)
        fast(model, plan.device)
    return found


def stream_of(images: data.Images, plan: Plan) -> data.Stream:
    """The batches that all students see."""
    return data.Stream(images, **drawn(plan.recipe(plan.rows[0])))


def noise_images(plan: Plan) -> data.Images:
    """Images to compile with while the real ones are on their way."""
    shape = (8, 3, 32, 32)
    x = torch.randint(256, shape, dtype=torch.uint8, device=plan.device)
    return data.Images(x, torch.arange(8, device=plan.device))


def compile_row(plan: Plan, row: str) -> None:
    """Compile one student's step into the cache that the other processes read."""
    found = trainers(plan, dict.fromkeys(plan.rows))[row]
    teacher = UNet(plan.recipe(row).unet).to(plan.device)  # any network: it is not compiled
    shares = {row: plan.share(row)}
    training = CoTraining({row: found}, shares, stream_of(noise_images(plan), plan), teacher)
    training.compute(update=False)


def teacher_weights(plan: Plan, deadline: float) -> dict[str, Tensor]:
    """The teacher's weights, once all of their parts are there."""
    wait_for(lambda: whole(plan.weights, "teacher"), f"teacher-* in {plan.weights}", deadline)
    parts = sorted(plan.weights.glob("teacher-*.safetensors"))
    return {name: v for part in parts for name, v in read_tensors(part).items()}


def wait_for_images(plan: Plan, deadline: float) -> None:
    """Wait until all parts of both halves of the data are there."""
    for part in ("train", "test"):
        what = f"{part}-* in {plan.data}"
        wait_for(lambda part=part: whole(plan.data, part), what, deadline)  # type: ignore[misc]


def train(plan: Plan) -> None:
    """Train all students until their part of the minutes is over, and save them."""
    deadline = until(plan.work, plan.train)
    starts: dict[str, Path | None] = {}
    for row in plan.rows:
        path = plan.weights / f"{row}-s0.safetensors"
        starts[row] = path if path.exists() else None
    teacher = fast(UNet(plan.teacher).eval().requires_grad_(False), plan.device)
    found = trainers(plan, starts)
    shares = {row: plan.share(row) for row in plan.rows}
    training = CoTraining(found, shares, stream_of(noise_images(plan), plan), teacher)
    training.compute(update=False)
    print(f"{len(found)} students compiled", flush=True)
    wait_for_images(plan, deadline)
    images = plan.dataset().train
    load_into(teacher, teacher_weights(plan, deadline), "the teacher")
    training.stream = stream_of(images, plan)
    trace = list(_followed(training, plan))
    _save(plan, training, trace, starts, data.fingerprint(images))


def _followed(training: CoTraining, plan: Plan) -> Iterator[Rounds]:
    """Train, printing now and then."""
    started, rounds = time.time(), count()

    def left() -> tuple[float, float]:
        if plan.dry:
            return next(rounds), 2.0
        return time.time() - started, until(plan.work, plan.train) - started

    for seen in training.run(left):
        if seen.done % 500 == 0 or plan.dry:
            losses = {row: round(loss, 5) for row, loss in seen.losses.items()}
            print(f"{seen.done} rounds in {seen.seconds:.1f} s: {losses}", flush=True)
        yield seen


def _save(
    plan: Plan,
    training: CoTraining,
    trace: list[Rounds],
    starts: dict[str, Path | None],
    fingerprint: str,
) -> None:
    """Write the averaged weights in fp16, each with the stages that made it."""
    last, batch = trace[-1], training.stream.batch_size
    for row, spec in plan.recipes().items():
        steps, average = training.trainers[row].step, training.trainers[row].averaged
        stage = {
            "steps": steps, "batch_size": batch, "images": steps * batch, "lr": spec.train.lr,
            "seconds": round(last.seconds, 1), "beside": len(plan.rows),
            "captured": training.graph is not None, "ema_last": 1 - float(average.rate),
            "data": fingerprint, "commit": results.commit(), "hardware": results.hardware(),
            "versions": results.versions(),
        }  # fmt: skip
        model = half(average.model.to("cpu"))
        stem = plan.work / "students" / f"{row}-s{spec.seed}"
        weights = pack({k: v.half() for k, v in model.state_dict().items()})
        write_atomically(Path(f"{stem}.safetensors"), weights)
        losses = [(r.done, r.seconds, r.losses[row]) for r in trace]
        note = {
            "spec": asdict(spec), "parameters": count_parameters(model),
            "stages": [*stages_of(starts[row]), stage], "losses": losses,
        }  # fmt: skip
        write_atomically(Path(f"{stem}.json"), json.dumps(note).encode())
    (plan.work / "trained").touch()
    print(f"trained: {last.done} rounds in {last.seconds:.1f} s", flush=True)
