"""The tables of the status page: what was timed, and with which versions."""

import importlib.util
import json
from importlib.metadata import version

import faults
import pytest

from execute import ROOT, text_hash

SPEC = importlib.util.spec_from_file_location("dash_status", ROOT / "book/_ext/dash_status.py")
dash_status = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(dash_status)


@pytest.fixture
def twin(tmp_path):
    path = tmp_path / "01_tiny.py"
    path.write_text("# %%\n")
    return path


def test_a_timing_counts_only_for_the_text_that_was_timed(twin):
    noted = {"01_tiny": {"seconds": 12.3, "text": text_hash(twin)}}
    assert dash_status.seconds(noted, twin) == "12"
    twin.write_text("# %%\n1 + 1\n")
    assert dash_status.seconds(noted, twin) == "edited since it was timed"
    assert dash_status.seconds({}, twin) == "not timed here"


def test_every_dependency_has_its_version():
    found = dash_status.packages()
    assert found["torch"] == version("torch")
    assert {"dash-book", "sphinx", "jupyter-book", "matplotlib"} <= set(found)


@pytest.mark.parametrize(("cpu", "shown"), [(1, "3"), (0, "–")])
def test_stored_runs_are_counted(tmp_path, monkeypatch, cpu, shown):
    for name, minutes in {"a": 1, "b": 2}.items():
        (tmp_path / "results/digits" / name).mkdir(parents=True)
        seconds = {"train": 60, "evaluate": 120}
        run = {"hardware": "one CPU", "seconds": seconds, "cpu_seconds": cpu * 60 * minutes}
        (tmp_path / "results/digits" / name / "run.json").write_text(json.dumps(run))
    monkeypatch.setattr(dash_status, "ROOT", tmp_path)
    assert dash_status.stored_runs() == [("digits", "one CPU", "2", "6", shown)]


def test_the_live_explorers_are_shown_as_they_were_measured(tmp_path, monkeypatch):
    *rows, where = dash_status.live_times()
    assert [float(seconds) > 0 for _, seconds in rows] == [True] * 5
    assert "Chromium" in where[1]
    (tmp_path / "results/bench").mkdir(parents=True)
    noted = {"browser": "Chromium 1", "hardware": "a CPU, 1 thread", "seconds": {"x": 0.123}}
    (tmp_path / "results/bench/live.json").write_text(json.dumps(noted))
    monkeypatch.setattr(dash_status, "ROOT", tmp_path)
    assert dash_status.live_times() == [("x", "0.12"), ("measured in", "Chromium 1, a CPU")]


def test_the_faults_are_shown_as_they_were_stored(tmp_path, monkeypatch):
    """Each part that `make faults` has is named, and what should be 0 is."""
    stored = json.loads((ROOT / "results/faults.json").read_text())["figures"]
    assert {*stored} <= {*faults.PARTS} == {*dash_status.FAULTS}
    assert not {(part, end) for part, of in stored.items() for end in faults.WRONG & {*of}}
    (tmp_path / "results").mkdir()
    noted = {"figures": {"options": {"cases": 10_000, "refused": 9_999, "bare": 1}}}
    (tmp_path / "results/faults.json").write_text(json.dumps(noted))
    monkeypatch.setattr(dash_status, "ROOT", tmp_path)
    (row,) = dash_status.faults()
    assert row == ("options", "10,000", "0", "9,999", "0", "1", "0", "0")


def test_outside_git_the_commit_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr(dash_status, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert dash_status.commit().startswith("unknown")


def test_a_table_has_a_head_and_rows():
    table = dash_status.table(("a", "b"), [("1", "2"), ("3", "4")])
    assert [entry.astext() for entry in table.findall(dash_status.nodes.entry)] == [*"ab", *"1234"]
