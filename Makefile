# The commands of the project; `make help` lists them. Everything lives in .venv, build and the stack's state folder,
# except Debian packages and one package cache. `make clean` removes all of it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STACK ?= demo
RABBITMQ ?= 4.0
BROKER ?= 4.0
SOAK_MINUTES ?= 20
SOAK_REQUESTS ?= 300
SOAK_SEED ?=
BENCH_CASES ?=
RUNS ?= 5
MINUTES ?= 45
INSTALLED := $(VENV)/.installed
# Where omero-py puts its temporary files, otherwise below the home folder; it wants the folder to exist.
export OMERO_TMPDIR := $(CURDIR)/build/omero-tmp
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Tests start workers and commands by the hundred: each would compile the whole fleet anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

.PHONY: demo
demo: install ## import a plate end to end, read it back from OMERO and compare
	$(BIN)/python -m fleet_stack.demo --name $(STACK) --rabbitmq $(RABBITMQ)

.PHONY: test
test: install ## all tests, on real parts
	$(BIN)/python -m fleet_stack install
	$(BIN)/python tools/run_tests.py

.PHONY: soak
soak: install ## a fleet at work while all of it is broken at random (SOAK_MINUTES=20 SOAK_SEED=7 BROKER=4.0)
	PYTHONPATH=tests $(BIN)/python -m soak --minutes $(SOAK_MINUTES) --broker $(BROKER) --requests $(SOAK_REQUESTS) \
	  $(if $(SOAK_SEED),--seed $(SOAK_SEED))

.PHONY: faults
faults: install ## break everything under imports, on one broker (BROKER=3.10, 4.0 or newest)
	FLEET_TEST_RABBITMQ=$(BROKER) $(BIN)/python -m pytest tests/faults

.PHONY: kube-test
kube-test: install ## install the chart into a real API server (its programs are built once, about 20 minutes)
	$(BIN)/python -m pytest tests/kube

.PHONY: bench
bench: install ## measure the fleet beside OMERO's importer, within an hour (BENCH_CASES=many-4x4,big RUNS=5 MINUTES=45)
	PYTHONPATH=benchmarks $(BIN)/python -m fleet_bench --runs $(RUNS) --minutes $(MINUTES) $(if $(BENCH_CASES),--cases $(BENCH_CASES))
	PYTHONPATH=benchmarks $(BIN)/python -m fleet_bench.pages
	$(if $(BENCH_CASES),,$(BIN)/python benchmarks/listing.py)
	$(if $(BENCH_CASES),,$(BIN)/python benchmarks/watching.py)

.PHONY: bench-smoke
bench-smoke: install ## one short comparison, 2 minutes; fails where the fleet is slower than OMERO's importer
	PYTHONPATH=benchmarks $(BIN)/python -m fleet_bench --smoke --out build/bench-smoke.json

.PHONY: lint
lint: install ## ruff, mypy, import contracts, generated files up to date
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/generate_reference.py --check
	$(BIN)/python -m fleet_dashboards --check
	$(BIN)/python tools/chart_schema.py --check
	$(BIN)/python tools/chart_readme.py --check

.PHONY: install
install: $(INSTALLED) ## the environment with everything that demo and tests need

# Stamped last, so that an install that was cut is done again.
$(INSTALLED): pyproject.toml requirements/dev.txt tools/bootstrap.sh tools/build_ice.py
	PYTHON=$(PYTHON) VENV=$(VENV) tools/bootstrap.sh
	mkdir -p $(OMERO_TMPDIR)
	touch $@

.PHONY: requirements
requirements: install ## pin all dependencies anew, with hashes
	tools/pin_requirements.sh

.PHONY: reference
reference: install ## write the generated pages of docs/reference and of the chart
	$(BIN)/python tools/generate_reference.py
	$(BIN)/python tools/chart_schema.py
	$(BIN)/python tools/chart_readme.py

.PHONY: dashboards
dashboards: install ## write Grafana's dashboards, and the README's list of panels
	$(BIN)/python -m fleet_dashboards

.PHONY: stack-up stack-down stack-status stack-wipe
stack-up: install ## start a private RabbitMQ, PostgreSQL, OMERO.server and OMERO.web (STACK=demo RABBITMQ=4.0)
	$(BIN)/python -m fleet_stack up --name $(STACK) --rabbitmq $(RABBITMQ)
stack-down: install ## stop them
	$(BIN)/python -m fleet_stack down --name $(STACK)
stack-status: install ## what runs, and where
	$(BIN)/python -m fleet_stack status --name $(STACK)
stack-wipe: install ## stop them and remove all their data
	$(BIN)/python -m fleet_stack wipe --name $(STACK)

.PHONY: clean
clean: ## remove every trace: stacks, package cache, environment, build results
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m fleet_stack purge; fi
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
