"""Defaults that make `pytest --nbval` work from any directory without further flags."""

import os

import pytest
from nbval_tolerance import tolerant

# One thread a process, as in the Makefile: fast on few cores, and the same digits on every machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

LONGEST = (  # files that take half a minute or share a long set-up, longest first; then notebooks
    *("test_acceptance_paper_scale", "test_session", "test_engine", "11_your_own_model"),
    *("01_teacher", "test_live_engine", "07_playground", "03_dual_branch_distillation"),
    *("02_guidance_gap_collapse", "09_gap_atlas", "test_cifar10_sweep", "test_making"),
    *("test_distillation", "test_cli_evaluate", "test_live_page", "test_book_explorer"),
)
BUILT_ONCE = ("test_live_page", "test_book_explorer")  # browser tests that build a book of a page


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that no process works alone at the end.

    Under ``--dist loadgroup`` what one file builds is built by one process.
    """
    rank = {name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda i: rank.get(i.path.stem, len(rank) + (i.path.suffix != ".ipynb")))
    for item in items:
        if item.path.stem in BUILT_ONCE:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


def pytest_configure(config: pytest.Config) -> None:
    """Set nbval's options where the command line leaves them open, and its idea of equality."""
    option = config.option
    if getattr(option, "nbval", False) or getattr(option, "nbval_lax", False):
        option.nbval_current_env = True  # the kernel is the Python that runs pytest
        if option.nbval_sanitize_with is None:
            option.nbval_sanitize_with = str(config.rootpath / "tests" / "nbval_sanitize.cfg")
        from nbval.plugin import IPyNbCell

        IPyNbCell.sanitize = tolerant(IPyNbCell.sanitize)
