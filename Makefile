# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test check lint types architecture docs format bench soak test-oldest clean help

demo: $(STAMP)  ## run the main job: one process talks, a second one remembers
	$(BIN)/python examples/demo.py

test: $(STAMP)  ## run every test but the soak, a file at a time on each core
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

check: lint types architecture docs  ## lint, types, architecture, examples, README code blocks

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

architecture: $(STAMP)
	$(BIN)/python -m pytest tests/architecture -q

docs: $(STAMP)
	$(BIN)/python -m pytest tests/docs -q

format: $(STAMP)  ## apply the formatter and the safe fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP)  ## measure speed, beside the floor and the peers that are installed
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/speed.py 600 10000 --peers
	$(BIN)/python benchmarks/langgraph_store.py 1000 10000
	$(BIN)/python benchmarks/server.py
	$(BIN)/python benchmarks/moving.py

soak: $(STAMP)  ## the long runs
	$(BIN)/python -m pytest -m soak

test-oldest:  ## the test suite on the lowest supported version of every dependency
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	.venv-oldest/bin/python -m pip install --quiet --editable . --group test --constraint tests/oldest.txt
	.venv-oldest/bin/python -m pytest --ignore tests/docs --ignore tests/architecture

$(STAMP): pyproject.toml
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable . --group test --group lint
	touch $(STAMP)

clean:  ## remove everything that was made
	rm -rf $(VENV) .venv-oldest .pytest_cache .mypy_cache .ruff_cache .hypothesis

help:
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*##/ -/'
