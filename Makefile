# make run    sets everything up and opens the demo; without a terminal it prints the demo's result
# make test   sets everything up, then does what `make check` does
# make check  style, types, import walls and every test, with the environment as it is
# make wheel  builds dist/podium-*.whl
# make clean  removes what these made
#
# PYTHON=… names the Python to set up with; it must be 3.11 or newer. WORKERS=… is how many tests run side by
# side; one that trains takes a gigabyte of memory.

PYTHON ?= python3
VENV   ?= .venv
WORKERS ?= 2
BIN    := $(VENV)/bin
PY     := $(BIN)/python
# Stamps: the environment is there; what `run` needs is in it; what `test` needs is in it.
MADE   := $(VENV)/.made
RUN    := $(VENV)/.ready-to-run
DEV    := $(VENV)/.ready-to-test

.PHONY: run test check static wheel clean
.DEFAULT_GOAL := run

run: $(RUN)
	@$(PY) -m tui demo

test: $(DEV)
	@$(MAKE) --no-print-directory check

# The tests start Podium a thousand times: compiled once here, also where Python may not write bytecode itself.
check: static
	$(PY) -m compileall -q engine scorer tui tests
	$(PY) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

static:
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(BIN)/lint-imports

wheel: $(DEV)
	$(PY) -m build --wheel --no-isolation

clean:
	rm -rf $(VENV) .node build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# Set-up talks to stderr, so that `make run | …` hands on the demo's result alone.
PIP := $(PY) -m pip --disable-pip-version-check install -c constraints.txt

$(RUN): $(MADE) pyproject.toml constraints.txt
	@echo "[2/2] installing Podium and what it trains with; this takes some minutes, once" >&2
	@$(PIP) -e '.[train]' >&2
	@touch $@

$(DEV): $(MADE) pyproject.toml constraints.txt
	@echo "[2/2] installing Podium, what it trains with and what tests it; this takes some minutes, once" >&2
	@$(PIP) -e '.[train,runpod,supabase,dev]' >&2
	@{ command -v npm >/dev/null && $(MAKE) --no-print-directory $(LITE); } || \
	    echo "npm is missing or failed: the tests against a small Supabase server are skipped" >&2
	@touch $(RUN) $@

# A small Supabase server, which the tests of the hosted store talk to.
LITE := .node/node_modules/.bin/lite
$(LITE):
	@mkdir -p .node
	@npm install --prefix .node --silent --no-audit --no-fund --no-package-lock @supabase/lite@0.10.0 postgres@3.4.8 >&2

# An environment works only where it was made: a copied or moved one is made anew.
ifneq ($(shell test -x $(PY) && cat $(MADE) 2>/dev/null),$(CURDIR))
.PHONY: $(MADE)
endif

OTHER := or name yours: make PYTHON=/path/to/python3.12

$(MADE):
	@echo "[1/2] making $(VENV) with $(PYTHON)" >&2
	@command -v "$(PYTHON)" >/dev/null || { echo "$(PYTHON) is not there. Install Python 3.11 or newer, $(OTHER)" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "$(PYTHON) is $$("$(PYTHON)" --version 2>&1), too old. Install Python 3.11 or newer, $(OTHER)" >&2; exit 1; }
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || \
	    { echo "$(PYTHON) can't make environments. On Debian and Ubuntu install python3-venv, $(OTHER)" >&2; exit 1; }
	@"$(PYTHON)" -m venv $$(test -f $@ && echo --clear) $(VENV)
	@echo '$(CURDIR)' > $@
