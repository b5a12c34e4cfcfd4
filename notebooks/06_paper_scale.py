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
# (ch-paper-scale)=
# # Paper scale: what it costs and how to run it
#
# ## Overview
#
# The chapters before this one show a mechanism on small images. Whoever wants to know whether DASH {cite}`shafi2026dash` does at 32×32 and 64×64 what its authors report has to train
# their networks at their scale. This chapter says how, and what it will cost. You will
#
# - put the two documented settings of the paper's experiment side by side, and see where they disagree;
# - count the FLOPs of the paper's pair of networks, here and now, and read what the pair costs on a GPU of today beside the paper's figures;
# - find that a student with a sixth of the FLOPs is *not* six times as fast there, and look at what supports an explanation;
# - turn a measured training speed into GPU-hours, with every assumption named, and move along the number of GPUs;
# - carry the hours over to other GPUs, Colab's T4 among them, as far as that goes without measuring there;
# - get the commands, each checked against the program that is to run them.
#
# Claims tested: that the networks are the paper's in size; that compression saves what the paper says it saves. **No network of this size was trained for this book**: one GPU was lent for a limited time, and neither CIFAR
# nor ImageNet was at hand. What is measured, what is calculated and what is the paper's is said at each number.

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
    sys.path.insert(0, str(Path("dash-book").resolve()))

# %%
import json
import shlex
from dataclasses import asdict
from pathlib import Path

import numpy as np
from IPython.display import Markdown

from dashlib import cost, efficiency, plots, reference, results
from dashlib.__main__ import main
from dashlib.paper import FURTHER, PAPER
from dashlib.presets import preset
from dashlib.tables import DASHES, markdown
from dashlib.widgets import Parameter, explorer

# %% [markdown]
# ## Two documented settings
#
# The authors' README and the configurations that they released describe the same experiment with different numbers. We can't know which of them made the published table, so `dashlib` carries both as presets:
# `paper_v2` follows the README, `released` the configurations. The table is read from the presets themselves; bold marks a difference.

# %%
SETTINGS = {"paper_v2": preset("cifar10/paper_v2"), "released": preset("cifar10/released")}


def described(p):
    jobs = dict(zip(("teacher", "student"), cost.workloads(p), strict=True))
    rows = {"training images": f"{jobs['teacher'].images:,}"}
    for name, role in (("teacher", p.teacher), ("student", p.student)):
        train = role.train
        rows[f"{name}: steps × batch"] = f"{train.steps:,} × {role.batch}"
        rows[f"{name}: epochs"] = f"{jobs[name].epochs:.0f}"
        rows[f"{name}: learning rate"] = f"{train.lr:g} → {train.lr_min:g}"
        rows[f"{name}: EMA, weight decay"] = f"{train.ema:g}, {train.weight_decay:g}"
    rows["TIRT normalised over"] = "batch" if "batch" in p.teacher.weighting else "timesteps"
    rows["label dropout"] = f"{p.teacher.label_dropout:g} a {p.teacher.dropout_per}"
    rows["sampler: timesteps, clamp"] = f"{p.sampling.spacing}, {p.sampling.clamp}"
    return rows


# %%
left, right = (described(p) for p in SETTINGS.values())
differing = [key for key in left if left[key] != right[key]]
assert {"training images", "teacher: steps × batch", "student: learning rate"} <= set(differing)
assert left["teacher: learning rate"] == right["teacher: learning rate"]
rows = [[f"**{k}**" if k in differing else k, left[k], right[k]] for k in left]
Markdown(markdown(["CIFAR-10", *SETTINGS], rows))

# %% [markdown]
# Teacher and student see a tenth fewer images under `released`, which keeps a validation set, and its student learns at twice the rate for fewer steps. Not every cell is the authors': where
# no source gives a value, the preset has ours. `Preset.notes` names the source of each (`[R]` README, `[C]` configuration, `[D]` derived, `[ours]`). The sampler of `paper_v2` is ours too, for reasons that chapter {ref}`ch-teacher` shows.
# CIFAR-100 has the same two settings with 100 classes. For ImageNet-64 the README gives sizes, epochs, batch and learning rate, and nothing was released:

# %%
imagenet = preset("imagenet64/paper_v2")


def texts(header, rows):
    """A table of words, aligned left."""
    return Markdown(markdown(header, rows).replace("--:", ":--"))


texts(["ImageNet-64: setting", "source"], [[k, v] for k, v in imagenet.notes.items()])

# %% [markdown]
# ## The pair, counted
#
# Parameters and FLOPs need no GPU. We build both CIFAR-10 networks and count one forward pass of one image; a guided sample of 50 steps takes two branches at each of them, 100 passes.
# A multiply-add counts as two FLOPs; convolutions, linear layers and attention are counted.

# %%
pair = dict(zip(("teacher", "student"), efficiency.pair("cifar10"), strict=True))
forward = {name: efficiency.forward_flops(cfg) for name, cfg in pair.items()}
sampled = {name: 100 * flops / 1e9 for name, flops in forward.items()}
fewer = forward["teacher"] / forward["student"]
for ours, theirs in zip(sampled.values(), cost.PAPER_T4["gflops_sample"], strict=True):
    assert abs(ours / theirs - 1) < 0.01
Markdown(
    f"Teacher **{sampled['teacher']:,.1f}** GFLOPs, student **{sampled['student']:,.1f}**: {fewer:.2f} times fewer. The paper's figures are "
    f"{cost.PAPER_T4['gflops_sample'][0]:,.1f} and {cost.PAPER_T4['gflops_sample'][1]:,.1f}, so both are within one per cent of ours."
)

# %% [markdown]
# So these are the paper's networks, as far as a count can tell.
#
# ## What sampling costs on a GPU
#
# The next table was measured once, with `python -m dashlib bench`, on one GPU of a data centre: the time to sample a batch of 64 images with guidance (both branches go through in one forward pass of 128), and the most memory
# that tensors took. Networks were neither compiled nor quantised. **The paper's columns are from another GPU, a T4**, by other code, and were not measured by us.

# %%
REPORT = cost.stored("efficiency-cifar10-h200")
ROWS = {(row["precision"], row["model"]): row for row in REPORT["rows"]}
BATCH, STEPS = 64, 50
assert {(r["batch"], r["steps"], r["compile"]) for r in ROWS.values()} == {(BATCH, STEPS, False)}
for name, gflops in sampled.items():
    assert abs(ROWS["tf32", name]["gflops_sample"] - gflops) < 1e-6
Markdown(
    f"Measured on **one {REPORT['hardware']}**, torch {REPORT['versions']['torch']}, commit `{REPORT['commit']}`; median of {ROWS['tf32', 'teacher']['repeats']} runs."
)

# %%
LABELS = {
    "parameters": ("parameters, million", 1e-6, 2),
    "gflops_sample": ("GFLOPs a sample", 1, 1),
    "latency_ms": ("ms a batch of 64", 1, 0),
    "peak_mib": ("peak memory, MiB", 1, 0),
}


def cells(key, teacher, student):
    _, unit, digits = LABELS[key]
    shown = [f"{value * unit:,.{digits}f}" for value in (teacher, student)]
    return [*shown, f"**{teacher / student:.2f}**"]


def of(precision, key):
    return tuple(ROWS[precision, name][key] for name in pair)


# %%
rows = []
for key, (label, _, _) in LABELS.items():
    for precision in ("tf32", "bf16") if key in ("latency_ms", "peak_mib") else ("tf32",):
        ours, paper = cells(key, *of(precision, key)), cells(key, *cost.PAPER_T4[key])
        shown = f"{label} ({precision})" if key in ("latency_ms", "peak_mib") else label
        rows.append([shown, *ours, *(paper if precision == "tf32" else [DASHES] * 3)])
ratio = {(p, k): of(p, k)[0] / of(p, k)[1] for p in ("tf32", "bf16") for k in LABELS}
paper_ratio = {k: t / s for k, (t, s) in cost.PAPER_T4.items()}
assert 1.5 < ratio["bf16", "latency_ms"] < ratio["tf32", "latency_ms"] < 2.2
assert paper_ratio["latency_ms"] > 1.5 * ratio["tf32", "latency_ms"]
assert min(ratio[p, "peak_mib"] for p in ("tf32", "bf16")) > paper_ratio["peak_mib"]
header = ["teacher", "student", "ratio"]
paper_header = [f"*paper, T4:* {h}" for h in header]
Markdown(markdown([f"*{REPORT['hardware']}*", *header, *paper_header], rows))

# %% [markdown]
# Memory shrinks more than in the paper's table. Time does not: the ratio of latencies is about **half of the paper's and a third of the ratio of FLOPs**. On this GPU, at this batch, most of what compression saves in arithmetic does not arrive.
#
# ## Where the speed-up went
#
# A GPU works on what the processor sends it, one kernel after another. Small kernels finish before the next is launched, and then it is the launching that takes time: so much for each operator, however little arithmetic it holds.
# How many operators does a forward pass call? We count them, on the CPU, and divide the measured time of a step by their number, and the FLOPs by the time.

# %%
calls = {
    (p, name): cost.operators(cfg, bf16=p == "bf16")
    for p in ("tf32", "bf16")
    for name, cfg in pair.items()
}
step_ms = {key: ROWS[key]["latency_ms"] / STEPS for key in calls}
each_us = {key: 1000 * step_ms[key] / calls[key] for key in calls}
tflops = {key: ROWS[key]["gflops_sample"] * BATCH / ROWS[key]["latency_ms"] for key in calls}
scatter = {key: np.ptp(ROWS[key]["all_latencies_ms"]) / ROWS[key]["latency_ms"] for key in calls}
rows = [
    [f"{name}, {p}", f"{calls[p, name]}", f"{step_ms[p, name]:.1f}", f"{each_us[p, name]:.0f}", f"{tflops[p, name]:.0f}", f"{scatter[p, name]:.0%}"]
    for p, name in calls
]  # fmt: skip
header = ["", "operators a step", "ms a step", "µs an operator", "TFLOP/s", "range of repeats"]
Markdown(markdown(header, rows))

# %% [markdown]
# Four observations point the same way.
#
# 1. *bf16 is slower than tf32*, for both networks. Its products are no slower and its activations are smaller, but autocast has to cast weights and activations, and each cast is an operator of its own. (It also moves bytes; a profile would separate the two.)
# 2. *Time follows operators, not FLOPs.* Between the rows the FLOPs done in a second differ by about a factor of four, the time an operator takes by less than two; the student's two rows and the teacher's in bf16 lie close together. Only the teacher in tf32 takes
#    clearly more an operator: there the GPU has work to do.
# 3. *The student has more than two thirds as many operators as the teacher*, for a sixth of the FLOPs. It is narrower, which saves none, and shallower, which saves a few. The ratio of latencies lies between those of operators and of FLOPs, nearer to that of operators.
# 4. *Repeats scatter most in bf16*, where there are most operators. A GPU that computes without pause repeats itself closely; a processor that is kept waiting does not.
#
# To this adds a habit of our own code: DDIM reads the timestep back at each step, which makes the processor wait for the GPU, so that no launch of the next step can hide behind the work of the last.
# **All this is indirect.** The device time ran out before a profile, a larger batch or a compiled network was measured. These are the experiments that would decide it.

# %%
assert all(ROWS["bf16", name]["latency_ms"] > ROWS["tf32", name]["latency_ms"] for name in pair)
assert 3.5 < max(tflops.values()) / min(tflops.values()) < 4.5
assert max(each_us.values()) / min(each_us.values()) < 2
bound = [v for key, v in each_us.items() if key != ("tf32", "teacher")]
assert max(bound) / min(bound) < 1.3 < each_us["tf32", "teacher"] / max(bound)
for p in ("tf32", "bf16"):
    assert calls[p, "student"] > 2 / 3 * calls[p, "teacher"]
    fewer_calls = calls[p, "teacher"] / calls[p, "student"]
    assert fewer_calls < ratio[p, "latency_ms"] < (fewer_calls + fewer) / 2
assert all(scatter["bf16", name] > scatter["tf32", name] for name in pair)
assert abs(ratio["tf32", "latency_ms"] / paper_ratio["latency_ms"] - 0.5) < 0.1
assert abs(ratio["tf32", "latency_ms"] / fewer - 1 / 3) < 0.05
t4 = [BATCH * g / ms for g, ms in zip(cost.PAPER_T4["gflops_sample"], cost.PAPER_T4["latency_ms"], strict=True)]  # fmt: skip
assert all(
    ours > 5 * theirs for ours, theirs in zip((tflops["tf32", n] for n in pair), t4, strict=True)
)
Markdown(
    f"The paper's T4, if its latency is that of a batch of 64 as well, did {t4[0]:.1f} TFLOP/s for the teacher and {t4[1]:.1f} for the student, where ours did {tflops['tf32', 'teacher']:.0f} and {tflops['tf32', 'student']:.0f}. "
    "The slower a GPU, the more of the time is arithmetic, and the more of it a smaller network saves."
)

# %% [markdown]
# Neither table is wrong. A ratio of latencies belongs to a pair *and* a GPU, a batch, a precision and a program, and should be quoted with them. The ratio of FLOPs is what a compiled student might approach at large batches.
#
# ## How fast training goes
#
# One training step was timed for each of the two: the teacher from scratch, and DASH, where the student sees both branches of each image and the teacher answers for both. By the FLOPs the two cost the same. With $F_T$ and $F_S$ for one forward pass, and
# twice as much for a backward pass,
#
# $$
# \underbrace{3 F_T}_{\text{train the teacher}} \qquad\text{and}\qquad \underbrace{2 F_T}_{\text{it answers}} + \underbrace{2 \cdot 3 F_S}_{\text{train the student}} .
# $$ (eq-cost-flops)

# %%
TIMES = cost.stored("throughput-cifar10-h200")
TIMED = {row["model"]: row for row in TIMES["rows"]}
jobs = cost.workloads(SETTINGS["paper_v2"])
SPEEDS = [cost.measured(TIMES, r, j.flops_image) for r, j in zip(TIMED, jobs, strict=True)]
rows = [
    [name, f"{s.images_per_s:,.0f}", f"{TIMED[key]['ms_per_step']:.1f}", f"{s.flops_image / 1e9:.1f}", f"{s.images_per_s * s.flops_image / 1e12:.0f}", f"{TIMED[key]['peak_mib'] / 1024:.1f}"]
    for name, key, s in zip(("teacher", "student by DASH"), TIMED, SPEEDS, strict=True)
]  # fmt: skip
assert [*TIMED] == ["teacher", "dash"] and SPEEDS[0].batch == SPEEDS[1].batch
assert {row["train_steps"] for row in TIMED.values()} == {20}
assert abs(jobs[1].flops_image / jobs[0].flops_image - 1) < 0.02
assert abs(SPEEDS[0].images_per_s / SPEEDS[1].images_per_s - 4 / 3) < 0.05
header = [f"batch {SPEEDS[0].batch}, {SPEEDS[0].precision}", "images/s", "ms a step", "GFLOPs an image", "TFLOP/s", "peak GiB"]  # fmt: skip
Markdown(markdown(header, rows))

# %% [markdown]
# Equal work, unequal speed: a step of DASH takes a third longer than a step of the teacher. Its student's kernels are small here, too. Where the rest of the time goes was not measured, and one batch size in one precision is all there is.
# So everything that follows extrapolates from **two measured rows**.
#
# ## From speed to GPU-hours
#
# With $n$ GPUs and a global batch of $B$ a run of $K$ steps takes
#
# $$
# \text{hours} = \frac{K \cdot B}{3600 \cdot R \cdot n \cdot \eta(n)}, \qquad \text{GPU-hours} = n \cdot \text{hours},
# $$ (eq-cost-hours)
#
# where $R$ is the measured speed, scaled by FLOPs an image for a network that was not measured, and $\eta$ the share of it that $n$ GPUs keep. It is lost in three places:
#
# - **Small shares.** Each GPU gets $b = B/n$ images. Does half the batch take half the time? If a step is computing, yes; if it is launching kernels, no. Not having measured it, we calculate with both: no lower limit to a step ($f = 0$), or
#   none quicker than the measured one ($f = 1$). Every result below is a *range* between the two.
# - **Waiting.** GPUs in step wait for the slowest; we take off a constant.
# - **Exchanging gradients.** In a ring all-reduce each GPU sends $2\,\frac{n-1}{n} \cdot 4P$ bytes a step for $P$ float32 gradients, over the slowest link of the ring. Frameworks hide a part of it behind the backward pass ([Li et al. 2020](https://arxiv.org/abs/2006.15704)); we hide none.
#
# `dashlib.cost` is this calculation and nothing else. Its assumptions, as it states them:

# %%
ASSUME = {f: cost.Assumptions(floor=f) for f in (0.0, 1.0)}
a = asdict(ASSUME[0.0])
MEANING = {
    "floor": (f"{min(ASSUME):g} and {max(ASSUME):g}", "least time of a step, as a share of the measured step"),
    "parallel": (f"{a['parallel']:g}", "speed that several GPUs keep while they wait for each other"),
    "node": (f"{a['node']}", "GPUs in a machine"),
    "node_gb_s": (f"{a['node_gb_s']:g} GB/s", "out of a GPU within a machine"),
    "network_gb_s": (f"{a['network_gb_s']:g} GB/s", "out of a machine"),
    "speed": (f"{SPEEDS[0].images_per_s:,.0f} and {SPEEDS[1].images_per_s:,.0f} images/s", f"**measured**: {SPEEDS[0].hardware}, batch {SPEEDS[0].batch}, {SPEEDS[0].precision}, not compiled"),
    "same FLOP/s": ("", "networks that were not measured: speed goes down as FLOPs an image go up"),
}  # fmt: skip
assert set(a) < set(MEANING)
texts(["assumption", "value", "of what"], [[k, *v] for k, v in MEANING.items()])

# %% [markdown]
# None but the speed is measured: there was one GPU. The three of waiting and links are round numbers of the kind that data sheets give. Change them with `cost.Assumptions(...)` if you know yours.


# %%
def between(work, speed, gpus, key):
    """A cost at both floors."""
    return [getattr(cost.cost(work, speed, gpus, assume), key) for assume in ASSUME.values()]


def span(values, digits=1):
    low, high = (f"{value:,.{digits}f}" for value in values)
    return low if low == high else f"{low} – {high}"


# %%
NAMES = [f"{d}/{s}" for d in ("cifar10", "cifar100") for s in SETTINGS]
NAMES += ["fashion_mnist", "imagenet64/paper_v2"]
WORK = [(w, s) for n in NAMES for w, s in zip(cost.workloads(preset(n)), SPEEDS, strict=True)]
rows = []
for work, speed in WORK:
    few = 2 * work.name.startswith("fashion")  # digits more for hours below one
    row = [
        work.name,
        f"{work.seen / 1e6:.0f} M",
        span(between(work, speed, 1, "gpu_hours"), 1 + few),
    ]
    for gpus in (8, 64):
        digits = (("hours", 1 + few), ("gpu_hours", few))
        row += [span(between(work, speed, gpus, k), d) for k, d in digits]
    rows.append(row)
Markdown(
    markdown(
        ["*calculated; GPUs:*", "images", "1: h", "8: h", "8: GPU‑h", "64: h", "64: GPU‑h"], rows
    )
)

# %% [markdown]
# **On one such GPU the CIFAR experiment fits into a night**: teacher and student together, with either setting. The authors' configurations speak of about a day for the teacher and two thirds of one for the student, on a P100 of 2016.
# **ImageNet-64 takes days** on one GPU, and there the number of GPUs buys time at little extra cost.
#
# On CIFAR they may buy nothing. A global batch of 64 leaves eight images to each of 8 GPUs, and *one* to each of 64. If steps can't get quicker, the hours stay what they are, and the bill is many times as high. The way to use many GPUs is to train
# many rows of the table at once, one on each.

# %%
c10 = [between(w, s, 1, "gpu_hours") for w, s in WORK[:2]]
total = [sum(pair_) for pair_ in zip(*c10, strict=True)]
assert 4 < total[0] < total[1] < 12
assert total[1] < sum(cost.PAPER_P100_HOURS)
for work, speed in WORK:
    one, eight, many = (between(work, speed, n, "gpu_hours") for n in (1, 8, 64))
    if work.name.startswith("imagenet64"):
        assert one[0] == one[1] > 48 and eight[1] < 1.2 * one[1] and many[1] < 2 * one[1]
    elif work.name.startswith("cifar"):
        hours = [between(work, speed, n, "hours")[1] for n in (1, 8, 64)]
        assert hours[0] < hours[1] < hours[2] and many[1] > 50 * one[1]
Markdown(
    f"CIFAR-10, `paper_v2`, teacher and student on one {SPEEDS[0].hardware}: **{span(total)} hours**, calculated. The authors' configurations: about {cost.PAPER_P100_HOURS[0]:.0f} + {cost.PAPER_P100_HOURS[1]:.0f} hours on a P100 (theirs, not measured by us)."
)

# %% [markdown]
# ### Along the number of GPUs
#
# **Try:** start with CIFAR-10 and add GPUs; watch the right panel. Then switch to ImageNet-64. Solid lines are for $f = 0$, dashed ones for $f = 1$.

# %%
GPUS, ROLES = (1, 2, 4, 8, 16, 32, 64), ("teacher", "student")
COLORS = {"teacher": plots.COLORS["teacher"], "student": plots.COLORS["dash"]}


def draw_band(ax, key, name, gpus):
    """A cost of both networks of a preset over all numbers of GPUs, marked at one of them."""
    for role, work, speed in zip(ROLES, cost.workloads(preset(name)), SPEEDS, strict=True):
        edges = np.array([between(work, speed, n, key) for n in GPUS])
        here = sorted(edges[GPUS.index(gpus)])
        label = f"{role}: {span(here, 1 if key == 'hours' else 2)}"
        for values, style in zip(edges.T, ("-", "--"), strict=True):
            ax.plot(GPUS, values, style, color=COLORS[role], lw=1.5)
        ax.plot([gpus] * 2, here, "o", color=COLORS[role], label=label)
    ax.set(xlabel="GPUs", xscale="log", xticks=GPUS, xticklabels=GPUS)
    ax.axvline(gpus, color="#999999", lw=1, zorder=0)
    ax.minorticks_off()


# %%
def scaling(name, gpus):
    figure, grid = plots.axes(1, 2, size=(7.6, 3.5))
    hours, share = grid[0]
    draw_band(hours, "hours", name, gpus)
    draw_band(share, "efficiency", name, gpus)
    hours.set(title=f"{name}: hours on the clock", yscale="log")
    ticks = (0.1, 0.3, 1, 3, 10) if "cifar" in name else (3, 10, 30, 100)
    hours.set_yticks(ticks, [f"{t:g}" for t in ticks])
    hours.set_ylim(ticks[0] / 1.5, ticks[-1] * 2)
    share.set(title=f"efficiency on {gpus} GPU{'s' * (gpus > 1)}", ylim=(0, 1.45))
    hours.legend(fontsize=9)
    share.legend(fontsize=9, loc="upper right")
    return figure


presets = Parameter("preset", ["cifar10/paper_v2", "imagenet64/paper_v2"])
explorer(scaling, presets, Parameter("GPUs", GPUS, start=3))

# %% [markdown]
# **See:** on CIFAR-10 the solid and the dashed line part at once, and even by the solid one 64 GPUs are slower than 8 for the teacher, because the ring now leaves the machine. The student has fewer gradients to send and loses less. On ImageNet-64, with its batch of 2,048, they are one up to 16 GPUs, and most
# of the efficiency is kept.

# %%
edge = {
    (i, n): [between(*WORK[i], g, k)[0] for g in GPUS]
    for i in range(2)
    for n, k in enumerate(("hours", "efficiency"))
}
assert edge[0, 0][-1] > edge[0, 0][3]
balance = [
    64 * gb * 1e9 / (8 * jobs[0].parameters * SPEEDS[0].images_per_s * a["parallel"])
    for gb in (a["node_gb_s"], a["network_gb_s"])
]  # exercise 1
assert np.allclose(balance, [29, 5], atol=1)
assert all(s >= t for s, t in zip(edge[1, 1], edge[0, 1], strict=True))
for work, speed in WORK[-2:]:
    assert all(len(set(between(work, speed, n, "hours"))) == 1 for n in GPUS[:5])
    assert between(work, speed, 16, "efficiency")[0] > 0.8
assert preset("imagenet64/paper_v2").teacher.batch == 2048

# %% [markdown]
# ### The samples of an evaluation
#
# An FID of this field takes 50,000 samples, and the paper's three sampling seeds make that three times. Sampling needs no exchange between GPUs, so it divides evenly. From the measured latencies (tf32, batch 64), *for one guidance scale*:

# %%
minutes = {
    (name, n): 60 * 3 * cost.sampling_hours(ROWS["tf32", name]["ms_per_image"], gpus=n)
    for name in pair
    for n in (1, 8)
}
assert minutes["teacher", 1] < 60
sweep = 6 * minutes["student", 1] / 60
assert 1 / 3 < sweep / c10[1][1] < sweep / c10[1][0] < 3 / 4
rows = [[name, *(f"{minutes[name, n]:.0f} min", f"{minutes[name, 8]:.0f} min")] for name in pair for n in (1,)]  # fmt: skip
Markdown(markdown(["*calculated:* 3 × 50,000 samples", "1 GPU", "8 GPUs"], rows))

# %% [markdown]
# A sweep over six scales takes six times that: for the student a third to three quarters of the hours of its training, so it belongs into the budget. Inception features and reference statistics come on top; they were not timed.
#
# ### On other GPUs
#
# We measured on one kind of GPU. What of a T4, which Colab lends, an A100 or an H100? Data sheets give two limits of each: how much it multiplies in half precision and how much memory it moves in a second. We calculate a range again. At its quick end the step of
# 64 images takes no longer than half of our step of 128: it launches kernels, which needs no fast GPU. At its slow end it takes longer by whichever of the two limits is further below ours, or as long as our whole step of 128, if that is more.

# %%
SHEETS = {  # dense half-precision TFLOP/s and memory GB/s, as data sheets give them
    "T4": (65, 320),
    "A100 (80 GB)": (312, 2039),
    "H100 (SXM)": (989, 3350),
    "H200": (989, 4800),
}
assert SPEEDS[0].hardware.endswith("H200")
slower = {g: max(o / t for o, t in zip(SHEETS["H200"], s, strict=True)) for g, s in SHEETS.items()}
elsewhere = {
    g: [[best, max(best * factor, launching)] for best, launching in c10]
    for g, factor in slower.items()
}
rows = [
    [g, f"1 – {slower[g]:.1f}" if slower[g] > 1 else "1", *(span(c) for c in elsewhere[g])]
    for g in SHEETS
]
header = ["*calculated*", "times as long", "CIFAR-10 teacher: h", "student by DASH: h"]
Markdown(markdown(header, rows))

# %% [markdown]
# We quote the data sheets at second hand. These are limits, not forecasts: between the T4's two ends lies a factor of fifteen. For the T4 there is a second estimate. If the paper's table gives its latency for a batch of 64, then we know how many FLOPs a second its authors' code did there, and can divide the FLOPs of
# the teacher's training by it. The same division shows something about the other GPU of the documents, the P100.

# %%
on_t4 = jobs[0].seen * jobs[0].flops_image / (t4[0] * 1e12) / 3600
released = cost.workloads(SETTINGS["released"])[0]
on_p100 = released.seen * released.flops_image / (cost.PAPER_P100_HOURS[0] * 3600) / 1e12
P100_FP32 = 9.3  # TFLOP/s in float32, PCIe card: data sheet
assert 0.8 < on_t4 / elsewhere["T4"][0][1] < 1.25 and 40 < on_t4 < 56 and on_p100 > P100_FP32
PRICE = 2.0  # of a GPU-hour, in your currency: assumed, to have a number
big = sum(between(*w, 1, "gpu_hours")[0] for w in WORK[-2:])
Markdown(
    f"- **T4**, at the {t4[0]:.1f} TFLOP/s of the paper's latency: **{on_t4:.0f} hours** for the teacher, close to the upper end above ({elsewhere['T4'][0][1]:.0f}). Count on two days, in several sessions.\n"
    f"- **P100**: about {cost.PAPER_P100_HOURS[0]:.0f} hours for the steps that were released would take {on_p100:.1f} TFLOP/s all the time. The card's peak in float32 is {P100_FP32}: either it computed in half precision, or not all of those steps were made, or the hours are rounded generously.\n"
    f"- **Money**: at {PRICE:g} a GPU-hour (assumed) CIFAR-10 costs {span([PRICE * h for h in total], 0)} and ImageNet-64 {PRICE * big:,.0f}, teacher and student, on one {SPEEDS[0].hardware}."
)

# %% [markdown]
# Prices change too often for a book: put in your provider's.
#
# ## How to run it
#
# Every command below trains, resumes or scores one thing and can be repeated: a run that was stopped goes on from its newest checkpoint. Forward passes are in bf16 where the GPU computes in it and in fp32 elsewhere (`--precision auto`); what was chosen is stored with the run. With `--compile` it may be faster.
# `--preset` samples as the preset does: its steps, timesteps, clamp and guidance, unless another option says otherwise. Under `accelerate launch` (or `torchrun`) the same command shares the same global batch among processes.

# %%
COMMANDS = r"""
python -m dashlib train cifar10/paper_v2 --out runs/cifar10/teacher \
    --download

python -m dashlib distill cifar10/paper_v2 --out runs/cifar10/dash \
    --teacher runs/cifar10/teacher

python -m dashlib distill cifar10/paper_v2 --out runs/cifar10/composite \
    --teacher runs/cifar10/teacher --objective composite

python -m dashlib sample runs/cifar10/dash --out samples.png --preset cifar10/paper_v2

python -m dashlib evaluate runs/cifar10/teacher runs/cifar10/composite runs/cifar10/dash \
    --preset cifar10/paper_v2 --tag --w 1 --w 1.5 --w 2 --w 4 --download \
    --out results/paper/cifar10.json
"""

# %%
COMMANDS_ON_8 = r"""
accelerate launch --multi_gpu --num_processes 8 -m dashlib train imagenet64/paper_v2 \
    --out runs/imagenet64/teacher --data imagenet64 --accumulate 2

torchrun --nproc_per_node 8 -m dashlib evaluate runs/imagenet64/teacher \
    --preset imagenet64/paper_v2 --root imagenet64 --out results/paper/imagenet64.json
"""
ON_2_MACHINES = r"""
torchrun --nnodes 2 --node_rank $RANK --master_addr $FIRST --nproc_per_node 8 -m dashlib \
    train imagenet64/paper_v2 --out /shared/teacher --data /shared/imagenet64
"""
ON_COLAB = r"""
python -m dashlib train cifar10/paper_v2 --out /content/drive/MyDrive/teacher \
    --data /content/data --download --precision fp16 --keep 1
"""
OFFICIAL = r"""
python -m dashlib evaluate teacher.pth --preset cifar10/released --w 1 --w 1.5 --w 2 --download

python -m dashlib distill cifar10/released --teacher teacher.pth --out runs/cifar10/released

python -m dashlib convert teacher.pth runs/cifar10/official
"""

# %%
MEASURE = r"""
python -m dashlib bench --pair cifar10 --device cuda --batch 64 --batch 512 \
    --precision tf32 --precision bf16 --compile

python -m dashlib bench --pair cifar10 --device cuda --batch 128 --precision bf16 --no-compile \
    --throughput --train-steps 200 --out results/bench/throughput-cifar10.json
"""
every = COMMANDS + COMMANDS_ON_8 + ON_2_MACHINES + ON_COLAB + OFFICIAL + MEASURE
every = every.replace("\\\n", "").strip().split("\n\n")
for line in every:
    words = shlex.split(line)
    name, *options = words[words.index("dashlib") + 1 :]
    main.commands[name].make_context(name, options)  # parses, as the program does; runs nothing
a_checkpoint = 16 * jobs[0].parameters / 1e9  # weights, averages and AdamW's two moments
Markdown(f"{len(every)} commands parse. A checkpoint of the teacher takes {a_checkpoint:.2f} GB.")

# %% [markdown]
# None of them was run at this scale for this book (the bench was, in part). What the tests do run, on a CPU and on random images in CIFAR's format, is the whole way at the real size of the networks: twenty steps of the teacher, killed and resumed to the same bits, a student, samples, and a score that
# is not called FID because its Inception weights are random. What to know before you run them:
#
# - **Colab, T4.** Install the package in the notebook, mount Drive, and let `--out` lie there: when the session ends, the same command goes on in the next. A T4 only emulates bf16, so `auto` takes fp32; `--precision fp16` (with loss scaling) is what its fast units compute in. Scores agree only if you note it: the run does.
# - **A100, H100, H200.** The first two commands as they are. One GPU is enough for CIFAR; give a second one another row of the table.
# - **Several machines.** `torchrun` with the same command on each; they meet at the address of the first, and have to share the folders of `--out` and `--data`. The tests start two such "machines" on one CPU.
# - **Data.** `--download` tries mirrors for CIFAR and verifies the MD5 sum; if none answers, the error says where to put the file by hand. ImageNet-64 has to be requested from its owners.
# - **Several processes on a CPU.** `accelerate launch --cpu` starts one only (several need MPI), and the program says so; `accelerate launch --multi_gpu --num_processes 2 ... --device cpu`, or `torchrun`, starts two.
# - **Official checkpoints.** `evaluate`, `sample` and `distill --teacher` take an authors' `.pth` as it is; the preset `released` samples as their code does. `convert` stores one as safetensors and JSON, if you want to read it elsewhere.
# - **Memory.** At batch 128 a teacher needs the few gigabytes of the table above, so CIFAR fits a T4. ImageNet-64 at a global batch of 2,048 will hardly fit one GPU: `--accumulate` makes a step in pieces with the same result.
# - **Interruption.** On SIGTERM or Ctrl-C a run saves and ends with exit code 75; the same command goes on. A loss that is not finite stops it and names the last good checkpoint.
# - **Your GPU.** The last command times 200 steps of teacher and student at full size, without any images, and stores speed and memory; hand the result to `cost.Speed`: better than any range above. `train --stop-after 200` measures the same with the real loader: `run.json` holds images a second and peak memory
#   of every session. No T4, A100 or H100 was measured here, and on the H200 it was 20 timed steps, not 200.
#
# ### If your FID is off
#
# A difference of a few points can come from any of these before it comes from the student. Print them beside each score, as `evaluate` does.
#
# | check | because |
# | :-- | :-- |
# | number of samples | FID is biased upward at small N; 50,000 is the custom |
# | reference set | training or test images, all 50,000 or the 45,000 of a split |
# | guidance scale | FID is usually best at a small $w$ and rises on both sides; sweep before you judge. Some count $w$ from 0: here $w = 1$ is no guidance |
# | TAG | the paper's "w = 4.0" is TAG, whose $w(t)$ hardly reaches it; a constant 4 is another sampler |
# | clamping | what becomes of the noise after clamping decides whether guidance works at all (chapter {ref}`ch-teacher`) |
# | averaged weights | sample from the EMA, not from the last step |
# | timesteps | "leading" spacing never visits the noisiest ones |
# | rounding | features are of images rounded to 8 bits |
# | library and weights | Inception weights and resizing differ between libraries; scores compare only within one |
#
# ## Which numbers to expect, and what was not run
#
# The paper's scores stand in the next table; beside them it fills itself from `results/paper/` once someone has run the commands above. Don't judge by one guidance scale: reading notes by others on the paper quote another UNet on CIFAR-10 (DDIM-50, 50,000 samples) with FID 6.29 at $w = 1$, 4.66 at $w = 2$, 10.23 at $w = 4$
# and 16.23 at $w = 6$. We could not check these four numbers, but a curve with its minimum at a small $w$ is what to look for.


# %%
def own_scores(dataset):
    """FID at 50,000 samples by paper_v2's sampler: guidance -> folder of the run -> mean ± std."""
    path, how = results.root() / "paper" / f"{dataset}.json", preset(f"{dataset}/paper_v2").sampling
    found = {}
    for r in json.loads(path.read_text())["summary"] if path.exists() else []:
        same = all(r["sampling"][k] == getattr(how, k) for k in ("steps", "spacing", "clamp"))
        if "FID" in r["mean"] and r["n"] == 50_000 and same:
            model, spread = Path(r["model"]), r["std"]["FID"]
            name = (model.parent if model.name == "model" else model).name
            shown = f"{r['mean']['FID']:.2f}" + ("" if spread is None else f" ± {spread:.2f}")
            found.setdefault(r["guidance"], {})[name] = shown
    return found


# %%
IMAGENET64 = {"teacher": 6.34, "composite": 18.43, "dash": 9.10}  # the README's FID
SETS = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet64": "ImageNet-64"}
assert set(SETS) < set(reference.DATASETS)
own, rows = {dataset: own_scores(dataset) for dataset in SETS}, []


def ours(dataset, guidance, model):
    return own[dataset].get(guidance, {}).get(model, "not run here")


for key, row in (PAPER | FURTHER).items():
    published = (row.fid_cifar10, row.fid_cifar100, IMAGENET64.get(key))
    theirs = [DASHES if fid is None else f"{fid:.2f}" for fid in published]
    rows.append([row.model, *theirs, *(ours(d, "TAG(1,4,5)", key) for d in SETS)])
header = ["FID, 50K samples, TAG", *(f"*paper:* {name}" for name in SETS.values())]
Markdown(markdown([*header, *SETS.values()], rows))

# %% [markdown]
# And over guidance scales, where the paper gives nothing to compare with:

# %%
MODELS = ("teacher", "composite", "dash")
SCALES = ("w=1", "w=1.5", "w=2", "w=4", "TAG(1,4,5)")
assert all(f"--w {w[2:]}" in COMMANDS for w in SCALES if w.startswith("w="))
rows = [[w, *(ours("cifar10", w, m) for m in MODELS)] for w in SCALES]
Markdown(markdown(["CIFAR-10: FID, 50K samples", *MODELS], rows))

# %% [markdown]
# - **CIFAR-10 and CIFAR-100**: the images are in no package registry, and there was no other network. The loader was tested on generated files of the same format.
# - **ImageNet-64**: no images, only small files of their format. `evaluate` makes reference statistics from the batch files when they are there. Its networks are ours, built to the README's parameter counts; the FLOPs, and with them the hours, hang on that.
# - **Several GPUs**: none were lent. That two processes compute the gradient of one is tested on the CPU; how quick they are on GPUs is calculated above, not measured.
# - **Any training at this size** that could learn something: a few dozen steps were timed on the GPU, with the plain training loop of the book (`dashlib.training`), in one process; twenty are made by the tests. No loss curve, no sample worth a look, no FID.
#
# ## What to take away

# %%
Markdown(f"""
| question | answer | kind |
| :-- | :-- | :-- |
| Are these the paper's networks? | {sampled["teacher"]:,.0f} and {sampled["student"]:,.0f} GFLOPs a sample, within 1 % of its figures | counted |
| How much smaller is the student? | {ratio["tf32", "parameters"]:.1f} times in parameters, {fewer:.1f} times in FLOPs | counted |
| How much quicker, on one {REPORT["hardware"]}? | {ratio["tf32", "latency_ms"]:.1f} times (tf32), {ratio["bf16", "latency_ms"]:.1f} times (bf16); the paper, on a T4: {paper_ratio["latency_ms"]:.2f} | measured |
| How much less memory? | {ratio["tf32", "peak_mib"]:.1f} times; the paper: {paper_ratio["peak_mib"]:.2f} | measured |
| Why not quicker? | operators: {calls["tf32", "teacher"] / calls["tf32", "student"]:.1f} times fewer, about {np.mean(bound):.0f} µs each | indirect |
| CIFAR-10, teacher and student? | {span(total)} hours on one GPU | calculated |
| ImageNet-64, teacher and student? | {sum(between(*w, 1, "hours")[0] for w in WORK[-2:]) / 24:.0f} days on one GPU, {sum(between(*w, 8, "hours")[0] for w in WORK[-2:]) / 24:.1f} on eight | calculated |
| Many GPUs for a batch of 64? | {span(between(*WORK[0], 64, "gpu_hours"), 0)} GPU-hours on 64 instead of {span(between(*WORK[0], 1, "gpu_hours"))} on one | calculated |
""")

# %% [markdown]
# Compression by six is real in parameters and FLOPs and came to about two in time on a fast GPU. And the cost of finding out at paper scale is small: a night of one GPU for CIFAR. It is the data and the device that were missing, not the program.
#
# ## Exercises
#
# **1.** Over which number of GPUs does the exchange of gradients take longer than computing, for the CIFAR-10 teacher at $f = 0$? Answer from the formula first, then with `cost.cost`.
#
# ```{admonition} Solution
# :class: dropdown
# Computing takes $B/(nRp)$, the exchange $8P(n-1)/(n \cdot \text{link})$. Equal at $n - 1 = B \cdot \text{link} / (8 P R p)$, if the link is given. Within a machine that is some 29 GPUs more than one, above the eight it has; with the network's link it is about 5, so beyond eight
# GPUs the exchange is the longer part from the start. `[(n, c.exchange_s, c.step_s - c.exchange_s) for n in (8, 16) for c in [cost.cost(*WORK[0], n)]]`.
# ```
#
# **2.** Label dropout (chapter {ref}`ch-dash`) evaluates one branch of student and teacher a step, instead of two. What share of the FLOPs of DASH does it take, and why is it exactly this?
#
# ```{admonition} Solution
# :class: dropdown
# $F_T + 3F_S$ instead of $2F_T + 6F_S$: one half. Every term of {eq}`eq-cost-flops` is a branch, and there are half as many. Whether it also takes half the *time* depends on what was asked above: at a batch that leaves the GPU waiting for launches, one branch takes as many launches as two.
# ```
#
# **3.** The student's FLOPs could go to zero. How much quicker could distillation by DASH become, and what would you do about it?
#
# ```{admonition} Solution
# :class: dropdown
# $2F_T$ of $2F_T + 6F_S$ would remain, two thirds: most of the work of distilling is the teacher's. Its answers need no gradient, so compile it, run it in a lower precision, or share its answers between several students that see the same batches (`data.with_teacher` allows that: the campaign of chapter {ref}`ch-fashion` trained its rows like this).
# ```
#
# **4.** Why is the sampling time of a batch of 64 no good estimate for a batch of 1, and which of the two ratios, FLOPs or operators, would you expect there?
#
# ```{admonition} Solution
# :class: dropdown
# With one image each kernel holds a sixty-fourth of the arithmetic, so launching takes the time for both networks, and the ratio goes towards that of the operators. For interactive use compression by width saves next to nothing in latency; fewer blocks, fewer steps, one branch instead of two, or CUDA graphs do.
# ```
