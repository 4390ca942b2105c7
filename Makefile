# Every target makes what it needs in .venv, says what it does, and repeats quickly.
.DEFAULT_GOAL := help
.PHONY: help setup setup-demo demo demo-transfer test docs soak fuzz lint format clean clean-venv

# Python 3.11 is the verified one; `PYTHON=/path/to/python make ...` takes another.
PYTHON ?= $(shell python3.11 -c '' 2>/dev/null && echo python3.11 || echo python3)
VENV := .venv/bin
ENVIRONMENT := $(PYTHON) tools/setup/environment.py

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */  make \1\t/' | expand -t 22

demo: setup-demo  ## pretrain on sample photographs (DATA=folder: on your images), with pictures
	@$(VENV)/python tools/demo.py $(if $(DATA),--data "$(DATA)")

demo-transfer: setup-demo  ## pretrain, then train on few labels, compared with no pretraining: about 10 min
	@$(VENV)/python tools/demo_transfer.py

test: setup  ## the whole test suite with coverage (ARGS="-k mask": some of it)
	@OMP_NUM_THREADS=1 $(VENV)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --cov --cov-report=term $(ARGS)

docs: setup-demo  ## the documentation as a site, in build/site
	@$(ENVIRONMENT) docs
	@$(VENV)/python -m sphinx --fail-on-warning --keep-going -c docs . build/site

soak: setup-demo  ## kill commands at random and resume them (ARGS="--minutes 60 --watch 60"), for hours
	@OMP_NUM_THREADS=1 $(VENV)/python tests/faults/soak.py $(ARGS)

fuzz: setup-demo  ## damaged files for every reader (ARGS="images --cases 50": some): about 10 min
	@OMP_NUM_THREADS=1 $(VENV)/python tests/faults/fuzz.py $(ARGS)

setup:  ## the full environment in .venv: about 4 min, a third of it for mmcv's compiled operators
	@$(ENVIRONMENT) full

setup-demo:  ## the part that the demo needs, without compiled operators: about 2 min
	@$(ENVIRONMENT) demo

lint: setup-demo  ## what CI checks: style, words, the ladder of imports, types
	@$(ENVIRONMENT) lint
	@$(VENV)/ruff check .
	@$(VENV)/ruff format --check .
	@$(VENV)/codespell
	@$(VENV)/lint-imports --no-cache
	@$(VENV)/pyright

format:  ## let ruff mend and format the code
	@$(ENVIRONMENT) lint
	@$(VENV)/ruff check --fix .
	@$(VENV)/ruff format .

clean:  ## remove caches and build output
	@rm -rf build dist *.egg-info .coverage* coverage.xml htmlcov .pytest_cache .ruff_cache
	@find simmim_mm tools tests configs -name __pycache__ -prune -exec rm -rf {} +

clean-venv:  ## remove .venv, to make it anew
	@rm -rf .venv
