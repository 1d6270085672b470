# `make run` and `make test` do all the set-up they need.
.DEFAULT_GOAL := help
BIN := .venv/bin
# An interpreter that has PyTorch, for `make bench`.
TORCH_PYTHON ?= $(BIN)/python
TESTS ?= tests
EXPORT := -q --frozen --format requirements-txt --no-annotate --no-header

.PHONY: help setup run test bench check lock ui clean

help: ## Say what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

setup: .venv/ready ## Make the environment, once

.venv/ready: requirements.lock scripts/setup.sh scripts/compiler.lock scripts/postgresql.lock pyproject.toml
	@sh scripts/setup.sh

run: setup ## Learn English pronunciation, from the dictionary to a served model
	@$(BIN)/fovea run examples/quickstart.yaml

test: setup ## Run all tests, or TESTS=tests/serving
	@$(BIN)/python -m pytest -n 2 --dist loadfile -q $(TESTS)

bench: setup ## Time a training step against PyTorch's, and an epoch against the bare step (tests/benchmarks/README.md)
	@$(BIN)/python -m tests.benchmarks.epoch
	@$(BIN)/python -m tests.benchmarks.training_step --torch-python $(TORCH_PYTHON)

check: setup ## Lint, format and types, as CI and pre-commit do
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

lock: setup ## Write requirements.lock anew from pyproject.toml
	@$(BIN)/uv lock --upgrade
	@$(BIN)/uv export $(EXPORT) --no-emit-project -o requirements.lock
	@$(BIN)/uv export $(EXPORT) --only-group compiler -o scripts/compiler.lock

ui: setup ## MLflow's pages of the runs
	@$(BIN)/fovea ui

clean: ## Remove the environment (state in .fovea stays)
	@rm -rf .venv *.egg-info
