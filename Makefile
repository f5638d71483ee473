# Two commands are enough: `make demo` and `make test`. Each sets up what it needs in .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
NODE_MODULES := $(patsubst %,%/node_modules/.package-lock.json,examples/handoff tests/peers)

# Tests start hundreds of interpreters, each of which would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE

# Everything is run by several processes at once, as many as tests/conftest.py says; what `TESTS` names, by this one.
WORKERS ?= $(if $(TESTS),0,auto)
PYTEST := pytest --numprocesses=$(WORKERS) --dist=worksteal

STRICT := */leasehold/model/*,*/leasehold/token/*,*/leasehold/policy/*,*/leasehold/ledger/*,*/leasehold/decide/*,*/leasehold/authority/*,*/leasehold/guard/*

.PHONY: help demo test check cover format lint types layers bench bench-http screenshots clean

help: ## show the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): pyproject.toml requirements/dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Leasehold needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Run: make PYTHON=python3.12 ...")'
	@echo "setting up $(VENV) (once; a minute or two)" >&2
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m pip check --disable-pip-version-check >&2
	@touch $(STAMP)

# Programs in JavaScript judge what Leasehold speaks. Where npm is not there or gets nothing they are left out, loudly.
%/node_modules/.package-lock.json: %/package.json %/package-lock.json
	@if command -v npm >/dev/null; then echo "setting up $*/node_modules (once)" >&2; \
	  if npm ci --prefix $* --ignore-scripts --no-audit --no-fund --silent --fetch-retries=1 --fetch-timeout=60000; \
	  then touch $@; else echo "NPM COULD NOT INSTALL $*: what needs it will say that it was not run" >&2; fi; fi

demo: $(STAMP) ## a run from request to receipt, on a real repository
	@$(BIN)/leasehold demo $(DEMO)

test: $(STAMP) $(NODE_MODULES) ## every test
	@$(BIN)/python -m $(PYTEST) $(TESTS)

check: format lint types layers cover ## everything that must be green before a change lands

cover: $(STAMP) $(NODE_MODULES) ## every test, with the coverage that the conventions demand
	@rm -f .coverage.*
	@COVERAGE_PROCESS_START=pyproject.toml $(BIN)/python -m $(PYTEST) $(TESTS)
	@$(BIN)/python -m coverage combine --quiet
	@$(BIN)/python -m coverage report --fail-under=95
	@$(BIN)/python -m coverage report --include='$(STRICT)' --fail-under=100 --precision=2

format: $(STAMP)
	@$(BIN)/ruff format --check src tests examples benchmarks

lint: $(STAMP)
	@$(BIN)/ruff check src tests examples benchmarks

types: $(STAMP)
	@$(BIN)/mypy

layers: $(STAMP)
	@$(BIN)/lint-imports

bench: $(STAMP) ## what the guarantees cost, as ratios
	@$(BIN)/python -m benchmarks $(BENCH)

bench-http: $(STAMP) ## what the HTTP interface costs, as ratios, on both databases
	@$(BIN)/python -m benchmarks http $(BENCH)

screenshots: $(STAMP) ## the pictures in docs/console.md; needs Chromium
	@PYTHONPATH=tests $(BIN)/python tests/console/pictures.py docs/screenshots

clean: ## remove what the commands above made
	rm -rf $(VENV) $(dir $(NODE_MODULES)) .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
