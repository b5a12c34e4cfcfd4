"""Compare what the newer explorers compute, in node, with dashlib, dashbook and autograd."""

import pytest
import torch
from live_js import Random, exact_field, needs_node, run_js, stored

from dashbook import geometry, live
from dashbook.playground import MLP, pinwheel
from dashlib.guidance import Guided, branches
from dashlib.losses import make_objective
from dashlib.metrics import pair_stats, summarise
from dashlib.sampling import ddim, sample
from dashlib.schedule import Schedule

pytestmark = needs_node

POINTS = [[0.6, 0.8], [-1.3, 0.25], [0.0, -2.0]]
JS = "return points.map((e) => names.map((name) => charge(formAt(name, w), e)));"


@pytest.mark.parametrize("w", [0.0, 1.0, 4.0, 7.5])
def test_losses_and_gradients_are_those_of_the_objectives(w):
    options = {"composite": {"w": w}, "multi_w": {"low": min(1, w), "high": max(1, w)}}
    found = run_js(["geometry"], JS, points=POINTS, names=live.JUDGED, w=w)
    for point, at in zip(POINTS, found, strict=True):
        for name, got in zip(live.JUDGED, at, strict=True):
            form = geometry.form_of(make_objective(name, **options.get(name, {})))
            e = torch.tensor(point, dtype=torch.float64, requires_grad=True)
            value = e @ torch.tensor(form.matrix).double() @ e
            value.backward()
            assert got["value"] == pytest.approx(value.item(), abs=1e-12), name
            assert got["gradient"] == pytest.approx(e.grad.tolist(), abs=1e-12), name


def test_the_level_line_runs_through_the_point_and_costs_the_same_everywhere():
    body = "return points.map((e) => names.map((name) => { const form = formAt(name, 4);"
    body += "const lines = levelLines(form, charge(form, e).value);"
    body += "return [charge(form, e).value, lines.flat().map((at) => charge(form, at).value),"
    body += "lines.flat()]; }));"
    for point, at in zip(
        POINTS, run_js(["geometry"], body, points=POINTS, names=live.JUDGED), strict=True
    ):
        for name, (value, along, line) in zip(live.JUDGED, at, strict=True):
            assert along == pytest.approx([value] * len(along), abs=1e-9), name
            ends = torch.tensor(line).double()
            starts, e = ends.roll(1, 0), torch.tensor(point).double()
            edge = ends - starts
            share = ((e - starts) * edge).sum(1) / edge.square().sum(1).clamp(min=1e-12)
            apart = (starts + share.clamp(0, 1)[:, None] * edge - e).norm(dim=1)
            assert apart.min() < 2e-2, name  # of a line with 120 corners


def test_the_softest_direction_is_the_forms():
    body = "return names.map((name) => softest(formAt(name, 4)));"
    for name, found in zip(live.JUDGED, run_js(["geometry"], body, names=live.JUDGED), strict=True):
        form = geometry.form_of(make_objective(name))
        assert [found["low"], found["high"]] == pytest.approx(form.eigenvalues, abs=1e-9)
        assert geometry.unit(found["axis"]) == pytest.approx(form.axes[0], abs=1e-9), name


TRAIN = "let end; for (const state of TASKS.train(args)) end = state;"
MOVED = [[round(0.3 * (i % 3) - 0.4, 2), round(0.25 * (i // 3) - 0.2, 2)] for i in range(9)]


def student_of(weights):
    """The page's student as dashbook's network."""
    model = MLP()
    model.load_state_dict(
        {name: torch.tensor(weights[name]).view_as(p) for name, p in model.named_parameters()}
    )
    return model.requires_grad_(False)


@pytest.mark.parametrize(("objective", "means"), [("cond_only", None), ("dash", MOVED)])
def test_what_the_playground_says_of_a_student_is_what_dashlib_measures(objective, means):
    """The network that the page trained, its gap report and its guided points, by dashlib."""
    args = {"objective": objective, "importance": [1] * 1000, "steps": 20, "seed": 2}
    points = torch.randn(6, 2)
    body = TRAIN + "const teacher = new Mixture(pinwheel(args.means));"
    body += "const student = networks.get(args.name);"
    body += "const noisy = teacher.batch(1000, new Random(0)); const flows = ['', args.name].map("
    body += (
        "(name) => { let last; const given = { name, means: args.means, w: 3, t: 300, label: 1 };"
    )
    body += (
        "for (const at of TASKS.flow({ ...given, points: Float32Array.from(points) })) last = at;"
    )
    body += "return last; });"
    body += "return [end.gap, noisy, Object.fromEntries(student.parameters), flows,"
    body += "(() => { const random = new Random(0); for (let i = 0; i < 200; i++) "
    body += "teacher.draw(random); return random.normals(400); })()];"
    given = args | {"name": "here"} | ({} if means is None else {"means": means})
    modules = ["tasks", "mixture", "random"]
    gap, noisy, weights, flows, x_T = run_js(modules, body, args=given, points=points.flatten())
    exact, student = exact_field(means), student_of(weights)
    x_t, t, y = torch.tensor(noisy["xt"]).view(-1, 2), *map(torch.tensor, (noisy["t"], noisy["y"]))
    own, truth = (branches(of, x_t, t, y) for of in (student, exact))
    want = summarise(pair_stats(own, truth))
    for key, value in gap.items():
        assert value == pytest.approx(want[key], rel=1e-4), key
    options = {"steps": 25, "spacing": "leading", "clamp": "none"}
    for model, flow in zip((exact, student), flows, strict=True):
        labels = torch.tensor(flow["y"])
        at_points = Guided(model, torch.ones(6).long(), 3.0)(points, torch.full((6,), 300))
        torch.testing.assert_close(
            torch.tensor(flow["eps"]).view(-1, 2), at_points, atol=1e-3, rtol=0
        )
        start = torch.tensor(x_T).view(-1, 2, 1, 1)
        ends = sample(Guided(model, labels, 3.0), start, Schedule(), **options)
        apart = torch.tensor(flow["ends"]).view(-1, 2) - ends.view(-1, 2)
        assert apart.norm(dim=1).median() < 1e-3
        assert apart.norm(dim=1).mean() < 2e-2, "far points carry rounding"


def test_labels_are_drawn_with_the_priors_and_means_are_read_from_the_address():
    body = "return [meansOf(''), meansOf(text), ARMS];"
    text = ";".join(f"{x},{y}" for x, y in MOVED)
    usual, found, arms = run_js(["playground", "mixture"], body, text=text)
    assert usual == arms
    assert found == MOVED
    assert torch.tensor(arms).view(3, 3, 2).numpy() == pytest.approx(pinwheel().means.numpy())
    for wrong in ("0,1", text.replace("0.2", "x", 1), text + ";1,2"):
        with pytest.raises(RuntimeError, match="nine pairs x,y"):
            run_js(["playground"], "meansOf(text);", text=wrong)


@torch.no_grad()
@pytest.mark.parametrize(("name", "w"), [("teacher-tirt", 4.0), ("dash-transfer-s0", 1.5)])
def test_a_trajectory_is_every_state_of_dashlibs_run(schedule, name, w):
    run, path = stored(name)
    body = (
        "const work = (task) => { const out = []; for (;;) { const { value, done } = task.next();"
    )
    body += " out.push(value); if (done) return out; } };"
    body += "const bytes = new Uint8Array(readFileSync(path));"
    body += "work(TASKS.load({ name: 'net', config, bytes }));"
    body += "return work(TASKS.trace({ name: 'net', y: [3, 8], seed: 5, settings })).pop().path;"
    settings = {"schedule": "constant", "w": w, "steps": 20, "clamp": "recompute"}
    config = run.config["unet"]
    found = run_js(["tasks"], body, path=str(path), config=config, settings=settings)
    guided = Guided(run.model(), torch.tensor([3, 8]), w)
    want = list(ddim(guided, Random(5).normals(2, 1, 8, 8), schedule, steps=20))
    assert [at["t"] for at in found] == [at.t for at in want]
    for at, of in zip(found, want, strict=True):
        for key, value in (("xt", of.x_t), ("x0", of.x0)):
            torch.testing.assert_close(
                torch.tensor(at[key]).float(), value.flatten(), atol=1e-3, rtol=0
            )
