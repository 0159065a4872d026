# The project's commands. The first one that runs creates .venv and installs into it, in about a minute.
# PYTHON: the interpreter (3.11 or newer).
# TORCH: the requirement for torch, installed first: a plain `torch` may download 5 GB of CUDA libraries.

PYTHON ?= python3
TORCH ?= torch==2.13.0
DEMO_EPOCHS ?= 3
MINUTES ?= 120
JOBS ?= 1

.PHONY: demo test check types plain-kernels coverage bench logits soak fuzz results docs site messages notebooks schema
.DEFAULT_GOAL := demo

# Otherwise each of the processes that tests start would compile Convoy again.
export PYTHONDONTWRITEBYTECODE :=

BIN := .venv/bin
DEV := .[dev,docs]# a comma in the call itself would end its argument
# --no-compile: Python compiles the few modules that are imported; all of torch's take half a minute.
PIP := $(BIN)/python -m pip install -qq --no-compile --disable-pip-version-check

# $(call install,REQUIREMENT): an interrupted installation leaves .venv/begun, and the next one starts from scratch.
define install
@if [ -e .venv/begun ] || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	echo "making .venv with $$($(PYTHON) --version)"; $(PYTHON) -m venv --clear .venv; fi
@touch .venv/begun
@echo "installing $(TORCH)" && $(PIP) $(TORCH)
@echo "installing convoy: $(1)" && $(PIP) -e "$(1)"
@rm .venv/begun && touch $@
endef

.venv/core: pyproject.toml
	$(call install,.)

.venv/dev: pyproject.toml
	$(call install,$(DEV))
	@touch .venv/core .venv/docs

.venv/docs: pyproject.toml
	$(call install,.[docs])
	@touch .venv/core

demo: .venv/core  ## compare three networks on MNIST with three seeds each; the last lines: a page inside the best network, the report
	@$(BIN)/convoy compare lenet two_conv_cnn fast_mnist_cnn --data mnist --seeds 3 --epochs $(DEMO_EPOCHS) --explore

test: check plain-kernels  ## all checks of the project

# One thread per test process: otherwise the OpenMP threads of two processes slow each other down.
check: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(MAKE) --no-print-directory -j 2 types docs
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

types: .venv/dev
	$(BIN)/mypy

# torch selects kernels by processor, and they round differently. These are the kernels for processors without AVX2.
plain-kernels: .venv/dev  ## the training tests with the kernels of another processor
	ATEN_CPU_CAPABILITY=default OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto tests/training -m "not any_kernels"

# The tracer of Python 3.11 costs 45 % processor time, so it is not part of check. From Python 3.12 on, sys.monitoring does it.
coverage: .venv/dev  ## all tests with line coverage; fails below the floor in pyproject.toml
	COVERAGE_CORE=$$($(BIN)/python -c 'import sys; print("sysmon" if sys.version_info >= (3, 12) else "ctrace")') \
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --cov

bench: .venv/core  ## the benchmarks that need only Convoy; on a quiet machine
	$(BIN)/python -m benchmarks.start_up
	$(BIN)/python -m benchmarks.loop_overhead
	$(BIN)/python -m benchmarks.contention
	$(BIN)/python -m benchmarks.fast_mnist

logits: .venv/dev  ## compare the outputs of the pages of `convoy explore` with PyTorch's, 500 images for each small model; needs Chromium
	@$(BIN)/python -m benchmarks.explore --images 500

soak: .venv/dev  ## fail write calls, kill processes 300 times, and compare the results with those of uninterrupted work
	@$(BIN)/python -m tools.soak $(SOAK)

# atheris has no wheel for all systems, so it is not in the dependencies of the tests.
.venv/fuzz: .venv/dev
	$(PIP) --target $@ "atheris>=3"

fuzz: .venv/fuzz  ## fuzz each parser: a million inputs, or ten minutes if it reads files; ONLY="idx npz": these; FUZZ="--seconds 60"
	@for target in $(or $(ONLY),$$($(BIN)/python -c "from tests.fuzz_targets import TARGETS; print(*TARGETS)")); do \
	echo "$$target"; PYTHONPATH=.venv/fuzz $(BIN)/python -m tools.fuzz $$target $(FUZZ) || exit 1; done

results: .venv/core  ## train the next missing results of docs/results in the background; CIFAR=FOLDER: CIFAR-10-JPEG
	@$(BIN)/python -m tools.results --minutes $(MINUTES) --jobs $(JOBS) $(if $(CIFAR),--cifar "$(CIFAR)")

# The reports of the five experiments, as pages of the documentation; made again when the archived results change.
docs/_pages/made: docs/results/status.json .venv/docs
	@rm -rf docs/_pages
	@$(BIN)/convoy reproduce all --archived --out docs/_pages >/dev/null
	@touch $@

docs: .venv/docs  ## build the documentation as HTML; warnings are errors
	@$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html
	@echo docs/_build/html/index.html

site: docs/_pages/made docs  ## the documentation with the reports of the five experiments

messages: .venv/dev  ## renew the catalogs of src/convoy/text/locale with the messages of the package
	@$(BIN)/python -m tools.messages

notebooks: .venv/docs  ## execute the notebooks of the guides again; ONLY="compare seeds": these
	@$(BIN)/python docs/make_notebooks.py $(ONLY)

schema: .venv/dev  ## renew the JSON schema of recipes and the recorded defaults, both generated
	@$(BIN)/python docs/make_schema.py
	@$(BIN)/python tests/test_defaults.py
