"""Rewrite what pages without cells show of the stored runs: README.md, results/README.md, the
book's landing page, its page for practitioners and paper.md; and the pictures of the first page
and of the live explorers.

python book/scripts/readme.py
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from torch import Tensor

from dashbook import atlas, cifar10, claims, plots, tables
from dashlib import results
from dashlib.recipes import DIGITS, PARTS
from dashlib.runs import scoring
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
    "fair": "rows at equal cost, from the uniform teacher",
}
FRONT = (  # rows of the small table
    *("teacher", "dash-high_noise", "dash_v-high_noise", "dash_sampled_v-high_noise"),
    *("cond_only_dropout_v-high_noise", "cond_only_dropout_v-high_noise-x2"),
)
WEIGHTED = {  # DASH under every weighting, and with every weight of its anchor
    "uniform": ("dash", "uniform"),
    "Min-SNR for ε": ("dash", "min_snr"),
    "TIRT, frozen: TIRT Transfer": ("dash", "transfer"),
    "TIRT, relearned": ("dash", "tirt"),
    "TIRT normalised by the batch, frozen": ("dash", "transfer_tirt_batch"),
    "TIRT on the ε base, frozen": ("dash", "transfer_tirt_eps"),
    "TIRT on the ε base, relearned": ("dash", "tirt_eps"),
    "uncertainty (EDM2), frozen": ("dash", "transfer_uncertainty"),
    "uncertainty (EDM2), relearned": ("dash", "uncertainty"),
    "TIRT Transfer, anchor 0.03": ("dash_an_0.03", "transfer"),
    "TIRT Transfer, anchor 0.3": ("dash_an_0.3", "transfer"),
    "TIRT Transfer, anchor 1": ("dash_an_1", "transfer"),
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
    path = results.root() / "campaigns.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    for entry in map(json.loads, reversed(lines)):
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
only.) Then `make reproduce` samples {len(repaired)} students anew under repaired guidance
({repairs:.0f} minutes of CPU time) and judges the claims. One row alone ({alone:.1f} minutes then):
`python -m dashlib make digits/fitnets --seed 1`."""


def cifar(row: str, label: str, key: str, digits: int) -> str:
    """Return a score of a row of CIFAR-10, mean and spread over its seeds."""
    of = [found for run in cifar10.seeds(row) if (found := cifar10.score(run, label))]
    return tables.spread(of, itemgetter(key), digits)


def clamped(rule: str) -> float:
    """Return the FD of the digits teacher at w = 1.5 under a rule for the clamped image."""
    teacher = results.load("digits/teacher-uniform")
    return float(teacher.metrics["clamp"][rule]["1.5"]["frechet"])


def kept_eps(rule: str) -> float:
    """Return the FD of a CIFAR-10 student at w = 1.5 under a rule, of the few samples drawn."""
    setting = {"recompute": "start 970, eta 0.5", "clamp": "clamp, start 970, eta 0.5"}[rule]
    study = json.loads((ROOT / "results/bench/samplers-cifar10.json").read_text())
    (found,) = (r["fd"] for r in study["records"] if (r["setting"], r["w"]) == (setting, "1.5"))
    return float(found)


def digits(row: str, weighting: str, label: str) -> str:
    """Return the FD of a row of digits, mean and spread over its seeds."""
    return tables.spread(results.select(row, weighting), tables.frechet(label), 1)


def counted(runs: Sequence[Any]) -> str:
    """Return in words how many seeds these are."""
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")
    return f"{words[len(runs)]} seed{'s' * (len(runs) != 1)}"


def sound() -> str:
    """Return how many seeds of digits have learned from the teacher with uniform weights."""
    return counted(results.select("dash", "uniform-from_uniform"))


def judged(row: str) -> str:
    """Return how many seeds of a row of CIFAR-10 are scored at w = 1.5."""
    return counted([run for run in cifar10.seeds(row) if cifar10.score(run, "1.5")])


def one_cifar(row: str, label: str = "1.5") -> str:
    """Return the FD of a row of CIFAR-10 with the seed that all its rows share, 1."""
    run = results.load(f"cifar10/{row}-s1")
    return f"{(cifar10.score(run, label) or {})['fd']:.1f}"


def findings() -> str:
    """Return the four findings, one number each with the scale that it holds at."""
    rho, cos = (
        tables.spread(results.select("cond_only", "transfer"), tables.gap(key))
        for key in ("rho", "cos")
    )
    fd = {row: cifar(row, "1.5", "fd", 1) for row in FRONT}
    return f"""\
- **The guidance gap of a student that copies one branch is too large, and points elsewhere.**
  ρ {rho}, cos {cos}, where the paper reports ρ 0.09 (8×8 digits, three seeds).
- **At equal cost DASH does not lead.** FD at w = 1.5: DASH {fd["dash_v-high_noise"]},
  label dropout {fd["cond_only_dropout_v-high_noise"]} after as many passes of the student
  (CIFAR-10, {judged("dash_v-high_noise")}), {fd["cond_only_dropout_v-high_noise-x2"]} after twice
  as many (one seed); the teacher has {fd["teacher"]}.
- **The published importance of timesteps does not pay.** FD under TAG: TIRT Transfer
  {digits("dash", "transfer-from_uniform", "TAG")}, uniform weights
  {digits("dash", "uniform-from_uniform", "TAG")} (digits, {sound()}).
  On CIFAR-10 they tie at w = 1.5: {one_cifar("dash_v-transfer")} and
  {one_cifar("dash_v-uniform")} (one seed).
- **One line of the sampler outweighs $w$.** The teacher's FD at w = 1.5 is {clamped("clamp"):.0f}
  if ε is kept when the image is clamped, {clamped("recompute"):.0f} if it is recomputed (digits,
  300 samples, one seed).
"""


def front() -> str:
    """Return the findings and the small table of README.md."""
    asked = (("1.5", "fd", 1), ("TAG", "fd", 1), ("TAG", "accuracy", 2))
    named = {"teacher": "*teacher, 35.8M*"} | cifar10.STUDENTS
    lines = [[named[row], *(cifar(row, *one) for one in asked)] for row in FRONT]
    head = ["CIFAR-10, students of 6.1M", "FD, w = 1.5", "FD, TAG", "accuracy, TAG"]
    return f"{findings()}\n{tables.markdown(head, lines)}\n"


def advice() -> str:
    """Return the rules of the page for practitioners, each with the numbers that it rests on."""
    path = results.root() / "bench" / "objectives-digits.json"
    seconds = json.loads(path.read_text())["seconds_a_step"]
    dearer = seconds["dash"] / seconds["cond_only_dropout"]
    best = results.load("digits/teacher-uniform").metrics["guidance"]
    fd = {w: best[w]["frechet"] for w in ("1", "1.5", "4")}
    longer = one_cifar("cond_only_dropout_v-high_noise-x2")
    return f"""\
1. **Train the null branch.** Without it guidance fails: FD under TAG is
   {digits("cond_only", "transfer", "TAG")}, with label dropout
   {digits("cond_only_dropout", "transfer", "TAG")} (digits, three seeds).
2. **Start with label dropout.** Hide one label in ten from the student and match the teacher's
   conditional answer. A step of DASH costs {dearer:.1f} times as much (digits, one core). After
   equally many passes on CIFAR-10 label dropout has FD
   {cifar("cond_only_dropout_v-high_noise", "1.5", "fd", 1)}, DASH
   {cifar("dash_v-high_noise", "1.5", "fd", 1)} (w = 1.5, {judged("dash_v-high_noise")}); on digits
   {digits("cond_only_dropout", "uniform-from_uniform-x2", "TAG")} against
   {digits("dash", "uniform-from_uniform", "TAG")} (TAG, {sound()}). Trained twice as long, label
   dropout has {longer} (one seed), the teacher {cifar("teacher", "1.5", "fd", 1)}.
3. **Let the student predict v.** With label dropout FD is
   {one_cifar("cond_only_dropout_v-high_noise")} instead of
   {one_cifar("cond_only_dropout-high_noise")} with ε, and the colours of the images are right
   (CIFAR-10, w = 1.5, one seed).
4. **Begin with uniform weights.** On digits TIRT Transfer is worse by the gap's error and by FD:
   {digits("dash", "transfer-from_uniform", "TAG")} against
   {digits("dash", "uniform-from_uniform", "TAG")} (DASH, TAG, {sound()}).
   On CIFAR-10 a DASH student that predicts v has FD
   {one_cifar("dash_v-uniform")} with uniform weights,
   {one_cifar("dash_v-transfer")} with TIRT Transfer,
   {one_cifar("dash_v-high_noise")} with high noise counted more, and {one_cifar("dash_v-min_snr")}
   with Min-SNR (w = 1.5, one seed). A student that predicts ε is another matter: count high noise
   more, FD {cifar("dash-high_noise", "1.5", "fd", 1)} ({judged("dash-high_noise")}) instead of
   {cifar("dash-uniform", "1.5", "fd", 1)} (one seed, from another start).
5. **Recompute ε after the predicted image is clamped.** FD of the teacher at w = 1.5 is
   {clamped("recompute"):.0f}, and {clamped("clamp"):.0f} if ε is kept (digits, 300
   samples, one seed). A CIFAR-10 student does not notice: {kept_eps("recompute"):.1f} and
   {kept_eps("clamp"):.1f} (200 samples).
6. **Sweep w.** The digits teacher has FD {fd["1"]:.1f} at w = 1, {fd["1.5"]:.1f} at 1.5 and
   {fd["4"]:.1f} at 4 (1,000 samples). A comparison at one w may say the reverse of one at
   another.
"""


def paper() -> str:
    """Return the findings, and the settings that the authors' sources give differently."""
    head = ["setting", "README", "configurations"]
    rows = [sides for *sides, _ in claims.settings()]
    return f"""\
{findings()}
The authors' README and their released configurations give these settings differently:

{tables.markdown(head, rows, left=3)}
"""


def weighted() -> str:
    """Return DASH on digits under every timestep weighting, and other weights of its anchor."""
    groups = {name: results.select(*row) for name, row in WEIGHTED.items()}
    columns = {k: of for k, of in tables.OURS.items() if k != "brightness"}
    columns["brightness of 100"] = tables.brightness("1.5", kept=True), 3
    lines = [
        [name, str(len(runs)), *(tables.spread(runs, *column) for column in columns.values())]
        for name, runs in groups.items()
    ]
    return tables.markdown(["DASH, weighted by", "seeds", *columns], lines)


def measured() -> str:
    """Return the tables of results/README.md."""
    floor = results.load(DIGITS.classifier).metrics["frechet_test_to_train"]
    accuracy = results.load("digits/teacher-tirt").metrics["guidance"]["1.5"]["accuracy"]
    found = {row: cifar10.seeds(row) for row in ("teacher", *cifar10.STUDENTS)}
    stages = [stage for of in found.values() for run in of for stage in run.metrics["stages"]]
    seconds = [stage["seconds"] for stage in stages if "commit" in stage]
    return f"""\
**CIFAR-10**, the paper's networks (35.8M and 6.1M), the students of a seed trained side by side for
{min(seconds):.0f} to {max(seconds):.0f} seconds of one H100; mean ± standard deviation over seeds
(FD without ±: of one seed); Fréchet distance (FD) in EfficientNet-Lite0's features on 2,000
samples, DDIM of 50 steps from 970, eta 0.5 where nothing is said. The spread of colours, at
w = 1.5, is of the brightness / of R - G / of B - (R + G)/2. The first student and the teacher are
from a run that came with the images ([the chapter on CIFAR-10](../notebooks/05_cifar10.ipynb)):

{cifar10.scores_table(found, list(cifar10.SETTINGS))}

**Digits**: scikit-learn's 8×8 digits, students under TIRT Transfer, mean ± standard deviation over
3 training seeds; gap metrics on 10,000 noisy held-out images, Fréchet distance (FD, lower is
better) on {scoring.SAMPLES:,} samples, 50-step DDIM. Brightness: the standard deviation of their
mean at w = 1.5; *of 100*: of those that a run keeps, which spread by a sixth more. The teacher's
samples at w = 1.5 are classified right {accuracy:.1%} of the time; the held-out images have FD
{floor:.1f}.

{tables.headline("transfer", tables.DIGITS_ROWS)}

DASH with other timestep weights (frozen: as a teacher learned them) and other weights of its
anchor, which is 0.1 elsewhere:

{weighted()}

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

    def drawn(row: str, label: str) -> Tensor:
        ours = row in runs
        return cifar10.pictures(runs[row], label) if ours else cifar10.shared_pictures(row, label)

    named = {"teacher": "teacher", **STUDENTS}
    return beside({name: [drawn(row, w) for w in labels] for row, name in named.items()}, labels)


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
    schedule = Schedule()
    runs = {"TIRT": "teacher-tirt", "EDM2's uncertainty": "dash-uncertainty-s0"}
    curves = {name: results.load(f"digits/{run}").importance() for name, run in runs.items()}
    curves |= {
        "Min-SNR for ε": MinSNR(schedule).importance(),
        "uniform": Uniform(schedule).importance(),
    }
    drawn = {name: (range(len(of)), of.tolist()) for name, of in curves.items()}
    return plots.png(plots.lines(drawn, xlabel="timestep t", ylabel="weight (mean 1)"), colors=64)


SHOWN = {
    ROOT / "README.md": front,
    ROOT / "results" / "README.md": measured,
    ROOT / "book" / "index.md": findings,
    ROOT / "book" / "practitioners.md": advice,
    ROOT / "paper" / "paper.md": paper,
}


def rewritten(path: Path, text: str) -> str:
    """Return a page's text with its measured block as the stored runs have it."""
    return BLOCK.sub(lambda match: match[1] + SHOWN[path]() + match[2], text)


def main() -> None:
    for path in SHOWN:
        path.write_text(rewritten(path, path.read_text()))
    PICTURE.write_bytes(picture())
    DIAL_PICTURE.write_bytes(dial())
    WEIGHTS_PICTURE.write_bytes(importance())
    written = (*SHOWN, PICTURE, DIAL_PICTURE, WEIGHTS_PICTURE)
    print(f"rewrote {', '.join(str(path.relative_to(ROOT)) for path in written)}")


if __name__ == "__main__":
    main()
