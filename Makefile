# The DASH book. `make` or `make help` lists the targets. No environment has to be active: everything runs from .venv,
# which holds what requirements.lock pins. With LATEST=1 it is .venv-latest instead, with the newest releases.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup lock verify book notebooks test checked executed lint unit nbval site browser reproduce faults readme lab format clean FORCE
.NOTPARALLEL:

PYTHON ?= python3
LATEST ?=
export VENV ?= $(if $(LATEST),.venv-latest,.venv)
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
VERIFIED := book/_build/.verified
NB ?=
PART ?= all

# One thread a process: two busy processes with two threads each on two cores are 5-10 times slower, and the last
# digits of a sum depend on the number of threads.
export OMP_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1
# glibc: freed memory stays with the process, which makes sampling in large batches a fifth faster (benchmarks/allocator.py).
export MALLOC_MMAP_THRESHOLD_ ?= 33554432
export MALLOC_TRIM_THRESHOLD_ ?= 1073741824
export PYTHONUNBUFFERED := 1
# uv installs no bytecode: where Python may not store it either, every process compiles torch anew (2 of 4 seconds).
unexport PYTHONDONTWRITEBYTECODE
export JUPYTER_PREFER_ENV_PATH := 1

say = printf '\n\033[1m== %s\033[0m\n'

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP)  ## create .venv and install what requirements.lock pins (LATEST=1: the newest; SETUP=pip: without uv)

$(STAMP): FORCE
	@PYTHON="$(PYTHON)" SETUP_FOR="make $(MAKECMDGOALS)" book/scripts/setup.sh $(if $(LATEST),--latest)

FORCE:

lock: setup  ## write requirements.lock after a change of pyproject.toml (LATEST=1: with the newest releases)
	@$(PY) book/scripts/lock.py $(if $(LATEST),--upgrade)

verify: setup  ## check every stored run against its weights
	@$(PY) -m dashlib verify

$(VERIFIED): $(STAMP) $(shell find dashlib results -type f -not -name '*.pyc')
	@$(PY) -m dashlib verify
	@mkdir -p $(@D) && touch $@

AGAIN = $(MAKE) -s --no-print-directory

# The pages are built on one core; what is verified keeps the other busy and is printed after them.
book: setup  ## execute every notebook, verify the stored runs and build the book; changes no tracked file
	@$(PY) book/scripts/build.py --execute
	@$(AGAIN) $(VERIFIED) > $(VERIFIED).log 2>&1 & verified=$$!; \
	$(PY) book/scripts/build.py && built=0 || built=1; wait $$verified && verified=0 || verified=1; \
	cat $(VERIFIED).log; exit $$((built + verified))

notebooks: setup  ## run the .py twins and rewrite notebooks/*.ipynb with their outputs (NB=02 picks one)
	@$(PY) book/scripts/execute.py $(NB)

test: setup checked executed browser  ## lint, types, strict book build, unit tests, stored outputs, browser

LINT = $(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) -m mypy
BUILD = $(PY) book/scripts/build.py --stored
PYTEST = $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder
SITE_LOG := book/_build/site.log

# Each of the two keeps one core busy; what the build says follows what lint says.
checked: setup
	@$(say) "1/3 ruff and mypy; a strict book build from the stored outputs"
	@mkdir -p $(dir $(SITE_LOG)); $(BUILD) > $(SITE_LOG) 2>&1 & site=$$!; \
	($(LINT)) && lint=0 || lint=1; wait $$site && built=0 || built=1; \
	cat $(SITE_LOG); exit $$((lint + built))

executed: setup
	@$(say) "2/3 unit tests and stored notebook outputs (nbval)"
	@$(PYTEST) tests notebooks --nbval -m "not browser"

lint: setup
	@$(LINT)

unit: setup
	@$(PYTEST) tests -m "not browser"

nbval: setup
	@$(PYTEST) notebooks --nbval

site: setup
	@$(BUILD)

# Three at a time: a page that waits leaves its core to another. No other file is imported.
browser: setup
	@$(say) "3/3 the built book in a browser"
	@$(PY) -m pytest $$(grep -l pytest.mark.browser tests/test_*.py) -m browser -rs -n 3 --dist loadgroup --no-loadscope-reorder

faults: setup  ## damage files, options and processes at random; prints what became of them (minutes)
	@PYTHONPATH=tests:. $(PY) -m faults --out results/faults.json

reproduce: setup  ## train the digits models again and rewrite results/ (PART=core: the headline rows)
	@$(PY) -m dashlib reproduce digits --part $(PART)
	@if [ "$(PART)" = all ]; then $(PY) -m benchmarks.repair --processes 2; $(PY) -m dashbook claims; fi

readme: setup  ## rewrite the table, timings and picture of README.md from results/
	@$(PY) book/scripts/readme.py

lab: setup  ## open the notebooks in JupyterLab, paired with their .py twins
	@$(PY) -m jupyterlab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/notebooks

format: setup  ## format and fix the code; run `make notebooks` afterwards if a chapter changed
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

clean:  ## remove builds and caches; .venv stays (remove it by hand)
	@rm -rf book/_build build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	@find . -path ./.venv -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -type d -exec rm -rf {} +
