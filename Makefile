# Thin lines: what they do lives in the package, in book/ and in tests/.
# Elsewhere: make VENV=/path/to/venv, make book PROFILE=conus412
VENV ?= .venv
PYTHON ?= $(shell command -v python3.11 || echo python3)
PROFILE ?= conus412-quick
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.smapnb-installed
LAB := $(VENV)/.smapnb-lab-installed

.DEFAULT_GOAL := book
.PHONY: setup book book-sphinx test test-full-size lint lab bench bench-gpu clean clean-runs

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[book,test,dev,grib,soils,cluster]"
	touch $@

book: setup
	$(BIN)/python -m book --profile $(PROFILE)

# The same pages without Jupyter Book, from the runs that are there.
book-sphinx: setup
	$(BIN)/python -m book --profile $(PROFILE) --no-run --engine sphinx

test: setup
	$(BIN)/python tests/browser.py
	@echo "left out: a week of the agencies' files at true size, some minutes; make test-full-size"
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist loadfile --no-loadscope-reorder --max-worker-restart=0 -rs --durations=15 -m "not full_size"

test-full-size: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m full_size --durations=6

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_notebooks.py -k pair

$(LAB): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[lab]"
	touch $@

lab: $(LAB)
	$(BIN)/jupyter lab notebooks

bench: setup
	$(BIN)/python -m benchmarks

# Needs a CUDA GPU and a PyTorch built for it, which make setup does not install.
bench-gpu: setup
	$(BIN)/python -m benchmarks.gpu

clean:
	rm -rf _build book/executed build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis

# Apart from clean: runs hold hours of training.
clean-runs:
	rm -rf runs
