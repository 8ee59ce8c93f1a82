# Each target first installs what it needs, into .venv and the user's cache; test-cluster also installs Debian packages, as
# root.
PYTHON ?= python3
# A second Python: make test PYTHON=python3.13 VENV=.venv-3.13
VENV ?= .venv
BIN := $(VENV)/bin
RESOLVE := --universal --generate-hashes --no-strip-extras --no-header --quiet
# Rules and services: no process, no socket, no other program.
INNER := tests/domain tests/services tests/terminal $(wildcard tests/test_settings_*.py)
# Most tests wait for processes, so one worker more than there are cores. Each target provides what its tests need, so a
# missing tool fails a test instead of skipping it.
# The long tests come first, and the others fill the cores beside them. By default the first batch of a worker is several
# hundred tests, and one worker would get all of the long ones.
PYTEST := SKIP=never $(BIN)/python -m pytest --numprocesses $$(( $$(getconf _NPROCESSORS_ONLN) + 1 )) --maxschedchunk 16
# Without root and Debian packages.
ANYWHERE := not soak and not machine
# Go programs, texts and pictures are judged there, which are the same for each Python.
OF_NO_PYTHON := chart monitoring documents
# By their files: otherwise each worker loads all tests, to leave nearly all of them out.
MACHINES = $(shell grep --recursive --files-with-matches --include='test_*.py' --exclude-dir=cluster 'mark\.machine' tests)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# The tests start hundreds of processes; without compiled modules each would compile the whole product again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo check test quick python programs test-cluster soak lint bench pictures image sbom lock clean
.DEFAULT_GOAL := demo

demo: $(VENV)/runtime ## everything from a closed gate to accepted metering records, on this machine
	@$(BIN)/marketplace-sidecar demo

check: lint ## the inner loop, under a minute: lint, types, and the tests of rules and services
	@$(PYTEST) $(INNER) --quiet

test: $(VENV)/development ## every test that needs Python and make alone; the last line is pytest's own summary
	@$(MAKE) --no-print-directory --jobs=2 lint programs
	@$(PYTEST) -m '$(ANYWHERE)' --cov --cov-report=term:skip-covered

quick: programs ## test without lint, coverage and the long tests
	@$(PYTEST) -m '$(ANYWHERE) and not long'

python: $(VENV)/development ## what depends on the version of Python: quick without charts, alert rules and documents
	@$(PYTEST) -m '$(ANYWHERE) and not long' $(OF_NO_PYTHON:%=--ignore tests/%)

programs: $(VENV)/development ## helm, promtool, Prometheus and the schemas of Kubernetes, in the user's cache
	@$(BIN)/python -m tests.prepare

lint: $(VENV)/development ## style, types and import contracts
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

# The second Python has one worker of the first run. The node comes after it: its probes end after seconds.
test-cluster: $(VENV)/development ## what needs root and Debian packages: image, documents, a second Python, a Kubernetes node
	@$(BIN)/python -m tests.cluster.prepare
	@$(PYTEST) -m 'machine and not soak' --dist loadfile --no-loadscope-reorder $(MACHINES)
	@SKIP=never $(BIN)/python -m pytest tests/cluster

soak: $(VENV)/development ## hours of kills and simulated pods, and a Rust SDK; the seed of a failure is printed
	@$(BIN)/python -m pytest tests/emulator/test_emulator_sdks.py -m soak
	@KILLS=10000 LICENSE_KILLS=2000 SOAK_POD_HOURS=1000000 $(BIN)/python -m pytest -m 'long and not machine' -s --timeout 0

image: $(VENV)/development ## the image; BASE=image@sha256:... pins the base
	@buildah bud $(if $(BASE),--build-arg BASE=$(BASE)) --tag marketplace-sidecar \
		--build-arg VERSION=$$($(BIN)/python -c 'import sidecar; print(sidecar.__version__)') \
		--build-arg REVISION=$$(git rev-parse HEAD) .

sbom: $(VENV)/development ## the packages of the image, as CycloneDX in dist/
	@mkdir -p dist
	@$(BIN)/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --output-format JSON -o dist/sbom.cdx.json

pictures: $(VENV)/development ## the pictures of the documents, drawn again into docs/pictures; one needs Chromium
	@$(BIN)/python -m tests.documents.pictures
	@UPDATE_PICTURES=1 $(BIN)/python -m pytest --quiet tests/process/test_process_console.py -k gate_opens

bench: $(VENV)/development ## ratios against baselines of the same run; nothing here is a test
	@$(BIN)/python -m pytest tests/bench -q -s

$(VENV)/python: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "No virtual environment could be made; on Debian: apt-get install python3-venv"; exit 1; }
	@touch $@

$(VENV)/runtime: $(VENV)/python requirements.lock requirements-build.lock
	@echo "installing the runtime packages into $(VENV)"
	@$(PIP) install --require-hashes -r requirements.lock -r requirements-build.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/development: $(VENV)/runtime requirements-dev.lock
	@echo "installing the development packages into $(VENV)"
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

lock: ## resolve the lock files anew (needs uv)
	uv pip compile $(RESOLVE) --upgrade pyproject.toml -o requirements.lock
	uv pip compile $(RESOLVE) --upgrade --group build -o requirements-build.lock
	uv pip compile $(RESOLVE) --upgrade pyproject.toml --group build --group dev \
		--constraint requirements.lock --constraint requirements-build.lock -o requirements-dev.lock

clean:
	rm -rf .venv* .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage* dist build
