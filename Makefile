# Everything a newcomer needs; `make` alone says what there is.
PYTHON ?= python3
VENV ?= .venv
IMAGES ?=
BIN := $(VENV)/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test test-distributed check bench bench-distributed clean

help:  ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(VENV)/ready-to-run: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Headcount needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable '.[examples]'
	@touch $@

$(VENV)/ready-to-test: $(VENV)/ready-to-run
	$(INSTALL) --editable '.[examples,distributed,test]'
	@touch $@

demo: $(VENV)/ready-to-run  ## a whole job before your eyes; IMAGES=some/dir for your own photos
	@$(BIN)/headcount demo $(if $(IMAGES),'$(IMAGES)')

check: $(VENV)/ready-to-test  ## style, types and imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

test: check  ## everything: checks, the suite on SQLite and on PostgreSQL, the distributed deployment
	$(BIN)/pytest -n auto --ignore tests/distributed
	$(BIN)/python -m tests.on_postgresql
	$(BIN)/pytest -n 4 tests/distributed

test-distributed: $(VENV)/ready-to-test  ## only crashes and races of the whole distributed deployment
	$(BIN)/pytest -n 4 tests/distributed

bench: $(VENV)/ready-to-test  ## measure the embedded deployment
	$(BIN)/python -m benchmarks.embedded

bench-distributed: $(VENV)/ready-to-test  ## measure the distributed deployment and its ceiling; needs RabbitMQ
	$(BIN)/python -m benchmarks.distributed

clean:  ## remove what make made, and the demo's data
	rm -rf $(VENV) demo-data build dist
