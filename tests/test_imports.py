"""Check what dashlib needs, by importing it where other packages cannot be imported."""

import ast
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
BOOK = {"matplotlib", "IPython", "ipywidgets", "ipykernel", "traitlets", "nbformat", "nbclient"}
BOOK |= {"jupyter", "jupyter_core", "jupyter_client", "jupyterlab", "jupytext", "jupyter_book"}
BOOK |= {"dashbook", "benchmarks"}
SCRIPT = """
import sys
from importlib import import_module
from importlib.machinery import PathFinder

class Rest(PathFinder):  # finds what is installed, but for the blocked packages
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] not in {blocked}:
            return super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Rest
for module in {modules}:
    import_module(module)
"""


def names(pattern: str) -> list[str]:
    """Return the modules of dashlib whose files match, dotted."""
    files = [p.relative_to(ROOT).with_suffix("") for p in (ROOT / "dashlib").glob(pattern)]
    return sorted(".".join(p.parts).removesuffix(".__init__") for p in files)


def needed(*names: str) -> set[str]:
    """Return the distributions that these need, themselves included."""
    found, waiting = set(), [*names]
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in found:
            continue
        found.add(name)
        try:
            lines = [Requirement(line) for line in requires(name) or []]
        except PackageNotFoundError:
            continue
        waiting += [r.name for r in lines if not r.marker or r.marker.evaluate({"extra": ""})]
    return found


def others() -> set[str]:
    """Return all packages that are installed but what torch, numpy and safetensors need."""
    kept = needed("torch", "numpy", "safetensors")
    found = {
        top
        for top, distributions in packages_distributions().items()
        if not {canonicalize_name(d) for d in distributions} & kept
    }
    assert {"click", "tqdm", "sklearn", "torchvision", "matplotlib"} <= found
    return found - {"dashlib"}


def imported(modules: list[str], blocked: set[str], first: str = "", then: str = "") -> str:
    """Import the modules in a fresh process in which the blocked packages are missing.

    Returns the message that the process ends with, if any.
    """
    script = first + SCRIPT.format(modules=modules, blocked=sorted(blocked)) + then
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 or done.stderr.startswith("error: "), done.stderr
    return done.stderr


def test_no_module_needs_what_the_book_is_made_with_nor_a_signal_that_windows_lacks():
    """Windows has no SIGUSR1; what there is of the others is watched."""
    modules = names("**/*.py")
    assert "dashlib.cli.sample" in modules
    assert not imported(modules, BOOK, first="import signal\ndel signal.SIGUSR1")


def test_the_root_needs_torch_numpy_and_safetensors_and_the_rooms_that_need_an_extra_name_it():
    modules = ["dashlib", *(m for m in names("*.py") if m != "dashlib.__main__")]
    script = """
wanted = {
    "cli": lambda: import_module("dashlib.__main__"),
    "data": lambda: import_module("dashlib.datasets").load_dataset("digits", "nowhere"),
    "data ": lambda: import_module("dashlib.datasets").load_dataset("cifar10", "nowhere"),
}
found = []
for extra, work in wanted.items():
    try:
        work()
    except (ModuleNotFoundError, SystemExit) as error:
        found.append(f"`pip install 'dash-book[{extra.strip()}]'`" in str(error))
sys.exit(f"error: {found}")
"""
    assert imported(modules, others(), then=script) == "error: [True, True, True]\n"


def test_no_pickle_is_loaded_with_its_code():
    """``torch.load`` has ``weights_only=True`` wherever it is called, and pickles stay unread."""
    calls = []
    for folder in ("dashlib", "book", "benchmarks", "notebooks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "_build" not in path.parts:
                nodes = ast.walk(ast.parse(path.read_text()))
                calls += [(path, n) for n in nodes if isinstance(n, ast.Call)]
    loads = [(path, n) for path, n in calls if ast.unparse(n.func) == "torch.load"]
    safe = {(path, n) for path, n in loads if "weights_only=True" in ast.unparse(n)}
    assert loads
    assert not [f"{path}:{n.lineno}" for path, n in loads if (path, n) not in safe]
    pickled = {
        path.name for path, n in calls if ast.unparse(n.func) in ("pickle.load", "pickle.loads")
    }
    assert pickled <= {"test_imagenet64.py"}
