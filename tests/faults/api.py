"""Public functions and classes of dashlib, each called with one argument that is wrong.

Of a tensor the shape, the type or one element is wrong, of other arguments the value.  A call is
refused by an exception that names the fault, of dashlib or of PyTorch.  What is not finite may also
be passed on: arithmetic of NaN is NaN, for everybody to see.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import strategies as st
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
from faults.watch import LETTERS, tried

NAN, HUGE, NONE = st.just(math.nan), st.just(2**70), st.integers(max_value=0)
COUNTS, OTHER = NONE | HUGE, st.text(LETTERS, max_size=3)  # no name of anything is that short
NOT_POSITIVE, NEGATIVE = NAN | st.floats(max_value=0), NAN | st.floats(max_value=-1e-300)
NO_SHARE = NEGATIVE | st.floats(min_value=1, exclude_min=True)
INFINITE = st.sampled_from([math.inf, -math.inf])
LEADING_OUT = st.sampled_from(["", "/tmp/x", "a/../../x"]) | st.text(LETTERS).map("../{}".format)
ELEMENTS = {"nan": NAN, "inf": INFINITE}
ELEMENTS |= {"negative": st.integers(-9, -1), "too large": st.integers(10**5, 10**8)}
SHAPES = {"longer": 0, "wider": -1}
WHOLE = ("integers",)  # of noise, say: PyTorch makes floats of them
TIMES = ("too large", "fractions")  # a network embeds any time from 0 on
CLEAR = (ValueError, TypeError, RuntimeError, IndexError, OverflowError, OSError, ArithmeticError)
UNCLEAR = (NotImplementedError, RecursionError, ZeroDivisionError)  # though kinds of the former


@dataclass(frozen=True)
class Call:
    """A right call, and for arguments that are no tensors the values that would be wrong."""

    of: Callable[..., object]
    right: Mapping[str, Any]
    wrong: Mapping[str, st.SearchStrategy] = field(default_factory=dict)
    fine: Sequence[str] = ()  # ways in which its tensors may differ


@st.composite
def spoilt(draw: st.DrawFn, right: Tensor, fine: Sequence[str]) -> tuple[str, Tensor]:
    """A tensor that is wrong in one way, and in which."""
    kinds = ["negative", "too large", "longer", "fractions"]
    if right.is_floating_point():
        kinds = ["nan", "inf", "longer", "wider", "integers"]
    elif right.dtype == torch.uint8:
        kinds = ["fractions"]  # no byte is wrong
    kind = draw(st.sampled_from([kind for kind in kinds if kind not in fine]))
    if kind in ("integers", "fractions"):
        return kind, right.long() if kind == "integers" else right + 0.5
    if kind in SHAPES:
        dim = SHAPES[kind]
        return kind, torch.cat([right, right.narrow(dim, 0, 1)], dim)
    changed = right.clone()
    changed.view(-1)[draw(st.integers(0, right.numel() - 1))] = draw(ELEMENTS[kind])
    return kind, changed


def numbers(value: object) -> Iterator[bool]:
    """Tell whether each number in an answer, at any depth, is finite."""
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
        Call(weighting.make_weighting, {"name": "tirt", "schedule": plan}, {"name": OTHER}),
        Call(weighting.MinSNR, {"schedule": plan, "gamma": 5.0}, {"gamma": NOT_POSITIVE}),
        Call(data.to_bytes, {"x": x}, fine=(*SHAPES, "integers")),
        Call(
            partial(data.drop_labels, y, 10),
            {"p": 0.1, "per": "sample"},
            {"p": NO_SHARE, "per": OTHER},
        ),
        Call(
            sampling.timesteps,
            {"T": 1000, "steps": 50, "spacing": "leading"},
            {"steps": NONE | st.just(7) | st.integers(min_value=1001), "spacing": OTHER},
        ),
        Call(
            sampling.timesteps,
            {"T": 1000, "steps": 50, "start": 970},
            {"start": st.integers(max_value=-1) | st.integers(min_value=1000)},
        ),
    ]


def of_networks() -> list[Call]:
    """Return what asks a network."""
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
    hostile = {"w": NAN | INFINITE, "steps": COUNTS, "eta": NO_SHARE, "clamp": OTHER}
    return [
        Call(asked, {"x_t": x, "t": t, "y": y}, fine=TIMES),
        Call(partial(guidance.branches, model), {"x_t": x, "t": t, "y": y}, fine=TIMES),
        Call(sample, how, hostile),
        Call(
            terms,
            {"name": "dash", "x_t": x, "y": y, "eps": eps},
            {"name": OTHER | st.just("fitnets")},
            WHOLE,
        ),
        Call(loaded, {"tensor": weights[first]}),
        Call(step, {"x": x, "y": y}),
        Call(
            lambda **changes: unet.UNet(replace(TINY, **changes)),
            {"ch": 8, "blocks": 1, "dropout": 0.0, "groups": 4, "image_size": 8},
            dict.fromkeys(("ch", "groups", "image_size"), NONE | st.sampled_from([3, 7]))
            | {"blocks": NONE, "dropout": NO_SHARE},
        ),
        Call(
            lambda ch: prune(model, replace(TINY, ch=ch)),
            {"ch": 4},
            {"ch": NONE | st.sampled_from([3, 16])},
        ),
        Call(
            TrainConfig,
            {"steps": 9, "lr": 1e-3, "ema": 0.9, "clip": 1.0, "weight_decay": 0.0, "warm": 0.0},
            dict.fromkeys(("weight_decay", "warm", "lr_min"), NEGATIVE)
            | dict.fromkeys(("lr", "clip"), NOT_POSITIVE)
            | {"steps": NONE, "ema": NEGATIVE | st.floats(min_value=1)},
        ),
        Call(lambda w: losses.make_objective("composite", w=w), {"w": 4.0}, {"w": NAN}),
        Call(losses.make_objective, {"name": "dash_sampled", "p": 0.5}, {"p": NO_SHARE}),
        Call(losses.make_objective, {"name": "multi_w", "low": 1.0}, {"low": NAN | st.just(9.0)}),
    ]


def of_scores() -> list[Call]:
    """Return what measures samples, and what stores the numbers."""
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
        Call(compared, {"cond": eps, "bins": 20}, {"bins": COUNTS | st.just(7)}, WHOLE),
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
            {"batch_size": COUNTS, "label_dropout": NO_SHARE, "dropout_per": OTHER},
        ),
        Call(
            numbered.noise,
            {"seed": 1, "numbers": range(3), "shape": (1, 8, 8)},
            {"seed": HUGE, "shape": st.just((-1, 8))},
        ),
        Call(stored, {"name": "digits/x-s0"}, {"name": LEADING_OUT}),
    ]


def example() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images, noise, timesteps and labels: four of each."""
    torch.manual_seed(0)
    x, eps = torch.randn(2, 4, 1, 8, 8).unbind()
    return x, eps, torch.tensor([3, 400, 700, 999]), torch.tensor([0, 9, 3, 5])


@st.composite
def cases(draw: st.DrawFn, known: Sequence[Call]) -> tuple[Call, str, str, Any]:
    """A call, the name of one argument, in which way it is wrong, and its value."""
    call = draw(st.sampled_from(known))
    tensors = [name for name, right in call.right.items() if isinstance(right, Tensor)]
    name = draw(st.sampled_from([*tensors, *call.wrong]))
    if name in tensors:
        return call, name, *draw(spoilt(call.right[name], call.fine))
    value = draw(call.wrong[name])
    return call, name, repr(value), value


def outcome(case: tuple[Call, str, str, Any]) -> str:
    """Tell what became of a call with one wrong argument."""
    call, name, how, value = case
    try:
        answer = call.of(**{**call.right, name: value})
        if isinstance(answer, data.Stream):
            answer = vars(next(answer))
    except UNCLEAR:
        raise
    except CLEAR:
        return "refused"
    seen = how in ("nan", "inf") and not all(numbers(answer))
    return "passed on" if seen else "accepted"


def api(count: int) -> Counter[str]:
    """Tell what became of so many calls."""
    with torch.random.fork_rng(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("DASH_RESULTS", "results")  # of the folder that is watched
        return tried(outcome, cases([*of_tensors(), *of_networks(), *of_scores()]), count)
