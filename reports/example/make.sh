#!/usr/bin/env bash
# Makes the example report: reports/example/make.sh [--pictures]. The committed toy model answers the ten tasks of the toy world
# twice, with the prompts it was trained with and with VLMEvalKit's; the report of both goes to runs/example/report.
# --pictures also renews the pictures of this folder; that needs a Chromium.
set -euo pipefail
cd "$(dirname "$0")/../.."
export ATEN_CPU_CAPABILITY=avx2 MKL_CBWR=AVX2,STRICT OMP_NUM_THREADS=1 # the same numbers on every x86-64 machine
MODEL=tests/data/toy_model
BIN=.venv/bin
RUNS=runs/example
OUT=reports/example

for PROMPTS in aki vlmevalkit; do
  "$BIN/aki-eval" run --bench all --model "$MODEL" --data toy --judge offline --fresh \
    --prompts "$PROMPTS" --out "$RUNS/$PROMPTS-prompts"
done
"$BIN/aki-eval" report "$RUNS/aki-prompts" "$RUNS/vlmevalkit-prompts" --format md,html --out "$RUNS/report"
[ "${1:-}" = --pictures ] || exit 0

"$BIN/python" - "$RUNS/picture.png" <<'PYTHON'
import sys
from pathlib import Path
from benchmarks.data.load import load_samples
from benchmarks.tasks import TASKS
from benchmarks.toy_world import ensure_tables

sample = load_samples(TASKS["cv_bench"], ensure_tables())[3]
Path(sys.argv[1]).write_bytes(sample.images[0].read())
PYTHON
rm -rf "$OUT/inspection" "$OUT/screenshots"
"$BIN/aki-eval" inspect "$MODEL" --image "$RUNS/picture.png" --prompt "what color is the triangle?" --out "$OUT/inspection"
rm -f "$OUT"/inspection/*.svg "$OUT"/inspection/*.pdf "$OUT/inspection/inspection.json"

CHROMIUM="$(command -v chromium || command -v google-chrome)"
mkdir -p "$OUT/screenshots"
shoot() {
  "$CHROMIUM" --headless=new --no-sandbox --disable-gpu --hide-scrollbars --virtual-time-budget=4000 \
    --window-size="$3" --screenshot="$PWD/$OUT/screenshots/$1.png" "file://$PWD/$RUNS/report/html/$2" 2>/dev/null
}
shoot overview index.html 1280,1020
shoot benchmark benchmark-cv_bench.html 1280,900
shoot compare compare.html 1280,800
shoot samples 'samples.html#task=cv_bench&result=flipped' 1280,800
"$BIN/python" - "$OUT/screenshots" <<'PYTHON'
import sys
from pathlib import Path
from PIL import Image

for path in Path(sys.argv[1]).glob("*.png"):
    Image.open(path).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
PYTHON
