"""Rivals of distillation that no stored run has, on digits: three ways, each scored like a run.

* ``trajectories``: half of each batch are states that the teacher's guided sampling went through,
  where a student will be used, not noised data;
* ``guidance_free``: a network that takes w learns its own guided output, without a teacher
  (Chen et al. 2025);
* ``autoguidance``: the teacher's conditional branch guided by a small student's, not by its null
  branch (Karras et al. 2024).

``python -m benchmarks.rivals [--seed S] [--out FILE]``; the teacher and ``STUDENT`` are stored.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Generator, Tensor

from dashlib import results
from dashlib.checkpoints import write_atomically
from dashlib.data import Batch, with_teacher
from dashlib.guidance import TAG, Branches, Denoiser, Guided, ScaledDenoiser
from dashlib.losses import MultiW, Terms, mse
from dashlib.progress import silent
from dashlib.recipes import RECIPES
from dashlib.runs import building, making, scoring
from dashlib.sampling import ddim
from dashlib.scale.small_grids import with_products
from dashlib.schedule import Schedule
from dashlib.training import Trainer
from dashlib.unet import UNet

TEACHER = "digits/teacher-uniform"
STUDENT = "digits/dash-uniform-from_uniform-s0"  # whose conditional branch is the weak one
ROWS = ("gap_match_cond", "dash_gap_3")  # read no noise: they may learn on trajectories


@torch.no_grad()
def on_trajectories(
    batches: Iterator[Batch], teacher: Denoiser, schedule: Schedule, *, share: float, seed: int
) -> Iterator[Batch]:
    """The same batches, a share of each replaced by states of the teacher's guided trajectories.

    DDIM under TAG from fresh noise, all its states in random order.  Their ``eps`` is what DDIM
    moved along: for objectives that match a teacher, without an anchor.
    """
    generator, pool = Generator().manual_seed(seed), list[Batch]()
    for batch in batches:
        if not pool:
            noise = torch.randn(batch.x_t.shape, generator=generator).to(batch.x_t)
            pool = shuffled(teacher, noise, batch.y, schedule, round(share * len(noise)), generator)
        part = pool.pop()
        yield joined(part, batch, len(batch.t) - len(part.t))


def shuffled(
    teacher: Denoiser,
    noise: Tensor,
    y: Tensor,
    schedule: Schedule,
    count: int,
    generator: Generator,
) -> list[Batch]:
    """All states of one guided sampling, in random order, as batches of ``count``."""
    path = [*ddim(Guided(teacher, y, TAG()), noise, schedule)]
    x_t, eps = (torch.cat([getattr(state, name) for state in path]) for name in ("x_t", "eps"))
    t = torch.tensor([state.t for state in path]).repeat_interleave(len(noise))
    labels, order = y.repeat(len(path)), torch.randperm(len(t), generator=generator).split(count)
    return [Batch(x_t[i], t[i], labels[i], labels[i], eps[i]) for i in order if len(i) == count]


def joined(first: Batch, second: Batch, count: int) -> Batch:
    """A batch and the last ``count`` images of another."""
    names = ("x_t", "t", "y", "y_dropped", "eps")
    rows = {k: torch.cat([getattr(first, k), getattr(second, k)[-count:]]) for k in names}
    return replace(second, **rows)


@dataclass(frozen=True)
class GuidanceFree(MultiW):
    """``|S_w / w + (1 - 1/w) S_uncond - eps|^2``, S_uncond held fixed, w ~ U[low, high].

    Where the label is dropped, w is 1, which trains S_uncond.
    """

    def terms(self, model: Denoiser, batch: Batch) -> Terms:
        """``denoising``."""
        network, null = cast(ScaledDenoiser, model), torch.full_like(batch.y, model.null_label)
        w = torch.where(batch.y_dropped == null, 1.0, self.draw(batch))
        with torch.no_grad():
            uncond = network(batch.x_t, batch.t, null, torch.ones_like(w))
        guided = network(batch.x_t, batch.t, batch.y_dropped, w)
        return {"denoising": mse(Branches(guided, uncond).guided(1 / w), batch.eps)}


class AutoGuided(torch.nn.Module):
    """A network whose null branch is the conditional branch of a weaker one.

    Asked for both branches of B images at once, as :func:`dashlib.guidance.branches` does.
    """

    def __init__(self, strong: UNet, weak: UNet) -> None:
        super().__init__()
        self.strong, self.weak, self.cfg = strong, weak, strong.cfg
        self.null_label = strong.null_label

    def forward(self, x_t: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """Noise: the strong network's for labels; for null labels the weak one's, same labels."""
        n = int((y != self.null_label).sum())
        strong = self.strong(x_t[:n], t[:n], y[:n])
        if n == len(y):
            return strong
        return torch.cat([strong, self.weak(x_t[n:], t[n:], y[:n])])


def scored(model: Any, teacher: str | None) -> dict[str, Any]:
    """Return the scores of a stored run, without groups."""
    found, _ = scoring.measure(model, teacher, silent, "")
    gap = {"gap": found["gap"]["overall"]} if "gap" in found else {}
    return {k: found[k] for k in ("guidance", "resampled", "parameters")} | gap


def trained(trainer: Trainer, batches: Iterator[Batch]) -> UNet:
    """The averaged network at the end, rounded as stored ones are."""
    for _ in trainer.run(batches):
        pass
    return making.half(trainer.ema)


def on_states(row: str, seed: int) -> dict[str, Any]:
    """A row whose batches are half states of its teacher's trajectories."""
    recipe = RECIPES[f"digits/{row}-uniform-from_uniform-s{seed}"]
    teacher = with_products(results.load(TEACHER).model())
    plain = making.answered_batches(recipe, None, "cpu")
    states = on_trajectories(plain, teacher, Schedule(), share=0.5, seed=seed)
    return scored(trained(building.build(recipe), with_teacher(states, teacher)), TEACHER)


def without_teacher(seed: int) -> dict[str, Any]:
    """Guidance-free training of the student's network."""
    recipe = RECIPES[f"digits/single_head-uniform-from_uniform-s{seed}"]
    trainer = building.build(recipe)
    trainer = Trainer(trainer.model, GuidanceFree(), trainer.weighting, recipe.train)
    return scored(trained(trainer, making.answered_batches(recipe, None, "cpu")), TEACHER)


def autoguided() -> dict[str, Any]:
    """The teacher guided by a student."""
    strong, weak = (with_products(results.load(name).model()) for name in (TEACHER, STUDENT))
    return scored(AutoGuided(strong, weak), TEACHER)


def main() -> None:
    """Make all of one seed, print their distances, and store them if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    ways: dict[str, Callable[[], dict[str, Any]]] = {
        **{f"{row}, trajectories": lambda row=row: on_states(row, args.seed) for row in ROWS},
        "guidance_free": lambda: without_teacher(args.seed),
        "autoguidance": autoguided,
    }
    found = {}
    for name, way in ways.items():
        found[name] = way()
        fds = {w: round(scores["frechet"], 1) for w, scores in found[name]["guidance"].items()}
        print(name, fds, found[name].get("gap", {}).get("gap_mse"), flush=True)
    if args.out:
        content = results.provenance() | {"seed": args.seed, "rivals": found}
        write_atomically(args.out, (json.dumps(content, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
