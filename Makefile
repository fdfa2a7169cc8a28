# docs/running.md has plain commands for those without make.

VENV := .venv
ifeq ($(OS),Windows_NT)
    PYTHON3 ?= python
    PYTHON := $(VENV)/Scripts/python
else
    PYTHON3 ?= python3
    PYTHON := $(VENV)/bin/python
endif

# A mistyped parameter is named, because it would have no effect.
PARAMETERS := NOTEBOOK DATASET SAMPLE_IMAGES VAL_SHARE TEST_SHARE SEED VERIFY NETWORK PRETRAINED IMAGE_SIZE EPOCHS \
    BATCH_SIZE LR PROCESSES LAYER_NAME SCALE IMAGES_PER_CLASS CLASS CARDS CARDS_OF PICTURES IMAGES SCENES NETWORKS BET_PART \
    BET_WHEELS_ALONE BET_TRIANGLES BET_BRIGHTEST TENSORBOARD DEVICE BFLOAT16 CHANNELS_LAST KEEP_FREED_MEMORY \
    RECOGNIZER_WORKSPACE PYTHON3 PYTHON TORCH_INDEX PIP_INDEX_URL
$(foreach name,$(.VARIABLES),$(if $(findstring command line,$(origin $(name))),\
    $(if $(filter $(name),$(PARAMETERS)),,$(warning $(name) is not a parameter of this project, see docs/running.md))))

# Parameters of make become environment variables of the notebooks: make run DATASET=street EPOCHS=3
# They are passed on unchanged. Otherwise make would treat a $ in them as the start of a variable of its own.
$(foreach name,$(.VARIABLES),$(if $(findstring command line,$(origin $(name))),\
    $(eval override $(name) := $$(value $(name)))$(eval export $(name))))

# uv installs several times faster than pip. It gives up if a server is silent for this many seconds; then pip is used.
export UV_HTTP_TIMEOUT ?= 120
PIP := $(PYTHON) -m pip install --quiet --disable-pip-version-check
UV = $(PYTHON) -m uv pip install --compile-bytecode --python $(PYTHON) $(addprefix --default-index ,$(PIP_INDEX))
PIP_INDEX = $(or $(PIP_INDEX_URL),$(shell $(PYTHON) -m pip config get global.index-url 2>&1 | grep ^http))

.PHONY: help setup run train test first-half-of-tests second-half-of-tests lint lab tensorboard bench notebooks clean
.DEFAULT_GOAL := help

help:  ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 14

$(VENV)/ready: requirements.txt pyproject.toml
	@$(PYTHON3) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'This is Python %d.%d; 3.11 or newer is needed. Name it: make run PYTHON3=python3.12' % sys.version_info[:2])"
	$(PYTHON3) -m venv $(VENV)
ifdef TORCH_INDEX
	$(PIP) torch torchvision --index-url $(TORCH_INDEX)
endif
	$(PIP) --only-binary :all: uv && $(UV) -r requirements.txt || (echo "uv failed, so pip installs the packages." && $(PIP) -r requirements.txt)
	$(PIP) --no-deps --no-build-isolation -e .
	@$(PYTHON) -c "import pathlib; pathlib.Path('$@').touch()"

setup: $(VENV)/ready  ## create .venv and install the packages

run: setup  ## run notebooks 01 to 03; for example: make run DATASET=street NOTEBOOK=03 LAYER_NAME=conv2
	$(PYTHON) notebooks/run.py $(or $(NOTEBOOK),01 02 03)

test: setup  ## run all tests, including the notebooks, two at a time
	@$(MAKE) --no-print-directory -j 2 first-half-of-tests second-half-of-tests

# The halves take about the same time. Each of the two uses one thread, so that two cores are enough.
first-half-of-tests second-half-of-tests: export OMP_NUM_THREADS ?= 1
MOVED := tests/evidence tests/test_drawings.py tests/test_processes.py

first-half-of-tests:
	$(PYTHON) -m pytest tests $(addprefix --ignore=,$(MOVED))

second-half-of-tests:
	$(PYTHON) -m pytest notebooks $(MOVED)

lint: setup  ## check the style of the code
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check

train: setup  ## notebooks 01 and 02 as one command; for example: make train PROCESSES=2 DATASET=street
	$(PYTHON) -m recognizer.network.train_command

lab: setup  ## open the notebooks in JupyterLab
	$(PYTHON) -m jupyter lab notebooks

tensorboard: setup  ## show all runs in TensorBoard
	$(PYTHON) -m tensorboard.main --logdir logs --samples_per_plugin images=100

bench: setup  ## compare the speed with a plain version of the same work, for example with DATASET=street
	$(PYTHON) benchmarks/bench.py

notebooks: setup  ## run all notebooks on the drawn sample and store the outputs in them
	DATASET=sample $(PYTHON) notebooks/run.py --store $(or $(NOTEBOOK),01 02 03 04 05 06)

clean:  ## remove the data, logs and pictures of all runs, and also your own files in datasets/
	@$(PYTHON3) notebooks/clean.py
