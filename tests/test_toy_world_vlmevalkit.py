"""The toy tables are VLMEvalKit's own: its data set classes load them and build a prompt for every row.

In another process, because importing vlmeval changes this one (TLS checks, environment, logging).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks import toy_world

SCRIPT = """
import json, sys
from vlmeval.dataset import build_dataset
from vlmeval.dataset.image_mcq import CVBench, ImageMCQDataset, MMMUDataset
from vlmeval.dataset.image_vqa import LLaVABench, MathVista, MMVet
from vlmeval.dataset.image_yorn import ImageYORNDataset

owners = (CVBench, ImageMCQDataset, MMMUDataset, LLaVABench, MathVista, MMVet, ImageYORNDataset)
found = {}
for name in sys.argv[1:]:
    for owner in owners:
        if name in owner.DATASET_MD5:
            owner.DATASET_MD5[name] = None
    dataset = build_dataset(name)
    prompts = [dataset.build_prompt(number) for number in range(len(dataset))]
    found[name] = {
        "class": type(dataset).__name__,
        "num_rows": len(dataset),
        "images": [sum(part["type"] == "image" for part in prompt) for prompt in prompts],
        "texts": ["".join(part["value"] for part in prompt if part["type"] == "text") for prompt in prompts],
    }
print("RESULT " + json.dumps(found))
"""
CLASSES = {
    "MME": "ImageYORNDataset",
    "POPE": "ImageYORNDataset",
    "MMBench_DEV_EN": "ImageMCQDataset",
    "SEEDBench_IMG": "ImageMCQDataset",
    "RealWorldQA": "ImageMCQDataset",
    "MMMU_DEV_VAL": "MMMUDataset",
    "CV-Bench-2D": "CVBench",
    "CV-Bench-3D": "CVBench",
    "MathVista_MINI": "MathVista",
    "MMVet": "MMVet",
    "LLaVABench": "LLaVABench",
}


def test_vlmevalkit_loads_every_table_and_row(tmp_path: Path) -> None:
    root = toy_world.ensure_tables(tmp_path / "LMUData")
    environment = {**os.environ, "LMUData": str(root), "HOME": str(tmp_path), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *CLASSES], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    found = json.loads(line.removeprefix("RESULT "))
    assert {name: each["class"] for name, each in found.items()} == CLASSES
    for name, each in found.items():
        assert each["num_rows"] == len(list(toy_world.TABLES[name]())), name
        assert min(each["images"]) >= 1, name
        unknown = {token for text in each["texts"] for token in toy_world.tokens(text)} - set(toy_world.vocabulary())
        assert unknown == set(), name
    assert max(found["MMMU_DEV_VAL"]["images"]) >= 2
