"""Where a sweep runs, and how large it is."""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from dashlib import data, datasets
from dashlib.recipes import SCALES, Scale, Spec, specs_of


@dataclass(frozen=True)
class Plan:
    """Where a sweep runs, and how large it is."""

    scale: str
    work: Path  # unfinished training and single scores
    data: Path
    device: str = "cuda"
    processes: int = 4
    samples: int = 2_000  # scored per guidance scale and sampling seed
    many: int = 10_000  # scored for the teacher and the headline rows, at a few scales
    chunk: int = 1_000  # sampled at a time
    pairs: int = 10_000  # for the gap metrics
    kept: int = 20  # pictures stored per guidance scale
    sampling_steps: int = 50
    classifier_epochs: int = 12
    steps: int | None = None  # of every training, instead of the spec's, to try a sweep out
    tiny: bool = False  # small batches of few images, too
    save_seconds: float = 60  # between checkpoints
    only: str = ""  # runs whose name contains this

    @property
    def settings(self) -> Scale:
        """The scale's settings."""
        return SCALES[self.scale]

    def specs(self) -> list[Spec]:
        """The runs to make, shortened if asked."""
        found = [s for s in specs_of(self.scale).values() if self.only in s.name or not s.teacher]
        if self.steps is not None:
            every = min(self.steps, 10)
            found = [
                replace(s, train=replace(s.train, steps=self.steps, read_every=every))
                for s in found
            ]
        return [replace(s, batch_size=4) for s in found] if self.tiny else found


def shortened(plan: Plan) -> Plan:
    """The same sweep with a few steps and samples, to see it through on a CPU."""
    return replace(
        plan, samples=10, many=20, chunk=10, pairs=20, kept=2, sampling_steps=2, steps=4, tiny=True,
        classifier_epochs=1, save_seconds=0,
    )  # fmt: skip


@lru_cache(maxsize=1)
def dataset(plan: Plan) -> data.Dataset:
    """The images, on the device."""
    found = datasets.load(plan.settings.name, plan.data)
    if plan.tiny:
        parts = (data.Images(p.x[:500], p.y[:500]) for p in (found.train, found.test))
        found = data.Dataset(found.name, found.num_classes, *parts)
    return found.to(plan.device)
