# Every target sets up what it needs: `make eval` and `make test` work in a fresh clone on a fresh machine.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
HAS_GPU := $(shell nvidia-smi -L >/dev/null 2>&1 && echo yes)
LOCK := $(if $(HAS_GPU),locks/gpu.txt,locks/cpu.txt)
# Installed again only when the lock or the project's metadata change.
STAMP := $(VENV)/installed-$(shell cat $(LOCK) pyproject.toml | sha256sum | cut -c1-16)
GYM := locks/reasoning-gym.txt
GYM_STAMP := $(VENV)/reasoning-gym-$(shell sha256sum < $(GYM) | cut -c1-16)
TORCH_CPU := $(shell grep '^torch==' locks/cpu.txt)
TORCH_INDEX := https://download.pytorch.org/whl/cpu
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: help install eval test test-all fuzz lint format lock clean

help:
	@echo "make eval      evaluate the bundled model through vLLM (sets everything up)"
	@echo "make test      run the tests (sets everything up); make test-all: the heavy proofs too"
	@echo "make lint      ruff and mypy;  make format: let ruff rewrite"
	@echo "make lock      resolve locks/gpu.txt again and freeze locks/cpu.txt from the environment"

install: $(STAMP)

$(STAMP): $(LOCK) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' || \
	  { echo "error: $(PYTHON) is older than 3.11; give another: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
ifeq ($(HAS_GPU),)
	$(PIP) install --quiet --no-deps '$(TORCH_CPU)' || \
	  $(PIP) install --quiet --no-deps --index-url $(TORCH_INDEX) '$(TORCH_CPU)'
endif
	$(PIP) install --quiet --no-deps --requirement $(LOCK)
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/installed-*
	@touch $@

# Not for `make eval`: one of its packages is compiled when it is installed.
$(GYM_STAMP): $(STAMP)
	@$(PIP) install --quiet --no-deps --requirement $(GYM) && touch $@ || \
	  echo "$(GYM) cannot be installed (is there a C compiler?); the tests of reasoning-gym are skipped" >&2

eval: install
	$(BIN)/tbench eval builtin:tiny

test: install $(GYM_STAMP)
	$(BIN)/python -m pytest -m "not slow and not network"

test-all: install $(GYM_STAMP)
	$(BIN)/python -m pytest

# SECONDS=3600 is the hour of docs/grading.md.
fuzz: install
	$(PIP) install --quiet atheris
	$(BIN)/python tests/support/fuzz_grading.py --seconds $(or $(SECONDS),60)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What the locks hold without the lines of $(GYM), which names a package with - where another says _.
NOT_GYM = grep -vixE "$$(sed '/^\#/d; s/[-_]/[-_]/g' $(GYM) | paste -sd'|')"

# locks/cpu.txt is what the environment holds after its pins were changed by hand and tested; locks/gpu.txt is resolved.
lock: install
	{ sed -n '/^#/p' locks/cpu.txt; $(PIP) list --format=freeze --exclude-editable | grep -v '^\(pip\|setuptools\)=' | $(NOT_GYM) | sort -f; } \
	  > locks/cpu.new && mv locks/cpu.new locks/cpu.txt
	$(PYTHON) -m venv $(VENV)/uv && $(VENV)/uv/bin/python -m pip install --quiet uv
	{ sed -n '/^#/p' locks/gpu.txt; $(VENV)/uv/bin/uv pip compile --quiet pyproject.toml --extra vllm --extra train --extra dev \
	  --extra reasoning-gym --constraint $(GYM) --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
	  --no-header --no-annotate | $(NOT_GYM); } \
	  > locks/gpu.new && mv locks/gpu.new locks/gpu.txt

clean:
	rm -rf $(VENV) dist build .pytest_cache .ruff_cache .mypy_cache
