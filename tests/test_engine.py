"""The engine: one process or several, in one piece or more, compute the same; options agree."""

import math
import os
import socket
from dataclasses import replace
from itertools import islice, product

import pytest
import torch
from accelerate.utils import set_seed
from torch.multiprocessing import get_context
from torch.nn import functional

import dashlib.baselines  # noqa: F401  (registers fitnets)
from conftest import TINY
from dashlib import datasets
from dashlib.data import Stream
from dashlib.losses import make_objective
from dashlib.scale.distributed import make_accelerator
from dashlib.scale.engine import (
    OVERFLOWS,
    Numerics,
    Parallel,
    Share,
)
from dashlib.schedule import Schedule
from dashlib.training import TrainConfig, Trainer
from dashlib.unet import UNet
from dashlib.weighting import WEIGHTINGS, make_weighting

SMALLEST = replace(TINY, mults=(1,), attn_resolutions=(), dropout=0.0)
CONFIG = TrainConfig(steps=3, lr=1e-3, ema=0.9)
BATCH = 16
CASES = {  # objective, weighting, options
    "scratch with TIRT": ("scratch", "tirt", {}),
    "scratch with TIRT over the batch": ("scratch", "tirt_batch", {}),
    "scratch with EDM2's uncertainty": ("scratch", "uncertainty", {}),
    "dash with TIRT over the batch": ("dash", "tirt_batch", {}),
    "fitnets": ("fitnets", "min_snr", {}),
}


class Shallow(UNet):
    """The first layer and the last: little code to generate."""

    def forward(self, x_t, t, y, w=None):
        self.check_inputs(x_t, t, y)
        h = self.conv_in(functional.pixel_unshuffle(x_t, self.cfg.patch_size))
        out = self.conv_out(functional.silu(self.norm_out(h)))
        return functional.pixel_shuffle(out, self.cfg.patch_size)


def build(case="scratch with TIRT", cfg=CONFIG, unet=None, kind=UNet, **options):
    """A seeded engine and its stream, without the network's dropout unless asked for."""
    objective, weighting, extra = CASES[case]
    numerics = Numerics(**options)
    accelerator = make_accelerator(numerics.precision, "cpu")
    torch.manual_seed(1)
    unet = unet or replace(TINY, dropout=0.0)
    teacher, network = UNet(unet), kind(unet)
    torch.manual_seed(2)
    if objective == "fitnets":
        extra = {"teacher": teacher, "student": unet}
    execution = Parallel(accelerator, numerics, None if objective == "scratch" else teacher)
    learned = make_objective(objective, **extra), make_weighting(weighting, Schedule())
    trainer = Trainer(network, *learned, cfg, execution)
    return trainer, Stream(
        datasets.load_dataset("digits").train, Schedule(), 10, BATCH, label_dropout=0.3, flip=True
    )


def trained(case, **options):
    """Records, gradients of the first step, and everything learned after three."""
    trainer, stream = build(case, **options)
    run = trainer.run(stream)
    records = [next(run)]
    learned = {
        f"{k}.grad": p.grad.clone()
        for k, p in trainer.execution.net.named_parameters()
        if p.requires_grad
    }
    records += run
    parts = {"model": trainer.model, "ema": trainer.ema, "weighting": trainer.weighting}
    states = {f"{part}.{k}": v for part, m in parts.items() for k, v in m.state_dict().items()}
    return records, {k.removeprefix("module."): v for k, v in (learned | states).items()}


def one_of_two(rank, port, folder):
    """Do what one of two processes does, and store what it learned."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    found = {(case, 1): trained(case) for case in CASES}
    found["scratch with TIRT", 2] = trained("scratch with TIRT", accumulate=2)
    trainer, stream = build("scratch with TIRT", unet=TINY)
    set_seed(0, device_specific=True)
    before = list(islice(trainer.run(stream), 1))
    states = trainer.state(stream)
    torch.save((found, before, states), folder / f"{rank}.pt")
    trainer.execution.accelerator.end_training()


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = get_context("spawn")
    workers = [context.Process(target=one_of_two, args=(rank, port, folder)) for rank in (0, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0]
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in (0, 1)]


def close(mine, theirs):
    """Gradients to rounding, weights to a tenth of a step.

    AdamW divides by the gradient's size: rounding moves weights whose gradient is nearly zero. That
    of a key's bias is zero (it moves every score of a query alike): its steps are rounding alone.
    """
    for name, value in mine.items():
        atol = 1e-6 if name.endswith(".grad") else CONFIG.lr / 10
        if name.endswith(".k.bias"):
            gradient = f"network.{name.split('.', 1)[1]}.grad"
            assert mine[gradient].abs().max() < 1e-6
            continue
        torch.testing.assert_close(theirs[name], value, rtol=1e-5, atol=atol, msg=name)
    off = [(theirs[name] - value).abs().flatten() for name, value in mine.items()]
    assert torch.cat(off).median() < 1e-8


@pytest.mark.parametrize(
    ("case", "pieces"), [*((case, 1) for case in CASES), ("scratch with TIRT", 2)]
)
def test_two_processes_with_half_a_batch_are_one_with_a_whole(two_processes, case, pieces):
    """Gradients, weights, averages and what is logged, whatever the weighting or objective."""
    records, learned = trained(case)
    for found, *_ in two_processes:
        their_records, theirs = found[case, pieces]
        assert theirs.keys() == learned.keys()
        close(learned, theirs)
        for mine, other in zip(records, their_records, strict=True):
            assert (other.step, other.lr) == (mine.step, mine.lr)
            assert other.loss == pytest.approx(mine.loss, rel=1e-5)
            assert other.terms == pytest.approx(mine.terms, rel=1e-5)
            assert other.grad_norm == pytest.approx(mine.grad_norm, rel=1e-4)


def test_two_processes_learn_and_log_the_very_same(two_processes):
    (found, before, states), (their_found, their_before, their_states) = two_processes
    for key, (records, learned) in found.items():
        assert their_found[key][0] == records
        assert all(torch.equal(v, learned[k]) for k, v in their_found[key][1].items())
    assert before == their_before
    assert torch.equal(states["stream_rng"], their_states["stream_rng"])


def test_two_processes_draw_dropout_of_their_own(two_processes):
    """Each state holds the generators of both processes; these differ."""
    mine, other = (states["random"]["processes"] for *_, states in two_processes)
    assert torch.equal(mine[0]["torch"], other[0]["torch"])
    assert torch.equal(mine[1]["torch"], other[1]["torch"])
    assert not torch.equal(mine[0]["torch"], mine[1]["torch"])


def test_another_number_of_processes_goes_on_with_a_warning(two_processes):
    engine, stream = build("scratch with TIRT", unet=TINY)
    with pytest.warns(UserWarning, match=r"saved by 2 process\(es\), resumed by 1"):
        engine.restore(two_processes[0][2], stream, "a file")
    assert [r.step for r in engine.run(stream)] == [2, 3]


@pytest.mark.parametrize("case", ["scratch with TIRT", "dash with TIRT over the batch"])
def test_a_batch_in_pieces_is_the_batch(case):
    records, learned = trained(case)
    their_records, theirs = trained(case, accumulate=4)
    close(learned, theirs)
    assert [r.loss for r in their_records] == pytest.approx([r.loss for r in records], rel=1e-5)


def test_one_process_is_the_trainer():
    """Bit by bit: the engine adds nothing but the processes."""
    engine, stream = build()
    again, same = build()
    trainer = Trainer(again.model, again.objective, again.weighting, CONFIG)  # here, in one piece
    torch.manual_seed(5)
    records = list(engine.run(stream))
    torch.manual_seed(5)
    assert list(trainer.run(same)) == records
    for mine, theirs in zip(engine.ema.parameters(), trainer.ema.parameters(), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_the_shares_of_the_parts_add_up(name):
    weighting = make_weighting(name, Schedule())
    for parameter in weighting.parameters():
        parameter.data.normal_()
    losses, t = torch.rand(12, requires_grad=True), torch.randint(1000, (12,))
    learned = [losses, *weighting.parameters()]
    want = torch.autograd.grad(weighting.reduce(losses, t), learned)
    parts = [Share(i, 3) for i in range(3)]
    total = sum(p.loss(weighting, losses[p.index :: p.count], t) for p in parts)
    torch.testing.assert_close(total, weighting.reduce(losses, t))
    for mine, whole in zip(torch.autograd.grad(total, learned), want, strict=True):
        torch.testing.assert_close(mine, whole, rtol=1e-4, atol=1e-6)


def test_parts_divide_a_batch():
    _, stream = build()
    batch = next(stream)
    parts = [Share(i, 4).of(batch) for i in range(4)]
    assert sorted(torch.cat([p.t for p in parts]).tolist()) == sorted(batch.t.tolist())
    assert torch.equal(parts[1].x_t, batch.x_t[1::4])
    with pytest.raises(ValueError, match=r"16 images cannot be divided evenly into 3.*--batch"):
        Share(0, 3).of(batch)


@pytest.fixture
def fp16_anywhere(monkeypatch):
    """Autocast to fp16 with a scaled loss, as on a GPU: Accelerate refuses that on the CPU only."""
    genuine = make_accelerator

    def make(precision, device):
        if precision != "fp16":
            return genuine(precision, device)
        accelerator = genuine("fp32", device)
        accelerator.native_amp, accelerator.state._mixed_precision = True, precision
        accelerator.scaler = torch.amp.GradScaler(accelerator.device.type)
        return accelerator

    monkeypatch.setitem(globals(), "make_accelerator", make)


TOLERANCES = {  # of the loss of the first step, relative
    "bf16": ({"precision": "bf16"}, 2e-2),  # 8 bits of mantissa
    "fp16": ({"precision": "fp16"}, 2e-3),  # 11
    "channels_last": ({"channels_last": True}, 1e-5),  # another order of summation
    "compile": ({"compile": True, "backend": "aot_eager"}, 1e-5),  # without generated code
}


TRIED = [*product(("scratch with TIRT", "dash with TIRT over the batch"), TOLERANCES)]
TRIED.remove(("scratch with TIRT", "compile"))  # dash compiles its student and its teacher


@pytest.mark.parametrize(("case", "name"), TRIED)
def test_options_agree_with_fp32(case, name, fp16_anywhere):
    """The loss and gradient of one step; torch.compile by its tracing alone."""
    options, tolerance = TOLERANCES[name]
    cfg = replace(CONFIG, steps=1)
    (plain,), (other,) = (
        list(engine.run(stream))
        for engine, stream in (build(case, cfg), build(case, cfg, **options))
    )
    assert other.loss == pytest.approx(plain.loss, rel=tolerance)
    assert other.grad_norm == pytest.approx(plain.grad_norm, rel=5 * tolerance)


@pytest.mark.usefixtures("inductor")
def test_code_generated_by_inductor_agrees_with_fp32(tmp_path, monkeypatch):
    """The default backend, on a shallow network: most of the time is g++'s, a second a kernel."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    shallow = {"kind": Shallow, "unet": SMALLEST, "cfg": replace(CONFIG, steps=1)}
    (plain,), (other,) = (
        list(engine.run(stream))
        for engine, stream in (build(**shallow, compile=c) for c in (False, True))
    )
    assert other.loss == pytest.approx(plain.loss, rel=1e-5)
    assert other.grad_norm == pytest.approx(plain.grad_norm, rel=5e-5)


def test_compiled_networks_keep_their_names():
    engine, _ = build("dash with TIRT over the batch", compile=True, backend="eager")
    assert all(network._compiled_call_impl for network in (engine.model, engine.execution.teacher))
    plain, _ = build("dash with TIRT over the batch")
    assert engine.model.state_dict().keys() == plain.model.state_dict().keys()


@pytest.mark.parametrize(("name", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_weights_stay_in_full_precision_and_half_of_it_reaches_the_network(
    name, dtype, fp16_anywhere
):
    engine, stream = build(precision=name)
    seen = []
    engine.model.conv_in.register_forward_hook(lambda m, i, output: seen.append(output.dtype))
    list(engine.run(stream))
    assert seen == [dtype] * 3
    assert {p.dtype for p in engine.model.parameters()} == {torch.float32}


def test_a_step_whose_gradient_overflows_in_fp16_is_skipped(fp16_anywhere):
    """Weights stay, the loss scale is halved; the record says so by its infinite norm."""
    engine, stream = build(precision="fp16")
    scaler = engine.execution.accelerator.scaler
    scaler.load_state_dict(scaler.state_dict() | {"scale": 2.0**40})
    before = [p.clone() for p in engine.model.parameters()]
    records = list(engine.run(stream))
    assert not any(math.isfinite(r.grad_norm) for r in records)
    assert all(math.isfinite(r.loss) for r in records)
    assert all(map(torch.equal, engine.model.parameters(), before))
    assert scaler.get_scale() == 2.0 ** (40 - len(records))
    assert engine.state(stream)["random"]["scaler"]["scale"] == scaler.get_scale()


def test_channels_last_reaches_weights_and_images():
    engine, stream = build("dash with TIRT over the batch", channels_last=True)
    seen = []
    for network in (engine.model, engine.execution.teacher):
        network.conv_in.register_forward_hook(
            lambda m, i, output: seen.append(
                output.is_contiguous(memory_format=torch.channels_last)
            )
        )
    next(engine.run(stream))
    assert seen == [True, True]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="fp16 needs a GPU")
def test_fp16_agrees_with_fp32_on_a_gpu():
    losses = []
    for precision in ("fp32", "fp16"):
        accelerator = make_accelerator(precision)
        engine, stream = build(cfg=replace(CONFIG, steps=1))
        execution = Parallel(accelerator, Numerics(precision))
        engine = Trainer(engine.model, engine.objective, engine.weighting, engine.cfg, execution)
        stream.images = stream.images.to(accelerator.device)
        losses += [r.loss for r in engine.run(iter([next(stream)]))]
    assert losses[1] == pytest.approx(losses[0], rel=5e-3)


def test_fp16_on_the_cpu_is_an_error():
    with pytest.raises(ValueError, match="fp16 needs a CUDA GPU: use bf16"):
        make_accelerator("fp16", "cpu")


def test_fp16_survives_overflows_but_not_many_in_a_row():
    """GradScaler skips such a step and halves its scale; what never ends is an error."""
    engine, _ = build()
    execution = engine.execution
    assert not execution.sound(1.0, math.inf)
    execution.numerics = Numerics("fp16")
    assert all(execution.sound(1.0, math.inf) for _ in range(OVERFLOWS - 1))
    assert execution.sound(1.0, 2.0)
    assert all(execution.sound(1.0, math.nan) for _ in range(OVERFLOWS - 1))
    assert not execution.sound(1.0, math.inf)
    assert not execution.sound(math.nan, 2.0)


def test_a_precision_that_does_not_exist_is_an_error():
    with pytest.raises(ValueError, match=r"precision 'fp8': one of fp32, tf32, bf16, fp16"):
        make_accelerator("fp8", "cpu")


def test_a_state_goes_on_exactly():
    """Bit by bit, with dropout, through torch.save; also how often the loss is read may change."""
    straight, stream = build(unet=TINY)
    torch.manual_seed(0)
    records = list(straight.run(stream))
    first, stream = build(unet=TINY)
    torch.manual_seed(0)
    begun = list(islice(first.run(stream), 1))
    state = first.state(stream)
    second, stream = build(unet=TINY, cfg=replace(CONFIG, read_every=2))
    torch.manual_seed(9)
    second.restore(state, stream, "a file")
    assert begun + list(second.run(stream)) == records
    for mine, theirs in zip(second.ema.parameters(), straight.ema.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_a_student_does_not_go_on_with_another_teacher():
    engine, stream = build("dash with TIRT over the batch")
    state = engine.state(stream)
    engine.execution.teacher_sha = "another"
    with pytest.raises(ValueError, match=r"made with other teacher.*here another"):
        engine.restore(state, stream, "a file")


def test_random_states_come_back():
    execution = build()[0].execution
    torch.manual_seed(3)
    state = execution.random_states()
    want = torch.rand(3)
    torch.manual_seed(4)
    assert not torch.equal(torch.rand(3), want)
    execution.set_random_states(state, 1)
    assert torch.equal(torch.rand(3), want)
