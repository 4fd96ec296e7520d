# Every target sets up what it needs; nothing but Python 3.11+ and make is assumed.
SHELL := /bin/sh
PYTHON ?= python3
MANIFEST ?= manifests/quickstart.yaml
ARGS ?=
EXTRAS ?=
VENV := .venv
BIN := $(VENV)/bin
# A lock holds everything and is installed as it stands: pip resolves nothing, so that what is
# published later changes nothing. Twice quiet: errors only.
PIP := $(BIN)/python -m pip --disable-pip-version-check -q -q
INSTALL := $(PIP) install --no-deps
LOCKED := $(INSTALL) --require-hashes -r
PIP_CHECK := out=$$($(BIN)/python -m pip check --disable-pip-version-check) || { echo "$$out" >&2; exit 1; }
LOCKED_EXTRAS := $(patsubst requirements-%.lock,%,$(filter-out requirements-dev.lock,$(wildcard requirements-*.lock)))
UNKNOWN_EXTRAS := $(filter-out $(LOCKED_EXTRAS),$(EXTRAS))
ifneq ($(UNKNOWN_EXTRAS),)
$(error EXTRAS has no $(UNKNOWN_EXTRAS); there are: $(LOCKED_EXTRAS))
endif

.DEFAULT_GOAL := help
.PHONY: help setup dev run plan status report reconcile review verify export test peers check format bench bench-scale torture mutants fresh lock clean

help: ## print the targets
	@echo "usage: make TARGET [MANIFEST=$(MANIFEST)] [ARGS='--limit 5']"
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 14

$(VENV)/.setup: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "retouch needs Python 3.11 or newer")'
	@echo "setting up $(VENV) ..." >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(LOCKED) requirements.lock
	@$(INSTALL) --no-build-isolation -e .
	@ls $(VENV)/.dev $(VENV)/.extra-* >/dev/null 2>&1 || { $(PIP_CHECK); } # else the rest follows first
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.setup
	@echo "setting up what tests and checks need ..." >&2
	@$(LOCKED) requirements-dev.lock --no-compile
	@$(PIP_CHECK)
	@touch $@

$(VENV)/.extra-%: requirements-%.lock $(VENV)/.setup
	@echo "setting up the extra $* ..." >&2
	@$(LOCKED) $<
	@$(PIP_CHECK)
	@touch $@

setup: $(VENV)/.setup $(EXTRAS:%=$(VENV)/.extra-%) ## install retouch and rehearsals into .venv; EXTRAS='ray storage' too

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

reconcile: setup ## MANIFEST's ledger against a bill; ARGS='--bill FILE'
	@$(BIN)/retouch reconcile $(MANIFEST) $(ARGS)

review: setup ## look at the pictures, keep or reject them; live while a run goes on
	@$(BIN)/retouch review $(MANIFEST) $(ARGS)

export: setup $(VENV)/.extra-export ## the finished data set; ARGS='--to DIR --format imagefolder'
	@$(BIN)/retouch export $(MANIFEST) $(ARGS)

# Which test takes long is not known before: who has none left takes another's.
TOGETHER := $(BIN)/python -m pytest -n auto --dist worksteal
test: dev ## run the tests
	@$(TOGETHER) $(ARGS)

# What OpenAI's dialect is tried against: each peer's needs stay out of retouch's own environment.
PEERS := $(VENV)/peers
$(PEERS)/.ready: tests/peers/requirements.lock tests/peers/package-lock.json $(VENV)/.dev
	@echo "setting up LiteLLM, Prism and aimock in $(PEERS) ..." >&2
	@test -x $(PEERS)/python/bin/python || $(PYTHON) -m venv $(PEERS)/python
	@$(BIN)/uv pip install -q --python $(PEERS)/python/bin/python --no-deps --require-hashes -r tests/peers/requirements.lock
	@cp tests/peers/package.json tests/peers/package-lock.json $(PEERS)
	@PATH="$(CURDIR)/$(PEERS)/python/bin:$$PATH" npm ci --prefix $(PEERS) --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
	@touch $@

peers: dev $(PEERS)/.ready ## runs against servers that nobody here wrote: LiteLLM, Prism, aimock
	@RETOUCH_PEERS="$(CURDIR)/$(PEERS)" $(BIN)/python -m pytest tests/peers $(ARGS)

check: dev ## format, lint, types, layers, tests with coverage
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/biome check --config-path=tests/review/pages src/retouch/review/static
	@$(TOGETHER) --cov --cov-report=term:skip-covered $(ARGS)

format: dev ## format the code and mend what lint can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

fresh: ## prove that a fresh clone sets itself up, whatever is published later (some minutes)
	@$(PYTHON) tests/proofs/fresh_machine.py

torture: dev ## the crash, fault and fuzz proofs at full size (an hour)
	@$(BIN)/python -m tests.proofs.torture $(ARGS)

mutants: dev ## small changes of meaning that the tests must notice; ARGS='costs --sample 200'
	@$(BIN)/python -m tests.proofs.mutants $(ARGS)

bench: dev ## speed, as ratios against references in the same run
	@$(BIN)/python -m tests.bench $(ARGS)

bench-scale: dev ## what a million jobs cost, planned, run, looked at and run again (an hour); ARGS='--jobs 100000'
	@$(BIN)/python -m tests.bench.scale $(ARGS)

# One look-up decides every version (dev's); the other locks are parts of it. An extra's lock holds
# what requirements.lock does not; for a new extra, begin with an empty requirements-NAME.lock.
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-emit-index-url --no-annotate --custom-compile-command 'make lock' pyproject.toml
$(BIN)/uv: # not from dev: what pyproject.toml asks for anew is in no lock yet
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(LOCKED) requirements-dev.lock

lock: $(BIN)/uv ## renew the locked dependencies
	@$(COMPILE) --all-extras -o requirements-dev.lock $(ARGS)
	@$(COMPILE) --extra rehearsal --extra build -c requirements-dev.lock -o requirements.lock
	@$(subst pyproject.toml,tests/peers/requirements.in,$(COMPILE)) -o tests/peers/requirements.lock
	@$(subst pyproject.toml,tests/bench/peers.in,$(COMPILE)) -o tests/bench/peers.lock
	@PATH="$(CURDIR)/$(PEERS)/python/bin:$$PATH" npm install --prefix tests/peers --package-lock-only --omit-lockfile-registry-resolved --ignore-scripts --no-audit --no-fund --loglevel=error
	@for extra in $(LOCKED_EXTRAS); do $(COMPILE) --extra $$extra $$(sed -En 's/^([a-z0-9._-]+).*==.*/--no-emit-package \1/p' requirements.lock) -c requirements-dev.lock -o requirements-$$extra.lock || exit; done

clean: ## remove what setup and the checks made (never outputs/)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .schemathesis .coverage*
