"""VLMEvalKit's models as ours, and what importing the kit must not do to us."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from judge_server import Fail, JudgeServer
from run_helpers import prompt

from aki_eval.predictors import Unusable
from aki_eval.vlmevalkit.predictor import KitPredictor
from aki_eval.vlmevalkit.worker import answer
from benchmarks.tasks import TASKS

MODEL = "gpt-5-nano-2025-08-07"
"""Asks three times, with a second's pause; GPT4o_MINI ten times."""

PROBE = """
import json, logging, os, ssl, sys
from pathlib import Path
from PIL import Image
def state():
    return {
        "verifies": ssl._create_default_https_context is not ssl._create_unverified_context,
        "environment": dict(os.environ),
        "logging": [logging.getLogger().level, [type(one).__name__ for one in logging.getLogger().handlers]],
        "pixels": Image.MAX_IMAGE_PIXELS,
        "lmudata": (Path.home() / "LMUData").exists(),
    }
before = state()
"""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[JudgeServer]:
    """The kit's own OpenAI client talks to this one."""

    def script(body: dict[str, Any], _: int) -> Any:
        content = body["messages"][-1]["content"]
        text = content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
        return Fail(400, "cannot") if "impossible" in text else f"answer to {text}"

    class Server(JudgeServer):
        def enter(self, body: dict[str, Any]) -> Any:
            answer = self.script(body, 0)
            self.asked.append(json.loads(json.dumps(body)))
            body["messages"][-1]["content"] = "flat"
            return answer

    with Server(script) as server:
        monkeypatch.setenv("OPENAI_API_BASE", server.url + "/chat/completions")
        monkeypatch.setenv("OPENAI_API_KEY", "sk-kit-secret-key")
        monkeypatch.setenv("HOME", str(tmp_path))
        yield server


@pytest.mark.usefixtures("starts_warm")
def test_a_model_of_the_kit_answers_and_its_failure_text_is_no_answer(
    server: JudgeServer, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    predictor = KitPredictor(MODEL)
    predictor.begin(TASKS["mme"], [], "aki")
    found = predictor.predict([prompt("1", "is it red?", "p"), prompt("2", "no picture"), prompt("3", "impossible")], 8)
    assert [one.text for one in found] == ["answer to is it red?", "answer to no picture", None]
    assert "Failed to obtain answer" in str(found[2].error)
    assert predictor.render(prompt("1", "is it red?", "picture")) == "<image>is it red?"
    sent = next(body for body in server.asked if "red" in json.dumps(body))
    assert [part["type"] for part in sent["messages"][-1]["content"]] == ["image_url", "text"]
    assert predictor.describe()["id"] == MODEL
    said = capfd.readouterr()
    assert "sk-kit-secret-key" not in said.out + said.err
    assert said.out == ""
    assert not (tmp_path / "LMUData").exists()

    assert predictor._process is not None
    predictor._process.kill()
    with pytest.raises(Unusable, match="process ended"):
        predictor.predict([prompt("1")], 8)
    predictor.close()


class Model:
    """In the shape of the kit's models."""

    def __init__(self, reply: Any = "fine") -> None:
        self.reply = reply
        self.asked: list[Any] = []

    def use_custom_prompt(self, table: str) -> bool:
        return table == "MME"

    def set_dump_image(self, dump: Any) -> None:
        self.dump = dump

    def build_prompt(self, line: Any, dataset: str) -> list[dict[str, str]]:
        hint = line.get("hint", "no hint")
        return [
            {"type": "image", "value": self.dump(line)[0]},
            {"type": "text", "value": f"{line['question']} ({hint})"},
        ]

    def generate(self, message: Any, dataset: str | None) -> Any:
        self.asked.append((message, dataset))
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply


REQUEST = {"table": "MME", "parts": [["image", "/picture.png"], ["text", "ours"]], "row": None}


def test_a_model_may_word_the_prompt_itself_only_when_the_kits_prompts_are_wanted() -> None:
    model = Model()
    assert answer(model, REQUEST) == {"text": "fine", "sent": "<image>ours"}
    assert answer(model, REQUEST | {"row": {"question": "theirs"}})["sent"] == "<image>theirs (no hint)"
    assert answer(model, REQUEST | {"row": {"question": "theirs"}, "table": "POPE"})["sent"] == "<image>ours"
    assert [table for _, table in model.asked] == ["MME", "MME", "POPE"]
    assert model.asked[1][0][0] == {"type": "image", "value": "/picture.png"}


def test_whatever_a_model_does_instead_of_answering_is_an_error() -> None:
    assert answer(Model(RuntimeError("CUDA error")), REQUEST) == {"error": "RuntimeError: CUDA error"}
    assert "error" in answer(Model("Failed to obtain answer via API."), REQUEST)
    assert "error" in answer(Model(None), REQUEST)


def probe(python: Path, code: str, home: Path) -> dict[str, Any]:
    """State of a process before and after `code`."""
    whole = PROBE + code + "\nprint('\\nSTATE', json.dumps([before, state()]))"
    environment = {key: value for key, value in os.environ.items() if key != "LMUData"} | {"HOME": str(home)}
    done = subprocess.run([python, "-c", whole], capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("STATE "))
    before, after = json.loads(line.removeprefix("STATE "))
    return {"before": before, "after": after}


def test_registering_leaves_the_process_as_it_was(warm: Path, tmp_path: Path) -> None:
    from predictor_helpers import write_checkpoint

    checkpoint = write_checkpoint(tmp_path / "tiny")
    code = (
        "from aki_eval.vlmevalkit.adapter import register\n"
        f"register('tiny', {str(checkpoint)!r}, device='cpu')\n"
        "from vlmeval.config import supported_VLM\n"
        f"model = supported_VLM['tiny']()\n"
        "assert isinstance(model.generate([dict(type='text', value='what color is the circle?')]), str)\n"
        "from aki_eval.vlmevalkit.worker import build_model\n"
        "try: build_model('GPT4o_MIMI')\n"
        "except LookupError as error: assert 'unknown; close to it are GPT4o_MINI' in str(error), error\n"
        "else: raise AssertionError('a model that nobody knows')\n"
    )
    state = probe(warm / "python", code, tmp_path)
    for name in ("verifies", "logging", "pixels", "lmudata"):
        assert state["after"][name] == state["before"][name], name
    assert state["after"]["verifies"] is True
    assert state["after"]["lmudata"] is False
    changed = {
        key
        for key in state["before"]["environment"].keys() | state["after"]["environment"].keys()
        if state["before"]["environment"].get(key) != state["after"]["environment"].get(key)
    }
    assert changed <= {"KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK", "TORCHINDUCTOR_CACHE_DIR"}, "torch's own, at most"
