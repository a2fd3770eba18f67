# Everything runs in .venv, which is made once and again only when pyproject.toml or the lock changes.
PYTHON ?= python3
BIN    := .venv/bin
PIP    := $(BIN)/python -m pip
STAMP  := .venv/.installed
LOCK   := requirements.lock
RUN    := runs/demo
# A build of torch, and what is only there for its sake.
TORCH  := ^(torch|torchvision|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)==

.PHONY: install lock docs demo example gate smoke toy-baseline toy-seeds test test-faults fuzz secrets audit check clean

install: $(STAMP)

# The lock's versions, exactly. A torch that somebody put into .venv (a CPU or a CUDA build, another version) is kept:
# then what was found stands in the lock's stead for torch and its family. A torch that came from an earlier lock goes
# with the lock. Plain files without hashes, because an editable install and a build of one's own have none.
$(STAMP): pyproject.toml $(LOCK)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) install --quiet --constraint $(LOCK) --upgrade pip
	@$(PIP) list --format=freeze | grep -E '$(TORCH)' > .venv/torch.found; \
	found=$$(grep '^torch==' .venv/torch.found); locked=$$(cat .venv/torch.locked 2>/dev/null); \
	if [ -z "$$found" ] || [ "$$found" = "$$locked" ]; then \
	    cp $(LOCK) .venv/constraints.txt; \
	elif ! grep -q '^torchvision==' .venv/torch.found; then \
	    echo "found $$found in .venv without torchvision; install the torchvision of the same build beside it" >&2; exit 2; \
	else \
	    echo "keeping $$found, which is in .venv"; \
	    grep -vE '$(TORCH)' $(LOCK) | cat - .venv/torch.found > .venv/constraints.txt; \
	fi
	$(PIP) install --constraint .venv/constraints.txt --build-constraint $(LOCK) --editable '.[dev,demo]'
	$(PIP) install --constraint .venv/constraints.txt --no-deps gradio
	@cmp -s $(LOCK) .venv/constraints.txt && $(PIP) list --format=freeze | grep '^torch==' > .venv/torch.locked || true
	touch $@

# Renews the lock: the newest versions within pyproject.toml's ranges, for every Python and platform in one file. A
# ceiling that pip's own configuration sets on this machine holds for the lock too. Gradio stands in it as if it took any
# Pillow; its release is the one that aki_eval/demo names.
GRADIO := $(shell sed -n 's/^GRADIO = "\(.*\)"/\1/p' aki_eval/demo/__init__.py)
lock: install
	$(PIP) install --quiet uv
	echo 'pillow>=13.0' > .venv/overrides.txt
	printf '%s\n' pip hatchling editables '$(GRADIO)' | \
	    UV_OVERRIDE=.venv/overrides.txt UV_CONSTRAINT="$$($(PIP) config get global.constraint 2>/dev/null)" UV_CUSTOM_COMPILE_COMMAND='make lock' \
	    $(BIN)/uv pip compile pyproject.toml - --extra dev --extra demo --universal --python-version 3.11 --upgrade \
	    --no-annotate --quiet --output-file $(LOCK)

# The documents as pages in runs/docs/site; a dead link, inside docs/ or to the rooms, is an error.
DOCS := runs/docs
$(DOCS)/venv/bin/mkdocs: docs/requirements.txt
	$(PYTHON) -m venv $(DOCS)/venv
	$(DOCS)/venv/bin/python -m pip install --quiet --requirement docs/requirements.txt
	touch $@

docs: $(DOCS)/venv/bin/mkdocs
	rm -rf $(DOCS)/source && mkdir -p $(DOCS)/source
	git ls-files --cached --others --exclude-standard | grep -v '^tests/data/' | xargs cp --parents -t $(DOCS)/source
	NO_MKDOCS_2_WARNING=1 $(DOCS)/venv/bin/mkdocs build --strict

# So small a model is fastest on one thread; a second one only waits, on busy cores for very long.
demo toy-seeds: export OMP_NUM_THREADS ?= 1
demo: install
	$(BIN)/aki-train toy --out $(RUN)/model
	$(BIN)/aki-eval run --bench all --model $(RUN)/model --data toy --judge offline --out $(RUN)/eval
	$(BIN)/aki-eval report $(RUN)/eval --format md,html,term --out $(RUN)/report

# The report of reports/example/README.md in runs/example/report, from the committed toy model; a minute or two.
example: install
	reports/example/make.sh

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

# A file stays on one worker, as its tests share what they made; the longest come first (tests/conftest.py). The tests
# start a hundred processes, each of which would compile all modules where nothing may be written down.
XDIST := --numprocesses auto --dist loadfile --no-loadscope-reorder
test: check
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest $(XDIST) --durations 10

# Kills, damage and hostile input alone; make test runs these, too, all but the 125 rounds of kills at random moments.
test-faults: install
	$(BIN)/python -m pytest $(XDIST) --durations 10 tests/faults tests/security
	$(BIN)/python tests/kill_rounds.py --rounds 25

# An hour or so: what make test tries a small slice of.
FUZZ_SEED ?= 0
fuzz: install
	$(BIN)/python tests/fuzz.py answers --count 100000 --seed $(FUZZ_SEED)
	$(BIN)/python tests/fuzz.py files --count 10000 --seed $(FUZZ_SEED)

# Known holes in what the lock names (asks PyPI's and OSV's databases), and keys or passwords in what is committed. A
# finding that is none goes into .secrets.baseline: `detect-secrets scan --baseline .secrets.baseline`.
AUDIT := runs/audit
$(AUDIT)/bin/pip-audit:
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip install --quiet 'pip-audit>=2.10' 'detect-secrets>=1.5'

secrets: $(AUDIT)/bin/pip-audit
	git ls-files -z | xargs -0 $(AUDIT)/bin/detect-secrets-hook --baseline .secrets.baseline

audit: secrets
	$(AUDIT)/bin/pip-audit --requirement $(LOCK) --no-deps --disable-pip

clean:
	rm -rf .venv runs
