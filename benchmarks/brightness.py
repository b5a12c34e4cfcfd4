"""How the mean brightness of digits samples spreads, where weights are stored: all 1,000 samples.

A run keeps 100 of each 1,000 samples that it was scored on, of one starting noise for all runs;
this hundred happens to spread by a sixth more than the thousand.  So the thousand are drawn again,
of every stored digits run whose weights are here, at every guidance scale.  Their Frechet distance
must be the stored one.  ``python -m benchmarks.brightness`` goes on where it was.
"""

import json
import time
from contextlib import ExitStack

import click
import torch

from dashlib import datasets, results
from dashlib.checkpoints import write_atomically
from dashlib.metrics import spreads
from dashlib.recipes import DIGITS
from dashlib.runs import pool
from dashlib.runs.scoring import SAMPLES, samples_of, scores_of
from dashlib.scale.small_grids import with_products

OUT = results.root() / "bench/brightness-digits.json"
SAME = 0.01  # by how much a Frechet distance may differ from the stored one


def asked() -> list[tuple[str, str]]:
    """Every model of digits whose weights are stored, at ``"1.5"`` first."""
    scales = sorted(DIGITS.guidance, key=lambda w: w != "1.5")
    named = [name for name in results.names("digits") if name != DIGITS.classifier]
    named = [name for name in named if "weights" in results.load(name).files]
    return [(name, w) for w in scales for name in named]


def drawn(asked: tuple[str, str]) -> float:
    """The spread of a run at a scale; ``ValueError`` if other samples than the scored ones."""
    name, label = asked
    run = results.load(name)
    model = with_products(run.model())
    scores = scores_of(samples_of(model, DIGITS.guidance[label], SAMPLES))
    stored = run.metrics["guidance"][label]
    if abs(scores["frechet"] / stored["frechet"] - 1) > SAME:
        raise ValueError(f"{name} at {label}: {scores}, stored were {stored}")
    return scores["luminance"]


def write(spread: dict[str, dict[str, float]], seconds: float) -> None:
    """Write what there is, with the data's own."""
    data = spreads(datasets.load_dataset("digits").train.x)["luminance"]
    about = results.provenance() | {"n": SAMPLES, "data": data, "seconds": round(seconds, 1)}
    content = json.dumps(about | {"entries": dict(sorted(spread.items()))}, indent=1)
    write_atomically(OUT, (content + "\n").encode())


@click.command()
@click.option("--processes", type=click.IntRange(1), default=1, help="At a time (default: 1).")
def main(processes: int) -> None:
    """Draw the samples of stored digits runs again; writes results/bench/brightness-digits.json."""
    torch.set_num_threads(1)
    before = json.loads(OUT.read_text()) if OUT.exists() else {"entries": {}, "seconds": 0.0}
    spread, start = before["entries"], time.perf_counter()
    missing = [(name, w) for name, w in asked() if w not in spread.get(name, {})]
    with ExitStack() as stack:
        many = processes > 1
        each = stack.enter_context(pool.processes(processes)).map if many else map
        for (name, w), found in zip(missing, each(drawn, missing), strict=True):
            spread.setdefault(name, {})[w] = found
            write(spread, before["seconds"] + time.perf_counter() - start)
            click.echo(f"{name} at {w}: {found:.4f}")


if __name__ == "__main__":
    main()
