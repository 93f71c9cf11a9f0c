# What a user and a developer of the collection run. Everything made lies under build/.
#
#   make demo      the collection at work: a rollout under load, and a broken version that is rolled back
#   make demo-canary  a canary that is let in by weight and promoted, and one that its errors abort
#   make demo-swarm   services of a Docker Swarm of three nodes, as root: make demo-swarm ARGS="--proxy haproxy"
#   make test      everything that .ci/run checks
#   make bench     the measured ratios of the README
#   make sandbox   a Marathon, marathon-lb and HAProxy of one's own: make sandbox ARGS="--help"
#   make sandbox-swarm  a Docker Swarm with nginx or HAProxy in front, as root
#
# Parts of the test: lint sanity unit conformance integration end-to-end molecule. Others: docs artifact clean.
# PYTHON=… chooses the Python (3.11 or newer), ARGS=… is handed on.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:

VENV := build/venv
BIN := $(VENV)/bin
RUN := $(BIN)/python -m
WORKERS ?= $(shell nproc 2>/dev/null | awk '{print ($$1 > 4) ? 4 : ($$1 < 2) ? 2 : $$1}')
PYTEST := $(RUN) pytest
PARALLEL := -n $(WORKERS) --dist loadgroup --no-loadscope-reorder
ARGS ?=

# The tools of this environment come first, and HAProxy may lie where only root's PATH looks.
export PATH := $(CURDIR)/$(BIN):$(PATH):/usr/sbin:/sbin
export PYTHONDONTWRITEBYTECODE := 1
# Ansible refuses to run in a locale that is not UTF-8; this one is there on every Debian.
export LC_ALL := C.UTF-8
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/build/collections
export ANSIBLE_HOME := $(CURDIR)/build/ansible

.PHONY: help demo demo-canary demo-swarm test bench sandbox sandbox-swarm lint sanity unit conformance integration end-to-end molecule docs artifact format clean

help:
	@sed -n '/^$$/q;s/^# \{0,1\}//p' Makefile

# --- the environment: made once, made again when a requirement changes -------------------------------------------------

SETUP := tests/setup/environment.sh tests/setup/packages.sh tests/setup/python.sh tests/constraints.txt

$(VENV)/.sandbox: tests/requirements-sandbox.txt $(SETUP)
	tests/setup/environment.sh $(VENV) $<
	@touch $@

$(VENV)/.tests: tests/requirements.txt tests/requirements-unit.txt $(VENV)/.sandbox
	tests/setup/environment.sh $(VENV) $<
	@touch $@

build/collections/ansible_collections/zdd/rollout:
	@mkdir -p $(@D)
	@ln -sfn $(CURDIR) $@

# The other parts of what Docker Swarm takes; a demo without it installs none of them.
build/collections/.swarm: tests/requirements-collections.txt tests/setup/collections.sh $(VENV)/.sandbox
	tests/setup/packages.sh $(BIN)/python swarm
	tests/setup/collections.sh $(BIN)/python $< build/collections
	@touch $@

SANDBOX := $(VENV)/.sandbox build/collections/ansible_collections/zdd/rollout
SWARM := $(SANDBOX) build/collections/.swarm
TESTS := $(VENV)/.tests build/collections/.swarm build/collections/ansible_collections/zdd/rollout

# --- what a user runs --------------------------------------------------------------------------------------------------

demo: | $(SANDBOX)
	$(RUN) tests.rehearsal.demo $(ARGS)

demo-canary: | $(SANDBOX)
	$(RUN) tests.rehearsal.demo_canary $(ARGS)

demo-swarm: | $(SWARM)
	$(RUN) tests.rehearsal.demo_swarm $(ARGS)

bench: | $(SANDBOX)
	$(RUN) tests.rehearsal.bench $(ARGS)

sandbox: | $(SANDBOX)
	@$(RUN) tests.sandbox serve $(ARGS)

sandbox-swarm: | $(SWARM)
	@$(RUN) tests.sandbox.swarm up $(ARGS)

# --- tests -------------------------------------------------------------------------------------------------------------

test: | $(TESTS)
	$(PYTEST) $(PARALLEL) tests $(ARGS)

lint: | $(TESTS)
	$(PYTEST) $(PARALLEL) tests/static -k "not sanity and not core" $(ARGS)

sanity: | $(TESTS)
	$(PYTEST) $(PARALLEL) tests/static/test_sanity.py $(ARGS)

unit: | $(TESTS)
	$(PYTEST) $(PARALLEL) tests/unit tests/static/test_cores.py $(ARGS)

conformance: | $(TESTS)
	$(PYTEST) $(PARALLEL) tests/conformance tests/sandbox_tests $(ARGS)

integration: | $(TESTS)
	$(PYTEST) $(PARALLEL) -m "not serial" tests/integration_py $(ARGS)

end-to-end: | $(TESTS)
	$(PYTEST) -m serial tests $(ARGS)

molecule: | $(TESTS)
	cd extensions && molecule test --all $(ARGS)

# --- others ------------------------------------------------------------------------------------------------------------

format: | $(TESTS)
	ruff check --fix-only .
	ruff format .

artifact: | $(TESTS)
	@mkdir -p build/artifact
	ansible-galaxy collection build --force --output-path build/artifact

docs: | $(TESTS)
	tests/setup/docs.sh build/docs

clean:
	rm -rf build
