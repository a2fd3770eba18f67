"""A checkpoint that brings code of its own: it never runs, whatever stands on stdin."""

from __future__ import annotations

import ast
import json
import subprocess
from pathlib import Path

import pytest
from predictor_helpers import write_checkpoint

ROOT = Path(__file__).parents[2]
AUTO = ("AutoModel", "AutoConfig", "AutoTokenizer", "AutoProcessor", "AutoImageProcessor")
EVIL = """
from pathlib import Path
Path({marker!r}).touch()
from transformers import PreTrainedTokenizerFast, PretrainedConfig, ProcessorMixin
class Evil(PreTrainedTokenizerFast): pass
class EvilConfig(PretrainedConfig): model_type = "evil"
"""


def plant(checkpoint: Path, file: str, **settings: object) -> None:
    path = checkpoint / file
    content = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(content | settings))


PLANTED = {
    "tokenizer": (
        "tokenizer_config.json",
        {"auto_map": {"AutoTokenizer": [None, "evil.Evil"]}, "tokenizer_class": "Evil"},
    ),
    "processor": ("processor_config.json", {"auto_map": {"AutoProcessor": "evil.Evil"}, "processor_class": "Evil"}),
    "config": ("config.json", {"auto_map": {"AutoConfig": "evil.EvilConfig", "AutoModel": "evil.Evil"}}),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_planted_code_never_runs(kind: str, warm: Path, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "model")
    marker = tmp_path / "ran"
    (checkpoint / "evil.py").write_text(EVIL.format(marker=str(marker)))
    file, settings = PLANTED[kind]
    plant(checkpoint, file, **settings)
    arguments = ["run", "--bench", "cv_bench", "--subset", "2", "--model", str(checkpoint), "--data", "toy"]
    done = subprocess.run(
        [warm / "aki-eval", *arguments, "--out", str(tmp_path / "out")],
        input="y\n" * 20,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert not marker.exists(), done.stderr[-2000:]
    assert "Do you wish to run the custom code" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_every_load_by_an_auto_class_says_so() -> None:
    """Found in the source, so that the next one cannot be forgotten."""
    wrong, num_loads = [], 0
    for package in ("model", "train", "aki_eval", "benchmarks", "reports"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                    continue
                if node.func.attr not in ("from_pretrained", "from_config"):
                    continue
                if not ast.unparse(node.func.value).startswith(AUTO):
                    continue
                num_loads += 1
                said = {word.arg: ast.unparse(word.value) for word in node.keywords}
                if said.get("trust_remote_code") != "False":
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert wrong == []
    assert num_loads >= 8
