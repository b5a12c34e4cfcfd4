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
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from dashlib import results
from dashlib.checkpoints import write_atomically
from dashlib.scale.features import Extractor
from dashlib.scale.reference import Reference
from dashlib.scale.sampling import Cell, Named, Sampler, numbered_images
from dashlib.scale.scores import Extraction, compute

METRICS = {"fid": ["fid"], "is": ["is"], "kid": ["kid"], "pr": ["precision", "recall"]}
KEY = ("model", "weights", "guidance", "seed", "n", "sampling", "features", "reference")
Record = dict[str, Any]


@dataclass(frozen=True)
class Sweep:
    """What a sweep's scores have in common; a second feature network checks the first."""

    n: int
    metrics: tuple[str, ...]
    judges: list[tuple[Extractor, Reference]]
    sampler: Sampler
    batch: int = 500

    def circumstances(self) -> Record:
        """What all scores of the sweep depend on, ready for JSON."""
        extractor, real = self.judges[0]
        return {
            "n": self.n,
            "sampling": asdict(self.sampler),
            "features": f"{extractor.name('fid')} {extractor.sha}",
            "reference": real.key,
        }

    def names(self) -> set[str]:
        """What the scores asked for are called."""
        wanted = [name for m in self.metrics for name in METRICS[m]]
        return {extractor.name(name) for extractor, _ in self.judges for name in wanted}


def made_by() -> Record:
    """By which software on which machine."""
    software = {"torch": torch.__version__, "commit": results.commit()}
    return software | {"hardware": results.hardware()}


def check(models: list[Named], wanted: tuple[int, int, int]) -> None:
    """``ValueError`` for the first model of other images than (channels, size, classes)."""
    for named in models:
        cfg = named.model.cfg
        have = (cfg.image_channels, cfg.image_size, cfg.num_classes)
        if have != wanted:
            what = "{1}x{1} images of {0} channel(s) and {2} classes"
            raise ValueError(
                f"{named.name} makes {what.format(*have)}, the data set has "
                f"{what.format(*wanted)}: choose another --data or --preset"
            )


def score_cell(cell: Cell, sweep: Sweep, place: Accelerator) -> Record:
    """Sample and score one cell; every process takes part, the first one's record is whole."""
    clock = time.perf_counter()
    parts = [Extraction(sweep.n, extractor, place) for extractor, _ in sweep.judges]
    for images, _ in numbered_images(cell, sweep.n, sweep.sampler, place, sweep.batch):
        for part in parts:
            part.add(images, logits="is" in sweep.metrics)
    values: dict[str, float] = {}
    for part, (extractor, real) in zip(parts, sweep.judges, strict=True):
        found = part.united()
        wanted = sweep.metrics if place.is_main_process else ()
        scores = compute(found, real.gaussian, real.pool, wanted)
        values |= {extractor.name(metric): value for metric, value in scores.items()}
    done = {
        "scores": values,
        "library": " and ".join(extractor.library for extractor, _ in sweep.judges),
        "seconds": round(time.perf_counter() - clock, 1),
        "processes": place.num_processes,
    }
    return cell.about() | sweep.circumstances() | done | made_by()


def describe(record: Record) -> str:
    """One line: the scores, and beside them what they depend on.

    Of a record, or of a row of a summary: mean and standard deviation over sampling seeds.
    """
    spread, found = record.get("std", {}), record["scores" if "scores" in record else "mean"]
    values = ", ".join(
        f"{name} {value:.4g}" + (f" ± {spread[name]:.2g}" if spread.get(name) is not None else "")
        for name, value in found.items()
        if ", std" not in name
    )
    seeds = ", ".join(map(str, record["seeds"])) if "seeds" in record else record["seed"]
    real, how = record["reference"], record["sampling"]
    return (
        f"{record['model']}, {record['guidance']}, seed{'s' * ('seeds' in record)} {seeds}: "
        f"{values} [N={record['n']:,}; {record['library']}; reference {real['dataset']}/"
        f"{real['split']}, {real['n']:,} images; weights {real['features'][:8]}; "
        f"DDIM-{how['steps']} {how['spacing']}, clamp {how['clamp']}, {how['precision']}]"
    )


class Store:
    """A file of scores: ``{"scores": [records], "summary": [mean and std over seeds]}``.

    Written whole after every score.  ``ValueError`` for a file that is something else.
    """

    def __init__(self, path: Path | None) -> None:
        self.path, self.records = path, list[Record]()
        try:
            stored = json.loads(path.read_text())["scores"] if path and path.exists() else []
            self.records = [r for r in stored if {*KEY, "scores"} <= r.keys()]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{path} is not a file of scores ({error}): move it away or give another --out"
            ) from error

    def find(self, circumstances: Record) -> Record | None:
        """The record with these circumstances."""
        return next((r for r in self.records if all(r[k] == circumstances[k] for k in KEY)), None)

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


def run_sweep(
    cells: list[Cell], sweep: Sweep, place: Accelerator, store: Store
) -> Iterator[Record]:
    """Yield every cell's record: the stored one where its scores are there, else a new one."""
    for cell in cells:
        former = store.find(cell.about() | sweep.circumstances())
        done = former is not None and sweep.names() <= former["scores"].keys()
        (record,) = broadcast_object_list([former if done else None])  # the first process's
        if record is None:
            record = score_cell(cell, sweep, place)
            if place.is_main_process:
                store.add(record)
        yield record
