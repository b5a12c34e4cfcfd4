"""Set up the folder that everything runs from: one set-up at a time, whole or not at all.

python book/scripts/environment.py            install what requirements.lock pins
python book/scripts/environment.py --latest   install the newest releases that pyproject.toml allows

`make setup` comes here by way of setup.sh, which finds a Python. VENV names the folder (.venv),
SETUP the installer (uv or pip; unset: uv where it can be had), SETUP_FOR what is set up for. The
folder holds `.unfinished` from before its first package until every file that its packages list is
there, then `.installed`. One that is unfinished or lacks a file is started over. Standard library
only.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements.lock"
CHECK = Path(__file__).with_name("installed.py")
ABSENT = " is not installed"  # what installed.py says of a package
PINNED = re.compile(r"^([\w.-]+)==", re.MULTILINE)
NEEDED = 8.0  # GB: what the packages take (README) and a margin
CHANGE = re.compile(
    r"^ [-+~] \S+=="
)  # uv's line for each package: 200 of them, so for terminals only


class SetupError(Exception):
    """Say what stopped the set-up, and what to do about it."""


def say(message: str) -> None:
    print(message, flush=True)


# One at a time


@contextmanager
def alone(venv: Path, purpose: str) -> Iterator[tuple[int, ...]]:
    """Hold the set-up of a folder, waiting as long as another process does.

    Yields the file descriptors that installers must inherit: should this process be killed and an
    installer go on, the next set-up waits for that one, too.
    """
    me = f"`{purpose}` (process {os.getpid()}, since {time.strftime('%H:%M:%S')})"
    path = venv.with_name(f"{venv.name}.lock")
    if fcntl is None:
        with _alone_by_folder(path.with_suffix(".lock.d"), me):
            yield ()
        return
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            say(f"{venv.name} is being set up for {file.read()}: waiting until that is done ...")
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(me)
        file.flush()
        yield (file.fileno(),)


@contextmanager
def _alone_by_folder(folder: Path, me: str, pause: float = 1.0) -> Iterator[None]:
    """The same where files cannot be locked: whoever creates the folder holds the set-up."""
    owner, told = folder / "owner", False
    while True:
        try:
            folder.mkdir()
            break
        except FileExistsError:
            if not told:
                who = owner.read_text() if owner.exists() else "another process"
                say(f"Waiting for the set-up for {who}. If that is gone, delete {folder}.")
                told = True
            time.sleep(pause)
    try:
        owner.write_text(me)
        yield
    finally:
        shutil.rmtree(folder)


# What is there, and what is wanted


def python_of(venv: Path) -> Path:
    """The interpreter of a virtual environment."""
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def wanted(latest: bool) -> str:
    """Return the mark of a finished folder: which set it holds, of which files' making."""
    files = [ROOT / "pyproject.toml", *([] if latest else [LOCK])]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    return f"{'latest' if latest else 'locked'} {digest}"


def mark(venv: Path) -> str:
    """The mark of a finished folder; "" for any other."""
    installed = venv / ".installed"
    if (venv / ".unfinished").exists() or not installed.exists():
        return ""
    return installed.read_text().partition("\n")[0]


def faults(venv: Path) -> list[str]:
    """List what a folder lacks, in words; empty if every package is there with every file."""
    try:
        done = subprocess.run([python_of(venv), "-I", CHECK], capture_output=True, text=True)
    except OSError as error:
        return [f"its Python does not start: {error}"]
    if done.returncode:
        return [f"its packages cannot be read: {done.stderr.strip().rpartition(chr(10))[2]}"]
    return done.stdout.splitlines()


def unpinned(missing: Sequence[str], latest: bool) -> list[str]:
    """The packages among the faults that the lock does not pin: it is older than pyproject.toml."""
    pinned = {_canonical(name) for name in PINNED.findall(LOCK.read_text())}
    names = [fault.removesuffix(ABSENT) for fault in missing if fault.endswith(ABSENT)]
    return [] if latest else [name for name in names if _canonical(name) not in pinned]


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def finish(venv: Path, label: str) -> None:
    """Mark the folder as finished; the mark's time is when its packages last changed."""
    packages = sorted(path.name for path in venv.glob("[Ll]ib/**/site-packages/*.dist-info"))
    text = "\n".join([label, *packages, ""])
    installed = venv / ".installed"
    if not installed.exists() or installed.read_text() != text:
        installed.write_text(text)
    (venv / ".unfinished").unlink()


def usable(venv: Path) -> bool:
    """Tell if a folder can be brought up to date; says why if it must be started over.

    Raises ``SetupError`` for a folder that no set-up made, as it may hold something else.
    """
    if not venv.is_dir() or not any(venv.iterdir()):
        return False
    if not any((venv / name).exists() for name in (".unfinished", ".installed")):
        raise SetupError(
            f"{venv} is there, but `make setup` did not make it. Move it away, or name another "
            "folder: make VENV=.venv-dash setup"
        )
    if not mark(venv):
        say(f"The last set-up of {venv.name} did not finish: starting over.")
        return False
    if missing := faults(venv):
        say(f"{venv.name} is damaged ({missing[0]}; {len(missing)} in all): starting over.")
        return False
    return True


# The installers


def run(command: Sequence[str | Path], keep: tuple[int, ...]) -> None:
    """Run an installer, without a terminal less talkative; ``SetupError`` if it fails."""
    environment = {"UV_HTTP_TIMEOUT": "180"} | os.environ
    if sys.stderr.isatty():
        status = subprocess.run(command, cwd=ROOT, env=environment, pass_fds=keep).returncode
    else:
        pipe = subprocess.PIPE
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, pass_fds=keep, stderr=pipe, text=True
        ) as process:
            assert process.stderr is not None
            for line in process.stderr:
                if not CHANGE.match(line):
                    print(line, end="", file=sys.stderr, flush=True)
        status = process.returncode
    if status:
        raise SetupError(
            "the installer failed (its last lines say why). Run `make setup` again when that is "
            "mended: it starts over"
        )


def succeeds(command: Sequence[str | Path], **environment: str) -> bool:
    """Tell if a command, of which nothing is shown, ends well."""
    done = subprocess.run(
        command, input="packaging\n", text=True, capture_output=True, env=os.environ | environment
    )
    return done.returncode == 0


def pip_of(venv: Path) -> list[str | Path]:
    return [python_of(venv), "-m", "pip", "--disable-pip-version-check", "--no-input"]


def uv_from_index(venv: Path) -> str | None:
    """Install the uv that the lock pins; None if it cannot be had."""
    pinned = re.search(r"^uv==.*\n(?:    --hash=.*\n)+", LOCK.read_text(), re.MULTILINE)
    if pinned is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        requirement = Path(folder) / "uv.txt"
        requirement.write_text(pinned[0])
        quick = ["--retries", "1", "--timeout", "15"]
        command = [*pip_of(venv), "install", *quick, "--no-deps", "-r", requirement]
        if not succeeds(command):
            return None
    return str(python_of(venv).with_name("uv"))


def find_uv(venv: Path) -> str | None:
    """The uv to install with, from the PATH or the index; None: pip does it.

    Raises ``SetupError`` if no index answers (uv does not read pip's configuration, so that either
    may reach one where the other does not), or for an unknown SETUP.
    """
    choice = os.environ.get("SETUP", "")
    if choice not in ("", "uv", "pip"):
        raise SetupError(f"SETUP={choice}: uv or pip, or unset for uv where it can be had")
    if choice != "pip" and (uv := shutil.which("uv") or uv_from_index(venv)):
        options = ["--no-cache", "--no-header", "--quiet"]
        if succeeds([uv, "pip", "compile", "-", *options], UV_HTTP_RETRIES="1"):
            return uv
    if choice == "uv":
        raise SetupError(
            "SETUP=uv, but uv cannot be had or its index does not answer. Check the network and "
            "UV_DEFAULT_INDEX, or leave SETUP unset: pip then does it"
        )
    with tempfile.TemporaryDirectory() as folder:
        quick = ["--no-deps", "--no-cache-dir", "--retries", "1", "--timeout", "15"]
        if succeeds([*pip_of(venv), "download", *quick, "-d", folder, "packaging"]):
            return None
    raise SetupError(
        "no package index answers. Check the network, the proxy (HTTPS_PROXY) or the mirror "
        "(UV_DEFAULT_INDEX for uv, PIP_INDEX_URL for pip), then run `make setup` again"
    )


def install(venv: Path, uv: str | None, latest: bool, keep: tuple[int, ...]) -> None:
    """Install the packages and dashlib itself, whose files stay where they are."""
    if uv:
        pip: list[str | Path] = [uv, "pip", "install", "--python", python_of(venv)]
        newest: list[str | Path] = ["--upgrade"]
    else:
        pip = [*pip_of(venv), "install"]
        if not sys.stderr.isatty():
            say("pip says nothing until it is done, in some minutes ...")
            pip.append("--quiet")
        newest = ["--upgrade", "--upgrade-strategy", "eager"]
    if latest:
        run([*pip, *newest, "-e", ".[all]"], keep)
    else:
        run([*pip, "--require-hashes", "--no-deps", "-r", LOCK], keep)
        run([*pip, "--no-deps", "--no-build-isolation", "-e", "."], keep)


# The whole


def create(venv: Path) -> None:
    """An empty environment in place of whatever is there; ``SetupError`` if there is no room."""
    venv.mkdir(parents=True, exist_ok=True)
    (venv / ".unfinished").touch()
    for path in venv.iterdir():  # not the folder itself, which may be a link to another disk
        if path.name != ".unfinished":
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    free = shutil.disk_usage(venv).free / 1e9
    if free < NEEDED:
        raise SetupError(
            f"{free:.1f} GB are free at {venv}, {NEEDED:g} are needed. Free some, or name a folder "
            "on another disk: make VENV=/path/to/folder setup"
        )
    made = subprocess.run([sys.executable, "-m", "venv", venv]).returncode == 0
    if not made and (uv := shutil.which("uv")):
        options = ["--quiet", "--seed", "--allow-existing", "--python", sys.executable]
        made = subprocess.run([uv, "venv", *options, str(venv)]).returncode == 0
    if not made:
        raise SetupError(
            "Python could not create an environment (see above). On Debian and Ubuntu: "
            "apt-get install python3-venv"
        )


def set_up(venv: Path, latest: bool, keep: tuple[int, ...] = ()) -> None:
    """Bring the folder to the wanted set of packages, if it is not there yet."""
    label, good = wanted(latest), usable(venv)
    if good and not latest and mark(venv) == label:
        return
    started = time.monotonic()
    what = "the newest releases" if latest else LOCK.name
    python = sys.version.split()[0]
    say(f"Setting up {venv.name}: {what}, Python {python} ...")
    if not good:
        create(venv)
    (venv / ".unfinished").touch()
    uv = find_uv(venv)
    install(venv, uv, latest, keep)
    missing = faults(venv)
    if stale := unpinned(missing, latest):
        message = f"{LOCK.name} does not pin {', '.join(stale)}, which pyproject.toml asks for"
        if len(stale) == len(missing) and os.environ.get("SETUP_FOR") == "make lock":
            say(f"{message}: {venv.name} will be made anew once it does.")
            return  # unfinished, and good enough to write the lock
        raise SetupError(f"{message}: run `make lock`")
    if missing:
        raise SetupError(
            f"{venv.name} is not whole after the installation: {missing[0]} ({len(missing)} in "
            "all). Run `make setup` again: it starts over"
        )
    finish(venv, label)
    took = time.monotonic() - started
    say(f"{venv.name} is set up, by {'uv' if uv else 'pip'} in {took:.0f} s.")


def main(latest: bool) -> None:
    venv = (ROOT / (os.environ.get("VENV") or ".venv")).absolute()
    with alone(venv, os.environ.get("SETUP_FOR") or "make setup") as keep:
        set_up(venv, latest, keep)


if __name__ == "__main__":
    try:
        main("--latest" in sys.argv[1:])
    except (SetupError, OSError) as error:
        sys.exit(f"\nerror: {error}.")
    except KeyboardInterrupt:
        sys.exit("\nStopped. The next `make setup` starts over.")
