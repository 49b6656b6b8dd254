# Two commands on a fresh machine: `make export` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
MODEL ?= se_resnet18
WORKERS := -n 2 --dist loadfile
# A third of the time of the slow tests is waiting for processes that they started.
WORKERS_SLOW := -n 3 --dist loadfile

.PHONY: export install test test-fast test-slow lint format bench matrix arm64 docs clean help

export: install  ## install, then write FP32 and INT8 ONNX of $(MODEL) and print the table
	$(BIN)/edge-se export --model $(MODEL) --int8

install: $(VENV)/.installed  ## make .venv with the pinned versions

$(VENV)/.installed: pyproject.toml constraints.txt tests/web/package-lock.json
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check --no-compile --constraint constraints.txt --editable '.[dev,rtx,microcontrollers]'
	$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true  # pip would do it on one core; a few files are no Python 3
	if command -v npm >/dev/null; then npm ci --prefix tests/web --ignore-scripts --no-audit --no-fund --silent \
	  || echo "onnxruntime-web could not be installed: tests of --device web will skip" >&2; fi
	touch $@

test: lint test-fast  ## lint, type check and the test suite but for its slow tests; with -j2 side by side

test-fast: install
	$(BIN)/python -m pytest $(WORKERS) -m "not slow"

test-slow: install  ## the tests that take more than ten seconds; CI runs these, too
	$(BIN)/python -m pytest $(WORKERS_SLOW) -m slow

lint: install  ## lint and type check
	$(BIN)/ruff check .
	$(BIN)/mypy

format: install  ## let ruff mend what it can
	$(BIN)/ruff check --fix .

bench: install  ## FP32 against INT8, interleaved, one thread; writes bench/results/
	$(BIN)/python bench/int8_speedup.py

matrix: install  ## ResNet-18 and SE-ResNet-18: FP32, FP16, INT8 in torch, onnxruntime, OpenVINO, with accuracy; build/report.html
	for model in resnet18 se_resnet18; do \
	  $(BIN)/edge-se export --model $$model --fp16 --int8 --target cpu,openvino,tensorrt || exit; done
	$(BIN)/edge-se bench --model resnet18,se_resnet18 --backend all --out build/bench.json --html build/report.html

arm64: install  ## the networks by arm64's onnxruntime under emulation; needs qemu-user-static and debootstrap
	PYTHON=$(BIN)/python tests/arm64/run.sh

docs: install  ## the documentation as a site in site/; fails on a link that leads nowhere
	$(BIN)/mkdocs build --strict

clean:  ## remove what make made
	rm -rf $(VENV) tests/web/node_modules build dist site .mypy_cache .ruff_cache .pytest_cache

help:  ## this list
	@grep -E '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'
