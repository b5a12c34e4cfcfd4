"""Measure a digits run: samples at every guidance scale, their scores, the gap."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from itertools import product
from typing import Any

import torch
from torch import Tensor

from dashlib import classifier, data, datasets, results
from dashlib.data import Stream, to_bytes
from dashlib.guidance import Branches, GuidanceSchedule, Guided
from dashlib.losses import mse
from dashlib.metrics import GapReport, NoisyPairs, compare, distances, noisy_pairs, predict, spreads
from dashlib.progress import Progress
from dashlib.recipes import DIGITS, LEARNED
from dashlib.sampling import CLAMPS, balanced_labels, sample, starting_noise
from dashlib.scale.small_grids import with_products
from dashlib.schedule import Schedule
from dashlib.unet import UNet, count_parameters

SAMPLES = 1000  # scored per guidance scale; balanced over the classes
OTHER: dict[str, Any] = {"seed": 4321, "start": 950, "eta": 1.0}  # the second sampler
AGAIN = ("1", "1.5", "4", "TAG")  # where it is used
WORSE = 3.0  # times a constant's error that a teacher may have
CLAMP_SAMPLES = 300  # for the clamp experiment, teachers only
KEPT_SAMPLES = 100  # stored for pictures, ten a class


def samples_of(model: UNet, w: GuidanceSchedule, n: int, seed: int = 1234, **how: Any) -> Tensor:
    """``n`` images, 50-step DDIM from :func:`starting_noise` with balanced labels."""
    x_T, y = starting_noise(n, model.cfg, seed), balanced_labels(n, model.cfg.num_classes)
    how["generator"] = torch.Generator().manual_seed(seed)
    with torch.inference_mode():  # clamped to what a pixel can hold
        return sample(Guided(model, y, w), x_T, Schedule(), **how).clamp(-1, 1)


def scores_of(samples: Tensor) -> dict[str, float]:
    """Accuracy, Frechet and kernel distance to training images' features, luminance's spread."""
    judge = results.load(DIGITS.classifier).classifier()
    right = classifier.accuracy(judge, data.Images(samples, balanced_labels(len(samples))))
    made, real = (judge.features(x) for x in (samples, datasets.load_dataset("digits").train.x))
    return {"accuracy": right, **distances(made, real), **spreads(samples), "n": len(samples)}


@lru_cache(maxsize=1)
def _held_out(teacher: str, digest: str) -> tuple[NoisyPairs, Branches]:
    noisy = noisy_pairs(datasets.load_dataset("digits").test, Schedule())
    return noisy, predict(results.load(teacher).model(), noisy)


def held_out_gap(model: UNet, teacher: str) -> GapReport:
    """Gap metrics against the stored teacher on 10,000 noisy held-out images."""
    noisy, answers = _held_out(teacher, results.load(teacher).files["weights"]["sha256"])
    return compare(predict(model, noisy), answers, noisy, Schedule())


def over_constant(model: UNet) -> dict[int, float]:
    """Error on held-out images over that of the class means, in bins of 50 timesteps to 950."""
    digits, schedule = datasets.load_dataset("digits"), Schedule()
    noisy = next(Stream(digits.test, schedule, model.null_label, batch_size=5000))
    means = torch.stack([digits.train.x[digits.train.y == y].mean(0) for y in range(10)])
    constant = schedule.predict_eps(noisy.x_t, means[noisy.y], noisy.t)
    with torch.inference_mode():
        eps = model(noisy.x_t, noisy.t, noisy.y)
    ours, theirs = mse(eps, noisy.eps), mse(constant, noisy.eps)
    bins = {first: noisy.t // 50 == first // 50 for first in range(0, 950, 50)}
    return {first: (ours[here].sum() / theirs[here].sum()).item() for first, here in bins.items()}


def sound_teacher(name: str) -> UNet:
    """A stored teacher; ``ValueError`` if worse than class means, but for studies of weightings."""
    teacher = with_products(results.load(name).model())
    first, most = max(over_constant(teacher).items(), key=lambda item: item[1])
    if most > WORSE and name not in {DIGITS.teacher(w).name for w in LEARNED}:
        error = f"{name}'s error from t = {first} on is {most:.1f} times that of the class means"
        raise ValueError(f"{error} (at most {WORSE}): train it longer, or weight high noise more")
    return teacher


def _clamps(model: UNet, samples: Mapping[str, Tensor]) -> dict[str, Any]:
    found: dict[str, Any] = {clamp: {} for clamp in CLAMPS}
    for label, clamp in product(("1", "1.5", "2", "4"), CLAMPS):
        few, w = samples[label][:CLAMP_SAMPLES], DIGITS.guidance[label]
        made = few if clamp == "recompute" else samples_of(model, w, len(few), clamp=clamp)
        found[clamp][label] = scores_of(made)
    return found


def measure(
    model: UNet, teacher: str | None, progress: Progress, name: str
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Metrics of a model and the pictures kept with them: samples at every scale, gap report."""
    metrics: dict[str, Any] = {"guidance": {}, "parameters": count_parameters(model)}
    samples = dict[str, Tensor]()
    for i, (label, w) in enumerate(DIGITS.guidance.items()):
        samples[label] = samples_of(model, w, SAMPLES)
        metrics["guidance"][label] = scores_of(samples[label])
        progress(f"{name} samples", i + 1, len(DIGITS.guidance))
    other = {w: samples_of(model, DIGITS.guidance[w], SAMPLES, **OTHER) for w in AGAIN}
    metrics["resampled"] = {"sampler": OTHER, **{w: scores_of(x) for w, x in other.items()}}
    if teacher is None:
        metrics["clamp"], metrics["over_constant"] = _clamps(model, samples), over_constant(model)
    elif not model.cfg.w_conditioned:  # one branch has no gap
        metrics["gap"] = asdict(held_out_gap(model, teacher))
    return metrics, {"samples": torch.stack([to_bytes(x[:KEPT_SAMPLES]) for x in samples.values()])}
