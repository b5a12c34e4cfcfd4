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
# (ch-tirt-microscope)=
# # TIRT under the microscope
#
# ## Overview
#
# **Question.** {ref}`ch-tirt` left questions to single runs. Does relearning $\lambda$ differ from copying it? Does Min-SNR equal uniform weights? What would another base do? This chapter asks them with three
# seeds and an interval on every answer. You will
#
# - watch three learned weightings grow side by side, in a teacher and in a student;
# - check the gradient of $\lambda$ by three routes, for both normalisations, and see what normalising by the batch changes;
# - compare DASH students under eight weightings at equal budget;
# - see what the start of the null row does to cond-only, and what the weight of the anchor does to DASH;
# - read a verdict that is computed from the stored runs, not written.
#
# Everything is measured on 8×8 digits, students learn for 1,200 steps, and one teacher (TIRT as published, one seed) answers for all of them. An interval tells how much the *student's seed* matters, given that teacher.

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
from itertools import chain

import numpy as np
import torch
from IPython.display import Markdown
from scipy.stats import spearmanr

from dashbook import microscope as figures
from dashbook import plots, tables, tirt
from dashbook.comparison import holm, paired, quantile, t_interval, verdicts
from dashbook.tables import frechet, gap, off
from dashbook.tirt import smooth
from dashbook.widgets import Parameter, explorer
from dashlib import datasets, metrics, results
from dashlib.schedule import Schedule
from dashlib.weighting import TIRT, MinSNR, Uniform

# %% [markdown]
# ## Three weightings learn
#
# TIRT's importance is a base times a learned factor, $\omega_t = b_t\,\sigma(\lambda_t)$ (equation {eq}`eq-tirt-omega`). *Published* takes $b_t = \min(\mathrm{SNR}_t, 5)$; the *ε base* is Min-SNR's for a loss on the noise, $b_t = \min(5/\mathrm{SNR}_t, 1)$; EDM2's
# *uncertainty* {cite}`karras2024edm2` has no base, and its factor is $e^{-u_t}$ with $u_t$ from {eq}`eq-tirt-edm2`. Each was learned twice: by a teacher of its own (3,000 steps), whose result TIRT Transfer can freeze into a student, and by a DASH student itself (1,200 steps, relearned from zero).
#
# Here are all three at the end: on the left the importance itself, whose mean is one; then what was *learned*, its ratio to the importance at the start, by a teacher and by a student.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Importance that three weightings learned, and its ratio to the start"}, "figure": {"caption": "What three weightings learned: the importance at the end of training, and its ratio to that at the start.", "name": "fig-microscope-learned"}}
LEARNED = {"published": "tirt", "ε base": "tirt_eps", "uncertainty": "uncertainty"}
WHO = {"a teacher": "digits/teacher-{}", "a DASH student, seed 0": "digits/dash-{}-s0"}
runs = {
    (a, n): results.load(of.format(w))
    for n, w in LEARNED.items()
    for a, of in WHO.items()
}
paths = {learned: tirt.path(run) for learned, run in runs.items()}
ends = {"importance, a teacher": {n: paths["a teacher", n][1][-1] for n in LEARNED}}
ends |= {
    f"÷ start, {a.split(',')[0]}": {
        n: paths[a, n][1][-1] / paths[a, n][0] for n in LEARNED
    }
    for a in WHO
}
means = {
    t: {n: tirt.smooth(of, 10) for n, of in named.items()} for t, named in ends.items()
}
what = {"title": "What is learned is little beside the base", "size": (8.6, 3.6)}
plots.show(plots.panels(means, 10, "timestep t", **what))

# %% [markdown]
# In {numref}`fig-microscope-learned`, on the right, all three take weight from low noise, where errors are largest, and the ratios stay near one. On the left the curves remain far apart, because the two bases are, and because uncertainty has none. A learned factor of this size cannot turn one base into another.
#
# The table needs the loss at each timestep: squared errors of the TIRT teacher on held-out digits, eight at each $t$.

# %% tags=["hide-input"]
schedule, digits = Schedule(), datasets.load_dataset("digits").test
teacher, rows = results.load("digits/teacher-tirt"), []
samples = tirt.losses(teacher.model(), digits, schedule)
loss_t = samples.mean(1)


def shown(weights):
    return [f"{share:.1%}" for share in tirt.shares(weights)]


for (who, name), run in runs.items():
    start, now = paths[who, name][0], paths[who, name][1][-1]
    # of a student, 50 wide
    bins = run.metrics.get("gap", {}).get("per_timestep", {}).values()
    errors = [one["cond_mse"] + one["uncond_mse"] for one in bins] or smooth(loss_t, 50)
    factor, order = now / start, spearmanr(smooth(now / start, 50), errors).statistic
    learned = f"{factor.min():.2f} – {factor.max():.2f}"
    rows.append([f"{name}, {who}", *shown(now), learned, f"{order:+.2f}"])

# %% tags=["hide-input"]
assert all(float(row[-1]) < -0.8 for row in rows[:4]), (
    "TIRT, on either base, by either learner"
)
assert all(abs(float(row[-1])) < 0.4 for row in rows[4:]), "uncertainty: no order yet"
fixed = {"Min-SNR for ε": MinSNR(schedule), "uniform": Uniform(schedule)}
rows += [
    [name, *shown(w.importance()), *[tables.DASHES] * 2] for name, w in fixed.items()
]
header = [
    "importance at the end",
    "t ≤ 300",
    "t ≥ 500",
    "t ≥ 700",
    "learned factor",
    "rank corr.",
]
Markdown(tables.markdown(header, rows))

# %% [markdown]
# The bases decide where the weight lies, and whoever learns moves it by some points. The last column correlates the learned factor with the loss, in twenty ranges of $t$ (a teacher's with the TIRT teacher's loss, a student's with its own error): close to $-1$ for TIRT. *Easy, not hard* holds for teachers and students, on either
# base. Uncertainty ought to do the same, since at its optimum $e^{-u_t}$ falls with the loss; but its column shows next to no order.
#
# Does so small a factor change what a student learns, or does the base alone? The student of chapter {ref}`ch-playground` trains in this page under $b_t\,\sigma(k\lambda_t)$. The slider sets $k$: 0 is the published base alone, 1 what its teacher learned.
#
# **Try:** train at 0, then at 1; then start from Min-SNR, the other base, and train again.
#
# ```{live} importance
# :picture: /_static/learned.png
# :alt: Weights by timestep, and the errors of two students
# :width: 100%
# :set: {"lambda": 0}
# A student trained under the base alone (before), and one with the learned factor (now).
# ```
#
# **See:** the factor takes a fifth off the error at $t \ge 700$ and adds a twentieth at $t < 200$. The other base leaves less than a twentieth of the first and doubles the second.

# %% tags=["remove-cell", "skip-execution", "nbval-skip"]
# JupyterLab and Colab show the explorer above when this cell is run.
from dashbook.live import Explorer

Explorer("importance", **{"lambda": 0})

# %% [markdown]
# ### How far can anything be learned?
#
# Adam moves a parameter by about one learning rate a step at most. Uncertainty's $u_t$ has a gradient only when $t$ is drawn, in a share $B/T$ of the steps, $B$ being the batch size. In units of its own size that gradient has a mean of $B/T$ and a mean square of $B/T$, and Adam divides one by the root of the other. So $u_t$ drifts at
# $\sqrt{B/T}$ of the learning rate. Its optimum is $u_t = \log \ell_t$. How far did it get?

# %% tags=["hide-input"]
uncertain = results.load("digits/teacher-uncertainty")
cfg, share = uncertain.config["train"], uncertain.config["batch_size"] / 1000
reach = share**0.5 * cfg["steps"] * (cfg["lr"] + cfg["lr_min"]) / 2
u, optimum = uncertain.trace["u"][-1], loss_t.log()
there = (u < optimum + 0.1).double().mean().item()
assert there < 0.3 and u[500:900].std() < 0.2 * u[500:900].abs().mean()
text = (
    f"The optimum lies between {optimum.min():.1f} and {optimum.max():z.1f}. By the "
    f"sum of its learning rates u can move by about {reach:.2f}; its median moved by "
    f"{u.median():+.2f}, and at {there:.0%} of the timesteps it has come within 0.1 of "
    "the optimum."
)
Markdown(text)

# %% [markdown]
# At this budget *uncertainty* is mostly its beginning: nearly all $u_t$ fall at one speed, and what falls together cancels when weights are normalised. Only at the left end, where the optimum is near, do they part. It is nearly a uniform weighting.
#
# ## The gradient by three routes
#
# {ref}`ch-tirt` checked the gradient of the loss *averaged over all timesteps*. Training sees a batch of $B$ samples. Both normalisations are one batch loss with two choices of the number that divides it,
#
# $$
# L = \frac1Z\sum_i \omega_{t_i}\,\ell_i , \qquad Z = \frac BT\sum_s \omega_s \;\text{ (over all timesteps)} \quad\text{or}\quad Z = \sum_i \omega_{t_i} \;\text{ (by the batch)} .
# $$ (eq-micro-losses)
#
# Let $n_t$ samples of the batch have timestep $t$, with a mean loss of $\bar\ell_t$. The quotient rule gives, for both,
#
# $$
# \frac{\partial L}{\partial\lambda_t} = \frac{b_t\,\sigma'(\lambda_t)}{Z}\,\bigl(n_t\,\bar\ell_t - m_t\,L\bigr), \qquad m_t = \frac BT \;\text{ or }\; m_t = n_t .
# $$ (eq-micro-gradients)
#
# If every timestep is drawn once, both become {eq}`eq-tirt-gradient`. The hidden cells compare the formula with automatic differentiation of `dashlib`'s own loss, and with central differences along each of the 1,000 coordinates, for one batch of 128 real losses at the learned $\lambda$.

# %%
lam, base = teacher.trace["lambda"][-1].double(), TIRT(schedule).double().base
omega = base * torch.sigmoid(lam)


def formula(normalize, t, losses):
    n = torch.bincount(t, minlength=1000).double()
    m = n if normalize == "batch" else torch.full_like(n, len(t) / 1000)
    L, Z = (omega[t] * losses).sum() / (m * omega).sum(), (m * omega).sum()
    slope = omega * (1 - torch.sigmoid(lam))  # of omega along lambda
    return slope / Z * (torch.zeros_like(n).index_add(0, t, losses) - m * L)


# %% tags=["hide-input"]
def batch_loss(lam, normalize):
    weighting = TIRT(schedule, normalize=normalize).double()
    weighting.lam.data = lam
    return weighting.reduce(losses, t), weighting.lam


generator, step = torch.Generator().manual_seed(0), 1e-4
t, which = (torch.randint(high, (128,), generator=generator) for high in (1000, 8))
losses, drawn, rows = samples[t, which], torch.bincount(t, minlength=1000) > 0, []

# %% tags=["hide-input"]
for normalize in ("timesteps", "batch"):
    loss, parameter = batch_loss(lam.clone(), normalize)
    loss.backward()
    closed, differences = formula(normalize, t, losses), torch.zeros(1000).double()
    for i, shift in enumerate(torch.eye(1000).double() * step):
        ends = [batch_loss(lam + s, normalize)[0].item() for s in (shift, -shift)]
        differences[i] = (ends[0] - ends[1]) / (2 * step)
    assert (parameter.grad - closed).norm() < 1e-12 * closed.norm()
    assert (differences - closed).norm() < 1e-6 * closed.norm()
    rows.append(
        [normalize, *(str(int(x.sum())) for x in (closed > 0, closed < 0, closed == 0))]
    )
    assert (
        (closed[~drawn] < 0).all()
        if normalize == "timesteps"
        else (closed[~drawn] == 0).all()
    )

# %% tags=["hide-input"]
assert (formula("timesteps", t, losses)[drawn] > 0).double().mean() > 0.6
Markdown(
    tables.markdown(["mean over", "λ pushed down", "pushed up", "left alone"], rows)
)

# %% [markdown]
# The three routes agree, to $10^{-12}$ (automatic differentiation) and $10^{-6}$ (differences) of the gradient's length. The table counts what this one batch does to the 1,000 $\lambda_t$. By the batch, only timesteps that were drawn move. Over all timesteps, everything that was *not* drawn is pushed up, as if its loss had been zero, and most of what was drawn
# is pushed down, hard: right on average, and noisy.
#
# ## What batch normalisation changes
#
# Over all timesteps, the expectation of $L$ is {eq}`eq-tirt-loss`, whatever the batch size. By the batch $L$ is a ratio of two random sums, and the expectation of a ratio is not the ratio of expectations. With $B = 1$ the weight cancels, $L = \ell_i$: these are *uniform*
# weights, and no gradient for $\lambda$ at all. In between, the *effective* weight of a timestep is its expected weight given that it was drawn, here over 4,000 random batches of each size.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Effective weight of every timestep under batch normalisation for several batch sizes"}, "figure": {"caption": "Expected weight of a timestep when TIRT is normalised by the mean of its batch, for several batch sizes (λ of the TIRT teacher), with the share of all weight on t ≥ 500. Dashed: normalised over all timesteps, the limit of large batches.", "name": "fig-micro-effective"}}
hat = omega / omega.mean()
rest = {
    n: hat[torch.randint(1000, (4000, n - 1), generator=generator)]
    for n in (1, 2, 4, 16, 128)
}
effective = {
    n: (n * hat / (hat + of.sum(1, keepdim=True))).mean(0) for n, of in rest.items()
}
*tail, limit = [(of[500:].sum() / of.sum()).item() for of in (*effective.values(), hat)]
assert tail[0] == 0.5 > 0.25 > tail[2] > tail[3] > tail[4] > limit > 0.95 * tail[4]
assert ((effective[128] - hat).abs() < 0.03 * hat)[:900].all()
shares = dict(zip((f"B = {n}" for n in effective), tail, strict=True))
shares["all timesteps"] = limit
both = zip(shares.items(), (*effective.values(), hat), strict=True)
curves = {f"{n}: {part:.0%}": (range(1000), of) for (n, part), of in both}
what = {"xlabel": "timestep t", "ylabel": "effective weight"}
what |= {"title": "Small batches undo TIRT", "colors": {[*curves][-1]: "black"}}
figure = plots.lines(curves, **what)
figure.axes[0].lines[-1].set(linestyle="--", linewidth=1)
plots.show(figure)

# %% [markdown]
# In {numref}`fig-micro-effective` the bias goes from everything to nothing as the batch grows. Small batches undo TIRT. At 128, which is our batch, no timestep below 900 has its weight changed by more than 3%: the network is trained by the same loss under either rule.
#
# The gradient of $\lambda$ has a bias and a variance of its own. The table has its part along the true gradient {eq}`eq-tirt-gradient`, in units of which 1 is right, over 4,000 batches: the mean with its 95% t-interval, and the standard deviation of a single batch. (The factor $b_t\sigma'(\lambda_t)$ is left out, as Adam cancels it; so are timesteps above 900, where no weight is left.)

# %% tags=["hide-input"]
true, found = loss_t - (hat * loss_t).mean(), {}
true[900:] = 0
for size in effective:
    batches = [
        torch.randint(high, (4000, size), generator=generator) for high in (1000, 8)
    ]
    found[size] = tirt.gradients_along(true, samples, hat, batches)
means = {
    size: [t_interval(one.tolist()) for one in both] for size, both in found.items()
}
spreads = {size: both.std(1) for size, both in found.items()}
assert all(abs(both[0].mean - 1) < 2 * both[0].half for both in means.values())
assert found[1][1].abs().max() < 1e-12
assert means[4][1].high < 1 and abs(means[128][1].mean - 1) < 0.02
assert spreads[128][1] < spreads[128][0] and spreads[2][1] < spreads[2][0]

# %% tags=["hide-input"]
rows = []
for size, both in means.items():
    along = [f"{m.mean:z.2f} ± {m.half:.2f}" for m in both]
    rows.append([str(size), *along, *(f"{s:.2f}" for s in spreads[size])])
header = [
    "B",
    "mean, over all",
    "mean, by the batch",
    "std, over all",
    "std, by the batch",
]
Markdown(tables.markdown(header, rows))

# %% [markdown]
# Over all timesteps there is no bias at any size. By the batch the gradient is too short for very small batches, and at $B = 128$ right to within 2%. Its noise is *smaller*: the push that every absent timestep got is gone.
#
# ### The path that Adam takes
#
# At $B = 128$ loss and mean gradient are the same. One would expect the same $\lambda$, but Adam divides by the root mean square of the gradient, and that differs. By {eq}`eq-micro-gradients` the gradient by the batch is zero unless $t$ is drawn, and then proportional to $\ell_i - L$. With $v_t$ for the variance of the loss at $t$,
#
# $$
# \frac{\mathrm d\lambda_t}{\mathrm d(\text{sum of learning rates})} \approx \sqrt{\frac BT}\;\frac{L - \ell_t}{\sqrt{(L-\ell_t)^2 + v_t}}
# $$ (eq-micro-adam)
#
# takes the place of {eq}`eq-tirt-adam`. The fraction is close to $\pm1$ wherever $\ell_t$ differs clearly from $L$. So this predicts a *step*: two plateaus of equal height, $\pm\sqrt{B/T}$, with the sign of $L - \ell_t$, where {eq}`eq-tirt-adam` predicts a slope that climbs on to the easiest timesteps. (This paragraph was written before the teacher `tirt_batch` had been trained.)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Drift of lambda over the timesteps under both normalisations, measured and predicted"}, "figure": {"caption": "How far λ moves for each unit of learning rate in the second half of a teacher's training (means over 20 neighbours), and what Adam predicts from the losses of the TIRT teacher. Left: normalised over all timesteps, as in {ref}`ch-tirt`. Right: by the batch. r: the correlation of the two below t = 900.", "name": "fig-micro-adam"}}
easier = (hat * loss_t).mean() - loss_t
over_all = easier / (easier**2 + loss_t**2 / share).sqrt()
by_batch = share**0.5 * easier / (easier**2 + samples.var(1)).sqrt()
predicted = {"over all timesteps": smooth(over_all), "by the batch": smooth(by_batch)}
learners = [results.load(f"digits/teacher-{kind}") for kind in ("tirt", "tirt_batch")]
measured = {k: smooth(tirt.drift(r)) for k, r in zip(predicted, learners, strict=True)}
match = {k: np.corrcoef(measured[k][:45], predicted[k][:45])[0, 1] for k in predicted}
plots.show(figures.drifts(measured, predicted, match))

# %% tags=["hide-input"]
told = {
    name: [figures.landmarks(d[name]) for d in (measured, predicted)] for name in match
}
rows = [[name, *chain(*zip(*both, strict=True))] for name, both in told.items()]
steep, flat = (np.ptp(drift[20:45]) for drift in measured.values())
assert flat < 0.5 * steep and min(match.values()) > 0.8
parts, ends = ("at t < 20", "positive from t", "400 to 900"), ("measured", "predicted")
header = ["drift", *(f"{part}, {end}" for part in parts for end in ends)]
Markdown(tables.markdown(header, rows))

# %% [markdown]
# The prediction holds. By the batch the drift is nearly a step, and between $t = 400$ and $900$ less than half as uneven as over all timesteps. (Sizes differ where the formulas' constant losses and exact averages don't hold.) Two rules that are one loss to the network are two paths to $\lambda$: an
# optimiser that divides by the noise turns a difference in noise into a difference in speed.
#
# ## The grid
#
# DASH was trained under three weightings that learn, each in two ways: **frozen** from the teacher that learned it, as TIRT Transfer has it, and **relearned** by the student. Uniform and Min-SNR learn nothing. That makes eight rows of three seeds. All have the same network, budget, optimiser and batches, and the
# same teacher's answers, those of the *published* TIRT teacher: the other teachers hand over their importance and nothing else.
#
# Two measures were named **primary** before any run of this grid was seen, except those that {ref}`ch-tirt` had shown already (three seeds of published, frozen and of uniform; one each of published, relearned and of Min-SNR):
#
# - $e_c^2 + e_u^2$, the mean squared error of both branches against the teacher's, unweighted, over all timesteps: what distillation is for;
# - FD under TAG, the Fréchet distance of 1,000 samples drawn as the authors' evaluation draws them.
#
# The others decide nothing. All are written so that less is better.

# %% tags=["hide-input"]
WAYS = {"frozen": "transfer_{}", "relearned": "{}"}
STORED = {
    f"{n} ({way})": of.format(w) for n, w in LEARNED.items() for way, of in WAYS.items()
}
STORED |= {
    "published (frozen)": "transfer",
    "Min-SNR for ε": "min_snr",
    "uniform": "uniform",
}
students = {
    name: results.select("dash", weighting) for name, weighting in STORED.items()
}
assert all([run.seed for run in runs] == [0, 1, 2] for runs in students.values())
configs = [run.config for runs in students.values() for run in runs]
assert all(
    c[key] == configs[0][key] for c in configs for key in ("teacher", "train", "unet")
)

# %% tags=["hide-input"]
BOTH, TAGGED = "e_c² + e_u²", "FD, TAG"
MEASURES = {BOTH: lambda run: gap("cond_mse")(run) + gap("uncond_mse")(run)}
MEASURES |= {
    TAGGED: frechet("TAG"),
    "FD, w = 1.5": frechet("1.5"),
    "FD, w = 4": frechet("4"),
}
MEASURES |= {
    "distance of ρ from 1": off("rho"),
    "1 − cos": off("cos"),
    "gap MSE": gap("gap_mse"),
}
PLACES = dict(zip(MEASURES, (4, 1, 1, 1, 3, 3, 4), strict=True))


def cell(runs, measure):
    return tables.spread(runs, MEASURES[measure], PLACES[measure])


rows = [[name, *(cell(runs, m) for m in MEASURES)] for name, runs in students.items()]
Markdown(tables.markdown(["mean ± std", *MEASURES], rows))

# %% [markdown]
# The 95% interval of the mean of three values with standard deviation $s$ is $\pm 4.30\, s/\sqrt 3 = \pm 2.5\,s$: **three seeds make wide intervals**, because two degrees of freedom say little about $s$ itself.
#
# Pairing the seeds helps. Students of one seed start from the same weights, see the same batches and noise, and are sampled from the same $x_T$. Part of what makes a seed lucky is common to all rows, and cancels if we subtract seed by seed: $d_i = m_i - m_i^{\text{uniform}}$, and $\bar d \pm 4.30\,s_d/\sqrt 3$. Two unrelated groups of three
# would have four degrees of freedom and a factor of 2.78, so pairing pays only if it shrinks the spread by more than $4.30 / 2.78 = 1.55$. The columns *width* give the width of the paired interval over that of the unpaired one. The columns *verdict* hold the paired $t$-test at 5 %, corrected by Holm for the seven rows, as everywhere in this book.

# %% tags=["hide-input"]
uniform = students["uniform"]
rivals = {name: runs for name, runs in students.items() if name != "uniform"}
VERDICTS = {m: verdicts(rivals, uniform, of, margin=0) for m, of in MEASURES.items()}
rows, widths = [], []
for name, runs in rivals.items():
    row = [name]
    for m in (BOTH, TAGGED):
        found = paired(runs, uniform, MEASURES[m])
        each = [
            np.var([MEASURES[m](run) for run in of], ddof=1) for of in (runs, uniform)
        ]
        unpaired = quantile(2 * 3 - 1) * (sum(each) / 3) ** 0.5  # 4 degrees of freedom
        widths.append(found.half / unpaired)
        row += [found.text(PLACES[m]), VERDICTS[m][name].word, f"{widths[-1]:.1f}"]
    rows.append(row)

# %% tags=["hide-input"]
assert len(widths) == 14 and 16 < quantile(3, 1 - 0.05 / 14) < 18
header = [
    "minus uniform",
    *(word for m in (BOTH, TAGGED) for word in (m, "verdict", "width")),
]
narrower = sum(width < 1 for width in widths)
text = (
    f"\n\nPairing gave the narrower interval in {narrower} of {len(widths)} "
    "comparisons."
)
Markdown(tables.markdown(header, rows) + text)

# %% [markdown]
# Without a correction, fourteen comparisons at 95% would yield $14 \times 0.05 = 0.7$ false verdicts on average even if no weighting made a difference. Bonferroni's remedy asks of each a confidence of $1 - 0.05/14$, at which Student's factor for three seeds is about 17 instead of 4.3; Holm's, which the verdicts use, is a little less strict. The explorer shows the three differences themselves.
#
# What survives a stricter confidence? **Try:** start with the two primary measures at 95%, and see which intervals clear the line. Then ask for more; then go through the other measures.


# %% tags=["hide-input"]
def forest(measure, level):
    value, base = MEASURES[measure], [MEASURES[measure](run) for run in uniform]
    rows, words = {}, {1: False, -1: True, 0: None}
    for name, runs in [*rivals.items()][::-1]:
        found = paired(runs, uniform, value, level)
        seeds = np.subtract([value(run) for run in runs], base)
        rows[name] = (found.low, found.high), seeds, words[found.sign]
    return plots.forest(rows, 0, xlabel=f"{measure}, minus uniform's (left: better)")


STRICT = 1 - 0.05 / len(widths)
level = [0.8, 0.95, STRICT], ["80 %", "95 %", f"{STRICT:.1%} (Bonferroni)"]
explorer(
    forest,
    Parameter("measure", list(MEASURES)),
    Parameter("confidence", *level, start=1),
)

# %% [markdown]
# **See:** orange is worse than uniform weights, blue is better, grey undecided, at the confidence chosen. The verdicts, corrected by Holm for the rows:


# %% tags=["hide-input"]
def called(measure, word):
    """The rows of a verdict."""
    found = VERDICTS[measure].items()
    return ", ".join(name for name, one in found if one.word == word) or "none"


rows = [[m, called(m, "worse"), called(m, "better")] for m in MEASURES]
Markdown(
    tables.markdown(["", "worse than uniform", "better than uniform"], rows, left=3)
)

# %% [markdown]
# ### The base, the learning, or the handing over?
#
# *Handing over*: frozen against relearned, for each weighting; if the teacher's importance is worth having, frozen is better. *The base*: published against the ε base, with everything else equal. *Learning as such*: the ε base with a learned factor against Min-SNR, which is the same base
# without one. All are paired by seed; what is decided, after Holm's correction for the rows of a column, stands in bold.

# %% tags=["hide-input"]
CONTRASTS = {
    f"{n}: frozen − relearned": (f"{n} (frozen)", f"{n} (relearned)") for n in LEARNED
}
for way in ("frozen", "relearned"):
    CONTRASTS[f"published − ε base, {way}"] = (f"published ({way})", f"ε base ({way})")
    CONTRASTS[f"ε base ({way}) − Min-SNR"] = (f"ε base ({way})", "Min-SNR for ε")


# %% tags=["hide-input"]
def compare(pairs, measures=(BOTH, TAGGED, "FD, w = 1.5", "FD, w = 4")):
    """Signs of what is decided, by measure, and a table of paired differences."""
    rows, signs = [[name] for name in pairs], {}
    for m in measures:
        tested = [
            verdicts({"": a}, b, MEASURES[m], margin=0)[""] for a, b in pairs.values()
        ]
        corrected = holm([one.different for one in tested])
        found = [one.interval for one in tested]
        signs[m] = [
            one.sign if p < 0.05 else 0 for one, p in zip(found, corrected, strict=True)
        ]
        for row, one, sign in zip(rows, found, signs[m], strict=True):
            row.append("**" * abs(sign) + one.text(PLACES[m]) + "**" * abs(sign))
    return signs, tables.markdown(["95% interval", *measures], rows)


contrasts = {name: (students[a], students[b]) for name, (a, b) in CONTRASTS.items()}
SIGNS, table = compare(contrasts)
Markdown(table)

# %% [markdown]
# The verdict at the end counts these rows. Where nothing is decided, the interval says how large an effect three seeds could overlook; it doesn't say that there is none.
#
# ## Five teachers, two normalisations
#
# Teachers as samplers (FD), one seed each; then the DASH students to which `tirt` and `tirt_batch` handed their importance, three seeds each, by the batch minus over all timesteps.

# %% tags=["hide-input"]
kinds = {"TIRT, over all timesteps": "tirt", "TIRT, by the batch": "tirt_batch"}
kinds |= {
    "TIRT, ε base": "tirt_eps",
    "uncertainty": "uncertainty",
    "uniform": "uniform",
}
teachers = {name: results.load(f"digits/teacher-{w}") for name, w in kinds.items()}
scales, bright = ("1", "1.5", "2", "TAG"), tables.brightness("1.5", kept=True)
rows = [
    [name, *(f"{frechet(w)(run):.1f}" for w in scales), f"{bright(run):.3f}"]
    for name, run in teachers.items()
]
batch = results.select("dash", "transfer_tirt_batch")
handed = {"DASH": (batch, students["published (frozen)"])}
head = ["teacher, FD", "w = 1", "w = 1.5", "w = 2", "TAG", "brightness of 100"]
table = tables.markdown(head, rows)
Markdown(f"{table}\n\n{compare(handed)[1]}")

# %% [markdown]
# Both rows of students learn with a *frozen* weighting, for which the rule matters only through the $\lambda$ that it left behind; and by {eq}`eq-micro-adam` that differs by at most a factor $\sigma(\lambda)$ on the same base.
#
# ## The start of the null row
#
# {ref}`ch-collapse` exchanged the null *row* of a cond-only student after training, and found that it decides little. Here the row starts differently *before* training, at zero or at the mean of the class rows, and one run starts the whole class table small (standard deviation 0.02 instead of 1).
#
# The first two need no training. Cond-only never asks for the null label; its row gets no gradient and only decays a little (weight decay), and the conditional branch can't know what it is. So we rebuild those students for all three seeds from the stored ones, by putting in the row that would have been there, and compare seed 0 with the runs that were really trained.

# %% tags=["hide-input"]
noisy = metrics.noisy_pairs(digits, schedule)
target = metrics.predict(teacher.model(), noisy)
starts, plain = ("zero", "mean_of_classes"), results.select("cond_only", "transfer")
trained = {
    s: results.load(f"digits/cond_only-transfer-null_init_{s}-s0") for s in starts
}
gaps = {s: [figures.gap_after(run, s, noisy, target) for run in plain] for s in starts}
for start, run in trained.items():
    assert np.isclose(gap("cond_mse")(run), gap("cond_mse")(plain[0]), rtol=1e-5)
    for key in ("rho", "cos", "uncond_mse"):
        assert np.isclose(gap(key)(run), gaps[start][0][key], rtol=2e-3)
    assert np.isclose(frechet("1")(run), frechet("1")(plain[0]), rtol=1e-3)
small = results.load("digits/cond_only-transfer-embed_std_0.02-s0")
first, rows = {"random": plain[0], **trained, "random, small table": small}, []
gaps |= {"random": list(map(tables.metric("gap", "overall"), plain))}

# %% tags=["hide-input"]
gaps |= {"random, small table": [tables.metric("gap", "overall")(small)]}
for start, run in first.items():
    assert all(1.5 < one["rho"] < 2.7 and 0.4 < one["cos"] < 0.7 for one in gaps[start])
    each = [
        ", ".join(f"{one[key]:.2f}" for one in gaps[start]) for key in ("rho", "cos")
    ]
    fds = [f"{frechet(w)(run):.1f}" for w in scales]
    rows.append([start.replace("_", " "), *each, *fds, f"{bright(run):.3f}"])
header = [
    "null row starts",
    "ρ (each seed)",
    "cos",
    *(f"FD {w}, seed 0" for w in scales),
    "brightness of 100",
]
Markdown(tables.markdown(header, rows))

# %% [markdown]
# The rebuilt students and the trained ones agree: the conditional branch to every digit, ρ and cos to two in a thousand, and FD at $w = 1$, which the null branch does not enter. So the start of the null row is not a setting of the training at all: it is a choice about a network that has been trained already. Every start leaves ρ near two and cos near one half. A random row is not
# the cause of the large gap, and zero or a mean is not its cure. The small table changes more; it is one seed.
#
# ## The weight of the anchor
#
# DASH adds $\lambda_{\text{an}}\,\lVert S_c - \varepsilon\rVert^2$ to its two imitation terms, with $\lambda_{\text{an}} = 0.1$. The optimum of the conditional branch then lies between the teacher and the truth {eq}`eq-anchor`; the unconditional branch has no anchor. The larger the weight, the more the conditional branch may correct
# its teacher, and the less the two branches belong together. Three seeds without an anchor and at 0.1, one seed at each of 0.03, 0.3 and 1, all under TIRT Transfer:

# %% tags=["hide-input"] mystnb={"image": {"alt": "Branch errors and Frechet distance of DASH against the weight of its anchor"}, "figure": {"caption": "DASH by the weight of its anchor, a point for each training seed. Left: squared errors of the branches against the teacher's. Right: Fréchet distances.", "name": "fig-micro-anchor"}}
ANCHORS = {
    0: "dash_no_an",
    0.03: "dash_an_0.03",
    0.1: "dash",
    0.3: "dash_an_0.3",
    1: "dash_an_1",
}
anchored = {weight: results.select(row, "transfer") for weight, row in ANCHORS.items()}
assert all(runs[0].seed == 0 for runs in anchored.values())


def of(value):
    return {weight: [value(run) for run in runs] for weight, runs in anchored.items()}


errors = {"conditional": of(gap("cond_mse")), "unconditional": of(gap("uncond_mse"))}
distances = {"TAG": of(frechet("TAG")), "w = 1.5": of(frechet("1.5"))}
plots.show(
    figures.anchors(
        {"error against the teacher": errors, "Fréchet distance": distances}
    )
)

# %% tags=["hide-input"]
both = compare({"anchor 0.1 − none": (anchored[0.1], anchored[0])})[1]
best = {
    n: min(of, key=lambda w, of=of: of[w][0]) for n, of in (errors | distances).items()
}
lowest = ", ".join(f"{name} at {weight:g}" for name, weight in best.items())
Markdown(f"{both}\n\nLowest at seed 0: {lowest}.")

# %% [markdown]
# The table pairs the two rows that have three seeds. The single runs at the other weights have no interval; the scatter of the three seeds at 0 and 0.1 in {numref}`fig-micro-anchor` is the scale to read them by.
#
# ## What we found


# %% tags=["hide-input"]
def tally(words):
    """Count where the first of a contrast is better or worse, by both measures."""
    each = [[*zip(contrasts, SIGNS[m], strict=True)] for m in (BOTH, TAGGED)]
    signs = [sign for of in each for name, sign in of if words in name]
    better, worse = signs.count(-1), signs.count(1)
    return f"better in {better} and worse in {worse} of {len(signs)} comparisons"


published, text = students["published (frozen)"], "**Answer.** "

# %% tags=["hide-input"]
for m in (BOTH, TAGGED):
    best = min(
        students, key=lambda name: np.mean([MEASURES[m](run) for run in students[name]])
    )
    apart = paired(published, uniform, MEASURES[m]).text(PLACES[m])
    text += (
        f"By {m}, worse than uniform weights: **{called(m, 'worse')}**; better: "
        f"**{called(m, 'better')}**. "
    )
    text += (
        f"TIRT Transfer as published has {cell(published, m)} and uniform "
        f"{cell(uniform, m)}, a difference of {apart}; "
    )
    text += f"the lowest mean is that of *{best}*, {cell(students[best], m)}. "

# %% tags=["hide-input"]
text += (
    "Importance handed over was, against importance relearned, "
    f"{tally('frozen − relearned')}; "
)
text += (
    f"the published base, against the ε base, {tally('published − ε base')}; a learned "
    f"factor on the ε base, against none, {tally('− Min-SNR')}."
)
Markdown(text)

# %% [markdown]
# Beside this verdict, the gradient of $\lambda$ is what its formula says, by three routes and for both normalisations. Normalising by the batch changes the network's loss for small batches only, but changes how $\lambda$ moves at any size, as predicted from Adam alone. The start of the null row leaves cond-only as it is.
#
# What this does not say. *Three seeds* decide large differences only; "undecided" is not "equal". *One teacher* answers for all students. It was trained with published TIRT and is poor at high noise; an error against it there is distance to a poor answer, and FD is the measure for a weighting that neglects these timesteps. *One budget*: by
# {eq}`eq-tirt-adam` a longer training, or a learning rate of its own, would move $\lambda$ and $u$ further. *One objective and one data set*, of 8×8 digits. We have not seen the paper's comparison.
#
# ## Exercises
#
# **1.** Show for $B = 2$ that batch normalisation gives a timestep with little weight *more* than its share, and say by how much as $\omega_t \to 0$.
#
# ```{admonition} Solution
# :class: dropdown
# The effective weight is $\mathbb E_s[2\omega_t/(\omega_t + \omega_s)]$, its share over all timesteps $\omega_t/\mathbb E[\omega_s]$. For $\omega_t \to 0$ the ratio of the two goes to $2\,\mathbb E[1/\omega_s]\,\mathbb E[\omega_s]$ (where the first expectation is finite), which is at least 2, since $\mathbb E[1/\omega] \ge 1/\mathbb E[\omega]$ by Jensen's inequality.
# With a base that falls over many orders of magnitude it is enormous.
# ```
#
# **2.** How many seeds would the comparison of published (frozen) with uniform under TAG need for a 95% interval half as wide, if the spread of the differences stays as it is?
#
# ````{admonition} Solution
# :class: dropdown
# The half width is `quantile(n) * s / sqrt(n)`. Both factors fall:
# ```python
# published = students["published (frozen)"]
# s = paired(published, uniform, MEASURES[TAGGED]).half * 3**0.5 / quantile(3)
# half = {n: quantile(n) * s / n**0.5 for n in range(3, 12)}
# min(n for n in half if half[n] < half[3] / 2)
# ```
# Five: with three seeds more than half of the width is not spread but ignorance of the spread.
# ````
#
# **3.** Over all timesteps the gradient of $\lambda$ is unbiased and noisy, by the batch nearly the reverse. Construct one that is unbiased *and* leaves absent timesteps alone.
#
# ```{admonition} Solution
# :class: dropdown
# Use $Z = \frac BT\sum_s\omega_s$ and $m_t = n_t$, with $L$ replaced by a running mean $\bar L$ of the loss that does not depend on the batch: $\frac{b_t\sigma'(\lambda_t)}{Z}\,n_t(\bar\ell_t - \bar L)$. Its expectation is {eq}`eq-tirt-gradient` with $\bar L$ for $L$. The term $n_t \bar L$ is a control variate: it has the same expectation as $\frac BT \bar L$, and is large just when
# $n_t\bar\ell_t$ is. Whether one wants a better estimate of *this* gradient is another question.
# ```
#
# **4.** What would have to change for uncertainty to reach its optimum in 3,000 steps, and what would it weigh then?
#
# ```{admonition} Solution
# :class: dropdown
# By $\sqrt{B/T}$ times the sum of learning rates $u$ moves about half a unit, and most of the optimum is several units away. A learning rate of its own for $u$, some ten times as large, would do (EDM2 learns $u$ as a small network of the noise level, so that all timesteps move together at every step). Its importance would then be $1/\ell_t$: `(1 / loss_t) / (1 / loss_t).mean()`,
# which weighs the noisy timesteps far more than uniform weights do.
# ```
