"""Guidance given back to a student that lost it, on digits: what each way costs and reaches.

Students of ``ROWS`` learned from the sound teacher; none has a null branch that can be used.  One
that takes w becomes an ordinary network at w = 1.  From each, for every seed:

* ``none``: as it is; ``repair``: under ``w a* + c*``, fitted to the teacher, without training;
* ``null row``: the null class's row alone is trained, on the teacher's null branch;
* ``embeddings``: the class table and the time embedding, under DASH;
* ``all``: everything, under DASH.

The trained ones take 60 or 240 steps, 5 or 20 % of the student's own.  Scored as stored runs are.

``python -m benchmarks.reguide --out results/bench/reguide-digits.json`` goes on where it was; the
students are trained first, and kept in ``--work``.  ``--rates`` prints what rates were chosen by.
"""

import argparse
import copy
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from benchmarks.passes import passes
from dashbook.atlas import FIT_SEED, PAIRS, Repaired, fit
from dashlib import datasets, results
from dashlib.checkpoints import load_into, read_tensors, write_atomically
from dashlib.distillation import Network, assess, distilling
from dashlib.guidance import GuidanceSchedule
from dashlib.losses import Objective, make_objective
from dashlib.metrics import noisy_pairs, predict
from dashlib.recipes import DIGITS, GUIDANCE, SEEDS, fair
from dashlib.runs import making, scoring
from dashlib.scale.small_grids import with_products
from dashlib.schedule import Schedule
from dashlib.unet import UNet

TEACHER = "digits/teacher-uniform"
ROWS = ("cond_only", "composite", "single_head")
SCALES = ("1.5", "4", "TAG")


@dataclass(frozen=True)
class Way:
    """Say what is trained, by which objective, at the best rate tried (by ``--rates``)."""

    objective: str
    options: dict[str, float]
    train: dict[str, Any] | None
    lr: float
    tried: tuple[float, ...]
    steps: tuple[int, ...] = (60, 240)

    @property
    def rule(self) -> Objective:
        """The objective itself."""
        return make_objective(self.objective, **self.options)


EMBEDDINGS = {"class_embed": ..., "temb": ...}
WAYS = {
    "null row": Way(
        "dash_sampled", {"p": 1.0}, {"class_embed.weight": 10}, 0.256, (1.6e-2, 6.4e-2, 0.256)
    ),
    "embeddings": Way("dash", {}, EMBEDDINGS, 1.6e-2, (4e-3, 1.6e-2), (240,)),
    "all": Way("dash", {}, None, 1e-3, (1e-3, 4e-3)),
}


def student(row: str, seed: int, work: Path) -> UNet:
    """A row's student of one seed; trained if it is not in ``work``."""
    of = fair(row, "uniform", seed)
    file = work / f"{Path(of.name).name}.safetensors"
    if not file.exists():
        trainers, _ = making.train_together([of])
        weights = making.half(trainers[of.name].ema).state_dict()
        save_file({k: v.half().contiguous() for k, v in weights.items()}, file)
    model = UNet(of.unet).eval()
    load_into(model, read_tensors(file), str(file))
    return model


@torch.no_grad()
def two_branches(model: UNet) -> UNet:
    """The network without its input w, at w = 1: what it embeds there is the same for all."""
    if not model.w_conditioned:
        return model
    plain, state = UNet(replace(model.cfg, w_conditioned=False)), model.state_dict()
    state["class_embed.weight"] = state["class_embed.weight"] + model.wemb(torch.zeros(1))
    plain.load_state_dict({name: state[name] for name in plain.state_dict()})
    return plain.eval()


def trained(model: UNet, way: Way, steps: int, seed: int) -> tuple[UNet, dict[str, float]]:
    """A copy of the student after so many steps, rounded as stored ones are; and the time."""
    pupil, teacher = (with_products(copy.deepcopy(of)) for of in (model, taught()))
    pupil.requires_grad_(True)
    images = datasets.load_dataset("digits").train
    cfg = replace(DIGITS.student.train, steps=steps, lr=way.lr)
    how: dict[str, Any] = {
        "objective": way.rule,
        "train": way.train,
        "weighting": "uniform",
        "pairs": 256,
    }
    torch.manual_seed(seed)
    data = images.pixels(), images.y
    steps_made = distilling(Network(teacher, null=10), pupil, data, cfg, seed=seed, **how)
    clock = making.Clock()
    for _ in steps_made:
        pass
    return making.half(pupil), spent(clock)


def taught() -> UNet:
    """The teacher."""
    return results.load(TEACHER).model()


def scored(model: UNet, schedules: dict[str, GuidanceSchedule]) -> dict[str, Any]:
    """Scores of samples under each schedule."""
    found = {label: scoring.samples_of(model, w, scoring.SAMPLES) for label, w in schedules.items()}
    return {label: scoring.scores_of(samples) for label, samples in found.items()}


def repaired(model: UNet) -> dict[str, Any]:
    """The student as it is under ``w a* + c*``, what that costs, and both numbers."""
    clock, teacher = making.Clock(), with_products(taught())
    noisy = noisy_pairs(
        datasets.load_dataset("digits").test, Schedule(), pairs=PAIRS, seed=FIT_SEED
    )
    found = fit(predict(model, noisy), predict(teacher, noisy), noisy.t)
    time = spent(clock)
    guidance = scored(model, {w: Repaired(GUIDANCE[w], **found) for w in SCALES})
    asked = {"student": 2 * PAIRS, "teacher": 2 * PAIRS}
    return {"guidance": guidance, "forwards": asked, "fit": found, **time}


def spent(clock: making.Clock) -> dict[str, float]:
    """Seconds of a fit or a training: by the clock, and of the processor."""
    clock.lap("train")
    return {"seconds": clock.seconds["train"], "cpu_seconds": clock.cpu()}


def none_costs() -> dict[str, Any]:
    """What it costs to do nothing."""
    return {"forwards": {"student": 0, "teacher": 0}, "seconds": 0.0, "cpu_seconds": 0.0}


def none(model: UNet) -> dict[str, Any]:
    """The student as it is."""
    return none_costs() | {"guidance": scored(model, {w: GUIDANCE[w] for w in SCALES})}


def given_back(model: UNet, name: str, steps: int, seed: int) -> dict[str, Any]:
    """The student after a training."""
    way = WAYS[name]
    after, time = trained(model, way, steps, seed)
    asked = dict(zip(("student", "teacher"), passes(way.rule), strict=True))
    images = steps * DIGITS.student.batch_size
    return {
        "forwards": {of: round(images * count) for of, count in asked.items()},
        **time,
        "guidance": scored(with_products(after), {w: GUIDANCE[w] for w in SCALES}),
        "gap": scoring.held_out_gap(after, TEACHER).overall,
    }


def measures(model: UNet, seed: int) -> dict[str, Callable[[], dict[str, Any]]]:
    """Measure each way from one student: its costs, scores and gap."""
    plain = with_products(two_branches(model))
    gap = {"gap": scoring.held_out_gap(plain, TEACHER).overall}
    trainings = {f"{name}, {n}": (name, n) for name, way in WAYS.items() for n in way.steps}
    return {
        "none": lambda: none(plain) | gap,
        "repair": lambda: repaired(plain) | gap,
        **{k: partial(given_back, plain, *how, seed) for k, how in trainings.items()},
    }


def described() -> dict[str, dict[str, Any]]:
    """The ways, ready for JSON."""
    return {name: vars(way) | {"train": repr(way.train)} for name, way in WAYS.items()}


def config() -> dict[str, Any]:
    """List what all was made with."""
    train = asdict(DIGITS.student.train) | {"batch_size": DIGITS.student.batch_size}
    scores = {"samples": scoring.SAMPLES, "sampler": "DDIM, 50 steps", "scales": [*SCALES]}
    fitted = {"pairs": PAIRS, "seed": FIT_SEED}
    made = {"teacher": TEACHER, "ways": described(), "train": train, "repair": fitted, **scores}
    return json.loads(json.dumps(made))  # as it is read again


def pilot(work: Path) -> None:
    """Print the errors on *training* images after 60 steps at each rate: cond_only, seed 0.

    The best has the least sum of the branches' errors, which is what DASH trains on.
    """
    images, model = datasets.load_dataset("digits").train, student("cond_only", 0, work)
    teacher = Network(with_products(taught()), null=10)
    for name, way in WAYS.items():
        for lr in way.tried:
            after, _ = trained(with_products(model), replace(way, lr=lr), 60, 0)
            found = assess(teacher.around(after), teacher, (images.pixels(), images.y)).overall
            errors = {key: round(found[key], 4) for key in ("gap_mse", "cond_mse", "uncond_mse")}
            print(name, lr, errors, flush=True)


def update(out: Path, work: Path) -> None:
    """Measure what is missing, storing each way of each student as it is done."""
    report = json.loads(out.read_text()) if out.exists() else {}
    kept = report.get("entries", {}) if report.get("config") == config() else {}
    made = results.provenance()
    for seed, row in product(SEEDS, ROWS):
        entry = kept.setdefault(f"{row}-s{seed}", {"row": row, "seed": seed, "ways": {}, **made})
        if len(entry["ways"]) == 2 + sum(len(way.steps) for way in WAYS.values()):
            continue
        for name, measure in measures(student(row, seed, work), seed).items():
            if name not in entry["ways"]:
                found = entry["ways"][name] = measure()
                fds = {w: round(of["frechet"], 1) for w, of in found["guidance"].items()}
                print(row, seed, name, fds, f"{found['cpu_seconds']} s", flush=True)
                content = {"config": config(), "entries": kept}
                write_atomically(out, (json.dumps(content, indent=1) + "\n").encode())


def main() -> None:
    """Measure all, or choose rates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=results.root() / "bench/reguide-digits.json")
    parser.add_argument("--work", type=Path, default=Path("runs/reguide"))
    parser.add_argument("--rates", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.work.mkdir(parents=True, exist_ok=True)
    if args.rates:
        pilot(args.work)
    else:
        update(args.out, args.work)


if __name__ == "__main__":
    main()
