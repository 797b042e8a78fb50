PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help quickstart test test-slow test-full faults lint docs ui artifacts clean

help:
	@echo "make quickstart  a small campaign from nothing: new terminations in about ten minutes"
	@echo "make test        the quick test suite"
	@echo "make test-slow   the slower tests"
	@echo "make test-full   both"
	@echo "make faults      every fault in its long form, with the table docs/faults.md (an hour); goes on where it stopped"
	@echo "make docs        the documentation as HTML; every warning is an error"
	@echo "make ui          MLflow's pages for the campaigns in runs/"
	@echo "make artifacts   everything that hangs on the potential, in the right order (hours)"

$(STAMP): requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; set PYTHON=…")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --requirement requirements.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $(STAMP)

quickstart: $(STAMP)
	$(BIN)/searcher run configs/quickstart.yaml

test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n auto --maxprocesses 4 -m "not slow and not gpu"

test-slow: $(STAMP)
	$(BIN)/pip install --quiet --requirement requirements-cluster.txt
	$(BIN)/pytest -m "slow and not gpu"

test-full: test test-slow

faults: $(STAMP)
	$(BIN)/pip install --quiet --requirement requirements-cluster.txt
	$(BIN)/pytest tests --long-faults || [ $$? -eq 5 ]

lint: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP)
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

ui: $(STAMP)
	$(BIN)/mlflow ui --backend-store-uri sqlite:///runs/mlflow.db

artifacts: $(STAMP)
	$(BIN)/pip install --quiet --requirement requirements-label.txt
	sh relax/potentials/ruo2/make.sh $(BIN)/searcher
	sh configs/warm_starts/make.sh $(BIN)/searcher

clean:
	rm -rf $(VENV)
