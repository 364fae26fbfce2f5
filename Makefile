# One command runs the main job (make demo), one passes the tests (make test); both install first when needed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install demo test lint clean help

help:
	@echo "make demo     noisy digits, four methods, a table and pictures, in minutes"
	@echo "make test     all tests"
	@echo "make lint     ruff, ruff format --check, mypy"
	@echo "make install  a virtual environment in $(VENV) with the package, editable, and its test tools"
	@echo "make clean    remove what the other targets made, but not runs/, datasets/ and manifests"

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $@

demo: $(STAMP)
	$(BIN)/noisyfer make-cifar --data digits --rates 0.2,0.3,0.4
	$(BIN)/noisyfer bench --manifest data_manifests/digits.parquet --preset small --epochs 20 \
		--method vgg-clean,vgg-majority,vgg-all,proposed

# one compute thread a worker: two workers on two cores, and no more threads than cores
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
