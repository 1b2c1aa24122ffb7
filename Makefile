# Two commands for a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
OLDEST := tests/test_laws.py tests/layers tests/models tests/certificates tests/metrics tests/zoo tests/reports tests/deployment tests/cli \
	tests/training/test_task.py tests/data/test_fit.py tests/test_configs.py tests/test_wheel.py tests/test_compat.py tests/test_empty_batches.py

.PHONY: demo test test-all test-oldest lint docs bench bench-gpu clean
.DELETE_ON_ERROR:

demo: .venv/installed
	$(BIN)/sll-zoo demo

# The quick tests: minutes on two cores.
test: .venv/tested lint
	$(BIN)/python -m pytest -m "not slow and not compile and not processes"

test-all: .venv/tested lint
	$(BIN)/python -m pytest

# The tests at the lower bounds of pyproject.toml. Ignored are warnings that are not about this package: deprecations among the old
# libraries, and a warning of torch 2.9 for every .pt2 file that it loads.
test-oldest: .venv-oldest/tested
	.venv-oldest/bin/python -m pytest -W ignore::DeprecationWarning \
		-W "ignore:The given buffer is not writable:UserWarning" $(OLDEST)

lint: .venv/tested
	$(BIN)/pre-commit validate-config
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# The site, into site/: open site/index.html by `python -m http.server -d site`. The variable silences an advertisement.
docs: .venv/documented
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet
	$(BIN)/python -m website.try_it

# Benchmarks for an idle machine: they write benchmarks/speed.md and starting.md, and the table of docs/guide/speed.md.
bench: .venv/installed
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/starting.py

# Speed of every size on a machine with a GPU, eager and compiled.
bench-gpu: .venv/installed
	for dtype in float32 bfloat16; do \
		$(BIN)/python benchmarks/speed.py --device cuda --dtype $$dtype --compile \
			--batches 1 256 1024 --batches_of_sizes 256 1024 || exit 1; \
	done

# Files installed and tested are marks: each is written when pip has succeeded, and again when pyproject.toml changes.
.venv/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sll_zoo needs Python 3.11 or later; this is " + sys.version)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

.venv/tested: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"  # older versions of pip have no --group
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group test --group lint --group docs
	touch $@

.venv/documented: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group docs
	touch $@

# pip installs every declared package at its lower bound, as a constraint, and the newest version that fits of all others.
.venv-oldest/tested: pyproject.toml .ci/lower_bounds.py
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python .ci/lower_bounds.py > .venv-oldest/constraints.txt
	.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check --constraint .venv-oldest/constraints.txt \
		--editable . --group test
	touch $@

clean:
	rm -rf .venv .venv-oldest .mypy_cache .pytest_cache .ruff_cache .import_linter_cache site outputs
