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
# (ch-geometry)=
# # Loss geometry
#
# ## Overview
#
# **Question.** Do students go wrong where their objective does not look? Every objective of this book that compares outputs sees two numbers for each element of an image, the branch errors $e_c$ and $e_u$, and charges a quadratic form of them.
# Two numbers can be drawn. You will
#
# - read off which errors each objective punishes, how unevenly, and which it does not see at all;
# - recompute the condition numbers that one meets for these losses, one of which depends on which timesteps are averaged;
# - see what gradient descent does in a direction that a loss sees only weakly;
# - turn the guidance scale and watch which residuals become visible in the sample;
# - look at where stored students really lie, timestep by timestep;
# - find out when sharing weights between the branches makes up for what a loss does not ask.
#
# The case for DASH {cite}`shafi2026dash` rests on the claim that what an objective does not see is what its students get wrong. {ref}`ch-collapse` drew one blind line in this plane, {ref}`ch-dash` turned one error in it. All models are ours, digits of 8×8 pixels.

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
from functools import partial

import numpy as np
import torch
from IPython.display import Markdown

from dashbook import geometry, plots
from dashbook.geometry import (
    angle,
    form_of,
    moments,
    multi_w,
    overall,
    stored_moments,
)

# %% tags=["hide-input"]
from dashbook.plots import show
from dashbook.tables import markdown
from dashbook.widgets import Parameter, explorer
from dashlib import data, datasets, results
from dashlib.guidance import TAG, Branches
from dashlib.losses import make_objective
from dashlib.metrics import noisy_pairs, predict
from dashlib.recipes import HEADLINE, ROWS
from dashlib.schedule import Schedule

# %% [markdown]
# ## One form for each objective
#
# Fix a noisy image, a timestep and a label. With $e = (e_c, e_u)$ for one element of the image, an objective on outputs is
#
# $$ \ell(e) = e^\top Q\, e = Q_{cc}\, e_c^2 + 2\, Q_{cu}\, e_c e_u + Q_{uu}\, e_u^2 , \qquad \mathbb E\,\ell = \operatorname{tr}(Q M), \quad M = \mathbb E\,[e\, e^\top] , $$ (eq-form)
#
# with a symmetric 2×2 matrix $Q$ that depends on the objective alone, and a matrix $M$ that depends on the student and its teacher alone. Errors have the units of the noise, whose elements have variance one. For the composite at scale
# $w$, with $v = (w, 1-w)$, the guided error is $v^\top e$ and $Q = v v^\top$; cond-only is its case $w = 1$, gap matching has $v = (1, -1)$, and DASH without its anchor has $Q = I$.
#
# The eigenvalues of $Q$ say what an error of size one costs in the cheapest and in the dearest direction; their ratio is the *condition number* $\kappa$. If the smaller one is 0, its direction is
# a *null direction*: errors along it are free, and $\kappa = \infty$.

# %% tags=["hide-input"]
TWO_BRANCH = (
    *HEADLINE,
    "multi_w",
    "gap_match",
    "gap_match_cond",
    "dash_no_un",
    "dash_no_an",
)
TRAINED = {r: make_objective(ROWS[r].objective, **ROWS[r].options) for r in TWO_BRANCH}
FORMS = {row: form_of(objective) for row, objective in TRAINED.items()}
Markdown(geometry.objectives(TRAINED))

# %% [markdown]
# *Low* and *high* are the eigenvalues, *softest* is the direction $(e_c, e_u)$ of the lower one. Four rows are blind to one direction; the others see the whole plane, some of them badly.
#
# Where the last column says *elsewhere*, a target is something else than the teacher's answer for the same branch: the form is the loss's *curvature*, and its centre is not $e = 0$.
#
# - The **anchor** of DASH adds $0.1\,|S_c - \varepsilon|^2$, a form in $e_c - (\varepsilon - T_c)$. It raises $Q_{cc}$ by 0.1 and draws $e_c$ towards the best denoiser {eq}`eq-anchor`.
# - **Label dropout** hides the label of a share $p = 0.1$ of the images and then compares $S_u$ with $T_c$: $(1-p)\,|e_c|^2 + p\,|e_u - \mathrm{gap}_T|^2$. For an exact teacher the pull of $\mathrm{gap}_T$ averages to zero over the labels that are possible
#   at $x_t$; where only one is, it does not ({numref}`fig-tower`).
# - **Scratch** has the same curvature, but both targets are the noise.
#
# Three rows of the book's tables are absent: FitNets compares features, too, magnitude pruning is fine-tuned with scratch's loss, and a single head has no branches.
#
# We check the matrices against the code that trains. A form is half the Hessian, and neither depends on what the teacher answers. So we give `dashlib`'s objectives 50,000 "images" of one pixel, a teacher that answers noise, and a student
# that is this teacher plus one number in each branch, and differentiate the loss twice.


# %% tags=["hide-input"]
def drifting(batch, e_c, e_u):
    def model(x_t, t, y):
        cond, uncond = batch.teacher.cond + e_c, batch.teacher.uncond + e_u
        # or both branches in one forward, of twice the size
        null = (y == 10)[:, None, None, None]
        return (
            torch.cat([cond, uncond])
            if len(y) > len(cond)
            else torch.where(null, uncond, cond)
        )

    model.null_label = 10
    return model


# %%
def half_hessian(objective):
    def loss(e):
        return objective.total(objective.terms(drifting(fake, *e), fake)).mean()

    return torch.autograd.functional.hessian(loss, torch.zeros(2).double()).numpy() / 2


# %% tags=["hide-input"]
torch.manual_seed(0)
x, y = torch.randn(4, 50_000, 1, 1, 1).double(), torch.arange(50_000) % 10
# p = 0.1
fake = data.Batch(x[0], y, y, torch.where(y == 0, 10, y), x[1], Branches(x[2], x[3]))
for row, form in FORMS.items():
    off = np.abs(half_hessian(TRAINED[row]) - form.matrix).max()
    assert off < (0.1 if row == "multi_w" else 1e-9), row

# %% [markdown]
# All agree to rounding, multi-$w$ up to the sampling error of 50,000 scales.
#
# ## Level sets
#
# The errors that cost one lie on an ellipse whose half axes are one over the roots of the eigenvalues, or, with a null direction, on a pair of parallel lines.
#
# Which errors are alike to an objective, and what does it do to them? Drag the point: through it runs each objective's level set, and an arrow shows where gradient descent would move it. Below is the size of the guided error that it implies at every $w$.
#
# **Try:** raise $w$ from 1, with the point at $(0.6, 0.8)$. **See:** at $w = 1$ composite is cond-only, and multi-w is the same, for there is only one scale to draw. As $w$ grows the composite's strip tilts towards the diagonal; at $w = 4$ it is a single line through the point, the loss is zero and the arrow has no length. Multi-w over $[1, w]$ closes the strip
# to an ellipse, long and thin, in nearly the same direction. Gap match and DASH do not move: a strip along the diagonal and, but for the anchor, a circle.
#
# ```{live} geometry
# :picture: /_static/geometry.png
# :alt: Level sets of six objectives through one point of the plane of branch errors, their gradients and losses
# :width: 100%
# The errors $(0.6, 0.8)$ at $w = 1$: losses, their level lines and gradients, and the guided error at every scale.
# ```

# %% tags=["remove-cell", "skip-execution", "nbval-skip"]
# JupyterLab and Colab show the explorer above when this cell is run.
from dashbook.live import Explorer

Explorer("geometry")

# %% [markdown]
# ## Where a condition number comes from
#
# For a random scale $w$ the form is $\mathbb E\,v v^\top$ with $v = (w, 1-w)$, and two lines of algebra give
#
# $$ \det Q = \operatorname{Var}(w), \qquad \operatorname{tr} Q = \mathbb E\,w^2 + \mathbb E\,(1-w)^2 , \qquad \kappa \approx \frac{(\operatorname{tr} Q)^2}{\operatorname{Var}(w)} \ \text{ if large.} $$ (eq-variance)
#
# The *spread* of the scales closes the blind direction, and their *size* makes the other one dear. The best scales are no guidance scales at all: toss a coin between $w = 0$ and $w = 1$, and
# $Q = I/2$. DASH without its anchor **is** a multi-$w$ composite, at the two scales where each branch stands alone.

# %% tags=["hide-input"]
t, tag = torch.arange(1000), partial(geometry.scheduled, TAG())
tirt = results.load("digits/teacher-tirt").importance()
AVERAGES = {"coin: w = 0 or 1": geometry.averaged(0.5, 0.5)}
AVERAGES |= {
    f"w ~ U[{a}, {b}]": multi_w(a, b) for a, b in ((0, 1), (1, 2), (1, 4), (1, 8))
}
AVERAGES |= {
    "TAG, all 1,000 timesteps": tag(t),
    "TAG, the sampler's 50 timesteps": tag(t[::20]),
}
AVERAGES |= {
    "TAG, weighted by TIRT": tag(t, tirt),
    "TAG, at t = 300 alone": tag(t[300:301]),
}

# %% tags=["hide-input"]
lines = []
for name, form in AVERAGES.items():
    trace, variance = form.cc + form.uu, abs(np.linalg.det(form.matrix))
    lines.append(
        [name, f"{trace:.3f}", f"{variance:.4f}", *geometry.conditioning(form)]
    )
kappa = {name: form.condition for name, form in AVERAGES.items()}
assert kappa["coin: w = 0 or 1"] == FORMS["dash_no_an"].condition == 1
assert math.isinf(FORMS["composite"].condition) and math.isinf(
    FORMS["gap_match"].condition
)
assert np.allclose(FORMS["composite"].null, (0.6, 0.8)), "(w - 1, w) / 5 at w = 4"

# %% tags=["hide-input"]
assert round(kappa["w ~ U[1, 4]"]) == 131
assert round(kappa["TAG, the sampler's 50 timesteps"]) == 141
assert round(kappa["TAG, all 1,000 timesteps"]) == 135
assert kappa["TAG, weighted by TIRT"] > 1000 and math.isinf(
    kappa["TAG, at t = 300 alone"]
)
assert kappa["w ~ U[1, 2]"] > kappa["w ~ U[0, 1]"] < 10
soft = AVERAGES["w ~ U[1, 4]"].axes[0]
assert 3 < angle(soft) - angle((0.6, 0.8)) < 5, (
    "softest of multi-w: near composite's null"
)
Markdown(markdown(["scales", "trace", "Var(w)", "κ", "softest"], lines))

# %% [markdown]
# We had noted five numbers before this chapter was written: 1; infinite; infinite; about 131 for $w \sim U[1, 4]$; about 141 for the composite averaged over TAG. Four are as noted. The fifth depends on the timesteps:
# 141 is the average over the **50 timesteps that the released sampler visits**; over all 1,000 timesteps, which training draws from, it is 135, and with the weights of TIRT Transfer more than a thousand, because those
# weights sit where $w(t)$ hardly varies.
#
# A network is told $t$, and at any one timestep TAG has *one* scale. The loss there is a plain composite, blind to one direction (last line). The average protects only
# against errors that are the same at all timesteps. Multi-$w$ draws its scale independently of $t$ and sees the plane everywhere.
#
# ## What a weak direction costs
#
# In the plane itself, gradient descent with rate $\eta$ multiplies the error along an eigenvector of eigenvalue $\lambda$ by $1 - 2\eta\lambda$ in every step. The best $\eta$ shrinks the stiffest and the
# softest alike, by $(\kappa - 1)/(\kappa + 1)$ a step, so a decimal digit takes about $1.15\,\kappa$ steps. In a null direction the error stays what it was.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Remaining error of gradient descent in the plane of branch errors against step, one line an objective"}, "figure": {"caption": "What is left of an error that begins alike in all directions: gradient descent on each form, at half of the largest stable rate.", "name": "fig-descent"}}
shown = (
    "composite",
    "gap_match",
    "multi_w",
    "cond_only_dropout",
    "gap_match_cond",
    "dash_no_an",
)
count, left = np.arange(401), {}
for row in shown:
    low, high = FORMS[row].eigenvalues
    left[row] = sum((1 - value / high) ** (2.0 * count) for value in (low, high)) / 2
assert (
    left["composite"][-1] == left["gap_match"][-1] == 0.5 and left["dash_no_an"][1] == 0
)
assert left["cond_only_dropout"][60] < 1e-3 < 0.1 < left["multi_w"][100]
show(geometry.descent(left, dashed="gap_match"))  # it lies on composite

# %% [markdown]
# In {numref}`fig-descent` composite and gap match (dashed, on the same line) lose the half of the error that they see at once and keep the other half for ever. DASH, drawn without its anchor, is done in one step, dropout ($\kappa = 9$) and gap match with cond-only ($\kappa \approx 7$)
# in a few dozen, multi-$w$ needs hundreds.
#
# This picture simplifies. A network is trained in its weights, where every step moves both branches at once; Adam rescales each *weight*, not each direction of this plane; and
# a student of small capacity stops at an error that no step size removes. A flat direction says what the loss does not *ask*. What the network *does* there may still be decided by the architecture and by
# where training began. That is measured below.
#
# ## What a residual does to the sample
#
# A sampler at scale $w$ sees one combination only, $S_w - T_w = w\,e_c + (1-w)\,e_u$. The table has five residuals of length one, and the guided error that each implies:

# %% tags=["hide-input"]
RESIDUALS = {"conditional": (1, 0), "common drift": (1, 1), "null of w = 4": (3, 4)}
RESIDUALS |= {"unconditional": (0, 1), "gap": (1, -1)}
RESIDUALS = {name: geometry.unit(direction) for name, direction in RESIDUALS.items()}


def guided(name, w):
    return np.abs(geometry.guided_error(*RESIDUALS[name], w))


ws = np.linspace(0, 6, 121)
assert np.ptp(guided("common drift", ws)) < 1e-12 and np.all(
    np.diff(guided("gap", ws[20:])) > 0
)
assert (
    guided("null of w = 4", 4)
    < 1e-9
    < 0.1
    < min(guided("null of w = 4", v) for v in (3, 5))
)
lines = [
    [n, *(f"{abs(guided(n, w)):.2f}" for w in (0, 1, 2, 3, 4, 6))] for n in RESIDUALS
]
Markdown(markdown(["residual", *(f"w = {w}" for w in (0, 1, 2, 3, 4, 6))], lines))

# %% [markdown]
# Common drift costs the same at every $w$; an error of the gap grows with $w$; the residual $(0.6, 0.8)$ disappears at $w = 4$, and *only* there; an error of the conditional branch grows like $w$, one of the unconditional branch like $w - 1$. The explorer above draws the curve of any other residual.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Guided errors of five residuals against the guidance scale"}, "figure": {"caption": "The guided error that five residuals of length one imply, by guidance scale.", "name": "fig-residuals"}}
implied = {name: (ws, guided(name, ws)) for name in RESIDUALS}
what = {"xlabel": "guidance scale w", "ylabel": "guided error", "ylim": (-0.2, 8)}
what["title"] = "Drift shows alike at every w, the gap more and more"
show(plots.lines(implied, **what))

# %% [markdown]
# At $w = 4$ an error in the difference of the branches weighs $7/\sqrt2$, common drift of the same length $1/\sqrt2$, a seventh. That is the composite's own view, too (its stiff direction is $(4, -3)$).
#
# ## Where trained students lie
#
# The two errors of every pixel of many held-out images are a cloud of points in the plane, whose second moments are the matrix $M$ of {eq}`eq-form`. Its root mean square in any direction, the guided error at any $w$ and the mean loss under any form follow from it.
#
# Stored gap reports hold the mean squares of $e_c$, of $e_u$ and of their difference over 10,000 pairs, and $2\,e_c e_u = e_c^2 + e_u^2 - (e_c - e_u)^2$. One live evaluation, of seed 0 on
# 500 fresh pairs, shows the clouds themselves and checks that step.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Clouds of pixel errors of a cond-only, a composite and a DASH student, with their ellipses and blind lines"}, "figure": {"caption": "Branch errors of 3,200 pixels each (TIRT Transfer, seed 0), the ellipse of their second moments at two root mean squares, and the null direction of the objective, where it has one.", "name": "fig-clouds"}}
run_of = {
    row: results.load(f"digits/{row}-transfer-s0")
    for row in ("cond_only", "composite", "dash")
}
noisy = noisy_pairs(datasets.load_dataset("digits").test, Schedule(), pairs=500, seed=1)
truth = predict(results.load("digits/teacher-tirt").model(), noisy)
clouds = {
    row: geometry.errors(predict(run.model(), noisy), truth)
    for row, run in run_of.items()
}
show(geometry.clouds(clouds, {row: FORMS[row].null for row in clouds}))

# %% tags=["hide-input"]
long = {row: moments(cloud).eigenvalues[1] ** 0.5 for row, cloud in clouds.items()}
assert long["composite"] > 2 * max(long["cond_only"], long["dash"])
for row, run in run_of.items():
    stored = stored_moments(run.metrics["gap"]["overall"])
    assert np.allclose(moments(clouds[row]).matrix, stored.matrix, rtol=0.2), (
        "500 against 10,000"
    )

# %% [markdown]
# In {numref}`fig-clouds` the composite's cloud is a needle along its null direction, more than twice as long as anything in the other panels. Cond-only's cloud is stretched upwards, but leans over from its own null direction, the vertical. The cloud of DASH, whose
# form prefers no direction, lies along the diagonal.
#
# Now all rows, all seeds. DASH serves as the yardstick: its form has no direction to hide in. The next cell measures for each row where its errors lie, how large they are along and across the softest direction of its own objective, compared with DASH's,
# and in which direction it is *worse* than DASH, the main axis of $M_{\text{row}} - M_{\text{DASH}}$.

# %% tags=["hide-input"]
FORMS["fitnets"] = FORMS["cond_only"]  # as far as outputs go
DIGITS = {row: results.select(row, "transfer") for row in FORMS}
assert set(HEADLINE) <= set(DIGITS) and all(len(DIGITS[row]) == 3 for row in HEADLINE)
yardstick = overall(DIGITS["dash"])
AT = {
    row: geometry.placement(overall(seeds), yardstick, FORMS[row])
    for row, seeds in DIGITS.items()
}

# %% [markdown]
# *Main axis* is the angle of the cloud's long axis (0° conditional, 45° common drift, 90° unconditional), *long : short* the ratio of root mean squares along its axes, and *soft* the null or softest direction of the student's own objective. Mean squares are then divided by those of
# DASH: *along* this softest direction, and *across* it. *Excess* is the direction in which the student is worse than DASH, *best w* the scale with the smallest guided error. A dash: DASH's own form has no soft direction to speak of, and no excess over itself.

# %% tags=["hide-input"]
Markdown(geometry.students(DIGITS, AT))

# %% tags=["hide-input"]
by_seed = [stored_moments(run.metrics["gap"]["overall"]) for run in DIGITS["composite"]]
assert all(abs(angle(m.axes[1]) - angle((3, 4))) < 2 for m in by_seed), (
    "along its null direction"
)
assert AT["composite"]["soft"] > 10 and AT["composite"]["stiff"] < 1, (
    "worse along, better across"
)
assert (
    abs(AT["composite"]["excess"] - angle((3, 4))) < 2 and 3 < AT["composite"]["w"] < 4
)
assert 50 < AT["cond_only"]["main"] < 80, "cond-only itself leans ..."
assert abs(AT["cond_only"]["excess"] - 90) < 6, (
    "... but what it has beyond DASH is vertical"
)
assert 0.8 < AT["cond_only"]["stiff"] < 1.25, "its conditional branch is like DASH's"
assert abs(AT["dash"]["main"] - 45) < 2 and 3.7 < AT["dash"]["ratio"] < 4.3, (
    "round form, long cloud"
)
assert 1.1 < AT["cond_only_dropout"]["soft"] < 1.4, "κ = 9 hardly shows"
assert all(0.3 < AT[row]["w"] < 1 for row in ("dash", "cond_only_dropout", "scratch"))

# %% [markdown]
# **Composite** lies along its null direction, for every seed within two degrees: along it its mean square is more than ten times that of DASH, and *across* it less than DASH's. Its scale of least error is a little below the 4 it was trained at.
#
# **Cond-only**'s main axis leans between 45° and 90°, because it also has the errors that every small student has. What it has *beyond* DASH points along its null direction, straight up, and its conditional branch is as good as DASH's.
#
# **Dropout** has $\kappa = 9$: it looks at the unconditional branch a ninth as much as at the other. Its unconditional mean square is higher than DASH's by some twenty or thirty per cent, not nine times. A direction that is seen at all, long enough, is learnt.
#
# ### By timestep
#
# Stored reports have twenty bins of the timestep, and the five headline rows exist under uniform weights, too. The picture shows three of them; the cell asserts the rest.

# %% tags=["hide-input"]
WEIGHTS = {"transfer": "TIRT Transfer", "uniform": "uniform"}
plain = {row: results.select(row, "uniform") for row in DIGITS if row in HEADLINE}
RUNS = {"transfer": DIGITS, "uniform": plain}
BINS = sorted(plain["dash"][0].metrics["gap"]["per_timestep"], key=int)


def in_one_bin(rows, start):
    reports = {
        row: [run.metrics["gap"]["per_timestep"] for run in rows[row]] for row in rows
    }
    return {
        row: stored_moments(*(r[start] for r in seeds))
        for row, seeds in reports.items()
    }


# %% tags=["hide-input"]
LAID = {
    (w, start): in_one_bin(rows, start) for w, rows in RUNS.items() for start in BINS
}
for at in LAID.values():
    base, needle = at["dash"], at["composite"]
    assert abs(angle(needle.axes[1]) - angle((3, 4))) < 4.5, "composite, at every t"
    assert abs(angle((at["cond_only"] - base).axes[1]) - 90) < 11, (
        "cond-only beyond DASH"
    )
    assert (
        abs(angle(base.axes[1]) - 45) < 4
        and base.eigenvalues[1] > 4 * base.eigenvalues[0]
    )
    assert needle.eigenvalues[1] > 2 * base.eigenvalues[1]

# %% [markdown]
# The same holds in every one of the twenty bins and under both weightings: composite's main axis within 4.5° of its null direction, cond-only's excess within 11° of the vertical, DASH within 4° of the diagonal. The dashed line of the next picture is composite's null direction.
#
# Where do the errors lie at each timestep? **Try:** play through the timesteps, then switch the weights. **See:** composite keeps to its line from almost clean images to almost pure noise, and reaches further along it under uniform weights. Cond-only rises highest at low noise and sinks towards the others at high noise. DASH stays near the diagonal, largest at low noise and
# smallest somewhere around $t = 700$.


# %% tags=["hide-input"] mystnb={"image": {"alt": "Ellipses of branch errors of three stored students in one bin of timesteps"}}
def in_bin(start, weights):
    drawn = {row: LAID[weights, start][row] for row in FEW}
    return geometry.ellipses(drawn, FORMS["composite"].null, reach)


FEW = ("composite", "cond_only", "dash")
reach = 1.05 * max(
    math.sqrt(max(at[row].cc, at[row].uu)) for at in LAID.values() for row in FEW
)
bins = Parameter("timesteps", BINS, [f"{s} to {int(s) + 49}" for s in BINS], start=4)
explorer(
    in_bin, bins, Parameter("students' weights", list(WEIGHTS), list(WEIGHTS.values()))
)

# %% [markdown]
# Some of the numbers. The last column is cond-only's mean square of $e_u$ over that of DASH.

# %% tags=["hide-input"]
lines, worse = [], {}
for (w, start), at in LAID.items():
    base, cond_only, needle = at["dash"], at["cond_only"], at["composite"]
    worse[w, start] = cond_only.uu / base.uu
    degrees = [angle(m.axes[1]) for m in (base, needle, cond_only - base)]
    cells = [*(f"{v:.1f}°" for v in degrees), f"{needle.along((3, 4)):.2f}"]
    if int(start) % 200 == 0:
        lines.append(
            [f"{WEIGHTS[w]}, t from {start}", *cells, f"{worse[w, start]:.1f}"]
        )

# %% tags=["hide-input"]
for w in WEIGHTS:
    assert max(worse[w, s] for s in BINS[2:8]) > 3 * min(worse[w, s] for s in BINS[12:])
    sizes = {int(s): LAID[w, s]["dash"].eigenvalues[1] for s in BINS}
    assert 500 < min(sizes, key=sizes.get) < 850 and max(sizes, key=sizes.get) < 100
for s in BINS:
    few, many = (LAID[w, s]["composite"].along((3, 4)) for w in WEIGHTS)
    assert few < many, "composite reaches further under uniform weights"
header = ["students", "DASH: axis", "composite: axis", "cond-only: excess"]
Markdown(
    markdown(
        [*header, "composite: mean square along null", "cond-only: null branch"], lines
    )
)

# %% [markdown]
# ### What shared weights do to a free direction
#
# Why is DASH's cloud not round? Its *loss* prefers no direction. But both branches are computed by one set of weights, and their targets differ by the small gap only: a detail that this student can't reproduce, it misses with the label and without it. We read the long axis as
# a property of the *network and its task*: shared weights favour **common behaviour**.
#
# If so, sharing should help where the free direction is against it, and not where it is along it. Cond-only's free direction is $(0, 1)$: one branch alone would have to drift. Composite's is $(3, 4)$, nearly the diagonal. How bad are their unconditional branches, compared with a branch that outputs nothing?

# %% tags=["hide-input"]
silent = truth.uncond.square().mean().item()
of_silence = {row: moments(cloud).uu / silent for row, cloud in clouds.items()}
assert (
    of_silence["dash"]
    < of_silence["cond_only"]
    < 0.2
    < 0.5
    < of_silence["composite"]
    < 1
)
print("error of the unconditional branch, in units of that of an output of zero:")
print(", ".join(f"{row} {value:.2f}" for row, value in of_silence.items()))

# %% [markdown]
# Cond-only's null branch was never trained and *denoises*: all its weights but the row of the null class were trained for the other branch. Composite's was trained in every step, and errs by more than half as much as an output of zero. Weight sharing does bias
# the solution, but towards branches that are alike, not towards the teacher's. It helps the gap least.
#
# ## The other rows
#
# Of the rows that the paper's table also has, or that take DASH apart, four test the picture further. (FitNets is listed with cond-only's form.)

# %% tags=["hide-input"]
others = ("multi_w", "gap_match", "fitnets", "dash_no_un")
assert all(len(DIGITS[row]) == 3 for row in others)
assert abs(AT["gap_match"]["main"] - 45) < 0.5 and AT["gap_match"]["soft"] > 25
assert AT["gap_match"]["stiff"] < 1 and 0.9 < overall(DIGITS["gap_match"]).uu < 1.1
assert all(
    abs(AT[row]["excess"] - 90) < 5 for row in ("cond_only", "fitnets", "dash_no_un")
)
assert 0.8 < AT["multi_w"]["stiff"] < 0.9 and 1.5 < AT["multi_w"]["soft"] < 2, (
    "κ = 131, a little"
)
multi, dash = ([overall([run]) for run in DIGITS[row]] for row in ("multi_w", "dash"))
along, across = FORMS["multi_w"].axes
assert min(m.along(along) for m in multi) > max(m.along(along) for m in dash)
assert max(m.along(across) for m in multi) < min(m.along(across) for m in dash)
Markdown(geometry.students({row: DIGITS[row] for row in others}, AT))

# %% [markdown]
# Gap match is the clearest case: its cloud is a line along the diagonal, with some thirty times DASH's mean square along it and root mean squares near 1, those of the noise itself. Across the diagonal, where the error of the gap lies, it is *better* than DASH. DASH without $L_{un}$ is cond-only again, with an anchor; FitNets, too, is worse than DASH only along cond-only's null direction.
#
# Multi-$w$ shows what a *large but finite* condition number does. It is better than DASH across its soft direction and worse along it, beyond the spread of the seeds, but by tens of per cent and not by a factor of 131.
#
# ## What we found

# %% tags=["hide-input"]
found = f"""
**Answer.** Yes, where it is blind: along its null direction composite has
{AT["composite"]["soft"]:.0f} times DASH's mean square, gap match
{AT["gap_match"]["soft"]:.0f} times, and across it each has less than DASH.

- **Matrices.** In the plane of branch errors: DASH without its anchor κ =
  {FORMS["dash_no_an"].condition:.0f}, with it {FORMS["dash"].condition:.1f}; gap match
  with cond-only {FORMS["gap_match_cond"].condition:.2f}; label dropout
  {FORMS["cond_only_dropout"].condition:.0f}; multi-w over U[1, 4]
  {kappa["w ~ U[1, 4]"]:.1f}, softest along ({soft[0]:.3f}, {soft[1]:.3f}); cond-only,
  composite and gap match ∞, with null directions (0, 1), (0.6, 0.8) at w = 4, (1,
  1)/√2. All agree with Hessians of the code that trains.
- **A correction.** The composite averaged over TAG has κ =
  {kappa["TAG, the sampler's 50 timesteps"]:.1f} over the sampler's 50 timesteps,
  {kappa["TAG, all 1,000 timesteps"]:.1f} over all, {kappa["TAG, weighted by TIRT"]:.0f}
  under TIRT's weights, and ∞ at each single timestep, which is where a network that is
  told t is trained."""

# %% tags=["hide-input"]
Markdown(
    found
    + f"""
- **Students lie where their objective does not look.** Composite: main axis
  {AT["composite"]["main"]:.1f}° (null {angle((3, 4)):.1f}°); mean square along it
  {AT["composite"]["soft"]:.0f} times DASH's, across it {AT["composite"]["stiff"]:.2f}
  times. Cond-only's excess over DASH: {AT["cond_only"]["excess"]:.0f}° (null 90°). Gap
  match: {AT["gap_match"]["main"]:.1f}° (null 45°), {AT["gap_match"]["soft"]:.0f} times
  DASH along it.
- **Rank counts for much, conditioning for little.** Seen weakly is still seen: label
  dropout (κ = 9) has {AT["cond_only_dropout"]["soft"]:.2f} times DASH's mean square in
  its soft direction, multi-w (κ = 131) {AT["multi_w"]["soft"]:.2f} times.
- **The network has a geometry of its own.** DASH's form is round, its errors are not:
  {AT["dash"]["ratio"]:.1f} : 1 along {AT["dash"]["main"]:.0f}°, common drift. Weight
  sharing keeps branches *alike*: cond-only's untrained null branch has
  {of_silence["cond_only"]:.2f} of the error of an output of zero, composite's, which is
  free to drift together with the other, {of_silence["composite"]:.2f} (digits, seed 0).
"""
)

# %% [markdown]
# Where a form asks nothing, the network decides. In every blind row measured it decided otherwise than the teacher.
#
# ## Exercises
#
# **1.** Show that $|e_c|^2 + |e_u|^2 = 2|m|^2 + \tfrac12|d|^2$ with the mean $m = (e_c + e_u)/2$ and the difference $d = e_c - e_u$. What is it in the plane? Which share of its error has the gap of a student whose $M$ has long axis at 45° and ratio $r : 1$?
#
# ````{admonition} Solution
# :class: dropdown
# Expand, or note that $\sqrt2\, m$ and $d/\sqrt2$ are the coordinates along $(1, 1)$ and $(1, -1)$: it is Pythagoras in a frame turned by 45°, and the trace of $M$ in that frame. The gap's part is $|d|^2/2$, the minor axis: a share of
# $1/(1 + r^2)$. For DASH on digits, $r \approx 4$, that is about one part in seventeen, which is why the errors of branches say so little about the gap.
# ````
#
# **2.** Derive {eq}`eq-variance`. For which distribution of scales in $[1, 4]$ is the condition number smallest?
#
# ````{admonition} Solution
# :class: dropdown
# With $m_1 = \mathbb E w$, $m_2 = \mathbb E w^2$: $Q = \begin{pmatrix} m_2 & m_1 - m_2 \\ m_1 - m_2 & 1 - 2m_1 + m_2 \end{pmatrix}$, and $\det Q = m_2(1 - 2m_1 + m_2) - (m_1 - m_2)^2 = m_2 - m_1^2$. Smallest $\kappa$ means smallest
# $(\operatorname{tr} Q)^2/\det Q$. For a given mean the variance is largest with all mass at the ends, $w = 4$ with probability $q$, else 1. Try values of $q$:
# ```python
# shares = np.arange(0.01, 1, 0.01)
# kappas = {q: geometry.averaged(1 + 3 * q, 1 + 15 * q).condition for q in shares}
# min(kappas, key=kappas.get), min(kappas.values())
# ```
# Few large scales are enough: $q \approx 0.04$ gives $\kappa \approx 9$. (It is the trade of dropout: most of the time cond-only, sometimes something else.)
# ````
#
# **3.** The composite student's best scale is a little *below* the 4 it was trained at. Why not 4?
#
# ````{admonition} Solution
# :class: dropdown
# Its $M$ is the needle along $(3, 4)$ plus the error that every small student has, which is common drift. By `best_w`, $w^\star = (M_{uu} - M_{cu}) / (M_{cc} - 2M_{cu} + M_{uu})$. The needle alone gives 4; common drift has
# $M_{cc} = M_{cu} = M_{uu}$ and adds nothing; but the rest across the diagonal, an error of the gap, wants the two errors averaged, $w = \tfrac12$, and pulls $w^\star$ towards it.
# ````
#
# **4.** A student is trained with DASH but $\lambda_{un} = 0.1$ instead of 1 (and no anchor). What are its form and $\kappa$? From the table of dropout, what would you expect of its unconditional branch?
#
# ````{admonition} Solution
# :class: dropdown
# $Q = \operatorname{diag}(1, 0.1)$ and $\kappa = 10$ (`form_of(make_objective("dash", unconditional=0.1, anchor=0.0))`), almost dropout's, which is $0.9$ times $\operatorname{diag}(1, \tfrac19)$. So an unconditional error above DASH's by some tens of per cent, less than dropout's perhaps: its target is $T_u$
# itself and has no noise. Not a factor of ten. It would have to be trained to know.
# ````
