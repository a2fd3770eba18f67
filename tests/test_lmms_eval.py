"""AKI inside lmms-eval: found by its entry point, asked in AKI's words, answering as it answers us.

lmms-eval is no dependency; where it is not installed only what needs none of it is tried. `pip install -e '.[lmms]'`
into an environment of its own, then this file.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from PIL import Image

from aki_eval.lmms_eval.messages import to_prompt
from aki_eval.predictors.aki import AkiPredictor
from aki_eval.run.inputs import load
from aki_eval.run.subset import Subset
from benchmarks.records import ImageRef
from benchmarks.tasks import TASKS

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / "tests" / "data" / "toy_model"
RED, BLUE = (Image.new("RGB", (4, 4), color) for color in ("red", "blue"))

has_lmms_eval = pytest.mark.skipif(
    importlib.util.find_spec("lmms_eval") is None, reason="lmms-eval is not installed: pip install -e '.[lmms]'"
)


def turn(*content: object, role: str = "user") -> dict[str, object]:
    parts = [
        {"type": "text", "text": part} if isinstance(part, str) else {"type": "image", "url": part} for part in content
    ]
    return {"role": role, "content": parts}


def test_a_chat_becomes_a_prompt_in_the_words_of_training() -> None:
    prompt = to_prompt([turn(RED, "What color?")], "7")
    assert (prompt.index, prompt.text) == ("7", "<image>\nWhat color?")
    assert prompt.images[0].decode().getpixel((0, 0)) == (255, 0, 0)
    assert to_prompt([turn("First ", RED, " then", BLUE, "\nwhat?")]).text == "First <image>\n then<image>\nwhat?"
    keys = [part.key for part in to_prompt([turn(RED, RED.copy(), BLUE)]).parts if isinstance(part, ImageRef)]
    assert keys[0] == keys[1] != keys[2]
    assert to_prompt([{"role": "user", "content": "Only words"}]).text == "Only words"


def test_what_aki_was_not_trained_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one turn of the user"):
        to_prompt([turn("Be brief", role="system"), turn("What?")])
    with pytest.raises(ValueError, match="shows video"):
        to_prompt([{"role": "user", "content": [{"type": "video", "url": "film.mp4"}]}])
    with pytest.raises(ValueError, match=r"missing\.png"):
        to_prompt([{"role": "user", "content": [{"type": "image", "url": "missing.png"}]}])
    RED.save(tmp_path / "red.png")
    path = {"role": "user", "content": [{"type": "image", "url": str(tmp_path / "red.png")}]}
    assert to_prompt([path]).images[0].read() == (tmp_path / "red.png").read_bytes()


def test_the_entry_point_leads_to_the_manifest() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    module, _, function = project["entry-points"]["lmms_eval.models"]["aki"].partition(":")
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert f"def {function}(" in Path(str(spec.origin)).read_text("utf-8")
    assert project["optional-dependencies"]["lmms"] == ["filelock<4", "lmms-eval>=0.7.3"]


TASK_YAML = """\
task: toy_{name}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {rows}
test_split: test
output_type: generate_until
doc_to_visual: !function utils.visual
doc_to_text: !function utils.text
doc_to_target: answer
process_results: !function utils.results
generation_kwargs:
  max_new_tokens: {limit}
  temperature: 0
  do_sample: false
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
"""

UTILS = """\
from PIL import Image


def visual(doc):
    return [Image.open(path).convert("RGB") for path in doc["pictures"]]


def text(doc, lmms_eval_specific_kwargs=None):
    return doc["text"]


def results(doc, results):
    return {"exact_match": float(results[0] == doc["answer"])}
"""


@has_lmms_eval
def test_it_answers_lmms_eval_as_it_answers_us(tmp_path: Path) -> None:
    """Two toy tasks as tasks of lmms-eval's own, through its command line; a picture asked about many times, too."""
    names = ("real_world_qa", "pope")
    inputs = load([TASKS[name] for name in names], "toy", "aki", Subset(size=40))
    (tmp_path / "utils.py").write_text(UTILS, "utf-8")
    for given in inputs:
        rows = []
        for prompt, sample in zip(given.prompts, given.samples, strict=True):
            pictures = []
            for image in prompt.images:
                pictures.append(str(tmp_path / f"{image.key}.png"))
                Path(pictures[-1]).write_bytes(image.read())
            words = prompt.text.removeprefix("<image>\n")
            assert "<image>" not in words
            rows.append({"index": prompt.index, "text": words, "pictures": pictures, "answer": sample.target})
        path = tmp_path / f"{given.task.name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        page = TASK_YAML.format(name=given.task.name, rows=path, limit=given.max_new_tokens)
        (tmp_path / f"{given.task.name}.yaml").write_text(page, "utf-8")
    command = [sys.executable, "-m", "lmms_eval", "--model", "aki", "--model_args", f"pretrained={MODEL},device=cpu"]
    command += ["--tasks", ",".join(f"toy_{name}" for name in names), "--include_path", str(tmp_path)]
    command += ["--batch_size", "8", "--log_samples", "--output_path", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    predictor = AkiPredictor(MODEL, device="cpu")
    for given in inputs:
        (log,) = (tmp_path / "out").rglob(f"*samples_toy_{given.task.name}.jsonl")
        lines = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
        ours = [answer.text for answer in predictor.predict(given.prompts, given.max_new_tokens)]
        theirs = [line["filtered_resps"] for line in sorted(lines, key=lambda line: line["doc_id"])]
        assert theirs == ours
        assert len(set(ours)) > 1
