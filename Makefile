# background-tasks: everything a person or a pipeline runs. A fresh Linux machine with Python, a C compiler and the
# package indexes needs no step before it.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --warn-undefined-variables --no-builtin-rules --no-print-directory
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

UV_VERSION := 0.13.9
UV := $(or $(shell command -v uv 2>/dev/null),.tools/bin/uv)
VENV := .venv
RUN := $(VENV)/bin
SOURCES := operator tasks tests
# Builds inside pip must not inherit this make's flags: FalkorDB's own make would stop at them.
CLEAN := env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL
ONLY ?=
FOR ?=
WITH ?= --controllers
ENGINE ?= auto
CLUSTER := .cluster

PYENV_ROOT ?= $(HOME)/.pyenv
# The first interpreter that fits; where there is none, uv brings one.
define FIND_PYTHON
for p in python3.13 $(wildcard $(PYENV_ROOT)/versions/3.13.*/bin/python) python3.12 $(wildcard $(PYENV_ROOT)/versions/3.12.*/bin/python) python3.14 python3; do \
  if $$p -c 'import sys; sys.exit(not (3, 12) <= sys.version_info < (3, 15))' 2>/dev/null; then \
    $$p -c 'import sys; print(sys.executable)'; exit 0; fi; done; echo 3.13
endef
PYTHON ?=

##@ Start here
.PHONY: help
help: ## Show the targets.
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: setup
setup: $(VENV)/.ready ## Install Python packages into .venv, at the versions and hashes of requirements.lock.

$(VENV)/.ready: requirements.lock pyproject.toml | $(UV)
	@python=$${PYTHON:-}; [ -n "$$python" ] || python=$$($(FIND_PYTHON)); \
	[ -x $(RUN)/python ] || $(UV) venv --quiet --python "$$python" $(VENV); \
	echo "installing packages (the first time FalkorDB may be compiled: about 2 minutes)"; \
	$(CLEAN) $(UV) pip sync --quiet --python $(RUN)/python --require-hashes requirements.lock; \
	$(CLEAN) $(UV) pip install --quiet --python $(RUN)/python --no-deps --no-build-isolation --editable .
	@touch $@

.tools/bin/uv:
	@echo "installing uv $(UV_VERSION) into .tools"
	@python3 -m venv .tools || { echo "no way to install uv: install it yourself, or the package python3-venv" >&2; exit 1; }
	@.tools/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.PHONY: demo
demo: setup ## Run the samples on two workers over an embedded Redis and FalkorDB (FOR=30s to end by itself).
	@$(RUN)/bgtasks demo $(if $(FOR),--for $(FOR))

##@ Check
.PHONY: format
format: setup ## Format the code.
	@$(RUN)/ruff format $(SOURCES)
	@$(RUN)/ruff check --fix-only --quiet $(SOURCES)

.PHONY: lint
lint: setup ## Check format, lint rules and the doors between rooms.
	@$(RUN)/ruff format --check $(SOURCES)
	@$(RUN)/ruff check $(SOURCES)
	@$(RUN)/lint-imports --no-logo

.PHONY: types
types: setup ## Check types, strictly, over sources and tests.
	@$(RUN)/mypy $(SOURCES)

.PHONY: unit
unit: setup ## Run the tests that need nothing outside the process (under a minute).
	@$(RUN)/pytest -q tests/unit tests/house

.PHONY: test
test: setup ## Run every test that needs no Kubernetes node.
	@$(RUN)/pytest tests/unit tests/house tests/model tests/contract tests/laws tests/process tests/controlplane tests/chart

.PHONY: e2e
e2e: setup ## Run the end-to-end tests on the cluster of KUBECONFIG, else on a node of our own (root on Debian).
	@$(RUN)/python tests/testbed/e2e.py

.PHONY: chaos
chaos: setup ## Walk far through the model of the lease protocol and print what was found (about 10 minutes).
	@$(RUN)/python -m tests.model.chaos

.PHONY: smoke
smoke: setup ## Run every sample for a minute on three workers; fail if one never ran or any ran twice.
	@$(RUN)/python tests/bench/smoke.py

##@ A cluster
.PHONY: cluster-up
cluster-up: setup ## Start Kubernetes without a container engine (WITH="--node --metrics" for a node: root on Debian).
	@$(RUN)/python tests/testbed/cluster.py --dir $(CLUSTER) up $(WITH)

.PHONY: cluster-down
cluster-down: setup ## Stop it and remove its files.
	@$(RUN)/python tests/testbed/cluster.py --dir $(CLUSTER) down

.PHONY: image
image: setup ## Build the image that the chart asks for, by an engine or without one (ENGINE=none: build/image.tar).
	@$(RUN)/python tests/testbed/image.py --engine $(ENGINE)

.PHONY: kind
kind: setup ## Create a kind cluster that has the image (docker, kind, kubectl).
	@$(RUN)/python tests/testbed/kind.py

##@ Measure
.PHONY: bench
bench: setup ## Print each figure as one JSON line (ONLY=name,name picks).
	@$(RUN)/python -m tests.bench.run $(if $(ONLY),--only $(ONLY))

##@ Keep
.PHONY: docs
docs: setup ## Draw the README's picture from a real session.
	@$(RUN)/bgtasks demo --workers 3 --for 50s -o json --picture docs/demo.svg >/dev/null

.PHONY: chart
chart: setup ## Write what follows from the chart: its README, its snapshots, manifests/install.yaml.
	@$(RUN)/python -m tests.chart.render

.PHONY: manifests
manifests: setup ## Write what follows from the models: the resource definitions and docs/resources.md.
	@$(RUN)/python -m background_tasks.api.crd BackgroundTask >manifests/crd/backgroundtasks.yaml
	@$(RUN)/python -m background_tasks.api.crd WorkerPool >manifests/crd/workerpools.yaml
	@$(RUN)/python -m background_tasks.api.crd_page >docs/resources.md

.PHONY: lock
lock: | $(UV) ## Renew the locks of the project and of its image: versions and hashes, no index host.
	@$(UV) pip compile --quiet --universal --python-version 3.12 --generate-hashes --no-header --all-extras pyproject.toml -o requirements.lock
	@$(UV) pip compile --quiet --universal --python-version 3.12 --generate-hashes --no-header --extra catalogue --extra operator \
	  --constraints requirements.lock pyproject.toml -o requirements-image.lock

.PHONY: clean
clean: ## Remove what the targets made.
	@rm -rf $(VENV) .tools .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
