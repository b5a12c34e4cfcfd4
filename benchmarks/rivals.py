"""Rivals and variants that no stored run has, on digits: each scored like a run.

* ``trajectories``: half of each batch are states that the teacher's guided sampling went through,
  where a student will be used, not noised data;
* ``guidance_free``: a network that takes w learns its own guided output, without a teacher
  (Chen et al. 2025);
* ``autoguidance``: the teacher's conditional branch guided by that of a small network trained on
  the same images, ``digits/scratch-uniform-sS``, not by its null branch (Karras et al. 2024);
* ``MASKED``: composite with dropout, whose branches get masks of their own or share them;
* ``SWEPT``: rows of the fair comparison with other options: the share p of null branches, the
  weight of the gap's error, and TAG's quadratic form.

``python -m benchmarks.rivals --seed S`` goes on where it was; the teacher is stored.
"""

import argparse
import json
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
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
from dashlib.recipes import DIGITS, fair
from dashlib.runs import building, making, scoring
from dashlib.sampling import ddim
from dashlib.scale.small_grids import with_products
from dashlib.schedule import Schedule
from dashlib.training import Trainer
from dashlib.unet import UNet

TEACHER = "digits/teacher-uniform"
MASKED = {"own masks": False, "shared masks": True}
ROWS = ("gap_match_cond", "dash_gap_3")  # read no noise: they may learn on trajectories
SWEPT = {1: ("dash_gap_10", "tag_form"), 2: ("dash_sampled_0.1", "dash_sampled_0.25")}


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


def on_states(row: str, seed: int) -> UNet:
    """A row whose batches are half states of its teacher's trajectories."""
    recipe = fair(row, "uniform", seed)
    teacher = with_products(results.load(TEACHER).model())
    plain = making.answered_batches(recipe, None, "cpu")
    states = on_trajectories(plain, teacher, Schedule(), share=0.5, seed=seed)
    return trained(building.build(recipe), with_teacher(states, teacher))


def without_teacher(seed: int) -> UNet:
    """Guidance-free training of the student's network."""
    recipe = fair("single_head", "uniform", seed)
    trainer = building.build(recipe)
    trainer = Trainer(trainer.model, GuidanceFree(), trainer.weighting, recipe.train)
    return trained(trainer, making.answered_batches(recipe, None, "cpu"))


def autoguided(seed: int) -> AutoGuided:
    """The teacher guided by a small network."""
    names = TEACHER, DIGITS.of("scratch", "uniform", seed).name
    return AutoGuided(*(with_products(results.load(name).model()) for name in names))


def masked(seed: int, shared: bool) -> UNet:
    """Composite by a network with dropout of 0.1, shared by an image's branches or not."""
    recipe = fair("composite", "uniform", seed)
    recipe = replace(recipe, unet=replace(recipe.unet, dropout=0.1, shared_masks=shared))
    teacher = with_products(results.load(TEACHER).model())
    return trained(building.build(recipe), making.answered_batches(recipe, teacher, "cpu"))


def ways(seed: int) -> dict[str, Callable[[], dict[str, Any]]]:
    """Give what to make, by name."""
    return {
        **{f"{row}, trajectories": partial(on_states, row, seed) for row in ROWS},
        "guidance_free": partial(without_teacher, seed),
        "autoguidance": partial(autoguided, seed),
        **{f"composite, {name}": partial(masked, seed, of) for name, of in MASKED.items()},
    }


def swept(longer: int, seed: int, missing: Sequence[str]) -> dict[str, UNet]:
    """The rows of so many times the steps that are missing, trained side by side."""
    recipes = {row: fair(row, "uniform", seed, longer) for row in SWEPT[longer] if row in missing}
    trainers, _ = making.train_together([*recipes.values()]) if recipes else ({}, {})
    return {row: making.half(trainers[recipe.name].ema) for row, recipe in recipes.items()}


def made(seed: int, have: Collection[str]) -> Iterator[tuple[str, Any]]:
    """Models of a seed by name, one after the other, but for those that there are."""
    for name, way in ways(seed).items():
        if name not in have:
            yield name, way()
    for longer, rows in SWEPT.items():
        yield from swept(longer, seed, [row for row in rows if row not in have]).items()


def main() -> None:
    """Make what is missing of one seed, store each as it is done, and print its distances."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=results.root() / "bench/rivals-digits.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    seeds = json.loads(args.out.read_text()) if args.out.exists() else {}
    found = seeds.setdefault(str(args.seed), {})
    clock = time.process_time()
    for name, model in made(args.seed, [*found]):
        scores = scored(model, TEACHER) | {"cpu_seconds": round(time.process_time() - clock, 1)}
        found[name], clock = scores | results.provenance(), time.process_time()
        write_atomically(args.out, (json.dumps(seeds, indent=1) + "\n").encode())
        fds = {w: round(of["frechet"], 1) for w, of in scores["guidance"].items()}
        print(args.seed, name, fds, scores.get("gap", {}).get("gap_mse"), flush=True)


if __name__ == "__main__":
    main()
