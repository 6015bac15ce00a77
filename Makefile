# Two commands do everything on a fresh machine: `make demo` and `make test`. The rest is for developers.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
DEMO := demo
SECONDS ?= 3600

.PHONY: demo test lint bench faults clean

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

clean:
	rm -rf $(VENV) $(DEMO) build *.egg-info

$(READY): requirements.txt pyproject.toml
	@echo "setting up $(VENV), once: a few minutes" >&2
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --upgrade pip "setuptools>=77"
	@$(PIP) "$$(grep '^torch==' requirements.txt)"
	@$(PIP) --editable '.[test,lint]'
	@touch $@
