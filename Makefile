# offloop: `make demo`, `make test`, `make build`, `make bench`, `make bench-guard`, `make lint`, `make clean`.
# PYTHON= chooses the interpreter (3.11 or later). What is done already is not done again. HACKING.md says more.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
# COUNTERS=ON builds the package that counts its native objects, so that every Python test checks that they balance.
COUNTERS ?= OFF
JOBS ?= $(shell nproc)
# So that a hang inside native code ends, with the stack of every thread (pytest enables faulthandler).
PYTEST_SECONDS ?= 1500
PYTEST ?=

py := $(VENV)/bin/python
pip := $(py) -m pip --disable-pip-version-check --quiet
stamps := $(VENV)/.stamps
system := tools/dev/system-packages

export PYTHONUNBUFFERED := 1
# One name for the compiler in all builds, or ccache compiles the core anew for each name (CMake's `c++`, that of Python's build).
ifeq ($(origin CC),default)
CC := gcc
endif
ifeq ($(origin CXX),default)
CXX := g++
endif
export CC CXX
ifneq ($(shell command -v ccache),)
export CMAKE_C_COMPILER_LAUNCHER ?= ccache
export CMAKE_CXX_COMPILER_LAUNCHER ?= ccache
export CCACHE_SLOPPINESS ?= pch_defines,time_macros
endif
# GCC's ThreadSanitizer does not know the address layout of kernels with 32 random bits; without randomisation it does.
no_aslr := $(shell setarch $$(uname -m) -R true 2>/dev/null && echo setarch $$(uname -m) -R)

# Folders too, so that a deleted file counts as a change.
sources := $(shell find CMakeLists.txt pyproject.toml README.md LICENSE cmake src include native python \
  -name __pycache__ -prune -o -name '*.swp' -prune -o -print 2>/dev/null)

.PHONY: help demo test build bench bench-micro bench-guard lint clean deps venv FORCE \
  lane-cpp lane-python test-cpp test-asan test-tsan test-aarch64 test-python test-counters test-ends test-matrix test-ft soak

help:
	@echo 'make demo    build, then fetch and hash from a local origin, verified, beside the asyncio variant'
	@echo 'make test    C++ tests (also under sanitizers and for aarch64), Python tests'
	@echo 'make build   the package, installed in $(VENV)'
	@echo 'make bench   the suite in its quick form (offloop bench --quick), and the tables of docs/performance.md from it'
	@echo 'make bench-guard   instruction counts of the hot path beside the stored ones'
	@echo 'make lint    ruff, mypy --strict, clang-format, clang-tidy on changed files'
	@echo 'make clean   removes build/ and $(VENV)'
	@echo 'PYTHON=/path/to/python3.14 chooses the interpreter (3.11 or later; default python3)'

# ---- the package in the virtual environment -----------------------------------------------------------------------

deps:
	@$(system) build

venv:
	@tools/dev/venv '$(PYTHON)' '$(VENV)'

# The environment is checked first (it may be made anew, without stamps), then a second make sees true time stamps.
build: deps venv
	@$(MAKE) -s $(stamps)/package

$(stamps)/package: $(stamps)/build-system $(sources) $(stamps)/counters-$(COUNTERS)
	@echo "offloop: building the package into $(VENV) (the first time takes a minute or two)"
	CMAKE_BUILD_PARALLEL_LEVEL=$(JOBS) $(pip) install --no-build-isolation --config-settings=cmake.define.OFFLOOP_COUNTERS=$(COUNTERS) \
	  $(if $(filter ON,$(COUNTERS)),--config-settings=build-dir=build/counters-{wheel_tag} --config-settings=cmake.define.CMAKE_UNITY_BUILD=ON) .
	touch $@
	$(py) -c 'import importlib.metadata as m; print("offloop:", m.version("offloop"), "is installed in $(VENV)")'

# A package built with the other setting does not count.
$(stamps)/counters-$(COUNTERS):
	@mkdir -p $(stamps) && rm -f $(stamps)/counters-* && touch $@

# What pip installs of others: once for each list in pyproject.toml, again when that file changes.
$(stamps)/%: pyproject.toml tools/dev/requirements.py
	@mkdir -p $(stamps)
	@list=$$($(py) tools/dev/requirements.py $*); \
	if [ "$$list" != "$$(cat $@ 2>/dev/null)" ]; then \
	  echo "offloop: installing for $*:" $$list; $(pip) install $$list; echo "$$list" >$@; \
	else touch $@; fi

# ---- demo and benchmarks ------------------------------------------------------------------------------------------

demo: build
	@$(MAKE) -s $(stamps)/bench
	@$(py) -m offloop.testing.demo

# The suite in its quick form; docs/performance.md and docs/claims.md are made from what it measured.
bench: build
	@$(system) bench
	@$(MAKE) -s $(stamps)/bench
	@$(py) -m offloop bench --quick --output build/bench
	@mkdir -p bench/results && cp build/bench/results.json bench/results/suite.json
	@$(py) bench/micro/report.py --write

# RESULTS=bench/results keeps the figures there and makes the tables of docs/performance.md and the README from them.
micro_benches := await_cost await_instructions hash_table many_small mixed_sizes lone_and_few kernels_forced files fetch_hash images fetch_resize image_latency
RESULTS ?=
bench-micro: build
	@$(system) bench
	@$(MAKE) -s $(stamps)/bench
	@cmake --preset release -DOFFLOOP_TESTS=OFF --log-level=WARNING
	@cmake --build build/release --target bench --parallel $(JOBS) -- --quiet
	@for program in build/release/bench/micro/*; do if [ -x "$$program" ] && [ -f "$$program" ]; then echo "== $$program"; "$$program"; fi; done
	@$(foreach bench,$(micro_benches),echo "== $(bench)"; \
	  $(py) bench/micro/$(bench).py $(if $(RESULTS),--json $(RESULTS)/$(bench).json);)
	@$(if $(RESULTS),$(py) bench/micro/report.py --write)

# Instructions of submit, drain and kernels against bench/guard.json; GUARD=--write stores them anew.
GUARD ?=
bench-guard: build
	@$(system) bench
	@$(py) bench/micro/guard.py $(GUARD)

# ---- tests ---------------------------------------------------------------------------------------------------------

# Two lanes at once: compilers keep a core busy, Python tests wait for much of their time. In each what fails quickly comes
# first. The package as shipped is tested on asyncio's loop with what is about it, its programs, hashing and the operation; the rest
# of the bridge on the build that counts, on all loops, and on the newest CPython's wheel, on asyncio's.
test:
	@$(system) build test
	@tools/dev/side-by-side '$(MAKE) lane-cpp' '$(MAKE) lane-python'
	@echo "offloop: all tests passed"

lane-cpp:
	@$(MAKE) test-cpp cpp_targets='tests_plain tests_model' cpp_tests='-L "plain|model"' cpp_options=-DOFFLOOP_IMAGE=OFF
	@$(MAKE) test-asan
	@$(MAKE) test-tsan
	@$(MAKE) test-aarch64

counted_only := backpressure bad_origin batch cancel_phases fetch fetch_faults fetch_lifecycle http2 image isolation leaks lifecycle model \
  native_exceptions out_of_memory spin trace
lane-python:
	@$(MAKE) test-python PYTEST='$(PYTEST) --loops=asyncio $(patsubst %,--ignore=tests/python/test_%.py,$(counted_only))'
	@$(MAKE) test-counters
	@$(MAKE) test-ends ends_loops=--loops=asyncio

# $(call ctest,PRESET,TARGETS,RUNNER,ARGUMENTS,CMAKE_OPTIONS)
define ctest
	@echo "== C++ tests: $(1)"
	@cmake --preset $(1) --log-level=WARNING $(5)
	@cmake --build build/$(1) --target $(2) --parallel $(JOBS) -- --quiet
	@$(3) ctest --test-dir build/$(1) --output-on-failure --no-tests=error --parallel $(JOBS) $(4)
endef

# Everything; in `make test` what no sanitizer can run, for the rest runs under them there.
cpp_targets ?= all
cpp_tests ?=
cpp_options ?= -DOFFLOOP_IMAGE=ON
test-cpp: deps
	@$(system) test
	$(call ctest,dev,$(cpp_targets),,$(cpp_tests),$(cpp_options))

test-asan: export ASAN_OPTIONS ?= detect_stack_use_after_return=1:strict_init_order=1:check_initialization_order=1
test-asan: export UBSAN_OPTIONS ?= print_stacktrace=1
test-asan: deps
	@$(system) test
	$(call ctest,asan,tests,,)

test-tsan: export TSAN_OPTIONS ?= halt_on_error=1:second_deadlock_stack=1
test-tsan: deps
	@$(system) test
	$(call ctest,tsan,tests_runtime tests_hash tests_threads,$(no_aslr),-L '^(runtime|hash|threads)$$')

# The whole core, compiled by Debian's aarch64 compiler against Debian's arm64 libraries, run by qemu-user.
cross_excluded := $(shell sed -n 's/^\([A-Z*][^ ]*\) .*/\1/p' tests/cpp/cross/excluded | paste -sd:)
test-aarch64: export OFFLOOP_SYSROOT ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/offloop/arm64
ifeq ($(shell uname -m),aarch64)
test-aarch64:
	@echo "offloop: this machine is aarch64, test-cpp has run the core's tests on it"
else
test-aarch64: deps
	@$(system) test
	@tools/dev/arm64-sysroot '$(OFFLOOP_SYSROOT)'
	$(call ctest,aarch64,tests,env GTEST_FILTER='-$(cross_excluded)',)
endif

# PYTEST= are further arguments: make test-python PYTEST='-k cancel -x'
test-python: build
	@$(system) test
	@$(MAKE) -s $(stamps)/test $(stamps)/bench
	@echo "== Python tests: $$($(py) -V), $(if $(filter ON,$(COUNTERS)),native objects counted,the package as shipped)"
	@mkdir -p build/pytest
	@timeout --signal=ABRT --kill-after=10 $(PYTEST_SECONDS) $(py) -m pytest --basetemp=build/pytest/$(notdir $(VENV)) $(PYTEST)

# The same against a build that counts its native objects: each test asserts that what it made is gone. Without the tests
# that make none in their own process, or are about the package as a whole.
shipped_only := bench_command bench_guard bench_images bench_noise bench_pages bench_runner bench_statistics cli_fetch cli_hash cli_image \
  demo errors examples image_limits image_reference install layers native no_static_destructors origin packaging performance_page profile profile_loops \
  profile_interrupt profile_process self_test servers sums wrong_wheel
test-counters:
	@$(MAKE) test-python VENV=$(VENV)-counters COUNTERS=ON PYTEST='$(PYTEST) --require-counters $(patsubst %,--ignore=%, \
	  $(patsubst %,tests/python/test_%.py,$(shipped_only)))'

# The bridge and the packaging on the oldest and the newest CPython found, from the wheels that would be shipped.
bridge_tests := $(wildcard $(patsubst %,tests/python/test_%.py,backpressure batch buffers contexts hashing lifecycle operation \
  packaging public_api stats wrong_wheel))
matrix := $(PYTHON) tools/dev/matrix.py --jobs $(JOBS)
test-ends: deps venv
	@$(system) test
	@$(matrix) --ends --done $(abspath $(py)) -- $(bridge_tests) $(PYTEST) $(ends_loops)

# Every CPython from 3.11 on, fetched from Debian's archive where it is missing, on all kinds of loop and task; a table at the end.
# A free-threaded one that OFFLOOP_FT_PYTHON names (several: separated by colons) is a row more.
ft_pythons := $(patsubst %,--free-threaded %,$(subst :, ,$(OFFLOOP_FT_PYTHON)))
test-matrix: deps venv
	@$(system) test
	@$(matrix) --fetch $(ft_pythons) -- --all-loops $(PYTEST)

# The row of the free-threaded CPython alone.
test-ft: deps venv
	@$(system) test
ifeq ($(OFFLOOP_FT_PYTHON),)
	@echo "offloop: skipped: OFFLOOP_FT_PYTHON names no free-threaded CPython (neither Debian nor PyPI has one)"
else
	@$(matrix) $(ft_pythons) --free-threaded-only -- $(PYTEST)
endif

# Random operations, awaits, cancels, drops, loops and forks beside a model of what they promise. SEEDS=, STEPS=, FIRST= seed.
SEEDS ?= 100
STEPS ?= 10000
FIRST ?= 0

soak: build
	@$(system) test
	@$(MAKE) -s $(stamps)/test
	@$(py) -m pytest --long -m long
	@PYTHONPATH=tests/python $(py) tests/python/soak.py --seeds $(SEEDS) --steps $(STEPS) --first $(FIRST)

# ---- lint, clean --------------------------------------------------------------------------------------------------

cpp_files = $(shell git ls-files -co --exclude-standard '*.cpp' '*.h' '*.hpp')
# Against the last commit, and in it: what a change touched. BASE= chooses another.
BASE ?= HEAD~1
changed_cpp = $(shell git diff --name-only --diff-filter=d $(BASE) -- 'src/*.cpp' 'native/*.cpp' 2>/dev/null; \
  git ls-files -o --exclude-standard 'src/*.cpp' 'native/*.cpp')

lint: build
	@$(system) test lint
	@$(MAKE) -s $(stamps)/test $(stamps)/dev $(stamps)/bench
	@echo "== ruff"; $(py) -m ruff check python tests tools $(wildcard bench examples)
	@echo "== mypy --strict"; $(py) -m mypy
	@echo "== clang-format"; clang-format --dry-run -Werror $(cpp_files)
	@echo "== clang-tidy (files changed since $(BASE))"
	@cmake --preset dev --log-level=WARNING
	@for file in $(sort $(changed_cpp)); do \
	  grep -q "\"file\": \"$(CURDIR)/$$file\"" build/dev/compile_commands.json || continue; \
	  clang-tidy -p build/dev --quiet --warnings-as-errors='*' "$$file" 2>/dev/null; done
	@echo "offloop: lint is clean"

clean:
	rm -rf build dist '$(VENV)' '$(VENV)-counters'
