# make demo and make test are all that is needed on a fresh machine; both set up what they need.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format typecheck pytest lock clean distclean

ENVIRONMENT := source tools/env.sh
SOURCES := mm_fusion_ros test tools launch setup.py
ARGS ?=
PYTEST_ARGS ?= -n 2

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

demo: ## simulator, fusion node and robot, live over ROS 2 (ARGS="--help" for its options)
	@tools/setup.sh run
	@.venv/bin/mm-fusion demo $(ARGS)

.NOTPARALLEL:

test: setup lint typecheck pytest ## everything: linting, types, all tests

setup: ## .venv with everything for the demo, training and tests
	@tools/setup.sh dev

lint: setup ## ruff: rules and format
	@$(ENVIRONMENT); echo "ruff check"; ruff check $(SOURCES)
	@$(ENVIRONMENT); echo "ruff format --check"; ruff format --check $(SOURCES)

format: setup ## formats the sources
	@$(ENVIRONMENT); ruff check --fix-only $(SOURCES); ruff format $(SOURCES)

typecheck: setup ## mypy --strict on the package
	@$(ENVIRONMENT); echo "mypy --strict mm_fusion_ros"; mypy

pytest: setup ## the tests, two at a time (PYTEST_ARGS="-k name" for some)
	@$(ENVIRONMENT); OMP_NUM_THREADS=1 python -m pytest $(PYTEST_ARGS)

lock: setup ## pins everything that is installed now
	@$(ENVIRONMENT); python tools/lock.py

clean: ## removes what tools and builds leave; keeps .venv
	rm -rf build install log .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find mm_fusion_ros test tools launch -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## removes .venv too
	rm -rf .venv .venv-setup.log .venv-setup.lock
