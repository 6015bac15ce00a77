# Two commands do everything on a fresh machine: `make demo` and `make test`. The rest is for developers.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
DEMO := demo
SECONDS ?= 3600
TORCH ?= 2.13.0
NEW_ENOUGH = $(shell $(PYTHON) -c 'import sys; sys.version_info[:2] >= (3, 10) and print(1)' 2>/dev/null)
TOO_OLD = $(PYTHON) is $(or $(shell $(PYTHON) --version 2>&1),not here), and NanoForge needs 3.10 or newer: name \
one, make demo PYTHON=python3.11; on LXPLUS: source /cvmfs/sft.cern.ch/lcg/views/LCG_108/x86_64-el9-gcc13-opt/setup.sh
# A view of LCG would put its packages before those of an environment.
unexport PYTHONPATH

.PHONY: demo test install grid lint bench faults docs clean

demo: $(READY)
	@$(BIN)/python test/demo.py $(DEMO)

test: $(READY)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal

lint: $(READY)
	@$(BIN)/ruff check python test
	@$(BIN)/ruff format --check python test
	@$(BIN)/mypy
	@$(BIN)/clang-format --dry-run --Werror plugins/*.h plugins/*.cc test/cpp/* test/catch2/*

bench: $(READY)
	@$(BIN)/python test/bench

faults: $(READY)
	@$(BIN)/python test/faults --seconds $(SECONDS) --jobs 2

docs: $(READY)
	@$(PIP) --editable '.[docs]'
	@$(BIN)/python test/pages.py
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict -f doc/site/mkdocs.yml
	@echo "build/docs/index.html"

grid: nanoforge-grid.tar.xz

nanoforge-grid.tar.xz: crab/requirements.txt
	$(if $(NEW_ENOUGH),,$(error $(TOO_OLD)))
	@rm -rf build/grid build/pip
	@$(PYTHON) -m venv build/pip
	@build/pip/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --target build/grid \
	  --requirement $<
	@find build/grid '(' -name tests -o -name __pycache__ -o -name man ')' -prune -exec rm -rf {} +
	@tar -C build/grid --sort=name -cf - . | xz -T0 > $@.part
	@mv $@.part $@
	@echo "$@: $$(du -m $@ | cut -f1) MB, for $$($(PYTHON) --version): batch.environment={lcg: {view: ..., packages: $@}}"

clean:
	rm -rf $(VENV) $(DEMO) build *.egg-info nanoforge-grid.tar.xz*

install: $(INSTALLED)

$(INSTALLED): requirements.txt pyproject.toml
	$(if $(NEW_ENOUGH),,$(error $(TOO_OLD)))
	@echo "setting up $(VENV), once: a few minutes" >&2
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --upgrade pip "setuptools>=77"
	@$(PIP) torch==$(TORCH)
	@$(PIP) --editable '.[all]'
	@touch $@

$(READY): $(INSTALLED)
	@$(PIP) --editable '.[all,test,lint]'
	@touch $@
