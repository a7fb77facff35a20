# SPDX-License-Identifier: Apache-2.0
# Everything a checkout needs stands here; `make help` lists it. The first target that needs Python makes .venv.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# torch where there is no GPU: a release whose CPU build pip finds (PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS may name where);
# the newest one would bring gigabytes of CUDA packages.
TORCH ?= torch==2.13.0
HAS_GPU := $(shell command -v nvidia-smi >/dev/null 2>&1 && echo yes)

.DEFAULT_GOAL := help
.PHONY: help demo test test-all test-gpu lint fmt golden digests tables docs bench wheel clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(BIN)/.core: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "bitquant needs Python 3.10 to 3.13; name one with: make PYTHON=python3.12 ..."; exit 1; }
	test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
ifeq ($(HAS_GPU),yes)
	$(BIN)/pip install -q --disable-pip-version-check torch
	$(BIN)/pip install -q --disable-pip-version-check -e '.[cuda]'
else
	$(BIN)/python -c 'import torch' 2>/dev/null || $(BIN)/pip install -q --disable-pip-version-check '$(TORCH)'
	$(BIN)/pip install -q --disable-pip-version-check -e .
endif
	@touch $@

$(BIN)/.test: $(BIN)/.core
	$(BIN)/pip install -q --disable-pip-version-check -e '.[cuda,test,dev]'
	@touch $@

$(BIN)/.docs: $(BIN)/.core
	$(BIN)/pip install -q --disable-pip-version-check -e '.[docs]'
	@touch $@

demo: $(BIN)/.core  ## run a 4-bit matrix multiplication, on the GPU if there is one, and check it
	$(BIN)/bitquant run --M 1 --N 1024 --K 1024 --W_dtype uint4 --group_size 128 --with_scaling --with_zeros

PYTEST_PARALLEL = $(BIN)/python -m pytest -q -n auto --dist worksteal

test: $(BIN)/.test  ## the tests that need no GPU, minutes; of those that do, that they can be imported
	$(PYTEST_PARALLEL) -m 'not thorough'

test-all: $(BIN)/.test  ## these, and every case of which `test` takes a sample; with PART=1/3, the first third of those cases
	$(if $(PART),BITQUANT_PART=$(PART)) $(PYTEST_PARALLEL)

# Most of their time compilers run. A process takes 1 to 4 GiB of the GPU's memory.
GPU_JOBS ?= 8

test-gpu: $(BIN)/.test  ## all tests that need a GPU; a skipped one is a failure. GPU_JOBS=16: by so many processes
	BITQUANT_REQUIRE_GPU=1 $(BIN)/python -m pytest -q -n $(GPU_JOBS) --dist worksteal tests/gpu

SOURCES = bitquant tests docs/examples docs/site hatch_build.py

lint: $(BIN)/.test  ## ruff and mypy
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy

fmt: $(BIN)/.test  ## format the code
	$(BIN)/ruff check --fix --exit-zero $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

golden: $(BIN)/.test  ## rewrite the golden TIR files; read the diff before committing it
	$(BIN)/python -m pytest -q tests/compile/test_golden.py --update-golden

digests: $(BIN)/.test  ## rewrite the digests of schedules (minutes); what changes must be meant
	$(BIN)/python -m tests.compile.digests

tables: $(BIN)/.test  ## rewrite the tables of the reference that are made from the package
	$(BIN)/python docs/site/tables.py

docs: $(BIN)/.docs  ## build the site of docs/ into site/; a link that leads nowhere is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

bench: $(BIN)/.test  ## time construction, import and the CPU's kernels (kernels on a GPU: bitquant bench)
	$(BIN)/python -m tests.bench.construction

wheel: $(BIN)/.test  ## build sdist and wheel, with the tuned records, into dist/
	$(BIN)/python -m hatchling build -d dist

clean:  ## remove the environment and what was built
	rm -rf $(VENV) dist site .pytest_cache .mypy_cache .ruff_cache
