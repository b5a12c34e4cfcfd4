"""`make book` executes a notebook again exactly when something that it depends on has changed."""

import subprocess

import pytest

import build
from execute import read_twin, write

SOURCES = (
    "dashlib/core.py",
    "book/dashbook/figure.py",
    "results/metrics.json",
    "results/teacher.safetensors",
    "notebooks/01_tiny.py",
)


@pytest.fixture
def repo(tmp_path, monkeypatch):
    """A repository with one chapter, and an executor that only notes what it was asked to run."""
    for name in SOURCES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("old")
    runs = []

    async def run_all(twins, done):
        for twin in twins:
            runs.append(twin.stem)
            done(twin, read_twin(twin))

    monkeypatch.setattr(build, "ROOT", tmp_path)
    monkeypatch.setattr(build, "EXECUTED", tmp_path / "executed")
    monkeypatch.setattr(build, "chapters", lambda: [tmp_path / "notebooks/01_tiny.py"])
    monkeypatch.setattr(build, "run_all", run_all)
    return tmp_path, runs


def test_an_unchanged_notebook_is_executed_once(repo):
    _, runs = repo
    assert build.execute_changed() == build.execute_changed()
    assert runs == ["01_tiny"]


@pytest.mark.parametrize("name", SOURCES)
def test_a_change_executes_it_again(repo, name):
    root, runs = repo
    (before,) = build.execute_changed().values()
    (root / name).write_text("new")
    (after,) = build.execute_changed().values()
    assert runs == ["01_tiny", "01_tiny"]
    assert not before.exists()
    assert after.exists()


def test_a_new_version_of_a_package_executes_it_again(repo, monkeypatch):
    _, runs = repo
    build.execute_changed()
    monkeypatch.setattr(build, "version", lambda _: "99")
    build.execute_changed()
    assert len(runs) == 2


def test_the_stored_notebooks_stay_as_they_are(repo):
    root, _ = repo
    stored = root / "notebooks/01_tiny.ipynb"
    write(read_twin(stored.with_suffix(".py")), stored)
    before = stored.read_bytes()
    build.execute_changed()
    assert stored.read_bytes() == before


def test_staging_replaces_the_stored_notebooks(tmp_path, monkeypatch):
    book, stage = tmp_path / "book", tmp_path / "book/_build/stage"
    (book / "scripts").mkdir(parents=True)
    (book / "intro.md").write_text("# Intro")
    (tmp_path / "notebooks").mkdir()
    (book / "notebooks").symlink_to("../notebooks")
    (tmp_path / "run.ipynb").write_text("{}")
    monkeypatch.setattr(build, "BOOK", book)
    monkeypatch.setattr(build, "STAGE", stage)
    build.stage({"01_tiny.ipynb": tmp_path / "run.ipynb"})
    assert not (stage / "notebooks").is_symlink()
    assert (stage / "notebooks/01_tiny.ipynb").read_text() == "{}"
    assert (stage / "intro.md").exists()
    assert not (stage / "scripts").exists()


@pytest.fixture
def html(tmp_path):
    """Return a built book of one page: a picture of 1,000 bytes, a script and a style of 2,000."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "a b.png").write_bytes(bytes(1000))
    for name in ("a.js", "a.css"):
        (tmp_path / name).write_bytes(bytes(2000))
    page = '<img src="../a%20b.png"><img src="../a%20b.png"><img src="data:image/png;base64,AA">'
    page += '<script src="../a.js?v=1"></script><script src="../a.js"></script><script>1</script>'
    page += '<link rel="stylesheet" href="../a.css?v=2"><link rel="icon" href="none.svg">'
    (tmp_path / "notebooks/01_tiny.html").write_text(page)
    return tmp_path


def test_a_page_weighs_its_text_its_pictures_and_its_code_each_once(html):
    page = html / "notebooks/01_tiny.html"
    assert build.weight(page) == (page.stat().st_size, 1000, 4000)


def test_weights_are_printed(html, capsys):
    build.report_weights(html)
    assert "5 =     0 +     1 +     4  notebooks/01_tiny.html" in capsys.readouterr().out


def test_a_page_above_the_limit_is_an_error(html, monkeypatch):
    monkeypatch.setattr(build, "MAX_PAGE", 5000)
    with pytest.raises(RuntimeError, match=r"01_tiny\.html.*fewer or smaller"):
        build.report_weights(html)


def test_after_a_build_that_failed_sphinx_reads_every_page_again(tmp_path, monkeypatch):
    (tmp_path / "_build/.doctrees").mkdir(parents=True)
    (tmp_path / "_build/executed").mkdir()
    failed = subprocess.CompletedProcess([], returncode=1)
    monkeypatch.setattr(build.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(RuntimeError, match="did not build without warnings"):
        build.jupyter_book(tmp_path, tmp_path)
    assert [p.name for p in (tmp_path / "_build").iterdir()] == ["executed"]
