"""From a sweep's work folder to stored runs."""

import json
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from benchmarks.sweep.plan import Plan
from benchmarks.sweep.students import importance
from dashlib import results
from dashlib.checkpoints import load_into, read_tensors
from dashlib.data import to_bytes
from dashlib.recipes import CIFAR10, CIFAR10_SHIPPED
from dashlib.runs.making import half
from dashlib.runs.scoring import samples_of
from dashlib.unet import UNet, count_parameters

REDRAWN = 1  # pictures at each guidance scale that a CPU can draw again from the weights


def collect(plan: Plan) -> list[str]:
    """Store the teacher and every student of the sweep; the runs' names.

    ``plan.weights`` holds ``teacher.json``, if the teacher was not trained here, and, for given
    students, ``ROW.json``: the stages of training that made them.  What is stored of these stays,
    scores of theirs are added.  A run of another teacher is not replaced (``ValueError``).  Weights
    of other runs than ``CIFAR10_SHIPPED`` are not kept.
    """
    report = json.loads((plan.work / "report.json").read_text())
    pictures = read_tensors(plan.work / "pictures.safetensors")
    shared = {k: report[k] for k in ("floor", "probe_accuracy", "data_spreads", "teacher_gap_ms")}
    names = []
    for row in ("teacher", *plan.rows, *plan.given):
        made = plan.taught if row == "teacher" else plan.work / "students"
        folder = plan.weights if row in plan.given else made
        note = json.loads((folder / f"{row}.json").read_text())
        drawn = {k: v for k, v in pictures.items() if k.startswith(f"{row}|")}
        trace = {"|".join(k.split("|")[1:]): v for k, v in drawn.items()}
        if row == "teacher" and (lam := importance(plan.taught)) is not None:
            trace["lambda"] = lam[None]
        entry = report["models"].get(row, {}) | (shared if row == "teacher" else {})
        name = (plan.learner if row == "teacher" else plan.recipe(row)).name
        stored = results.load(name) if name in results.names(CIFAR10.name) else None
        if stored is not None and folder == plan.weights:
            names.append(_add(stored, entry, trace))
        else:
            _check_replaced(plan, row, note, stored)
            names.append(_store(plan, row, note, entry, trace))
    return names


def _check_replaced(plan: Plan, row: str, note: dict[str, Any], stored: results.Run | None) -> None:
    """Refuse, with ``ValueError``, to store a run over one of another teacher."""
    if stored is None:
        return
    if row == "teacher":
        same = stored.metrics["stages"] == note["stages"]
    else:
        same = stored.config["teacher"] == plan.learner.name
    if not same:
        raise ValueError(
            f"{stored.name} is stored, and of another teacher: collect into another folder "
            "(DASH_RESULTS=FOLDER), or name the row ROW-WEIGHTING-xN-sSEED"
        )


def _add(run: results.Run, entry: dict[str, Any], trace: dict[str, Tensor]) -> str:
    """Add new scores and pictures to a stored run; returns its name."""
    scores = [*run.metrics["scores"], *entry.get("scores", [])]
    parts = {part: run.tensors(part) for part in run.files}
    parts["trace"] = {**parts["trace"], **trace}
    seconds = {**run.seconds, "score": round(sum(s["seconds"] for s in scores), 1)}
    metrics = {**entry, **run.metrics, "scores": scores}
    results.store(replace(run, metrics=metrics, seconds=seconds), **parts)
    return run.name


def _store(
    plan: Plan, row: str, note: dict[str, Any], entry: dict[str, Any], trace: dict[str, Tensor]
) -> str:
    """Store one run; returns its name."""
    spec = plan.learner if row == "teacher" else plan.recipe(row)
    stages, steps = note["stages"], sum(s["steps"] for s in note["stages"])
    spec = replace(spec, train=replace(spec.train, steps=steps))
    model = UNet(spec.unet)
    metrics = {"parameters": count_parameters(model), "stages": stages, **entry}
    parts: dict[str, dict[str, Tensor]] = {"trace": trace}
    if "losses" in note:
        trace["curve.rounds|seconds|loss"] = torch.tensor(note["losses"])
    if spec.name in CIFAR10_SHIPPED:
        path = plan.work / "students" / f"{row}.safetensors"
        load_into(model, read_tensors(path), str(path))
        half(model)
        scales = CIFAR10.guidance.values()
        trace["samples"] = torch.stack([to_bytes(samples_of(model, w, REDRAWN)) for w in scales])
        parts["weights"] = {k: v.half() for k, v in model.state_dict().items()}
    scores = metrics.setdefault("scores", [])  # of a row that time did not allow, none
    seconds = {
        "train": sum(s["seconds"] for s in stages),
        "score": round(sum(s["seconds"] for s in scores), 1),
    }
    made: dict[str, Any] = next((s for s in reversed(stages) if "commit" in s), {})
    where = {k: made[k] for k in ("commit", "hardware", "versions") if k in made}
    n = scores[0]["n"] if scores else 0
    run = results.Run(spec.name, asdict(spec), spec.seed, seconds, 0.0, n, metrics, **where)
    results.store(run, **parts)
    return spec.name
