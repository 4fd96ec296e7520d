# Every target sets up what it needs; nothing but Python 3.11+ and make is assumed.
SHELL := /bin/sh
PYTHON ?= python3
MANIFEST ?= manifests/quickstart.yaml
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help setup dev run plan status report verify export test check format bench torture lock clean

help: ## print the targets
	@echo "usage: make TARGET [MANIFEST=$(MANIFEST)] [ARGS='--limit 5']"
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  \1\t\2/' | expand -t 12

$(VENV)/.setup: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "retouch needs Python 3.11 or newer")'
	@echo "setting up $(VENV) ..." >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.setup
	@echo "setting up what tests and checks need ..." >&2
	@$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@

setup: $(VENV)/.setup ## install retouch and the rehearsal service into .venv

dev: $(VENV)/.dev ## install what tests and checks need too

run: setup ## edit the pictures of MANIFEST
	@$(BIN)/retouch run $(MANIFEST) $(ARGS)

plan: setup ## say what a run would do and cost; sends nothing
	@$(BIN)/retouch plan $(MANIFEST) $(ARGS)

status: setup ## counts by outcome, cost so far, what is held
	@$(BIN)/retouch status $(MANIFEST) $(ARGS)

report: setup ## cost review
	@$(BIN)/retouch report $(MANIFEST) $(ARGS)

verify: setup ## check the ledger's chain and the pictures' digests
	@$(BIN)/retouch verify $(MANIFEST) $(ARGS)

test: dev ## run the tests
	@$(BIN)/python -m pytest -n auto $(ARGS)

check: dev ## format, lint, types, layers, tests with coverage
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest -n auto --cov --cov-report=term:skip-covered $(ARGS)

format: dev ## format the code and mend what lint can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

torture: dev ## the crash, fault and fuzz proofs at full size (an hour)
	@$(BIN)/python -m tests.proofs.torture $(ARGS)

bench: dev ## speed, as ratios against references in the same run
	@$(BIN)/python -m tests.bench $(ARGS)

lock: dev ## renew the locked dependencies
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --all-extras --custom-compile-command 'make lock' -o requirements-dev.lock pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --extra rehearsal --extra build --custom-compile-command 'make lock' -c requirements-dev.lock -o requirements.lock pyproject.toml

clean: ## remove what setup and the checks made (never outputs/)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .schemathesis .coverage*
