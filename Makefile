# Each target sets itself up: a virtual environment with the versions of constraints.txt, made
# anew when pyproject.toml, constraints.txt or the version of mimrl change.
# Settings: PYTHON (3.11 to 3.13), VENV, and MIMRL_DATA_ROOT, MIMRL_REFERENCE_ROOT for the tests
# that read real data and the numbers of other codes; without them those tests are skipped.
# One measurement of speed alone: make bench BENCH_ARGS="--only critics".
# Tests run in up to four processes, all tests of a file in one: PYTEST_ARGS="-n 0" for one.

PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=
BENCH_ARGS ?=

BIN := $(VENV)/bin
PYTEST = $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile
INPUTS := pyproject.toml constraints.txt mimrl/__init__.py
STAMP := $(VENV)/.installed-$(shell cat $(INPUTS) | cksum | cut -d ' ' -f 1)
DEMO := runs/demo/seed0

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast lint format bench clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## install into .venv; the other targets do this themselves

$(STAMP):
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info[:2] < (3, 14); sys.exit(None if ok else f"Python 3.11 to 3.13 is needed, {sys.executable} is {sys.version.split()[0]}; name another with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@rm -f $(VENV)/.installed-*
	@touch $@

demo: $(STAMP)  ## train on planted data, then read R, U1, U2 and S from the checkpoint
	$(BIN)/python train.py --config configs/demo.yaml --device cpu --overwrite
	$(BIN)/python evaluate_lsmi.py --ckpt_path $(DEMO) --dataset demo --config_path ./configs \
	    --device cpu --features text audio fused --save_path $(DEMO)/lsmi
	@echo
	@echo "The run is in $(DEMO)/ (metrics.json, log.jsonl, predictions.csv, best.safetensors);"
	@echo "its analysis is $(DEMO)/lsmi.html (the report, for a browser), lsmi.csv (every sample), lsmi.json."

test: lint  ## ruff, mypy and all tests, the slow ones too
	$(PYTEST) $(PYTEST_ARGS)

test-fast: $(STAMP)  ## the tests that take no more than a few seconds each
	$(PYTEST) -m "not slow" $(PYTEST_ARGS)

lint: $(STAMP)  ## ruff (rules and format) and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy bench/steering/__main__.py

format: $(STAMP)  ## let ruff format and mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## speed and memory: one table, and the numbers of docs/benchmarks.md
	$(BIN)/python -m bench.speed $(BENCH_ARGS)

clean:  ## remove caches and build output; the environment and the runs stay
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
