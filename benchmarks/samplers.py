"""Measure how the sampler moves the scores of digits: its start, noise, spacing and clamp.

Of models distilled from one teacher, and of teachers, every setting is scored at several guidance
scales with two seeds of the starting noise.  ``python -m benchmarks.samplers NAME... [--n N]
[--settings SETTING...] [--out FILE]``; the names are stored runs, the settings those of
:func:`settings`, all if none is named.
"""

import argparse
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dashlib import datasets, results
from dashlib.checkpoints import write_atomically
from dashlib.guidance import Guided
from dashlib.metrics import distances
from dashlib.recipes import DIGITS
from dashlib.runs.scoring import scores_of
from dashlib.sampling import EpsModel, balanced_labels, sample, starting_noise
from dashlib.scale.small_grids import with_products
from dashlib.schedule import Schedule
from dashlib.unet import UNet

SCALES = ("1", "1.5", "4", "TAG")
SEEDS = (1234, 4321)  # of the starting noise; the first is the stored runs'
STARTS, ETAS = (999, 980, 970, 950, 900), (0.0, 1.0)
PASSED = (1e-3, 1e-2)  # signal-to-noise ratios
CLAMPED = (("dynamic", 999), ("dynamic", 950), ("clamp", 999), ("clamp", 950), ("none", 999))
EXTREME = 0.9  # beyond it a value is nearly black or white


def start_where(snr: float, schedule: Schedule) -> int:
    """The last timestep whose signal-to-noise ratio is at least this."""
    return int((schedule.snr() >= snr).nonzero().max())


def settings() -> dict[str, dict[str, Any]]:
    """Options of :func:`dashlib.sampling.ddim` by name: starts by noise, then what else changes."""
    starts: dict[str, dict[str, Any]] = {f"start {s}": {"start": s} for s in STARTS}
    starts |= {f"SNR {snr:g}": {"start": start_where(snr, Schedule())} for snr in PASSED}
    starts["leading"] = {"spacing": "leading"}
    grid = {f"{k}, eta {e:g}": {**how, "eta": e} for k, how in starts.items() for e in ETAS}
    halves = {f"start {s}, eta 0.5": {"start": s, "eta": 0.5} for s in (999, 950)}
    clamps = {f"{c}, start {s}": {"clamp": c, "start": s} for c, s in CLAMPED}
    return grid | halves | clamps


def dynamic(eps_model: EpsModel, schedule: Schedule, quantile: float = 0.995) -> EpsModel:
    """A noise predictor whose image is thresholded dynamically, and whose noise agrees with it.

    The predicted image is divided by this quantile of its values' sizes, if that is above 1, and
    then cut to [-1, 1].  Saharia et al. 2022.
    """

    def thresholded(x_t: Tensor, t: Tensor) -> Tensor:
        x0 = schedule.predict_x0(x_t, eps_model(x_t, t), t)
        size = torch.quantile(x0.abs().flatten(1), quantile, dim=1).clamp(min=1)
        return schedule.predict_eps(x_t, (x0 / size.view(-1, 1, 1, 1)).clamp(-1, 1), t)

    return thresholded


@torch.inference_mode()
def drawn(model: UNet, label: str, n: int, seed: int, options: dict[str, Any]) -> Tensor:
    """``n`` images of a model at a guidance scale, in [-1, 1]."""
    eps: EpsModel = Guided(model, balanced_labels(n), DIGITS.guidance[label])
    if options.get("clamp") == "dynamic":
        eps, options = dynamic(eps, Schedule()), {**options, "clamp": "none"}
    noise, generator = starting_noise(n, model.cfg, seed), torch.Generator().manual_seed(seed)
    return sample(eps, noise, Schedule(), generator=generator, **options).clamp(-1, 1)


def extremes(x: Tensor) -> dict[str, float]:
    """Share of values near black (the background) and white, and the standard deviation."""
    shares = {"white": x > EXTREME, "black": x < -EXTREME}
    return {k: v.float().mean().item() for k, v in shares.items()} | {"std": x.std().item()}


def study(names: Sequence[str], n: int, chosen: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """A record for every run, setting, scale and seed."""
    ways = {name: how for name, how in settings().items() if not chosen or name in chosen}
    for name in names:
        model = with_products(results.load(name).model())
        for (setting, options), label, seed in itertools.product(ways.items(), SCALES, SEEDS):
            images = drawn(model, label, n, seed, options)
            yield {
                **{"run": name, "setting": setting, "options": options, "w": label, "seed": seed},
                **scores_of(images),
                **extremes(images),
            }


def main() -> None:
    """Make the study, print a line for each setting of each run, and store it if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--settings", nargs="+", choices=[*settings()], default=[], metavar="S")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    digits, clock, found = datasets.load_dataset("digits"), time.perf_counter(), []
    for record in study(args.names, args.n, args.settings):
        found.append(record)
        if (record["w"], record["seed"]) == (SCALES[-1], SEEDS[-1]):
            last = found[-len(SCALES) * len(SEEDS) :]
            fds = " ".join(f"{one['frechet']:6.1f}" for one in last)
            print(f"{record['run']:36} {record['setting']:28} {fds}", flush=True)
    judge = results.load(DIGITS.classifier).classifier()
    held = distances(*(judge.features(x) for x in (digits.test.x, digits.train.x)))
    about = {"n": args.n, "data": extremes(digits.train.x)}
    about |= {"held_out": held | {"n": len(digits.test)}, "seconds": time.perf_counter() - clock}
    if args.out:
        content = json.dumps(results.provenance() | about | {"records": found}, indent=1)
        write_atomically(args.out, (content + "\n").encode())


if __name__ == "__main__":
    main()
