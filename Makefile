# Every line here is also in the README as a plain command, for those without make.

VENV := .venv
ifeq ($(OS),Windows_NT)
    PYTHON3 ?= python
    PYTHON := $(VENV)/Scripts/python
else
    PYTHON3 ?= python3
    PYTHON := $(VENV)/bin/python
endif

# Parameters given to make reach the notebooks as environment variables: make run DATASET=street EPOCHS=3
# They go on as they are; make alone would take a $ in them for the beginning of a variable of its own.
$(foreach name,$(.VARIABLES),$(if $(findstring command line,$(origin $(name))),\
    $(eval override $(name) := $$(value $(name)))$(eval export $(name))))

# uv installs several times faster than pip. It gives up when a server is silent for this many seconds, and pip goes on.
export UV_HTTP_TIMEOUT ?= 120
PIP := $(PYTHON) -m pip install --quiet --disable-pip-version-check
UV = $(PYTHON) -m uv pip install --compile-bytecode --python $(PYTHON) $(addprefix --default-index ,$(PIP_INDEX))
PIP_INDEX = $(or $(PIP_INDEX_URL),$(shell $(PYTHON) -m pip config get global.index-url 2>&1 | grep ^http))

.PHONY: help setup run test tests-of-package tests-of-notebooks lint lab tensorboard bench notebooks clean
.DEFAULT_GOAL := help

help:  ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 14

$(VENV)/ready: requirements.txt pyproject.toml
	@$(PYTHON3) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'This is Python %d.%d; 3.11 or newer is needed. Name it: make run PYTHON3=python3.12' % sys.version_info[:2])"
	$(PYTHON3) -m venv $(VENV)
ifdef TORCH_INDEX
	$(PIP) torch torchvision --index-url $(TORCH_INDEX)
endif
	$(PIP) --only-binary :all: uv && $(UV) -r requirements.txt || (echo "uv could not do it, so pip does." && $(PIP) -r requirements.txt)
	$(PIP) --no-deps --no-build-isolation -e .
	@$(PYTHON) -c "import pathlib; pathlib.Path('$@').touch()"

setup: $(VENV)/ready  ## make .venv and install what is needed

run: setup  ## run notebooks 01 to 03; for example: make run DATASET=street NOTEBOOK=03 LAYER_NAME=conv2
	$(PYTHON) notebooks/run.py $(or $(NOTEBOOK),01 02 03)

test: setup  ## run every test, the notebooks included, two at a time
	@$(MAKE) --no-print-directory -j 2 tests-of-package tests-of-notebooks

# Each has one thread, so that two cores are enough for both.
tests-of-package tests-of-notebooks: export OMP_NUM_THREADS ?= 1

tests-of-package:
	$(PYTHON) -m pytest tests

tests-of-notebooks:
	$(PYTHON) -m pytest notebooks

lint: setup  ## check the style of the code
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check

lab: setup  ## open the notebooks in JupyterLab
	$(PYTHON) -m jupyter lab notebooks

tensorboard: setup  ## show all runs in TensorBoard
	$(PYTHON) -m tensorboard.main --logdir logs --samples_per_plugin images=100

bench: setup  ## time the plain version of the same work beside this one, for example with DATASET=street
	$(PYTHON) benchmarks/bench.py

notebooks: setup  ## run all notebooks on the drawn sample and store their outputs in them
	DATASET=sample $(PYTHON) notebooks/run.py --store $(or $(NOTEBOOK),01 02 03 04 05 06)

clean:  ## remove what runs made: data, logs and pictures; files of your own in datasets/ as well
	@$(PYTHON3) notebooks/clean.py
