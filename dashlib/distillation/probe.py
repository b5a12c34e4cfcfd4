"""Refuse what cannot be distilled before a step is made, with the reason and what to do."""

from collections.abc import Collection, Iterator
from itertools import chain, islice
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from dashlib.distillation.network import ConditionedBatch, Network, RectifiedFlow, noisy_batches

Faults = Iterator[tuple[str, str]]  # a name each, and why
MISREAD = 2  # times less error if the answer is read as another kind of prediction
STALE = 0.4  # of digits' networks those with a trained null have .14 to .24, others .46 and more


class Refusal(ValueError):
    """A teacher, student or null that cannot be worked with; ``fault`` is its short name."""

    def __init__(self, fault: str, why: str) -> None:
        super().__init__(f"{fault}: {why}")
        self.fault = fault


@torch.no_grad()
def probe(
    teacher: Network, student: Network, data: Any, *, pairs: int = 1024, seed: int = 0,
    allow: Collection[str] = (),
) -> None:  # fmt: skip
    """Raise the :class:`Refusal` of the first fault; those named in ``allow`` pass.

    They are ``frozen student``, ``shared weights`` and ``mixed predictions``; on one batch ``wrong
    null``, ``wrong shapes`` and ``wrong channels``; on ``pairs`` of an image and its noise ``wrong
    prediction``, ``no gap`` and ``untrained null``.
    """
    generator = Generator(next(student.parameters()).device).manual_seed(seed)
    stream = noisy_batches(data, teacher.schedule, min(pairs, 64), generator)
    batches = list(islice(stream, -(-pairs // 64)))
    faults = [_of_the_pair(teacher, student), _of_the_null(teacher, batches[0].cond)]
    faults += [_of_the_shape(net, batches[0]) for net in (teacher, student)]
    for fault, why in chain(*faults, _of_the_branches(teacher, batches)):
        if fault not in allow:
            raise Refusal(fault, why)


def _of_the_pair(teacher: Network, student: Network) -> Faults:
    """Check what can be seen without calling the networks."""
    if not any(p.requires_grad for p in student.parameters()):
        yield "frozen student", "no parameter requires a gradient: call requires_grad_(True)"
    if {id(p) for p in student.parameters()} & {id(p) for p in teacher.parameters()}:
        yield "shared weights", "training would move the teacher: copy.deepcopy what they share"
    if (its := teacher.prediction) != (own := student.prediction):
        yield "mixed predictions", f"the teacher predicts {its}, the student {own}: make them one"
    one, other = (net.schedule.snr() for net in (teacher, student))
    if one.shape != other.shape or not torch.allclose(one, other):
        yield "mixed predictions", "they have different schedules: give one to both"


def _of_the_null(teacher: Network, cond: Any) -> Faults:
    """A null condition that is none, or whose row never moved from a start that is known."""

    def kinds(of: Any) -> list[tuple[torch.dtype, torch.Size]]:
        return [(leaf.dtype, leaf.shape) for leaf in tree_leaves(of)]

    null = teacher.null
    floats = any(leaf.is_floating_point() for leaf in tree_leaves(cond))
    try:
        made = teacher.nulls(cond)
        tree_map(torch.eq, cond, made)  # ValueError: another structure
    except (ValueError, RuntimeError, TypeError) as error:
        yield "wrong null", f"no null condition for {kinds(cond)}: {error}"
        return
    if kinds(made) != kinds(cond) or (isinstance(null, int) and floats):
        yield "wrong null", f"{null} gives {kinds(made)} for conditions {kinds(cond)}"
    for table in (m.weight for m in teacher.modules() if isinstance(m, nn.Embedding)):
        if isinstance(null, int) and 0 <= null < len(table):
            mean = torch.cat([table[:null], table[null + 1 :]]).mean(0)
            if any(torch.allclose(table[null], start, atol=1e-6) for start in (mean, 0 * mean)):
                why = f"row {null} is zero or the other rows' mean, as before any training"
                yield "untrained null", f"{why}: train it with label dropout, or name another"


def _of_the_shape(network: Network, batch: ConditionedBatch) -> Faults:
    """An answer that is not shaped like the images where guidance acts on it."""
    want = tuple(batch.x_t.shape)
    try:
        network.predict(batch.x_t, batch.t, network.nulls(batch.cond))
        out = network.predict(batch.x_t, batch.t, batch.cond)
    except (IndexError, RuntimeError, ValueError) as error:
        fault = "wrong null" if isinstance(error, IndexError) else "wrong shapes"
        yield fault, f"images {want}, or the null {network.null}, are not taken: {error}"
        return
    if (have := tuple(out[:, network.guide_channels].shape)) != want:
        why = f"{network.guide_channels} of {out.shape[1]} channels are {have}, images {want}"
        yield "wrong channels", f"{why}: guide all of them, guide_channels=slice(0, {want[1]})"


def _of_the_branches(teacher: Network, batches: list[ConditionedBatch]) -> Faults:
    """Check what the teacher's errors on noisy images show.

    Let c, u, s be those under the own, the null and another's condition, V the variance of the
    right conditional answers at ``x_t``.  A right unconditional branch has ``u - c = V``, and
    ``s - c`` is 2 V where x_t says nothing about the condition, else more: ``(u-c)/(s-c) <= 1/2``.
    """
    found: list[list[Tensor]] = []
    kinds = ("eps", "x0", "flow" if isinstance(teacher.schedule, RectifiedFlow) else "v")
    for batch in batches:
        x_t, t, other = batch.x_t, batch.t, tree_map(lambda v: v.roll(1, 0), batch.cond)
        conds = batch.cond, teacher.nulls(batch.cond), other
        outs = [teacher.guided(x_t, t, cond) for cond in conds]
        own, *rest = (teacher.as_noise(out, x_t, t, teacher.prediction) for out in outs)
        read = [teacher.as_noise(outs[0], x_t, t, kind) for kind in kinds]
        parts = [own, own - rest[0], *(eps - batch.eps for eps in (own, *rest, *read))]
        found.append([part.double().square().flatten(1).mean(1) for part in parts])
    size, gap, c, u, s, *others = (torch.cat(parts) for parts in zip(*found, strict=True))
    errors = {kind: of.median().item() for kind, of in zip(kinds, others, strict=True)}
    if not c.median() <= min(1, MISREAD * min(errors.values())):
        seen = ", ".join(f"{error:.2f} as {kind}" for kind, error in errors.items())
        why = f"the error of the noise is {seen}, of no noise at all 1.00"
        yield "wrong prediction", f"{why}: check prediction, schedule and the scale of the data"
    if gap.mean() < 1e-8 * size.mean():
        why = "the teacher ignores its condition, or the data's are null: there is nothing to keep"
        yield "no gap", why
    beyond = (s - c, u - c - STALE * (s - c))  # conditions tell, and the null is stale: by chance?
    if all(of.mean() > 2 * of.std() / len(c) ** 0.5 for of in beyond):
        seen = f"own {c.mean():.3f}, null {u.mean():.3f}, another's {s.mean():.3f}"
        why = f"under the null the teacher errs nearly as under another's condition ({seen})"
        yield "untrained null", f"{why}: it was never trained, or the null is another one"
