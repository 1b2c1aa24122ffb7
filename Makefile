# Two commands for a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint bench bench-gpu zoo-gpu clean
.DELETE_ON_ERROR:

demo: .venv/installed
	$(BIN)/sll-zoo demo

test: .venv/tested lint
	$(BIN)/python -m pytest

lint: .venv/tested
	$(BIN)/pre-commit validate-config
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# On an idle machine; writes the pages speed and starting, and the README's table.
bench: .venv/installed
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/starting.py

# On a machine with a GPU: speed of every size, eager and compiled.
bench-gpu: .venv/installed
	for dtype in float32 bfloat16; do \
		$(BIN)/python benchmarks/speed.py --device cuda --dtype $$dtype --compile \
			--batches 1 256 1024 --batches_of_sizes 256 1024 || exit 1; \
	done

# On a machine with a GPU, with the images in data/cifar10-jpeg: 28 minutes of training and more of attacks; may be interrupted.
zoo-gpu: .venv/tested
	$(BIN)/python benchmarks/zoo_gpu.py

# Each mark is made when pip has succeeded, and made again when the dependencies change.
.venv/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sll_zoo needs Python 3.11 or later; this is " + sys.version)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

.venv/tested: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"  # knows --group
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group test
	touch $@

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache outputs
