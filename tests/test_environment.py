"""The set-up: one at a time, whole or not at all, and a sentence for whatever stops it."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import environment
import installed
import lock
from environment import SetupError

SCRIPTS = Path(environment.__file__).parent
HOLD = """
import subprocess, sys, time
from pathlib import Path
import environment
if {folder}:
    environment.fcntl = None
with environment.alone(Path(sys.argv[1]), sys.argv[2]) as keep:
    print("held", flush=True)
    if {child}:
        child = subprocess.Popen(["sleep", "2"], pass_fds=keep, stdout=subprocess.DEVNULL)
        print(child.pid, flush=True)
    time.sleep({seconds})
"""


def start(venv, purpose, *, seconds=0.0, child=False, folder=False):
    """A process that holds a folder's set-up for some seconds."""
    code = HOLD.format(seconds=seconds, child=child, folder=folder)
    command = [sys.executable, "-c", code, venv, purpose]
    return subprocess.Popen(command, cwd=SCRIPTS, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("folder", [False, True])
def test_the_second_set_up_waits_and_says_for_whom(tmp_path, folder):
    first = start(tmp_path / ".venv", "make book", seconds=1.5, folder=folder)
    assert first.stdout.readline() == "held\n"
    began = time.monotonic()
    second = start(tmp_path / ".venv", "make test", folder=folder)
    assert f"`make book` (process {first.pid}, since " in second.stdout.readline()
    assert second.stdout.readline() == "held\n"
    assert time.monotonic() - began > 1.4
    assert first.wait() == second.wait() == 0


def test_an_installer_that_outlives_its_set_up_is_waited_for(tmp_path):
    first = start(tmp_path / ".venv", "make book", seconds=60, child=True)
    first.stdout.readline()
    child = int(first.stdout.readline())
    first.send_signal(signal.SIGKILL)
    first.wait()
    second = start(tmp_path / ".venv", "make test")
    assert "waiting" in second.stdout.readline()
    assert second.stdout.readline() == "held\n"
    second.wait()
    assert ended(child)


def ended(process):
    """Tell if a process is gone, or a zombie that whoever adopted it has not noticed yet."""
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] == "Z"
    except FileNotFoundError:
        return True


@pytest.fixture
def site(tmp_path):
    """A site-packages folder with one package of two files."""
    info = tmp_path / "one-1.0.dist-info"
    info.mkdir()
    (tmp_path / "one.py").write_text("1 + 1")
    (info / "METADATA").write_text("Name: one")
    record = "one.py,sha256=x,5\n__pycache__/one.pyc,,\none-1.0.dist-info/RECORD,,\n"
    (info / "RECORD").write_text(record)
    return tmp_path


def test_a_whole_package_has_every_file_that_it_lists(site):
    assert list(installed.broken_files(site)) == []


def test_a_missing_file_a_short_file_and_a_missing_list_are_told(site):
    (site / "one.py").write_text("1")
    assert list(installed.broken_files(site)) == ["one.py of one-1.0.dist-info has 1 of 5 bytes"]
    (site / "one.py").unlink()
    assert list(installed.broken_files(site)) == ["one.py of one-1.0.dist-info is missing"]
    (site / "one-1.0.dist-info/RECORD").unlink()
    assert "no RECORD" in next(installed.broken_files(site))


def test_packages_that_packages_ask_for_must_be_there(monkeypatch):
    asks = {
        "dash-book": ["a>=1", "b; extra == 'all'", "c; extra == 'fid'", "d; sys_platform == 'x'"],
        "a": ["e[more]"],
        "e": ["f; extra == 'more'", "a"],
    }

    class Distribution:
        def __init__(self, name):
            if name not in asks:
                raise installed.PackageNotFoundError(name)
            self.requires = asks[name]

    monkeypatch.setattr(installed, "distribution", Distribution)
    assert installed.missing_packages() == {"b", "f"}


@pytest.mark.skipif(not environment.mark(Path(sys.prefix)), reason="not made by `make setup`")
def test_this_environment_is_whole():
    assert environment.faults(Path(sys.prefix)) == []


RUN = subprocess.run


def without_pip(command, **options):
    """Run a command; where it makes an environment, leave out pip, which takes 3 seconds."""
    made = command[1:3] == ["-m", "venv"]
    return RUN([*command, "--without-pip"] if made else command, **options)


@pytest.fixture
def venv(tmp_path, monkeypatch):
    """A place for an environment; installing is noted instead of done."""
    for name in ("pyproject.toml", "requirements.lock"):
        shutil.copy(environment.ROOT / name, tmp_path)
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(environment, "LOCK", tmp_path / "requirements.lock")
    monkeypatch.setattr(environment, "NEEDED", 0.0)
    monkeypatch.setattr(environment, "find_uv", lambda venv: "uv")
    monkeypatch.setattr(environment, "faults", lambda venv: [])
    monkeypatch.setattr(environment.subprocess, "run", without_pip)
    commands = []
    monkeypatch.setattr(environment, "run", lambda command, keep: commands.append(command))
    environment.installs = commands
    yield tmp_path / ".venv"
    del environment.installs


def test_a_set_up_is_made_once(venv, capsys):
    for _ in range(2):
        environment.set_up(venv, latest=False)
    assert len(environment.installs) == 2  # the pins, and dashlib itself
    assert environment.mark(venv) == environment.wanted(latest=False)
    assert "set up, by uv in" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["pyproject.toml", "requirements.lock"])
def test_it_is_brought_up_to_date_when_what_it_asks_for_has_changed(venv, name):
    environment.set_up(venv, latest=False)
    (venv / "kept").touch()
    with (venv.parent / name).open("a") as file:
        file.write("# new\n")
    environment.set_up(venv, latest=False)
    assert len(environment.installs) == 4
    assert (venv / "kept").exists()
    assert environment.mark(venv) == environment.wanted(latest=False)


def test_the_newest_are_looked_for_every_time(venv):
    for _ in range(2):
        environment.set_up(venv, latest=True)
    assert [command[-3:] for command in environment.installs] == [["--upgrade", "-e", ".[all]"]] * 2
    stamp = (venv / ".installed").stat().st_mtime_ns
    environment.set_up(venv, latest=True)
    assert (venv / ".installed").stat().st_mtime_ns == stamp  # nothing that changed


def test_an_unfinished_set_up_is_started_over(venv, monkeypatch, capsys):
    def killed(command, keep):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(environment, "run", killed)
        with pytest.raises(KeyboardInterrupt):
            environment.set_up(venv, latest=False)
    assert (venv / ".unfinished").exists()
    (venv / "half").touch()
    environment.set_up(venv, latest=False)
    assert not (venv / "half").exists()
    assert "did not finish: starting over" in capsys.readouterr().out
    assert not (venv / ".unfinished").exists()


def test_a_damaged_one_is_started_over(venv, monkeypatch, capsys):
    environment.set_up(venv, latest=False)
    answers = iter([["x is missing"], []])
    monkeypatch.setattr(environment, "faults", lambda venv: next(answers))
    environment.set_up(venv, latest=False)
    assert "damaged (x is missing; 1 in all): starting over" in capsys.readouterr().out
    assert len(environment.installs) == 4


def test_one_that_is_not_whole_is_never_called_finished(venv, monkeypatch):
    monkeypatch.setattr(environment, "faults", lambda venv: ["x is missing"])
    with pytest.raises(SetupError, match=r"x is missing .*starts over"):
        environment.set_up(venv, latest=False)
    assert environment.mark(venv) == ""


def test_a_lock_older_than_pyproject_names_the_command_that_mends_it(venv, monkeypatch, capsys):
    missing = ["Py_Arrow2 is not installed"]
    monkeypatch.setattr(environment, "faults", lambda venv: missing)
    with pytest.raises(SetupError, match=r"does not pin Py_Arrow2, .* run `make lock`"):
        environment.set_up(venv, latest=False)
    monkeypatch.setenv("SETUP_FOR", "make lock")
    environment.set_up(venv, latest=False)  # the command itself goes on
    assert "will be made anew once it does" in capsys.readouterr().out
    assert environment.mark(venv) == "", "and leaves no finished environment"
    missing.append("torch is not installed")
    with pytest.raises(SetupError, match="does not pin Py_Arrow2"):
        environment.set_up(venv, latest=False)
    missing.remove("Py_Arrow2 is not installed")
    with pytest.raises(SetupError, match=r"torch is not installed .*starts over"):
        environment.set_up(venv, latest=False)


def test_a_folder_that_no_set_up_made_is_left_alone(venv):
    venv.mkdir()
    (venv / "precious").touch()
    with pytest.raises(SetupError, match="did not make it"):
        environment.set_up(venv, latest=False)
    assert (venv / "precious").exists()


def test_a_full_disk_is_told_before_anything_is_downloaded(venv, monkeypatch):
    monkeypatch.setattr(environment, "NEEDED", 1e9)
    with pytest.raises(SetupError, match=r"GB are free at .*1e\+09 are needed"):
        environment.set_up(venv, latest=False)
    assert environment.installs == []


@pytest.mark.parametrize(
    ("setup", "uv_on_path", "uv_in_index", "answering", "found"),
    [
        ("", True, False, "uv pip", "/bin/uv"),
        ("", False, True, "uv pip", "/venv/uv"),
        ("", False, False, "pip", None),
        ("", True, False, "pip", None),  # an index that only pip knows
        ("pip", True, True, "uv pip", None),
        ("uv", True, False, "pip", "SETUP=uv"),
        ("", True, True, "", "no package index answers"),
        ("pip", True, True, "uv", "no package index answers"),
        ("conda", True, True, "uv pip", "SETUP=conda"),
    ],
)
def test_uv_installs_where_it_can_be_had(
    monkeypatch, setup, uv_on_path, uv_in_index, answering, found
):
    def succeeds(command, **_):
        return ("uv" if "uv" in str(command[0]) else "pip") in answering.split()

    monkeypatch.setenv("SETUP", setup)
    monkeypatch.setattr(environment.shutil, "which", lambda _: "/bin/uv" if uv_on_path else None)
    monkeypatch.setattr(environment, "uv_from_index", lambda _: "/venv/uv" if uv_in_index else None)
    monkeypatch.setattr(environment, "succeeds", succeeds)
    if found is None or found.startswith("/"):
        assert environment.find_uv(Path("/venv")) == found
    else:
        with pytest.raises(SetupError, match=found):
            environment.find_uv(Path("/venv"))


def test_the_uv_that_is_fetched_is_the_pinned_one(monkeypatch, tmp_path):
    asked = []

    def succeeds(command, **_):
        asked.append(Path(command[-1]).read_text())
        return True

    monkeypatch.setattr(environment, "succeeds", succeeds)
    assert environment.uv_from_index(tmp_path) == str(tmp_path / "bin/uv")
    (text,) = asked
    assert text.startswith("uv==")
    assert text.count("==") == 1
    assert text.count("--hash=sha256:") > 5


def test_without_a_terminal_uv_lists_no_package(capfd):
    code = "import sys; print(' + torch==2.14.1\\nInstalled 1 package', file=sys.stderr)"
    environment.run([sys.executable, "-c", code], ())
    assert capfd.readouterr().err == "Installed 1 package\n"
    with pytest.raises(SetupError, match="starts over"):
        environment.run([sys.executable, "-c", "raise SystemExit(1)"], ())


def test_an_old_python_is_told(tmp_path):
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.10.13\nexit 1\n')
    old.chmod(0o755)
    for name in ("bash", "dirname", "tail"):
        (tmp_path / name).symlink_to(shutil.which(name))
    script = SCRIPTS / "setup.sh"
    done = subprocess.run([script], env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Python 3.11 or newer is needed; python3 is Python 3.10.13" in done.stderr


def test_what_changed_in_the_lock_is_shown():
    old = (
        "a==1 \\\nb==1 ; python_version < '3.12' \\\nb==2 ; python_version >= '3.12' \\\nc==1 \\\n"
    )
    new = (
        "a==2 \\\nb==1 ; python_version < '3.12' \\\nb==3 ; python_version >= '3.12' \\\nd==1 \\\n"
    )
    assert [line.split() for line in lock.changes(old, new)] == [
        ["a", "1", "->", "2"],
        ["b", "2", "->", "3"],
        ["c", "1", "->", "-"],
        ["d", "-", "->", "1"],
    ]
    assert lock.changes(old, old) == []
