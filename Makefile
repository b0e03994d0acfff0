# make setup | demo | test | lint | format | docs | dist | bench
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
IMAGE ?= load/images/car.png
JOBS ?= 2
EXTRAS ?= dev

export HF_HUB_OFFLINE ?= 1

.PHONY: setup demo test lint format docs dist bench
.DEFAULT_GOAL := setup

setup: $(STAMP)

# Installs again only when the lists of packages have changed.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[$(EXTRAS)]'
	touch $@

demo: setup
	$(BIN)/python launch.py --config configs/epidiff-neus.yaml --train --export \
		use_timestamp=false data.image=$(IMAGE)

# On one thread each: two processes of one share two cores better than one of two.
test: setup
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -q -n $(JOBS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy studio

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The table of options, and the site in site/.
docs: $(VENV)/.docs
	$(BIN)/python -m studio.app.docs_tables docs/options.md
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

$(VENV)/.docs: $(STAMP)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[docs]'
	touch $@

dist: setup
	$(BIN)/python -m hatchling build -d dist
	ls -l dist

bench: setup
	$(BIN)/python -m benchmarks.nano
	test -z "$(STUDIO_TEST_DATA)" || $(BIN)/python -m benchmarks.reconstruction
