# `make help` lists the targets.
.DEFAULT_GOAL := help
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## install what users need: clang, libbpf, .venv
	@scripts/setup.sh

.PHONY: setup-test
setup-test: ## install what the tests compare against, too
	@scripts/setup.sh test

.PHONY: demo
demo: setup ## build the gadget, check the diagrams, find the leaks of a small program
	@scripts/demo.sh

.PHONY: test
test: setup-test lint docs-check ## everything that proves it: lint, diagrams, tests
	@# What is traced has the machine to itself; Spark and the property tests share it.
	@status=0; \
	pytest -m "not kernel and not vm and not programs and not interop and not long" --numprocesses 2 --dist loadfile || status=1; \
	! [ -x "$$(scripts/interop_tools.sh --path)/crane" ] || pytest tests/interop/test_matrix.py || status=1; \
	pytest -m "kernel and not long" || status=1; \
	pytest -m "vm and not long" || status=1; \
	exit $$status

.PHONY: test-unit
test-unit: ## what needs Python alone: no root, no kernel, no other tools
	@scripts/setup.sh environment
	pytest tests/unit -m "not clang" --numprocesses auto

.PHONY: test-vm
test-vm: setup-test ## the event side on every kernel of Debian's, each in a virtual machine (an hour)
	pytest -m "vm and long" -v -rP

.PHONY: interop-tools
interop-tools: ## build other people's registry clients, which test-interop compares with (ten minutes, once)
	@scripts/interop_tools.sh

.PHONY: test-interop
test-interop: setup-test interop-tools ## images and signatures between those clients and ours
	pytest -m interop

.PHONY: test-verdicts
test-verdicts: setup-test ## verdicts on servers of many shapes, twenty runs each, on a quiet and a starved machine (two hours)
	pytest tests/kernel/test_verdicts.py -m "kernel and long" -v

.PHONY: test-container
test-container: setup-test ## the image of Containerfile, built on Debian's packages and run by a docker engine
	pytest tests/kernel/test_container_image.py -m long -v

.PHONY: test-long
test-long: setup-test ## two thousand changed recordings, and a Spark cluster asked about two hundred (an hour)
	pytest -m "long and not kernel and not vm and not programs and not interop" -v

.PHONY: test-programs
test-programs: ## real programs of Debian, each run bare and recorded: only the recording differs
	@scripts/setup.sh programs
	pytest tests/programs

.PHONY: docs
docs: setup ## rewrite the generated parts of DEVELOPER.md and docs/cli.md
	gadgetops docs
	scripts/tree.py --write

.PHONY: docs-check
docs-check: setup ## fail if they are out of date
	gadgetops docs --check

.PHONY: testdata
testdata: setup-test ## compile the objects that the tests read, and what is expected of them
	tests/data/objects/build.sh

.PHONY: bench
bench: setup ## measure what bench/ compares
	@for script in bench/[a-z]*.py; do [ ! -e "$$script" ] || python "$$script" || exit; done

.PHONY: lint
lint: setup ## style, types, import layers, docstrings
	ruff check .
	ruff format --check .
	mypy
	lint-imports --no-cache
	interrogate operator/gadgetops

.PHONY: format
format: setup ## rewrite sources in the project's style
	ruff check --fix-only .
	ruff format .

.PHONY: lock
lock: ## pin the dependencies of pyproject.toml, with hashes
	[ -d .venv ] || python3 -m venv .venv
	.venv/bin/pip install --quiet uv
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-emit-index-url --no-emit-find-links \
	  --group dev pyproject.toml --output-file requirements/dev.txt

.PHONY: wheel
wheel: setup ## make dist/gadgetops-*.whl, with the gadget in it
	python -m hatchling build --target wheel

.PHONY: clean
clean: ## remove what was built
	rm -rf .venv build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
