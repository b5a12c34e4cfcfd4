# The DASH book. `make` or `make help` lists the targets. No environment has to be active: everything runs from .venv,
# which holds what requirements.lock pins. With LATEST=1 it is .venv-latest instead, with the newest releases.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup lock verify book notebooks test lint unit nbval site browser reproduce faults readme lab format clean FORCE
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

book: $(VERIFIED)  ## execute every notebook and build the book; changes no tracked file
	@$(PY) book/scripts/build.py

notebooks: setup  ## run the .py twins and rewrite notebooks/*.ipynb with their outputs (NB=02 picks one)
	@$(PY) book/scripts/execute.py $(NB)

test: setup lint unit nbval site browser  ## lint, types, unit tests, stored outputs, strict book build, browser

lint: setup
	@$(say) "1/5 ruff and mypy"
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy

unit: setup
	@$(say) "2/5 unit tests"
	@$(PY) -m pytest tests -m "not browser" -n 2 --dist loadfile --no-loadscope-reorder

nbval: setup
	@$(say) "3/5 stored notebook outputs (nbval)"
	@$(PY) -m pytest --nbval notebooks -n 2 --dist loadfile --no-loadscope-reorder

site: setup
	@$(say) "4/5 strict book build from the stored outputs"
	@$(PY) book/scripts/build.py --stored

browser: setup
	@$(say) "5/5 the built book in a browser"
	@$(PY) -m pytest tests -m browser -rs -n 2 --dist load

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
