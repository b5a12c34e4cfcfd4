"""Scores of models over guidance scales and sampling seeds, stored one by one.

A score belongs to its circumstances: model weights, guidance, seed, number of samples, how they
were sampled, feature network and reference set.  They are stored with it, and a score that is
stored with the same ones is not computed again.
"""

import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from dashlib import results
from dashlib.checkpoints import write_atomically
from dashlib.guidance import TAG, Constant, GuidanceSchedule, Interval
from dashlib.progress import Progress, silent
from dashlib.scale import scores
from dashlib.scale.distributed import Shards
from dashlib.scale.reference import Collected, Extractor, Reference, collect, kept
from dashlib.scale.sampling import Named, Sampler, generate

METRICS = ("fid", "is", "kid", "pr")
KEY = ("model", "weights", "guidance", "seed", "n", "sampling", "features", "reference")
Record = dict[str, Any]


def label(w: GuidanceSchedule) -> str:
    """A guidance schedule in words, all its numbers included."""
    if isinstance(w, Constant):
        return f"w={w.w:g}"
    if isinstance(w, TAG):
        return f"TAG({w.w_min:g},{w.w_max:g},{w.beta:g})"
    if isinstance(w, Interval):
        return f"w={w.w:g} on {w.low}<=t<{w.high}"
    return repr(w)


@dataclass(frozen=True)
class Task:
    """One cell of a sweep: a model's samples under one guidance and one sampling seed."""

    model: Named
    w: GuidanceSchedule
    seed: int


@dataclass(frozen=True)
class Settings:
    """What a sweep's scores have in common."""

    n: int
    metrics: tuple[str, ...]
    extractor: Extractor
    reference: Reference
    sampler: Sampler
    batch: int = 500

    def __post_init__(self) -> None:
        unknown = [m for m in self.metrics if m not in METRICS]
        if unknown or not self.metrics:
            raise ValueError(f"metrics {', '.join(unknown)!r}: some of {', '.join(METRICS)}")
        if self.n < 2:
            raise ValueError(f"n={self.n}: at least 2 samples (the papers take 50,000)")

    def shared(self) -> Record:
        """What all scores of the sweep depend on, ready for JSON."""
        return {
            "n": self.n,
            "sampling": asdict(self.sampler),
            "features": self.extractor.name("fid") + " " + self.extractor.sha,
            "reference": self.reference.key,
        }

    def circumstances(self, task: Task) -> Record:
        """All that a score depends on, ready for JSON: the fields of :data:`KEY`."""
        model = {"model": task.model.name, "weights": task.model.sha}
        return model | {"guidance": label(task.w), "seed": task.seed} | self.shared()

    def names(self) -> list[str]:
        """What the scores asked for are called, in the order they are computed."""
        of = {"fid": ["fid"], "is": ["is"], "kid": ["kid"], "pr": ["precision", "recall"]}
        return [self.extractor.name(s) for m in METRICS if m in self.metrics for s in of[m]]


def check(models: list[Named], channels: int, size: int, classes: int) -> None:
    """``ValueError`` for the first model that does not make this data set's images."""
    for named in models:
        cfg = named.model.cfg
        have = (cfg.image_channels, cfg.image_size, cfg.num_classes)
        if have != (channels, size, classes):
            raise ValueError(
                f"{named.name} makes {have[1]}x{have[1]} images of {have[0]} channel(s) and "
                f"{have[2]} classes; the data set has {size}x{size}, {channels} and {classes}: "
                "choose another --data or --preset"
            )


def _sampled(
    task: Task, settings: Settings, shards: Shards, progress: Progress
) -> Iterator[tuple[Tensor, Tensor]]:
    """This process's images of a task with the marks of those whose features are kept."""
    what = f"{task.model.name} {label(task.w)} seed {task.seed}"
    marks, start = kept(settings.n), (numbers := shards.slice(settings.n)).start
    batches = generate(
        task.model.model,
        task.w,
        numbers,
        seed=task.seed,
        device=shards.device,
        sampler=settings.sampler,
        batch=settings.batch,
    )
    for images, _ in batches:
        yield images, marks[start : start + len(images)]
        start += len(images)
        progress(what, start - numbers.start, len(numbers))


def compute(found: Collected, settings: Settings, device: torch.device) -> dict[str, float]:
    """The scores by their right names; some with their spread over splits or subsets."""
    values: dict[str, float] = {}
    name, real = settings.extractor.name, settings.reference
    if "fid" in settings.metrics:
        pair = found.moments.to(device), real.moments.to(device)
        values[name("fid")] = scores.frechet_distance(*pair)
    if "is" in settings.metrics:
        mean, spread = scores.inception_score(found.logits, min(scores.SPLITS, settings.n))
        values |= {name("is"): mean, name("is") + ", std over splits": spread}
    fake_pool, real_pool = found.pool.to(device), real.pool.to(device)
    if "kid" in settings.metrics:
        mean, spread = scores.kernel_distance(fake_pool, real_pool)
        values |= {name("kid"): mean, name("kid") + ", std over subsets": spread}
    if "pr" in settings.metrics:
        precision, recall = scores.precision_recall(fake_pool, real_pool)
        values |= {name("precision"): precision, name("recall"): recall}
    return values


def score(task: Task, settings: Settings, shards: Shards, progress: Progress = silent) -> Record:
    """Sample and score one cell; every process takes part, each returns the record."""
    clock = time.perf_counter()
    batches = _sampled(task, settings, shards, progress)
    found = collect(batches, settings.extractor, shards, logits="is" in settings.metrics)
    values = compute(found, settings, shards.device) if shards.first else {}
    return settings.circumstances(task) | {
        "scores": values,
        "library": settings.extractor.library,
        "seconds": round(time.perf_counter() - clock, 1),
        "processes": shards.count,
        "torch": torch.__version__,
        "commit": results.commit(),
        "hardware": results.hardware(),
    }


def describe(record: Record) -> str:
    """One line: the scores, and beside them what they depend on."""
    values = ", ".join(
        f"{name} {value:.4g}" for name, value in record["scores"].items() if ", std" not in name
    )
    real, how = record["reference"], record["sampling"]
    sampling = f"DDIM-{how['steps']} {how['spacing']}, clamp {how['clamp']}, {how['precision']}"
    return (
        f"{record['model']}, {record['guidance']}, seed {record['seed']}: {values} "
        f"[N={record['n']:,}; {record['library']} on torch {record['torch']}; reference "
        f"{real['dataset']}/{real['split']}, {real['n']:,} images; "
        f"weights {real['features'][:8]}; {sampling}]"
    )


def describe_mean(row: Record) -> str:
    """One line of a summary: mean and standard deviation over sampling seeds."""
    values = []
    for name, mean in row["mean"].items():
        if ", std" not in name:
            spread = row["std"][name]
            values.append(f"{name} {mean:.4g}" + (f" ± {spread:.2g}" if spread is not None else ""))
    seeds, real = ", ".join(map(str, row["seeds"])), row["reference"]
    return (
        f"{row['model']}, {row['guidance']}, seeds {seeds}: {', '.join(values)} "
        f"[N={row['n']:,}; {row['library']}; reference {real['dataset']}/{real['split']}, "
        f"{real['n']:,} images]"
    )


class Store:
    """A file of scores: ``{"scores": [records], "summary": [mean and std over seeds]}``.

    Written whole after every score.  ``ValueError`` for a file that is something else.
    """

    def __init__(self, path: Path | None) -> None:
        self.path, self.records = path, list[Record]()
        if path is None or not path.exists():
            return
        try:
            self.records = json.loads(path.read_text())["scores"]
            self.records = [r for r in self.records if {*KEY, "scores"} <= r.keys()]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{path} is not a file of scores ({error}): move it away or give another --out"
            ) from error

    def find(self, circumstances: Record) -> Record | None:
        """The record with these circumstances."""
        same = (r for r in self.records if all(r[k] == circumstances[k] for k in KEY))
        return next(same, None)

    def add(self, record: Record) -> None:
        """Keep a record, with the scores of a former one that it lacks, and write the file."""
        if former := self.find(record):
            self.records.remove(former)
            record = record | {"scores": former["scores"] | record["scores"]}
        self.records.append(record)
        if self.path:
            content = {"scores": self.records, "summary": summary(self.records)}
            write_atomically(self.path, (json.dumps(content, indent=1) + "\n").encode())


def summary(records: list[Record]) -> list[Record]:
    """Mean and sample standard deviation over seeds (None for one seed) of each other setting."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        shared = {k: record[k] for k in KEY if k != "seed"}
        groups.setdefault(json.dumps(shared, sort_keys=True), []).append(record)
    return [_averaged(json.loads(shared), group) for shared, group in groups.items()]


def _averaged(shared: Record, group: list[Record]) -> Record:
    names = [k for k in group[0]["scores"] if all(k in r["scores"] for r in group)]
    columns = {name: [r["scores"][name] for r in group] for name in names}
    return shared | {
        "seeds": [r["seed"] for r in group],
        "library": " and ".join(sorted({r["library"] for r in group})),
        "mean": {k: statistics.fmean(v) for k, v in columns.items()},
        "std": {k: statistics.stdev(v) if len(v) > 1 else None for k, v in columns.items()},
    }


class Extra(Protocol):
    """More scores of the same samples; every process takes part."""

    def names(self, settings: Settings) -> list[str]:
        """What they are called."""
        ...

    def __call__(self, task: Task, settings: Settings, shards: Shards) -> dict[str, float]:
        """The scores, in the first process."""
        ...


def sweep(
    tasks: list[Task],
    settings: Settings,
    shards: Shards,
    store: Store,
    *,
    extra: Extra | None = None,
    progress: Progress = silent,
) -> Iterator[Record]:
    """Yield every task's record: the stored one where its scores are there, else a new one."""
    wanted = {*settings.names(), *(extra.names(settings) if extra else [])}
    for task in tasks:
        former = store.find(settings.circumstances(task)) if shards.first else None
        done = former is not None and wanted <= former["scores"].keys()
        if former := shards.from_first(former if done else None):
            yield former
            continue
        record = score(task, settings, shards, progress)
        if extra is not None:
            record["scores"] |= extra(task, settings, shards)
        if shards.first:
            store.add(record)
        yield record
