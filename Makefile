# Every line here is also in the README as a plain command, for those without make.

VENV := .venv
ifeq ($(OS),Windows_NT)
    PYTHON := $(VENV)/Scripts/python
else
    PYTHON := $(VENV)/bin/python
endif

# Parameters given to make reach the notebooks as environment variables: make run DATASET=street EPOCHS=3

.PHONY: help setup run test lab tensorboard bench notebooks clean
.DEFAULT_GOAL := help

help:  ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 14

$(VENV)/ready: requirements.txt
	python3 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

setup: $(VENV)/ready  ## make .venv and install what is needed

run: setup  ## run notebooks 01 to 03; for example: make run DATASET=street NOTEBOOK=03 LAYER_NAME=conv2
	$(PYTHON) notebooks/run.py $(or $(NOTEBOOK),01 02 03)

test: setup  ## run every test, the notebooks included
	$(PYTHON) -m pytest

lab: setup  ## open the notebooks in JupyterLab
	$(PYTHON) -m jupyter lab notebooks

tensorboard: setup  ## show all runs in TensorBoard
	$(PYTHON) -m tensorboard.main --logdir logs --samples_per_plugin images=100

bench: setup  ## time the plain version of the same work beside this one, for example with DATASET=street
	$(PYTHON) benchmarks/bench.py

notebooks: setup  ## run all notebooks on the drawn sample and store their outputs in them
	DATASET=sample $(PYTHON) notebooks/run.py --store $(or $(NOTEBOOK),01 02 03 04 05)

clean:  ## remove what runs made: data, logs and pictures; files of your own in datasets/ as well
	python3 -c "import shutil,pathlib;[shutil.rmtree(p) if p.is_dir() else p.unlink() for d in ('datasets','logs','results_*') for f in pathlib.Path('.').glob(d) for p in f.iterdir() if p.name!='.gitkeep']"
