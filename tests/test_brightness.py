"""The spread of brightness of a run's thousand samples, drawn again, and of the hundred kept."""

import json

import pytest
from click.testing import CliRunner

from benchmarks import brightness as study
from dashbook import tables
from dashlib import results
from dashlib.data import as_floats
from dashlib.datasets import load_dataset
from dashlib.metrics import spreads
from dashlib.recipes import DIGITS

NAME = "digits/dash-uniform-s0"


def test_every_shipped_model_was_drawn_at_every_scale():
    stored = json.loads(study.OUT.read_text())
    have = {(name, w) for name, of in stored["entries"].items() for w in of}
    assert have <= set(study.asked()), "who trains more has more weights"
    assert len(have) == 60 * len(DIGITS.guidance)
    assert stored["n"] == study.SAMPLES
    assert stored["data"] == spreads(load_dataset("digits").train.x)["luminance"]


def test_a_table_has_the_thousand_or_the_hundred():
    run = results.load(NAME)
    kept = as_floats(run.trace["samples"][1]).mean((1, 2, 3)).std().item()
    assert tables.brightness("1.5", kept=True)(run) == pytest.approx(kept)
    assert tables.brightness("1.5")(run) == pytest.approx(study.drawn((NAME, "1.5")), rel=1e-3)
    assert tables.brightness("1.5")(results.load("digits/dash-uniform-from_uniform-s1")) is None


def test_results_without_the_report_have_a_dash(monkeypatch, tmp_path):
    run = results.load(NAME)
    monkeypatch.setattr(results, "root", lambda: tmp_path)
    assert tables.spread([run], tables.brightness("1.5")) == tables.DASHES


def test_the_hundred_spread_by_a_sixth_more():
    names = json.loads(study.OUT.read_text())["entries"]
    runs = [results.load(name) for name in names]
    ratios = [tables.brightness("1.5", kept=True)(r) / tables.brightness("1.5")(r) for r in runs]
    assert sum(ratios) / len(ratios) == pytest.approx(7 / 6, abs=0.02)
    assert min(ratios) > 1.05


def test_other_samples_than_those_scored_are_refused(monkeypatch):
    monkeypatch.setattr(study, "SAMPLES", 40)
    with pytest.raises(ValueError, match=f"{NAME} at 4"):
        study.drawn((NAME, "4"))


def test_it_goes_on_where_it_was(monkeypatch, tmp_path):
    asked = list[tuple[str, str]]()
    monkeypatch.setattr(study, "OUT", tmp_path / "brightness.json")
    monkeypatch.setattr(study, "drawn", lambda of: asked.append(of) or 0.25)
    for scales in (["1.5"], ["1.5", "4"]):
        monkeypatch.setattr(study, "asked", lambda scales=scales: [("a", w) for w in scales])
        assert CliRunner().invoke(study.main).exit_code == 0
    assert asked == [("a", "1.5"), ("a", "4")], "each once"
    assert json.loads(study.OUT.read_text())["entries"] == {"a": {"1.5": 0.25, "4": 0.25}}
