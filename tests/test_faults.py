"""The fast part of ``make faults``: no damaged file, hostile option or argument is accepted."""

from faults.api import api
from faults.files import files
from faults.options import options


def test_damaged_files_are_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("DASH_RESULTS", str(tmp_path))  # given back afterwards
    assert files(90) == {"refused": 90}


def test_hostile_options_are_refused_and_nothing_is_written_elsewhere():
    assert options(150) == {"refused": 150}


def test_wrong_arguments_are_refused_or_seen_in_the_answer(monkeypatch, tmp_path):
    monkeypatch.setenv("DASH_RESULTS", str(tmp_path))
    found = api(400)
    assert {*found} == {"refused", "passed on"}
    assert found["refused"] > 300
