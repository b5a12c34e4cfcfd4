r"""Scores of models over guidance scales and sampling seeds, stored one by one.

A score is stored with what it depends on (:data:`KEY`), and not computed again for the same.
Beside the Frechet distance of :func:`dashlib.metrics.frechet`, by torch-fidelity and in float64:

* Inception Score: :math:`\exp E_x KL(p(y|x) \| p(y))` with class probabilities :math:`p(y|x)`, over
  ten parts of the samples, in order.  Salimans et al. 2016.
* Kernel distance (KID): unbiased squared maximum mean discrepancy with the kernel
  :math:`(a.b/D + 1)^3` of D-dimensional features, over 100 random subsets of 1,000 (or as many as
  the smaller set has); may be negative.  Binkowski et al. 2018.
* Improved precision and recall: the share of samples on the manifold of the real images, and the
  reverse.  A set's manifold is the union of balls around its features, each reaching to the 3rd
  nearest of the others; it depends on how many there are.  Kynkaanniemi et al. 2019.
"""

import json
import statistics
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from dashlib import results
from dashlib.checkpoints import reading, write_atomically
from dashlib.extras import what_to_install
from dashlib.metrics import frechet
from dashlib.scale.features import Extracted, Extractor, extract
from dashlib.scale.sampling import Given, Samples, numbered_images

SPLITS = 10  # of the samples, for the Inception Score
SUBSET_SIZE = 1000  # of the 100 subsets of KID
NEIGHBOURS = 3  # k of precision and recall
_KID = "kernel_inception_distance"
METRICS = {  # the scores of each, and what torch-fidelity calls them
    "fid": {"fid": "fid"},
    "is": {"is": "inception_score_mean", "is, std over splits": "inception_score_std"},
    "kid": {"kid": f"{_KID}_mean", "kid, std over subsets": f"{_KID}_std"},
    "pr": {"precision": "precision", "recall": "recall"},
}
KEY = ("model", "weights", "guidance", "seed", "n", "sampling", "features", "reference")
Record = dict[str, Any]


@what_to_install()
def compute(made: Extracted, real: Extracted, metrics: Collection[str]) -> dict[str, float]:
    """Scores of made images against real ones, and their spread; ``ValueError`` for too few."""
    pools, found = (made.pool.double(), real.pool.double()), dict[str, float]()
    fewest = min(map(len, pools))
    for metric, need in {"kid": 2, "pr": NEIGHBOURS + 1}.items():
        if metric in metrics and fewest < need:
            raise ValueError(f"{fewest} feature vector(s): {metric} needs {need} of each")
    if "fid" in metrics:
        found["fid"] = frechet(made.gaussian, real.gaussian)
    if "is" in metrics:
        from torch_fidelity.metric_isc import isc_features_to_metric

        found |= isc_features_to_metric(made.logits, min(SPLITS, len(made.logits)), shuffle=False)
    if "kid" in metrics:
        from torch_fidelity.metric_kid import kid_features_to_metric

        size = min(SUBSET_SIZE, fewest)
        found |= kid_features_to_metric(*pools, kid_subset_size=size, verbose=False)
    if "pr" in metrics:
        from torch_fidelity.metric_prc import prc_features_to_metric

        how = {"prc_neighborhood": NEIGHBOURS, "prc_batch_size": 1000, "save_cpu_ram": True}
        found |= prc_features_to_metric(*pools, **how, verbose=False)
    return {name: found[theirs] for m in metrics for name, theirs in METRICS[m].items()}


@dataclass(frozen=True)
class Judge:
    """A feature network, the real images that it compares with, and the scores asked for."""

    extractor: Extractor
    key: Record  # of the real images
    real: Extracted
    metrics: tuple[str, ...]

    def about(self) -> Record:
        """Return what scores depend on beside the samples, ready for JSON."""
        features = f"{self.extractor.name('fid')} {self.extractor.sha}"
        return {"features": features, "reference": self.key}

    def score(self, samples: Samples | Given, place: Accelerator, batch: int) -> Record:
        """Sample and score; every process takes part, the first one's record is whole."""
        clock, name = time.perf_counter(), self.extractor.name
        images = (images for images, _ in numbered_images(samples, place, batch))
        about = samples.about()
        made = extract(images, about["n"], self.extractor, place, logits="is" in self.metrics)
        values = compute(made, self.real, self.metrics if place.is_main_process else ())
        done = {
            "scores": {name(metric): value for metric, value in values.items()},
            "library": self.extractor.library,
            "seconds": round(time.perf_counter() - clock, 1),
            "processes": place.num_processes,
        }
        return about | self.about() | done | results.provenance()


def describe(row: Record) -> str:
    """A row of a :func:`summary` in one line: the scores, and what they depend on."""
    values, several, spread = [], len(row["seeds"]) > 1, row["std"]
    for name, value in row["mean"].items():
        if ", std" not in name:
            values.append(f"{name} {value:.4g}" + f" ± {spread[name] or 0:.2g}" * several)
    real, how, seeds = row["reference"], row["sampling"], ", ".join(map(str, row["seeds"]))
    seed = f", seed{'s' * several} {seeds}" if how else ""
    made = "; DDIM-{steps} {spacing}, clamp {clamp}, {precision}".format_map(how) if how else ""
    return (
        f"{row['model']}, {row['guidance']}{seed}: {', '.join(values)} "
        f"[N={row['n']:,}; {row['library']}; reference {real['dataset']}/{real['split']}, "
        f"{real['n']:,} images; weights {real['features'][:8]}{made}]"
    )


def circumstances(record: Record, but: str = "") -> str:
    """Return what a record's scores depend on, as text."""
    return json.dumps({k: record[k] for k in KEY if k != but}, sort_keys=True)


class Store:
    """A file of scores and their summary, whole after each; ``CheckpointError`` for another."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        with reading(path or "no file"):
            stored = json.loads(path.read_text())["scores"] if path and path.exists() else []
            self.records = {circumstances(record): record for record in stored}

    def add(self, record: Record) -> None:
        """Keep a record, with the scores of a former one that it lacks, and write the file."""
        former = self.records.get(where := circumstances(record), record)
        self.records[where] = record | {"scores": former["scores"] | record["scores"]}
        if self.path:
            records = [*self.records.values()]
            content = {"scores": records, "summary": summary(records)}
            write_atomically(self.path, (json.dumps(content, indent=1) + "\n").encode())


def summary(records: Iterable[Record]) -> list[Record]:
    """Mean and sample standard deviation over seeds (None for one seed) of each other setting."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(circumstances(record, but="seed"), []).append(record)
    rows = []
    for shared, group in groups.items():
        names = [k for k in group[0]["scores"] if all(k in r["scores"] for r in group)]
        columns = {name: [r["scores"][name] for r in group] for name in names}
        row = {
            "seeds": [r["seed"] for r in group],
            "library": " and ".join(sorted({r["library"] for r in group})),
            "mean": {k: statistics.fmean(v) for k, v in columns.items()},
            "std": {k: statistics.stdev(v) if len(v) > 1 else None for k, v in columns.items()},
        }
        rows.append(json.loads(shared) | row)
    return rows


def evaluate(
    cells: Iterable[Samples | Given], judge: Judge, place: Accelerator, store: Store, batch: int
) -> Iterator[str]:
    """Score every cell, but for stored scores; yields a line each, then the means over seeds."""
    wanted = {judge.extractor.name(name) for m in judge.metrics for name in METRICS[m]}
    records = list[Record]()
    for cell in cells:
        former = store.records.get(circumstances(cell.about() | judge.about()))
        done = former is not None and wanted <= former["scores"].keys()
        (record,) = broadcast_object_list([former if done else None])  # the first process's
        if record is None:
            record = judge.score(cell, place, batch)
            if place.is_main_process:
                store.add(record)
        records.append(record)
        yield describe(*summary([record]))
    yield from (describe(row) for row in summary(records) if len(row["seeds"]) > 1)
