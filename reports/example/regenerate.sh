#!/usr/bin/env bash
# Makes this folder again from a toy checkpoint: reports/example/regenerate.sh [MODEL], by default the one of `make demo`.
# Needs Chromium for the screenshots.
set -euo pipefail
cd "$(dirname "$0")/../.."
MODEL="${1:-runs/demo/model}"
BIN=.venv/bin
RUNS=runs/example
OUT=reports/example

rm -rf "$RUNS" "$OUT/report" "$OUT/inspection" "$OUT/screenshots"
for PROMPTS in aki vlmevalkit; do
  "$BIN/aki-eval" run --bench all --model "$MODEL" --data toy --subset 60 --judge offline \
    --prompts "$PROMPTS" --out "$RUNS/$PROMPTS-prompts"
done
"$BIN/aki-eval" report "$RUNS/aki-prompts" "$RUNS/vlmevalkit-prompts" --format md,html --out "$OUT/report"

"$BIN/python" - "$RUNS/picture.png" <<'PYTHON'
import sys
from pathlib import Path
from benchmarks.data.load import load_samples
from benchmarks.tasks import TASKS
from benchmarks.toy_world import ensure_tables

sample = load_samples(TASKS["cv_bench"], ensure_tables())[3]
Path(sys.argv[1]).write_bytes(sample.images[0].read())
PYTHON
"$BIN/aki-eval" inspect "$MODEL" --image "$RUNS/picture.png" --prompt "what color is the triangle?" --out "$OUT/inspection"
rm -f "$OUT"/inspection/*.svg

CHROMIUM="$(command -v chromium || command -v google-chrome)"
mkdir -p "$OUT/screenshots"
shoot() {
  "$CHROMIUM" --headless=new --no-sandbox --disable-gpu --hide-scrollbars --virtual-time-budget=4000 \
    --window-size="$3" ${4:-} --screenshot="$PWD/$OUT/screenshots/$1.png" "file://$PWD/$OUT/report/html/$2" 2>/dev/null
}
shoot overview index.html 1280,1380
shoot overview-dark index.html 1280,760 --force-dark-mode
shoot samples 'samples.html#task=cv_bench&result=flipped' 1280,800
"$BIN/python" - "$OUT/screenshots" <<'PYTHON'
import sys
from pathlib import Path
from PIL import Image

for path in Path(sys.argv[1]).glob("*.png"):
    Image.open(path).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
PYTHON
