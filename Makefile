# `make demo` and `make test` are all that a new user needs: each makes .venv, installs what it wants, and runs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Versions that were tested together, where this Python has such a file; otherwise the bounds in pyproject.toml.
CONSTRAINTS := $(wildcard constraints/python$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])').txt)
PIP_INSTALL := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check $(addprefix --constraint ,$(CONSTRAINTS))
SOURCES := cli.py edge_runtime tfganomaly export tests benchmarks

.DEFAULT_GOAL := help
.PHONY: help demo test reference check format lint types imports clean

help:  ## Show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.demo  ## Train, export and judge real images of solar cells, in 7 to 20 minutes
	$(BIN)/tfganomaly demo

test: $(VENV)/.dev  ## Run the tests
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

reference: $(VENV)/.dev  ## Install PyTorch too, for the tests and benchmarks against it
	$(PIP_INSTALL) --editable '.[reference]'

check: format lint types imports test  ## Format, lint, types, import contract, tests: what CI runs

format: $(VENV)/.dev
	$(BIN)/ruff format --check $(SOURCES)

lint: $(VENV)/.dev
	$(BIN)/ruff check $(SOURCES)

types: $(VENV)/.dev
	$(BIN)/mypy

imports: $(VENV)/.dev
	$(BIN)/lint-imports

clean:  ## Remove the virtual environment and caches
	rm -rf $(VENV) build dist *.egg-info .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	    { echo "Python 3.10 or newer is needed; name one with: make PYTHON=python3.11 ..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python pyproject.toml $(CONSTRAINTS)
	@echo "Installing the packages for training and export into $(VENV); this takes a minute or two."
	$(PIP_INSTALL) --editable '.[demo]'
	@touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml $(CONSTRAINTS)
	@echo "Installing the packages for development into $(VENV); this takes a minute or two."
	$(PIP_INSTALL) --editable '.[dev]'
	@touch $@ $(VENV)/.demo
