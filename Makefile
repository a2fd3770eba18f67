# Everything runs in .venv, which is made once and again only when pyproject.toml changes.
PYTHON ?= python3
BIN    := .venv/bin
STAMP  := .venv/.installed
RUN    := runs/demo

.PHONY: install demo gate smoke toy-baseline toy-seeds test check clean

install: $(STAMP)

# A torch that already lies in .venv (a CPU or a CUDA build of your choice) is kept.
$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --upgrade pip
	$(BIN)/python -m pip install --editable '.[dev]'
	touch $@

demo: install
	$(BIN)/aki-train toy --out $(RUN)/model
	$(BIN)/aki-eval run --bench all --model $(RUN)/model --data toy --judge offline --out $(RUN)/eval
	$(BIN)/aki-eval report $(RUN)/eval --format term,md,html --out $(RUN)/report

# The committed toy model answers the toy world: GO or NO-GO against its committed scores. Kernels and threads are fixed,
# so that another score is a change of code on every x86-64 machine.
FROZEN   := tests/data/toy_model
BASELINE := .github/toy-baseline.json.gz
gate toy-baseline: export ATEN_CPU_CAPABILITY = avx2
gate toy-baseline: export MKL_CBWR = AVX2,STRICT
gate toy-baseline: export OMP_NUM_THREADS = 1

gate: install
	$(BIN)/aki-eval run --bench all --model $(FROZEN) --data toy --judge offline --fresh --out runs/gate/eval
	$(BIN)/aki-eval gate runs/gate/eval --baseline $(BASELINE) --policy .github/toy-gate.toml \
	  --markdown runs/gate/gate.md --junit runs/gate/gate.xml

# After a change that is meant to move the committed model's scores.
toy-baseline: install
	$(BIN)/aki-eval run --bench all --model $(FROZEN) --data toy --judge offline --fresh --out runs/gate/eval
	$(BIN)/aki-eval gate runs/gate/eval --write-baseline $(BASELINE)

# The toy trained from nothing: within what seeds differ by?
smoke: demo
	$(BIN)/aki-eval gate $(RUN)/eval --baseline $(BASELINE) --policy .github/toy-smoke.toml \
	  --markdown runs/smoke/gate.md --junit runs/smoke/gate.xml

# The README's table: five trainings, each resumed where it is done already; make -j5 takes them side by side.
SEEDS := 0 1 2 3 4
toy-seeds: $(SEEDS:%=runs/seeds/%/eval/cv_bench/metrics.json)
	$(BIN)/python -m benchmarks.toy_world.abilities $(SEEDS:%=runs/seeds/%/eval)

runs/seeds/%/model/training/arithmetic.json: | install
	$(BIN)/aki-train toy --seed $* --out runs/seeds/$*/model

runs/seeds/%/eval/cv_bench/metrics.json: runs/seeds/%/model/training/arithmetic.json
	$(BIN)/aki-eval run --bench all --model runs/seeds/$*/model --data toy --judge offline --out runs/seeds/$*/eval

.PRECIOUS: runs/seeds/%/model/training/arithmetic.json

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: check
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

clean:
	rm -rf .venv runs
