# The two commands are `make train` and `make test`; each does its own set-up in .venv.
#   make train ARGS="steps=20000 task=walker2d"   passes options on
#   make setup PYTHON=/path/to/python3.11         chooses the interpreter

SHELL := /bin/bash
PY := .venv/bin/python
ARGS ?=
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help setup train test test-extras faults check controller drill clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo '  Options follow in ARGS, for example: make train ARGS="task=walker2d steps=200000"'

setup: ## make .venv with everything that training needs (instant when nothing has changed)
	@scripts/setup.sh test

train: setup ## train a policy; leaves policy file, video and report in runs/
	@$(PY) -m acer_robot.commands.train $(ARGS)

test: setup ## run the tests
	@$(PY) -m pytest -n auto --dist loadfile $(ARGS)

test-extras: ## install the extras (Ray, warp, Hydra's launchers, ..) and run the tests that need them
	@scripts/setup.sh extras
	@$(PY) -m pytest -m extras $(ARGS)

faults: setup ## kill, starve and damage runs, and show what was lost (some five minutes)
	@$(PY) benchmarks/faults.py $(ARGS)

check: ## linters, types on the installed wheel, doctests, wheel and sdist in a fresh environment
	@scripts/setup.sh dev
	@scripts/check.sh

controller: setup ## build the C++ controller (examples/controller) in build/controller
	@scripts/controller.sh

drill: setup ## run 200 incidents through the safety layer, in Python and, after make controller, in C++
	@OMP_NUM_THREADS=1 $(PY) benchmarks/drill.py $(ARGS)

clean: ## remove what builds and checks left (keeps .venv and runs)
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
