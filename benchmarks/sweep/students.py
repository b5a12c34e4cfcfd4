"""The training stage: students of one start and one stream of batches, by the clock."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.sweep.captured import CoTraining, Rounds, fast
from benchmarks.sweep.colours import ColourDash
from benchmarks.sweep.plan import Plan, fingerprint, until, wait_for, which, whole
from dashlib import data, results
from dashlib.checkpoints import load_into, pack, read_tensors, write_atomically
from dashlib.recipes import Recipe
from dashlib.runs.building import drawn, objective, weighting
from dashlib.runs.making import half
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


def importance(plan: Plan) -> Tensor | None:
    """The lambda that was learned beside the teacher, if it came with the weights."""
    path = plan.weights / "importance.safetensors"
    return read_tensors(path)["lambda"] if path.exists() else None


def trainer(plan: Plan, row: str, start: Path | None) -> Trainer:
    """The untrained trainer of a row, compiled on a GPU."""
    spec = plan.recipe(row)
    model = student(spec, start).to(plan.device)
    if plan.device == "cuda":
        model = model.to(memory_format=torch.channels_last)
    weights = weighting(spec, importance(plan))
    aim = ColourDash(**spec.options) if "colour" in spec.options else objective(spec, None)
    made = Trainer(model, aim, weights, spec.train)
    fast(model, plan.device)
    return made


def stream_of(images: data.Images, recipe: Recipe) -> data.Stream:
    """The batches that all students of a seed see."""
    return data.Stream(images, **drawn(recipe))


def noise_images(plan: Plan) -> data.Images:
    """Images to compile with while the real ones are on their way."""
    shape = (8, 3, 32, 32)
    x = torch.randint(256, shape, dtype=torch.uint8, device=plan.device)
    return data.Images(x, torch.arange(8, device=plan.device))


def compile_row(plan: Plan, row: str) -> None:
    """Compile one student's step into the cache that the other processes read."""
    found, spec = trainer(plan, row, None), plan.recipe(row)
    teacher = UNet(spec.unet).to(plan.device)  # any network: it is not compiled
    stream = stream_of(noise_images(plan), spec)
    CoTraining({row: found}, {row: plan.share(row)}, stream, teacher).compute(update=False)


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


def start_of(plan: Plan, row: str) -> Path | None:
    """The stored weights that a row goes on from, if it has some."""
    path = plan.weights / f"{row}.safetensors"
    return path if path.exists() else None


def train(plan: Plan) -> None:
    """Train the students of one seed after the other, until their part of the minutes is over."""
    deadline = until(plan.work, plan.train)
    teacher = fast(UNet(plan.teacher).eval().requires_grad_(False), plan.device)
    trainings = []
    for rows in plan.seeds().values():
        found = {row: trainer(plan, row, start_of(plan, row)) for row in rows}
        stream = stream_of(noise_images(plan), next(iter(rows.values())))
        shares = {row: plan.share(row) for row in rows}
        trainings.append(CoTraining(found, shares, stream, teacher))
        trainings[-1].compute(update=False)
        print(f"{', '.join(rows)}: compiled", flush=True)
    wait_for_images(plan, deadline)
    images = plan.dataset().train
    print(f"training images: {which('cifar10', 'train', images)}", flush=True)
    load_into(teacher, teacher_weights(plan, deadline), "the teacher")
    for i, training in enumerate(trainings):
        training.stream = stream_of(images, plan.recipe(next(iter(training.trainers))))
        trace = list(_followed(training, plan, _costs(trainings[i:])))
        _save(plan, training, trace, fingerprint(images))
        training.graph = None  # its memory is another seed's
    (plan.work / "trained").touch()


def _costs(trainings: list[CoTraining]) -> float:
    """The first one's part of the time of all: a student costs as much as half of the teacher."""
    costs = [len(training.trainers) + 2 for training in trainings]
    return costs[0] / sum(costs)


def _followed(training: CoTraining, plan: Plan, part: float) -> Iterator[Rounds]:
    """Train for a part of the time that is left, printing now and then."""
    started = time.time()

    def progress(done: int) -> float:
        end = started + part * (until(plan.work, plan.train) - started)
        gone = 0.0 if plan.dry else (time.time() - started) / (end - started)
        return max(gone, done / plan.rounds)

    for seen in training.run(progress):
        if seen.done % 500 == 0 or plan.dry:
            losses = {row: round(loss, 5) for row, loss in seen.losses.items()}
            print(f"{seen.done} rounds in {seen.seconds:.1f} s: {losses}", flush=True)
        yield seen


def _save(plan: Plan, training: CoTraining, trace: list[Rounds], images: str) -> None:
    """Write the averaged weights in fp16, each with the stages that made it."""
    last, batch = trace[-1], training.stream.batch_size
    for row, made in training.trainers.items():
        spec, steps, average = plan.recipe(row), made.step, made.averaged
        stage = {
            "steps": steps, "batch_size": batch, "images": steps * batch, "lr": spec.train.lr,
            "seconds": round(last.seconds, 1), "beside": len(training.trainers),
            "captured": training.graph is not None, "ema_last": 1 - float(average.rate),
            "data": images, "commit": results.commit(), "hardware": results.hardware(),
            "versions": results.versions(),
        }  # fmt: skip
        model = half(average.model.to("cpu"))
        stem = plan.work / "students" / row
        weights = pack({k: v.half() for k, v in model.state_dict().items()})
        write_atomically(Path(f"{stem}.safetensors"), weights)
        losses = [(r.done, r.seconds, r.losses[row]) for r in trace]
        note = {
            "spec": asdict(spec), "parameters": count_parameters(model),
            "stages": [*stages_of(start_of(plan, row)), stage], "losses": losses,
        }  # fmt: skip
        write_atomically(Path(f"{stem}.json"), json.dumps(note).encode())
    print(f"trained: {last.done} rounds in {last.seconds:.1f} s", flush=True)
