"""The rescaled gap: least squares, what it equals, and the stored report of repairs."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import product
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner

from dashbook import repair_report
from dashbook.__main__ import main
from dashbook.repair import Fit, Repaired, closed, fit
from dashlib import results
from dashlib.classifier import Classifier
from dashlib.guidance import TAG, Branches, Constant, Guided, Interval
from dashlib.metrics import pair_stats, summarise
from dashlib.runs import experiments
from dashlib.sampling import sample
from dashlib.unet import UNet

SCHEDULES = (Constant(1.5), Constant(4), TAG(), TAG(0.5, 3), Interval(4, 200, 800))
EVERY_T = torch.arange(1000)


def random_branches(n=60):
    return Branches(torch.randn(n, 1, 4, 4), torch.randn(n, 1, 4, 4))


@pytest.fixture
def pair():
    return random_branches(), random_branches()


@pytest.fixture
def t():
    return torch.arange(60) * 16


# -- the schedule ---------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_a_repair_without_effect_is_the_schedule(schedule):
    nothing = Fit((1.0,), (0.0,))
    assert torch.equal(Repaired(schedule, nothing)(EVERY_T), schedule(EVERY_T))


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_a_repair_is_the_guidance_schedule_w_a_plus_c(schedule):
    a, c = torch.rand(20), torch.randn(20)
    found = Repaired(schedule, Fit(tuple(a.tolist()), tuple(c.tolist())))(EVERY_T)
    want = schedule(EVERY_T) * a.repeat_interleave(50) + c.repeat_interleave(50)
    torch.testing.assert_close(found, want)


def test_one_factor_at_w_is_guidance_at_w_times_a(model, schedule):
    """So a scalar repair relabels the dial: the very same images come out."""
    x_T, y = torch.randn(3, 1, 8, 8), torch.arange(3)
    repaired = Repaired(Constant(4), Fit((0.375,), (0.0,)))
    images = [
        sample(Guided(model, y, w), x_T, schedule, steps=5) for w in (repaired, Constant(1.5))
    ]
    assert torch.equal(*images)
    assert not torch.equal(images[0], sample(Guided(model, y, 4), x_T, schedule, steps=5))


def test_one_factor_is_a_student_with_a_shorter_gap(pair):
    student, _ = pair
    shorter = Branches(student.uncond + 0.3 * student.gap, student.uncond)
    scale = Repaired(TAG(), Fit((0.3,), (0.0,)))(EVERY_T[:60])
    torch.testing.assert_close(shorter.guided(TAG()(EVERY_T[:60])), student.guided(scale))


def test_the_ranges_of_a_fit_must_divide_the_timesteps():
    with pytest.raises(ValueError, match="bins=3 must divide the 1000 timesteps"):
        Repaired(TAG(), Fit((1.0,) * 3, (0.0,) * 3))


@pytest.mark.parametrize(
    ("a", "c", "message"),
    [
        ((), (), "0 factors and 0 offsets"),
        ((1.0,), (0.0, 0.0), "1 factors and 2 offsets"),
        ((float("nan"),), (0.0,), "finite"),
    ],
)
def test_a_fit_holds_finite_numbers_for_every_range(a, c, message):
    with pytest.raises(ValueError, match=message):
        Fit(a, c)


# -- the fit --------------------------------------------------------------------------------------


def test_a_is_a_star(pair, t):
    want = summarise(pair_stats(*pair))["a_star"]
    assert fit(*pair, t).a == pytest.approx((want,))


def test_every_range_is_fitted_to_its_own_pairs(pair, t):
    student, teacher = pair
    low = t < 500
    both = fit(student, teacher, t, bins=2)
    parts = [fit(student[part], teacher[part], t[part]) for part in (low, ~low)]
    assert both.a == pytest.approx([*parts[0].a, *parts[1].a])
    assert both.c == pytest.approx([*parts[0].c, *parts[1].c])


def test_the_teacher_needs_no_repair(pair, t):
    found = fit(pair[0], pair[0], t, bins=4)
    assert found.a == pytest.approx([1] * 4)
    assert found.c == pytest.approx([0] * 4)


@pytest.mark.parametrize("w", [0.0, 1.0, 1.5, 4.0])
def test_a_w_plus_c_is_the_scale_closest_to_the_teachers_output(pair, t, w):
    """Against the normal equation and against its neighbours."""
    student, teacher = pair
    found = fit(student, teacher, t)
    best = found.a[0] * w + found.c[0]

    def error(v):
        return (student.guided(v).double() - teacher.guided(w).double()).square().mean()

    want = torch.linalg.lstsq(
        student.gap.double().reshape(-1, 1),
        (teacher.guided(w) - student.uncond).double().reshape(-1, 1),
    ).solution.item()
    assert best == pytest.approx(want, abs=1e-6)
    assert error(best) < min(error(best - 0.01), error(best + 0.01))


def test_with_a_right_unconditional_branch_both_repairs_agree(t):
    teacher = random_branches()
    found = fit(Branches(teacher.cond + torch.randn(60, 1, 4, 4), teacher.uncond), teacher, t)
    assert found.c == (0.0,)
    assert found.gap == found


def test_with_a_right_conditional_branch_the_scale_is_one_plus_w_minus_one_times_a(t):
    teacher = random_branches()
    student = Branches(teacher.cond, teacher.uncond + torch.randn(60, 1, 4, 4))
    (a,), (c,) = (lambda f: (f.a, f.c))(fit(student, teacher, t))
    assert c == pytest.approx(1 - a, abs=1e-6)


def test_a_composite_student_at_its_own_scale_keeps_that_scale(t):
    """Its guided output is right at w = 4, however wrong both branches are."""
    teacher, drift = random_branches(), torch.randn(60, 1, 4, 4)
    student = Branches(teacher.cond + 3 * drift, teacher.uncond + 4 * drift)
    found = fit(student, teacher, t)
    assert 4 * found.a[0] + found.c[0] == pytest.approx(4, abs=1e-5)
    assert 4 * found.a[0] < 3, "the gap repair changes it all the same"


def test_a_student_without_a_gap_cannot_be_fitted(pair, t):
    student, teacher = pair
    low = (t < 500)[:, None, None, None]
    flat = Branches(torch.where(low, student.uncond, student.cond), student.uncond)
    with pytest.raises(ValueError, match=r"no gap in timestep ranges \[0\] of 2"):
        fit(flat, teacher, t, bins=2)
    with pytest.raises(ValueError, match="bins=7 must divide"):
        fit(student, teacher, t, bins=7)


@pytest.mark.parametrize(
    ("before", "after", "goal", "share"),
    [(50, 10, 10, 1.0), (50, 50, 10, 0.0), (50, 30, 10, 0.5), (50, 5, 10, 1.125), (50, 90, 10, -1)],
)
def test_the_share_of_a_gain_that_is_closed(before, after, goal, share):
    assert closed(before, after, goal) == pytest.approx(share)


@pytest.mark.parametrize(("before", "goal"), [(10, 9), (10, 10), (10, 40)])
def test_there_is_no_share_of_next_to_no_gain(before, goal):
    assert closed(before, 5, goal) != closed(before, 5, goal)  # nan


# -- the stored report ----------------------------------------------------------------------------

TEACHER, STUDENT = "digits/teacher-tirt", "digits/dash-transfer-s0"
HEADLINE = ("cond_only", "dash")


def quick_score(samples):
    return {"frechet": samples.square().mean().item(), "n": len(samples)}


def store(name, model, **config):
    run = results.Run(name, config, 0, {}, 0.0, 0, {})
    results.store(run, weights=model.state_dict())


def store_student(name, tiny, seed):
    torch.manual_seed(seed)
    store(name, UNet(tiny), unet=asdict(tiny), teacher=TEACHER)


@pytest.fixture
def lab(tiny, run_folder, monkeypatch):
    """A stored classifier, teacher and two tiny students; few samples, few steps, a quick score."""
    monkeypatch.setattr(repair_report, "SEEDS", (0,))
    monkeypatch.setattr(repair_report, "HEADLINE", HEADLINE)
    monkeypatch.setattr(repair_report, "score", quick_score)
    monkeypatch.setattr(repair_report, "SAMPLES", 20)
    monkeypatch.setattr(repair_report, "PAIRS", 200)
    monkeypatch.setattr(experiments, "sample", lambda *args, **kw: sample(*args, steps=2, **kw))
    repair_report._answers.cache_clear()
    store(experiments.CLASSIFIER, Classifier())
    store(TEACHER, UNet(tiny), unet=asdict(tiny), teacher=None)
    for seed, row in enumerate(HEADLINE):
        store_student(f"digits/{row}-transfer-s0", tiny, seed)
    yield run_folder
    repair_report._answers.cache_clear()


def made(**options):
    return [name for name, _, _ in repair_report.update(**options)]


def test_the_report_holds_every_student_kind_and_label(lab):
    assert made() == repair_report.students()
    entries = repair_report.stored()
    assert [*entries] == [f"digits/{row}-transfer-s0" for row in HEADLINE]
    wanted = {*product(repair_report.KINDS, repair_report.SCALES)}
    wanted |= {("interval", label) for label in repair_report.INTERVALS}
    for entry in entries.values():
        found = {(kind, label) for kind, of in entry["guidance"].items() for label in of}
        assert found == wanted
        assert all(s["n"] == 20 for of in entry["guidance"].values() for s in of.values())
        assert len(entry["fit"]["binned"]["a"]) == repair_report.BINS
        assert entry["made_with"]["student"] != entry["made_with"]["teacher"]
        assert {"seed", "seconds", "cpu_seconds", "commit", "hardware", "versions"} <= entry.keys()


def test_its_scores_are_those_of_the_schedule_that_it_names(lab):
    entry, model = repair_report.measure(STUDENT), results.load(STUDENT).model()
    a = entry["fit"]["one"]["a"][0]
    again = quick_score(experiments.generate(model, Constant(4 * a), 20))
    assert entry["guidance"]["a"]["4"]["frechet"] == pytest.approx(again["frechet"], rel=1e-4)
    interval = repair_report.INTERVALS["w = 4, 200 to 800"]
    assert interval == Interval(4, 200, 800)
    again = quick_score(experiments.generate(model, interval, 20))
    assert entry["guidance"]["interval"]["w = 4, 200 to 800"] == again


def test_the_runs_of_a_report_are_found_by_row():
    entries = [f"digits/{row}-transfer-s{seed}" for seed in (0, 1) for row in ("dash", "composite")]
    found = repair_report.runs(entries)
    assert [*found] == ["dash", "composite"]
    assert [run.name for run in found["composite"]] == [entries[1], entries[3]]


def test_coefficients_of_an_entry_for_all_timesteps_and_by_range(lab):
    made()
    entries, runs = repair_report.stored(), [results.load(STUDENT)]
    one, binned = (repair_report.coefficients(entries, runs, kind) for kind in ("one", "binned"))
    assert (one.shape, binned.shape) == ((1, 2, 1), (1, 2, repair_report.BINS))
    assert binned[0, 1].tolist() == entries[STUDENT]["fit"]["binned"]["c"]
    assert one[0, 0].tolist() == entries[STUDENT]["fit"]["one"]["a"]


def test_every_setting_of_a_student_has_its_score():
    run = SimpleNamespace(metrics={"guidance": {"4": "plain"}})
    found = repair_report.scored(run, {"guidance": {"a": {"4": "by a"}, "interval": {"x": "in x"}}})
    assert found == {("none", "4"): "plain", ("a", "4"): "by a", ("interval", "x"): "in x"}


def test_a_second_update_measures_nothing(lab):
    made()
    before = repair_report.path().read_bytes()
    assert made() == []
    assert repair_report.path().read_bytes() == before


def test_only_a_student_with_new_weights_is_measured_again(lab, tiny):
    made()
    store_student(STUDENT, tiny, 99)
    with pytest.raises(results.MissingRun, match=f"{STUDENT}.*`python -m dashbook repair`"):
        repair_report.stored()
    assert made() == [STUDENT]
    assert len(repair_report.stored()) == len(HEADLINE)


def test_a_new_teacher_makes_every_entry_stale(lab, tiny):
    made()
    torch.manual_seed(7)
    store(TEACHER, UNet(tiny), unet=asdict(tiny), teacher=None)
    assert made() == repair_report.students()


def test_other_settings_make_every_entry_stale(lab, monkeypatch):
    made()
    monkeypatch.setattr(repair_report, "SAMPLES", 10)
    assert repair_report.read() == {}


def test_an_interrupted_command_goes_on_where_it_was(lab):
    updates = repair_report.update()
    first = [next(updates)[0]]
    updates.close()
    assert [*repair_report.read()] == first
    assert made() == repair_report.students()[1:]


def test_other_rows_are_taken_up_when_they_are_stored(lab, tiny):
    made()
    store_student("digits/gap_match-transfer-s0", tiny, 50)
    store_student("digits/gap_match-transfer-s1", tiny, 54)  # one seed is enough
    store_student("digits/single_head-transfer-s0", tiny, 51)  # has no gap
    store_student("digits/gap_match-uniform-s0", tiny, 52)
    store_student("digits/dash_an_1-transfer-s0", tiny, 53)  # no row of the table
    assert made() == ["digits/gap_match-transfer-s0"]


def test_a_missing_student_or_report_names_its_command(lab):
    with pytest.raises(results.MissingRun, match="python -m dashbook repair"):
        repair_report.stored()
    (lab / STUDENT / "run.json").unlink()
    with pytest.raises(results.MissingRun, match=f"python -m dashlib make {STUDENT}"):
        made()


@pytest.mark.parametrize("content", ["{", "[]", json.dumps({"entries": {}})])
def test_a_damaged_report_is_an_error(lab, content):
    repair_report.write({})
    repair_report.path().write_text(content)
    with pytest.raises(ValueError, match=r"digits\.json is not a report of repairs.*delete it"):
        repair_report.read()
    outcome = CliRunner().invoke(main, ["repair"])
    assert outcome.exit_code == 1
    assert "is not a report of repairs" in outcome.output


def test_the_command_line_makes_the_report(lab):
    outcome = CliRunner().invoke(main, ["repair"])
    assert outcome.exit_code == 0, outcome.output
    assert "[2/2]" in outcome.output
    assert "2 students in" in outcome.output


def test_the_command_line_reports_damaged_weights(lab):
    run = results.load(STUDENT)
    file = run.folder / run.files["weights"]["name"]
    file.write_bytes(file.read_bytes()[:-10] + b"0123456789")
    outcome = CliRunner().invoke(main, ["repair"])
    assert outcome.exit_code == 1
    assert "restore it" in outcome.output


def test_several_processes_hand_back_every_entry(lab, monkeypatch):
    """The pool itself, with a stand-in for the minute of sampling."""
    monkeypatch.setattr(repair_report, "ProcessPoolExecutor", lambda n, **_: ThreadPoolExecutor(n))
    monkeypatch.setattr(repair_report, "measure", lambda name, progress: {"of": name})
    found = dict(repair_report.measured(["a", "b", "c"], processes=2))
    assert found == {name: {"of": name} for name in "abc"}
