"""The first cell of every chapter: the same text, and in Colab it makes dashlib importable."""

import subprocess
import sys

import pytest

import colab
import execute
import pinned
from execute import chapters

CHAPTER = '# %% [markdown]\n# # One\n\n# %%\nprint("one")\n'


@pytest.mark.parametrize("twin", chapters(), ids=lambda p: p.stem)
def test_every_chapter_begins_with_the_cell(twin):
    text = twin.read_text()
    assert colab.with_cell(text, colab.cell(colab.repository())) == text, (
        "run `python book/scripts/colab.py`"
    )


@pytest.mark.parametrize("prefixes", [[], ["01_"]], ids=["all", "one"])
def test_only_the_chapters_asked_for_are_rewritten(tmp_path, monkeypatch, prefixes):
    for name in ("01_one.py", "01b_two.py"):
        (tmp_path / name).write_text(CHAPTER)
    monkeypatch.setattr(execute, "NOTEBOOKS", tmp_path)
    colab.main(prefixes)
    with_cell = [p.name for p in chapters() if colab.FIRST_LINE in p.read_text()]
    assert with_cell == (["01_one.py"] if prefixes else ["01_one.py", "01b_two.py"])


def test_the_cell_is_inserted_once_and_replaced():
    once = colab.with_cell(CHAPTER, colab.cell(""))
    assert once.index("# # One") < once.index(colab.FIRST_LINE) < once.index('print("one")')
    assert colab.with_cell(once, colab.cell("")) == once
    moved = colab.with_cell(once, colab.cell("https://github.com/a/b"))
    assert 'REPOSITORY = "https://github.com/a/b"' in moved
    assert colab.with_cell(moved, colab.cell("")) == once


def test_a_chapter_without_code_is_an_error():
    with pytest.raises(ValueError, match="no code cell"):
        colab.with_cell("# %% [markdown]\n# # One\n", colab.cell(""))


def test_the_cell_is_short_and_leaves_the_packages_to_the_lock():
    source = colab.cell("")
    assert len(source.splitlines()) <= 22
    assert not any(word in source for word in ("torch", "numpy", "pip "))


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("repository: {branch: main}", ""),
        ("title: x", ""),
        ("repository: {url: https://github.com/a/b-c}", "https://github.com/a/b-c"),
    ],
)
def test_the_address_is_read_from_the_config(tmp_path, text, url):
    (tmp_path / "_config.yml").write_text(text)
    assert colab.repository(tmp_path / "_config.yml") == url


def test_an_address_that_colab_cannot_open_is_an_error(tmp_path):
    (tmp_path / "_config.yml").write_text("repository: {url: https://example.org/a}")
    with pytest.raises(ValueError, match="OWNER/NAME"):
        colab.repository(tmp_path / "_config.yml")


def run(source, folder):
    """Run the cell, then import dashlib, in a Python that sees no installed package."""
    code = f"{source}\nimport dashlib\nprint(dashlib.__file__)"
    command = [sys.executable, "-I", "-S", "-c", code]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.fixture
def source_tree(tmp_path):
    """Return a git repository that holds a dashlib."""
    tree = tmp_path / "tree"
    (tree / "dashlib").mkdir(parents=True)
    (tree / "dashlib/__init__.py").write_text("")
    (tree / "book/scripts").mkdir(parents=True)
    (tree / "book/scripts/pinned.py").write_text("open('dash-book/installed', 'w')")
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "one"]):
        subprocess.run(["git", *command], cwd=tree, check=True)
    return tree


@pytest.fixture
def content(tmp_path):
    """Return an empty folder, as Colab's /content."""
    folder = tmp_path / "content"
    folder.mkdir()
    return folder


def test_it_clones_the_repository(source_tree, content):
    for _ in range(2):  # the second time from the clone that is there
        done = run(colab.cell(source_tree.as_uri()), content)
        assert done.stdout.strip() == str(content / "dash-book/dashlib/__init__.py"), done.stderr
    assert (content / "dash-book/installed").exists()


def test_it_unpacks_an_uploaded_archive(source_tree, content):
    archive = ["git", "archive", "--prefix=dash-book/", "-o", content / "dash-book.zip", "HEAD"]
    subprocess.run(archive, cwd=source_tree, check=True)
    done = run(colab.cell(""), content)
    assert done.stdout.strip() == str(content / "dash-book/dashlib/__init__.py"), done.stderr


@pytest.mark.parametrize("address", ["", "file:///nowhere"])
def test_it_says_what_to_do_if_it_cannot(content, address):
    done = run(colab.cell(address), content)
    assert "ModuleNotFoundError: dashlib is missing" in done.stderr
    assert "make setup" in done.stderr
    assert "upload the dash-book.zip" in done.stderr


def test_it_does_nothing_where_dashlib_is_importable(source_tree, content):
    installed = f"import sys; sys.path.insert(0, {str(source_tree)!r})\n"
    done = run(installed + colab.cell(source_tree.as_uri()), content)
    assert done.stdout.strip() == str(source_tree / "dashlib/__init__.py")
    assert list(content.iterdir()) == []


LOCK = """\
click==8.1.7 ; sys_platform == 'nowhere' \\
    --hash=sha256:00
click==8.4.0 \\
    --hash=sha256:01
My_Pack==2.0 ; python_full_version >= '3.2' \\
    --hash=sha256:02
"""


def test_the_pins_are_those_of_this_python_and_platform():
    assert pinned.pins(LOCK) == {"click": "click==8.4.0", "my-pack": "My_Pack==2.0"}


def test_every_package_that_chapters_import_is_pinned():
    root = pinned.ROOT
    names = pinned.wanted((root / "pyproject.toml").read_text())
    assert {"torch", "numpy", "ipywidgets", "matplotlib"} <= set(names)
    assert {"accelerate", "click", "pillow", "scikit-learn", "torchvision"} <= set(names)
    assert set(names) <= set(pinned.pins((root / "requirements.lock").read_text()))


@pytest.mark.parametrize("uv", [None, "/bin/uv"])
def test_only_what_is_missing_is_installed(tmp_path, monkeypatch, uv):
    (tmp_path / "requirements.lock").write_text(LOCK)
    (tmp_path / "pyproject.toml").write_text(
        "[project]\ndependencies = ['numpy']\n"
        "optional-dependencies.scale = ['dash-book[data]', 'my.pack>1']"
    )
    commands = []
    monkeypatch.setattr(pinned, "ROOT", tmp_path)
    monkeypatch.setattr(pinned.shutil, "which", lambda _: uv)
    monkeypatch.setattr(pinned.subprocess, "run", lambda c, **_: commands.append(c))
    pinned.main()
    pip = ["/bin/uv", "pip", "install", "--python", sys.executable]
    assert commands == [
        [*(pip if uv else [sys.executable, "-m", "pip", "install"]), "My_Pack==2.0"]
    ]
    monkeypatch.setattr(pinned, "missing", lambda _: [])
    pinned.main()
    assert len(commands) == 1
