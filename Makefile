# What a developer and CI run. All of it happens in .venv, made with $(PYTHON) and filled from the pinned
# requirements the first time, and again whenever they change.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --requirement
TEST_TIMEOUT_SECONDS := 120
SCRIPTS := $(filter-out %.txt,$(wildcard .ci/*)) $(wildcard tests/*.sh tests/*/*.sh tests/*/*/*.sh)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo start test chaos soak fuzz observe loadtest bench scale lint format docs clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "  ARGS=\"…\" is handed on: make demo ARGS=--help, make test ARGS=\"-k starttls\""
	@echo "  PYTHON=python3.12 makes .venv with that Python, 3.11 or newer; make clean first if there is one"

demo: $(VENV)/installed ## sandbox and gateway on this machine, and a mail through them; Ctrl-C ends it
	@$(BIN)/python -m smtpgw demo $(ARGS)

start: $(VENV)/installed-tests ## the Procfile's processes, by honcho
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/honcho start $(ARGS)

test: $(VENV)/installed-tests ## the tests
	@$(BIN)/python -m pytest --timeout $(TEST_TIMEOUT_SECONDS) $(ARGS)

chaos: $(VENV)/installed-tests ## 20,000 messages while the API fails and the gateway is killed, reloaded, restarted
	@$(BIN)/python -m tests.chaos.ledger $(ARGS)

soak: $(VENV)/installed-tests ## a steady rate for ten minutes: memory, descriptors and greenlets must not grow
	@$(BIN)/python -m tests.chaos.soak $(ARGS)

fuzz: $(VENV)/installed-fuzz ## octets that break what reads octets, looked for by atheris, a minute for each target
	@$(BIN)/python -m tests.fuzz.run $(ARGS)

observe: $(VENV)/installed-observe ## what an operator sees: Prometheus before a gateway with troubles, drawn
	@bash tests/observability/install.sh
	@$(BIN)/python -m tests.observability.observe $(ARGS)

loadtest: $(VENV)/installed build/locust/installed ## sandbox, gateway and locust on this machine: a million messages an hour, for a minute
	@$(BIN)/python -m loadtest $(ARGS)

bench: $(VENV)/installed-tests ## CPU a message, by stage and end to end, beside the stored baseline: about a minute
	@$(BIN)/python -m tests.bench $(ARGS)

scale: $(VENV)/installed-tests ## CPU a message with ARGS=connections, ARGS=workers, or ARGS=hour, which takes one
	@$(BIN)/python -m tests.bench.scale $(ARGS)

lint: $(VENV)/installed-lint $(VENV)/installed-tests ## everything that can be found wrong without running it
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile
	$(BIN)/shellcheck --shell=bash --external-sources --source-path=SCRIPTDIR --source-path=. $(SCRIPTS)
	$(BIN)/actionlint -shellcheck $(BIN)/shellcheck
	$(BIN)/zizmor --offline --quiet --persona pedantic .github
	$(BIN)/yamllint --strict .github helm loadtest
	$(BIN)/check-jsonschema --check-metaschema helm/smtpgw/values.schema.json
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/python -m tests.support.docs_check

format: $(VENV)/installed-lint ## rewrite the Python files as lint wants them
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/installed-tests ## write the generated pages and tables of the documentation
	@$(BIN)/python -m tests.support.documentation
	@$(BIN)/python -m tests.support.migrating
	@$(BIN)/python -m tests.chart.derived
	@$(BIN)/python -m tests.loadtest.options

clean: ## remove what these targets made
	rm -rf $(VENV) .sandbox build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/installed: requirements.txt | $(BIN)/python
	@echo "Installing what the gateway needs into $(VENV): about a minute the first time, then never again until it changes"
	@$(PIP_INSTALL) requirements.txt
	@touch $@

$(VENV)/installed-tests: requirements.txt requirements-tracing.txt tests/requirements.txt | $(BIN)/python
	@echo "Installing what the tests need into $(VENV)"
	@$(PIP_INSTALL) tests/requirements.txt
	@touch $@

$(VENV)/installed-fuzz: tests/fuzz/requirements.txt $(VENV)/installed-tests
	@$(PIP_INSTALL) tests/fuzz/requirements.txt || echo "atheris cannot be installed on this Python; the tests still fuzz a little"
	@touch $@

$(VENV)/installed-observe: $(VENV)/installed-tests tests/observability/requirements.txt | $(BIN)/python
	@$(PIP_INSTALL) tests/observability/requirements.txt
	@touch $@

# An environment of its own: what locust brings along is nothing the gateway should be tested with.
build/locust/installed: loadtest/requirements.txt | $(BIN)/python
	@echo "Installing locust into build/locust"
	@$(PYTHON) -m venv --clear build/locust
	@build/locust/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

$(VENV)/installed-lint: requirements.txt requirements-tracing.txt .ci/requirements.txt | $(BIN)/python
	@echo "Installing what the linters need into $(VENV)"
	@$(PIP_INSTALL) .ci/requirements.txt
	@touch $@

# Debian and Ubuntu ship python3 without the half of it that makes environments: say so before venv fails halfway.
$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { \
		echo "There is no $(PYTHON) here. Install Python 3.11 or newer, or name one: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(PYTHON) is $$($(PYTHON) --version); 3.11 or newer is needed. Name one: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) comes without venv here. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV)
