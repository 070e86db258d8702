# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# They wait for processes, servers and disks half of the time.
SPREAD := -n 4 --dist loadfile --no-loadscope-reorder
OLDEST := .venv-oldest/bin/python
LAST := tests/llama tests/mcp_server tests/surfaces/test_conditions.py \
	tests/integration/test_missing_capabilities.py
TOO_NEW := tests/surfaces/test_chains_streams.py::test_a_stream_of_an_agent_that_is_closed_early \
	tests/importers/test_repeating.py::test_stores_made_by_the_real_packages
NO_LANGMEM := --ignore tests/graph/test_langmem.py

RELEASE := .venv-release/bin/python

.PHONY: demo test quick check lint types architecture measure docs docs-site format bench soak test-oldest
.PHONY: coverage release-check clean help

demo: $(STAMP)  ## run the main job: one process talks, a second one remembers
	$(BIN)/python examples/demo.py

# Where this is set, pytest would compile all tests anew in each process of each run.
test quick: export PYTHONDONTWRITEBYTECODE =

# LangMem installs on Python 3.10, but does not import there.
test: $(STAMP)  ## run every test but the soak, a file at a time in each process
	$(BIN)/python -m compileall -q src  # once, and not in each process
	$(BIN)/python -m pytest $(SPREAD) $$($(BIN)/python -c \
		'import sys; print("$(NO_LANGMEM)" if sys.version_info < (3, 11) else "")')

quick: $(STAMP)  ## the tests without the few that take half of the time
	$(BIN)/python -m pytest $(SPREAD) -m "not soak and not slow"

check: lint types architecture docs  ## lint, types, architecture, examples, code blocks of all pages

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

architecture: $(STAMP)
	$(BIN)/python -m pytest tests/architecture -q

measure: $(STAMP)  ## print floors, folders, lines, and the files that one call passes
	$(BIN)/python -m tests.architecture.measure

docs: $(STAMP)
	$(BIN)/python -m pytest tests/docs -q

docs-site: $(STAMP)  ## build the documentation as a site, into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

format: $(STAMP)  ## apply the formatter and the safe fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP)  ## measure speed, beside the floor and the peers that are installed
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/speed.py 600 10000 --peers
	$(BIN)/python benchmarks/filters.py 10000
	$(BIN)/python benchmarks/langgraph_store.py 1000 10000
	$(BIN)/python benchmarks/server.py
	$(BIN)/python benchmarks/moving.py
	$(BIN)/python benchmarks/concurrency.py

soak: $(STAMP)  ## the long runs
	$(BIN)/python -m pytest -m soak --timeout 7200 -n 4 --dist worksteal

# Child processes count too. What is measured is slower, so that the tests get more time.
coverage: $(STAMP)  ## run the tests and print how much of the package they reach
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(SPREAD) --timeout 900 $(TESTS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# With CHECKS=--unreleased, CHANGELOG.md may lack the version; `--python PATH` names a Python to try.
release-check:  ## build sdist and wheel, look into them, install and use them
	test -d .venv-release || $(PYTHON) -m venv .venv-release
	$(RELEASE) -m pip install --quiet --upgrade "pip>=25.1"
	$(RELEASE) -m pip install --quiet --group release
	$(RELEASE) scripts/release_check.py $(CHECKS)

# Left out are docs and architecture, which speak of the newest versions, LangMem, a test of what
# LangGraph 1.0.0 does not do (stop an agent whose stream is closed), and a test of its stores in
# databases, which come with a later version. LlamaIndex and MCP ask for a newer pydantic than all
# others do, so that their tests come last and by themselves.
test-oldest: PYTHON = python3.10
test-oldest:  ## the test suite on the lowest supported version of every dependency
	$(PYTHON) -m venv --clear .venv-oldest
	$(OLDEST) -m pip install --quiet --upgrade "pip>=25.1"
	$(OLDEST) -m pip install --quiet --editable . --group test-without-llama-index \
		--constraint tests/oldest.txt
	$(OLDEST) -m pytest $(SPREAD) --ignore tests/docs --ignore tests/architecture \
		$(addprefix --ignore ,$(LAST)) $(NO_LANGMEM) \
		$(addprefix --deselect ,$(TOO_NEW))
	$(OLDEST) -m pip install --quiet --requirement tests/oldest-llama-index.txt
	$(OLDEST) -m pytest $(SPREAD) $(LAST)

$(STAMP): pyproject.toml
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable . --group test --group lint --group docs
	touch $(STAMP)

clean:  ## remove everything that was made
	rm -rf $(VENV) .venv-oldest .venv-release dist build .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis

help:
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*##/ -/'
