"""The page's engine against PyTorch: networks, schedule, samplers, mixture, MLP, Adam."""

import functools
import re
from collections import Counter
from itertools import product

import pytest
import torch
from live_js import Drawn, Random, needs_node, page_with_modules, run_in_page, run_js, stored
from torch import nn

import dash_live
from dashbook import live
from dashbook.playground import MLP, ExactDenoiser, pinwheel
from dashlib import results
from dashlib.checkpoints import pack
from dashlib.guidance import TAG, Constant, Guided, Interval, branches
from dashlib.losses import make_objective
from dashlib.sampling import CLAMPS, ddim, timesteps
from dashlib.training import TrainConfig, Trainer
from dashlib.unet import UNet, UNetConfig
from dashlib.weighting import MinSNR, Uniform

pytestmark = needs_node

USUAL = live.USUAL["importance"]
SAMPLERS = ["safetensors", "unet", "sampling", "random", "schedule"]
DECLARED = re.compile(
    r"^(?:export )?(?:async )?(?:function\*?|class|const|let) (\w+|\[.*?\])", re.M
)
READ = "const net = new UNet(config, readSafetensors(new Uint8Array(readFileSync(path))));"
W = {"constant": {"w": 4}, "tag": {"w_min": 1, "w_max": 4, "beta": 5}}
W["interval"] = {"w": 3, "low": 200, "high": 800}
SCHEDULES = {"constant": Constant(4), "tag": TAG(), "interval": Interval(3, 200, 800)}


@pytest.fixture(scope="module")
def in_page(chromium):
    """A function that runs JavaScript in the browser, each time in a new document."""
    context = chromium.new_context()
    yield functools.partial(run_in_page, page_with_modules(context))
    context.close()


@pytest.fixture(params=["node", pytest.param("chromium", marks=pytest.mark.browser)])
def js(request):
    """A function that runs JavaScript, in node, and in the browser."""
    return run_js if request.param == "node" else request.getfixturevalue("in_page")


def close(found, want, atol):
    found = torch.tensor(found).to(want).reshape(want.shape)
    torch.testing.assert_close(found, want, rtol=0, atol=atol)


def network(tmp_path, **options):
    """A network of random weights in float32, and the file of its weights."""
    cfg = UNetConfig(image_channels=3, image_size=16, ch=12, groups=4, num_classes=3, **options)
    model, path = UNet(cfg).eval(), tmp_path / "weights.safetensors"
    path.write_bytes(pack(model.state_dict()))
    return model, path


def forward(config, path, x, t, y, js=run_js):
    body = READ + "return net.predict(Float32Array.from(x), t, y);"
    return js(SAMPLERS, body, config=config, path=str(path), x=x.flatten(), t=t, y=y)


@pytest.mark.parametrize("name", ["teacher-tirt", "dash-transfer-s0", "cond_only-uniform-s1"])
@torch.no_grad()
def test_a_stored_network_predicts_what_pytorch_predicts(js, name):
    run, path = stored(name)
    x, t, y = torch.randn(5, 1, 8, 8), torch.tensor([0, 1, 400, 900, 999]), torch.arange(6, 11)
    found = forward(run.config["unet"], path, x, t, y, js)
    close(found, run.model()(x, t, y), 1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"mults": (1, 2, 2), "blocks": 2, "attn_resolutions": (8,)},
        {"mults": (1, 1), "attn_resolutions": (16, 8), "prediction": "v"},
        {"mults": (3,), "blocks": 1, "attn_resolutions": (), "patch_size": 4, "prediction": "v"},
    ],
)
@torch.no_grad()
def test_any_architecture_and_both_kinds_of_prediction(tmp_path, options):
    model, path = network(tmp_path, **options)
    x, t, y = torch.randn(3, 3, 16, 16), torch.tensor([0, 500, 999]), torch.tensor([0, 3, 1])
    close(forward(vars(model.cfg), path, x, t, y), model(x, t, y), 2e-5)


def test_weights_of_another_network_a_damaged_file_and_wrong_input_are_errors(tmp_path):
    model, path = network(tmp_path, mults=(1, 1))
    one = [torch.randn(1, 3, 16, 16), torch.tensor([0]), torch.tensor([0])]
    deeper = {**vars(model.cfg), "blocks": 3}
    with pytest.raises(RuntimeError, match=r"down\.0\.block\.2\.conv1 is missing"):
        forward(deeper, path, *one)
    with pytest.raises(RuntimeError, match="with w as an input"):
        forward({**vars(model.cfg), "w_conditioned": True}, path, *one)
    with pytest.raises(RuntimeError, match="768 numbers for 2 timesteps"):
        forward(vars(model.cfg), path, one[0], torch.tensor([0, 1]), one[2])
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(RuntimeError, match="is cut off"):
        forward(vars(model.cfg), path, *one)
    path.write_bytes(b"<html>")
    with pytest.raises(RuntimeError, match="not a whole safetensors file"):
        forward(vars(model.cfg), path, *one)


def test_every_half_is_read_as_numpy_reads_it(tmp_path):
    bits = torch.arange(2**16).to(torch.uint16).view(torch.float16)
    finite = bits[bits.isfinite()]
    path = tmp_path / "halves.safetensors"
    path.write_bytes(pack({"halves": finite}))
    body = "return readSafetensors(new Uint8Array(readFileSync(path))).get('halves').data;"
    assert torch.equal(torch.tensor(run_js(["safetensors"], body, path=str(path))), finite.float())


def test_the_schedule_and_every_scale(schedule):
    body = "return [ALPHA_BAR, Object.entries(W).map(([schedule, rest]) => "
    body += "Array.from(ALPHA_BAR, (_, t) => scaleAt({ schedule, ...rest }, t)))];"
    asked = W | {"linear": {"w_min": 1, "w_max": 6}}  # the page's alone
    alpha_bar, (*scales, linear) = run_js(["schedule"], body, W=asked)
    t = torch.arange(1000)
    torch.testing.assert_close(torch.tensor(alpha_bar).double(), schedule.alpha_bar(t).double())
    for found, want in zip(scales, SCHEDULES.values(), strict=True):
        close(found, want(t), 1e-6)
    close(linear, torch.linspace(6, 1, 1001)[:-1], 1e-5)
    with pytest.raises(RuntimeError, match="no guidance schedule is called other"):
        run_js(["schedule"], "scaleAt({ schedule: 'other' }, 0);")


def test_the_timesteps_visited():
    body = "return counts.map((n) => [timesteps(n), timesteps(n, 'linspace', 700)]);"
    counts = [*range(1, 130), 333, 500, 999, 1000]
    for n, found in zip(counts, run_js(["sampling"], body, counts=counts), strict=True):
        want = timesteps(1000, n), timesteps(1000, n, start=700)
        assert found == [of.tolist() for of in want], n
    divisors = [n for n in counts if 1000 % n == 0]
    body = "return divisors.map((n) => timesteps(n, 'leading'));"
    leading = run_js(["sampling"], body, divisors=divisors)
    assert leading == [timesteps(1000, n, "leading").tolist() for n in divisors]
    for call in ("timesteps(1001)", "timesteps(3, 'leading')"):
        with pytest.raises(RuntimeError, match="from 1 to 1000, and for leading a divisor"):
            run_js(["sampling"], f"{call};")


def test_the_generator_is_the_one_described_and_normal():
    for seed in (0, 1, 2**31):
        found = run_js(["random"], "return new Random(seed).normals(2000);", seed=seed)
        close(found, Random(seed).normals(2000), 0)
    many = run_js(["random"], "return new Random(7).normals(100000);")
    z = torch.tensor(many).double()
    moments = [z.mean(), z.square().mean() - 1, z.pow(3).mean(), z.pow(4).mean() - 3]
    assert max(abs(float(m)) for m in moments) < 0.05
    assert run_js(["random"], "return new Random(1).normals(1)[0];") != found[0]


def iterates(js, name, **settings):
    """The first and the last step of a guided run, and its gaps."""
    run, path = stored(name)
    body = READ + "const random = new Random(5); const gaps = []; let last; let first;"
    body += (
        "for (const it of guidedSample(net, y, random.normals(64 * y.length), settings, random))"
    )
    body += "{ gaps.push(it.gap); first ??= it; last = it; } return [first, last, gaps];"
    args = {"config": run.config["unet"], "path": str(path), "y": [3, 8]}
    return js(SAMPLERS, body, settings=settings, **args)


def in_torch(model, y, scale, schedule, generator=None, **settings):
    """The same run by dashlib: all iterates, and the norm of the gap at each."""
    x_T = Random(5).normals(2, 1, 8, 8)
    steps = list(ddim(Guided(model, y, scale), x_T, schedule, generator=generator, **settings))
    gaps = [branches(model, it.x_t, torch.full_like(y, it.t), y).gap for it in steps]
    return steps, [gap.flatten(1).norm(dim=1).mean().item() for gap in gaps]


CUTS = [("recompute", "linspace"), ("clamp", "leading"), ("none", "linspace")]
GUIDED = [("node", kind, *cut) for kind, cut in product(SCHEDULES, CUTS)]
GUIDED += [  # in the browser every schedule and every cut once
    pytest.param("chromium", kind, *cut, marks=pytest.mark.browser)
    for kind, cut in zip(SCHEDULES, CUTS, strict=True)
]


@pytest.mark.parametrize(("js", "kind", "clamp", "spacing"), GUIDED, indirect=["js"])
@torch.no_grad()
def test_a_guided_sample_of_fifty_steps_is_pytorchs(js, schedule, kind, clamp, spacing):
    run, _ = stored("dash-transfer-s0")
    settings = {"clamp": clamp, "spacing": spacing, "steps": 50}
    first, last, gaps = iterates(js, "dash-transfer-s0", schedule=kind, **W[kind], **settings)
    y = torch.tensor([3, 8])
    steps, norms = in_torch(run.model(), y, SCHEDULES[kind], schedule, **settings)
    for found, want in ((first, steps[0]), (last, steps[-1])):
        assert (found["index"], found["t"]) == (want.index, want.t)
        for key, value in (("x0", want.x0), ("eps", want.eps), ("xNext", want.x_next)):
            largest = value.abs().max().item()  # 1e4 where no image is cut
            close(found[key], value, max(1e-3, 1e-5 * largest))
    assert gaps == pytest.approx(norms, abs=1e-3)


@torch.no_grad()
def test_the_teachers_sample_is_pytorchs(js, schedule):
    run, _ = stored("teacher-tirt")
    _, last, gaps = iterates(js, "teacher-tirt", schedule="constant", w=4, steps=50, start=900)
    y = torch.tensor([3, 8])
    steps, norms = in_torch(run.model(), y, 4.0, schedule, steps=50, start=900)
    close(last["xNext"], steps[-1].x_next, 1e-3)
    assert gaps == pytest.approx(norms, abs=1e-3)


@torch.no_grad()
def test_a_noisy_step_has_the_variance_of_the_paper(schedule):
    """With eta the draws differ; step, mean and spread are compared through the noise drawn."""
    body = "const random = new Random(5); const xT = random.normals(64);"
    body += "const run = ddim((x) => x.map((v) => v / 2), xT, settings, random);"
    body += "const { xNext } = run.next().value; const again = new Random(5); again.normals(64);"
    body += "return [xNext, again.normals(64)];"
    settings = {"eta": 0.7, "steps": 10, "clamp": "clamp"}
    x_next, z = run_js(SAMPLERS, body, settings=settings)
    x_T = Random(5).normals(1, 1, 8, 8)
    step = next(ddim(lambda x, t: x / 2, x_T, schedule, **(settings | {"eta": 0.0})))
    now, after = schedule.alpha_bar(timesteps(1000, 10)[:2]).tolist()
    sigma = 0.7 * ((1 - after) / (1 - now) * (1 - now / after)) ** 0.5
    mean = after**0.5 * step.x0 + (1 - after - sigma**2) ** 0.5 * step.eps
    close(x_next, mean + sigma * torch.tensor(z).view_as(mean), 1e-5)


def test_clamps_are_those_of_the_library():
    assert set(CLAMPS) == {"none", "clamp", "recompute"}


@pytest.fixture
def exact(schedule):
    return ExactDenoiser(pinwheel(), schedule)


def test_the_mixtures_scores(js, exact):
    x, t, y = torch.randn(400, 2).double(), torch.randint(1000, (400,)), torch.arange(400) % 4
    body = "return new Mixture(pinwheel()).predict(Float64Array.from(x), t, y);"
    found = js(["mixture"], body, x=x.flatten(), t=t, y=y)
    torch.testing.assert_close(
        torch.tensor(found).double().view_as(x), exact(x, t, y), atol=1e-6, rtol=0
    )


def test_points_of_the_mixture_are_drawn_from_it(exact, schedule):
    body = (
        "const { xt, t, y, eps } = new Mixture(pinwheel()).batch(20000, new Random(1), () => 300);"
    )
    body += "return [xt, t, y, eps];"
    found = run_js(["mixture", "random"], body)
    xt, t, y, eps = (torch.tensor(part) for part in found)
    assert set(t.tolist()) == {300}
    shares = torch.bincount(y, minlength=3) / len(y)
    torch.testing.assert_close(shares, torch.tensor([0.5, 0.3, 0.2]), atol=0.012, rtol=0)
    truth = exact(xt.reshape(-1, 2), t, y)
    assert (eps.reshape(-1, 2) - truth).mean(0).abs().max() < 0.02, "E[eps - eps_cond] = 0"
    assert ((eps.reshape(-1, 2) - truth) * truth).mean().abs() < 0.02


def mlp_with(model):
    return {name: value.flatten() for name, value in model.state_dict().items()}


MAKE = "const mlp = new MLP(new Map(Object.entries(weights).map(([k, v]) => "
MAKE += "[k, Float32Array.from(v)])));"
COUNT = 12
NAMES = ["scratch", "cond_only", "cond_only_dropout", "composite", "gap_match", "dash"]


@pytest.mark.parametrize("name", [*NAMES, "dash_sampled"])
def test_the_gradient_of_a_training_step_is_autograds(js, exact, schedule, name):
    model, weighting = MLP(), MinSNR(schedule)
    x, t, y = torch.randn(COUNT, 2), torch.randint(1000, (COUNT,)), torch.arange(COUNT) % 3
    eps, nulls = torch.randn(COUNT, 2), torch.arange(COUNT) % 4 == 0
    weights = weighting(t).detach()
    body = MAKE + "const batch = { xt: x, t, y, eps };"
    body += "const { loss, gradients } = gradientsOf(mlp, new Mixture(pinwheel()), "
    body += "OBJECTIVES[name], batch, { nulls, weights: factors });"
    body += "return [loss, Object.fromEntries(gradients)];"
    args = {"x": x.flatten(), "t": t, "y": y, "eps": eps.flatten(), "nulls": nulls, "name": name}
    modules = ["mlp", "mixture", "objectives"]
    loss, gradients = js(modules, body, weights=mlp_with(model), factors=weights, **args)
    want = (weights * terms_of(name, model, exact, (x, t, y, eps, nulls))).mean()
    want.backward()
    assert loss == pytest.approx(want.item(), rel=1e-5)
    assert gradients.keys() == dict(model.named_parameters()).keys()
    for key, parameter in model.named_parameters():
        zero = torch.zeros_like(parameter)
        close(gradients[key], zero if parameter.grad is None else parameter.grad, 1e-5)


def terms_of(name, model, exact, inputs):
    """The objective's loss of each sample, with given coins where it draws some."""
    x, t, y, eps, nulls = inputs
    objective = make_objective(name)
    shaped = [v.reshape(-1, 2, 1, 1) for v in (x, eps)]
    teacher = branches(exact, shaped[0], t, y)
    batch = Given(*shaped, t, y, torch.where(nulls, 3, y), teacher)
    if name == "dash_sampled":
        student = model(batch.x_t, t, batch.y_dropped)
        target = torch.where(nulls[:, None, None, None], teacher.uncond, teacher.cond)
        return (student - target).square().flatten(1).mean(1)
    return objective.total(objective.terms(model, batch))


class Given:
    """A batch as the objectives read it."""

    def __init__(self, x_t, eps, t, y, y_dropped, teacher):
        self.x_t, self.eps, self.t, self.y = x_t, eps, t, y
        self.y_dropped, self.teacher = y_dropped, teacher


def test_adam_steps_as_pytorchs_adamw():
    start, gradients = torch.randn(50), [scale * torch.randn(50) for scale in (0.01, 1, 5, 0.1)]
    body = "const p = new Map([['p', Float32Array.from(start)]]); const adam = new Adam(p);"
    body += "for (const g of gradients) adam.step(new Map([['p', g]]), 0.01); return p.get('p');"
    found = run_js(["mlp"], body, start=start, gradients=[g.tolist() for g in gradients])
    parameter = nn.Parameter(start)
    adam = torch.optim.AdamW([parameter], lr=0.01, weight_decay=0.01)
    for gradient in gradients:
        parameter.grad = gradient.clone()
        nn.utils.clip_grad_norm_([parameter], 1.0)
        adam.step()
    close(found, parameter.detach(), 1e-6)


def test_training_lowers_the_loss_and_starts_as_pytorch_starts():
    body = "const random = new Random(0); const teacher = new Mixture(pinwheel());"
    body += "const start = MLP.start(random); const losses = [];"
    body += "const settings = { objective: OBJECTIVES.dash, importance: new Array(1000).fill(1), "
    body += "steps: 40, size: 64 };"
    body += "for (const r of train(start, teacher, settings, random)) losses.push(r.loss);"
    body += "return [losses, Object.fromEntries(start.parameters)];"
    losses, start = run_js(["mlp", "mixture", "objectives", "random"], body)
    assert sum(losses[-5:]) < 0.3 * sum(losses[:5])
    for key, parameter in MLP().named_parameters():
        found = torch.tensor(start[key])
        assert found.numel() == parameter.numel()
        if found.numel() > 500:
            assert found.std() == pytest.approx(parameter.std().item(), rel=0.1)


def test_five_steps_of_training_are_the_trainers(exact, schedule):
    """The same batches, weights and start: dashlib's Trainer ends where the page's loop ends."""
    body = "const random = new Random(3); const teacher = new Mixture(pinwheel());"
    body += "const start = MLP.start(random); const draw = teacher.batch.bind(teacher);"
    body += "const batches = []; teacher.batch = (...args) => { const batch = draw(...args);"
    body += "batches.push(batch); return batch; };"
    body += "const settings = { objective: OBJECTIVES.dash, importance, steps: 5, size: 32 };"
    body += "let model; for (const r of train(start, teacher, settings, random)) model = r.model;"
    body += "return [Object.fromEntries(start.parameters), Object.fromEntries(model.parameters),"
    body += "batches];"
    importance = MinSNR(schedule).importance()
    modules = ["mlp", "mixture", "objectives", "random"]
    start, end, drawn = run_js(modules, body, importance=importance)
    model = MLP()
    model.load_state_dict(
        {name: torch.tensor(start[name]).view_as(p) for name, p in model.named_parameters()}
    )
    trainer = Trainer(
        model, make_objective("dash"), MinSNR(schedule), TrainConfig(5, 4e-3, ema=0.99)
    )
    for _ in trainer.run(Drawn(exact, batch) for batch in drawn):
        pass
    for name, parameter in trainer.ema.named_parameters():
        close(end[name], parameter, 1e-4)  # a fortieth of one step: Adam scales rounding up, too


def test_errors_by_timestep_are_measured_against_the_exact_branches(exact):
    body = MAKE + "const teacher = new Mixture(pinwheel());"
    body += "const { xt, t, y } = teacher.batch(640, new Random(0), (i) => 50 * (i >> 5) + 25);"
    body += "return [errorsByTime(mlp, teacher), xt, t, y];"
    model = MLP()
    modules = ["mlp", "mixture", "objectives", "random"]
    errors, xt, t, y = run_js(modules, body, weights=mlp_with(model))
    x_t, t, y = torch.tensor(xt).reshape(-1, 2), torch.tensor(t), torch.tensor(y)
    with torch.no_grad():
        own, truth = branches(model, x_t, t, y), branches(exact, x_t, t, y)
    apart = (own.cond - truth.cond).square() + (own.uncond - truth.uncond).square()
    close(errors, apart.mean(1).reshape(20, 32).mean(1) / 2, 1e-5)


WEIGHTINGS = {"uniform": Uniform, "min_snr": MinSNR}


@pytest.mark.parametrize("preset", ["uniform", "min_snr", "tirt", "uncertainty"])
def test_presets_of_the_importance_are_the_weightings(schedule, preset):
    learned = live.learned()
    body = "return importanceOf({ ...usual, preset, learned });"
    found = torch.tensor(
        run_js(["importance"], body, preset=preset, learned=learned, usual=USUAL)
    ).float()
    if preset in WEIGHTINGS:
        want = WEIGHTINGS[preset](schedule).importance()
    else:
        name = {"tirt": "teacher-tirt", "uncertainty": "dash-uncertainty-s0"}[preset]
        want = results.load(f"digits/{name}").importance()
    torch.testing.assert_close(found, want.detach(), rtol=2e-3, atol=1e-4)
    assert found.mean() == pytest.approx(1)


def test_a_band_lifts_its_neighbourhood_and_nothing_else():
    body = "return importanceOf({ ...usual, preset: 'uniform', band3: 2 });"
    found = torch.tensor(run_js(["importance"], body, usual=USUAL))
    lift = torch.zeros(1000)
    lift[200:301] = torch.linspace(0, 2, 101)
    lift[300:401] = torch.linspace(2, 0, 101)
    torch.testing.assert_close(found, 2**lift / (2**lift).mean(), rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def edited():
    """What the editor's students reach under the weights of chapters 4 and 4b, by name.

    The importance, the errors in bins of 50 timesteps, the share of the loss at every timestep, in
    units of its mean, and the mean errors at t < 200 and t >= 700; by the loop of the page's task
    alone, without its reports on the way.
    """
    body = "const teacher = new Mixture(pinwheel()); const objective = OBJECTIVES[usual.objective];"
    body += "return settings.map((given) => {"
    body += "const importance = importanceOf({ ...usual, learned, ...given });"
    body += "const random = new Random(usual.seed); const start = MLP.start(random); let end;"
    body += "const how = { objective, importance, steps: usual.steps, size: 128 };"
    body += "for (const at of train(start, teacher, how, random)) end = at.model;"
    body += "const errors = errorsByTime(end, teacher);"
    body += "return [importance, errors, lossShare(importance, errors)]; });"
    settings = {"tirt": {}, "lifted": {"band8": 3}, "base": {"lambda": 0}}
    settings |= {name: {"preset": name} for name in ("uniform", "min_snr")}
    modules = ["importance", "mlp", "mixture", "objectives", "random"]
    given = {"settings": list(settings.values()), "learned": live.learned(), "usual": USUAL}
    found = [[torch.tensor(of) for of in all_three] for all_three in run_js(modules, body, **given)]
    return {
        name: (omega, errors, share, errors[:4].mean().item(), errors[14:].mean().item())
        for name, (omega, errors, share) in zip(settings, found, strict=True)
    }


def by(edited, one, other):
    """The ratios of the errors at t < 200 and at t >= 700 under two importances."""
    return [a / b for a, b in zip(edited[one][3:], edited[other][3:], strict=True)]


def test_what_chapter_4_says_of_the_importance_editor_is_so(edited):
    low, high = by(edited, "lifted", "tirt")
    assert 0.5 < high < 0.7
    assert 1.0 < low < 1.1
    low, high = by(edited, "uniform", "tirt")
    assert high < 0.1
    assert 1.3 < low < 1.5
    for name in ("tirt", "lifted", "uniform"):
        omega, errors, share = edited[name][:3]
        loss = omega * errors.repeat_interleave(50)
        torch.testing.assert_close(share, loss / loss.mean(), rtol=0, atol=1e-4)
        assert 0.78 < share[:200].sum() / 1000 < 0.87


def test_what_chapter_4b_says_of_the_learned_factor_is_so(edited):
    low, high = by(edited, "tirt", "base")
    assert 0.75 < high < 0.85, "a fifth"
    assert 1.03 < low < 1.07, "a twentieth"
    low, high = by(edited, "min_snr", "tirt")
    assert high < 0.05
    assert 1.9 < low < 2.1


def test_the_modules_make_one_script():
    """Their top-level names do not collide, and what is left needs no module."""
    texts = live.in_order()
    assert texts.keys() == set(live.MODULES)
    names = Counter(name for text in texts.values() for name in DECLARED.findall(text))
    names.update(n.strip() for group in list(names) if "[" in group for n in group[1:-1].split(","))
    assert not {name for name, count in names.items() if count > 1}
    assert not re.search(r"^\s*(import|export)\b", dash_live.script(), re.MULTILINE)
