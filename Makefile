# Every target makes .venv first when it is missing or older than requirements.txt.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PRODUCTION := $(VENV)/.production
WORKSPACE ?= workspace
SCENES ?=
# Test files run side by side; each worker may hold a TensorFlow of its own (3 GB).
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: help venv venv-production secrets demo up down test test-fast test-full test-docker test-celery images coverage lint format lock clean-workspace clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo "satseg needs Python 3.11; $(PYTHON) is $$($(PYTHON) --version). Use: make venv PYTHON=/path/to/python3.11"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the pinned packages into $(VENV) (about 3 GB; minutes the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^uv==' requirements.txt)"
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --compile-bytecode -r requirements.txt
	@mkdir -p $(VENV)/tmp  # uv leaves its lock files in TMPDIR
	@TMPDIR="$(CURDIR)/$(VENV)/tmp" VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation -e .
	@rm -rf $(VENV)/tmp
	@touch $@

venv: $(READY) ## Make .venv from the pins in requirements.txt

demo: $(READY) ## The whole loop through a real Airflow; your own imagery: make demo SCENES=DIR
	@$(BIN)/python -m satseg_airflow.demo --workspace "$(WORKSPACE)" $(if $(SCENES),--scenes "$(SCENES)")

secrets: ## Write generated secrets and this machine's folders into .env, for docker-compose.yaml
	@python3 docker/make_secrets.py

up: $(READY) ## Start Airflow and MLflow on the workspace and print addresses and login
	@$(BIN)/python -m satseg_airflow.embedded up --workspace "$(WORKSPACE)"

down: $(READY) ## Stop what `make up` started
	@$(BIN)/python -m satseg_airflow.embedded down --workspace "$(WORKSPACE)"

test: $(READY) ## All tests but the long suites (up to 15 minutes on 2 cores)
	@$(PYTEST) -m "not full and not docker and not celery"

test-fast: $(READY) ## The inner loop: unit tests without TensorFlow training or a scheduler (up to 2 minutes)
	@$(PYTEST) -m "not slow and not full and not docker and not celery"

test-full: $(READY) ## Everything, the long suites too
	@$(BIN)/python -m pytest -m "not celery"

venv-production: $(READY) $(PRODUCTION) ## Add the CeleryExecutor, PostgreSQL and FAB to .venv

$(PRODUCTION): requirements-production.txt $(READY)
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps -r requirements-production.txt
	@touch $@

test-celery: venv-production ## The loop on Celery workers while workers, Redis and PostgreSQL are killed (needs Debian's redis-server, postgresql)
	@$(BIN)/python -m pytest tests/production -m celery

test-docker: $(READY) ## Images and stages in containers on a real Docker engine (skipped where there is none)
	@$(BIN)/python -m pytest -m docker

images: ## Build the Docker images: make images [IMAGES="airflow satseg satseg-gpu serving mlflow"] [BASE_IMAGE=...]
	@docker/build $(IMAGES)

coverage: $(READY) ## The inner-loop tests with line and branch coverage
	@$(PYTEST) -m "not full and not docker and not celery" --cov --cov-report=term-missing:skip-covered --cov-report=xml

lint: $(READY) ## ruff, mypy --strict, the rules between the rooms, hadolint and shellcheck
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/hadolint docker/*.Dockerfile docker/kubernetes/*.Dockerfile
	@$(BIN)/shellcheck $$(git grep -lE '^#!.*\<(ba)?sh$$')

format: $(READY) ## Format the code and mend what ruff can mend
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: $(READY) ## Resolve requirements.in into requirements.txt again
	@{ echo '# Every package, pinned; made from requirements.in by `make lock`.'; \
	  $(BIN)/uv pip compile --quiet --python-version 3.11 --upgrade --no-emit-index-url --no-annotate --no-header requirements.in; } > .requirements.tmp
	@mv .requirements.tmp requirements.txt
	@{ echo '# What CeleryExecutor, PostgreSQL and FAB add to requirements.txt; made by `make lock`.'; \
	  $(BIN)/uv pip compile --quiet --python-version 3.11 --no-emit-index-url --no-annotate --no-header requirements-production.in \
	  | grep --invert-match --line-regexp --fixed-strings --file requirements.txt; } > .requirements.tmp
	@mv .requirements.tmp requirements-production.txt
	@for image in airflow satseg satseg-gpu serving; do \
	  { echo "# Made from $$image.in by \`make lock\`; the same versions as in ../../requirements.txt."; \
	    $(BIN)/uv pip compile --quiet --python-version 3.11 --upgrade --no-emit-index-url --no-annotate --no-header \
	      --constraint requirements.txt docker/requirements/$$image.in; } > .requirements.tmp && \
	  mv .requirements.tmp docker/requirements/$$image.txt; done

clean-workspace: ## Remove the workspace: data, models, predictions, Airflow's database (asks first)
	@read -r -p "Remove $(WORKSPACE)/ with everything in it? [y/N] " answer && [ "$$answer" = y ] && rm -rf "$(WORKSPACE)" || echo "Kept."

clean: ## Remove caches (not .venv, not the workspace)
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .coverage htmlcov build
	@find include tests dags plugins -name __pycache__ -type d -prune -exec rm -rf {} +
