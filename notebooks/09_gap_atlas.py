# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# (ch-atlas)=
# # Gap atlas
#
# ## Overview
#
# **Question.** Where is a student's guidance gap wrong: at which timesteps, and for which classes? {ref}`ch-collapse` found gaps that are two or three times too large, and {ref}`ch-dash` found DASH's {cite}`shafi2026dash` about right; both were averages. You will
#
# - map $\rho$, cos and $a^*$ over timestep *and* class, for each kind of student;
# - lay the energy of the teacher's gap over the importance that TIRT, Min-SNR {cite}`hang2023minsnr` and uniform weights spend on each timestep;
# - find the error that one sees in pictures, which no map of the gap shows.
#
# All on 8×8 digits; every student was trained with TIRT Transfer. {ref}`ch-repair` uses what the maps say.

# %% tags=["remove-cell"]
# In Colab: fetch dashlib and its results. Where dashlib is installed, nothing happens.
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = ""
if importlib.util.find_spec("dashlib") is None:
    if Path("dash-book.zip").exists():
        shutil.unpack_archive("dash-book.zip")
    elif REPOSITORY and not Path("dash-book").exists():
        subprocess.run(["git", "clone", "-q", "--depth=1", REPOSITORY, "dash-book"])
    if not Path("dash-book/dashlib").is_dir():
        raise ModuleNotFoundError(
            "dashlib is missing and could not be fetched. In a clone: `make setup`, `make lab`. "
            "In Colab: make an archive, `git archive --prefix=dash-book/ -o dash-book.zip HEAD`, "
            "upload the dash-book.zip to the folder of this notebook, and run this cell again."
        )
    sys.path[:0] = [str(Path(p).resolve()) for p in ("dash-book", "dash-book/book")]
    subprocess.run([sys.executable, "dash-book/book/scripts/pinned.py"], check=True)

# %% tags=["hide-input"]
from functools import partial

import torch
from IPython.display import Markdown

from dashbook import atlas, cifar10, plots
from dashbook.tables import markdown
from dashbook.widgets import Parameter, explorer
from dashlib import datasets, results
from dashlib.metrics import noisy_pairs, pair_stats, predict
from dashlib.recipes import HEADLINE
from dashlib.schedule import Schedule
from dashlib.weighting import MinSNR, Uniform

# %% [markdown]
# ## The atlas
#
# Ten thousand pairs of a held-out digit and a timestep are shown to the teacher and to one student of each kind (seed 0). Each pair belongs to one of ten ranges of timesteps and
# to one class, which gives a map of a hundred cells with about a hundred pairs each. In a cell, as in {ref}`ch-dash` for whole rows,
#
# $$
# \rho = \frac{\mathbb E|g_S|}{\mathbb E|g_T|}, \qquad \cos = \mathbb E\,\frac{\langle g_S, g_T\rangle}{|g_S|\,|g_T|}, \qquad a^* = \frac{\mathbb E\langle g_S, g_T\rangle}{\mathbb E|g_S|^2} .
# $$ (eq-atlas-metrics)
#
# The last is the number by which the student's gap is best multiplied: $a\,g_S$ is closest to $g_T$, in the mean square, for $a = a^*$. A gap that points right and is $\rho$ times too large has $a^* = 1/\rho$. One that points elsewhere
# has a smaller one: least squares shortens what it cannot turn.

# %%
entries = atlas.stored()
RUNS, teacher = atlas.runs(entries), results.load("digits/teacher-tirt")
schedule = Schedule()
noisy = noisy_pairs(datasets.load_dataset("digits").test, schedule)
answers = predict(teacher.model(), noisy)
stats = {
    row: pair_stats(predict(runs[0].model(), noisy), answers)
    for row, runs in RUNS.items()
}
maps = {row: atlas.gap_maps(of, noisy) for row, of in stats.items()}

# %% tags=["hide-input"]
assert maps["dash"]["n"].sum() == 10_000 and maps["dash"]["n"].min() > 50

# %% [markdown]
# For ρ the colour is logarithmic, so that twice too large and twice too small are equally strong. A hundred pairs a cell are enough to see a pattern, not to argue about one cell.
#
# Where on the way is a student's gap wrong? **Try:** begin with DASH and cos. Then go through the students at $a^*$: red means "multiply by less than one". Then compare cond-only's $\rho$ with its $a^*$.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Heat map of a gap metric, timesteps upward and classes to the right, for one student"}}
rows = [*RUNS]
student = Parameter(
    "student", rows, [plots.NAMES[row] for row in rows], start=rows.index("dash")
)
metric = Parameter("metric", list(atlas.MAPPED), ["ρ", "cos", "a*"], start=1)
explorer(partial(atlas.heat_map, maps=maps), student, metric)

# %% [markdown]
# **See:** the direction of the gap is worst at low noise, at the bottom, for every student and nearly every class, and better in the upper half. $a^*$ follows: cond-only's gap should be
# divided by ten or more at the bottom and by about two at the top. Where a gap is wrong is mostly a matter of *when*, not of *which digit*. The next table splits the variance of each map into a part
# between timesteps, one between classes, and the rest. The columns before it read the maps at both ends.

# %% tags=["hide-input"]
for row in HEADLINE:
    cos, a = maps[row]["cos"], maps[row]["a_star"]
    assert cos[:2].mean() + 0.1 < cos[6:].mean()
    assert (cos[0] < cos[6:].mean(0)).sum() >= 9, "nearly every class"
    assert all(t > 0.5 > 0.3 > c for t, c in map(atlas.shares, (cos, a)))
    assert cos[:2].mean() < maps["dash"]["cos"][:2].mean() or row == "dash"
a = maps["cond_only"]["a_star"]
bottom, top = a[0].mean(), a[6:].mean()
assert bottom < 0.15 and 0.3 < top < 0.7, "divide by ten or so, and by two"
assert maps["dash"]["a_star"][6:].mean() > 0.75, "DASH's needs next to nothing there"

# %% tags=["hide-input"]
rows = []
for row, found in maps.items():
    parts = found["rho"], found["cos"], found["a_star"]
    ends = [f"{m[:2].mean():.2f} → {m[6:].mean():.2f}" for m in parts]
    between = ["{:.0%}, {:.0%}".format(*atlas.shares(m)) for m in parts[1:]]
    rows.append([plots.NAMES[row], *ends, *between])
header = ["mean at t < 200 → t ≥ 600", "ρ", "cos", "a*"]
Markdown(markdown([*header, "cos: between timesteps, classes", "a*: likewise"], rows))

# %% [markdown]
# For every headline student more than half of what varies in its maps of cos and $a^*$ varies with the timestep, and less than a third with the class.
# DASH leads in direction at low noise, where all others are worst, and its $a^*$ is closest to one.
#
# ## Where the gap is, and where the weight went
#
# All these students were trained with the importance that their teacher had learned. Is it spent where there is a gap to be learned? The teacher's *gap energy* $\mathbb E|g_T|^2$ says how much of one there is at $t$. We draw energy and
# importance as shares of their sums in twenty ranges of timesteps.

# %%
report = RUNS["dash"][0].metrics["gap"]["per_timestep"]
energy = torch.tensor([report[str(t)]["gap_t_ms"] for t in range(0, 1000, 50)])
energy = atlas.profile(energy.double(), 20)
weightings = {"TIRT Transfer": teacher.weighting(), "Min-SNR for ε": MinSNR(schedule)}
weightings |= {"uniform": Uniform(schedule)}
spent = {name: atlas.profile(w.importance(), 20) for name, w in weightings.items()}

# %% tags=["hide-input"] mystnb={"image": {"alt": "Share of the teacher's gap energy and of three importances by timestep"}, "figure": {"caption": "Where the teacher's gap is (grey) and where the weightings look: shares in twenty ranges of timesteps, each summing to one.", "name": "fig-atlas-energy"}}
plots.show(atlas.energy_and_importance(energy, spent))

# %% [markdown]
# The energy in {numref}`fig-atlas-energy` has a broad hill in the middle and does not go away at high noise, where a sample decides which digit it becomes. TIRT's importance is a cliff: what it spends lies left of the hill.
# One number says how well two such profiles agree, the *overlap* $\sum_b \min(p_b, q_b)$: 1 if they are the same, and otherwise one minus the share that would have to move.

# %%
cuts = {"t < 300": slice(6), "300 ≤ t < 600": slice(6, 12), "t ≥ 600": slice(12, None)}
profiles = {"teacher's gap energy": energy, **spent}
common = {name: torch.minimum(energy, p).sum().item() for name, p in profiles.items()}

# %% tags=["hide-input"]
others = min(common["uniform"], common["Min-SNR for ε"])
assert common["TIRT Transfer"] < 0.6 < 0.75 < others
assert energy[12:].sum() > 1 / 3 > 0.1 > spent["TIRT Transfer"][12:].sum()
shares = {
    name: [f"{p[cut].sum():.0%}" for cut in cuts.values()]
    for name, p in profiles.items()
}
rows = [[name, *of, f"{common[name]:.2f}"] for name, of in shares.items()]
Markdown(markdown(["share", *cuts, "overlap with the energy"], rows))

# %% [markdown]
# Uniform weights and Min-SNR look where the gap is without having been told. TIRT does not: less than a tenth of it goes to $t \ge 600$, which hold more than a third of the gap's energy. Energy is counted on the noise here, as the losses count it; seen from the predicted images it would
# be divided by $\mathrm{SNR}_t$, and lie further to the right still. Two cautions. Energy is not *need*: a timestep may hold much of the gap and be easy. And direction is worst where TIRT looks most. {ref}`ch-tirt` measures what the missing weight costs.
#
# ## What no map of the gap shows
#
# What both branches have wrong in common cancels in their difference, and reaches the samples all the same: the error of a guided output is $m + (w - \tfrac12)(g_S - g_T)$ with the common error $m = (e_c + e_u)/2$. An error of $\varepsilon$ moves the predicted image by $\sqrt{(1-\bar\alpha_t)/\bar\alpha_t}$ times
# as much, which is 0.01 at $t = 0$ and 22 at $t = 970$. {numref}`fig-atlas-errors` has three curves for DASH's digits student and for two of CIFAR-10's ({ref}`ch-cifar`).

# %% tags=["hide-input"] mystnb={"image": {"alt": "Gap error, common error and common error in the image against timestep, for three students"}, "figure": {"caption": "Root-mean-square errors against the timestep: of the gap and common to both branches, on ε; the common one in the predicted image (pixels in [-1, 1]), up to t = 970. DASH throughout: seed 0 on digits; ε with uniform weights and v with high-noise weights on CIFAR-10, as in the pictures below.", "name": "fig-atlas-errors"}}

CIFAR, curves = (
    cifar10.runs(),
    {"digits, TIRT": atlas.errors(stats["dash"], noisy, schedule)},
)
for row, name in {"dash-uniform": "ε", "dash_v-high_noise": "v"}.items():
    curves[f"CIFAR-10, {name}"] = dict(list(cifar10.errors(CIFAR[row]).items())[:3])
for gap_error, common_error, in_image in (of.values() for of in curves.values()):
    assert (common_error > 1.3 * gap_error).all(), "at every timestep"
    assert common_error[-1] < 0.75 * common_error[0], "on eps it looks harmless there"
    assert in_image[-1] > 3 * in_image[:12].max(), (
        "largest where the picture is laid out"
    )
title = "In the image the common error is largest where sampling starts"
what = {"title": title, "log": True, "size": (8.8, 4.2)}
plots.show(plots.panels(curves, 50, "timestep t", **what))

# %% [markdown]
# At every timestep the common error is larger than that of the gap, for these three students. On $\varepsilon$ it is smaller at high noise than at low; in the image it is largest at high noise, where a sample's brightness and colours are laid out. A student may have a good map, and pictures that are off as a whole. Digits are grey and have one such number, the spread of the
# mean brightness over images; photographs have two more, of mean colours.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Digits and CIFAR-10 pictures of teachers over those of students, from one noise each"}, "figure": {"caption": "From one starting noise, w = 1.5: teachers over their students, DASH throughout, with the spread of the mean brightness over 100 pictures. Digits above, CIFAR-10 below.", "name": "fig-atlas-cast"}}
shown = {"dash-uniform": "ε, uniform", "dash_v-transfer": "v, TIRT"}
shown |= {"dash_v-high_noise": "v, high noise"}
assert [*teacher.metrics["guidance"]][1] == "1.5"
drawn = {
    "teacher": teacher.trace["samples"][1],
    "DASH": RUNS["dash"][0].trace["samples"][1],
}
drawn["CIFAR-10's teacher"] = cifar10.pictures(CIFAR["teacher"], "1.5")
drawn |= {name: cifar10.pictures(CIFAR[row], "1.5") for row, name in shown.items()}
drawn = {
    f"{k}: {(v / 127.5 - 1).mean((1, 2, 3)).std():.2f}": v for k, v in drawn.items()
}
plots.show(cifar10.side_by_side(drawn))

# %% [markdown]
# The digits of the student spread in brightness by half as much again as its teacher's. On CIFAR-10 the uniform student has casts of colour, and TIRT Transfer nearly the same brightness everywhere. Neither shows in ρ, in cos or in $a^*$.
#
# ## What we found

# %% tags=["hide-input"]
timesteps, classes = atlas.shares(maps["dash"]["cos"])
overlap = [
    f"{common[name]:.2f}" for name in ("TIRT Transfer", "uniform", "Min-SNR for ε")
]
Markdown(f"""
| question | answer on 8×8 digits |
| :-- | :-- |
| Where is a gap wrong? | by timestep, not by class: for DASH {timesteps:.0%} of the \
variance of cos lies between timesteps, {classes:.0%} between classes; worst at low \
noise for every headline student |
| What does no map show? | the common error: for DASH larger than the gap's at every \
$t$, and in the image largest at high noise |
| Does the importance go where the gap is? | overlap with the teacher's gap energy: \
TIRT {overlap[0]}, uniform {overlap[1]}, Min-SNR {overlap[2]} |
""")

# %% tags=["hide-input"]
Markdown(f"""
**Answer.** A gap is wrong by timestep, at low noise most of all, and hardly by class:
{timesteps:.0%} of the variance of DASH's cos lies between timesteps, {classes:.0%}
between classes.
""")

# %% [markdown]
# A function of $t$ looks like the right repair for it; {ref}`ch-repair` finds that the samples do not ask for one.
#
# What this does not say: one student of each kind, seed 0, of one small size, and TIRT Transfer in all of them.
#
# ## Exercises
#
# **1.** Show that $a^* g_S$ leaves the gap error $\mathbb E|g_T|^2\,(1 - r^2)$, with $r$ the correlation $\mathbb E\langle g_S, g_T\rangle / \sqrt{\mathbb E|g_S|^2\,\mathbb E|g_T|^2}$. What does that make of $\rho$ as a diagnostic?
#
# ```{admonition} Solution
# :class: dropdown
# $\mathbb E|a g_S - g_T|^2$ is a parabola in $a$ with its minimum at $a^*$: $\mathbb E|g_T|^2 - (\mathbb E\langle g_S, g_T\rangle)^2/\mathbb E|g_S|^2$. The length of $g_S$ has cancelled. So whatever $\rho$ measures can be set right by one number, and only the direction decides what remains.
# ```
#
# **2.** Energy in {numref}`fig-atlas-energy` is counted on $\varepsilon$. Draw it for the predicted image $\hat x_0$ instead. Which of the three importances fits it best now?
#
# ```{admonition} Solution
# :class: dropdown
# $\hat x_0$ changes by $\sqrt{1-\bar\alpha_t}/\sqrt{\bar\alpha_t}$ times the change of $\varepsilon$, so the energy is divided by $\mathrm{SNR}_t$: `energy / atlas.profile(schedule.snr().float(), 20)`, roughly, within a range. As the SNR goes to zero almost everything lies in the last ranges, and none of the three fits. The sampler does not see it so
# either, because it clamps $\hat x_0$. No single reading of "where guidance acts" is the right one; what is common to all is that TIRT's cliff is on the other side.
# ```
#
# **3.** How much of a map is the draw of its pairs? Compute DASH's maps from the even and from the odd pairs, and correlate them cell by cell.
#
# ````{admonition} Solution
# :class: dropdown
# ```python
# from dashlib.metrics import NoisyPairs
#
#
# def part(keep):
#     pairs = NoisyPairs(noisy.x_t[keep], noisy.t[keep], noisy.y[keep])
#     return atlas.gap_maps({k: v[keep] for k, v in stats["dash"].items()}, pairs)
#
#
# halves = [part(torch.arange(10_000) % 2 == parity) for parity in (0, 1)]
# for metric in atlas.MAPPED:
#     both = torch.stack([half[metric].flatten() for half in halves])
#     print(metric, torch.corrcoef(both)[0, 1].item())
# ```
#
# The correlations are above 0.8 for all three metrics, and highest for cos: fifty pairs a cell already show the pattern.
# ````
