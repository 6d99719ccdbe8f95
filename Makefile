# Two commands do everything on a fresh machine, each with its own set-up; both are safe to repeat.
#   make demo   the 36-run toy study, from plan to report
#   make test   every test; make test-fast leaves out SLURM, browsers, whole studies and what else is slow
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

STUDY := model=l3,l2,v7 data=mono,bi code=true,false langcat=alt,sel,stag

.PHONY: setup demo test test-fast tests check clean

# The marker is newer than what it was made from, so nothing is installed twice.
setup: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]" -c constraints.txt
	touch $@

demo: setup
	$(BIN)/python launch.py -m $(STUDY)
	@echo "The comparison of all 36 runs: $(CURDIR)/runs/toy/report.html"

# Types are checked beside the tests, which wait a third of their time.
test: setup
	@$(MAKE) --no-print-directory --jobs=2 check tests

tests: setup
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

# For every edit: two minutes.
test-fast: setup
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "not (slurm or browser or study or slow)"

# What needs no test to fail: style, types and imports.
check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) .cache runs
