# One way to do each thing. `make help` lists them.
.DEFAULT_GOAL := help
# The first Python 3.11 that is found; another: make PYTHON=/path/to/python3.11
PYTHON ?= $(shell for name in python3.11 python3 python; do \
	$$name -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && echo $$name && break; done)
VENV := .venv
BIN := $(VENV)/bin
# uv as it is installed, or a copy of it in .uv
UV = $(shell uv --version >/dev/null 2>&1 && echo uv || echo .uv/bin/uv)
export DGLBACKEND := pytorch

.PHONY: help install demo fmt lint test test-browser test-servers servers servers-stop screenshots bench bench-feed lock images-check k8s-check airflow-check clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

install: $(VENV)/.installed ## make .venv from the locked requirements

$(VENV)/.installed: requirements/dev.txt pyproject.toml | uv
	$(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
	$(UV) pip install --python $(BIN)/python --requirement requirements/dev.txt
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

.PHONY: uv
uv:
	@$(if $(PYTHON),:,echo "Nearfeed needs Python 3.11: install it, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1)
	@$(UV) --version >/dev/null 2>&1 || { $(PYTHON) -m venv .uv && .uv/bin/python -m pip install --quiet uv; } \
		|| { echo "uv could not be installed; see above, or install uv yourself and call make again" >&2; exit 1; }

demo: install ## MovieLens as a community: import, train, index and serve on 127.0.0.1:8080
	$(BIN)/nearfeed demo

fmt: install ## format the code and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: install ## formatting, rules, types and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

test: install ## all tests that need no server and no browser
	$(BIN)/pytest -m "not server and not browser"

test-browser: install ## the tests of the page, which need Chromium
	REQUIRE_BROWSER=1 $(BIN)/pytest -m browser

test-servers: install ## the tests that need real servers (make servers)
	REQUIRE_SERVERS=1 $(BIN)/pytest -m server

servers: ## install and start the real servers on loopback, without Docker
	tools/servers/servers.sh start

servers-stop: ## end them
	tools/servers/servers.sh stop

screenshots: install ## pictures of the page under docs/images, of the demo's folder, which is made where it is missing
	test -d nearfeed-demo || $(BIN)/nearfeed demo --no-serve
	$(BIN)/python tools/screenshots.py

bench: install ## measure, and write benchmarks/results and the figures in the README
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.report

bench-feed: install ## measure feeds beside the floor of the framework (wrk and vegeta make the load)
	$(BIN)/python -m benchmarks.feed
	$(BIN)/python -m benchmarks.report

COMPILE_FROM = $(UV) pip compile --quiet --universal --no-header --no-annotate --python-version 3.11
COMPILE = $(COMPILE_FROM) pyproject.toml
lock: uv ## renew requirements/*.txt from pyproject.toml and airflow.in
	$(COMPILE) --extra dev --output-file requirements/dev.txt
	$(COMPILE) --extra demo --constraint requirements/dev.txt --output-file requirements/standalone.txt
	$(COMPILE) --extra recommender --constraint requirements/dev.txt --output-file requirements/recommender.txt
	$(COMPILE) --extra indexer --constraint requirements/dev.txt --output-file requirements/indexer.txt
	$(COMPILE) --extra embedder --extra text-model --constraint requirements/dev.txt --output-file requirements/embedder.txt
	$(COMPILE_FROM) requirements/airflow.in --output-file requirements/airflow.txt

images-check: ## build the recommender's and the indexer's images without Docker, and run them (as root)
	tools/images.sh recommender indexer

k8s-check: install ## validate deploy/k8s, and apply it to a real API server where there is one
	tools/k8s/check.sh

airflow-check: install ## parse deploy/airflow with Airflow, in an environment of its own
	tools/airflow/check.sh

clean: ## remove the environments and the demo's data
	rm -rf $(VENV) .uv .airflow nearfeed-demo nearfeed-demo-simulated
