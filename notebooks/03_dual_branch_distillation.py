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
# (ch-dash)=
# # Dual-branch distillation
#
# ## Overview
#
# **Question.** DASH {cite}`shafi2026dash` distils {cite}`hinton2015distilling` both branches. Does its student keep the gap and follow the teacher at *every* guidance scale, and is it the second branch that does it? You will
#
# - see that no direction of the branch error is hidden from the DASH loss, and bound what its noise anchor can cost;
# - distil a small student live, with a loop of a few lines;
# - compare the stored students of five objectives: gap, branch errors, samples at six guidance scales;
# - compare DASH with **label dropout**, which the paper's table does not have and which evaluates one branch a step instead of two.
#
# All models are ours, on 8×8 digits; CIFAR-10 is in {ref}`ch-cifar`. The paper's numbers stand apart and are labelled.

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
import math
from itertools import islice

import numpy as np
import torch
from IPython.display import Markdown

from dashbook import dual_branch, plots, tables
from dashbook.comparison import compared, logged, verdicts
from dashbook.dual_branch import rms, stored
from dashbook.paper import NAMES, PAPER
from dashbook.tables import frechet, gap, headline, markdown, off, per_timestep, spread
from dashbook.widgets import Parameter, explorer
from dashlib import data, datasets, recipes, results
from dashlib.guidance import Guided
from dashlib.losses import make_objective, mse
from dashlib.sampling import ddim, starting_noise
from dashlib.schedule import Schedule
from dashlib.unet import STUDENT_DIGITS, UNet
from dashlib.weighting import Uniform

# %% [markdown]
# ## The loss, term by term
#
# With the branch errors $e_c = S_c - T_c$ and $e_u = S_u - T_u$ of {eq}`eq-branch-errors`, DASH minimises
#
# $$ L_{\mathrm{DASH}} = \underbrace{\mathbb E\,|e_c|^2}_{\text{imitation}} + \underbrace{\mathbb E\,|e_u|^2}_{\text{unconditional}}
#    + 0.1\,\underbrace{\mathbb E\,|S_c - \varepsilon|^2}_{\text{anchor}} $$ (eq-dash)
#
# where every mean carries the timestep weight $\hat\omega_t$ of {ref}`ch-tirt`. *Imitation* copies what the teacher does with
# the label, *unconditional* what it does without. Together they fix both ends of the gap, so the gap needs no term of its own. The *anchor*
# is ordinary denoising: it ties the conditional branch to the noise that was really added. With one pass for each branch:


# %%
def dash_loss(student, batch):
    """Imitation + unconditional + 0.1 anchor of each sample, shape (B,)."""
    cond = student(batch.x_t, batch.t, batch.y)
    uncond = student(batch.x_t, batch.t, torch.full_like(batch.y, student.null_label))
    imitation = mse(cond, batch.teacher.cond)
    unconditional = mse(uncond, batch.teacher.uncond)
    anchor = mse(cond, batch.eps)
    return imitation + unconditional + 0.1 * anchor


# %% [markdown]
# `mse` is the mean square over the pixels of each image. The stream below draws image, timestep and noise, and asks the
# teacher for both branches.

# %%
TEACHER = results.load("digits/teacher-uniform")
teacher = TEACHER.model()
digits, schedule = datasets.load_dataset("digits"), Schedule()


def stream(images, batch_size, seed):
    """Endless noisy batches that carry both of the teacher's branches."""
    noisy = data.Stream(images, schedule, teacher.null_label, batch_size, seed=seed)
    return data.with_teacher(noisy, teacher)


dash, held_out = make_objective("dash"), next(stream(digits.test, 1000, seed=5))

# %% [markdown]
# Three "students" see the same 1,000 held-out pairs of image and timestep: the teacher itself, a network that was never
# trained, and a stored DASH student. For each of them the loss above equals `dashlib`'s:

# %% tags=["hide-input"]
torch.manual_seed(0)
students = {
    "the teacher itself": teacher,
    "an untrained student": UNet(STUDENT_DIGITS).eval(),
    "a stored DASH student": results.load(
        "digits/dash-uniform-from_uniform-s0"
    ).model(),
}
with torch.no_grad():
    per_sample = {name: dash.terms(model, held_out) for name, model in students.items()}
    for name, model in students.items():
        library = dash.total(per_sample[name])
        torch.testing.assert_close(dash_loss(model, held_out), library)

# %% tags=["hide-input"]
terms = {
    name: {k: v.mean().item() for k, v in of.items()} for name, of in per_sample.items()
}
itself, *others = terms.values()
assert itself["imitation"] < 1e-10 > itself["unconditional"], (
    "a perfect copy: both vanish"
)
assert itself["anchor"] > 0.01, (
    "the anchor does not: no model can know the noise exactly"
)
assert all(
    abs(o["anchor"] / (o["imitation"] + itself["anchor"]) - 1) < 0.1 for o in others
)
rows = [[name, *(f"{v:.3f}" for v in of.values())] for name, of in terms.items()]
Markdown(markdown(["student", *itself], rows))

# %% [markdown]
# Imitation and unconditional vanish exactly when the student *is* the teacher. The anchor never vanishes: $x_t$ does not
# determine the noise, and the part of $\varepsilon$ that cannot be guessed stays as a constant.
#
# ## Why the zero set is one point
#
# The first two terms vanish for $e_c = e_u = 0$ and nothing else. They grow equally fast in every direction
# of the $(e_c, e_u)$ plane. Other losses have a blind direction. The students below are the teacher plus one fixed picture, $\cos\theta$ times in the
# conditional branch and $\sin\theta$ times in the other. Their total error is $|e_c|^2 + |e_u|^2 = 1$; only its direction turns.


# %% tags=["hide-input"]
class Shifted:
    null_label = teacher.null_label
    picture = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(1)).sign()

    def __init__(self, degrees):
        self.c, self.u = (
            math.cos(math.radians(degrees)),
            math.sin(math.radians(degrees)),
        )

    def __call__(self, x_t, t, y):
        amount = torch.where(y == self.null_label, self.u, self.c)
        return teacher(x_t, t, y) + amount[:, None, None, None] * self.picture


# composite: w = 4
judges = {name: make_objective(name) for name in ("cond_only", "composite")}
judges["dash"] = make_objective("dash", anchor=0.0)

# %% tags=["hide-input"] mystnb={"image": {"alt": "The loss that three objectives assign to a branch error of length one, by its direction"}, "figure": {"caption": "The loss of a branch error of length one, by its direction: 0° conditional, 90° unconditional.", "name": "fig-turning"}}
angles = sorted([*range(0, 181, 5), math.degrees(math.atan2(4, 3))])
few, seen = next(stream(digits.test, 16, seed=6)), {}
for name, judge in judges.items():
    found = [judge.total(judge.terms(Shifted(angle), few)) for angle in angles]
    seen[name] = [loss.mean().item() for loss in found]
assert min(seen["cond_only"]) < 1e-6 > min(seen["composite"]), (
    "each is blind to one direction"
)
assert max(abs(loss - 1) for loss in seen["dash"]) < 1e-3, (
    "DASH sees it, wherever it points"
)
curves = {NAMES[k]: (angles, np.maximum(of, 1e-3)) for k, of in seen.items()}
shades = {NAMES[k]: plots.color(k) for k in seen}
what = {"xlabel": "direction (degrees)", "ylabel": "loss", "log": True}
what["title"] = "DASH sees an error wherever it points"
plots.show(plots.lines(curves, colors=shades, **what))

# %% [markdown]
# In {numref}`fig-turning` cond-only loses sight of the error at 90°, composite at 53°, the direction $(3, 4)$; a quarter turn further composite sees it
# twenty-five times too large. DASH reads 1 all the way.
#
# This holds for *outputs* at a fixed input. A network shares its weights between the branches, which may keep it
# from using its freedom.
#
# ## What the anchor can cost
#
# The anchor pulls the conditional branch from its teacher towards the best possible denoiser. Its pull is bounded by the teacher's own anchor term, divided by 121.
#
# ````{admonition} Why: complete the square
# :class: dropdown
# The optimum of the anchor is $\varepsilon^\star = \mathbb E[\varepsilon \mid x_t, y]$, the best denoiser. For given $x_t$ and $y$, and with $a = 0.1$,
#
# $$ |S_c - T_c|^2 + a\,\mathbb E\,|S_c - \varepsilon|^2 = (1+a)\,\Big|\,S_c - \frac{T_c + a\,\varepsilon^\star}{1+a}\Big|^2 + \text{const}. $$ (eq-anchor)
#
# The two terms pull the student one eleventh of the way from its teacher towards $\varepsilon^\star$. If the teacher *is* that denoiser, nothing
# moves: the anchor is the imitation term plus a constant. (The cell under the table of terms asserts this for both other students, to within ten per cent.) If it is not, the
# student that minimises {eq}`eq-anchor` has imitation error $\mathbb E|T_c - \varepsilon^\star|^2 / 121$. We do not know $\varepsilon^\star$, but
# $\mathbb E|T_c - \varepsilon|^2 = \mathbb E|T_c - \varepsilon^\star|^2 + \mathbb E|\varepsilon - \varepsilon^\star|^2$: the teacher's own anchor term
# bounds the price from above.
# ````

# %% tags=["hide-input"]
price = itself["anchor"] / 121
missed = np.mean(
    [gap("cond_mse")(run) for run in results.select("dash", "uniform-from_uniform")]
)
assert price < 0.5 * missed, (
    "at its worst the anchor costs less than the students miss anyway"
)
Markdown(
    f"The anchor can cost the imitation term at most **{price:.4f}**. The stored "
    f"DASH students miss the teacher by {missed:.4f}, for want "
    "of capacity and training: the price of the anchor is at most "
    f"{100 * price / missed:.0f} % of that."
)

# %% [markdown]
# At a weight of 0.1 the anchor hardly moves the optimum, so it can hardly improve it either. {numref}`ch-rows` has students that were trained without it.
#
# ## A live distillation
#
# A batch brings the teacher's answers, the objective names the terms, and the weighting reduces them to one number. The rest
# is ordinary training with AdamW {cite}`loshchilov2019decoupled`. (`Trainer` adds clipping, a decaying learning rate and averaged weights.)

# %%
torch.manual_seed(0)
student, weighting = UNet(STUDENT_DIGITS).train(), Uniform(schedule)
optimizer = torch.optim.AdamW(student.parameters(), lr=2e-3)
history = []
for batch in islice(stream(digits.train, 64, seed=0), 120):
    terms_of = dash.terms(student, batch)
    loss = weighting.reduce(dash.total(terms_of), batch.t)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    history.append({name: term.mean().item() for name, term in terms_of.items()})

# %% [markdown]
# The three terms over these 120 steps, and over the training of a stored student:

# %% tags=["hide-input"] mystnb={"image": {"alt": "The three DASH terms against training step, live and stored"}, "figure": {"caption": "The terms of the DASH loss during training: live, and in a stored run (uniform weights, seed 0). Averages of ten steps; the anchor is drawn before its factor 0.1.", "name": "fig-dash-terms"}}
trace = results.load("digits/dash-uniform-from_uniform-s0").trace
live = {k: np.reshape([at[k] for at in history], (-1, 10)).mean(1) for k in history[0]}
kept = {name: trace[f"curve.{name}"].numpy() for name in live}
floor = kept["anchor"][-20:].mean()
for name in ("imitation", "unconditional"):
    assert live[name][-1] < live[name][0] / 3, "both branches are learnt"
    assert kept[name][-20:].mean() < 0.5 * floor, "the anchor has a floor"
title, both = "Both branches are learned alike", {"live": live, "stored": kept}
plots.show(plots.panels(both, 10, "step", title=title, log=True))

# %% [markdown]
# In {numref}`fig-dash-terms` the two branch terms coincide: what the student learns first, denoising,
# is common to both branches. The anchor levels off near the teacher's own value, its floor.
#
# ## The stored students, side by side
#
# Five objectives are taught in two ways. With **uniform weights** teacher and students weight all timesteps alike. With **TIRT Transfer**, the paper's way, the teacher
# learns its weights and hands them to the students. Our TIRT teacher is worse than a constant at high noise ({ref}`ch-teacher`), so the first way comes first.
#
# Students of one way and seed see the same batches, so rows differ by their objective only. The scores are of 10,000 held-out pairs of image and timestep,
# and of 1,000 samples at each of six guidance scales (TAG: the paper's schedule).

# %% tags=["hide-input"]
ROWS = ("scratch", "cond_only", "cond_only_dropout", "composite", "dash")
SOUND = "uniform-from_uniform"  # weights of the student and of its teacher
WEIGHTINGS = {SOUND: "uniform", "transfer": "TIRT Transfer"}
TEACHERS = {SOUND: TEACHER, "transfer": results.load("digits/teacher-tirt")}
LABELS = list(recipes.DIGITS.guidance)
RUNS = {(row, w): results.select(row, w) for row in ROWS for w in WEIGHTINGS}
assert all(len(runs) >= 3 for runs in RUNS.values())


def values(row, weighting, of):
    return np.array([of(run) for run in RUNS[row, weighting]])


for w in WEIGHTINGS:
    rho, cos = values("dash", w, gap("rho")), values("dash", w, gap("cos"))
    assert all(rho > 0.8) and all(rho < 1), (
        "DASH: about as long as it should be, a little short"
    )
    assert all(
        values(row, w, gap("rho")).min() > 1.5 for row in ("cond_only", "composite")
    )
    assert all(all(values(row, w, gap("cos")) < cos) for row in ROWS[:-1]), (
        "DASH points best"
    )

# %% tags=["hide-input"]
spreads = {row: values(row, SOUND, gap("rho")).std() for row in ROWS}
assert spreads["cond_only"] > 5 * spreads["dash"], (
    "an untrained branch is a matter of luck"
)
caption = "**Students trained with {} weights**\n\n{}"
Markdown(
    "\n\n".join(caption.format(name, headline(w)) for w, name in WEIGHTINGS.items())
)

# %% [markdown]
# ρ says how long the student's gap is, cos where it points, and gap MSE joins the two. FD is the Fréchet distance of our digits
# classifier's features {cite}`heusel2017fid`, lower is better; it is **not** an FID, and not comparable with the paper's at the right. *Brightness* is the standard deviation of the mean brightness of 1,000 samples ($w = 1.5$), 0.067 in the data. "±": over seeds; without it, one.
#
# **DASH keeps the gap.** Of these five rows its direction is the best, for every seed and in both tables, and its length is within a fifth of the
# teacher's, on the *short* side. ({numref}`ch-rows` has rows with a better direction.)
#
# **Cond-only and composite** have gaps well over one and a half times as long as they should be ({ref}`ch-collapse`). Cond-only's depends on the seed most of all:
# nothing trains its null branch.
#
# **ρ alone does not suffice.** *Scratch* and *dropout* have a ρ near one and a worse direction. The gap does not suffice either: both branches can drift together.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Conditional against unconditional error of every stored student"}, "figure": {"caption": "The stored students in the plane of branch errors (mean squares, held-out images). Filled: uniform weights; open: TIRT Transfer; a mark for each seed. On the grey line both branches are equally wrong.", "name": "fig-branch-plane"}}
points = {
    key: [values(*key, gap(of)) for of in ("cond_mse", "uncond_mse")] for key in RUNS
}
for w in WEIGHTINGS:
    for row in ("cond_only", "composite"):
        assert min(points[row, w][1]) > 2 * max(points["dash", w][1])
plots.show(dual_branch.branch_plane(points, filled=SOUND))

# %% [markdown]
# In {numref}`fig-branch-plane` cond-only's conditional error is as low as anyone's, its unconditional error several times
# higher. Composite is far away in *both*: at $w = 4$ its two large errors cancel, as its loss wanted. DASH and dropout are neighbours near the grey line.
#
# At which scales is a student good? **Try:** turn the dial, and compare the curves' shapes. **See:** the teacher's curve is flat with a shallow
# minimum. DASH and dropout have nearly that shape; cond-only is best at low $w$ and gets worse from there; composite is the reverse.


# %% tags=["hide-input"] mystnb={"image": {"alt": "Fréchet distance and class accuracy against guidance scale for teacher and students"}}
SHOWN = {
    w: {"teacher": [TEACHERS[w]], **{row: RUNS[row, w] for row in ROWS}}
    for w in WEIGHTINGS
}
students = Parameter("weights of students", list(SHOWN), list(WEIGHTINGS.values()))


def swept(which):
    return plots.sweep(SHOWN[which])


explorer(swept, students)

# %% [markdown]
# A student that was taught one output is good there and bad elsewhere. DASH also beats scratch, which has both branches but no teacher, at every
# scale in the mean over seeds.
#
# The next explorer: means over seeds, twenty timestep bins.
#
# At which timesteps do they lose the gap? **Try:** look at cos first, then at the branch errors; then at ρ of cond-only. **See:** direction is hard for every student at low noise and easier at
# high noise. DASH leads dropout by much below $t \approx 250$ and hardly at all above 600. Cond-only's gap is longest at low noise.


# %% tags=["hide-input"] mystnb={"image": {"alt": "A gap diagnostic against timestep for five objectives"}}
def binned(which, row, metric):
    return per_timestep(SHOWN[which][row], metric).mean(0)


def by_timestep(metric, which):
    return dual_branch.per_timestep({row: SHOWN[which][row] for row in ROWS}, metric)


keys = ["rho", "cos", "cond_mse", "a_star", "uncond_mse"]
named = ["ρ", "cos", "conditional error", "a*", "unconditional error"]
explorer(by_timestep, Parameter("diagnostic", keys, named), students)

# %% [markdown]
# At low noise the teacher's gap is a small, detailed picture.

# %% tags=["hide-input"]
for w in WEIGHTINGS:
    fd = {row: {x: values(row, w, frechet(x)) for x in LABELS} for row in ROWS}
    assert all(fd["cond_only"]["4"] > 3 * fd["dash"]["4"]), "cond-only at w = 4"
    assert all(fd["composite"]["1"] > 5 * fd["dash"]["1"]), "composite at w = 1"
    assert all(fd["composite"]["4"] < 2 * fd["dash"]["4"]), "composite at its own scale"
    assert all(fd["dash"][x].mean() < fd["scratch"][x].mean() for x in LABELS), (
        "scratch"
    )
lead = {
    w: binned(w, "dash", "cos") - binned(w, "cond_only_dropout", "cos") for w in SHOWN
}
assert all(lead[w][:5].min() > 0.1 for w in WEIGHTINGS), "much better at low noise"
assert all(lead[w][12:].max() < 0.06 for w in WEIGHTINGS), "hardly at high noise"
longest = [binned(w, "cond_only", "rho") for w in SHOWN]
assert all(rho[0] > 1.5 * rho[12] for rho in longest), "cond-only: longest at low noise"

# %% [markdown]
# ## From one starting noise
#
# DDIM without noise {cite}`song2021ddim` is a map from $x_T$ to an image. From the same $x_T$ and label, a good student draws
# *the teacher's* digit. The number beside a name is the root-mean-square distance of the student's
# 100 stored images (seed 0) to the teacher's.
#
# Who redraws them? **Try:** walk through the guidance scales, then switch to TIRT Transfer. **See:** DASH and dropout redraw the teacher's digits at every scale, composite only at
# its own; cond-only overdoes it as $w$ grows.


# %% tags=["hide-input"] mystnb={"image": {"alt": "Ten pictures from the same starting noise, by the teacher and five students"}}
def distance(label):
    def of(run):
        return rms(
            stored(run, label), stored(results.load(run.config["teacher"]), label)
        )

    return of


def from_one_noise(label, which):
    found = {row: stored(runs[0], label) for row, runs in SHOWN[which].items()}
    away = {row: f"  {rms(of, found['teacher']):.2f}" for row, of in found.items()}
    names = {row: NAMES[row].split(",")[0] + away[row] for row in ROWS} | {
        "teacher": "Teacher"
    }
    return plots.image_rows(
        {names[row]: found[row][:10] for row in found}, size=(6.6, 3.6)
    )


explorer(from_one_noise, Parameter("guidance scale $w$", LABELS, start=2), students)

# %% [markdown]
# Do other digits and other noise show the same? The dial draws them in this page, by three students with two trained branches.
#
# **Try:** change the noise a few times, and look for a picture that differs from the teacher's. Then compare the curves, the length of the gap $|\varepsilon_c - \varepsilon_u|$ at every step.
#
# ```{live} dial
# :picture: /_static/dial.png
# :alt: Ten digits by a teacher and three students, at guidance scales 1 and 4
# :width: 100%
# :set: {"first": "scratch", "second": "cond_only_dropout", "third": "dash"}
# Stored samples at two stops of the dial, of the teacher and of three students that the explorer above shows, too.
# ```
#
# **See:** the pictures agree more than the gaps do. In the view that the dial opens with, scratch's gap is 1.4 times as long as the teacher's, dropout's 1.2 times, and DASH's longer by a twentieth.
#
# The same distance over all seeds, at all scales. Two more lines give the scale: the *two teachers* from each other, and the uniform teacher with *other noise* and the same label.

# %% tags=["hide-input"]
rows = {f"{NAMES[row]}, {WEIGHTINGS[w]}": runs for (row, w), runs in RUNS.items()}
lines = [
    [name, *(spread(runs, distance(x)) for x in LABELS)] for name, runs in rows.items()
]
twin = [rms(*(stored(of, x) for of in TEACHERS.values())) for x in LABELS]
images = torch.stack([stored(TEACHER, x) for x in LABELS])
unrelated = (
    (images - images.roll(10, dims=1)).square().flatten(1).mean(1).sqrt().tolist()
)
for name, found in {
    "the two teachers": twin,
    "teacher, other noise": unrelated,
}.items():
    lines.append([f"*{name}*", *(f"{value:.2f}" for value in found)])
Markdown(markdown(["student", *LABELS], lines))

# %% [markdown]
# Cond-only is as near as DASH at $w = 1$, and composite at $w = 4$ is nearer. In between, and under TAG, both
# fall behind. With uniform weights the DASH student is less than a third farther from its teacher than the other teacher is.
#
# Where on the way do they part? Four students with uniform weights draw anew at three guidance scales; the figure has the distance of each state $x_t$ from the teacher's.


# %% tags=["hide-input"]
followed = {"teacher": TEACHER} | {row: RUNS[row, SOUND][0] for row in ROWS[1:]}
models = {name: run.model() for name, run in followed.items()}


def trajectories(w):
    y, x_T = torch.arange(10), starting_noise(10, teacher.cfg)
    return {
        k: list(ddim(Guided(m, y, w), x_T, schedule, steps=50))
        for k, m in models.items()
    }


paths = {w: trajectories(w) for w in (1, 2, 4)}
away = dual_branch.apart(paths[2])
for row in ROWS[1:]:
    assert 5 * away[row][0] < away[row][30] > away[row][49] / 1.1, "decided"
far = {k: np.array([values(*k, distance(x)).mean() for x in LABELS]) for k in RUNS}

# %% tags=["hide-input"] mystnb={"image": {"alt": "Distance of four students' states from the teacher's along the way, at three guidance scales"}, "figure": {"caption": "Root mean square distance of a student's state from the teacher's, from noise (step 1) to image (step 50).", "name": "fig-apart"}}
for w in WEIGHTINGS:  # the table above
    cond_only, composite, own = (
        far[row, w] for row in ("cond_only", "composite", "dash")
    )
    assert cond_only[0] < 1.1 * own[0] and composite[4] < own[4], (
        "w = 1, 4: at its own scale"
    )
    assert all((own < np.minimum(cond_only, composite))[[2, 3, 5]]), (
        "w = 2, 3, TAG: in between"
    )
assert all(far["dash", SOUND] < 1.33 * np.array(twin)), "uniform weights"
by_scale = {
    f"w = {w}": {NAMES[k]: of for k, of in dual_branch.apart(visited).items() if of[-1]}
    for w, visited in paths.items()
}
colors = {NAMES[k]: plots.color(k) for k in away}
what = {"title": "The drawing is decided early", "colors": colors}
plots.show(plots.panels(by_scale, 1, "sampling step", size=(8.0, 3.6), **what))

# %% [markdown]
# In {numref}`fig-apart` the distance builds up in the first thirty of the fifty steps, down to $t \approx 400$. Then the drawing is decided.
#
# What do two models see on the way? The next explorer samples in this page by two models (students under TIRT Transfer).
#
# **Try:** scrub the step from 1 to 50; then put composite beside the teacher, and turn $w$ to 1. **See:** the first predictions differ, because $\hat x_0$ divides by a tiny
# $\sqrt{\bar\alpha_t}$; yet the states hardly move apart. Both predictions take the shape of a digit long before the state shows it.
#
# ```{live} trajectory
# :picture: /_static/trajectory.png
# :alt: States and predicted images of the teacher and of DASH in the middle of sampling, and their distances at every step
# :width: 100%
# Teacher and DASH at step 25 of 50, from the same noise.
# ```

# %% tags=["remove-cell", "skip-execution", "nbval-skip"]
# JupyterLab and Colab show the explorer above when this cell is run,
# drawn by this kernel's networks.
from dashbook.live import Sampler

kept = {row: f"{row}-transfer-s0" for row in ("dash", "composite", "cond_only")}
kept = {"teacher": "teacher-tirt"} | kept
named = {row: results.load(f"digits/{run}").model() for row, run in kept.items()}
Sampler("trajectory", named)  # or "dial"

# %% [markdown]
# TIRT Transfer gives little weight to the timesteps that decide the image ({numref}`ch-tirt`).
#
# ## Is the second branch worth its price?
#
# A cheaper way to train an unconditional branch is to keep the cond-only loss, and now and then to hide
# the label from the *student*,
#
# $$ L = \mathbb E\,\big|\,S(x_t, t, \tilde y) - T_c(x_t, t, y)\,\big|^2, \qquad \tilde y = \varnothing \text{ with probability } 0.1 . $$ (eq-dropout)
#
# Student and teacher evaluate one branch a step instead of two. Where the label is hidden, the best answer is the mean of $T_c$ over the labels that could have
# been there. For an *exact* teacher that is the unconditional branch:
#
# $$ \mathbb E\big[\,T_c \mid x_t\,\big] = \mathbb E\big[\,\mathbb E[\varepsilon \mid x_t, y] \,\big|\, x_t\,\big] = \mathbb E[\varepsilon \mid x_t] = T_u . $$ (eq-tower)
#
# Our teacher is not exact. How far apart are the two targets?

# %% tags=["hide-input"] mystnb={"image": {"alt": "Mean squares of the teacher's gap and of the distance between the two targets against timestep"}, "figure": {"caption": "How far the target of label dropout, the average of $T_c$ over the possible labels, lies from the target of DASH, $T_u$ (training images); beside it the teacher's gap.", "name": "fig-tower"}}
times, rng = range(50, 1000, 100), torch.Generator().manual_seed(0)
sizes, apart = dual_branch.tower_distances(teacher, digits.train, schedule, times, rng)
assert all(apart[:3] > 0.9 * sizes[:3]), (
    "at low noise the two targets are a whole gap apart"
)
assert all(apart[6:] < 0.4 * sizes[6:]), "at high noise they are close"
assert binned(SOUND, "cond_only_dropout", "uncond_mse")[0] > 3 * sizes[0], (
    "a larger error"
)
assert TEACHERS["transfer"].importance()[400:].mean() < 0.5, "TIRT looks elsewhere"
curves = {"teacher's gap": (times, sizes), "between the two targets": (times, apart)}
what = {"xlabel": "timestep t", "ylabel": "mean square", "log": True, "marker": "o"}
what["title"] = "At low noise the targets are a whole gap apart"
plots.show(plots.lines(curves, **what))

# %% [markdown]
# {numref}`fig-tower` splits the timesteps in two. At high noise several labels are possible, and their average lands near $T_u$.
# At low noise $x_t$ shows which digit it is. The average *is* $T_c$, and the best null branch that dropout can learn has **no
# gap at all**. So at low noise dropout and DASH are asked for different things, and there their cosines part.
#
# Each seed of shared batches gives a paired difference. A difference is clear by a paired $t$-test at 5 %, corrected by Holm for the measures of the table;
# a dash marks the others.

# %% tags=["hide-input"]
MEASURES = {"distance of ρ from 1": off("rho"), "1 − cos": off("cos")}
MEASURES |= {key: gap(key) for key in ("gap_mse", "cond_mse", "uncond_mse")}
MEASURES |= {f"FD, w = {x}": frechet(x) for x in LABELS}
MEASURES |= {f"distance, w = {x}": distance(x) for x in ("2", "4")}
rivals = {w: (RUNS["dash", w], RUNS["cond_only_dropout", w]) for w in WEIGHTINGS}
VERDICTS = {w: compared(("DASH", "dropout"), *of, MEASURES) for w, of in rivals.items()}
titled = [
    f"**Weights: {WEIGHTINGS[w]}**\n\n{table}" for w, (_, table) in VERDICTS.items()
]
Markdown("\n\n".join(titled))

# %% [markdown]
# **The gap goes to DASH**: direction, gap error and unconditional error are clearly better in both tables; ρ is not told apart.
# **The samples show hardly a gain**: of the Fréchet distances only that at $w = 3$ under uniform weights is told apart, by 6 %, and no distance of the images from the teacher's.
#
# Now the price: the student's own step, and what asking the teacher adds. (The fastest of six runs each, on one core; both branches share one forward pass.)

# %% tags=["hide-input"]
for lower, _ in VERDICTS.values():
    clear = {name for name, row in lower.items() if row == "DASH"}
    assert clear >= {"1 − cos", "gap_mse", "uncond_mse"}
    assert {*lower.values()} == {"DASH", "–"} and lower["distance of ρ from 1"] == "–"
    assert clear - {"FD, w = 3"} == {"1 − cos", "gap_mse", "uncond_mse"}
scored = {(w, x): VERDICTS[w][0][f"FD, w = {x}"] for w in WEIGHTINGS for x in LABELS}
told = [key for key, word in scored.items() if word == "DASH"]
assert told == [(SOUND, "3")]
third = [
    values(row, SOUND, frechet("3")).mean() for row in ("dash", "cond_only_dropout")
]
assert 0.93 < third[0] / third[1] < 0.945

# %% tags=["hide-input"]
# timed alone, from one teacher under both weightings
timed = {row: results.select(row, "uniform") + RUNS[row, "transfer"] for row in ROWS}
own = {row: min(run.seconds["train"] for run in runs) for row, runs in timed.items()}
prepared = [run.seconds["prepare"] for runs in timed.values() for run in runs]
# 0: another run of the seed had asked
asked = min(seconds for seconds in prepared if seconds > 1)
asking = {
    row: asked * count for row, count in zip(ROWS, (0, 0.5, 0.5, 1, 1), strict=True)
}
steps, lines = RUNS["dash", SOUND][0].config["train"]["steps"], []
for row in ROWS:
    parts = [own[row], asking[row], own[row] + asking[row]]
    lines.append([NAMES[row], *(f"{1000 * part / steps:.0f}" for part in parts)])
Markdown(markdown(["milliseconds a step", "student", "teacher", "both"], lines))

# %% [markdown]
# Twice the branches cost less than twice the time here, because part of a step does not depend on them.
#
# The second branch is worth its price for a student that must copy its teacher's gap. For good samples these runs give hardly a reason to prefer it.
#
# ## At equal cost
#
# The comparison has a flaw: label dropout had half of DASH's passes through the student. Here an objective that passes one branch a step has twice the steps. Every student
# learned from the teacher with uniform weights.
#
# Four rows join. *One branch an image* flips a coin and copies that branch of the teacher. *Half of each target* mixes the two targets of the null branch, $(T_u + T_c)/2$.
# The *gap match* rows copy the conditional branch and the gap, $|e_c|^2 + \mu\,|e_c - e_u|^2$ with $\mu$ of 1 and 3. A second sampler, DDIM with
# noise ($\eta = 1$) from $t = 950$, checks the first. The verdicts pair the seeds, for the logarithms of FD under TAG and of the gap's error,
# with Holm's correction for the rows of one question: TIRT Transfer; rows of DASH's steps; rows of twice the steps.

# %% tags=["hide-input"]
FAIR = {
    "DASH": ("dash", "uniform"),
    "DASH, TIRT Transfer": ("dash", "transfer"),
    "Multi-w composite": ("multi_w", "uniform"),
    "Single head": ("single_head", "uniform"),
    "Gap match + cond-only": ("gap_match_cond", "uniform"),
    "the same, 3 × the gap": ("dash_gap_3", "uniform"),
    "One branch an image": ("dash_sampled", "uniform", "x2"),
    "Half of each target": ("dash_mixed_0.5", "uniform", "x2"),
    "Label dropout": ("cond_only_dropout", "uniform", "x2"),
}
EQUAL_COST = {
    name: results.select(row, "-".join([weights, "from_uniform", *longer]))
    for name, (row, weights, *longer) in FAIR.items()
}

# %% tags=["hide-input"]
TAGGED, AGAIN = frechet("TAG"), tables.metric("resampled", "TAG", "frechet")
COLUMNS = {"ρ": (gap("rho"), 2), "cos": (gap("cos"), 2), "gap MSE": (gap("gap_mse"), 4)}
COLUMNS |= {f"FD {w}": (frechet(w), 1) for w in ("1.5", "4", "TAG")}
KEPT = tables.brightness("1.5", kept=True), 3
COLUMNS |= {"TAG, η = 1": (AGAIN, 1), "brightness of 100": KEPT}
Markdown(tables.spreads("from the uniform teacher", EQUAL_COST, COLUMNS))

# %% tags=["hide-input"]
names, margin = list(EQUAL_COST), math.log(1.05)
FAMILIES = (names[1:2], names[2:6], names[6:])  # compared for one question each


def beside_dash(family, of):
    rows = {name: EQUAL_COST[name] for name in family}
    rows = {name: runs for name, runs in rows.items() if of(runs[0]) is not None}
    return verdicts(rows, EQUAL_COST["DASH"], logged(of), margin=margin)


JUDGED = {"TAG": TAGGED, "again": AGAIN, "gap": gap("gap_mse")}
FOUND = {
    key: {n: v for family in FAMILIES for n, v in beside_dash(family, of).items()}
    for key, of in JUDGED.items()
}


# %% tags=["hide-input"]
def times(found):
    """A ratio with its interval."""
    ends = (found.interval.mean, found.interval.low, found.interval.high)
    mean, low, high = map(math.exp, ends)
    return f"{mean:.2f} [{low:.2f}, {high:.2f}]"


lines = []
for name in names[1:]:
    words = [of[name].word if name in of else "–" for of in FOUND.values()]
    lines.append([name, times(FOUND["TAG"][name]), *words])
head = ["beside DASH", "FD under TAG, ratio", "verdict", "η = 1", "gap MSE"]
Markdown(markdown(head, lines))

# %% tags=["hide-input"]
word = {key: {name: one.word for name, one in of.items()} for key, of in FOUND.items()}
for name in FAMILIES[2]:
    assert word["TAG"][name] == "better", "at equal cost"
    assert word["again"][name] == "better", "under either sampler"
assert {of[names[1]] for of in word.values()} == {"worse"}, "TIRT Transfer"
assert {word["TAG"][name] for name in FAMILIES[1]} == {"undecided"}
assert [word["again"][name] == "better" for name in FAMILIES[1]] == [0, 0, 1, 0]
ties = [word["gap"].get(name) for name in FAMILIES[1]]
assert ties == ["better", None, "better", "better"]
sampled, mixed, dropout = (word["gap"][name] for name in FAMILIES[2])
assert (sampled, mixed, dropout) == ("better", "better", "worse")
short = {name: gap("rho")(runs[0]) for name, runs in EQUAL_COST.items()}
short = {name: rho for name, rho in short.items() if rho is not None}
assert min(short, key=short.get) == "Half of each target"

# %% [markdown]
# **At equal cost the rows of one pass are ahead of DASH on samples.** Under TAG all three are better, by either sampler. By the gap's error one branch an image and the mixed target are better than DASH, label dropout is worse. *Half of
# each target* is ahead of DASH by every verdict of the table. Its gap is also the shortest.
#
# Among the rows of DASH's own steps none is told apart by its samples under TAG; gap match with cond-only is better by the second sampler. Multi-w and both gap matches have the
# smaller error of the gap. **TIRT Transfer is worse than uniform weights** by the gap and by either sampler, although $\lambda$ comes from a teacher without the flaw.
#
# ### Better than both?
#
# The gap's error puts DASH ahead of label dropout, the samples put it behind. Is one objective better than both by the gap, and not worse by samples? The other rows
# of one pass beside label dropout:

# %% tags=["hide-input"]
rival = EQUAL_COST["Label dropout"]
both = {name: EQUAL_COST[name] for name in FAMILIES[2][:2]}
ASKED = {"gap MSE": JUDGED["gap"], "FD, TAG": TAGGED, "FD, TAG, η = 1": AGAIN}
ASKED |= {f"FD, w = {w}": frechet(w) for w in ("1.5", "4")}
BESIDE = {
    key: verdicts(both, rival, logged(of), margin=margin) for key, of in ASKED.items()
}
head = ["beside label dropout", *(cell for name in both for cell in (name, "verdict"))]
rows = [
    [key, *(cell for one in of.values() for cell in (times(one), one.word))]
    for key, of in BESIDE.items()
]
Markdown(markdown(head, rows))

# %% tags=["hide-input"]
beside = {name: [of[name].word for of in BESIDE.values()] for name in both}
open_, lost = ["undecided"], ["worse"]
assert beside["Half of each target"] == ["better", *2 * open_, *2 * lost]
assert beside["One branch an image"] == ["better", *2 * lost, *open_, *lost]
mixed = [of["Half of each target"].interval for of in BESIDE.values()]
assert max(math.exp(one.high) for one in mixed[1:3]) < 1.13
assert [round(100 * math.expm1(one.mean)) for one in mixed[3:]] == [8, 17]

# %% [markdown]
# *Half of each target* is better than both by the gap's error. Under TAG its samples are better than DASH's and, by either sampler, not told apart from label dropout's: it may still be worse by 13 %.
# At constant $w$ label dropout is ahead, by 8 and 17 %. On CIFAR-10 one seed of it is no better than its relatives ({ref}`ch-cifar`).
#
# ## Beside the paper
#
# The paper evaluates on CIFAR with FID under TAG {cite}`shafi2026dash`. The *order* of the four objectives that both have can be compared, and the sign
# of each gap's error; the values can't.

# %% tags=["hide-input"]
BOTH = [row for row in PAPER if row != "teacher"]


def ours(of):
    return {
        name: {k: values(k, w, of).mean() for k in BOTH}
        for w, name in WEIGHTINGS.items()
    }


for fd in ours(frechet("TAG")).values():
    assert min(fd, key=fd.get) == "dash" and max(fd, key=fd.get) == "composite"
    assert fd["scratch"] < fd["cond_only"]
Markdown(dual_branch.beside_paper(ours(frechet("TAG")), ours(gap("rho"))))

# %% [markdown]
# **Agrees:** DASH comes first of these five; its gap is a little short, in the paper too; and under TAG cond-only is worse than training from scratch. (At $w = 1.5$ it is better: see the tables above.)
#
# **Does not agree:** (1) The paper's single-branch gaps are too *small*, ours too *large*. {ref}`ch-collapse` says how either can arise.
# (2) Composite is second in the paper and last here. Under TAG, $w(t)$ is 4 at no timestep, and a composite student is off its scale nearly all the time {eq}`eq-guided-error`. We can't tell why the
# paper's does not suffer from that.
#
# {ref}`ch-rows` has the paper's other baselines {cite}`romero2015fitnets,meng2023distillation`; there DASH no longer comes first.
#
# ## What we found


# %% tags=["hide-input"]
def both_of(row, key):
    return " / ".join(f"{values(row, w, gap(key)).mean():.2f}" for w in WEIGHTINGS)


saved = (own["dash"] + asked) / (own["cond_only_dropout"] + asked / 2)

# %% tags=["hide-input"]
found = f"""
**Answer.** DASH keeps the gap: ρ = {both_of("dash", "rho")}, cos =
{both_of("dash", "cos")}, and it follows the teacher at every guidance scale. The
trained null branch does it: label dropout, with one branch a step, draws samples nearly
as good, and better ones at equal cost. (8×8 digits; means over eight seeds / three:
uniform weights / TIRT Transfer.)

- Every direction of the branch error costs the DASH loss the same; cond-only and
  composite are each blind to one. The anchor can move imitation by {price:.4f} at most.
- **Single branches do not calibrate it.** Cond-only: ρ =
  {both_of("cond_only", "rho")}, cos = {both_of("cond_only", "cos")}; composite: ρ =
  {both_of("composite", "rho")}, cos = {both_of("composite", "cos")}. The single-branch
  gaps are too large, not too small as the paper has them.
- DASH follows the teacher at every guidance scale; cond-only and composite match it at
  their own. Under uniform weights its images from the same noise are less than a third
  farther from the teacher's than those of a second teacher."""

# %% tags=["hide-input"]
Markdown(
    found
    + f"""
- **Label dropout is a strong rival**: ρ = {both_of("cond_only_dropout", "rho")}, cos =
  {both_of("cond_only_dropout", "cos")}. Its gap points less well, mostly at low noise,
  where it is asked for something else. Its samples are nearly as good: the seeds tell
  {len(told)} of {len(scored)} Fréchet distances apart. DASH costs {saved:.1f} times as
  much a run.
- So at this scale the credit belongs to *training the null branch*, by either method;
  supervising it with the teacher's own null branch improves the gap, and the samples
  hardly.
"""
)

# %% [markdown]
# ## Exercises
#
# 1. Add a gap term, $L = \mathbb E|e_c|^2 + \mathbb E|e_u|^2 + \mu\,\mathbb E|e_c - e_u|^2$. Is the zero set still one point? What is the condition number of the form, and which errors does a large
#    $\mu$ favour?
#
# ````{admonition} Solution
# :class: dropdown
# The matrix is $I + \mu \begin{pmatrix} 1 & -1 \\ -1 & 1 \end{pmatrix}$ with eigenvalues $1$ for the common drift $(1, 1)$ and $1 + 2\mu$ for the difference $(1, -1)$: one point, condition number
# $1 + 2\mu$. A large $\mu$ makes drift of both branches comparatively cheap; without the first two terms it is free, and the gap may be perfect while the samples are not.
# ````
#
# 2. Repeat the live distillation with `make_objective("dash", anchor=0.0)` and with `anchor=1.0`, from the same seed and with the same batches. What does {eq}`eq-anchor` predict for the imitation
#    term, and how would you decide whether the anchor helps?
#
# ````{admonition} Solution
# :class: dropdown
# With weight $a$ the optimum moves by $a/(1+a)$ of the way from the teacher to the best denoiser, so the price is at most $(a/(1+a))^2$ times the teacher's own anchor term: nothing for $a = 0$, a quarter of
# that term for $a = 1$. In 120 steps all runs look alike, since both terms first ask for the same thing: to denoise. To decide, train each variant with several seeds to the end, on
# shared batches, and compare *paired* differences with their spread, as the table of DASH and dropout does. Judge by samples too: the anchor pulls away from the teacher on purpose, so imitation
# alone would always speak against it.
# ````
#
# 3. Suppose a student will only be used at constant guidance scales $w$ drawn uniformly from $[1, 4]$. Average $|w e_c + (1-w) e_u|^2$ over them. Is this *multi-w* objective blind anywhere? Why might one still prefer
#    the DASH form?
#
# ````{admonition} Solution
# :class: dropdown
# $\mathbb E\,w^2 = 7$, $\mathbb E\,w(1-w) = -4.5$ and $\mathbb E\,(1-w)^2 = 3$ give $\begin{pmatrix} 7 & -4.5 \\ -4.5 & 3 \end{pmatrix}$, with eigenvalues $5 \pm \sqrt{24.25}$, about $9.92$ and $0.076$: no blind
# direction, but one that is seen 131 times less than another. It is the right loss for that use if training is long enough; gradient descent, though, is slow in the weak direction, which is near
# that of common drift. DASH treats all directions alike.
# ````
#
# 4. Take label dropout with probability one half and a batch twice as large as that of DASH: it then costs the same and sends as many images through the null branch. Which differences to DASH remain?
#
# ````{admonition} Solution
# :class: dropdown
# Two. The *target*: the null branch regresses on $T_c(x_t, t, y)$ for a random $y$, whose mean is $\mathbb E[T_c \mid x_t]$ and not $T_u$ ({numref}`fig-tower`). And its *noise*: around this mean the target
# scatters by the teacher's gap, so gradients of the null branch carry a variance of the order of $\mathbb E|\mathrm{gap}_T|^2$, while DASH gives it the answer without noise.
# No student comes near the optimum at low noise: its branches miss by several times the mean square of the gap. Dropout's gap is therefore not zero there, but mostly error.
# ````
