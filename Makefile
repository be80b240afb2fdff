# One way to do each thing. `make help` lists them.
.DEFAULT_GOAL := help
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
export DGLBACKEND := pytorch

.PHONY: help install demo fmt lint test test-servers servers servers-stop bench lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

install: $(VENV)/.installed ## make .venv from the locked requirements

$(VENV)/.installed: requirements/dev.txt pyproject.toml
	@command -v uv >/dev/null || $(PYTHON) -m uv --version >/dev/null 2>&1 || $(PYTHON) -m pip install --quiet --user uv
	$(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
	$(UV) pip install --quiet --python $(BIN)/python --requirement requirements/dev.txt
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

UV = $(shell command -v uv || echo $(PYTHON) -m uv)

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

test: install ## all tests that need no server
	$(BIN)/pytest -m "not server"

test-servers: install ## the tests that need real servers (make servers)
	$(BIN)/pytest -m server

servers: ## install and start the real servers on loopback, without Docker
	tools/servers/servers.sh start

servers-stop: ## end them
	tools/servers/servers.sh stop

bench: install ## measure and write CSV files under benchmarks/results
	$(BIN)/python -m benchmarks

lock: ## renew requirements/*.txt from pyproject.toml
	$(UV) pip compile --quiet --no-header --no-annotate --python-version 3.11 --extra dev pyproject.toml --output-file requirements/dev.txt

clean: ## remove the environment and the demo's data
	rm -rf $(VENV) nearfeed-data
