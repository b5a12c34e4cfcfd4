"""Rewrite what README.md shows of the stored runs: its table, its timings and its picture.

python book/scripts/readme.py
"""

import re
from pathlib import Path

from dashlib import experiments, plots, results, tables

ROOT = Path(__file__).resolve().parents[2]
PICTURE = ROOT / "book" / "_static" / "teacher_and_students.png"
BLOCK = re.compile(r"(<!-- measured:[^>]*-->\n).*?(<!-- /measured -->)", re.DOTALL)
ORDER = ("dash", "cond_only_dropout", "composite", "cond_only", "scratch")


def timings() -> str:
    """Say what the stored runs cost, and how long the last noted campaign took."""
    runs = [results.load(name) for name in results.names()]
    cpu = sum(run.cpu_seconds for run in runs) / 60
    stored = f"{len(runs)} stored runs, made on a busy machine: {cpu:.0f} minutes of CPU time."
    last = results.campaigns()[-1]
    if last["runs"] == len(runs):
        machine = f"{last['processes']} processes on {last['hardware']}, shared with small jobs"
        return f"{stored} `make reproduce` ({machine}): **{last['minutes']:.0f} minutes**."
    machine = f"with little else running ({last['processes']} x {last['hardware']})"
    part = f"`python -m dashlib reproduce digits --only={last['only']}`, {last['runs']} of them"
    return (
        f"{stored} {part}, took **{last['minutes']:.1f} minutes** {machine}; all of "
        "`make reproduce` was not timed in one piece."
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

{tables.headline("transfer")}

{timings()}
"""


def picture() -> bytes:
    """Draw teacher and students from the same noise at two guidance scales."""
    runs = {"teacher": results.load("digits/teacher-tirt")}
    runs |= {key: results.select(key, "transfer")[0] for key in ORDER}
    figure, grid = plots.axes(len(runs), 2, size=(10.0, 4.0))
    for column, label in enumerate(("1.5", "4")):
        scale = list(experiments.GUIDANCE).index(label)
        for ax, (key, run) in zip(grid[:, column], runs.items(), strict=True):
            plots.draw_images(ax, run.trace["samples"][scale, :10], 10)
            if column == 0:
                name = plots.NAMES[key]
                ax.set_ylabel(name, rotation=0, ha="right", va="center", color=plots.color(key))
        grid[0, column].set_title(f"guidance scale w = {label}", loc="center")
    return plots.png(figure, colors=256)


def main() -> None:
    path = ROOT / "README.md"
    text = BLOCK.sub(lambda match: match[1] + measured() + match[2], path.read_text())
    path.write_text(text)
    PICTURE.write_bytes(picture())
    print(f"rewrote {path.name} and {PICTURE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
