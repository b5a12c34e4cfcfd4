"""The fast part of ``make faults``: no damaged file or hostile option is accepted."""

import faults


def test_damaged_files_are_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("DASH_RESULTS", str(tmp_path))  # given back afterwards
    assert faults.files(90) == {"refused": 90}


def test_hostile_options_are_refused_and_nothing_is_written_elsewhere():
    assert faults.options(150) == {"refused": 150}
