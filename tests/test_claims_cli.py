"""The command `claims`."""

from click.testing import CliRunner

from dashbook import claims
from dashbook.__main__ import main
from dashlib.__main__ import main as library
from dashlib.cli.main import MOVED

TEXT = claims.path().read_text()


def test_the_stored_ledger_passes():
    result = CliRunner().invoke(main, ["claims"])
    assert result.exit_code == 0, result.output
    assert "rho-dash" in result.output
    assert "6 reproduced" in result.output


def test_statuses_that_do_not_follow_fail_and_are_rewritten(run_folder):
    (run_folder / "claims.toml").write_text(TEXT)  # beside no runs
    failed = CliRunner().invoke(main, ["claims"])
    assert failed.exit_code == 1
    assert "do not follow from the stored runs" in failed.output
    assert "^ the file says 'agrees at small scale'" in failed.output
    written = CliRunner().invoke(main, ["claims", "--write"])
    assert written.exit_code == 0
    assert "statuses changed" in written.output
    assert CliRunner().invoke(main, ["claims"]).exit_code == 0


def test_a_broken_ledger_is_a_plain_error(run_folder):
    (run_folder / "claims.toml").write_text(TEXT.replace("gap_ratio", "gap_length", 1))
    result = CliRunner().invoke(main, ["claims"])
    assert result.exit_code == 1
    assert "unknown measure 'gap_length'" in result.output
    assert "Traceback" not in result.output


def test_a_missing_ledger_is_a_plain_error(run_folder):
    result = CliRunner().invoke(main, ["claims"])
    assert result.exit_code == 1
    assert "claims.toml" in result.output


def test_the_librarys_former_command_still_works_and_says_where_it_is_now():
    result = CliRunner().invoke(library, ["claims"])
    assert result.exit_code == 0, result.output
    assert "`python -m dashlib claims` is now `python -m dashbook claims`" in result.output
    assert "6 reproduced" in result.output


def test_a_former_command_that_is_not_installed_says_so(monkeypatch):
    monkeypatch.setitem(MOVED, "bench", ("elsewhere.bench", "main", "python -m elsewhere.bench"))
    result = CliRunner().invoke(library, ["bench"])
    assert result.exit_code == 2
    assert "`bench` is now `python -m elsewhere.bench`, which is not installed" in result.output
