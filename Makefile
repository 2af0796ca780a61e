# Each target sets up what it needs in .venv; what is done is not done again.
PYTHON ?= python3
PY := .venv/bin/python
QUIET_HUB := HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
COMMANDS := PATH="$(CURDIR)/.venv/bin:$$PATH"

.PHONY: help setup demo test lab docs wheel export format lint

help:
	@echo 'make demo    fine-tune a small encoder on shipped data, before and after'
	@echo 'make lab     JupyterLab on the tutorials'
	@echo 'make test    everything a change must pass'
	@echo 'make format  one form for notebooks, tests, bench and tools'
	@echo 'make lint    form, names, spelling and retired words'
	@echo 'make export  notebooks -> library, type stubs, README'
	@echo 'make docs    the documentation site, into _docs; DOCS=--quick for a short one'
	@echo 'make wheel   the wheel, into dist, tried in an environment of its own'

setup: .venv/.installed

.venv/.installed: settings.ini setup.py constraints.txt
	@echo '1/3 a virtual environment in .venv'
	@$(PYTHON) -m venv .venv
	@echo '2/3 the newest pip'
	@$(PY) -m pip install --quiet --disable-pip-version-check --upgrade pip
	@echo '3/3 trove_nb and what it needs: about 150 packages, one to three minutes'
	@$(PY) -m pip install --constraint constraints.txt --editable '.[dev,demo]' | $(PY) tools/pip_progress.py
	@touch $@

demo: setup
	@$(QUIET_HUB) $(PY) -m trove_nb.scripts.demo

test: setup lint
	$(QUIET_HUB) OMP_NUM_THREADS=1 MPLBACKEND=agg $(COMMANDS) \
	$(PY) -m pytest -q --cov=trove_nb --cov-report=term:skip-covered --cov-fail-under=90

lab: setup
	$(PY) -m jupyterlab nbs/tutorials

export: setup
	$(COMMANDS) nbdev_export
	$(PY) tools/generate.py

format: setup
	$(COMMANDS) ruff check --fix-only --quiet .
	$(COMMANDS) ruff format .
	$(COMMANDS) nbdev_clean --fname nbs

lint: setup
	$(COMMANDS) ruff check .
	$(COMMANDS) ruff format --check .
	$(COMMANDS) codespell
	$(PY) tools/check_words.py

docs: setup
	$(COMMANDS) $(PY) tools/docs.py $(DOCS)

wheel: setup
	$(PY) tools/check_wheel.py
