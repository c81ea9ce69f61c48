# Two commands for a fresh machine: `make demo` runs the main job, `make test` passes the tests.
# Tests come in three tiers: `make test` (minutes), `make test-all` (after it, on CI), `make test-slow` (long runs).
# Each makes its own virtual environment in .venv first; PYTHON picks the interpreter (3.11 or newer).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export JAX_PLATFORMS ?= cpu

.PHONY: demo test test-all test-slow lint clean

demo: $(VENV)/installed
	$(BIN)/sirl run experiments/quickstart.py --workdir runs/quickstart

test: $(VENV)/installed-dev
	SIRL_REQUIRE_TORCH=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

# Every pair of method and task, every model family: what `make test` has one example of.
test-all: $(VENV)/installed-peers
	SIRL_REQUIRE_TORCH=1 $(BIN)/python -m pytest -m all -n auto --dist loadfile --no-loadscope-reorder

# Learning claims, kills, long runs.
test-slow: $(VENV)/installed-dev
	SIRL_REQUIRE_TORCH=1 $(BIN)/python -m pytest -m slow

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

# PyTorch is only an oracle of the tests: the CPU build where an index of it is configured, else what the registry has.
$(VENV)/installed-dev: $(VENV)/installed pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[dev,torch]'
	touch $@

# TRL, whose rewards and whose trainer's calls of them are compared with ours; the compilers of TPU and GPU, for sirl plan.
# That of GPUs has a folder of its own, see sirl/plan/topology.py.
$(VENV)/installed-peers: $(VENV)/installed-dev
	$(BIN)/python -m pip install --quiet --editable '.[dev,torch,peers,plan]'
	$(BIN)/python -m pip install --quiet --no-deps --target $(VENV)/gpu-compiler $$($(BIN)/python -c "import jaxlib; print(*(f'jax-cuda12-{x}=={jaxlib.__version__}' for x in ('plugin', 'pjrt')))")
	touch $@

clean:
	rm -rf $(VENV) .cache runs
