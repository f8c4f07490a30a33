# `make demo` and `make test` do everything on a fresh machine; the others are for developers.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

# Minor versions of pytest that are supported: the newest and the two before.
PYTESTS := 9.0 9.1 9.2
# What depends on pytest and xdist most.
CLOSEST := $(addprefix tests/plugin/test_,leaks.py budget.py sched_groups.py sched_crashes.py)

.PHONY: demo test test-pytests test-plugins test-gpu soak liveness offline check conformance screenshots wheel clean

demo: $(READY)
	$(BIN)/gpuguard demo

test: $(READY)
	$(BIN)/python -m pytest -n 2 -m "not soak" tests

# The tests closest to pytest with every minor version that is supported; `make test-pytest-9.1` takes one.
test-pytests: $(PYTESTS:%=test-pytest-%)

test-pytest-%: .venvs/pytest-%/.ready
	.venvs/pytest-$*/bin/python -m pytest -n 2 -m "not soak" $(CLOSEST)

.PRECIOUS: .venvs/pytest-%/.ready
.venvs/pytest-%/.ready: pyproject.toml
	$(PYTHON) -m venv .venvs/pytest-$*
	.venvs/pytest-$*/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test]' 'pytest==$*.*'
	@touch $@

# The verdicts beside other plugins, in environments of their own: some change every run that they are installed
# for. pytest-forked works on 9.1 only. And what libraries keep, which are not needed otherwise.
test-plugins: test-plugins-9.1 test-plugins-9.2

test-plugins-%: .venvs/plugins-%/.ready
	.venvs/plugins-$*/bin/python -m pytest -p no:asyncio -p no:run-parallel -rs \
	  tests/plugin/test_verdict_plugins.py tests/plugin/test_kept_by_libraries.py

.PRECIOUS: .venvs/plugins-%/.ready
.venvs/plugins-%/.ready: pyproject.toml
	$(PYTHON) -m venv .venvs/plugins-$*
	.venvs/plugins-$*/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[plugins]' 'pytest==$*.*'
	@touch $@

# The contract of fixtures, solver and detectors on a real device; `make test` runs the same tests in the lanes without.
test-gpu: $(READY)
	NUMBA_ENABLE_CUDASIM=0 LANE=gpu $(BIN)/python -m pytest -rs tests/contract

soak: $(READY)
	$(BIN)/python -m pytest -m soak tests

# Two thousand pipelines by chance, half of them in real time, with gpuguard looking for what they leave. A minute.
liveness: $(READY)
	$(BIN)/python -m pytest -n 2 --gpuguard --gpuguard-leaks=error -k "not planted" tests/solver/pipelines_suite.py

# All of the solver's kernels for all architectures, without a device; the table in the docs. Five minutes.
offline: $(READY)
	NUMBA_ENABLE_CUDASIM=0 $(BIN)/python -m solver.offline --write docs/reference/kernels.md

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
	rm -rf $(VENV) .venvs dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .gpuguard
