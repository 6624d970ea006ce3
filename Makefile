# Two commands: `make demo` and `make test`. Both set up the virtual environment when it is not there.
# The first of these that runs. A name that pyenv or the like lists but does not run is passed over.
FITS = import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(firstword $(foreach name,python3.13 python3.12 python3.11 python3,$(shell $(name) -c '$(FITS)' 2>/dev/null && echo $(name))))
# The versions that the whole suite last passed on. `make CONSTRAINTS= ...` takes the newest that the requirements allow.
CONSTRAINTS := constraints.txt
# To compute with JAX, without TensorFlow: KERAS_BACKEND=jax make demo REQUIREMENTS=requirements-jax.txt
REQUIREMENTS := requirements.txt
VENV := .venv
BIN := $(VENV)/bin
INSTALL = $(BIN)/pip install --quiet --disable-pip-version-check $(addprefix -c ,$(CONSTRAINTS))
DEMO := demo

.DEFAULT_GOAL := help
.PHONY: help venv demo test coverage docs lint constraints clean

help:  ## Show this help
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 20

venv: $(VENV)/dev  ## Create .venv and install what the application and its tests need

$(VENV)/app: $(REQUIREMENTS) requirements-base.txt $(CONSTRAINTS)
	@"$(PYTHON)" -c '$(FITS)' 2>/dev/null || \
		{ echo "You need Python 3.11, 3.12 or 3.13, found: $(or $(shell "$(PYTHON)" -V 2>&1),none). Run make PYTHON=/path/to/python3.13"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) -r $(REQUIREMENTS)
	touch $@

$(VENV)/dev: $(VENV)/app $(wildcard requirements-*.txt)
	$(INSTALL) -r requirements-dev.txt
	touch $@

demo: $(VENV)/app  ## Phantom CT scans -> prepare -> train -> predict -> evaluate, in a minute or two, without a GPU
	$(BIN)/python data_preparation/make_phantom.py $(DEMO)/data --overwrite
	$(BIN)/python data_preparation/preprocess_data.py $(DEMO_SETTINGS)
	$(BIN)/python train.py $(DEMO_SETTINGS)
	$(BIN)/python predict.py $(DEMO_SETTINGS)
	$(BIN)/python evaluate.py $(DEMO_SETTINGS) EVALUATION.METRICS=[confusion] > $(DEMO)/scores.txt
	@echo
	@sed -n '/^class/,/^$$/p' $(DEMO)/scores.txt
	@echo "Three things to open:"
	@echo "  report       $(DEMO)/checkpoint/model_tiny_unet3plus.evaluation/report.html"
	@echo "  predictions  $(DEMO)/predictions/model_tiny_unet3plus/pictures"
	@echo "  curves       $(DEMO)/checkpoint/training_curves_tiny_unet3plus.png"

# Half the features of tiny_unet3plus: most of the time goes into building the graph then.
DEMO_SETTINGS := WORK_DIR=$(DEMO) MODEL.TYPE=tiny_unet3plus MODEL.FILTERS=[8,16,32,64,128] \
	INPUT.HEIGHT=96 INPUT.WIDTH=96 HYPER_PARAMETERS.EPOCHS=6 HYPER_PARAMETERS.BATCH_SIZE=4 \
	HYPER_PARAMETERS.LEARNING_RATE=1e-3

test: lint  ## ruff, mypy and the whole test suite
	$(BIN)/python -m pytest -n 2 --dist worksteal

coverage: lint  ## The same, and the share of the code that it runs; slower
	COVERAGE_CORE=$(CORE) $(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-report=term

# Python 3.12 and newer count lines at little cost.
CORE = $(shell $(BIN)/python -c 'import sys; print("sysmon" if sys.version_info >= (3, 12) else "ctrace")')

docs: $(VENV)/docs  ## The documentation as a website, in site/
	$(BIN)/mkdocs build --strict
	@echo "Open site/index.html"

$(VENV)/docs: $(VENV)/app requirements-docs.txt
	$(INSTALL) -r requirements-docs.txt
	touch $@

lint: venv  ## ruff and mypy alone
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

constraints: venv  ## Write constraints.txt from .venv, once its versions have passed the whole suite
	{ sed -n '/^#/p' constraints.txt; $(BIN)/pip freeze; } > constraints.tmp && mv constraints.tmp constraints.txt

clean:  ## Remove the environment and the demo's files
	rm -rf $(VENV) $(DEMO)
