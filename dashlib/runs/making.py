"""Making stored runs: students of one seed are trained side by side, then each is scored."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryFile

import torch
from torch import Tensor

from dashlib import classifier, datasets, results
from dashlib.checks import check_choice
from dashlib.data import Batch, with_teacher
from dashlib.execution import Execution
from dashlib.metrics import distances
from dashlib.progress import Progress, silent
from dashlib.recipes import DIGITS, RECIPES, Recipe
from dashlib.runs.building import build, stream
from dashlib.runs.scoring import SAMPLES, measure, sound_teacher
from dashlib.training import StepRecord, Trainer, side_by_side
from dashlib.unet import UNet

SNAPSHOTS = 60  # of the importance, over training


def half(model: UNet) -> UNet:
    """Round the weights to half precision, as they are stored: what is stored is what is scored."""
    model.load_state_dict({k: v.half().float() for k, v in model.state_dict().items()})
    return model.cpu().eval().requires_grad_(False)


class Clock:
    """Wall-clock seconds by phase, and CPU seconds in all, to a tenth."""

    def __init__(self) -> None:
        self.seconds = dict[str, float]()
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def lap(self, phase: str) -> None:
        """End a phase."""
        now = time.perf_counter()
        self.seconds[phase], self._wall = round(now - self._wall, 1), now

    def cpu(self) -> float:
        """CPU seconds since the start."""
        return round(time.process_time() - self._cpu, 1)


class Trace:
    """Collect what is kept of a training: its curves and, if learned, the importance."""

    def __init__(self, trainer: Trainer) -> None:
        self.weighting, self.steps = trainer.weighting, trainer.cfg.steps
        self.records, self.history = list[StepRecord](), list[Tensor]()

    def add(self, record: StepRecord) -> None:
        """Note a step."""
        self.records.append(record)
        if record.step in (1, self.steps) or record.step % max(self.steps // SNAPSHOTS, 1) == 0:
            learned = [p for p in self.weighting.parameters() if p.requires_grad]
            self.history += [p.detach().clone() for p in learned[:1]]

    def tensors(self) -> dict[str, Tensor]:
        """Loss and terms averaged over windows of 10 steps, ``(steps // 10,)``; the importance."""
        windows = self.records[: len(self.records) // 10 * 10]
        curves = {"loss": [r.loss for r in windows]}
        curves |= {name: [r.terms[name] for r in windows] for name in self.records[0].terms}
        found = {f"curve.{k}": torch.tensor(v).reshape(-1, 10).mean(1) for k, v in curves.items()}
        if self.history:
            found[self.weighting.symbol] = torch.stack(self.history).float()
        return found


def answered_batches(recipe: Recipe, teacher: UNet | None, device: str) -> Iterator[Batch]:
    """The batches of a recipe on a device, with the answers of its teacher if it has one."""
    batches = stream(recipe, torch.device(device), Path("data"))
    return batches if teacher is None else with_teacher(batches, teacher)


def train_together(
    recipes: Sequence[Recipe], progress: Progress = silent, device: str = "cpu"
) -> tuple[dict[str, Trainer], dict[str, Trace]]:
    """Train recipes of one seed and teacher to their end, on the same batches, by name."""
    first, executions = recipes[0], dict[str, Execution]()
    teacher = sound_teacher(first.teacher) if first.teacher else None
    if device != "cpu":
        from dashlib.scale import distributed, engine  # which need Accelerate

        place = distributed.make_accelerator("fp32", device)
        device, teacher = str(place.device), teacher and teacher.to(place.device)
        executions = {recipe.name: engine.Parallel(place) for recipe in recipes}
    trainers = {r.name: build(r, teacher, execution=executions.get(r.name)) for r in recipes}
    traces = {name: Trace(trainer) for name, trainer in trainers.items()}
    for records in side_by_side(trainers, answered_batches(first, teacher, device)):
        for name, record in records.items():
            traces[name].add(record)
        others = f" and {len(recipes) - 1} more" if len(recipes) > 1 else ""
        progress(first.name + others, records[first.name].step, first.train.steps)
    return trainers, traces


def check_names(names: Sequence[str]) -> None:
    """``ValueError`` for a name that is not one of the book's runs."""
    for name in names:
        check_choice("unknown run", name, (DIGITS.classifier, *RECIPES))


def make(
    names: Sequence[str], progress: Progress = silent, device: str = "cpu"
) -> Iterator[results.Run]:
    """Make digits runs of one seed and teacher from scratch, and store them; yields each.

    Networks are trained on the device, ``cpu`` or ``cuda``; the CPU scores.  ``ValueError`` for an
    unknown name, a defective teacher, or no GPU, ``MissingRun`` for a teacher not stored.
    """
    check_names(names)
    results.root().mkdir(parents=True, exist_ok=True)
    TemporaryFile(dir=results.root()).close()  # if that fails, then before the training
    if DIGITS.classifier in names:
        yield _make_classifier()
    recipes = [RECIPES[name] for name in names if name != DIGITS.classifier]
    if not recipes:
        return
    clock = Clock()
    trainers, traces = train_together(recipes, progress, device)
    clock.lap("train")
    train, cpu = clock.seconds["train"] / len(recipes), clock.cpu() / len(recipes)
    for recipe in recipes:
        clock, model = Clock(), half(trainers[recipe.name].ema)
        metrics, pictures = measure(model, recipe.teacher, progress, recipe.name)
        metrics["beside"] = len(recipes) - 1
        metrics["ema_decay"] = 1 - trainers[recipe.name].averaged.rate.item()  # of the last step
        clock.lap("evaluate")
        spent = {"train": round(train, 1), **clock.seconds}, round(cpu + clock.cpu(), 1)
        run = results.Run(recipe.name, asdict(recipe), recipe.seed, *spent, SAMPLES, metrics)
        weights = {k: v.half() for k, v in model.state_dict().items()}
        trace = traces[recipe.name].tensors() | pictures
        yield results.store(run, weights=weights, trace=trace)


def _make_classifier() -> results.Run:
    digits, clock = datasets.load_dataset("digits"), Clock()
    model = classifier.fit(digits.train)
    clock.lap("train")
    parts = {"train": digits.train, "test": digits.test}
    metrics = {f"accuracy_{k}": classifier.accuracy(model, part) for k, part in parts.items()}
    floor = distances(*(model.features(part.x) for part in (digits.test, digits.train)))
    metrics |= {f"{name}_test_to_train": value for name, value in floor.items()}
    spent, config = (clock.seconds, clock.cpu()), {"epochs": 60}
    run = results.Run(DIGITS.classifier, config, 0, *spent, len(digits.test), metrics)
    return results.store(run, weights=model.state_dict())


def run_name(row: str, seed: int = 0) -> str:
    """The run of a row (``digits/fitnets``: under TIRT Transfer; ``digits/dash-uniform``) and seed.

    A run's whole name stands for itself.  ``ValueError`` for an unknown row, or a seed it has not.
    """
    for name in (row, f"{row}-transfer-s{seed}", f"{row}-s{seed}"):
        if name in (DIGITS.classifier, *RECIPES):
            return name
    stems = f"{row}-transfer", row
    if seeds := [n.rpartition("-s")[2] for n in RECIPES if n.rpartition("-s")[0] in stems]:
        raise ValueError(f"{row} has no seed {seed}: one of {', '.join(sorted(seeds))}")
    known = dict.fromkeys(n.rpartition("-transfer-s")[0] for n in RECIPES if "-transfer-s" in n)
    raise ValueError(f"unknown row {row!r}: one of {', '.join(known)}, or a run's whole name")
