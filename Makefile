# Needs only Python 3.10-3.13 and the package registries: every target makes .venv first where it is missing or out of date.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INSTALLING := $(VENV)/.installing
# CI runs the slow tests too.
MARKS := $(if $(filter true,$(CI)),-m "",)
# Two processes, each with whole files: tests of a file share what takes long to make. PARALLEL= runs all in one.
PARALLEL ?= -n 2 --dist loadfile

define CHECK_PYTHON
import sys
v = sys.version_info[:2]
if not (3, 10) <= v < (3, 14):
    sys.exit("compofa_tf needs Python 3.10 to 3.13. Choose one with: make PYTHON=python3.12. Received: $(PYTHON) = %d.%d" % v)
endef
export CHECK_PYTHON

.PHONY: help venv demo test test-all lint format typecheck tree wheel dist release clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

venv: $(INSTALLED)  ## make the virtual environment .venv with everything that is needed

# Where making .venv was interrupted, the mark .installing is left behind and the next attempt starts afresh.
$(INSTALLED): setup.py constraints.txt compofa_tf/_version.py
	@if [ -e $(INSTALLING) ]; then rm -rf $(VENV); fi
	@[ -x $(BIN)/python ] || { \
	  command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON). Choose another: make PYTHON=python3.12" >&2; exit 1; }; \
	  $(PYTHON) -c "$$CHECK_PYTHON" && mkdir -p $(VENV) && touch $(INSTALLING) && $(PYTHON) -m venv $(VENV); \
	}
	@echo "Installing into $(VENV); the first time takes a few minutes and 2.6 GB, TensorFlow being most of it."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=23.1'
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@rm -f $(INSTALLING) && touch $(INSTALLED)

demo: $(INSTALLED)  ## train, measure, search, quantize, report: minutes on a laptop CPU
	@$(BIN)/compofa demo

test: $(INSTALLED)  ## the fast tests; with CI=true all of them
	@$(BIN)/python -m pytest $(PARALLEL) $(MARKS) $(PYTEST_ARGS)

test-all: $(INSTALLED)  ## all tests, the slow ones too
	@$(BIN)/python -m pytest $(PARALLEL) -m "" $(PYTEST_ARGS)

lint: $(INSTALLED)  ## format and rules, changes nothing
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

format: $(INSTALLED)  ## format the code and mend what can be mended safely
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

typecheck: $(INSTALLED)  ## mypy on the library
	@$(BIN)/mypy

tree: $(INSTALLED)  ## write the tree of docs/architecture.md anew
	@$(BIN)/python docs/architecture_tree.py

wheel: $(INSTALLED)  ## build dist/*.whl
	@rm -rf build dist
	@$(BIN)/python -m build --wheel --outdir dist .

dist: $(INSTALLED)  ## build the sdist, and the wheel from it
	@rm -rf build dist
	@$(BIN)/python -m build --outdir dist .

release: $(INSTALLED)  ## all there is to check before a release; uploads nothing
	@.ci/release

clean:  ## remove builds and caches; keeps .venv and runs
	@rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .coverage htmlcov
	@find . -path ./$(VENV) -prune -o -path ./runs -prune -o -name __pycache__ -type d -print | xargs rm -rf
