# `make demo` and `make test` are the two commands of the README; `make ci` is what runs before every stop.
# The environment lives in .venv and is made again only when pyproject.toml changes; it is built with
# the first Python of 3.11 or newer that is found, or with the one named by `make PYTHON=... setup`.

VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/installed-pyproject.toml
WORKERS ?= 2

# JAX keeps compiled programs of any size, so a second run starts warm.
export JAX_COMPILATION_CACHE_DIR ?= $(CURDIR)/.cache/jax
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS ?= 0
export JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES ?= -1
export MPLBACKEND ?= Agg
# pytest-xdist needs every worker to collect the tests in one order, also those named by a set.
export PYTHONHASHSEED ?= 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

INSTALL := $(RUN) -m pip install --quiet --no-compile --root-user-action=ignore -e '.[dev]'
# pytest's exit code 5 means that a selection is empty, which is no failure of a part of the suite.
MAYBE_EMPTY := || [ $$? -eq 5 ]

.NOTPARALLEL:
.PHONY: setup demo test test-slow test-devices lint format experiments-smoke notebooks bench bench-peers ci clean

setup:
	@if cmp -s pyproject.toml $(STAMP) && [ -x $(RUN) ]; then exit 0; fi; \
	new='import sys; sys.exit(sys.version_info < (3, 11))'; python=; \
	for each in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
		if $$each -c "$$new" 2>/dev/null; then python=$$each; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "setup: needs Python 3.11 or newer; got $(or $(PYTHON),python3):" \
			"$$($(or $(PYTHON),python3) --version 2>&1 | head -1)" >&2; exit 2; \
	fi; \
	echo "setup: installing jaxgen and its tools into $(VENV) (a few minutes, once)"; \
	[ -x $(RUN) ] || $$python -m venv $(VENV) || { rm -rf $(VENV); \
		echo "setup: $$python made no virtual environment; on Debian: apt install python3-venv" >&2; \
		exit 2; }; \
	$(INSTALL) || { echo "setup: installing once more" >&2; sleep 3; $(INSTALL); } && \
	cp pyproject.toml $(STAMP)

demo: setup
	$(RUN) -m experiments.images

test: setup
	$(RUN) -m pytest -q -n $(WORKERS) --dist worksteal -m "not slow and not devices"

test-slow: setup
	$(RUN) -m pytest -q -m slow $(MAYBE_EMPTY)

test-devices: setup
	XLA_FLAGS="$$XLA_FLAGS --xla_force_host_platform_device_count=8" \
		$(RUN) -m pytest -q -m "devices and not slow" $(MAYBE_EMPTY)

# Formatting, ruff, and the floors: seconds, before any test.
lint: setup
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m pytest -q tests/contracts/test_imports.py

format: setup
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

# Every experiments.<name> that has a function smoke(), in its smallest size.
experiments-smoke: setup
	@$(RUN) -c 'import importlib, pathlib; \
	names = sorted(p.stem for p in pathlib.Path("experiments").glob("[a-z]*") if p.is_dir() or p.suffix == ".py"); \
	rooms = [importlib.import_module("experiments." + name) for name in names]; \
	[(print("smoke:", room.__name__, flush=True), room.smoke()) for room in rooms if hasattr(room, "smoke")]'

notebooks: setup
	$(RUN) -m pytest -q tests/notebooks

# Timings are ratios within one run, so nothing may come from a warm cache.
bench: setup
	env -u JAX_COMPILATION_CACHE_DIR $(RUN) -m experiments.bench

# Other packages' samplers beside ours: several gigabytes, in an environment of their own.
bench-peers: setup
	[ -x .venv-peers/bin/python ] || $(RUN) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --no-compile -e '.[bench-peers]'
	.venv-peers/bin/python -m pytest -q -m slow tests/solvers/test_diffusers.py
	.venv-peers/bin/python -m experiments.samplers --only-cost
	.venv-peers/bin/python -m experiments.bench --only-likelihood --out runs/bench-peers

ci: lint test-devices experiments-smoke test

clean:
	rm -rf $(VENV) .cache build dist *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
