"""Rewrite what README.md shows of the stored runs: its tables, its timings and its pictures.

python book/scripts/readme.py
"""

import re
from pathlib import Path

from dashlib import experiments, plots, results, tables
from dashlib.specs import DIGITS, FASHION, Scale

ROOT = Path(__file__).resolve().parents[2]
STATIC = ROOT / "book" / "_static"
PICTURES = {
    STATIC / "clothes_teacher_and_students.png": FASHION,
    STATIC / "teacher_and_students.png": DIGITS,
}
BLOCK = re.compile(r"(<!-- measured:[^>]*-->\n).*?(<!-- /measured -->)", re.DOTALL)
PARTS = {
    "core": "chapters 1 to 4 and the headline rows",
    "rows": "the table's other rows",
    "studies": "weightings, the anchor's weight, the null row's start",
}
ORDER = ("dash", "cond_only_dropout", "composite", "cond_only", "scratch")


def timings() -> str:
    """Say what the stored runs cost, and how long each part of them last took."""
    runs = [results.load(name) for name in results.names()]
    cpu = sum(run.cpu_seconds for run in runs) / 60
    last = {entry["part"]: entry for entry in results.campaigns() if not entry["only"]}
    minutes = [
        f"{part} ({last[part]['runs']} runs: {what}) **{last[part]['minutes']:.0f} minutes**"
        for part, what in PARTS.items()
        if part in last
    ]
    on = last["core"]
    return (
        f"{len(runs)} stored runs: {cpu:.0f} minutes of CPU time. `make reproduce` trains them "
        f"again in three parts, timed with {on['processes']} processes on {on['hardware']}, while "
        f"other jobs shared the two cores: {'; '.join(minutes)}. One row alone: "
        "`python -m dashlib make digits/fitnets-transfer-s1`."
    )


def measured() -> str:
    """Return the block between the markers."""
    floor = results.load(experiments.CLASSIFIER).metrics["frechet_test_to_train"]
    accuracy = results.load("digits/teacher-tirt").metrics["guidance"]["1.5"]["accuracy"]
    return f"""\
scikit-learn's 8×8 digits, students under TIRT Transfer, mean ± standard deviation over 3 training
seeds; gap metrics on 10,000 noisy held-out images, Fréchet distance (FD, lower is better) on
{experiments.SAMPLES:,} samples, 50-step DDIM. The teacher's samples at w = 1.5 are classified right
{accuracy:.1%} of the time; the held-out images themselves have FD {floor:.1f}.

{tables.headline("transfer", tables.DIGITS_ROWS)}

{timings()}
"""


def clothes() -> str:
    """Return the second block: every row on Fashion-MNIST."""
    judge = results.load(FASHION.classifier).metrics
    student = results.load("fashion_mnist/dash-transfer-s0")
    teacher = results.load("fashion_mnist/teacher-tirt")
    fewer = teacher.metrics["parameters"] / student.metrics["parameters"]
    pairs, floor = student.metrics["gap"]["overall"]["n"], judge["frechet_test_to_train"]
    return f"""\
Fashion-MNIST at 32×32, students {fewer:.1f} times smaller than their teacher, one
{student.hardware}. Gap metrics on {pairs:,} noisy held-out images, mean ± standard deviation over
training seeds; FD of training seed 0 on {student.samples:,} samples of one sampling seed (– : not
scored, as the time on the device ran out), by another classifier than the digits'
({judge["accuracy_test"]:.1%} right on held-out images, which have FD {floor:.2f}).

{tables.fashion()}
"""


def picture(scale: Scale) -> bytes:
    """Draw teacher and students from the same noise at two guidance scales."""
    runs = {"teacher": results.load(f"{scale.name}/teacher-tirt")}
    if scale is FASHION:
        runs["uniform"] = results.select("dash", "uniform", scale.name)[0]
    runs |= {key: results.select(key, "transfer", scale.name)[0] for key in ORDER}
    names = plots.NAMES | {"uniform": "DASH, uniform weights"}
    figure, grid = plots.axes(len(runs), 2, size=(10.0, len(runs) * 4 / 6))
    for column, label in enumerate(("1.5", "4")):
        at = list(scale.guidance).index(label)
        for ax, (key, run) in zip(grid[:, column], runs.items(), strict=True):
            plots.draw_images(ax, run.trace["samples"][at, :10], 10)
            if column == 0:
                shade = plots.color("dash" if key == "uniform" else key)
                ax.set_ylabel(names[key], rotation=0, ha="right", va="center", color=shade)
        grid[0, column].set_title(f"guidance scale w = {label}", loc="center")
    return plots.png(figure, colors=256)


def rewritten(text: str) -> str:
    """Return the README with its measured blocks as the stored runs have them."""
    blocks = iter((measured(), clothes()))
    return BLOCK.sub(lambda match: match[1] + next(blocks) + match[2], text)


def main() -> None:
    path = ROOT / "README.md"
    path.write_text(rewritten(path.read_text()))
    for target, scale in PICTURES.items():
        target.write_bytes(picture(scale))
    print(f"rewrote {path.name} and {', '.join(p.name for p in PICTURES)}")


if __name__ == "__main__":
    main()
