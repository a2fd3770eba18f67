# Everything runs in .venv, which is made once and again only when pyproject.toml changes.
PYTHON ?= python3
BIN    := .venv/bin
STAMP  := .venv/.installed
RUN    := runs/demo

.PHONY: install demo test check clean

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

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: check
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

clean:
	rm -rf .venv runs
