# `make demo` and `make test` are all that a new user needs: each makes .venv, installs what it wants, and runs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Versions that were tested together, where the environment's Python has such a file; otherwise the bounds in
# pyproject.toml. Asked for when it is needed: there is no environment before.
CONSTRAINTS = $(wildcard constraints/python$(shell $(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])').txt)
PIP_INSTALL = $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check $(addprefix --constraint ,$(CONSTRAINTS))
CHECK_VERSION := -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))'
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

# A stamp, because a failed venv leaves a Python without pip behind. It has the time of the environment: one that was
# there already and serves is kept with what is installed in it.
$(VENV)/.made:
	@{ $(BIN)/python $(CHECK_VERSION) && $(BIN)/python -m pip --version; } >/dev/null 2>&1 || { \
	    $(PYTHON) $(CHECK_VERSION) || \
	        { echo "$(PYTHON) is not Python 3.10 to 3.13; name one with: make PYTHON=python3.11 ..." >&2; exit 2; }; \
	    $(PYTHON) -m venv --clear $(VENV) && $(BIN)/python -m pip --version >/dev/null || \
	        { echo "$(PYTHON) could not make $(VENV); on Debian and Ubuntu install python3-venv first" >&2; exit 2; }; \
	}
	@touch -r $(VENV)/pyvenv.cfg $@

$(VENV)/.demo: pyproject.toml $(wildcard constraints/*.txt) $(VENV)/.made
	@echo "Installing the packages for training and export into $(VENV); this takes a minute or two."
	$(PIP_INSTALL) --editable '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml $(wildcard constraints/*.txt) $(VENV)/.made
	@echo "Installing the packages for development into $(VENV); this takes a minute or two."
	$(PIP_INSTALL) --editable '.[dev]'
	@touch $@ $(VENV)/.demo
