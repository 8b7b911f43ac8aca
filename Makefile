# `make selftest` proves that postroj works on this host, `make test` runs all tests.
# Both do all set-up that they need: packages of the host, .venv, installation.

VENV := .venv
BIN := $(VENV)/bin
# More than processors: most tests wait for guests.
workers ?= $(shell expr 2 '*' $$(nproc))

# What only tests need; of these, what is missing is installed where there is apt.
TEST_PACKAGES := apt-utils autopkgtest bzip2 createrepo-c docker-registry dpkg-dev e2fsprogs gnupg iproute2 mandoc nginx-light openssh-client openssh-server openssl perl \
	python3-venv qemu-system-arm qemu-system-x86 qemu-user-static rpm shellcheck skopeo squashfs-tools squashfuse sudo tidy uidmap zstd
# Ubuntu has only a snap of it; the runners of GitHub have Chrome.
TEST_PACKAGES += $(shell . /etc/os-release 2>/dev/null && [ "$$ID" = debian ] && echo chromium)

SUDO := $(if $(filter-out 0,$(shell id -u)),sudo -E)
# Files of root in somebody's checkout would be in the way.
AS_ROOT := $(if $(SUDO),$(SUDO) env PYTHONDONTWRITEBYTECODE=1)
APT := $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$python && break; done)

.DEFAULT_GOAL := help
# All in order, but for what `test` does at once.
ifndef AT_ONCE
.NOTPARALLEL:
endif
.DELETE_ON_ERROR:
.PHONY: help selftest test lint docs collected clean host test-packages

help:
	@echo 'make selftest  set up, then prove that postroj works on this host'
	@echo 'make test      set up, then run linters, documentation and all tests'
	@echo 'make lint      ruff, mypy, shellcheck'
	@echo 'make docs      build the documentation into docs/_build/html'
	@echo 'make clean     remove what these have made in this folder'

selftest: $(VENV)/ready
	$(BIN)/postroj doctor --fix
	$(BIN)/postroj selftest

test: test-packages host $(VENV)/ready-for-tests
	@$(MAKE) --no-print-directory --jobs --output-sync AT_ONCE=yes lint docs collected
	$(AS_ROOT) $(BIN)/pytest -p no:cacheprovider -n $(workers) --dist loadfile --no-loadscope-reorder \
		--durations=30 tests/unit tests/cli tests/integration
	$(AS_ROOT) $(BIN)/pytest -p no:cacheprovider tests/leftovers

lint: $(VENV)/ready-for-tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	if command -v shellcheck >/dev/null; then shellcheck -x .ci/run .github/*.sh .github/action/*.sh tests/support/*.sh debian/*.postrm $$(find postroj docs -name "*.sh"); fi

docs: $(VENV)/ready-for-tests
	$(BIN)/sphinx-build -W --keep-going -q docs docs/_build/html

# pytest compiles the tests in its own way, which is kept; else each of its workers does that.
collected: $(VENV)/ready-for-tests
	@env -u CI -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest -p no:cacheprovider --collect-only -qq tests >$(VENV)/$@ || \
		{ cat $(VENV)/$@; exit 1; }

clean:
	rm -rf $(VENV) docs/_build dist .mypy_cache .ruff_cache .pytest_cache
	find postroj tests benchmarks -name __pycache__ -prune -exec rm -rf {} +

# What postroj itself needs of the host.
host: $(VENV)/ready
	$(AS_ROOT) $(BIN)/postroj doctor --fix

test-packages:
	@command -v dpkg-query >/dev/null || exit 0; \
	missing=$$(for package in $(TEST_PACKAGES); do \
		dpkg-query -W -f '$${db:Status-Abbrev}' $$package 2>/dev/null | grep -q '^.i' || echo $$package; \
	done); \
	test -z "$$missing" || { \
		set -x; $(APT) update || true; $(APT) install -y --no-install-recommends $$missing; }

$(VENV)/ready: pyproject.toml | $(BIN)/pip
	$(BIN)/python -m pip install --quiet --editable .
	$(BIN)/python -m compileall -q postroj  # as pip does what is not editable; root writes none here
	touch $@

$(VENV)/ready-for-tests: pyproject.toml | $(VENV)/ready
	$(BIN)/python -m pip install --quiet --editable '.[test,docs]'
	touch $@

# The last thing that venv makes.
$(BIN)/pip:
	@test -n '$(PYTHON)' || { echo 'postroj needs Python 3.11 or newer' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
		set -x; $(APT) update || true; \
		$(APT) install -y --no-install-recommends $(notdir $(PYTHON))-venv; }
	$(PYTHON) -m venv --clear $(VENV)
