# What people call. Each target installs what it needs into .venv first.
PYTHON ?= python3
BIN := .venv/bin
RESOLVE := --universal --generate-hashes --no-strip-extras --no-header --quiet
# Minutes of kills and simulated pods; a coverage measurement would triple them.
LONG := tests/simulation tests/process/test_process_kills.py
# Most tests wait for processes, so one more than there are cores.
PYTEST := $(BIN)/python -m pytest --numprocesses $$(( $$(getconf _NPROCESSORS_ONLN) + 1 ))
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test test-cluster soak lint bench image sbom lock clean
.DEFAULT_GOAL := demo

demo: .venv/runtime ## the whole way from a closed gate to accepted metering records, on this machine
	@$(BIN)/marketplace-sidecar demo

test: lint ## every test, the quick ones first; the last line is pytest's own summary
	@$(PYTEST) --cov --cov-report=term:skip-covered $(LONG:%=--ignore=%)
	@$(PYTEST) $(LONG)

lint: .venv/development ## what a reviewer should not have to look for
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

test-cluster: .venv/development ## the image and the charts on a real Kubernetes node, as root
	@$(BIN)/python -m tests.cluster.prepare
	@$(BIN)/python -m pytest tests/cluster

soak: .venv/development ## hours of kills and simulated pods; the seed of a failure is printed
	@KILLS=10000 SOAK_POD_HOURS=1000000 $(BIN)/python -m pytest $(LONG) -m '' -s --timeout 0

image: .venv/development ## BASE=image@sha256:... pins the base
	@buildah bud $(if $(BASE),--build-arg BASE=$(BASE)) --tag marketplace-sidecar \
		--build-arg VERSION=$$($(BIN)/python -c 'import sidecar; print(sidecar.__version__)') \
		--build-arg REVISION=$$(git rev-parse HEAD) .

sbom: .venv/development ## what the image is made of, as CycloneDX in dist/
	@mkdir -p dist
	@$(BIN)/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --output-format JSON -o dist/sbom.cdx.json

bench: .venv/development ## ratios against baselines of the same run; nothing here is a test
	@$(BIN)/python -m pytest tests/bench -q -s

.venv/python: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv .venv || { echo "No virtual environment could be made; on Debian: apt-get install python3-venv"; exit 1; }
	@touch $@

.venv/runtime: .venv/python requirements.lock requirements-build.lock
	@echo "installing the runtime packages into .venv"
	@$(PIP) install --require-hashes -r requirements.lock -r requirements-build.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

.venv/development: .venv/runtime requirements-dev.lock
	@echo "installing the development packages into .venv"
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

lock: ## resolve the lock files anew (needs uv)
	uv pip compile $(RESOLVE) --upgrade pyproject.toml -o requirements.lock
	uv pip compile $(RESOLVE) --upgrade --group build -o requirements-build.lock
	uv pip compile $(RESOLVE) --upgrade pyproject.toml --group build --group dev \
		--constraint requirements.lock --constraint requirements-build.lock -o requirements-dev.lock

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage* dist build
