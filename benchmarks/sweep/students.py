"""The training stage: students of one start and one stream of batches, by the clock."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.sweep.captured import CoTraining, Rounds, fast
from benchmarks.sweep.carried import (
    of_optimizer,
    optimizer_state,
    read_parts,
    restore_optimizer,
    updates,
    write_parts,
)
from benchmarks.sweep.colours import ColourDash
from benchmarks.sweep.plan import Plan, before_again, fingerprint, until, wait_for, which, whole
from dashlib import data, results
from dashlib.checkpoints import load_into, pack, read_tensors, write_atomically
from dashlib.recipes import Recipe
from dashlib.runs.building import drawn, objective, weighting
from dashlib.runs.making import half
from dashlib.schedule import Schedule
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


def importance(folder: Path) -> Tensor | None:
    """The lambda that was learned beside the teacher of a folder, if it lies there."""
    path = folder / "importance.safetensors"
    return read_tensors(path)["lambda"] if path.exists() else None


def trainer(plan: Plan, row: str, start: Path | None) -> Trainer:
    """The untrained trainer of a row, compiled on a GPU."""
    spec = plan.recipe(row)
    model = student(spec, start).to(plan.device)
    if plan.device == "cuda":
        model = model.to(memory_format=torch.channels_last)
    lam = torch.zeros(Schedule().T) if plan.teach else importance(plan.taught)
    weights = weighting(spec, lam)
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


def teacher_weights(folder: Path, deadline: float) -> dict[str, Tensor]:
    """The weights of the teacher of a folder, once all of their parts are there."""
    return read_parts(folder / "teacher", deadline)


def go_on(made: Trainer, stem: Path, deadline: float) -> None:
    """Restore the optimizer's state of the weights of a stem, if one came with them."""
    found = of_optimizer(stem)
    if any(found.parent.glob(f"{found.name}-*")):
        restore_optimizer(made, read_parts(found, deadline), f"{found}-*")
    print(f"{stem.name} goes on; its optimizer has made {updates(made)} updates", flush=True)


def hand_over(plan: Plan, training: CoTraining) -> None:
    """Give the lambda that was learned beside this sweep's teacher to who gets it transferred."""
    lam = importance(plan.taught) if plan.teach else None
    for row, made in training.trainers.items():
        if lam is not None and plan.recipe(row).weighting == "transfer":
            made.weighting.get_parameter("lam").copy_(lam)


def wait_for_images(plan: Plan, deadline: float) -> None:
    """Wait until all parts of both halves of the data are there."""
    for part in ("train", "test"):
        what = f"{part}-* in {plan.data}"
        wait_for(lambda part=part: whole(plan.data, part), what, deadline)  # type: ignore[misc]


def start_of(plan: Plan, row: str) -> Path | None:
    """The stored weights that a row goes on from, if there are some: its own, or as it was before.

    ``FileNotFoundError`` for a row that is trained again, ``-x2``, without.
    """
    before = before_again(row)
    for path in (plan.weights / f"{name}.safetensors" for name in (row, before) if name):
        if path.exists():
            return path
    if before:
        files = f"{before}.safetensors, with its .json,"
        raise FileNotFoundError(f"{row} is trained again: put {files} into {plan.weights}")
    return None


def train(plan: Plan) -> None:
    """Train the students of one seed after the other, until their part of the minutes is over."""
    deadline = until(plan.work, plan.train)
    teacher = fast(UNet(plan.learner.unet).eval().requires_grad_(False), plan.device)
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
    load_into(teacher, teacher_weights(plan.taught, deadline), "the teacher")
    for i, training in enumerate(trainings):
        hand_over(plan, training)
        for row, made in training.trainers.items():
            if (start := start_of(plan, row)) is not None:
                go_on(made, start.with_suffix(""), deadline)
        training.stream = stream_of(images, plan.recipe(next(iter(training.trainers))))
        end = partial(_end, plan, _costs(trainings[i:]), time.time())
        trace = followed(training, plan, end, plan.rounds)
        _save(plan, training, trace, fingerprint(images))
        training.graph = None  # its memory is another seed's
    (plan.work / "trained").touch()


def _costs(trainings: list[CoTraining]) -> float:
    """The first one's part of the time of all: a student costs as much as half of the teacher."""
    costs = [len(training.trainers) + 2 for training in trainings]
    return costs[0] / sum(costs)


def _end(plan: Plan, part: float, started: float) -> float:
    """When a training that takes a part of the time from ``started`` is over."""
    return started + part * (until(plan.work, plan.train) - started)


def followed(
    training: CoTraining, plan: Plan, end: Callable[[], float], rounds: float
) -> list[Rounds]:
    """Train until ``end()``, asked anew each round, or for so many rounds, printing now and then.

    Raises ``TimeoutError`` if the end is over before the first round.
    """
    started, trace = time.time(), list[Rounds]()

    def progress(done: int) -> float:
        gone = 0.0 if plan.dry else (time.time() - started) / max(end() - started, 1e-9)
        return max(gone, done / rounds)

    for seen in training.run(progress):
        if seen.done % 500 == 0 or plan.dry:
            losses = {row: round(loss, 5) for row, loss in seen.losses.items()}
            print(f"{seen.done} rounds in {seen.seconds:.1f} s: {losses}", flush=True)
        trace.append(seen)
    if not trace:
        raise TimeoutError(f"no time was left to train {', '.join(training.trainers)}")
    print(f"trained: {trace[-1].done} rounds in {trace[-1].seconds:.1f} s", flush=True)
    return trace


def note_of(
    spec: Recipe, training: CoTraining, row: str, trace: list[Rounds], images: str,
    before: list[dict[str, Any]],
) -> dict[str, Any]:  # fmt: skip
    """What a trained row is stored with: recipe, losses, and the stages that made it."""
    made, batch = training.trainers[row], training.stream.batch_size
    stage = {
        "steps": made.step, "batch_size": batch, "images": made.step * batch,
        "lr": spec.train.lr, "seconds": round(trace[-1].seconds, 1),
        "beside": len(training.trainers), "captured": training.graph is not None,
        "ema_last": 1 - float(made.averaged.rate), "updates": updates(made), "data": images,
        "commit": results.commit(), "hardware": results.hardware(),
        "versions": results.versions(),
    }  # fmt: skip
    losses = [(r.done, r.seconds, r.losses[row]) for r in trace]
    known = {"spec": asdict(spec), "parameters": count_parameters(made.model)}
    return {**known, "stages": [*before, stage], "losses": losses}


def _save(plan: Plan, training: CoTraining, trace: list[Rounds], images: str) -> None:
    """Write the averaged weights in fp16, each with its optimizer and the stages that made it."""
    for row, made in training.trainers.items():
        before = stages_of(start_of(plan, row))
        note = note_of(plan.recipe(row), training, row, trace, images, before)
        stem = plan.work / "students" / row
        write_parts(of_optimizer(stem), optimizer_state(made))
        write_atomically(Path(f"{stem}.safetensors"), pack(averaged(made)))
        write_atomically(Path(f"{stem}.json"), json.dumps(note).encode())


def averaged(made: Trainer) -> dict[str, Tensor]:
    """The averaged weights, in fp16."""
    tensors = half(made.averaged.model.to("cpu")).state_dict()
    return {name: v.half() for name, v in tensors.items()}
