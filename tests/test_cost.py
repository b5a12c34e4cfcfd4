"""Check what a run costs: every formula against numbers worked out by hand."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import bench
from dashbook import cost
from dashbook.cost import Assumptions, Speed, Workload, flops, forward_flops
from dashlib.guidance import branches
from dashlib.results import MissingRun
from dashlib.scale.presets import PRESETS, preset
from dashlib.unet import (
    STUDENT_CIFAR10,
    STUDENT_DIGITS,
    TEACHER_CIFAR10,
    TEACHER_DIGITS,
    UNet,
    UNetConfig,
)

ROOT = Path(__file__).resolve().parents[1]
# 1,000 images/s at 100 images a step: 0.1 s each.
SPEED = Speed(1000.0, 2e9, 100, "bf16", "a GPU")
# 36,000 steps of 200 images; 250 million gradients are 1e9 bytes.
WORK = Workload("w", 36_000, 200, 1_000_000, 250_000_000, 2e9)
IDEAL = Assumptions(parallel=1.0, node_gb_s=10.0, network_gb_s=1.0)


def test_one_gpu_by_hand():
    """200 images at 1,000 a second are 0.2 s a step, 36,000 of them 2 hours."""
    one = cost.cost(WORK, SPEED)
    assert (one.gpus, one.batch, one.exchange_s, one.efficiency) == (1, 200, 0, 1)
    assert one.step_s == pytest.approx(0.2)
    assert one.hours == one.gpu_hours == pytest.approx(2.0)
    assert (WORK.seen, WORK.epochs) == (7_200_000, 7.2)


def test_four_gpus_by_hand():
    """50 images take 0.05 s; 2 * 3/4 of 1e9 bytes at 10 GB/s take 0.15 s."""
    four = cost.cost(WORK, SPEED, 4, IDEAL)
    assert (four.batch, four.exchange_s) == (50, pytest.approx(0.15))
    assert four.step_s == pytest.approx(0.2)
    assert four.efficiency == pytest.approx(0.25)
    assert (four.hours, four.gpu_hours) == (pytest.approx(2.0), pytest.approx(8.0))


def test_several_gpus_lose_the_parallel_share():
    """0.05 s at 80 % of the speed are 0.0625 s, and 0.15 s for the exchange."""
    slower = cost.cost(WORK, SPEED, 4, replace(IDEAL, parallel=0.8))
    assert slower.step_s == pytest.approx(0.2125)
    assert cost.cost(WORK, SPEED, 1, replace(IDEAL, parallel=0.8)).step_s == pytest.approx(0.2)


def test_beyond_a_machine_the_network_is_the_ring():
    """16 GPUs: 2 * 15/16 of 1e9 bytes at 1 GB/s; 8 GPUs: 2 * 7/8 at 10 GB/s."""
    assert cost.cost(WORK, SPEED, 16, IDEAL).exchange_s == pytest.approx(1.875)
    assert cost.cost(WORK, SPEED, 8, IDEAL).exchange_s == pytest.approx(0.175)


def test_no_step_is_quicker_than_the_floor():
    """10 images would take 0.01 s; half of the measured step is 0.05 s."""
    assume = Assumptions(floor=0.5, parallel=1.0, node=100, node_gb_s=1e9)
    assert cost.cost(WORK, SPEED, 20, assume).step_s == pytest.approx(0.05)
    assert cost.cost(WORK, SPEED, 2, assume).step_s == pytest.approx(0.1)
    assert cost.cost(WORK, SPEED, 20, replace(assume, floor=0)).step_s == pytest.approx(0.01)


def test_the_floor_is_time_not_work():
    """Four times the FLOPs an image: 0.04 s for 10 images, still under the floor of 0.05 s."""
    heavy = replace(WORK, flops_image=8e9)
    assume = Assumptions(floor=0.5, parallel=1.0, node=100, node_gb_s=1e9)
    assert cost.cost(heavy, SPEED, 20, assume).step_s == pytest.approx(0.05)
    assert cost.cost(heavy, SPEED, 1, assume).step_s == pytest.approx(0.8)


def test_the_slowest_gpu_has_the_odd_image():
    assert cost.cost(WORK, SPEED, 3, IDEAL).batch == 67


@pytest.mark.parametrize("gpus", [1, 3, 8, 64])
def test_hours_are_steps_times_batch_over_speed(gpus):
    it = cost.cost(WORK, SPEED, gpus)
    by_formula = WORK.steps * WORK.batch / (SPEED.images_per_s * gpus * it.efficiency) / 3600
    assert it.hours == pytest.approx(by_formula)
    assert 0 < it.efficiency <= 1


@pytest.mark.parametrize("gpus", [0, -1, 201])
def test_gpus_without_an_image_are_refused(gpus):
    with pytest.raises(ValueError, match=f"gpus={gpus} .*global batch of 200"):
        cost.cost(WORK, SPEED, gpus)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("floor", 1.5),
        ("floor", -0.1),
        ("parallel", 0.0),
        ("parallel", 1.1),
        ("network_gb_s", 0.0),
        ("node", 0),
    ],
)
def test_impossible_assumptions_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"{name}={value}"):
        replace(IDEAL, **{name: value})


def test_flops_from_shapes_alone_are_those_of_a_real_pass():
    """On grids of pixels: a CPU takes shortcuts on a 2x2 grid, which are not counted."""
    zero = torch.zeros(1, dtype=torch.long)
    for cfg in (TEACHER_DIGITS, STUDENT_DIGITS):
        model = UNet(replace(cfg, patch_size=1)).eval()
        counted = flops(model, torch.zeros(1, 1, 8, 8), zero, zero)
        assert forward_flops(model.cfg) == counted > 2 * forward_flops(cfg)


def test_distillation_asks_both_branches_of_both_networks():
    pair = preset("cifar10/paper_v2")
    teacher, student = (forward_flops(role.unet) for role in (pair.teacher, pair.student))
    works = [work.flops_image for work in cost.workloads(pair)]
    assert works == [3 * teacher, 2 * teacher + 6 * student]


def test_a_backward_pass_costs_two_forward_passes():
    """Every product has two gradients, of its size each; an input that needs none lacks one.

    Attention is counted as its two products: fused kernels compute some of them twice, and counters
    of different releases disagree on how to count that.
    """
    model, zero = UNet(replace(TEACHER_DIGITS, patch_size=1)), torch.zeros(1, dtype=torch.long)
    image = torch.zeros(1, 1, 8, 8, requires_grad=True)

    def counted(image: torch.Tensor) -> int:
        counter = FlopCounterMode(display=False)
        with counter, sdpa_kernel(SDPBackend.MATH):
            model(image, zero, zero).sum().backward()
        return counter.get_total_flops()

    embedding = 2 * model.cfg.ch * 4 * model.cfg.ch  # of t, which needs no gradient
    first_layer = 2 * 9 * 8 * 8 * model.cfg.ch
    assert counted(image) == 3 * forward_flops(model.cfg) - embedding
    assert counted(image.detach()) == 3 * forward_flops(model.cfg) - embedding - first_layer


def test_operators_are_counted_one_by_one():
    """A linear layer, an activation and two views: two kernels; bf16 casts three tensors first."""
    layer, x = nn.Linear(4, 4).requires_grad_(False), torch.zeros(2, 4)

    def count(bf16: bool) -> int:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16), cost._Launches() as launches:
            layer(x).relu().reshape(8).reshape(2, 4)
        return launches.count

    assert count(False) == 2
    assert count(True) == 2 + 3
    assert cost.operators(STUDENT_DIGITS) < cost.operators(TEACHER_DIGITS)
    assert cost.operators(STUDENT_DIGITS) < cost.operators(STUDENT_DIGITS, bf16=True)


def test_the_width_does_not_change_which_operators_are_called():
    wide = UNetConfig(image_channels=1, ch=32, blocks=1, groups=16)
    model = UNet(wide).eval().requires_grad_(False)
    image, y = torch.zeros(1, 1, 32, 32), torch.zeros(1, dtype=torch.long)
    with torch.no_grad(), cost._Launches() as launches:
        branches(model, image, y, y)
    assert launches.count == cost.operators(wide)


def test_a_small_grid_does_not_change_which_operators_are_called():
    larger = replace(STUDENT_DIGITS, image_size=32, attn_resolutions=(16,))
    assert cost.operators(STUDENT_DIGITS) == cost.operators(larger)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_pair_of_workloads(name):
    teacher, student = cost.workloads(preset(name))
    assert (teacher.name, student.name) == (f"{name} teacher", f"{name} student")
    assert student.parameters < teacher.parameters
    assert teacher.steps == preset(name).teacher.train.steps


def test_the_papers_epochs():
    """README: about 500 and 300 epochs on CIFAR-10, 130 on ImageNet-64; release: 270."""
    epochs = [w.epochs for w in cost.workloads(preset("cifar10/paper_v2"))]
    assert epochs == pytest.approx([500, 300], rel=2e-3)
    assert cost.workloads(preset("cifar10/released"))[1].epochs == pytest.approx(270, rel=2e-3)
    teacher, student = cost.workloads(preset("imagenet64/paper_v2"))
    assert teacher.epochs == student.epochs == pytest.approx(130, rel=2e-3)
    assert teacher.parameters == pytest.approx(116.5e6, rel=1e-3)
    assert student.parameters == pytest.approx(22.3e6, rel=2e-3)


def test_a_speed_comes_from_a_stored_report(tmp_path, monkeypatch):
    monkeypatch.setenv("DASH_RESULTS", str(tmp_path))
    row = {"model": "dash", "images_per_s": 10.0, "batch": 4, "precision": "bf16"}
    broken = {"model": "teacher", "error": "out of memory"}
    (tmp_path / "bench").mkdir()
    path = tmp_path / "bench" / "throughput-x.json"
    path.write_text(json.dumps({"hardware": "a GPU", "rows": [broken, row]}))
    report = cost.stored("throughput-x")
    assert cost.measured(report, "dash", 5.0) == Speed(10.0, 5.0, 4, "bf16", "a GPU")
    with pytest.raises(ValueError, match="0 rows of 'teacher'"):
        cost.measured(report, "teacher", 5.0)
    report["rows"].append(row)
    with pytest.raises(ValueError, match="2 rows of 'dash'"):
        cost.measured(report, "dash", 5.0)


@pytest.mark.parametrize("kind", cost.TIMED)
def test_a_missing_report_names_the_command_that_makes_one_to_be_read(tmp_path, monkeypatch, kind):
    """The command in the error parses; training is timed over 200 steps, in one row a network."""
    monkeypatch.setenv("DASH_RESULTS", str(tmp_path))
    with pytest.raises(MissingRun) as caught:
        cost.stored(f"{kind}-y")
    words = shlex.split(str(caught.value).split("`")[1])
    assert words[:3] == ["python", "-m", "benchmarks.bench"]
    given = bench.main.make_context("bench", words[3:]).params
    assert given["out"] == tmp_path / f"bench/{kind}-y.json"
    assert (given["pairs"], given["device"], len(given["batches"])) == (("cifar10",), "cuda", 1)
    if kind == "throughput":
        assert (given["throughput"], given["train_steps"]) == (True, 200)
        assert (given["compiled"], len(given["precisions"])) == (False, 1)
    else:
        assert (given["throughput"], set(given["precisions"])) == (False, {"tf32", "bf16"})


class Written(TorchDispatchMode):
    """Count operations and the numbers that they write; a view writes none."""

    def __init__(self):
        super().__init__()
        self.operations = self.numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            made = out if isinstance(out, tuple | list) else [out]
            self.operations += 1
            self.numbers += sum(of.numel() for of in made if isinstance(of, torch.Tensor))
        return out


def test_the_students_pass_writes_a_third_of_what_the_teachers_does():
    """Why it is not 5.8 times as fast, as ``benchmarks/README.md`` says."""
    found = []
    with torch.device("meta"), torch.no_grad():
        for cfg in (TEACHER_CIFAR10, STUDENT_CIFAR10):
            model, at = UNet(cfg).eval(), torch.zeros(1).long()
            with Written() as counted:
                model(torch.empty(1, 3, 32, 32), at, at)
            found.append(counted)
    text = (ROOT / "benchmarks/README.md").read_text()
    many, few = (of.operations for of in found)
    millions = [of.numbers / 1e6 for of in found]
    assert f"in {few} operations, not {many}" in text
    assert f"({millions[1]:.1f} million an image, not {millions[0]:.1f} million)" in text
    assert f"writes {millions[0] / millions[1]:.1f} times fewer numbers" in text
