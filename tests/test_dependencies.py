"""pyproject.toml is the one list of dependencies; environment.yml and the Makefile point at it."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from setuptools import find_packages

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
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


def test_conda_adds_nothing_but_python_and_pip():
    names = [d if isinstance(d, dict) else re.split(r"[<>=!~ ]", d)[0] for d in CONDA]
    assert names == ["python", "pip", {"pip": ["-e .[all]"]}]


def test_conda_agrees_on_python():
    (bounds,) = [m["bounds"] for d in CONDA if isinstance(d, str) and (m := PYTHON.fullmatch(d))]
    assert SpecifierSet(bounds) == SpecifierSet(PROJECT["requires-python"])


def test_makefile_installs_the_same_extra():
    assert "-e '.[all]'" in (ROOT / "book/scripts/setup.sh").read_text()
    assert "book/scripts/setup.sh" in (ROOT / "Makefile").read_text()


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


def test_the_library_alone_needs_no_jupyter():
    names = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}
    assert not names & {
        "jupyterlab",
        "jupytext",
        "ipywidgets",
        "jupyter-book",
        "ipykernel",
        "nbval",
    }


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
    assert {"dashlib.runs.sweep", "dashbook.figures"} <= set(found)
