"""pyproject.toml is the one list of dependencies, requirements.lock what it comes to today."""

import hashlib
import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from setuptools import find_packages

from dashlib.extras import EXTRAS

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
LOCK = (ROOT / "requirements.lock").read_text()
PIN = re.compile(
    r"^(?P<name>[\w.-]+)==(?P<version>\S+)(?: ; (?P<marker>.*?))? \\\n(?P<hashes>(?:    .*\n)+)",
    re.M,
)
PLATFORMS = [
    {"sys_platform": system, "platform_system": name, "os_name": os, "platform_machine": machine}
    for system, name, os, machine in (
        ("linux", "Linux", "posix", "x86_64"),
        ("linux", "Linux", "posix", "aarch64"),
        ("darwin", "Darwin", "posix", "arm64"),
        ("win32", "Windows", "nt", "AMD64"),
    )
]
PYTHON = re.compile(r"python(?P<bounds>[<>=!~].*)")


def reachable(extra: str) -> dict[str, Requirement]:
    """Collect what `pip install .[extra]` asks for, following dashlib's own extras."""
    found = {}
    for line in PROJECT["dependencies"] + PROJECT["optional-dependencies"][extra]:
        requirement = Requirement(line)
        if requirement.name == PROJECT["name"]:
            for inner in requirement.extras:
                found |= reachable(inner)
        else:
            found[canonicalize_name(requirement.name)] = requirement
    return found


def test_conda_adds_nothing_but_python_and_pip_to_the_pins():
    names = [d if isinstance(d, dict) else re.split(r"[<>=!~ ]", d)[0] for d in CONDA]
    assert names == ["python", "pip", {"pip": ["-r requirements.lock"]}]


def test_conda_agrees_on_python():
    (bounds,) = [m["bounds"] for d in CONDA if isinstance(d, str) and (m := PYTHON.fullmatch(d))]
    assert SpecifierSet(bounds) == SpecifierSet(PROJECT["requires-python"])


def test_all_is_every_extra():
    (requirement,) = map(Requirement, PROJECT["optional-dependencies"]["all"])
    assert requirement.extras == set(PROJECT["optional-dependencies"]) - {"all"}


@pytest.mark.parametrize(
    "package",
    [
        "torch",
        "torchvision",
        "jupyterlab",
        "jupytext",
        "matplotlib",
        "ipywidgets",
        "nbval",
        "pytorch-fid",
    ],
)
def test_the_books_tools_come_with_all(package):
    assert package in reachable("all")


@pytest.mark.parametrize(
    ("package", "broken", "working"),
    [("jupyter-book", "2.0.0", "1.0.4.post1"), ("scipy", "1.18.0", "1.17.1")],
)
def test_versions_known_to_break_are_excluded(package, broken, working):
    specifier = reachable("all")[package].specifier
    assert broken not in specifier
    assert working in specifier


def test_the_method_needs_three_packages():
    names = [Requirement(line).name for line in PROJECT["dependencies"]]
    assert names == ["numpy", "safetensors", "torch"]


def test_every_package_that_an_extra_is_named_for_comes_with_it():
    distributions = packages_distributions()
    for package, extra in EXTRAS.items():
        names = {canonicalize_name(name) for name in distributions.get(package, ())}
        assert names <= reachable(extra).keys(), f"{package} is not in the extra {extra}"


def test_a_wheel_holds_every_package():
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    find = setuptools["packages"]["find"]
    found = [
        p
        for where in find["where"]
        for p in find_packages(str(ROOT / where), include=find["include"])
    ]
    here = [
        p.parent.relative_to(folder.parent)
        for folder in (ROOT / "dashlib", ROOT / "book/dashbook")
        for p in folder.rglob("__init__.py")
    ]
    assert sorted(found) == sorted(".".join(p.parts) for p in here)
    assert {"dashlib.runs", "dashbook"} <= set(found)


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13", "3.14"])
@pytest.mark.parametrize("platform", PLATFORMS, ids=lambda p: "-".join(p.values()))
def test_the_lock_pins_all_that_pyproject_asks_for(python, platform):
    """One version of each package, and one that is allowed, on every platform and Python."""
    here = platform | {"python_version": python, "python_full_version": f"{python}.9", "extra": ""}
    pins = {}
    for pin in PIN.finditer(LOCK):
        if pin["marker"] is None or Marker(pin["marker"]).evaluate(here):
            name = canonicalize_name(pin["name"])
            assert name not in pins, f"{name} is pinned twice"
            pins[name] = pin["version"]
    for name, requirement in reachable("all").items():
        if requirement.marker is None or requirement.marker.evaluate(here):
            assert pins[name] in requirement.specifier, "run `make lock`"


def test_every_pin_has_hashes_and_no_line_names_an_index():
    pins = list(PIN.finditer(LOCK))
    assert len(pins) == LOCK.count("==") - LOCK.count("== '")
    lines = [line for pin in pins for line in pin["hashes"].splitlines()]
    assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?", line) for line in lines)
    assert "://" not in LOCK
    assert "index" not in LOCK


def test_vendored_files_are_those_that_were_looked_at():
    """And no other: their checksums are those of the packages that vendor_js.sh names."""
    lines = (ROOT / "book/scripts/vendor_js.sha256").read_text().splitlines()
    wanted = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    folders = [ROOT / "book/_vendor/_static/offline/katex", ROOT / "tests/vendor"]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    found = {str(p.relative_to(ROOT)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
    assert found == wanted


def test_an_upper_bound_has_its_reason_beside_it():
    for line in (ROOT / "pyproject.toml").read_text().splitlines():
        if re.match(r'\s*"[\w-]+(\[\w+\])?[^"]*<', line):
            assert "#" in line, line
