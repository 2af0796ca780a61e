# Each target sets up what it needs in .venv; what is done is not done again.
PYTHON ?= python3
PY := .venv/bin/python
QUIET_HUB := HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false

.PHONY: help setup demo test lab docs wheel export

help:
	@echo 'make demo    fine-tune a small encoder on shipped data, before and after'
	@echo 'make test    everything a change must pass'
	@echo 'make lab     JupyterLab on the tutorials'
	@echo 'make docs    the documentation site, into _docs; DOCS=--quick for a short one'
	@echo 'make wheel   the wheel, into dist, tried in an environment of its own'
	@echo 'make export  notebooks -> library, type stub, README'

setup: .venv/.installed

.venv/.installed: settings.ini setup.py constraints.txt
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --upgrade pip
	$(PY) -m pip install -qq --constraint constraints.txt --editable '.[dev,demo]'
	touch $@

demo: setup
	$(QUIET_HUB) $(PY) -m trove_nb.scripts.demo

test: setup
	$(QUIET_HUB) OMP_NUM_THREADS=1 MPLBACKEND=agg PATH="$(CURDIR)/.venv/bin:$$PATH" \
	$(PY) -m pytest -q --cov=trove_nb --cov-report=term:skip-covered --cov-fail-under=90

lab: setup
	$(PY) -m jupyterlab nbs/tutorials

export: setup
	PATH="$(CURDIR)/.venv/bin:$$PATH" nbdev_export
	$(PY) tools/generate.py

docs: setup
	PATH="$(CURDIR)/.venv/bin:$$PATH" $(PY) tools/docs.py $(DOCS)

wheel: setup
	$(PY) tools/check_wheel.py
