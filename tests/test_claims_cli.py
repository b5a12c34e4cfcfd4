"""The command `claims`."""

from click.testing import CliRunner

from dashbook import claims
from dashbook.__main__ import main

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
