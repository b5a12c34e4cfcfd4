"""Training several runs at once: students of a seed share every batch and the teacher's answers."""

import itertools
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor

from dashlib import classifier, data, results
from dashlib.metrics import frechet, gaussian
from dashlib.recipes import Spec
from dashlib.runs.experiments import curves, half, trainer
from dashlib.runs.sweep.plan import Plan, dataset
from dashlib.schedule import Schedule
from dashlib.training import StepRecord, Trainer
from dashlib.unet import UNet, UNetConfig, count_parameters
from dashlib.weighting import TIRT


def compiled(model: UNet) -> UNet:
    """The model, compiled where that pays (on an accelerator); its weights stay where they are."""
    if next(model.parameters()).is_cuda:
        torch._dynamo.config.recompile_limit = 64  # one per network, batch size and mode
        model.compile(dynamic=False)
    return model


class Fast:
    """A network for inference: on the device, compiled, in half precision on an accelerator."""

    def __init__(self, model: UNet, device: str) -> None:
        self.model, self.device = compiled(model.to(device).eval()), device

    @property
    def cfg(self) -> UNetConfig:
        """The architecture."""
        return self.model.cfg

    @property
    def null_label(self) -> int:
        """Label of the unconditional branch."""
        return self.model.null_label

    def __call__(self, x_t: Tensor, t: Tensor, y: Tensor, *w: Tensor) -> Tensor:
        """Predicted noise; fp16's ten bits keep rounding under a gray level, bf16's do not."""
        kind = torch.device(self.device).type
        with torch.autocast(kind, torch.float16, enabled=kind == "cuda"):
            return self.model(x_t, t, y, *w)


class Group:
    """Trainers of one seed that share every batch; saved and resumed as one."""

    def __init__(self, specs: list[Spec], plan: Plan, key: str) -> None:
        first = specs[0]
        self.specs, self.plan, self.folder = specs, plan, plan.work / key
        self.stream = data.Stream(
            dataset(plan).train, Schedule(), first.unet.null_label, first.batch_size,
            seed=first.seed, flip=plan.settings.flip,
        )  # fmt: skip
        self.batches: Iterator[data.Batch] = self.stream
        if first.teacher:  # made before the random states are restored: it draws numbers, too
            teacher = Fast(results.load(first.teacher).model(), plan.device)
            self.batches = data.with_teacher(self.stream, teacher)
        self.trainers = [prepared(spec, plan.device) for spec in specs]
        self.records: list[list[StepRecord]] = [[] for _ in specs]
        self.importance: list[list[Tensor]] = [[] for _ in specs]
        self.seconds = 0.0
        if not self.folder.exists() and (old := self.folder.with_suffix(".old")).exists():
            old.rename(self.folder)  # killed between the two renames of save()
        if (self.folder / "group.pt").exists():
            self._resume()

    @property
    def done(self) -> bool:
        """Whether all steps are made."""
        return self.trainers[0].step == self.specs[0].train.steps

    def advance(self) -> Iterator[int]:
        """Train, yielding the step after each group of ``read_every`` steps."""
        copies = itertools.tee(self.batches, len(self.trainers))
        runs = [t.run(copy) for t, copy in zip(self.trainers, copies, strict=True)]
        clock = time.perf_counter()
        while not self.done:
            for i, run in enumerate(runs):
                self.records[i] += itertools.islice(run, self.specs[i].train.read_every)
                weighting = self.trainers[i].weighting
                if isinstance(weighting, TIRT) and weighting.lam.requires_grad:
                    self.importance[i].append(weighting.lam.detach().cpu().clone())
            now = time.perf_counter()
            self.seconds, clock = self.seconds + now - clock, now
            yield self.trainers[0].step

    def save(self) -> None:
        """Write all trainers and records; the former checkpoint stays until this one is whole."""
        new, old = self.folder.with_suffix(".new"), self.folder.with_suffix(".old")
        shutil.rmtree(new, ignore_errors=True)
        for spec, run in zip(self.specs, self.trainers, strict=True):
            run.save(new / Path(spec.name).name, self.stream)
        records = [[asdict(r) for r in group] for group in self.records]
        torch.save((records, self.importance, self.seconds), new / "group.pt")
        shutil.rmtree(old, ignore_errors=True)
        if self.folder.exists():
            self.folder.rename(old)
        new.rename(self.folder)

    def _resume(self) -> None:
        for spec, run in zip(self.specs, self.trainers, strict=True):
            run.resume(self.folder / Path(spec.name).name, self.stream)
        records, self.importance, self.seconds = torch.load(self.folder / "group.pt")
        self.records = [[StepRecord(**r) for r in group] for group in records]

    def store(self) -> None:
        """Store every trained network as a run without scores."""
        for i, (spec, run) in enumerate(zip(self.specs, self.trainers, strict=True)):
            model = half(run.ema)
            trace = curves(self.records[i])
            if self.importance[i]:
                trace["lambda"] = torch.stack(self.importance[i])
            metrics = {"parameters": count_parameters(model), "trained_beside": len(self.specs)}
            seconds = {"train": round(self.seconds, 1)}
            stored = results.Run(
                spec.name, asdict(spec), spec.seed, seconds, 0.0, self.plan.samples, metrics
            )
            weights = {k: v.half().cpu() for k, v in model.state_dict().items()}
            results.store(stored, weights=weights, trace=trace)


def prepared(spec: Spec, device: str) -> Trainer:
    """The untrained run on its device, compiled."""
    run = trainer(spec, device)
    compiled(run.model)
    return run


def warm_up(specs: list[Spec], plan: Plan) -> None:
    """Compile the networks with a random teacher, as long as there is none (minutes)."""
    null_label = specs[0].unet.null_label
    stream = data.Stream(dataset(plan).train, Schedule(), null_label, specs[0].batch_size)
    teacher = Fast(UNet(plan.settings.teacher), plan.device)
    for spec in specs:
        plain = replace(
            spec, weighting="uniform", init="random", train=replace(spec.train, steps=2)
        )
        if spec.objective == "fitnets":  # its features are not compiled
            continue
        clock = time.perf_counter()
        for _ in prepared(plain, plan.device).run(data.with_teacher(stream, teacher)):
            pass
        print(f"compiled {spec.name} in {time.perf_counter() - clock:.0f} s", flush=True)


def train_group(names: tuple[str, ...], plan: Plan, key: str, deadline: float) -> str:
    """Train the runs side by side until done, or saved at the deadline (``time.time()``).

    Students whose teacher is still in training compile their networks and wait for it.
    """
    chosen = [spec for spec in plan.specs() if spec.name in names]
    teacher = results.root() / (chosen[0].teacher or "") / "run.json"
    if chosen[0].teacher and not teacher.exists():
        warm_up(chosen, plan)
        while not teacher.exists():
            if time.time() > deadline:
                return f"{key}: no teacher yet"
            time.sleep(0.5)
    group = Group(chosen, plan, key)
    saved = started = time.time()
    for step in group.advance():
        if (late := time.time() > deadline) or time.time() - saved > plan.save_seconds:
            group.save()
            saved = time.time()
            print(f"{key}: step {step}, {saved - started:.0f} s", flush=True)
        if late and not group.done:
            return f"{key}: saved at step {step} of {chosen[0].train.steps}"
    group.store()
    shutil.rmtree(group.folder, ignore_errors=True)
    shutil.rmtree(group.folder.with_suffix(".old"), ignore_errors=True)
    last = group.records[0][-1]
    return f"{key}: trained {len(names)} in {group.seconds:.0f} s, loss {last.loss:.4f}"


def train_classifier(plan: Plan) -> str:
    """Train and store the classifier that scores samples."""
    parts, name = dataset(plan), plan.settings.classifier
    clock = time.perf_counter()
    options = {"epochs": plan.classifier_epochs, "batch_size": 250, "width": 128}
    model = classifier.fit(parts.train, flip=plan.settings.flip, **options)
    seconds = {"train": round(time.perf_counter() - clock, 1)}
    floor = [features_gaussian(model, part.x) for part in (parts.test, parts.train)]
    metrics = {
        "accuracy_train": classifier.accuracy(model, parts.train),
        "accuracy_test": classifier.accuracy(model, parts.test),
        "frechet_test_to_train": frechet(*floor),
    }
    shape = {"channels": parts.train.x.shape[1], "size": parts.train.x.shape[-1], "classes": 10}
    run = results.Run(name, options | shape, 0, seconds, 0.0, len(parts.test), metrics)
    results.store(run, weights={k: v.cpu() for k, v in model.state_dict().items()})
    return f"classifier: {metrics}"


def features_gaussian(judge: classifier.Classifier, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of the classifier's features of images, on the CPU."""
    return gaussian(classifier.features_of(judge, x).cpu())
