# Python 3.11 or newer and make are all it takes: `make demo`, `make test`.
PYTHON ?= python3
VENV ?= .venv
OUT ?= out/demo
BIN := $(VENV)/bin
TREE := build/tree
WORKERS ?= 2

.PHONY: help demo test test-all format lint types unit slow wheel coverage docs fix clean
.DEFAULT_GOAL := help

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/.installed ## Train a small CNN on digits and advise where to split it.
	$(BIN)/python examples/01_digits_cnn.py --out $(OUT)/model.pt
	$(BIN)/advisor recommend $(OUT)/model.pt --device raspberry-pi-4b --data digits --max-edge-memory 128KiB \
	  --min-nmse 0.4 --max-accuracy-drop 3% --defenses trained --pictures --out $(OUT)

test: format lint types unit ## Formatting, lint, types, the quick tests.

test-all: slow wheel ## What `make test` leaves out: the slow tests, and a wheel tried in a bare environment.

fix: $(VENV)/.tested ## Format, and mend what can be mended by itself.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

format: $(VENV)/.tested
	$(BIN)/ruff format --check .

lint: $(VENV)/.tested
	$(BIN)/ruff check .

types: $(VENV)/.tested  # no checker follows package-dir in the checkout, so the built tree is checked
	rm -rf build
	$(BIN)/python -m pip install --quiet --no-deps --target $(TREE) .
	cd $(TREE) && "$(abspath $(BIN))/mypy" --config-file "$(CURDIR)/pyproject.toml" advisor

unit: $(VENV)/.tested
	$(BIN)/python -m pytest -m "not slow" -n $(WORKERS) --dist loadfile

slow: $(VENV)/.tested
	$(BIN)/python -m pytest -m "slow and not wheel" -n $(WORKERS) --dist loadfile

wheel: $(VENV)/.tested ## Build a wheel and try it in a bare environment.
	$(BIN)/python -m pytest -m wheel

coverage: $(VENV)/.tested ## Which lines the quick tests reach.
	$(BIN)/python -m pytest -m "not slow" -n $(WORKERS) --dist loadfile --cov --cov-report=term:skip-covered --cov-report=xml

docs: $(VENV)/.documented ## Build the site into build/docs, every warning an error.
	$(BIN)/python -m sphinx -W --keep-going -q -c docs . build/docs

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "This needs Python 3.11 or newer; name yours: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --editable .
	@touch $@

$(VENV)/.tested: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --editable '.[test]'
	@touch $@ $(VENV)/.installed

$(VENV)/.documented: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --editable '.[docs]'
	@touch $@ $(VENV)/.installed

clean: ## Remove the environment and everything built.
	rm -rf $(VENV) build dist $(OUT) .coverage coverage.xml *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
