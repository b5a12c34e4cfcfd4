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
# (ch-tirt)=
# # Timestep importance
#
# ## Overview
#
# **Question.** A diffusion loss is an average over a thousand tasks, one for each noise level, and each task needs a weight. *Timestep-importance rebalanced training* (TIRT), the second part of DASH {cite}`shafi2026dash`, lets the
# teacher learn the weights while it trains. *TIRT Transfer* hands them to the student, frozen. Does learned importance find the timesteps that matter, does it converge, and does the transfer help the student? You will
#
# - see what each timestep weighs under TIRT, Min-SNR and uniform weights;
# - derive the gradient that the learned importance follows, check it, and watch it through the training of our teacher;
# - compare students: TIRT Transfer, importance learned anew, uniform weights and Min-SNR.
#
# Models and numbers are ours, on 8×8 digits; CIFAR-10 is in {ref}`ch-cifar`. We could read the paper's abstract,
# the authors' README and notes by others, not the body. We do not know what it argues for TIRT there.

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
import numpy as np
import torch
from IPython.display import Markdown
from scipy.stats import spearmanr

from dashbook import plots, tables, tirt
from dashbook.comparison import compared
from dashbook.paper import NAMES
from dashbook.tables import frechet, gap, off
from dashbook.tirt import drift, losses, shares, smooth
from dashbook.widgets import Parameter, explorer
from dashlib import datasets, results
from dashlib.losses import mse
from dashlib.metrics import spreads
from dashlib.schedule import Schedule
from dashlib.weighting import TIRT, MinSNR, Uniform, transfer

schedule, digits = Schedule(), datasets.load_dataset("digits").test
teacher = results.load("digits/teacher-tirt")

# %% [markdown]
# ## The weighting, as published
#
# TIRT keeps one number $\lambda_t$ for each timestep, zero at first, and weights timestep $t$ by
#
# $$
# \omega_t = b_t\,\sigma(\lambda_t), \qquad b_t = \min(\mathrm{SNR}_t, \gamma), \quad \gamma = 5,
# $$ (eq-tirt-omega)
#
# with $\sigma$ the logistic function. So $\lambda_t$ can move the weight between nothing and its *base* $b_t$, but not
# above. The weights are divided by their mean,
#
# $$
# \hat\omega_t = \frac{\omega_t}{\frac1T\sum_s \omega_s}, \qquad
# L = \frac1T \sum_t \hat\omega_t\,\ell_t ,
# $$ (eq-tirt-loss)
#
# where $\ell_t = \mathbb E\,\lVert \varepsilon_\theta(x_t, t, y) - \varepsilon\rVert^2$ is the loss at $t$. The teacher minimises $L$ over its weights $\theta$ *and* over $\lambda$. For the student, $\lambda$ is copied and
# frozen, and $\hat\omega_t$ multiplies every term of the distillation loss.
#
# In code the weight of all timesteps is two lines. With the $\lambda$ that our teacher learned it is what `dashlib` stored with the run:


# %%
base = schedule.snr().clamp(max=5.0).float()  # min(SNR_t, gamma)


def tirt_weight(lam):
    """Importance of all timesteps, of mean one: base times sigmoid(lambda)."""
    omega = base * torch.sigmoid(lam)
    return omega / omega.mean()


# %%
lam = teacher.trace["lambda"][-1].double()
torch.testing.assert_close(tirt_weight(lam).float(), teacher.importance())

# %% [markdown]
# The figure shows what our teacher learned, its start ($\lambda = 0$), and two weightings that learn nothing: uniform, and Min-SNR {cite}`hang2023minsnr` for a
# loss on the noise, $\min(\gamma/\mathrm{SNR}_t, 1)$. A weight of 2 means "counts twice as much as under uniform weights".

# %% tags=["hide-input"] mystnb={"image": {"alt": "Weights of all timesteps: TIRT's two curves are high below t = 250 and vanish above 600, Min-SNR's rises from zero."}, "figure": {"caption": "Four weightings, each of mean one.", "name": "fig-tirt-weights"}}
learned, initial = teacher.importance(), TIRT(schedule).importance().detach()
min_snr, uniform = MinSNR(schedule).importance(), Uniform(schedule).importance()
weights = {"TIRT, learned": learned, "TIRT, at its start": initial}
weights |= {"Min-SNR for ε": min_snr, "uniform": uniform}
curves = {name: (range(1000), of) for name, of in weights.items()}
title = "TIRT weights the low noise, Min-SNR the high"
what = {"xlabel": "timestep t", "ylabel": "weight (mean 1)", "title": title}
plots.show(plots.lines(curves, **what))

# %% [markdown]
# In {numref}`fig-tirt-weights` the two TIRT curves sit near their maximum at low noise while Min-SNR is close to zero; between $t = 300$ and $400$
# the two cross; towards pure noise TIRT's weight vanishes and Min-SNR's is at its own maximum. Learning bends the curve
# (it lowers the left end and raises the middle), yet the base $b_t$ dictates its shape.
#
# ### A weighting of your own
#
# What does a weight buy? A student of chapter {ref}`ch-playground`, whose teacher is exact, trains in this page under the weights that you set.
#
# **Try:** train under TIRT as published; then lift the slider at $t = 800$ to its end, or drag the curve there, and train again. Then start from uniform.
#
# ```{live} importance
# :picture: /_static/importance.png
# :alt: Weights of all timesteps under TIRT, Min-SNR, EDM2's uncertainty, and uniform
# :width: 100%
# Four weightings that the explorer starts from: λ and $u$ as stored digits runs learned them.
# ```
#
# **See:** the lift lowers the error at $t \ge 700$ by two fifths, and costs a few per cent at $t < 200$. Uniform weights bring it below a tenth, and pay with two fifths
# more error at $t < 200$: so small a student cannot have both. The loss is weight *times* error: four fifths of what is left
# lie at $t < 200$ under each of the three.

# %% tags=["remove-cell", "skip-execution", "nbval-skip"]
# JupyterLab and Colab show the explorer above when this cell is run.
from dashbook.live import Explorer

Explorer("importance")

# %% [markdown]
# ## Where the weight lies
#
# Add the weights up from the left, and the curve says which share of all weight lies at or below a timestep.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Cumulative share of weight over timesteps for four weightings"}, "figure": {"caption": "Share of all weight that lies on timesteps up to t.", "name": "fig-tirt-mass"}}
assert learned[0] < initial[0]
assert learned[300] > max(initial[300], min_snr[300]) and learned[400] < min_snr[400]
curves = {name: (range(1000), of.cumsum(0) / of.sum()) for name, of in weights.items()}
what = {"xlabel": "timestep t", "ylabel": "share of weight up to t"}
what["title"] = "Two thirds of TIRT's weight lie at t ≤ 300"
plots.show(plots.lines(curves, **what))

# %% [markdown]
# {numref}`fig-tirt-mass` in three numbers a weighting:

# %% tags=["hide-input"]
for omega in (learned, initial):
    clean, noisy, noisiest = shares(omega)
    assert clean > 2 / 3 and noisy < 0.1 and noisiest < 0.02
assert shares(min_snr)[0] < 0.2 < 0.3 < shares(min_snr)[2]
rows = [
    [name, *(f"{share:.1%}" for share in shares(of))] for name, of in weights.items()
]
Markdown(tables.markdown(["weighting", "t ≤ 300", "t ≥ 500", "t ≥ 700"], rows))

# %% [markdown]
# TIRT spends more than two thirds of its weight on the least noisy 30% of the timesteps, and next to nothing on the noisiest
# 30%, where every sample begins. Learning moved a little weight up; the base decides.
#
# ### A weight for another loss
#
# There is a reason to doubt the base. Predicted noise $\hat\varepsilon$ and predicted image $\hat x_0$ are two readings of one
# prediction, and their errors differ by a known factor:
#
# $$
# \begin{aligned}
# \lVert \hat x_0 - x_0 \rVert^2 &= \lVert \hat\varepsilon - \varepsilon \rVert^2 \,/\, \mathrm{SNR}_t , \quad\text{hence} \\
# \min(\mathrm{SNR}_t, \gamma)\,\lVert \hat x_0 - x_0 \rVert^2 &= \min(1, \gamma/\mathrm{SNR}_t)\,\lVert \hat\varepsilon - \varepsilon \rVert^2 .
# \end{aligned}
# $$ (eq-tirt-x0)
#
# Min-SNR is *written* $\min(\mathrm{SNR}_t, \gamma)$ for a loss on images and
# $\min(1, \gamma/\mathrm{SNR}_t)$ for a loss on noise. TIRT uses the first formula with the second loss. Seen from the images,
# its base is $\mathrm{SNR}_t \min(\mathrm{SNR}_t, \gamma)$: the factor $\mathrm{SNR}_t$ is applied twice. A check of {eq}`eq-tirt-x0` on the
# teacher's predictions for held-out digits:

# %% tags=["hide-input"]
model, answers = teacher.model(), {}
noise = torch.randn(digits.x.shape, generator=torch.Generator().manual_seed(0))
for t in (10, 300, 600, 900):
    ts = torch.full((len(digits),), t)
    x_t = schedule.add_noise(digits.x, noise, ts)
    answers[t] = eps = model(x_t, ts, digits.y)
    snr = schedule.snr(ts).float()
    on_images = snr.clamp(max=5) * mse(schedule.predict_x0(x_t, eps, ts), digits.x)
    on_noise = (5 / snr).clamp(max=1) * mse(eps, noise)
    torch.testing.assert_close(on_images, on_noise, rtol=1e-3, atol=1e-6)

# %% [markdown]
# Both sides agree image by image. We cannot tell whether the published base is a slip or a choice. `dashlib` has the other
# one as `TIRT(schedule, base="eps")`; everything below is as published.
#
# ## What λ learns: easy, not hard
#
# "Importance" suggests that timesteps on which the model does badly would gain weight. The gradient says the reverse.
# With $\Omega = \sum_s \omega_s$, equation {eq}`eq-tirt-loss` is $L = \sum_t \omega_t \ell_t / \Omega$; the quotient rule gives
# $\partial L/\partial\omega_t = (\ell_t - L)/\Omega$, and with $\partial\omega_t/\partial\lambda_t = b_t\,\sigma'(\lambda_t)$
#
# $$
# \frac{\partial L}{\partial \lambda_t} = \frac{b_t\,\sigma'(\lambda_t)}{\Omega}\,\bigl(\ell_t - L\bigr) .
# $$ (eq-tirt-gradient)
#
# The factor in front is positive. Descent goes against the gradient, so $\lambda_t$ **falls where $\ell_t$ is above the weighted
# mean loss $L$ and rises where it is below**: the quickest way to lower a mean is to count its large
# entries less. To check this, we measure $\ell_t$ of both stored teachers, on eight held-out digits a timestep.

# %% tags=["hide-input"]
plain_teacher = results.load("digits/teacher-uniform")
loss_t, loss_uniform = (
    losses(m, digits, schedule).mean(1) for m in (model, plain_teacher.model())
)

# %% [markdown]
# The function below is equation {eq}`eq-tirt-gradient`. A hidden cell compares it with automatic differentiation of `dashlib`'s `TIRT`, at the learned $\lambda$,
# and with central finite differences at ten timesteps.


# %%
def tirt_gradient(lam, loss_t):
    """Slope of the weighted mean loss along each lambda_t, in closed form."""
    s = torch.sigmoid(lam)
    mean_loss = (tirt_weight(lam) * loss_t).mean()
    return base * s * (1 - s) * (loss_t - mean_loss) / (base * s).sum()


# %% tags=["hide-input"]
def weighted_mean_loss(lam):
    weighting = TIRT(schedule).double()
    weighting.lam.data = lam
    return weighting.reduce(loss_t, torch.arange(1000)), weighting


L, weighting = weighted_mean_loss(lam.clone())
L.backward()
s, formula = torch.sigmoid(lam), tirt_gradient(lam, loss_t)
torch.testing.assert_close(weighting.lam.grad, formula, rtol=1e-9, atol=1e-15)
for t in range(0, 1000, 100):
    step = 1e-3 * torch.eye(1000).double()[t]
    slope = (
        weighted_mean_loss(lam + step)[0] - weighted_mean_loss(lam - step)[0]
    ).item() / 2e-3
    assert abs(slope - formula[t]) < 1e-4 * abs(formula[t])

# %% [markdown]
# The three agree. At the end of training $\lambda_t$ should then be negative where $\ell_t > L$ and positive
# where $\ell_t < L$.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Loss per timestep of the two teachers above the learned lambda"}, "figure": {"caption": "Above: the loss of the two stored teachers at each timestep (mean over 20 neighbours) and the weighted mean loss L of the TIRT teacher. Below: its learned λ. Grey: the timesteps harder than L.", "name": "fig-tirt-sign"}}
hard = (smooth(loss_t) > L.item()).astype(int)
assert set(np.diff(hard)) <= {0, -1}, "one stretch of hard timesteps, at the left"
measured = {"TIRT teacher": loss_t, "uniform teacher": loss_uniform}
plots.show(tirt.signs(measured, L.item(), lam))

# %% [markdown]
# In {numref}`fig-tirt-sign` $\lambda$ crosses zero where the loss crosses $L$: it is low
# on the left, where the noise is faint and the error large, and high on the right. The upper panel also shows the price of missing weight: from $t \approx 800$ on
# the TIRT teacher gets worse again, and the uniform teacher does not. In numbers:

# %% tags=["hide-input"]
correlation, factors = spearmanr(lam, loss_t).statistic, s.max() / s.min()
agree = ((lam < 0) == (loss_t > L)).double().mean().item()
noisy_end = (loss_t[900:].mean() / loss_uniform[900:].mean()).item()
assert correlation < -0.8 and agree > 0.9 and factors < 2 and noisy_end > 5
Markdown(
    "Rank correlation of λ with the loss over the 1,000 timesteps: "
    f"**{correlation:.2f}**. The sign of λ is the one that the gradient predicts "
    f"at **{agree:.0%}** of them. "
    f"λ runs from {lam.min():.2f} to {lam.max():.2f}, so the learned factor σ(λ) "
    f"differs by no more than {factors:.2f} times between any two timesteps. At t "
    f"≥ 900 the TIRT teacher errs {noisy_end:.0f} times as much as the uniform "
    "one."
)

# %% [markdown]
# So TIRT learns *easy, not hard*. That is not a property of
# digits. It follows from {eq}`eq-tirt-gradient` for any model; only the place of the crossing is ours.
#
# ### Through training
#
# The run kept $\lambda$ as it went.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Learned lambda and the importance at four times of training"}, "figure": {"caption": "λ and the importance after parts of the training.", "name": "fig-tirt-training"}}
kept = teacher.trace["lambda"][1:]
assert len(kept) == 60
assert -lam.min() < lam.max() and abs(lam[999]) < 1e-3 < 0.2 < lam[980]
lambdas = {f"{done:.0%}": kept[round(60 * done) - 1] for done in (0.05, 0.25, 0.5, 1)}
omegas = {name: transfer(of, schedule).importance() for name, of in lambdas.items()}
means = {
    title: {name: tirt.smooth(of, 10) for name, of in named.items()}
    for title, named in {"λ": lambdas, "importance (mean 1)": omegas}.items()
}
what = {"title": "λ moves, the importance hardly", "named_in": 0}
figure = plots.panels(means, 10, "timestep t", **what)
figure.axes[0].set(ylim=(-0.7, 3.0))
plots.show(figure)

# %% [markdown]
# In {numref}`fig-tirt-training` $\lambda$ fans out from zero at every timestep at once, quickly at first, then ever more slowly. The importance on
# the right hardly notices most of it: to the right of $t = 600$ even a large $\lambda$ multiplies a base that is almost nothing.
#
# ### Why timesteps without weight move, too
#
# By {eq}`eq-tirt-gradient` the gradient is proportional to $b_t$, which falls over many orders of magnitude. Yet $\lambda$ is *large*
# where $b_t$ is tiny. The reason is the optimiser: Adam divides a gradient by its root mean square, and a constant factor
# such as $b_t$ cancels. A batch of $B$ timesteps contains a given $t$ about $B/T$ times; when it does, $\lambda_t$ feels
# $\ell_t T/B - L$, and otherwise $-L$. The mean of that is $\ell_t - L$, its mean square $(\ell_t - L)^2 + \ell_t^2\,T/B$, and hence
#
# $$
# \frac{\mathrm d\lambda_t}{\mathrm d(\text{sum of learning rates})} \approx \frac{L - \ell_t}{\sqrt{(L-\ell_t)^2 + \ell_t^2\,T/B}} .
# $$ (eq-tirt-adam)
#
# The figure compares it with how far $\lambda$ moved in the second half of training.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Measured drift of lambda and the drift that Adam predicts, over timesteps"}, "figure": {"caption": "How far λ moves for each unit of learning rate, in the second half of training (mean over 20 neighbours).", "name": "fig-tirt-adam"}}
easier, measured = L.item() - loss_t, drift(teacher)
predicted = (
    easier / (easier**2 + loss_t**2 * 1000 / teacher.config["batch_size"]).sqrt()
)
match = np.corrcoef(measured, predicted)[0, 1]
size = ((measured * predicted).sum() / predicted.square().sum()).item()
assert match > 0.9 and 0.3 < size < 1.1 and abs(formula[999]) < 1e-8 < abs(formula[950])
curves = {"measured": tirt.smoothed(measured), "predicted": tirt.smoothed(predicted)}
title = f"correlation {match:.2f}; measured = {size:.2f} × predicted"
plots.show(plots.lines(curves, xlabel="timestep t", ylabel="drift of λ", title=title))

# %% [markdown]
# The shape in {numref}`fig-tirt-adam` is right, with no number fitted; the size is right up to a factor, because the formula
# takes losses to be constant and Adam's averages to be exact. The formula explains why timesteps
# without weight move as fast as any, and why harder timesteps fall more slowly than easy ones rise (their gradient is noisier). At the very last
# timesteps $\lambda$ stays near zero: there the gradient is smaller than the $10^{-8}$ that Adam adds to its root mean square.
#
# ### Does λ converge?
#
# It does not; it stops, because the learning rate goes to zero. Equation {eq}`eq-tirt-gradient` vanishes only where $\ell_t = L$ or where
# $\sigma$ is saturated. Left running, $\lambda_t$ goes to $+\infty$ for the easy timesteps. Then $L$ falls, more
# timesteps are harder than average, and in the end all weight sits on the easiest timestep. To watch this without training any
# network, hold the measured $\ell_t$ fixed and minimise {eq}`eq-tirt-loss` over $\lambda$ alone:

# %%
alone = TIRT(schedule)
adam = torch.optim.Adam(alone.parameters(), lr=0.05)
start = alone.reduce(loss_t, every_t := torch.arange(1000)).item()
for _ in range(2000):
    objective = alone.reduce(loss_t, every_t)
    adam.zero_grad()
    objective.backward()
    adam.step()

# %% tags=["hide-input"]
left = shares(alone.importance())[0]
assert objective.item() < 0.25 * start and left < 0.01
Markdown(
    f"The objective falls from {start:.3f} to **{objective.item():.3f}** while the "
    "network stays exactly as it was, and "
    f"{left:.1%} of the weight is left on t ≤ 300, where {shares(initial)[0]:.0%} "
    "of it was."
)

# %% [markdown]
# In the real run the learning rate ran out long before. Learning rates add up to
# about half a `lr` a step, and by {eq}`eq-tirt-adam` $\lambda$ can go no further than their sum. The learning rate and
# the number of steps set what $\lambda$ "converges" to.
#
# EDM2's uncertainty weighting {cite}`karras2024edm2` is the regularised relative. It learns $u_t$ in
#
# $$ L = \frac1T\sum_t \left( \frac{\ell_t}{e^{u_t}} + u_t \right), \qquad \frac{\partial L}{\partial u_t} = \frac1T\left(1 - \frac{\ell_t}{e^{u_t}}\right) , $$ (eq-tirt-edm2)
#
# where the second term makes it expensive to shut a timestep off. Its optimum is finite, $e^{u_t} = \ell_t$: all timesteps contribute the same to the loss. Importance proper is then put on top, by hand. (In `dashlib`: `Uncertainty`.)
#
# ### Normalised over what?
#
# The text normalises by the mean of $\omega$ over all timesteps, as we do; the authors' code by the mean over the batch. These are different losses.
# Under the second, a sample's weight depends on the rest of its batch:

# %% tags=["hide-input"]
among_clean, among_noisy = (
    torch.tensor([400, 50, 100, 150]),
    torch.tensor([400, 700, 800, 900]),
)
first, second = (
    TIRT(schedule, normalize="batch")(t)[0].item() for t in (among_clean, among_noisy)
)
fixed = [TIRT(schedule)(t)[0].item() for t in (among_clean, among_noisy)]
assert fixed[0] == fixed[1] and second > 5 * first
Markdown(
    f"Timestep 400 weighs {first:.2f} in a batch with three cleaner images and "
    f"{second:.2f} in one with three noisier "
    f"images; normalised over all timesteps it weighs {fixed[0]:.2f} in both."
)

# %% [markdown]
# A batch of noisy images is scaled up until it counts as much as a batch of clean ones, which undoes part of the weighting. With
# batches of 128, as in training, the effect is much smaller than with four.

# %% [markdown]
# ## What it does to students
#
# All students learn from the TIRT teacher, and students of one seed see the same batches: two that share their
# objective differ by the weighting alone. DASH was trained under four: the teacher's frozen $\lambda$ (TIRT Transfer), uniform weights, Min-SNR for
# ε, and a $\lambda$ of the student's own, learned from zero. The first two have three seeds, **the last two one seed
# each**. First, the two $\lambda$ side by side.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Lambda of the teacher and lambda learned anew by the DASH student, over timesteps"}, "figure": {"caption": "λ of the teacher, which TIRT Transfer copies, and λ that a DASH student learned for itself (one seed; means over 20 neighbours).", "name": "fig-tirt-relearned"}}
transfer, plain = results.select("dash", "transfer"), results.select("dash", "uniform")
relearned, snr = (
    results.load("digits/dash-tirt-s0"),
    results.load("digits/dash-min_snr-s0"),
)
dash = {"TIRT Transfer": transfer, "uniform": plain}
dash |= {"TIRT, relearned": [relearned], "Min-SNR for ε": [snr]}
assert len(transfer) == len(plain) == 3
OBJECTIVES = ("scratch", "cond_only", "cond_only_dropout", "composite", "dash")
pairs = {
    o: (results.select(o, "transfer"), results.select(o, "uniform")) for o in OBJECTIVES
}
own_lam, own = relearned.trace["lambda"][-1], relearned.importance()
error = tables.per_timestep([relearned], "cond_mse")[0]
assert spearmanr(smooth(own_lam, 50), error).statistic < -0.7
assert spearmanr(own_lam, lam).statistic > 0.5
assert np.abs(np.subtract(shares(own), shares(learned))).max() < 0.05
curves = {"teacher's": tirt.smoothed(lam), "learned anew": tirt.smoothed(own_lam)}
what = {"title": "A student's own λ has the same shape, smaller"}
plots.show(plots.lines(curves, xlabel="timestep t", ylabel="λ", **what))

# %% [markdown]
# The student's own $\lambda$ in {numref}`fig-tirt-relearned` has much the same shape at a smaller size: it, too, is high where the student errs
# little. By {eq}`eq-tirt-gradient` both just follow their losses, and both
# fall with $t$ over most of the range. They part at the very left, where the teacher's own answer is small (asserted further
# down): denoising fails there, but imitating a small answer is easy. Under either $\lambda$ the weight lies where it lay (no share of the table above moves by more than five
# points), because the base decides.
#
# Next, what becomes of the students. $e_c^2$ and $e_u^2$ are the mean squared errors of the two branches, FD the Fréchet distance of 1,000 samples at each
# guidance scale (lower is better), ± the standard deviation over seeds. *Brightness of 100* is the standard deviation of the mean brightness of the hundred samples that a run keeps ($w = 1.5$; {ref}`ch-rows`).

# %% tags=["hide-input"]
SCALES = ("1", "1.5", "2", "3", "4", "TAG")
GAP = {"rho": "ρ", "cos": "cos", "gap_mse": "gap MSE"}
GAP |= {"cond_mse": "$e_c^2$", "uncond_mse": "$e_u^2$"}
VALUES = {k: gap(k) for k in GAP} | {w: frechet(w) for w in SCALES}
SHOWN = VALUES | {"brightness of 100": tables.brightness("1.5", kept=True)}


def table(keys, digits, header):
    columns = {title: (SHOWN[k], digits) for k, title in zip(keys, header, strict=True)}
    return tables.spreads("DASH under", dash, columns)


Markdown(
    table([*GAP, [*SHOWN][-1]], 3, [*GAP.values(), [*SHOWN][-1]])
    + "\n\n"
    + table(SCALES, 1, ["FD w = 1", *SCALES[1:]])
)

# %% tags=["hide-input"]
fd = {
    k: np.array([[VALUES[w](run) for w in SCALES] for run in of])
    for k, of in dash.items()
}
transferred, again, even = fd["TIRT Transfer"], fd["TIRT, relearned"], fd["uniform"]
for name in ("uniform", "Min-SNR for ε"):
    assert (fd[name].max(0) < np.vstack([transferred, again]).min(0))[
        [0, 1, 2, 5]
    ].all()

# %% tags=["hide-input"]
images = datasets.load_dataset("digits").train.x
real = spreads(images)["luminance"]
names, drawn = ("TIRT Transfer", "uniform"), tables.brightness("1.5")
bright = {k: [drawn(run) for run in dash[k]] for k in names}
assert min(bright["TIRT Transfer"]) > 1.35 * real > 1.15 * max(bright["uniform"])
assert min(bright["TIRT Transfer"]) > 1.2 * max(bright["uniform"])
means = [np.mean(bright[k]) / real for k in names]
Markdown(
    f"Brightness varies by **{real:.3f}** in the data, over 1,000 samples "
    f"{means[0]:.1f} times as much under TIRT Transfer and {means[1]:.1f} times under "
    "uniform weights, apart in every seed: the importance asks for little where "
    "brightness is decided."
)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Frechet distance of DASH students under four weightings against the guidance scale"}, "figure": {"caption": "Samples of DASH students under four weightings: Fréchet distance against the guidance scale (in brackets the number of seeds; shaded: their range).", "name": "fig-tirt-sweep"}}
assert ((even.min(0) < transferred.max(0)) & (even.max(0) > transferred.min(0)))[
    3:5
].all()
assert (abs(again / transferred.mean(0) - 1) < 0.2).all()
assert (abs(fd["Min-SNR for ε"] / even.mean(0) - 1) < 0.2).all()
assert (np.ptp(transferred, 0) > np.ptp(even, 0)).all()
figure, ((ax,),) = plots.axes()
for name, seeds in fd.items():
    plots.draw_scales(ax, SCALES, seeds, label=f"{name} ({len(seeds)})")
ax.set_xticks(plots.at_scales(SCALES), SCALES)
ax.set(xlabel="guidance scale w", ylabel="Fréchet distance", ylim=(0, None))
ax.set_title("Weights that learn nothing are ahead up to w = 2")
plots.name_ends(ax)
plots.show(figure)

# %% [markdown]
# The tables and {numref}`fig-tirt-sweep` say three things. *Transfer and relearning give much the same student*, as far as one seed can tell.
# *Uniform weights and Min-SNR agree, too*, and both are ahead of every TIRT student at $w = 1$, $1.5$, $2$ and
# under TAG. *At $w = 3$ and $4$ the seeds' ranges overlap*. TIRT Transfer also
# depends more on the seed. Cos, gap MSE and the error of either branch are worse under TIRT Transfer than under uniform weights in every seed.
#
# ### Does the weight go where it helps?
#
# Divide a student's error under TIRT Transfer by the error of its twin under uniform weights, timestep by timestep. Below one, the weight has helped.
#
# Is it below one where the weight lies? **Try:** start with DASH and its conditional branch; then look at its gap; then at the other objectives. Each line is one seed.


# %% tags=["hide-input"]
def ratio(objective, key):
    transferred, even = (tables.per_timestep(runs, key) for runs in pairs[objective])
    title = f"{NAMES[objective]}: {GAP[key]}, TIRT Transfer / uniform"
    x, seeds = plots.middles(transferred.shape[1]), transferred / even
    curves = {f"seed {i}": (x, of) for i, of in enumerate(seeds)}
    what = {"xlabel": "timestep t", "ylabel": "ratio of errors", "title": title}
    figure = plots.lines(curves, log=True, **what)
    figure.axes[0].axhline(1, color="black", lw=1)
    figure.axes[0].set_ylim(0.35, 12)
    return figure


names = [NAMES[o] for o in OBJECTIVES]
ERRORS = {"cond_mse": "conditional", "uncond_mse": "unconditional", "gap_mse": "gap"}
keys = Parameter("error", list(ERRORS), list(ERRORS.values()))
explorer(ratio, Parameter("objective", OBJECTIVES, names, start=4), keys)

# %% [markdown]
# **See:** for DASH each branch gains a little at the lowest noise, loses from about $t = 200$ on, and at $t \ge 700$ errs more than twice as much as its
# twin. Even at $t = 300$, where TIRT's weight is still well above one, the error is
# larger than under uniform weights. The gap repeats it more mildly. Scratch behaves alike until the noisiest timesteps, where the TIRT-weighted student is
# *closer* to the TIRT teacher: both neglect the same timesteps, and are wrong there together ({ref}`ch-teacher`). Composite is the exception:
# TIRT brings its branches closer to the teacher's at every timestep, also where it has no weight.

# %% tags=["hide-input"]
errors = {k: [tables.per_timestep(runs, k) for runs in pairs["dash"]] for k in ERRORS}
change = {key: transferred / even for key, (transferred, even) in errors.items()}
for key in change:
    assert max(VALUES[key](run) for run in plain) < min(
        VALUES[key](run) for run in transfer
    )
    assert (change[key][:, 14:] > (1.5 if key == "gap_mse" else 2)).all()
assert min(gap("cos")(run) for run in plain) > max(gap("cos")(run) for run in transfer)
assert (change["cond_mse"][:, :3] < 1).all() and (change["cond_mse"][:, 4:] > 1).all()
assert learned[300:350].min() > 1
for objective, where in (("scratch", -1), ("composite", slice(None))):
    closer = [
        tables.per_timestep(runs, "cond_mse").mean(0) for runs in pairs[objective]
    ]
    assert (closer[0] < closer[1])[where].all()
assert answers[10].square().mean() < answers[300].square().mean() / 2
assert own_lam[:20].mean() > own_lam[50:100].mean()

# %% [markdown]
# ### Every objective
#
# The next table sets TIRT Transfer against uniform weights for every objective, three seeds of each. A
# cell names the better weighting ($\rho$ and cos closer to one, errors and distances smaller) if the paired difference is clear by the
# $t$-test at 5 %, corrected by Holm for the measures of its column, as everywhere in this book; a dash marks the others.

# %% tags=["hide-input"]
lower = VALUES | {key: off(key) for key in ("rho", "cos")}
labels = GAP | {k: f"FD, w = {k}" if k != "TAG" else "FD, TAG" for k in SCALES}
wins = {o: compared(("TIRT", "uniform"), *pairs[o], lower)[0] for o in OBJECTIVES}
rows = [[labels[k], *(wins[o][k] for o in OBJECTIVES)] for k in labels]
Markdown(tables.markdown(["better", *(NAMES[o] for o in OBJECTIVES)], rows))

# %% [markdown]
# Uniform weights are better wherever something is decided: for both branches and the direction of the gap where both branches are trained (scratch,
# cond-only with dropout, DASH), and for cond-only's one trained branch. Of the samples only those of cond-only with dropout are decided, up to
# $w = 2$ and under TAG. DASH's are better under uniform weights in every seed there, but three seeds do not decide it after the correction; {ref}`ch-dash`
# compares more seeds from a better teacher. For composite, whose branch errors are smaller under TIRT in every seed, nothing is decided.
#
# ## What we found

# %% tags=["hide-input"]
a, b = ([frechet(k)(run) for k in SCALES] for run in (teacher, plain_teacher))
names = [w for won in wins.values() for w in won.values()]
clear = {o: {k for k, word in wins[o].items() if word == "uniform"} for o in OBJECTIVES}
assert "TIRT" not in names and not clear["composite"]
for key in ("cond_mse", "uncond_mse"):
    ours, theirs = ([VALUES[key](run) for run in of] for of in pairs["composite"])
    assert max(ours) < min(theirs)
assert clear["cond_only"] == {"cond_mse"} and clear["dash"] == {*GAP} - {"rho"}
assert clear["scratch"] == {"cos", "cond_mse", "uncond_mse"}
assert clear["cond_only_dropout"] == {*labels} - {"3", "4"}
tail = change["cond_mse"][:, 14:].mean()

# %% tags=["hide-input"]
found = f"""
| question | answer on 8×8 digits |
| :-- | :-- |
| Where is the weight? | {shares(learned)[0]:.0%} of TIRT's on t ≤ 300, \
{shares(learned)[2]:.1%} on t ≥ 700; of Min-SNR's for the same loss \
{shares(min_snr)[0]:.0%} and {shares(min_snr)[2]:.0%} |
| What does λ learn? | easy, not hard: rank correlation with the loss \
{correlation:.2f}, sign of the gradient at {agree:.0%} of the timesteps |
| How much? | σ(λ) differs by at most {factors:.2f} times between timesteps, the base \
by many orders of magnitude |
| What do teachers lose? (one seed) | for t ≥ 900 the TIRT teacher errs \
{noisy_end:.0f} times as much as the uniform one; FD {a[0]:.1f} against {b[0]:.1f} at \
w = 1, {a[1]:.1f} against {b[1]:.1f} at w = 1.5 |"""

# %% tags=["hide-input"]
Markdown(
    found
    + f"""
| Transfer or relearn? (one seed relearned) | FD at w = 1.5: \
{transferred.mean(0)[1]:.1f} or {again[0, 1]:.1f} |
| Transfer or uniform, for DASH? (three seeds) | FD at w = 1.5: \
{transferred.mean(0)[1]:.1f} or {even.mean(0)[1]:.1f}; branch error at t \
≥ 700 {tail:.1f} times as large |
| Every objective and measure | uniform wins {names.count("uniform")} of {len(names)}, \
TIRT Transfer {names.count("TIRT")}, {names.count(tables.DASHES)} are undecided |
"""
)

# %% tags=["hide-input"]
transfer, uniform = (
    np.mean([VALUES["cos"](run) for run in runs]) for runs in pairs["dash"]
)
Markdown(f"""
**Answer.** On these digits TIRT Transfer harms DASH. Uniform weights give a student
that is closer to the teacher in both branches and in the gap, which is decided (cos
{uniform:.2f} against {transfer:.2f}).
""")

# %% [markdown]
# The uniform student's samples are better in every seed at every scale up to 2 and under TAG; three seeds
# do not decide that after Holm's correction. Min-SNR for ε is as good as uniform, and relearning $\lambda$ changes little (one seed each). The learned part of the weight is a
# modest factor on a base that leaves little for the noisy half of the process. On any base the gradient favours the
# timesteps that are easy already. No objective is helped beyond doubt.
#
# What this does not say: our runs are short, and longer training would move $\lambda$ further; the images are tiny; all students learned
# from the TIRT teacher, whose answers at high noise are poor; and TIRT on the other base was not trained. We have not seen the paper's own comparison.

# %% [markdown]
# ## Exercises
#
# **1.** Derive the gradient of a *batch* loss, $L_B = \frac1B\sum_i \hat\omega_{t_i} \ell_i$ with $\hat\omega$ normalised over all timesteps, with respect to one
# $\lambda_t$. Show that its mean is {eq}`eq-tirt-gradient` and its mean square gives {eq}`eq-tirt-adam`.
#
# ```{admonition} Solution
# :class: dropdown
# Let $n_t$ samples of the batch have timestep $t$, and $\bar\ell_t$ be their mean loss. With $c_t = b_t\sigma'(\lambda_t)/\Omega$, the quotient rule gives
# $\partial L_B/\partial\lambda_t = c_t\,(n_t \bar\ell_t\,T/B - L_B)$. The count $n_t$ is nearly Poisson with mean $B/T$, so the mean of $n_t T/B$ is 1 and its variance
# $T/B$. Taking $\bar\ell_t \approx \ell_t$ and $L_B \approx L$: mean $c_t(\ell_t - L)$, mean square $c_t^2\,[(\ell_t - L)^2 + \ell_t^2\,T/B]$. Adam moves $\lambda_t$ by about the learning rate times minus
# the first over the root of the second, and $c_t$ cancels.
# ```
#
# **2.** Multiply EDM2's loss term by a base, $L = \frac1T\sum_t (b_t\ell_t/e^{u_t} + u_t)$. What is the optimum, and what does the base then do?
#
# ```{admonition} Solution
# :class: dropdown
# $e^{u_t} = b_t\ell_t$: the learned factor absorbs the base, and every timestep contributes 1 whatever $b_t$ is. A base inside the part that is normalised has no effect at the optimum; emphasis must be
# put where $u_t$ cannot undo it, for instance into the distribution from which $t$ is drawn. TIRT's $\sigma(\lambda_t)$, which cannot exceed one, never absorbs the base.
# ```
#
# **3.** Let $\lambda$ *ascend* the gradient while the network descends. Which timesteps gain weight, and is that what one wants?
#
# ```{admonition} Solution
# :class: dropdown
# Those with $\ell_t > L$, the hard ones, until all weight sits on the hardest: the network then minimises its worst case. For a loss on the noise the hardest timesteps are the
# cleanest ones, where nobody can see the noise and most of the loss cannot be removed. Weight would flow to where there is nothing to learn. Neither direction asks the useful
# question, how much the loss at $t$ would still *fall* if it were given more weight.
# ```
#
# **4.** Take the other base, `TIRT(schedule, base="eps")`, compute its weighted mean of `loss_t`, and say how the learned $\lambda$ would look.
#
# ```{admonition} Solution
# :class: dropdown
# `TIRT(schedule, base="eps").reduce(loss_t, torch.arange(1000))`. This base puts most of its weight on noisy, easy timesteps, so $L$ is lower, and the crossing $\ell_t = L$ moves to the right:
# more timesteps count as hard and lose weight. (This
# teacher's noisiest timesteps come close to $L$ as well, because published TIRT neglected them.) The direction stays easy, not hard, since {eq}`eq-tirt-gradient` holds for any base.
# ```
