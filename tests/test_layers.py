"""Check who may import whom, how large each room may be, and one name for one thing.

Each rule lists today's exceptions beside it; an exception that is no longer needed fails, too.
"""

import ast
import sys
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOMS = {"baselines": {"root"}, "datasets": {"root"}, "root": set()}  # what each may import
ROOMS |= {"scale": {"root", "baselines", "datasets"}}
ROOMS["runs"] = {"scale", *ROOMS["scale"]}
ROOMS["distillation"] = {"root", "baselines"}  # FitNets, by name
ROOMS["cli"] = set(ROOMS)
LINES = {"root": 2400, "baselines": 320, "datasets": 600, "runs": 800, "scale": 1300, "cli": 530}
LINES |= {"dashlib": 5800, "dashbook": 3500, "live": 1080, "explorers": 1100}
LINES["distillation"] = 692  # any model, diffusers' adapters: added later, counted apart
LONGEST = 260  # lines of a file in the root, the engine or the explorers
ROOT_NEEDS = {"torch", "numpy", "safetensors", "dashlib", *sys.stdlib_module_names}
BOOK_ONLY = {
    "matplotlib",
    "IPython",
    "ipywidgets",
    "anywidget",
    "traitlets",
    "jupytext",
    "nbformat",
    "nbclient",
}
BOOK_ONLY |= {"ipykernel", "jupyterlab", "jupyter_book", "dashbook", "benchmarks"}


def modules(package: Path) -> dict[str, Path]:
    """Map the dotted names of a package's modules to their files."""
    files = {p.relative_to(package.parent).with_suffix(""): p for p in package.rglob("*.py")}
    return {".".join(name.parts).removesuffix(".__init__"): p for name, p in files.items()}


LIBRARY = modules(ROOT / "dashlib")
BOOK = modules(ROOT / "book/dashbook")


def imports(path: Path) -> set[str]:
    """Return what a file imports anywhere in it: modules of ours in full, others as written."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{path}: relative import"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            ours = inner & {*LIBRARY, *BOOK}
            found |= ours | ({node.module} if ours != inner else set())
    return found


def room(module: str) -> str:
    """Name the room of a module of dashlib."""
    first = module.split(".")[1:2]
    if module == "dashlib.__main__":
        return "cli"
    return first[0] if first and first[0] in ROOMS else "root"


def lines(files: list[Path]) -> int:
    """Count the lines of files."""
    return sum(len(p.read_text().splitlines()) for p in files)


def test_rooms_import_only_what_they_may():
    wrong = {
        f"{module} -> {other}"
        for module, path in LIBRARY.items()
        for other in imports(path) & LIBRARY.keys()
        if room(other) not in {room(module), *ROOMS[room(module)]}
    }
    assert not wrong


def test_no_module_imports_itself_through_others():
    graph = {module: imports(path) & LIBRARY.keys() - {module} for module, path in LIBRARY.items()}
    TopologicalSorter(graph).prepare()  # CycleError names the cycle


def test_the_library_needs_nothing_of_the_book():
    tops = {module: {o.split(".")[0] for o in imports(p)} for module, p in LIBRARY.items()}
    assert not {m: bad for m, names in tops.items() if (bad := names & BOOK_ONLY)}
    root = {m: names for m, names in tops.items() if room(m) == "root"}
    assert not {m: bad for m, names in root.items() if (bad := names - ROOT_NEEDS)}


def test_rooms_keep_their_size():
    files = {name: [p for m, p in LIBRARY.items() if room(m) == name] for name in ROOMS}
    rest = [p for m, p in LIBRARY.items() if room(m) != "distillation"]
    files["root"].append(LIBRARY["dashlib.__main__"])  # it lies there, and imports as the cli
    files |= {"dashlib": rest, "dashbook": [*BOOK.values()]}
    files |= {name: [*(ROOT / "book" / name).iterdir()] for name in ("live", "explorers")}
    sizes = {name: lines(files[name]) for name in LINES}
    assert not {name: sizes[name] for name, budget in LINES.items() if sizes[name] > budget}
    longest = [*files["root"], *files["live"], *files["explorers"]]
    assert not {p.stem for p in longest if lines([p]) > LONGEST}


def defined(path: Path) -> set[str]:
    """Return the public names that a file defines at its top level."""
    body = ast.parse(path.read_text()).body
    found = {n.name for n in body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    targets = [t for n in body if isinstance(n, ast.Assign) for t in n.targets]
    targets += [n.target for n in body if isinstance(n, ast.AnnAssign)]
    found |= {t.id for t in targets if isinstance(t, ast.Name)}
    return {name for name in found if not name.startswith("_")}


def test_a_public_name_is_defined_once():
    found = Counter(name for path in LIBRARY.values() for name in defined(path))
    assert not {name for name, count in found.items() if count > 1}


def test_a_chapter_has_one_module_of_its_own():
    used = {p.stem: imports(p) & BOOK.keys() for p in (ROOT / "notebooks").glob("*.py")}
    count = Counter(module for names in used.values() for module in names)
    own = {chapter: sorted(m for m in names if count[m] == 1) for chapter, names in used.items()}
    assert not {chapter: names for chapter, names in own.items() if len(names) > 1}
