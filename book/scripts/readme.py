"""Rewrite what README.md shows of the stored runs: its tables, its timings and its picture;
and the pictures of the live explorers.

python book/scripts/readme.py
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from dashbook import atlas, cifar10, plots, tables
from dashlib import results
from dashlib.recipes import DIGITS, PARTS
from dashlib.runs import pool, scoring
from dashlib.schedule import Schedule
from dashlib.weighting import MinSNR, Uniform

ROOT = Path(__file__).resolve().parents[2]
PICTURE = ROOT / "book" / "_static" / "teacher_and_students.png"
DIAL_PICTURE = PICTURE.with_name("dial.png")  # where the guidance dial finds no JavaScript
WEIGHTS_PICTURE = PICTURE.with_name("importance.png")  # the same, of the importance editor
DIAL = ("teacher", "cond_only", "composite", "dash")
BLOCK = re.compile(r"(<!-- measured:[^>]*-->\n).*?(<!-- /measured -->)", re.DOTALL)
WHAT = {
    "core": "two teachers, the paper's headline rows and one seed of cond-only + dropout, under "
    "two weightings",
    "rows": "the other rows and seeds",
    "studies": "weightings, the anchor's weight, the start of the class table",
}
STUDENTS = {  # of the picture; the last two are of the run that came with the images
    "cond_only_dropout_v-high_noise": "label dropout, v",
    "dash_v-high_noise": "DASH, v",
    "dash-uniform": "DASH, uniform",
    "cond_only": "cond-only",
    "composite": "composite, w = 4",
}


def cpu_minutes(runs: Iterable[results.Run]) -> float:
    """Return the CPU time that runs took."""
    return sum(run.cpu_seconds for run in runs) / 60


def campaign(part: str) -> str:
    """Say what a part took when it was last trained in one go, if that was noted."""
    for entry in reversed(pool.sweeps()):
        if entry["part"] == part and not entry["only"]:
            cpu = f", {entry['cpu_minutes']:.0f} of CPU time" if "cpu_minutes" in entry else ""
            where = f"{entry['hardware'].split(',')[0]}, commit {entry['commit'][:7]}"
            return f"**{entry['minutes']:.1f}** for {entry['runs']} runs{cpu} ({where})"
    return "not noted"


def timings() -> str:
    """Say what the stored runs cost, and how long each part of them last took."""
    runs = [results.load(name) for name in results.names()]
    repaired = atlas.stored().values()
    repairs = sum(entry["cpu_seconds"] for entry in repaired) / 60
    alone = sum(results.load("digits/fitnets-transfer-s1").seconds.values()) / 60
    lines = []
    for part, specs in PARTS.items():
        cpu = cpu_minutes(results.load(name) for name in specs)
        lines.append([part, WHAT[part], f"{len(specs)}", f"{cpu:.0f}", campaign(part)])
    head = ["part", "what", "runs", "CPU minutes, stored runs", "clock minutes, last campaign"]
    return f"""\
The {len(runs)} stored runs took {cpu_minutes(runs):.0f} minutes of CPU time. `make reproduce`
trains them again with two processes of one thread, part by part (`PART=core`, ...):

{tables.markdown(head, lines, left=2)}

Two processes beside no other work need half of their CPU time by the clock; where CPU time was not
noted, the machine had other work. (The stored runs of core had AVX-512, its last campaign AVX2
only.) Then `make reproduce` samples {len(repaired)} students anew for chapter 9 ({repairs:.0f}
minutes of CPU time) and judges the claims. One row alone ({alone:.1f} minutes then):
`python -m dashlib make digits/fitnets --seed 1`."""


def measured() -> str:
    """Return the block between the markers."""
    floor = results.load(DIGITS.classifier).metrics["frechet_test_to_train"]
    accuracy = results.load("digits/teacher-tirt").metrics["guidance"]["1.5"]["accuracy"]
    found = cifar10.runs()
    steps = [stage["seconds"] for stage in found["dash_v-high_noise"].metrics["stages"]]
    return f"""\
**CIFAR-10**, the paper's networks (35.8M and 6.1M), students of one seed trained side by side for
{sum(steps):.0f} seconds of one H100; Fréchet distance (FD) in EfficientNet-Lite0's features on
2,000 samples, DDIM of 50 steps from 970, eta 0.5. The first student and the teacher are from a run
that came with the images ([chapter 5](notebooks/05_cifar10.ipynb)):

{cifar10.scores_table(found, ("1.5", "TAG"))}

**Digits**: scikit-learn's 8×8 digits, students under TIRT Transfer, mean ± standard deviation over
3 training seeds; gap metrics on 10,000 noisy held-out images, Fréchet distance (FD, lower is
better) on {scoring.SAMPLES:,} samples, 50-step DDIM. The teacher's samples at w = 1.5 are
classified right {accuracy:.1%} of the time; the held-out images themselves have FD {floor:.1f}.

{tables.headline("transfer", tables.DIGITS_ROWS)}

DASH with other timestep weights (frozen: as a teacher learned them) and other weights of its
anchor, which is 0.1 elsewhere:

{tables.weighted()}

{timings()}
"""


def beside(rows: Mapping[str, Sequence[Tensor]], labels: Sequence[str]) -> bytes:
    """Draw ten images of each row under each guidance, a column a label."""
    figure, grid = plots.axes(len(rows), len(labels), size=(10.0, 0.4 + len(rows) * 0.48))
    for axes, (name, columns) in zip(grid, rows.items(), strict=True):
        for ax, images in zip(axes, columns, strict=True):
            plots.draw_images(ax, images[:10], 10)
        axes[0].set_ylabel(name, rotation=0, ha="right", va="center")
    for ax, label in zip(grid[0], labels, strict=True):
        title = "under TAG" if label == "TAG" else f"guidance scale w = {label}"
        ax.set_title(title, loc="center")
    return plots.png(figure, colors=256)


def picture() -> bytes:
    """Draw teacher and students of CIFAR-10 from the same noise under two guidances."""
    runs, labels = cifar10.runs(), ("1.5", "TAG")
    rows = {
        name: [
            cifar10.pictures(runs[row], label)
            if row in runs
            else cifar10.shared_pictures(row, label)
            for label in labels
        ]
        for row, name in {"teacher": "teacher", **STUDENTS}.items()
    }
    return beside(rows, labels)


def dial() -> bytes:
    """Draw what the guidance dial shows at two stops: stored digits, from the same noise."""
    labels, rows = ("1", "4"), {}
    for row in DIAL:
        run = results.load(f"digits/{'teacher-tirt' if row == 'teacher' else f'{row}-transfer-s0'}")
        samples = dict(zip(run.metrics["guidance"], run.trace["samples"], strict=True))
        rows[plots.NAMES[row]] = [samples[label] for label in labels]
    return beside(rows, labels)


def importance() -> bytes:
    """Draw the weightings that the importance editor starts from."""
    schedule, runs = (
        Schedule(),
        {"TIRT": "teacher-tirt", "EDM2's uncertainty": "dash-uncertainty-s0"},
    )
    curves = {name: results.load(f"digits/{run}").importance() for name, run in runs.items()}
    curves |= {
        "Min-SNR for ε": MinSNR(schedule).importance(),
        "uniform": Uniform(schedule).importance(),
    }
    drawn = {name: (range(len(of)), of.tolist()) for name, of in curves.items()}
    return plots.png(plots.lines(drawn, xlabel="timestep t", ylabel="weight (mean 1)"), colors=64)


def rewritten(text: str) -> str:
    """Return the README with its measured block as the stored runs have it."""
    return BLOCK.sub(lambda match: match[1] + measured() + match[2], text)


def main() -> None:
    path = ROOT / "README.md"
    path.write_text(rewritten(path.read_text()))
    PICTURE.write_bytes(picture())
    DIAL_PICTURE.write_bytes(dial())
    WEIGHTS_PICTURE.write_bytes(importance())
    print(f"rewrote {path.name} and its picture, and those of the live explorers")


if __name__ == "__main__":
    main()
