# Everything a newcomer needs; `make` alone says what there is.
PYTHON ?= python3
VENV ?= .venv
IMAGES ?=
BIN := $(VENV)/bin
PYTEST := $(BIN)/pytest -n auto --dist loadgroup --no-loadscope-reorder
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

# The tests start hundreds of processes, and each would compile every module anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test test-distributed check bench bench-distributed clean

help:  ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(BIN)/pip:
	$(PYTHON) -c 'import sys; sys.exit("Headcount needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/ready-to-run: pyproject.toml constraints.txt | $(BIN)/pip
	$(INSTALL) --editable '.[examples]'
	@touch $@

$(VENV)/ready-to-test: pyproject.toml constraints.txt | $(BIN)/pip
	$(INSTALL) --editable '.[examples,distributed,test]'
	@touch $(VENV)/ready-to-run $@

demo: $(VENV)/ready-to-run  ## a whole job before your eyes; IMAGES=some/dir for your own photos
	@$(BIN)/headcount demo $(if $(IMAGES),'$(IMAGES)')

check: $(VENV)/ready-to-test  ## style, types and imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

test: check  ## everything: checks, the suite on SQLite and on PostgreSQL, the distributed deployment
	$(PYTEST)
	$(BIN)/python -m tests.on_postgresql

test-distributed: $(VENV)/ready-to-test  ## only crashes and races of the whole distributed deployment
	$(PYTEST) tests/distributed

bench: $(VENV)/ready-to-test  ## measure the embedded deployment, and a health check of 10,000 jobs
	$(BIN)/python -m benchmarks.embedded
	$(BIN)/python -m benchmarks.health

bench-distributed: $(VENV)/ready-to-test  ## the same of the distributed one, and its ceiling; needs RabbitMQ
	$(BIN)/python -m benchmarks.distributed

clean:  ## remove what make made, and the demo's data
	rm -rf $(VENV) demo-data build dist
