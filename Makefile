# `make demo` and `make test` do everything on a fresh machine; the others are for developers.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: demo test test-gpu soak check conformance screenshots wheel clean

demo: $(READY)
	$(BIN)/gpuguard demo

test: $(READY)
	$(BIN)/python -m pytest -n 2 -m "not soak" tests

# The contract of fixtures, solver and detectors on a real device; `make test` runs the same tests in the lanes without.
test-gpu: $(READY)
	NUMBA_ENABLE_CUDASIM=0 LANE=gpu $(BIN)/python -m pytest -rs tests/contract

soak: $(READY)
	$(BIN)/python -m pytest -m soak tests

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# numba-cuda's own driver tests on the fake driver of tests/fakecuda: as usual, then with nothing done before it is waited for.
conformance: $(READY)
	$(BIN)/python -m tests.fakecuda.conformance -q -n 2 --dist loadscope
	FAKECUDA_SETTINGS=deferred=1 $(BIN)/python -m tests.fakecuda.conformance -q -n 2 --dist loadscope

# The pictures of the report in the docs; needs a Chromium.
screenshots: $(READY)
	$(BIN)/python -m tests.browser.screenshots

wheel: $(READY)
	$(BIN)/python -m build --wheel --no-isolation --outdir dist

# Installed once; again only when pyproject.toml changes.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "pytest-gpuguard needs Python 3.11 or newer as '$(PYTHON)': name one with PYTHON=/path/to/python make ..." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "'$(PYTHON)' has no venv module with pip: install it (on Debian: apt-get install python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]' || \
	  { echo "the packages that pyproject.toml names could not be installed: is a package index reachable?" >&2; exit 1; }
	@touch $@

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .gpuguard
