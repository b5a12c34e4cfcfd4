"""Public functions and classes of dashlib, each called with one argument that is wrong.

Of a tensor the shape, the type or one element is wrong, of other arguments the value.  A call is
refused by an exception that names the fault, of dashlib or of PyTorch.  What is not finite may also
be passed on: arithmetic of NaN is NaN, for everybody to see.
"""

import math
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dashlib import (
    checkpoints,
    classifier,
    data,
    guidance,
    losses,
    metrics,
    results,
    sampling,
    training,
    unet,
    weighting,
)
from dashlib import schedule as schedules
from dashlib.baselines.pruning import prune
from dashlib.execution import TrainConfig
from dashlib.scale import evaluation, features
from dashlib.scale import sampling as numbered
from faults.files import TINY
from faults.watch import watched

NAN, HUGE = math.nan, 2**70
COUNTS = (0, -1, HUGE)
SHAPES = ("longer", "wider")
WHOLE = ("integers",)  # of noise, say: PyTorch makes floats of them
TIMES = ("too large", "fractions")  # a network embeds any time from 0 on
CLEAR = (ValueError, TypeError, RuntimeError, IndexError, OverflowError, OSError, ArithmeticError)
UNCLEAR = (NotImplementedError, RecursionError, ZeroDivisionError)  # though kinds of the former


@dataclass(frozen=True)
class Call:
    """A right call, and for arguments that are no tensors the values that would be wrong."""

    of: Callable[..., object]
    right: Mapping[str, Any]
    wrong: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    fine: Sequence[str] = ()  # ways in which its tensors may differ


def spoilt(right: Tensor, fine: Sequence[str], rng: random.Random) -> tuple[str, Tensor]:
    """A tensor that is wrong in one way, and in which."""
    kinds = ["negative", "too large", "longer", "fractions"]
    if right.is_floating_point():
        kinds = ["nan", "inf", "longer", "wider", "integers"]
    elif right.dtype == torch.uint8:
        kinds = ["fractions"]  # no byte is wrong
    kind = rng.choice([kind for kind in kinds if kind not in fine])
    if kind in ("integers", "fractions"):
        return kind, right.long() if kind == "integers" else right + 0.5
    if kind == "longer":
        return kind, torch.cat([right, right[:1]])
    if kind == "wider":
        return kind, torch.cat([right, right[..., :1]], dim=-1)
    elements = {"nan": math.nan, "inf": rng.choice([math.inf, -math.inf])}
    elements |= {"negative": -rng.randrange(1, 9), "too large": 10 ** rng.randrange(5, 9)}
    changed = right.clone()
    changed.view(-1)[rng.randrange(right.numel())] = elements[kind]
    return kind, changed


def numbers(value: object) -> Iterator[bool]:
    """Whether each number in an answer, at any depth, is finite."""
    if isinstance(value, Tensor):
        yield bool(value.isfinite().all())
    elif isinstance(value, float):
        yield math.isfinite(value)
    elif is_dataclass(value) or isinstance(value, torch.nn.Module):
        yield from numbers(value.state_dict() if hasattr(value, "state_dict") else vars(value))
    elif isinstance(value, Mapping):
        yield from numbers([*value.values()])
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from numbers(part)


def of_tensors() -> list[Call]:
    """The arithmetic of the method."""
    plan, (x, eps, t, y) = schedules.Schedule(), example()
    judge = weighting.make_weighting("min_snr", plan)

    def guided(cond: Tensor, uncond: Tensor, w: Tensor) -> Tensor:
        return guidance.Branches(cond, uncond).guided(w)

    return [
        Call(partial(plan.add_noise, x), {"eps": eps, "t": t}, fine=WHOLE),
        Call(lambda x0: plan.add_noise(x0, eps, t), {"x0": x}),
        Call(partial(plan.predict_x0, x), {"eps": eps, "t": t}, fine=WHOLE),
        Call(lambda x_t: plan.predict_x0(x_t, eps, t), {"x_t": x}),
        Call(partial(plan.predict_eps, x), {"x0": eps, "t": t}, fine=WHOLE),
        Call(plan.alpha_bar, {"t": t}, fine=SHAPES),
        Call(schedules.cosine_alpha_bar, {"T": 1000, "s": 0.008}, {"T": COUNTS}),
        Call(guided, {"cond": x, "uncond": eps, "w": x[:, 0, 0, 0]}, fine=WHOLE),
        Call(judge.reduce, {"loss": x.abs().mean((1, 2, 3)), "t": t}, fine=WHOLE),
        Call(weighting.transfer, {"lam": torch.randn(1000), "schedule": plan}, fine=WHOLE),
        Call(weighting.make_weighting, {"name": "tirt", "schedule": plan}, {"name": ["x", ""]}),
        Call(weighting.MinSNR, {"schedule": plan, "gamma": 5.0}, {"gamma": [NAN, -1.0, 0.0]}),
        Call(data.to_bytes, {"x": x}, fine=(*SHAPES, "integers")),
        Call(
            partial(data.drop_labels, y, 10),
            {"p": 0.1, "per": "sample"},
            {"p": [NAN, -0.1, 1.5], "per": ["x", ""]},
        ),
        Call(
            sampling.timesteps,
            {"T": 1000, "steps": 50, "spacing": "leading"},
            {"steps": [*COUNTS, 1001, 7], "spacing": ["x", ""]},
        ),
        Call(
            sampling.timesteps,
            {"T": 1000, "steps": 50, "start": 970},
            {"start": [-1, 1000, HUGE]},
        ),
    ]


def of_networks() -> list[Call]:
    """What asks a network."""
    plan, (x, eps, t, y) = schedules.Schedule(), example()
    torch.manual_seed(0)
    model, other = unet.UNet(TINY).eval(), unet.UNet(TINY).eval()
    both = guidance.branches(other, x, t, y)
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    first = next(iter(weights))

    def sample(x_T: Tensor, y: Tensor, w: float, steps: int, **how: Any) -> Tensor:
        return sampling.sample(guidance.Guided(model, y, w), x_T, plan, steps=steps, **how)

    def asked(x_t: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return model(x_t, t, y)

    def terms(name: str, x_t: Tensor, y: Tensor, eps: Tensor) -> losses.Terms:
        batch = data.Batch(x_t, t, y, y, eps, both)
        return losses.make_objective(name).terms(model, batch)

    def loaded(tensor: Tensor) -> unet.UNet:
        checkpoints.load_into(fresh := unet.UNet(TINY), weights | {first: tensor}, "here")
        return fresh

    def step(x: Tensor, y: Tensor) -> object:
        stream = data.Stream(data.Images(x, y), plan, 10, batch_size=64, label_dropout=0.0)
        cfg = TrainConfig(steps=1)
        made = unet.UNet(TINY), losses.make_objective("scratch"), weighting.Uniform(plan), cfg
        return [*training.Trainer(*made).run(stream)]

    how = {"x_T": x, "y": y, "w": 2.0, "steps": 1, "eta": 0.0, "clamp": "none"}
    hostile = {"w": [NAN, math.inf], "steps": COUNTS, "eta": [NAN, -1.0, 2.0], "clamp": ["x", ""]}
    names = ["x", "", "fitnets"]
    return [
        Call(asked, {"x_t": x, "t": t, "y": y}, fine=TIMES),
        Call(partial(guidance.branches, model), {"x_t": x, "t": t, "y": y}, fine=TIMES),
        Call(sample, how, hostile),
        Call(terms, {"name": "dash", "x_t": x, "y": y, "eps": eps}, {"name": names}, WHOLE),
        Call(loaded, {"tensor": weights[first]}),
        Call(step, {"x": x, "y": y}),
        Call(
            lambda **changes: unet.UNet(replace(TINY, **changes)),
            {"ch": 8, "blocks": 1, "dropout": 0.0, "groups": 4, "image_size": 8},
            {
                "ch": [*COUNTS[:2], 3],
                "blocks": COUNTS[:2],
                "dropout": [NAN, -1.0, 2.0],
                "groups": [0, -1, 3],
                "image_size": [0, -8, 7],
            },
        ),
        Call(lambda ch: prune(model, replace(TINY, ch=ch)), {"ch": 4}, {"ch": [16, 3, 0, -4]}),
        Call(
            TrainConfig,
            {"steps": 9, "lr": 1e-3, "ema": 0.9, "clip": 1.0, "weight_decay": 0.0, "warm": 0.0},
            {
                "steps": COUNTS[:2],
                "lr": [NAN, 0.0, -1.0],
                "ema": [NAN, 1.0, -0.1],
                "clip": [NAN, 0.0],
                "weight_decay": [NAN, -1.0],
                "warm": [NAN, -1.0],
                "lr_min": [NAN, -1.0],
            },
        ),
        Call(lambda w: losses.make_objective("composite", w=w), {"w": 4.0}, {"w": [NAN]}),
        Call(losses.make_objective, {"name": "dash_sampled", "p": 0.5}, {"p": [NAN, -0.1, 2.0]}),
        Call(losses.make_objective, {"name": "multi_w", "low": 1.0}, {"low": [NAN, 9.0]}),
    ]


def of_scores() -> list[Call]:
    """What measures samples, and what stores the numbers."""
    plan, (x, eps, t, y) = schedules.Schedule(), example()
    torch.manual_seed(1)
    a, b = torch.randn(12, 3), torch.randn(9, 3)
    both = {"student": guidance.Branches(x, eps), "teacher": guidance.Branches(eps, x)}
    pixels = (x * 40 + 128).clamp(0, 255).byte()
    extractor = features.Extractor(lambda x: x.float().flatten(1), lambda f: f, "0" * 64, "here")
    judge = classifier.Classifier().eval()

    def compared(cond: Tensor, bins: int) -> metrics.GapReport:
        student = guidance.Branches(cond, both["student"].uncond)
        pairs = metrics.NoisyPairs(x, t, y)
        return metrics.compare(student, both["teacher"], pairs, plan, bins=bins)

    def frechet(a: Tensor, b: Tensor) -> float:
        return metrics.frechet(metrics.gaussian(a), metrics.gaussian(b))

    def stored(name: str) -> results.Run:
        return results.store(results.Run(name, {}, 0, {}, 0.0, 1, {}), weights={"weight": a})

    def scores(a: Tensor, b: Tensor, metric: str) -> dict[str, float]:
        gathered = (features.Extracted(metrics.gaussian(f), f, f) for f in (a, b))
        return evaluation.compute(*gathered, (metric,))

    images = data.Images(x, y)
    return [
        Call(metrics.gaussian, {"features": a}, fine=(*SHAPES, "integers")),
        Call(frechet, {"a": a, "b": b}, fine=("longer", "integers")),
        Call(metrics.distances, {"a": a, "b": b}, fine=("longer", "integers")),
        Call(compared, {"cond": eps, "bins": 20}, {"bins": [*COUNTS, 7]}, WHOLE),
        Call(
            lambda x, pairs: metrics.noisy_pairs(data.Images(x, y), plan, pairs=pairs),
            {"x": x, "pairs": 5},
            {"pairs": COUNTS},
            fine=("wider",),
        ),
        Call(lambda x: classifier.accuracy(judge, data.Images(x, y)), {"x": x}),
        Call(extractor, {"images": pixels}),
        Call(scores, {"a": a, "b": b, "metric": "kid"}, fine=(*SHAPES, "integers")),
        Call(
            lambda **given: data.Stream(images, plan, 10, **given),
            {"batch_size": 4, "label_dropout": 0.1, "dropout_per": "sample"},
            {"batch_size": COUNTS, "label_dropout": [NAN, 2.0], "dropout_per": ["x"]},
        ),
        Call(
            numbered.noise,
            {"seed": 1, "numbers": range(3), "shape": (1, 8, 8)},
            {"seed": [HUGE], "shape": [(-1, 8)]},
        ),
        Call(
            stored,
            {"name": "digits/x-s0"},
            {"name": ["../x", "/tmp/x", "a/../../x", "..", ""]},
        ),
    ]


def example() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images, noise, timesteps and labels: four of each."""
    torch.manual_seed(0)
    x, eps = torch.randn(2, 4, 1, 8, 8).unbind()
    return x, eps, torch.tensor([3, 400, 700, 999]), torch.tensor([0, 9, 3, 5])


def outcome(call: Call, given: Mapping[str, Any], how: str) -> str:
    """What became of a call with one wrong argument."""
    try:
        answer = call.of(**given)
        if isinstance(answer, data.Stream):
            answer = vars(next(answer))
    except UNCLEAR:
        return "bare"
    except CLEAR:
        return "refused"
    except Exception:
        return "bare"
    seen = how in ("nan", "inf") and not all(numbers(answer))
    return "passed on" if seen else "accepted"


def api(count: int, seed: int = 0) -> Counter[str]:
    """What became of so many calls; a file written elsewhere is a fault of its own."""
    found, rng, said = Counter[str](), random.Random(seed), set[str]()
    with watched() as outside, torch.random.fork_rng():
        os.environ["DASH_RESULTS"] = str(Path("results").resolve())
        known = [*of_tensors(), *of_networks(), *of_scores()]
        for number in range(count):
            call = known[number % len(known)]
            names = [k for k, v in call.right.items() if isinstance(v, Tensor) or k in call.wrong]
            name = rng.choice([*dict.fromkeys([*names, *call.wrong])])
            right = call.right.get(name)
            if isinstance(right, Tensor):
                how, value = spoilt(right, call.fine, rng)
            else:
                value = rng.choice(call.wrong[name])
                how = repr(value)
            kind = outcome(call, {**call.right, name: value}, how)
            found[kind] += 1
            what = f"{kind}: {getattr(call.of, '__qualname__', call.of)}, {name} {how}"
            if kind not in ("refused", "passed on") and what not in said:
                said.add(what)
                print(what)
        found["written outside"] += len(outside)
        print(*(f"written outside: {path}" for path in outside), sep="\n")
        with suppress(KeyError):
            del os.environ["DASH_RESULTS"]
    return +found
