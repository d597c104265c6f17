# Needed: python3 >= 3.11 and make. Everything else is brought along; PYTHON=... chooses another interpreter.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
PYTHON ?= python3
BIN := .venv/bin
EXAMPLES := PYTHONPATH=examples
WORKERS ?= 2
# `make bench`: further options, such as BENCH='--rounds 5 --measures publish,worker --contenders warren,celery'.
BENCH ?=
SUITES := tests/unit tests/conformance tests/integration
# `make images`: names are $(IMAGE_PREFIX)server:$(IMAGE_TAG) and so on; IMAGE_FLAGS goes to `docker build`.
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
IMAGE_PREFIX ?= warren-
IMAGE_TAG ?= $(VERSION)
IMAGE_FLAGS ?=
# `make e2e`: a command that brings an image into the cluster, such as `kind load docker-image`. Empty: the cluster has the
# images, or pulls them.
WARREN_E2E_LOAD ?=

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: environment ## Run a few hundred real jobs on a real RabbitMQ, server and workers, and stop
	@$(EXAMPLES) $(BIN)/python examples/demo.py

.PHONY: up
up: environment ## Run RabbitMQ, server and workers in the foreground; Ctrl-C drains and stops
	@$(EXAMPLES) WARREN_TASKS=$${WARREN_TASKS:-warren_examples.tasks} $(BIN)/warren up

.PHONY: test
test: environment broker ## Run everything a change must pass: lint, types, import contracts, all suites, coverage
	@$(MAKE) lint
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest $(SUITES) -m "not full" -q -n $(WORKERS) --dist worksteal $(PYTEST)
	@$(BIN)/coverage run -m pytest tests/faults -q -m "not full"
	@$(BIN)/python -m pytest tests/footprint -q
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

.PHONY: faults
faults: environment broker ## Strike real servers, workers and brokers with every fault under load; write tests/faults/report.md
	@$(BIN)/python tests/faults/packages.py
	@WARREN_FAULTS_REPORT=tests/faults/report.md $(BIN)/python -m pytest tests/faults -q -m "not short" $(PYTEST)
	@$(BIN)/python -m pytest tests/integration -q -m full

.PHONY: bench
bench: environment broker ## Run Warren, its Python peers, pika and PerfTest side by side; write bench/report.md
	@$(BIN)/python -m bench $(BENCH)

.PHONY: bench-smoke
bench-smoke: environment broker ## The same in three minutes, to see that everything works; figures in .bench/smoke
	@$(BIN)/python -m bench --smoke --out .bench/smoke $(BENCH)

.PHONY: manifests
manifests: tools ## Judge what the charts and k8s/ render, without a cluster
	@$(BIN)/python -m pytest tests/manifests -q -n $(WORKERS) --dist worksteal $(PYTEST)

.PHONY: e2e
e2e: tools ## Try the charts and k8s/ on the cluster that KUBECONFIG names (WARREN_E2E_LOAD='kind load docker-image')
	@test -n "$$KUBECONFIG" || { echo 'error: KUBECONFIG names no cluster'; exit 2; }
	@test -z '$(WARREN_E2E_LOAD)' || $(MAKE) images
	@test -z '$(WARREN_E2E_LOAD)' || for target in server worker; do \
	  $(WARREN_E2E_LOAD) $(IMAGE_PREFIX)$$target:$(IMAGE_TAG) || exit 1; done
	@WARREN_E2E_IMAGE_PREFIX=$(IMAGE_PREFIX) WARREN_E2E_IMAGE_TAG=$(IMAGE_TAG) \
	  $(BIN)/python -m pytest tests/e2e -q -m "not full" --durations=10 $(PYTEST)

.PHONY: e2e-load
e2e-load: tools ## Upgrade, drain and strike an installation of three brokers on that cluster, under load
	@test -n "$$KUBECONFIG" || { echo 'error: KUBECONFIG names no cluster'; exit 2; }
	@test -z '$(WARREN_E2E_LOAD)' || $(MAKE) images
	@test -z '$(WARREN_E2E_LOAD)' || $(MAKE) images VERSION=$(VERSION)-next IMAGE_TAG=$(IMAGE_TAG)-next
	@test -z '$(WARREN_E2E_LOAD)' || for target in server worker; do for tag in $(IMAGE_TAG) $(IMAGE_TAG)-next; do \
	  $(WARREN_E2E_LOAD) $(IMAGE_PREFIX)$$target:$$tag || exit 1; done; done
	@WARREN_E2E_IMAGE_PREFIX=$(IMAGE_PREFIX) WARREN_E2E_IMAGE_TAG=$(IMAGE_TAG) \
	  WARREN_E2E_NEXT_IMAGE_TAG=$(IMAGE_TAG)-next $(BIN)/python -m pytest tests/e2e/under_load -q -s $(PYTEST)

.PHONY: e2e-autoscaling
e2e-autoscaling: tools ## Measure KEDA and Warren's scaler on that cluster; write tests/e2e/autoscaling/report.md
	@test -n "$$KUBECONFIG" || { echo 'error: KUBECONFIG names no cluster'; exit 2; }
	@test -z '$(WARREN_E2E_LOAD)' || $(MAKE) images
	@test -z '$(WARREN_E2E_LOAD)' || for target in server worker scaler; do \
	  $(WARREN_E2E_LOAD) $(IMAGE_PREFIX)$$target:$(IMAGE_TAG) || exit 1; done
	@WARREN_E2E_IMAGE_PREFIX=$(IMAGE_PREFIX) WARREN_E2E_IMAGE_TAG=$(IMAGE_TAG) \
	  WARREN_E2E_FIGURES=tests/e2e/autoscaling/figures.json $(BIN)/python -m pytest tests/e2e/autoscaling -q -s $(PYTEST)

.PHONY: golden
golden: tools ## Write tests/manifests/golden anew from the charts
	@WARREN_GOLDEN=write $(BIN)/python -m pytest tests/manifests/test_golden.py -q $(PYTEST)

.PHONY: k8s
k8s: tools ## Write the topology chart's data from the code, and k8s/ from the charts
	@$(BIN)/python tools/topology_data.py
	@$(BIN)/python tools/render_k8s.py

.PHONY: tools
tools: environment ## Bring Helm 3 and 4, kustomize, promtool and CRDs into .tools/, but for what is on PATH
	@$(BIN)/python tools/gotools.py

.PHONY: lint
lint: environment ## Check format, style, types and import contracts
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

.PHONY: browser
browser: environment broker ## Try the dashboard in a real Chromium, for eyes, keyboards and screen readers
	@$(BIN)/python tests/browser/packages.py
	@$(BIN)/python -m pytest tests/browser -q $(PYTEST)

.PHONY: images
images: ## Build the images warren-server, warren-worker, warren-scaler (IMAGE_PREFIX=, IMAGE_TAG=, IMAGE_FLAGS=)
	@for target in server worker scaler; do \
	  docker build $(IMAGE_FLAGS) --target $$target --tag $(IMAGE_PREFIX)$$target:$(IMAGE_TAG) \
	    --build-arg VERSION=$(VERSION) --build-arg REVISION=$$(git rev-parse HEAD 2>/dev/null || echo unknown) \
	    --build-arg CREATED=$$(TZ=UTC git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd 2>/dev/null || date -u +%Y-%m-%dT%H:%M:%SZ) . \
	    || exit 1; \
	done

.PHONY: version
version: ## Print the version of this tree
	@echo $(VERSION)

.PHONY: docs
docs: environment ## Write the reference pages from the code and build the site into site/
	@$(BIN)/python tools/reference_docs.py
	@$(BIN)/python tools/chart_values.py
	@$(BIN)/mkdocs build --strict --quiet

.PHONY: lock
lock: environment ## Resolve the dependencies anew and write requirements.lock
	@$(BIN)/uv lock --quiet
	@$(BIN)/uv export --quiet --all-packages --all-groups --no-emit-workspace --no-annotate --no-header \
	  --format requirements-txt --output-file requirements.lock

.PHONY: clean
clean: ## Remove what the other targets made: environment, local data, caches, reports
	@rm -rf .venv .tools .bench .warren site htmlcov .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis

.PHONY: environment
environment:
	@$(PYTHON) tools/bootstrap.py

.PHONY: broker
broker: environment
	@$(BIN)/python -m warren.local.packages
