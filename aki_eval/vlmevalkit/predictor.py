"""Any of VLMEvalKit's models as a predictor: `--model vlmevalkit:NAME`.

The kit lives in a process of its own (`worker.py`) and is spoken to in JSON lines: what importing it changes (TLS
checks, environment, logging, ~/LMUData) stays there, and so do the dependencies of its models.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.records import ImageRef, Prompt, PromptStyle, Sample
from benchmarks.task import Task

from ..predictors.base import Generation, Unusable
from ..run.distributed import find_world


class KitPredictor:
    """One model of the kit, answering one prompt at a time as the kit's own loop does (its API models.

    Many at once).
    """

    batch_size = 16
    device = "chosen by VLMEvalKit"

    def __init__(self, model: str) -> None:
        self.model = model
        self.name = model
        self._process: subprocess.Popen[str] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="aki-eval-pictures-")
        self._paths: dict[str, str] = {}
        self._tables: tuple[str, ...] = ()
        self._rows: dict[str, dict[str, str]] = {}
        self._sent: dict[str, str] = {}
        if model not in _names_in_source():
            self._connect()  # some names are made at run time: only the kit itself knows

    def describe(self) -> dict[str, Any]:
        return {"kind": "vlmevalkit", "id": self.model, "vlmevalkit": kit_version(), "dtype": None}

    def self_test(self) -> None:
        """The kit does not say what its models do inside."""
        return

    def begin(self, task: Task, samples: Sequence[Sample], style: PromptStyle) -> None:
        """The benchmark's name, at which the kit's models look.

        Under `--prompts vlmevalkit` they may word the prompt themselves.
        """
        self._tables = tuple(table.name for table in task.tables)
        self._rows = {sample.index: dict(sample.row) for sample in samples} if style == "vlmevalkit" else {}

    def render(self, prompt: Prompt) -> str:
        return self._sent.pop(prompt.index, prompt.text)

    def predict(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[Generation]:
        """The kit's models set their own limits; `max_new_tokens` cannot be passed to them."""
        replies = self._exchange({"requests": [self._request(prompt) for prompt in prompts]})["replies"]
        return [self._to_generation(*pair) for pair in zip(prompts, replies, strict=True)]

    def close(self) -> None:
        """Ends the kit's process and removes the pictures written for it. Happens by itself when this process ends."""
        if self._process is not None and self._process.stdin is not None and self._process.stdout is not None:
            self._process.stdin.close()
            self._process.wait()
            self._process.stdout.close()
            self._process = None
        self._folder.cleanup()

    def _request(self, prompt: Prompt) -> dict[str, Any]:
        table, found, _ = prompt.index.partition("/")
        return {
            "table": table if found and table in self._tables else next(iter(self._tables), None),
            "parts": [
                ["text", part] if isinstance(part, str) else ["image", self._path(part)] for part in prompt.parts
            ],
            "row": self._rows.get(prompt.index),
        }

    def _path(self, image: ImageRef) -> str:
        """The picture as a file, which is how the kit's models want it."""
        if image.key not in self._paths:
            path = Path(self._folder.name) / f"{len(self._paths)}.png"
            image.decode().convert("RGB").save(path)
            self._paths[image.key] = str(path)
        return self._paths[image.key]

    def _to_generation(self, prompt: Prompt, reply: dict[str, Any]) -> Generation:
        if reply.get("error"):
            return Generation(None, error=reply["error"])
        self._sent[prompt.index] = reply["sent"]
        return Generation(reply["text"])

    def _exchange(self, message: dict[str, Any]) -> dict[str, Any]:
        process = self._connect()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(message) + "\n")
            process.stdin.flush()
        except BrokenPipeError as error:
            raise self._gone() from error
        return self._receive(process)

    def _connect(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "aki_eval.vlmevalkit.worker", self.model],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=_environment(),
            )
            problem = self._receive(self._process).get("problem")
            if problem:
                self.close()
                raise Unusable(f"--model vlmevalkit:{self.model}: {problem}")
        return self._process

    def _receive(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise self._gone()
        message: dict[str, Any] = json.loads(line)
        return message

    def _gone(self) -> Unusable:
        code = self._process.wait() if self._process else None
        return Unusable(
            f"--model vlmevalkit:{self.model}: VLMEvalKit's process ended (exit code {code}); see its output above"
        )


def _environment() -> dict[str, str]:
    """Under torchrun: the kit's models sit on the first GPU they see, and must not think they are one of many."""
    environment = dict(os.environ)
    world = find_world()
    if world.size > 1:
        gpus = environment.get("CUDA_VISIBLE_DEVICES", "").split(",")
        chosen = gpus[world.local_rank % len(gpus)] or str(world.local_rank)
        environment = {
            key: value for key, value in environment.items() if key not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        }
        environment["CUDA_VISIBLE_DEVICES"] = chosen
    return environment


def _names_in_source() -> set[str]:
    """Names of models as they stand in the kit's config.py, read and not run.

    Raises:
        Unusable: there is no kit.
    """
    spec = find_spec("vlmeval")
    if spec is None or spec.origin is None:
        raise Unusable("--model vlmevalkit:NAME needs VLMEvalKit; pip install ms-vlmeval")
    tree = ast.parse((Path(spec.origin).parent / "config.py").read_text("utf-8"))
    keys = [key for node in ast.walk(tree) if isinstance(node, ast.Dict) for key in node.keys]
    return {key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}


def kit_version() -> str:
    try:
        return version("ms-vlmeval")
    except PackageNotFoundError:
        return "from source"
