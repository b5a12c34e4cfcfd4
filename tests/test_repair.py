"""The rescaled gap: least squares, what it equals, and the stored report of repairs."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import product

import pytest
import torch
from click.testing import CliRunner

from benchmarks import repair
from benchmarks.repair import main
from dashbook import atlas
from dashbook.atlas import Repaired, fit
from dashlib import results
from dashlib.classifier import Classifier
from dashlib.guidance import TAG, Branches, Constant, Guided, Interval
from dashlib.metrics import pair_stats, summarise
from dashlib.recipes import DIGITS
from dashlib.runs import pool, scoring
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
    assert torch.equal(Repaired(schedule, [1.0])(EVERY_T), schedule(EVERY_T))


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_a_repair_is_the_guidance_schedule_w_a_plus_c(schedule):
    a, c = torch.rand(20), torch.randn(20)
    found = Repaired(schedule, a.tolist(), c.tolist())(EVERY_T)
    want = schedule(EVERY_T) * a.repeat_interleave(50) + c.repeat_interleave(50)
    torch.testing.assert_close(found, want)


def test_one_factor_at_w_is_guidance_at_w_times_a(model, schedule):
    """So a scalar repair relabels the dial: the very same images come out."""
    x_T, y = torch.randn(3, 1, 8, 8), torch.arange(3)
    repaired = Repaired(Constant(4), [0.375])
    images = [
        sample(Guided(model, y, w), x_T, schedule, steps=5) for w in (repaired, Constant(1.5))
    ]
    assert torch.equal(*images)
    assert not torch.equal(images[0], sample(Guided(model, y, 4), x_T, schedule, steps=5))


def test_one_factor_is_a_student_with_a_shorter_gap(pair):
    student, _ = pair
    shorter = Branches(student.uncond + 0.3 * student.gap, student.uncond)
    scale = Repaired(TAG(), [0.3])(EVERY_T[:60])
    torch.testing.assert_close(shorter.guided(TAG()(EVERY_T[:60])), student.guided(scale))


# -- the fit --------------------------------------------------------------------------------------


def test_a_is_a_star(pair, t):
    want = summarise(pair_stats(*pair))["a_star"]
    assert fit(*pair, t)["a"] == pytest.approx([want])


def test_every_range_is_fitted_to_its_own_pairs(pair, t):
    student, teacher = pair
    low = t < 500
    both = fit(student, teacher, t, bins=2)
    parts = [fit(student[part], teacher[part], t[part]) for part in (low, ~low)]
    assert both["a"] == pytest.approx([*parts[0]["a"], *parts[1]["a"]])
    assert both["c"] == pytest.approx([*parts[0]["c"], *parts[1]["c"]])


def test_the_teacher_needs_no_repair(pair, t):
    found = fit(pair[0], pair[0], t, bins=4)
    assert found["a"] == pytest.approx([1] * 4)
    assert found["c"] == pytest.approx([0] * 4)


@pytest.mark.parametrize("w", [0.0, 1.0, 1.5, 4.0])
def test_a_w_plus_c_is_the_scale_closest_to_the_teachers_output(pair, t, w):
    """Against the normal equation and against its neighbours."""
    student, teacher = pair
    found = fit(student, teacher, t)
    best = found["a"][0] * w + found["c"][0]

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
    assert found["c"] == [0.0]


def test_with_a_right_conditional_branch_the_scale_is_one_plus_w_minus_one_times_a(t):
    teacher = random_branches()
    student = Branches(teacher.cond, teacher.uncond + torch.randn(60, 1, 4, 4))
    (a,), (c,) = fit(student, teacher, t).values()
    assert c == pytest.approx(1 - a, abs=1e-6)


def test_a_composite_student_at_its_own_scale_keeps_that_scale(t):
    """Its guided output is right at w = 4, however wrong both branches are."""
    teacher, drift = random_branches(), torch.randn(60, 1, 4, 4)
    student = Branches(teacher.cond + 3 * drift, teacher.uncond + 4 * drift)
    found = fit(student, teacher, t)
    assert 4 * found["a"][0] + found["c"][0] == pytest.approx(4, abs=1e-5)
    assert 4 * found["a"][0] < 3, "the gap repair changes it all the same"


def test_a_student_without_a_gap_cannot_be_fitted(pair, t):
    student, teacher = pair
    low = (t < 500)[:, None, None, None]
    flat = Branches(torch.where(low, student.uncond, student.cond), student.uncond)
    with pytest.raises(ValueError, match=r"no gap in timestep ranges \[0\] of 2"):
        fit(flat, teacher, t, bins=2)


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
    monkeypatch.setattr(atlas, "SEEDS", (0,))
    monkeypatch.setattr(atlas, "HEADLINE", HEADLINE)
    monkeypatch.setattr(repair, "scores_of", quick_score)
    monkeypatch.setattr(atlas, "SAMPLES", 20)
    monkeypatch.setattr(atlas, "PAIRS", 200)
    monkeypatch.setattr(scoring, "sample", lambda *args, **kw: sample(*args, steps=2, **kw))
    store(DIGITS.classifier, Classifier())
    store(TEACHER, UNet(tiny), unet=asdict(tiny), teacher=None)
    for seed, row in enumerate(HEADLINE):
        store_student(f"digits/{row}-transfer-s0", tiny, seed)
    return run_folder


def made(**options):
    return [name for name, _, _ in repair.update(**options)]


def test_the_report_holds_every_student_kind_and_label(lab):
    assert made() == atlas.students()
    entries = atlas.stored()
    assert [*entries] == [f"digits/{row}-transfer-s0" for row in HEADLINE]
    wanted = {*product(atlas.KINDS, atlas.SCALES)}
    wanted |= {("interval", label) for label in atlas.INTERVALS}
    for entry in entries.values():
        found = {(kind, label) for kind, of in entry["guidance"].items() for label in of}
        assert found == wanted
        assert all(s["n"] == 20 for of in entry["guidance"].values() for s in of.values())
        assert len(entry["fit"]["binned"]["a"]) == atlas.BINS
        assert entry["made_with"]["student"] != entry["made_with"]["teacher"]
        assert {"seed", "seconds", "cpu_seconds", "commit", "hardware", "versions"} <= entry.keys()


def test_its_scores_are_those_of_the_schedule_that_it_names(lab):
    entry, model = repair.measure(STUDENT), results.load(STUDENT).model()
    a = entry["fit"]["one"]["a"][0]
    again = quick_score(scoring.samples_of(model, Constant(4 * a), 20))
    assert entry["guidance"]["a"]["4"]["frechet"] == pytest.approx(again["frechet"], rel=1e-4)
    interval = atlas.INTERVALS["w = 4, 200 to 800"]
    assert interval == Interval(4, 200, 800)
    again = quick_score(scoring.samples_of(model, interval, 20))
    assert entry["guidance"]["interval"]["w = 4, 200 to 800"] == again


def test_the_runs_of_a_report_are_found_by_row():
    entries = [f"digits/{row}-transfer-s{seed}" for seed in (0, 1) for row in ("dash", "composite")]
    found = atlas.runs(entries)
    assert [*found] == ["dash", "composite"]
    assert [run.name for run in found["composite"]] == [entries[1], entries[3]]


def test_a_second_update_measures_nothing(lab):
    made()
    before = atlas.path().read_bytes()
    assert made() == []
    assert atlas.path().read_bytes() == before


def test_only_a_student_with_new_weights_is_measured_again(lab, tiny):
    made()
    store_student(STUDENT, tiny, 99)
    with pytest.raises(results.MissingRun, match=f"{STUDENT}.*`python -m benchmarks.repair`"):
        atlas.stored()
    assert made() == [STUDENT]
    assert len(atlas.stored()) == len(HEADLINE)


def test_a_new_teacher_makes_every_entry_stale(lab, tiny):
    made()
    torch.manual_seed(7)
    store(TEACHER, UNet(tiny), unet=asdict(tiny), teacher=None)
    assert made() == atlas.students()


def test_other_settings_make_every_entry_stale(lab, monkeypatch):
    made()
    monkeypatch.setattr(atlas, "SAMPLES", 10)
    assert atlas.read() == {}


def test_an_interrupted_command_goes_on_where_it_was(lab):
    updates = repair.update()
    first = [next(updates)[0]]
    updates.close()
    assert [*atlas.read()] == first
    assert made() == atlas.students()[1:]


def test_other_rows_are_taken_up_when_they_are_stored(lab, tiny):
    made()
    store_student("digits/gap_match-transfer-s0", tiny, 50)
    store_student("digits/gap_match-transfer-s1", tiny, 54)  # one seed is enough
    store_student("digits/single_head-transfer-s0", tiny, 51)  # has no gap
    store_student("digits/gap_match-uniform-s0", tiny, 52)
    store_student("digits/dash_an_1-transfer-s0", tiny, 53)  # no row of the table
    assert made() == ["digits/gap_match-transfer-s0"]


def test_a_missing_student_or_report_names_its_command(lab):
    with pytest.raises(results.MissingRun, match=r"python -m benchmarks\.repair"):
        atlas.stored()
    (lab / STUDENT / "run.json").unlink()
    with pytest.raises(results.MissingRun, match=f"python -m dashlib make {STUDENT}"):
        made()


@pytest.mark.parametrize("content", ["{", "[]", json.dumps({"entries": {}})])
def test_a_damaged_report_is_an_error(lab, content):
    atlas.write({})
    atlas.path().write_text(content)
    with pytest.raises(ValueError, match=r"digits\.json is not a report of repairs.*delete it"):
        atlas.read()
    outcome = CliRunner().invoke(main, [])
    assert outcome.exit_code == 1
    assert "is not a report of repairs" in outcome.output


def test_the_command_line_makes_the_report(lab):
    outcome = CliRunner().invoke(main, [])
    assert outcome.exit_code == 0, outcome.output
    assert "[2/2]" in outcome.output
    assert "2 students in" in outcome.output


def test_the_command_line_reports_damaged_weights(lab):
    run = results.load(STUDENT)
    file = run.folder / run.files["weights"]["name"]
    file.write_bytes(file.read_bytes()[:-10] + b"0123456789")
    outcome = CliRunner().invoke(main, [])
    assert outcome.exit_code == 1
    assert "restore it" in outcome.output


def test_several_processes_hand_back_every_entry(lab, monkeypatch):
    """The pool itself, with a stand-in for the minute of sampling."""
    monkeypatch.setattr(pool, "processes", ThreadPoolExecutor)
    monkeypatch.setattr(repair, "measure", lambda name: {"of": name})
    for processes in (1, 2):
        assert [*repair.measured("abc", processes)] == [{"of": name} for name in "abc"]
