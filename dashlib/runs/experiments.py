"""The experiments behind the book: what every stored run is, and how it is made and scored.

A run is described by a frozen :class:`Spec`; :func:`execute` makes one, and
:func:`.workers.reproduce` many, on several processes.  Students of one seed see the same
batches (common random numbers), so rows of the table differ by their objective and weighting only.
"""

import time
from collections.abc import Iterator
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from dashlib import classifier, data, datasets, results
from dashlib.baselines.pruning import prune
from dashlib.data import to_bytes
from dashlib.guidance import Branches, GuidanceSchedule, guided
from dashlib.losses import Objective, make_objective
from dashlib.metrics import GapReport, NoisyPairs, compare, frechet, gaussian, noisy_pairs, predict
from dashlib.progress import Progress, silent
from dashlib.recipes import DIGITS, SPECS, Spec
from dashlib.sampling import CLAMPS, balanced_labels, sample, starting_noise
from dashlib.schedule import Schedule
from dashlib.training import StepRecord, Trainer
from dashlib.unet import UNet, count_parameters
from dashlib.weighting import Weighting, make_weighting

CLASSIFIER, GUIDANCE = DIGITS.classifier, DIGITS.guidance
SAMPLES = 1000  # scored per guidance scale; balanced over the classes
CLAMP_SAMPLES = 300  # for the clamp experiment, teachers only
KEPT = 100  # samples stored for pictures, ten a class
SNAPSHOTS = 60  # of the importance, over training


def _digest(name: str) -> str:
    """SHA-256 of a stored run's weights."""
    return results.load(name).files["weights"]["sha256"]


@lru_cache(maxsize=1)
def _held_out(teacher: str, digest: str) -> tuple[NoisyPairs, Branches]:
    """Noisy held-out images and the branches of the teacher whose weights have this digest."""
    noisy = noisy_pairs(datasets.load("digits").test, Schedule())
    return noisy, predict(results.load(teacher).model(), noisy)


def held_out_gap(model: UNet, teacher: str) -> GapReport:
    """Gap metrics against the stored teacher on 10,000 noisy held-out images."""
    noisy, answers = _held_out(teacher, _digest(teacher))
    return compare(predict(model, noisy), answers, noisy, Schedule())


@lru_cache(maxsize=1)
def teacher_batches(
    teacher: str, digest: str, seed: int, batch_size: int, steps: int
) -> list[data.Batch]:
    """The first batches that every student of a seed sees, with the teacher's answers attached.

    Kept for the next student, as long as the teacher's weights have the same ``digest``.
    """
    model = results.load(teacher).model()
    stream = data.Stream(
        datasets.load("digits").train, Schedule(), model.null_label, batch_size, seed=seed
    )
    annotated = data.with_teacher(stream, model)
    return [next(annotated) for _ in range(steps)]


def _batches(spec: Spec) -> Iterator[data.Batch]:
    if spec.teacher:
        answers = teacher_batches(
            spec.teacher, _digest(spec.teacher), spec.seed, spec.batch_size, spec.train.steps
        )
        return iter(answers)
    images = datasets.load("digits").train
    return data.Stream(images, Schedule(), spec.unet.null_label, spec.batch_size, seed=spec.seed)


def _weighting(spec: Spec) -> Weighting:
    if spec.weighting == "transfer":
        prior = spec.prior or spec.teacher
        assert prior is not None
        return results.load(prior).importance()
    return make_weighting(spec.weighting, Schedule())


def trainer(spec: Spec) -> Trainer:
    """The untrained run: network (seeded), objective and weighting."""
    torch.manual_seed(spec.seed)
    return Trainer(_network(spec), _objective(spec), _weighting(spec), spec.train)


def _network(spec: Spec) -> UNet:
    if spec.init == "random":
        return UNet(spec.unet)
    assert spec.teacher is not None
    return prune(results.load(spec.teacher).model(), spec.unet)


def _objective(spec: Spec) -> Objective:
    if spec.objective != "fitnets":
        return make_objective(spec.objective, **spec.options)
    assert spec.teacher is not None
    teacher = results.load(spec.teacher).model()
    return make_objective("fitnets", teacher=teacher, student=spec.unet, **spec.options)


def half(model: UNet) -> UNet:
    """Round the weights to half precision, as they are stored: what is stored is what is scored."""
    model.load_state_dict({k: v.half().float() for k, v in model.state_dict().items()})
    return model.eval().requires_grad_(False)


def curves(records: list[StepRecord]) -> dict[str, Tensor]:
    """Loss and terms averaged over windows of 10 steps, each of shape ``(steps // 10,)``."""
    columns = {"loss": [r.loss for r in records]}
    columns |= {name: [r.terms[name] for r in records] for name in records[0].terms}
    return {
        f"curve.{k}": torch.tensor(v[: len(v) // 10 * 10]).reshape(-1, 10).mean(1)
        for k, v in columns.items()
    }


def train(
    run: Trainer, batches: Iterator[data.Batch], progress: Progress, name: str
) -> dict[str, Tensor]:
    """Run the trainer to its end; returns curves and, if importance is learned, its history."""
    every = max(run.cfg.steps // SNAPSHOTS, 1)
    learned = [p for p in run.weighting.parameters() if p.requires_grad]
    records, history = [], []
    for record in run.run(batches):
        records.append(record)
        if learned and (record.step % every == 0 or record.step in (1, run.cfg.steps)):
            history.append(learned[0].detach().clone())
        progress(name, record.step, run.cfg.steps)
    trace = curves(records)
    if learned:
        trace[run.weighting.symbol] = torch.stack(history).float()
    return trace


def generate(model: UNet, w: GuidanceSchedule, n: int, *, clamp: str = "recompute") -> Tensor:
    """``n`` images, 50-step DDIM from :func:`starting_noise` with balanced labels."""
    x_T, y = starting_noise(n, model.cfg), balanced_labels(n, model.cfg.num_classes)
    with torch.inference_mode():
        images = sample(guided(model, y, w), x_T, Schedule(), clamp=clamp)
    return images.clamp(-1, 1)  # what a pixel can hold


def score(samples: Tensor) -> dict[str, float]:
    """Class accuracy and Frechet distance to the training images, by the stored classifier."""
    judge = results.load(CLASSIFIER).classifier()
    labelled = data.Images(samples, balanced_labels(len(samples)))
    real = gaussian(judge.features(datasets.load("digits").train.x))
    return {
        "accuracy": classifier.accuracy(judge, labelled),
        "frechet": frechet(gaussian(judge.features(samples)), real),
        "n": len(samples),
    }


def evaluate(
    model: UNet, teacher: str | None, progress: Progress, name: str
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Metrics of a model and the pictures kept with them: samples at every scale, gap report."""
    metrics: dict[str, Any] = {"guidance": {}}
    samples = dict[str, Tensor]()
    for i, (label, w) in enumerate(GUIDANCE.items()):
        samples[label] = generate(model, w, SAMPLES)
        metrics["guidance"][label] = score(samples[label])
        progress(f"{name} samples", i + 1, len(GUIDANCE))
    if teacher is not None and not model.cfg.w_conditioned:  # one branch has no gap
        metrics["gap"] = asdict(held_out_gap(model, teacher))
    if teacher is None:
        few = {label: samples[label][:CLAMP_SAMPLES] for label in ("1", "1.5", "2", "4")}
        metrics["clamp"] = {
            clamp: {
                label: score(generate(model, GUIDANCE[label], len(done), clamp=clamp))
                if clamp != "recompute"
                else score(done)
                for label, done in few.items()
            }
            for clamp in CLAMPS
        }
    return metrics, {"samples": torch.stack([to_bytes(x[:KEPT]) for x in samples.values()])}


def execute(name: str, progress: Progress = silent) -> results.Run:
    """Make the run ``name`` and store it; ``ValueError`` for a name that is not an experiment."""
    if name == CLASSIFIER:
        return _execute_classifier()
    if name not in SPECS:
        raise ValueError(f"unknown run {name!r}: one of {CLASSIFIER}, {', '.join(SPECS)}")
    spec, clock = SPECS[name], Clock()
    batches, run = _batches(spec), trainer(spec)
    clock.lap("prepare")
    trace = train(run, batches, progress, name)
    clock.lap("train")
    model = half(run.ema)
    metrics, pictures = evaluate(model, spec.teacher, progress, name)
    metrics["parameters"] = count_parameters(model)
    clock.lap("evaluate")
    stored = results.Run(
        name, asdict(spec), spec.seed, clock.seconds, clock.cpu(), SAMPLES, metrics
    )
    weights = {k: v.half() for k, v in model.state_dict().items()}
    return results.store(stored, weights=weights, trace=trace | pictures)


class Clock:
    """Wall-clock seconds by phase, and CPU seconds in all, to a tenth."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def lap(self, phase: str) -> None:
        """End a phase."""
        now = time.perf_counter()
        self.seconds[phase], self._wall = round(now - self._wall, 1), now

    def cpu(self) -> float:
        """CPU seconds since the start."""
        return round(time.process_time() - self._cpu, 1)


def _execute_classifier() -> results.Run:
    """Train and store the classifier that scores samples."""
    digits, clock = datasets.load("digits"), Clock()
    model = classifier.fit(digits.train)
    clock.lap("train")
    floor = [gaussian(model.features(part.x)) for part in (digits.test, digits.train)]
    metrics = {
        "accuracy_train": classifier.accuracy(model, digits.train),
        "accuracy_test": classifier.accuracy(model, digits.test),
        "frechet_test_to_train": frechet(*floor),
    }
    run = results.Run(
        CLASSIFIER, {"epochs": 60}, 0, clock.seconds, clock.cpu(), len(digits.test), metrics
    )
    return results.store(run, weights=model.state_dict())
