"""Scoring the runs of a sweep: gap metrics and pictures in full precision, samples in half."""

import json
import time
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dashlib import classifier, data, results
from dashlib.data import to_bytes
from dashlib.guidance import Branches, Constant, GuidanceSchedule, guided
from dashlib.metrics import NoisyPairs, compare, frechet, noisy_pairs, predict
from dashlib.recipes import HEADLINE, Spec
from dashlib.runs.sweep.cotraining import Fast, features_gaussian
from dashlib.runs.sweep.plan import Plan, dataset
from dashlib.sampling import balanced_labels, sample, starting_noise
from dashlib.schedule import Schedule
from dashlib.unet import UNet

SAMPLING_SEEDS = (1234, 1235, 1236)
MANY_AT = ("1.5", "TAG", "4")  # guidance scales at which most samples are scored


@lru_cache(maxsize=1)
def _judge(plan: Plan) -> tuple[classifier.Classifier, tuple[Tensor, Tensor]]:
    """The classifier and the Gaussian of the training images' features."""
    judge = results.load(plan.settings.classifier).classifier().to(plan.device)
    return judge, features_gaussian(judge, dataset(plan).train.x)


@lru_cache(maxsize=4)
def _fast(name: str, device: str) -> Fast:
    return Fast(results.load(name).model(), device)


@torch.inference_mode()
def draw(model: Any, w: GuidanceSchedule, noise: Tensor, plan: Plan) -> Tensor:
    """Images from starting noise with balanced labels, a chunk at a time, on the device."""
    labels = balanced_labels(len(noise)).to(plan.device)
    chunks = zip(noise.split(plan.chunk), labels.split(plan.chunk), strict=True)
    parts = [
        sample(guided(model, y, w), x.to(plan.device), Schedule(), steps=plan.sampling_steps)
        for x, y in chunks
    ]
    return torch.cat(parts).clamp(-1, 1)


def score(name: str, label: str, seed: int, n: int, plan: Plan) -> dict[str, Any]:
    """Class accuracy and Frechet distance of n samples."""
    clock = time.perf_counter()
    model, (judge, real) = _fast(name, plan.device), _judge(plan)
    noise = starting_noise(n, model.cfg, seed)
    images = draw(model, plan.settings.guidance[label], noise, plan)
    labelled = data.Images(images, balanced_labels(n).to(images.device))
    return {
        "run": name, "label": label, "seed": seed, "n": n,
        "accuracy": classifier.accuracy(judge, labelled),
        "frechet": frechet(features_gaussian(judge, images), real),
        "seconds": round(time.perf_counter() - clock, 2),
    }  # fmt: skip


@lru_cache(maxsize=2)
def _held_out(teacher: str, plan: Plan) -> tuple[NoisyPairs, Branches]:
    noisy = noisy_pairs(dataset(plan).test, Schedule(), pairs=plan.pairs)
    return noisy, predict(results.load(teacher).model().to(plan.device), noisy)


def examine(name: str, plan: Plan) -> dict[str, Any]:
    """Full-precision part of the evaluation: gap metrics, and the pictures kept with the run."""
    run = results.load(name)
    model = run.model().to(plan.device)
    noise = starting_noise(plan.kept, model.cfg)
    scales = plan.settings.guidance.values()
    pictures = torch.stack([to_bytes(draw(model, w, noise, plan)) for w in scales])
    metrics = dict(run.metrics)
    if run.config["teacher"] and not model.cfg.w_conditioned:
        noisy, answers = _held_out(run.config["teacher"], plan)
        metrics["gap"] = asdict(compare(predict(model, noisy), answers, noisy, Schedule()))
    trace = {**run.trace, "samples": pictures.cpu()}
    results.store(replace(run, metrics=metrics), weights=run.tensors("weights"), trace=trace)
    return {"run": name, "examined": True}


def scoring_tasks(plan: Plan) -> list[tuple[str, str, int, int]]:
    """What to score, most wanted first: (run, guidance label, sampling seed, samples)."""
    specs = plan.specs()
    head = [s.name for s in specs if not s.teacher or _headline(s)]
    rest = [s.name for s in specs if s.name not in head]
    labels, (first, *others) = list(plan.settings.guidance), SAMPLING_SEEDS
    tasks = [(name, label, first, plan.samples) for name in head + rest for label in labels]
    tasks += [(name, label, s, plan.samples) for s in others for name in head for label in labels]
    tasks += [
        (name, label, first, plan.many) for label in MANY_AT for name in head if label in labels
    ]
    return tasks


def _headline(spec: Spec) -> bool:
    name = Path(spec.name).name
    return name in {f"{row}-transfer-s0" for row in HEADLINE}


def warm_up_scoring(plan: Plan) -> str:
    """Compile every network for sampling while the teacher trains; other workers read the cache."""
    for cfg in {plan.settings.teacher, *(s.unet for s in plan.specs())}:
        model, noise = Fast(UNet(cfg), plan.device), starting_noise(plan.chunk, cfg)
        for w in (Constant(1.0), Constant(2.0)):
            draw(model, w, noise, replace(plan, sampling_steps=1))
    return "compiled for sampling"


def score_lines(plan: Plan) -> list[dict[str, Any]]:
    """What was scored and examined so far."""
    path = plan.work / "scores.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def note_score(plan: Plan, entry: dict[str, Any]) -> None:
    """Append to what was scored and examined."""
    with (plan.work / "scores.jsonl").open("a") as file:
        file.write(json.dumps(entry) + "\n")


def collect(plan: Plan) -> None:
    """Put all scores into the metrics of their runs."""
    lines = [line for line in score_lines(plan) if "label" in line]
    for name in {line["run"] for line in lines}:
        run, mine = results.load(name), [line for line in lines if line["run"] == name]
        metrics = dict(run.metrics)
        for key, n in (("guidance", plan.samples), ("guidance_many", plan.many)):
            labels = [
                x
                for x in plan.settings.guidance
                if any(e["label"] == x and e["n"] == n for e in mine)
            ]
            if labels:
                metrics[key] = {
                    x: _summary([e for e in mine if (e["label"], e["n"]) == (x, n)]) for x in labels
                }
        seconds = run.seconds | {"score": round(sum(e["seconds"] for e in mine), 1)}
        parts = {part: run.tensors(part) for part in run.files}
        results.store(replace(run, metrics=metrics, seconds=seconds), **parts)


def _summary(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over sampling seeds, and the seeds' own values."""
    by_seed = {str(e["seed"]): {k: e[k] for k in ("accuracy", "frechet")} for e in entries}
    means = {k: sum(s[k] for s in by_seed.values()) / len(by_seed) for k in ("accuracy", "frechet")}
    return {**means, "n": entries[0]["n"], "seeds": by_seed}
