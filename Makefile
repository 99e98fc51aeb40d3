# What a machine with nothing but Python >= 3.11 needs to try and to check the project. `make` alone lists the targets.
PYTHON ?= python3
VENV ?= .venv
RUN ?= runs/demo
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test test-fast lint format clean

help:  ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

install: $(INSTALLED)  ## Make .venv and install the project into it

# Redone when the dependencies or the version change; a half-finished install has no stamp and is taken up again.
$(INSTALLED): pyproject.toml constraints.txt selfportrait/__init__.py
	@command -v "$(PYTHON)" >/dev/null || { echo "make: no '$(PYTHON)' on this machine: install Python 3.11 or newer, or name one, as in make PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; v = sys.version.split()[0]; sys.version_info >= (3, 11) or sys.exit(f"make: $(PYTHON) is Python {v}, and selfportrait needs 3.11 or newer: name a newer one, as in make PYTHON=python3.12")'
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "make: $(PYTHON) cannot create environments: install its venv module (on Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }
	"$(PYTHON)" -m venv "$(VENV)"
	"$(BIN)/python" -m pip install --disable-pip-version-check -e ".[dev]" -c constraints.txt
	@touch "$(INSTALLED)"

demo: $(INSTALLED)  ## Improve the embedded model at counting and write a report
	"$(BIN)/selfportrait" improve gpo-micro-counting --run "$(RUN)"

# One after the other, with as many threads as torch takes by itself: some failures show only there.
test: $(INSTALLED)  ## Run every test, the slow ones too
	"$(BIN)/python" -m pytest -m "" -n 0

test-fast: $(INSTALLED)  ## Run the tests that take seconds
	"$(BIN)/python" -m pytest -m "not slow"

lint: $(INSTALLED)  ## Check style, types and spelling
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .
	"$(BIN)/mypy"
	"$(BIN)/codespell"

format: $(INSTALLED)  ## Rewrite the code in the project's style
	"$(BIN)/ruff" check --fix .
	"$(BIN)/ruff" format .

clean:  ## Remove the environment and the caches; runs are kept
	rm -rf "$(VENV)" build dist .mypy_cache .pytest_cache .ruff_cache
